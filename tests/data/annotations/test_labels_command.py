"""`hts labels`: what it says about label files, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import hidden_two_stream
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.summary import summarize
from hidden_two_stream.types import Segment

Hts = Callable[..., tuple[int, str, str]]

CSV = """path,label,start_seconds,end_seconds,subject
a.mp4,walk,1,3,anna
a.mp4,walk,4,5,bob
a.mp4,clap,8.2,8.2,
b.mp4,sit,0,2.5,
"""


@pytest.fixture
def labels_csv(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(CSV)
    return path


def test_it_says_what_a_file_holds(hts: Hts, labels_csv: Path) -> None:
    code, out, err = hts("labels", labels_csv)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{labels_csv}: csv, 2 videos",
        "  a.mp4",
        "    walk  2 bouts, 3.00 s (1.00 to 2.00, median 1.50)",
        "    clap  1 point",
        "    by anna, bob",
        "    the file doesn't say which time was looked at",
        "  b.mp4",
        "    sit  1 bout, 2.50 s (2.50 to 2.50, median 2.50)",
        "    the file doesn't say which time was looked at",
    ]


def test_json_says_the_same(hts: Hts, labels_csv: Path) -> None:
    code, out, _ = hts("labels", labels_csv, "--json", "--fps", 25)
    assert code == 0
    result = json.loads(out)
    assert result["written"] is None
    (file,) = result["files"]
    assert (file["format"], file["error"]) == ("csv", None)
    first = file["videos"][0]
    assert first["labels"]["walk"] == {
        "bouts": 2, "points": 0, "seconds": 3.0, "shortest_seconds": 1.0, "median_seconds": 1.5,
        "longest_seconds": 2.0,
    }  # fmt: skip
    assert first["labels"]["clap"]["shortest_seconds"] is None
    assert first["subjects"] == ["anna", "bob"]
    assert first["fps"] == 25


def test_unlabeled_time_is_told(hts: Hts, data_root: Path) -> None:
    path = data_root / "formats" / "deepethogram" / "DATA" / "clip" / "clip_labels_partly.csv"
    code, out, _ = hts("labels", path, "--fps", 25, "--frames", 250)
    assert code == 0
    assert "  clip: 10 s, 250 frames at 25 per second" in out
    assert "    not labeled: 2.00 s" in out
    assert "    clap  0 bouts" in out
    thumos = data_root / "formats" / "datasets" / "thumos14"
    assert "    not labeled: 0.50 s" in hts("labels", thumos)[1]
    assert json.loads(hts("labels", thumos, "--json")[1])["files"][0]["videos"][0]["unlabeled_seconds"] == 0.5


def test_it_converts(hts: Hts, labels_csv: Path, tmp_path: Path) -> None:
    out_path = tmp_path / "all.boris"
    code, out, _ = hts("labels", labels_csv, "--out", out_path)
    assert code == 0
    assert f"written: {out_path} (boris)" in out
    again = hidden_two_stream.read_annotations(out_path)
    assert again[0].with_subjects() == [
        (Segment(1, 3, "walk"), "anna"), (Segment(4, 5, "walk"), "bob"), (Segment(8.2, 8.2, "clap"), ""),
    ]  # fmt: skip


def test_losses_are_refused_and_named_with_leave(hts: Hts, labels_csv: Path, tmp_path: Path) -> None:
    arguments = ("labels", labels_csv, "--to", "deepethogram", "--out", tmp_path / "DATA", "--fps", 10)
    code, out, err = hts(*arguments)
    assert (code, out) == (2, "")
    assert "length of 'a.mp4' is unknown" in err or "can't hold all of 'a.mp4'" in err
    code, _, err = hts("labels", labels_csv, "--to", "srt", "--out", tmp_path / "subtitles", "--fps", 10)
    assert code == 2
    assert "who does it: anna, bob; 1 point" in err
    assert "--lossy" in err
    assert not (tmp_path / "subtitles").exists()
    code, out, _ = hts(
        "labels", labels_csv, "--to", "srt", "--out", tmp_path / "subtitles", "--fps", 10, "--lossy"
    )
    assert code == 0
    assert "  a.mp4: who does it: anna, bob" in out.splitlines()
    assert sorted(path.name for path in (tmp_path / "subtitles").iterdir()) == ["a.srt", "b.srt"]


def test_several_files_become_one(hts: Hts, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}_labels.csv").write_text(",background,walk\n0,0,1\n1,1,0\n")
    files = sorted(tmp_path.glob("*_labels.csv"))
    code, _, _ = hts("labels", *files, "--fps", 2, "--out", tmp_path / "all.csv")
    assert code == 0
    assert (tmp_path / "all.csv").read_text().splitlines() == [
        "path,label,start_seconds,end_seconds,start_frame,end_frame",
        "one,walk,0.0,0.5,0,1",
        "two,walk,0.0,0.5,0,1",
    ]


def test_one_bad_file_of_several_is_named_and_nothing_is_written(
    hts: Hts, labels_csv: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(CSV + "a.mp4,walk,5,4,\n")
    code, out, _ = hts("labels", labels_csv, bad, "--out", tmp_path / "all.json")
    assert code == 1
    assert f"{labels_csv}: csv, 2 videos" in out
    assert "line 6: 'walk' ends at 4 s, before it starts at 5 s" in out
    assert out.splitlines()[-1] == "nothing written, since not all files can be read"
    assert not (tmp_path / "all.json").exists()
    code, out, err = hts("labels", bad, "--json")
    assert (code, out) == (1, "")
    assert "line 6" in err
    rows = json.loads(hts("labels", labels_csv, bad, "--json")[1])["files"]
    assert [row["error"] is None for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "elan"), "--to has no meaning without --out"),
        (("--lossy",), "--lossy has no meaning without --out"),
        (("--out", "{file}"), "is one of the label files"),
        (("--out", "{folder}/x.txt"), "fits several formats"),
        (("--out", "{folder}/x", "--to", "elam"), "unknown label format 'elam'"),
        (("--from", "boriss"), "unknown label format 'boriss'"),
        (("--fps", "0"), "frame rate is 0"),
        (("--base", "0"), "--base has no meaning for the formats csv"),
        (("--base", "7"), "invalid choice"),
        (("--background", "other"), "--background has no meaning for the formats csv"),
        (("--label", "walk", "--label", "clap"), "unknown label 'sit'; expected one of walk, clap"),
        (("{file}",), "is given twice"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    hts: Hts, labels_csv: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    filled = [text.format(file=labels_csv, folder=tmp_path) for text in arguments]
    code, out, err = hts("labels", labels_csv, *filled)
    assert code in (1, 2)
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_words_for_background_are_given_by_name(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("rest\nwalk\nrest\nother\nrest\nwalk\n")
    code, out, _ = hts("labels", tmp_path / "clip.txt", "--fps", 1, "--background", "rest", "--json")
    assert code == 0
    assert list(json.loads(out)["files"][0]["videos"][0]["labels"]) == ["walk", "other"]
    _, out, _ = hts("labels", tmp_path / "clip.txt", "--fps", 1, "--json")
    assert list(json.loads(out)["files"][0]["videos"][0]["labels"]) == ["rest", "walk"]


def test_options_of_one_format_reach_what_is_read_and_what_is_written(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("rest\nwalk\nrest\nrest\n")
    words = ("labels", tmp_path / "clip.txt", "--fps", 1, "--background", "rest")
    assert hts(*words, "--to", "mstcn", "--out", tmp_path / "again.txt")[0] == 0
    assert (tmp_path / "again.txt").read_text() == "rest\nwalk\nrest\nrest\n"
    studio = tmp_path / "studio.json"
    assert hts(*words, "--to", "label-studio", "--out", studio, "--base", 0)[0] == 0
    assert json.loads(studio.read_text())[0]["annotations"][0]["result"][0]["value"]["ranges"] == [
        {"start": 1, "end": 1}
    ]
    csv = tmp_path / "labels.csv"
    assert hts("labels", studio, "--fps", 1, "--base", 0, "--out", csv)[0] == 0
    assert csv.read_text().splitlines()[1] == "clip,walk,1.0,2.0,1,2"
    assert hts("labels", csv, "--to", "mstcn", "--out", tmp_path / "x.txt", "--frames", 3,
               "--fps", 1, "--background", "rest")[0] == 0  # fmt: skip
    assert (tmp_path / "x.txt").read_text() == "rest\nwalk\nrest\n"
    code, _, err = hts(*words, "--background", "pause", "--to", "mstcn", "--out", tmp_path / "y.txt")
    assert code == 2
    assert "--background gives 2 words" in err


def test_a_summary_counts_time_outside_of_what_was_looked_at() -> None:
    item = Annotations("a", (Segment(1, 2, "walk"),), ("walk",), labeled=((0.0, 3.0), (5.0, 6.0)))
    assert summarize(item).unlabeled_seconds is None  # the end of the video is unknown
    known = Annotations("a", (), (), labeled=((0.0, 3.0), (5.0, 6.0)), duration_seconds=10.0)
    assert summarize(known).unlabeled_seconds == pytest.approx(6.0)
    assert summarize(Annotations("a", (), (), duration_seconds=10.0)).unlabeled_seconds is None

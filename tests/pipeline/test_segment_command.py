"""`hts segment`: segments of several videos, files and pictures of one, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.cli import segment as segment_command
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]
LOOSE = ("--enter", "0", "--leave", "0", "--shortest-seconds", "0", "--hop-seconds", "0.1")


@pytest.fixture(scope="module")
def video(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames: eight clips one after the other."""
    clips = [read_video(path)[0] for path in sorted(small_data.parent.rglob("test_*.mp4"))]
    path = tmp_path_factory.mktemp("long") / "-long.mp4"
    write_video(path, np.concatenate(clips))
    return path


def test_what_python_finds_is_printed(small_run: Path, video: Path, hts: Hts) -> None:
    settings = SegmentSettings(enter=0, leave=0, shortest_seconds=0, hop_seconds=0.1)
    expected = list(hidden_two_stream.load(small_run).segment(video, settings))
    assert expected
    code, out, err = hts("segment", small_run, video, *LOOSE)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{video}: {segment}" for segment in expected]
    code, out, _ = hts("segment", small_run, video, *LOOSE, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["settings"]["enter"] == 0
    assert found["settings"]["smoothing_seconds"] == SegmentSettings().smoothing_seconds
    (entry,) = found["videos"]
    assert entry["source"] == str(video)
    assert [s["label"] for s in entry["segments"]] == [s.label for s in expected]
    assert [s["end_seconds"] for s in entry["segments"]] == [round(s.end_seconds, 6) for s in expected]


def test_nothing_known_is_said(small_run: Path, video: Path, hts: Hts) -> None:
    code, out, err = hts("segment", small_run, video, "--enter", "1")
    assert (code, out) == (0, "")
    assert f"{video}: nothing known was found" in err


def test_all_outputs_of_one_video(small_run: Path, video: Path, tmp_path: Path, hts: Hts) -> None:
    files = [tmp_path / name for name in ("found.csv", "line.svg", "over.mp4")]
    options = [
        *("--out", files[0], "--timeline", files[1], "--overlay", files[2]),
    ]
    assert hts("segment", small_run, video, *LOOSE, *options)[0] == 0
    with files[0].open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert rows
    assert (files[0].parent / rows[0]["path"]).resolve() == video.resolve()
    assert rows[0]["label"] in files[1].read_text(encoding="utf-8")
    assert read_video(files[2])[1].num_frames == 48


def test_an_unreadable_video_does_not_stop_the_others(
    small_run: Path, video: Path, tmp_path: Path, hts: Hts
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    out_file = tmp_path / "found.json"
    code, out, err = hts("segment", small_run, bad, video, video, *LOOSE, "--json", "--out", out_file)
    assert code == 1
    assert f"cannot read video {str(bad)!r}" in err
    assert "named 2 times, segmented once" in err
    found = json.loads(out)
    assert [entry["source"] for entry in found["unreadable"]] == [str(bad)]
    assert [entry["source"] for entry in found["videos"]] == [str(video)]
    assert [v["source"] for v in json.loads(out_file.read_text(encoding="utf-8"))["videos"]] == [str(video)]


def test_what_was_found_before_an_interrupt_is_kept(
    small_run: Path, video: Path, tmp_path: Path, hts: Hts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hidden_two_stream.inference.predictor import Recognizer

    real = Recognizer.segment

    def interrupted(self: Recognizer, source: str, *rest: object, **more: object) -> object:
        if "second" in str(source):
            raise KeyboardInterrupt
        return real(self, source, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Recognizer, "segment", interrupted)
    second = tmp_path / "second.mp4"
    second.write_bytes(video.read_bytes())
    file = tmp_path / "found.csv"
    code, out, _ = hts("segment", small_run, video, second, *LOOSE, "--json", "--out", file)
    assert code == 130
    assert [entry["source"] for entry in json.loads(out)["videos"]] == [str(video)]
    assert len(file.read_text(encoding="utf-8").splitlines()) > 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--hop-seconds", "0"), 2, "hop_seconds is 0.0"),
        (("--enter", "0.2", "--leave", "0.3"), 2, "leave is 0.3, above enter, 0.2"),
        (("--background", "nothing"), 2, "the background class is 'nothing'; expected one of"),
        (("--out", "found.txt"), 2, "expected a name that ends in .csv, .json, .vtt"),
        (("--out", "nowhere/found.csv"), 1, "no folder 'nowhere'"),
        (("--timeline", "line.gif"), 2, "expected a name that ends in .svg or .png"),
        (("--overlay", "over.txt"), 2, "expected a video file"),
    ],
)
def test_wrong_options_are_refused(
    small_run: Path, video: Path, hts: Hts, options: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = hts("segment", small_run, video, *options)
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", [("--overlay", "a.mp4"), ("--timeline", "a.svg"), ("--out", "a.vtt")])
def test_pictures_are_of_one_video(
    small_run: Path, small_data: Path, hts: Hts, option: tuple[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = hts("segment", small_run, small_data.parent / "videos" / "grow", *option)
    assert code == 2
    assert "one video" in err
    assert list(tmp_path.iterdir()) == []


def test_labels_that_the_font_lacks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    segment_command._note_letters({"walk", "走る", "café"})
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[2].split(" is drawn as ")[0] for line in lines] == [
        " the label 'café'",
        " the label '走る'",
    ]
    assert "'cafe'" in lines[0]

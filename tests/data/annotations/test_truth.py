"""Every file of one truth in many formats is read into that truth, and written again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hidden_two_stream.data.annotations.files import read_annotations, write_annotations
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.table import FORMATS, detect_format
from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import Segment

Row = tuple[str, float, float]

# file, format, whether it needs a rate, labels that it lacks, how long its point lasts
FILES = [
    ("truth.csv", "csv", False, (), 0.0),
    ("boris/project.boris", "boris", False, (), 0.0),
    ("boris/tabular_old.tsv", "boris-tabular", False, (), 0.0),
    ("boris/tabular_new.tsv", "boris-tabular", False, (), 0.0),
    ("boris/aggregated.csv", "boris-aggregated", False, (), 0.0),
    ("boris/binary_table_0.2s.tsv", "boris-binary", False, (), 0.2),
    ("elan/clip.eaf", "elan", False, (), 0.04),
    ("elan/tab_delimited_header_msec.txt", "elan-tab", False, (), 0.04),
    ("elan/tab_delimited_hms.txt", "elan-tab", False, (), 0.04),
    ("deepethogram/DATA/clip/clip_labels.csv", "deepethogram", True, (), 0.04),
    ("deepethogram/DATA/clip/clip_labels_partly.csv", "deepethogram", True, ("clap",), 0.0),
    ("simba/targets_inserted/clip.csv", "simba", True, (), 0.04),
    ("via/project.json", "via", False, (), 0.0),
    ("via/export.csv", "via-csv", False, ("clap",), 0.0),
    ("label_studio/export.json", "label-studio", True, (), 0.04),
    ("cvat/annotations.xml", "cvat", True, (), 0.04),
    ("text/clip.vtt", "webvtt", False, (), 0.04),
    ("text/clip.srt", "srt", False, (), 0.04),
    ("text/audacity.txt", "audacity", False, (), 0.0),
    ("datasets/activitynet.json", "activitynet", False, ("clap",), 0.0),
    ("datasets/thumos14", "thumos14", False, ("wave", "clap"), 0.0),
    ("datasets/mstcn_groundTruth/clip.txt", "mstcn", True, ("wave", "clap"), 0.0),
    ("datasets/feral.json", "feral", True, ("wave", "clap"), 0.0),
    ("datasets/bento.annot", "bento", False, ("wave", "clap"), 0.0),
]

# file, format, rate, what it holds: these have a truth of their own
OWN = [
    (
        "datasets/activitynet_results.json",
        "activitynet-results",
        None,
        [Segment(1.1, 2.9, "walk", 0.9), Segment(3.2, 6.0, "sit", 0.6)],
    ),
    (
        "datasets/thumos14/results.txt",
        "thumos14-results",
        None,
        [Segment(1.1, 2.9, "walk", 0.9), Segment(3.2, 6.0, "sit", 0.6)],
    ),
    (
        "datasets/calms21.json",
        "calms21",
        None,
        [Segment(1 / 30, 2 / 30, "attack"), Segment(2 / 30, 3 / 30, "investigation")],
    ),
    ("datasets/epic_kitchens_100.csv", "epic-kitchens", None, [Segment(1.0, 3.0, "open door")]),
    ("datasets/ava.csv", "ava", None, [Segment(901.5, 902.5, "9"), Segment(901.5, 903.5, "80")]),
    (
        "datasets/kth_00sequences.txt",
        "kth",
        None,
        [
            Segment(0, 3.8, "boxing"),
            Segment(3.8, 7.4, "boxing"),
            Segment(7.4, 9.8, "boxing"),
            Segment(9.8, 14.4, "boxing"),
        ],
    ),
]


@pytest.fixture(scope="module")
def formats_root(data_root: Path) -> Path:
    return data_root / "formats"


def truth(root: Path) -> list[Row]:
    with (root / "truth.csv").open(newline="") as file:
        return [
            (r["label"], float(r["start_seconds"]), float(r["end_seconds"])) for r in csv.DictReader(file)
        ]


def rows_of(item: Annotations) -> list[Row]:
    return [(segment.label, segment.start_seconds, segment.end_seconds) for segment in item.segments]


def test_every_format_has_a_file() -> None:
    found = {name for _, name, *_ in (*FILES, *OWN)}
    assert set(FORMATS) - found == {"json"}  # ours, with nothing to be compared with


@pytest.mark.parametrize(
    ("file", "name", "needs_fps", "lacks", "point"), FILES, ids=[row[0] for row in FILES]
)
def test_a_file_is_read_into_the_truth(
    formats_root: Path, file: str, name: str, needs_fps: bool, lacks: tuple[str, ...], point: float
) -> None:
    path = formats_root / file
    assert detect_format(path).name == name
    (item,) = read_annotations(path, fps=25 if needs_fps else None)
    expected = [
        (label, start, end + point if start == end else end)
        for label, start, end in truth(formats_root)
        if label not in lacks
    ]
    assert rows_of(item) == [
        (label, pytest.approx(a, abs=1e-9), pytest.approx(b, abs=1e-9)) for label, a, b in expected
    ]
    assert not item.segments[0].is_point
    if needs_fps:
        with pytest.raises(UsageError, match=r"counts frames .* --fps"):
            read_annotations(path)


@pytest.mark.parametrize(("file", "name", "fps", "expected"), OWN, ids=[row[0] for row in OWN])
def test_a_file_with_its_own_truth(
    formats_root: Path, file: str, name: str, fps: float | None, expected: list[Segment]
) -> None:
    assert detect_format(formats_root / file).name == name
    (item,) = read_annotations(formats_root / file, fps=fps)
    assert list(item.segments) == expected


@pytest.mark.parametrize(
    ("file", "name", "fps"),
    [(file, name, 25 if needs_fps else None) for file, name, needs_fps, *_ in FILES]
    + [(file, name, fps) for file, name, fps, _ in OWN],
)
def test_a_file_is_written_and_read_again(
    formats_root: Path, tmp_path: Path, file: str, name: str, fps: float | None
) -> None:
    first = read_annotations(formats_root / file, name, fps=fps)
    path = tmp_path / (formats_root / file).name
    # The binary table was sampled every 0.2 s, which is a rate of 5. EPIC-KITCHENS' frames need the video's.
    rate = {"boris-binary": 5, "epic-kitchens": 50}.get(name, fps)
    length = {"bento": 250}.get(name)
    write_annotations(path, first, name, fps=rate, num_frames=length)
    again = read_annotations(path, name, fps=None if name == "boris-binary" else fps)
    for before, after in zip(first, again, strict=True):
        assert [s.label for s in after.segments] == [s.label for s in before.segments]
        for one, other in zip(before.segments, after.segments, strict=True):
            assert other.start_seconds == pytest.approx(one.start_seconds, abs=1e-9)
            assert other.end_seconds == pytest.approx(one.end_seconds, abs=1e-9)
            assert other.score == one.score
        assert after.subjects == before.subjects
        if FORMATS[name].holds.unlabeled or (FORMATS[name].holds.rows and name not in ("ava", "cvat")):
            assert after.labeled == before.labeled
        if FORMATS[name].holds.labels:
            assert after.labels == before.labels


@pytest.mark.parametrize(
    ("file", "name", "options"),
    [
        ("deepethogram/DATA/clip/clip_labels.csv", "deepethogram", {}),
        ("deepethogram/DATA/clip/clip_labels_partly.csv", "deepethogram", {}),
        ("text/clip.vtt", "webvtt", {}),
        ("text/clip.srt", "srt", {}),
        ("text/audacity.txt", "audacity", {}),
        ("datasets/mstcn_groundTruth/clip.txt", "mstcn", {"background": "other"}),
    ],
)
def test_a_written_file_has_the_bytes_of_the_one_read(
    formats_root: Path, tmp_path: Path, file: str, name: str, options: dict[str, Any]
) -> None:
    first = read_annotations(formats_root / file, fps=25)
    write_annotations(tmp_path / "out", first, name, **options)
    assert (tmp_path / "out").read_text().split() == (formats_root / file).read_text().split()


@pytest.mark.parametrize(
    ("file", "name"),
    [("datasets/feral.json", "feral"), ("datasets/activitynet_results.json", "activitynet-results")],
)
def test_written_json_has_the_data_of_the_one_read(
    formats_root: Path, tmp_path: Path, file: str, name: str
) -> None:
    write_annotations(tmp_path / "out.json", read_annotations(formats_root / file, fps=25), name)
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads((formats_root / file).read_text())


def test_boris_writes_what_boris_wrote(formats_root: Path, tmp_path: Path) -> None:
    items = read_annotations(formats_root / "boris/project.boris")
    write_annotations(tmp_path / "events.tsv", items, "boris-tabular")
    write_annotations(tmp_path / "bouts.csv", items, "boris-aggregated")
    write_annotations(tmp_path / "project.boris", items)
    for mine, theirs, mark, free in [
        ("events.tsv", "tabular_new.tsv", "\t", {"Observation duration"}),
        (
            "bouts.csv",
            "aggregated.csv",
            ",",
            {"Coding duration", "Observation duration by subject by observation"},
        ),
    ]:
        tables = []
        for path in (tmp_path / mine, formats_root / "boris" / theirs):
            with path.open(newline="") as file:
                tables.append(list(csv.DictReader(file, delimiter=mark)))
        free |= {"Observation id", "Observation date", "Observation type", "FPS", "FPS (frame/s)"}
        free |= {name for name in tables[1][0] if name.startswith("Image file path")}
        assert list(tables[0][0]) == list(tables[1][0])
        if mine == "events.tsv":  # events of one time are in any order
            for table in tables:
                table.sort(key=lambda row: (row["Time"], row["Behavior"]))
        for one, other in zip(*tables, strict=True):
            assert {k: v for k, v in one.items() if k not in free} == {
                k: v for k, v in other.items() if k not in free
            }
    written = json.loads((tmp_path / "project.boris").read_text())
    given = json.loads((formats_root / "boris/project.boris").read_text())
    assert sorted(next(iter(written["observations"].values()))["events"]) == sorted(
        given["observations"]["obs 1"]["events"]
    )
    assert set(given) == set(written)


def test_what_is_not_read_is_named(formats_root: Path) -> None:
    notes = {
        file: " ".join(read_annotations(formats_root / file, fps=25)[0].notes)
        for file in ("cvat/annotations.xml", "simba/targets_inserted/clip.csv", "datasets/calms21.json")
    }
    assert "boxes" in notes["cvat/annotations.xml"]
    assert "4 columns of features" in notes["simba/targets_inserted/clip.csv"]
    assert "keypoints" in notes["datasets/calms21.json"]


def test_time_that_nobody_looked_at_is_not_background(formats_root: Path) -> None:
    (partly,) = read_annotations(formats_root / "deepethogram/DATA/clip/clip_labels_partly.csv", fps=25)
    assert partly.labeled == ((0.0, 8.0),)
    assert partly.unlabeled_seconds() == pytest.approx(2.0)
    (thumos,) = read_annotations(formats_root / "datasets/thumos14")
    assert thumos.labeled == ((0.0, 8.0), (8.5, float("inf")))
    (boris,) = read_annotations(formats_root / "boris/project.boris")
    assert boris.labeled is None


def test_real_frame_labels_equal_the_real_intervals(data_root: Path) -> None:
    """urfall has the same labels as rows per frame and as intervals."""
    intervals: dict[str, set[Row]] = {}
    with (data_root / "urfall" / "segments.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            times = (round(float(row["start_seconds"]), 2), round(float(row["end_seconds"]), 2))
            intervals.setdefault(Path(row["path"]).stem, set()).add((row["label"], *times))
    checked = 0
    for path in sorted((data_root / "urfall" / "frames").glob("*_labels.csv")):
        (item,) = read_annotations(path, fps=30)
        found = {(s.label, round(s.start_seconds, 2), round(s.end_seconds, 2)) for s in item.segments}
        assert found == intervals.get(item.video, set()), path.name
        checked += 1
    assert checked == 55

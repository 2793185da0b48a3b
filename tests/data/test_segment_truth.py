"""The truth about untrimmed videos, from every form of data that has times."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from hidden_two_stream.data.annotations.model import merged
from hidden_two_stream.data.segment_truth import read_segment_truth
from hidden_two_stream.errors import DataError
from hidden_two_stream.types import Segment


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return written(
        tmp_path / "labels.csv",
        "path,label,split,start_seconds,end_seconds",
        "a.mp4,walk,test,5,6.5",
        "a.mp4,sit,test,1,2",
        "a.mp4,sit,train,8,9",
        "a.mp4,background,test,2,4",
        "b.mp4,sit,train,0,3",
        "c.mp4,walk,test,,",
    )


def test_the_test_part_of_a_csv(labels: Path) -> None:
    truth = read_segment_truth(labels, background="background")
    a, c = (str(labels.parent / name) for name in ("a.mp4", "c.mp4"))
    assert truth.segments == {
        a: (Segment(1, 2, "sit"), Segment(5, 6.5, "walk")),
        c: (Segment(0, math.inf, "walk"),),
    }
    assert truth.ignored == {a: ((8, 9),)}  # of the training part: it was seen
    assert truth.rule == "test part, the data set's own split"


def test_other_parts(labels: Path) -> None:
    assert list(read_segment_truth(labels, "train").segments) == [
        str(labels.parent / name) for name in ("a.mp4", "b.mp4")
    ]
    everything = read_segment_truth(labels, "all")
    assert len(everything.segments) == 3
    assert everything.ignored == {}
    assert any(s.label == "background" for found in everything.segments.values() for s in found)
    with pytest.raises(DataError, match=r"no labeled segments .* use --split all"):
        read_segment_truth(labels, "val")


def test_data_without_a_split(tmp_path: Path) -> None:
    data = written(tmp_path / "l.csv", "path,label,start_seconds,end_seconds", "a.mp4,walk,1,2")
    assert read_segment_truth(data).rule == "all videos"
    with pytest.raises(DataError, match="has no split of its own; leave out --split"):
        read_segment_truth(data, "train")


def test_ignored_times_are_joined_and_those_of_other_videos_counted(labels: Path) -> None:
    ignore = written(
        labels.parent / "ignore.csv",
        "path,start_seconds,end_seconds",
        "a.mp4,8.5,10",
        "./a.mp4,20,21",
        "b.mp4,0,1",
        "a.mp4,3,3.5",
    )
    truth = read_segment_truth(labels, ignore=ignore)
    assert truth.ignored == {str(labels.parent / "a.mp4"): ((3, 3.5), (8, 10), (20, 21))}
    assert truth.unused == 1


@pytest.mark.parametrize("row", ["a.mp4,2,1", "a.mp4,-1,1", "a.mp4,x,1", "a.mp4,1,nan", "a.mp4,,2"])
def test_wrong_times_to_ignore(labels: Path, row: str) -> None:
    ignore = written(labels.parent / "ignore.csv", "path,start_seconds,end_seconds", row)
    with pytest.raises(DataError, match=r"line 2: .* is no interval; expected a start"):
        read_segment_truth(labels, ignore=ignore)


def test_no_file_to_ignore(labels: Path) -> None:
    with pytest.raises(DataError, match="no file at"):
        read_segment_truth(labels, ignore=labels.parent / "gone.csv")


def test_thumos14_with_its_ambiguous_times(data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root / "formats" / "datasets" / "thumos14", tmp_path / "annotations")
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "clip.mp4").touch()
    truth = read_segment_truth(f"thumos14:{tmp_path}", "train")
    video = str(tmp_path / "validation" / "clip.mp4")
    assert truth.segments == {video: (Segment(1, 3, "walk"), Segment(3, 6.4, "sit"))}
    assert truth.ignored == {video: ((8, 8.5),)}


def test_a_segment_with_several_labels_is_several_segments(tmp_path: Path) -> None:
    for name, lines in (("Diving_test", "v 1 2\nv 5 6\n"), ("CliffDiving_test", "v 1 2\n")):
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    truth = read_segment_truth(f"thumos14:{tmp_path}")
    (found,) = truth.segments.values()
    assert sorted((s.start_seconds, s.label) for s in found) == [
        (1, "CliffDiving"), (1, "Diving"), (5, "Diving"),
    ]  # fmt: skip


def test_activitynet(data_root: Path, tmp_path: Path) -> None:
    text = (data_root / "formats" / "datasets" / "activitynet.json").read_text(encoding="utf-8")
    content = json.loads(text)
    content["database"]["clip"]["subset"] = "validation"
    (tmp_path / "activity_net.v1-3.min.json").write_text(json.dumps(content), encoding="utf-8")
    (found,) = read_segment_truth(f"activitynet:{tmp_path}").segments.values()
    assert found == (Segment(1, 3, "walk"), Segment(3, 6.4, "sit"), Segment(4, 5.2, "wave"))


def test_merged_intervals() -> None:
    assert merged([(5, 6), (1, 2), (2, 3), (1.5, 1.7), (8, 9)]) == ((1, 3), (5, 6), (8, 9))
    assert merged([]) == ()

"""`hts evaluate --task segments`: the figures are those of the segments that the run finds."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.evaluation.segments import segment_figures
from hidden_two_stream.evaluation.temporal import LabeledVideo
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.types import Segment
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]
LOOSE = ("--enter", "0", "--leave", "0", "--shortest-seconds", "0", "--hop-seconds", "0.1")


@pytest.fixture(scope="module")
def truth(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips one after the other, 1.92 s, with six of them labeled, one of them past the end."""
    folder = tmp_path_factory.mktemp("truth")
    paths = sorted(small_data.parent.rglob("test_*.mp4"))
    write_video(folder / "long.mp4", np.concatenate([read_video(path)[0] for path in paths]))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "start_seconds", "end_seconds"])
        for number, path in enumerate(paths[:5]):
            rows.writerow(["long.mp4", path.parent.name, 0.24 * number, 0.24 * (number + 1)])
        rows.writerow(["long.mp4", paths[5].parent.name, 7, 8])
    return folder / "labels.csv"


def test_the_figures_are_those_of_what_is_found(
    small_run: Path, truth: Path, tmp_path: Path, hts: Hts
) -> None:
    video = truth.parent / "long.mp4"
    settings = SegmentSettings(enter=0, leave=0, shortest_seconds=0, hop_seconds=0.1)
    found = tuple(hidden_two_stream.load(small_run).segment(video, settings))
    with truth.open(newline="", encoding="utf-8") as file:
        labeled = tuple(
            Segment(float(row["start_seconds"]), float(row["end_seconds"]), row["label"])
            for row in csv.DictReader(file)
        )
    expected = segment_figures([LabeledVideo(str(video), 1.92, labeled, found)]).to_dict()
    saved = tmp_path / "found.csv"
    code, out, err = hts(
        *("evaluate", small_run, "--data", truth, "--task", "segments", *LOOSE, "--json", "--quiet"),
        *("--save-segments", saved),
    )
    assert code == 0
    assert "1 labeled segment after its end, 1.92 s" in err
    result = json.loads(out)
    for name in ("map", "frame_accuracy", "f1", "edit_score", "segmental_f1", "num_found", "num_matched"):
        assert result[name] == pytest.approx(expected[name]), name
    assert result["num_segments"] == 6
    assert result["average_precision"] == "activitynet"
    assert result["num_trained_on"] == 0
    assert len(saved.read_text(encoding="utf-8").splitlines()) == 1 + len(found)


def test_text_and_python(small_run: Path, truth: Path, hts: Hts) -> None:
    code, out, _ = hts("evaluate", small_run, "--data", truth, "--task", "segments", "--quiet")
    assert code == 0
    assert out.startswith("1 video (all videos), 2 s, 6 segments")
    evaluation = hidden_two_stream.evaluate_segments(small_run, truth, quiet=True)
    assert str(evaluation) == out.rstrip("\n")
    assert set(evaluation.mean_ap) == {0.3, 0.4, 0.5, 0.6, 0.7}


def test_ignored_time_changes_the_figures(small_run: Path, truth: Path, tmp_path: Path, hts: Hts) -> None:
    def accuracy(*options: object) -> float:
        command = ("evaluate", small_run, "--data", truth, "--task", "segments", "--enter", "1", "--json")
        code, out, _ = hts(*command, "--quiet", *options)
        assert code == 0
        found: float = json.loads(out)["frame_accuracy"]
        return found

    # Nothing is found, so 0.72 of 1.92 s are right; all of them are ignored but 0.2 s.
    assert accuracy() == pytest.approx(0.72 / 1.92)
    ignore = tmp_path / "ignore.csv"
    ignore.write_text(
        f"path,start_seconds,end_seconds\n{truth.parent / 'long.mp4'},1.4,9\nother.mp4,0,1\n",
        encoding="utf-8",
    )
    assert accuracy("--ignore", ignore) == pytest.approx(0.2 / 1.4)


def test_a_video_in_training_is_said(small_run: Path, small_data: Path, hts: Hts) -> None:
    code, out, _ = hts(
        "evaluate", small_run, "--data", small_data, "--task", "segments", "--split", "train", "--quiet"
    )
    assert code == 0
    assert "trained on parts of 16 of these videos" in out


def test_unreadable_videos_are_named_and_not_counted(
    small_run: Path, truth: Path, tmp_path: Path, hts: Hts
) -> None:
    for name in ("long.mp4", "labels.csv"):
        shutil.copy(truth.parent / name, tmp_path / name)
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("gone.mp4,grow,0,1\n")
    command = ("evaluate", small_run, "--data", tmp_path / "labels.csv", "--task", "segments", "--quiet")
    code, out, err = hts(*command)
    assert code == 0
    assert "1 unreadable video not counted" in out
    assert f"unreadable: {tmp_path / 'gone.mp4'}" in err
    (tmp_path / "long.mp4").unlink()
    code, out, err = hts(*command)
    assert (code, out) == (1, "")
    assert "none of the 2 videos can be read" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--task", "segments", "--protocol", "10x1"), "--protocol has no effect without --task clips"),
        (("--hop-seconds", "0.5"), "--hop-seconds has no effect without --task segments"),
        (("--ignore", "x.csv"), "--ignore has no effect without --task segments"),
        (("--task", "clip"), "invalid choice: 'clip'"),
        (("--task", "segments", "--save-segments", "x.vtt"), "holds the segments of one video"),
        (("--task", "segments", "--split", "some"), "unknown split 'some'"),
    ],
)
def test_wrong_options(
    small_run: Path, truth: Path, hts: Hts, options: tuple[str, ...], message: str
) -> None:
    code, out, err = hts("evaluate", small_run, "--data", truth, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_unknown_classes_are_refused(small_run: Path, truth: Path, tmp_path: Path, hts: Hts) -> None:
    data = tmp_path / "labels.csv"
    data.write_text(f"path,label,start_seconds,end_seconds\n{truth.parent / 'long.mp4'},fly,0,1\n")
    code, _, err = hts("evaluate", small_run, "--data", data, "--task", "segments")
    assert code == 1
    assert "unknown classes ['fly']" in err

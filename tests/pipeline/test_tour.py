"""What a tour with wrong arguments found: two options at odds, names given twice, folders that are taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream as hts_package
from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]


def one_line(err: str) -> str:
    (line,) = err.splitlines()
    return line


@pytest.fixture
def classes(small_data: Path, tmp_path: Path) -> Path:
    """A folder of two classes with three clips each."""
    for label in ("left", "up"):
        for number in range(2):
            target = tmp_path / "classes" / label / f"{number}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(small_data.parent / "videos" / label / f"train_{number:04}.mp4", target)
    return tmp_path / "classes"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hold-out", "subject=3", "--hold-out", "subject=4"], "argument --hold-out: given twice"),
        (["--seed", "1", "--seed", "1"], "argument --seed: given twice"),
        (["--hold-out", "subject=3", "--test-fraction", "0.25"], "--test-fraction does not apply; leave one"),
        (["--seed", "-1"], "seed is -1; expected a whole number from 0 to 2^63 - 1"),
        (["--seed", str(2**63)], "expected a whole number from 0 to 2^63 - 1"),
    ],
)
def test_options_at_odds(hts: Hts, small_data: Path, tmp_path: Path, options: list[str], said: str) -> None:
    code, out, err = hts("train", "--data", small_data, "--out", tmp_path / "run", *options)
    assert (code, out) == (2, "")
    assert said in one_line(err)
    assert not (tmp_path / "run").exists()


def test_two_networks_for_one_flow(hts: Hts, classes: Path) -> None:
    code, _, err = hts("flow", "--network", "nano", "--network", "tiny", classes / "left" / "0.mp4")
    assert code == 2
    assert "argument --network: given twice" in one_line(err)


def test_training_into_the_videos_is_refused(hts: Hts, classes: Path) -> None:
    before = sorted(classes.rglob("*"))
    code, _, err = hts("train", "--data", classes, "--out", classes)
    assert code == 2
    assert "holds something other than a run, such as 'left'" in one_line(err)
    assert sorted(classes.rglob("*")) == before


def test_a_video_is_no_dataset(hts: Hts, classes: Path, tmp_path: Path) -> None:
    code, _, err = hts("check", classes / "left" / "0.mp4")
    assert code == 1
    assert "is a video; expected a folder with one sub-folder of videos per class" in one_line(err)
    empty = tmp_path / "empty.csv"
    empty.write_text("path,label\n")
    code, _, err = hts("check", empty)
    assert code == 1
    assert "empty.csv' lists no videos" in one_line(err)


def test_a_video_beside_the_class_folders_is_called_one(hts: Hts, classes: Path) -> None:
    shutil.copy(classes / "up" / "1.mp4", classes / "top.mp4")
    (classes / "notes.txt").write_text("x")
    code, out, _ = hts("check", classes, "--workers", 0)
    assert code == 0
    assert "not used, videos outside the class folders: 1 .mp4 (top.mp4)" in out
    assert "not used, neither videos nor frames: 1 .txt (notes.txt)" in out


def test_a_source_named_twice_is_said(hts: Hts, small_run: Path, classes: Path) -> None:
    video = classes / "left" / "0.mp4"
    code, out, err = hts("predict", small_run, video, video)
    assert (code, len(out.splitlines())) == (0, 1)
    assert "named 2 times, labeled once" in err


def test_scores_given_twice_are_said(hts: Hts, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0.avi a\n1.avi b\n")
    np.savez(tmp_path / "scores.npz", temporal=np.eye(2))
    code, _, err = hts("fuse", *2 * [tmp_path / "scores.npz"], "--labels", tmp_path / "list.txt")
    assert code == 0
    assert "scores.npz is given more than once, so its streams count more than once" in err


def test_a_folder_without_a_run_is_not_to_be_resumed(hts: Hts, classes: Path) -> None:
    code, _, err = hts("predict", classes, classes / "left" / "0.mp4")
    assert code == 1
    assert "expected a folder made by `hts train`" in one_line(err)
    assert "--resume" not in err


def test_wrong_arguments_in_python_are_the_packages_errors(small_run: Path, classes: Path) -> None:
    video = classes / "left" / "0.mp4"
    recognizer = hts_package.load(small_run)
    for wrong in (
        lambda: hts_package.load(""),
        lambda: hts_package.load(None),  # type: ignore[arg-type]
        lambda: recognizer.predict(video, protocol=None),  # type: ignore[arg-type]
        lambda: recognizer.predict(video, protocol="1000000x10"),
        lambda: recognizer.windows(video, hop_seconds="x"),  # type: ignore[arg-type]
        lambda: hts_package.compare(classes, "x", group="y", methods="tvl1"),
        lambda: hts_package.Resources(workers=-1),
        lambda: hts_package.Resources(workers=1.5),  # type: ignore[arg-type]
        lambda: hts_package.Resources(cache_mb=float("nan")),  # type: ignore[arg-type]
        lambda: hts_package.Resources(precision="64-true"),
        lambda: hts_package.Resources(devices=None),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            wrong()
    assert hts_package.Resources(devices=1).single_device("this").world_size == 1


def test_a_small_thing_before_a_fixed_camera_makes_no_duplicates(hts: Hts, tmp_path: Path) -> None:
    """Clips of a ball on different paths, in two formats; and one clip in both formats."""
    rng = np.random.default_rng(0)
    room = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for label, step in (("left", -6), ("right", 6)):
        for number in range(3):
            clip = np.repeat(room[None], 24, axis=0)
            for time, image in enumerate(clip):
                x = 150 + step * time if step > 0 else 150 + step * time + 20
                image[40 + 60 * number :][:14, x : x + 14] = 255
            suffix = "mp4" if number % 2 else "mkv"
            write_video(tmp_path / "ball" / label / f"{number}.{suffix}", clip)
            if number == 2 and label == "right":
                write_video(tmp_path / "ball" / label / "again.mp4", clip, crf=26)
    code, out, _ = hts("check", tmp_path / "ball", "--json", "--workers", 0)
    assert code == 0
    (group,) = json.loads(out)["duplicates"]
    assert [Path(name).name for name in group["names"]] == ["2.mkv", "again.mp4"]


def test_lengths_of_parts_are_those_on_screen(hts: Hts, data_root: Path) -> None:
    """Both parts last four seconds; one has 120 frames, the other 20."""
    code, out, _ = hts("check", data_root / "faults" / "02_vfr.csv", "--json", "--workers", 0)
    assert code == 0
    found = json.loads(out)
    assert (found["num_frames"]["min"], found["num_frames"]["max"]) == (20, 120)
    assert found["seconds"]["min"] == pytest.approx(4, abs=0.05)
    assert found["seconds"]["max"] == pytest.approx(4, abs=0.05)

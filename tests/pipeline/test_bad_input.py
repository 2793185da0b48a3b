"""Bad input gives one line that says what and what to do, exit code 1 or 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.video.writer import write_video

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("hts")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert "unexpected" not in err
    return lines[0]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a data folder: class name → number of clips, all of them different."""
    generator = np.random.default_rng(0)

    def make(**classes: int) -> Path:
        root = tmp_path / "data"
        root.mkdir()
        for label, count in classes.items():
            (root / label).mkdir()
            for number in range(count):
                frames = generator.integers(0, 256, (6, 32, 32, 3), np.uint8)
                write_video(root / label / f"{number}.mp4", frames)
        return root

    return make


def train(hts: Hts, data: Path, out: Path, *more: object) -> tuple[int, str]:
    code, _, err = hts("train", "--data", data, "--out", out, *QUICK, *more)
    return code, one_line(err)


def test_missing_data(hts: Hts, tmp_path: Path) -> None:
    code, line = train(hts, tmp_path / "nowhere", tmp_path / "run")
    assert code == 2
    assert "nowhere" in line
    assert not (tmp_path / "run").exists()


def test_folder_without_videos(hts: Hts, folder: Callable[..., Path], tmp_path: Path) -> None:
    code, line = train(hts, folder(a=0, b=0), tmp_path / "run")
    assert code == 1
    assert "no videos" in line


def test_one_class(hts: Hts, folder: Callable[..., Path], tmp_path: Path) -> None:
    code, line = train(hts, folder(jump=3), tmp_path / "run")
    assert code == 1
    assert "only one class, 'jump'" in line


def test_one_class_may_be_looked_at_and_tested(
    hts: Hts, small_run: Path, folder: Callable[..., Path]
) -> None:
    data = folder(up=2)
    code, out, _ = hts("check", data, "--workers", 0)
    assert (code, out.splitlines()[0]) == (0, "2 videos, 2 readable, 1 class")
    assert "up is the only class; a recognizer needs at least two" in out
    code, out, _ = hts("evaluate", small_run, "--data", data, "--json", "--workers", 0)
    assert code == 0
    result = json.loads(out)
    assert sum(map(sum, result["confusion"]["fused"])) == result["num_test_videos"] == 2


def test_damaged_videos_are_named_and_used(
    hts: Hts, folder: Callable[..., Path], tmp_path: Path, data_root: Path
) -> None:
    data = folder(jump=2, run=2)
    for number in range(11):
        shutil.copy(data_root / "odd" / "corrupted.mp4", data / "run" / f"damaged_{number}.mp4")
    code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *QUICK, "--allow-duplicates")
    assert code == 0
    (named,) = [line for line in err.splitlines() if "stopped after 28 frames" in line]
    assert "damaged_0.mp4 and 10 others: decoding stopped after 28 frames: damaged data" in named


def test_class_with_one_clip(hts: Hts, folder: Callable[..., Path], tmp_path: Path) -> None:
    data = folder(jump=1, run=3)
    code, line = train(hts, data, tmp_path / "run")
    assert code == 1
    assert "'jump' has only one video" in line
    assert "--test-fraction 0" in line
    assert hts("train", "--data", data, "--out", tmp_path / "run", *QUICK, "--test-fraction", 0)[0] == 0


def test_all_videos_of_a_class_unreadable(hts: Hts, folder: Callable[..., Path], tmp_path: Path) -> None:
    data = folder(a=4, b=4)
    for path in (data / "b").iterdir():
        path.write_text("not a video")
    code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *QUICK)
    assert code == 1
    assert "no readable training video of ['b']" in err
    listed = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert len(listed) == 4
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_unreadable_videos_are_named_and_training_goes_on(
    hts: Hts, folder: Callable[..., Path], tmp_path: Path
) -> None:
    data = folder(a=4, b=4)
    (data / "b" / "0.mp4").write_text("not a video")
    code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *QUICK)
    assert code == 0
    assert "1 of 8 videos are unreadable" in err
    assert (tmp_path / "run" / "unreadable.txt").read_text().startswith(str(data / "b" / "0.mp4"))


def test_two_frame_clips_train(hts: Hts, tmp_path: Path, small_data: Path) -> None:
    from hidden_two_stream.synthetic.clips import generate_clip

    for label in ("left", "right"):
        for seed in range(3):
            write_video(
                tmp_path / "data" / label / f"{seed}.mp4",
                generate_clip(label, seed, num_frames=2, size=32).frames,
            )
    assert hts("train", "--data", tmp_path / "data", "--out", tmp_path / "run", *QUICK)[0] == 0


def test_a_run_is_not_overwritten(hts: Hts, small_data: Path, small_run: Path) -> None:
    code, line = train(hts, small_data, small_run)
    assert code == 2
    assert "--resume" in line


def test_nothing_to_resume(hts: Hts, tmp_path: Path) -> None:
    code, _, err = hts("train", "--out", tmp_path / "none", "--resume")
    assert code == 2
    assert "no run to resume" in one_line(err)


def test_resume_does_not_pretend_to_change_settings(hts: Hts, small_run: Path) -> None:
    for option in (("--seed", 3), ("--set", "motion.steps=9"), ("--data", "x"), ("--hold-out", "subject=1")):
        code, _, err = hts("train", "--out", small_run, "--resume", *option)
        assert code == 2
        assert f"leave out {option[0]}" in one_line(err)


def test_videos_directly_in_the_folder(hts: Hts, small_data: Path) -> None:
    code, _, err = hts("check", small_data.parent / "videos" / "up")
    assert code == 1
    assert "videos lie directly in" in one_line(err)


def test_resume_with_other_videos(hts: Hts, folder: Callable[..., Path], tmp_path: Path) -> None:
    data = folder(a=3, b=3)
    assert hts("train", "--data", data, "--out", tmp_path / "run", *QUICK)[0] == 0
    shutil.copy(data / "a" / "0.mp4", data / "a" / "new.mp4")
    code, _, err = hts("train", "--out", tmp_path / "run", "--resume", "--quiet")
    assert code == 2
    assert "are not those that this run began with" in one_line(err)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("motion.stepz=3", "stepz"),
        ("motion.steps=many", "many"),
        ("motion.steps", "field=value"),
        ("input.size=33", "multiple of 32"),
        ("loss=best", "robust"),
        ("model.motion=huge", "nano"),
        ("model.backbone=huge", "resnet18"),
        ("motion.motion_learning_rate=0", "motion_learning_rate"),
    ],
)
def test_wrong_recipe_fields(field: str, expected: str, hts: Hts, small_data: Path, tmp_path: Path) -> None:
    code, line = train(hts, small_data, tmp_path / "run", "--set", field)
    assert code == 2
    assert expected in line


def test_unwritable_output(hts: Hts, small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, line = train(hts, small_data, tmp_path / "file" / "run")
    assert code == 1
    assert "cannot create the folder" in line


@pytest.mark.parametrize("protocol", ["5", "0x1", "25x3", "all"])
def test_unknown_protocol(protocol: str, hts: Hts, small_run: Path, small_data: Path) -> None:
    code, _, err = hts("evaluate", small_run, "--data", small_data, "--protocol", protocol)
    assert code == 2
    assert "25x10" in one_line(err)


def test_wrong_checkpoints(hts: Hts, small_data: Path, tmp_path: Path) -> None:
    video = small_data.parent / "videos" / "up" / "test_0000.mp4"
    code, _, err = hts("predict", tmp_path / "nothing", video)
    assert (code, "no run at" in one_line(err)) == (2, True)
    code, _, err = hts("predict", tmp_path, video)
    assert (code, "holds no model.safetensors" in one_line(err)) == (1, True)
    code, _, err = hts("predict", video, video)
    assert (code, "not a complete safetensors file" in one_line(err)) == (1, True)


def test_unknown_device(hts: Hts, small_run: Path, small_data: Path) -> None:
    code, _, err = hts("predict", small_run, small_data.parent / "videos" / "up", "--device", "toaster")
    assert code == 2
    assert "toaster" in one_line(err)


def test_flow_into_an_unknown_format_or_place(
    hts: Hts, small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    video = small_data.parent / "videos" / "up" / "test_0000.mp4"
    code, _, err = hts("flow", small_run, video, "-o", tmp_path / "flow.txt")
    assert (code, "flow.mp4" in one_line(err)) == (2, True)
    (tmp_path / "file").write_text("in the way")
    code, _, err = hts("flow", small_run, video, "-o", tmp_path / "file" / "flow.mp4")
    assert code == 1
    one_line(err)


def test_flow_options_are_not_ignored(hts: Hts, small_run: Path, small_data: Path, tmp_path: Path) -> None:
    video = small_data.parent / "videos" / "up" / "test_0000.mp4"
    code, _, err = hts("flow", small_run, video, "-o", tmp_path / "flo", "--max-px", 3)
    assert (code, "--max-px" in one_line(err)) == (2, True)
    code, _, err = hts("flow", small_run, video, "-o", tmp_path / "flow.mp4", "--short-side", 0)
    assert (code, "at least 16" in one_line(err)) == (2, True)


def test_labels_that_the_run_does_not_know(hts: Hts, small_run: Path, folder: Callable[..., Path]) -> None:
    code, _, err = hts(
        "evaluate", small_run, "--data", folder(jump=2, run=2), "--split", "all", "--workers", 0
    )
    assert code == 1
    assert "unknown classes ['jump', 'run']" in one_line(err)
    assert "decode" not in err  # said before the long part


def test_flow_without_a_run_says_what_to_give(hts: Hts) -> None:
    code, _, err = hts("flow", "clip.mp4")
    assert (code, "give RUN VIDEO, or --network nano VIDEO" in one_line(err)) == (2, True)


def test_wrong_usage_is_one_line(hts: Hts) -> None:
    for arguments in (["flyy"], ["train"], ["train", "--out", "x", "--seed", "many"], []):
        code, _, err = hts(*arguments)
        assert code == 2
        assert len(err.splitlines()) == 1


def test_every_command_explains_itself(hts: Hts) -> None:
    for name in (
        "demo",
        "check",
        "train",
        "cross-validate",
        "evaluate",
        "predict",
        "flow",
        "track",
        "features",
    ):
        code, out, _ = hts(name, "--help")
        assert code == 0
        assert "usage: hts" in out


def test_of_two_processes_one_names_the_error(tmp_path: Path) -> None:
    """The other one ends with it, and does not report that its peer is gone."""
    options = ("--data", tmp_path / "nowhere", "--out", tmp_path / "run", "--accelerator", "cpu")
    done = subprocess.run(
        [sys.executable, "-m", "hidden_two_stream", "train", *map(str, options), "--devices", "2"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no data at" in one_line(done.stderr)
    assert not (tmp_path / "run").exists()

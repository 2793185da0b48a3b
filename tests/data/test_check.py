"""`hts check` on data with planted defects: every one is named, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hidden_two_stream.data import check, clip_cache
from hidden_two_stream.data.check import check_dataset
from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video
from hidden_two_stream.data.clip_motion import ClipMotion
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.unusual import class_balance, named
from hidden_two_stream.inference.clip_motion import motion_measure
from hidden_two_stream.inference.motion_estimator import motion_estimator
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

Hts = Callable[..., tuple[int, str, str]]


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random image with details of about 4 px, (height, width, 3)."""
    grains = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 4 + 2, width // 4 + 2)))
    large = functional.interpolate(grains, size=(height, width), mode="bicubic", align_corners=False)
    return large[0].permute(1, 2, 0).clamp(0, 255).numpy()


def clip(seed: int, *, ball: float = 2.0, camera: float = 0.0, num: int = 20, noise: float = 2.0) -> RawClip:
    """A square of 24 px that moves by `ball` px per frame over a background that moves by `camera` px."""
    rng = np.random.default_rng(seed)
    wide, square = texture(rng, 64, 64 + int(camera * num) + 1), texture(rng, 24, 24)
    frames = []
    for number in range(num):
        left = round(camera * number)
        frame = wide[:, left : left + 64].copy()
        x = round(4 + ball * number) % 36
        frame[20:44, x : x + 24] = square
        frames.append(frame + rng.normal(0, noise, frame.shape))
    return np.stack(frames).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of four good clips of "wave", two of "jump", and one clip for each defect."""
    root = tmp_path_factory.mktemp("planted")
    rows: list[tuple[str, str, str]] = []

    def add(name: str, label: str, split: str, frames: RawClip, fps: float = 25.0) -> None:
        write_video(root / name, frames, fps)
        rows.append((name, label, split))

    for number in range(4):
        add(f"good{number}.mp4", "wave", "train", clip(number))
    for number in range(2):
        add(f"jump{number}.mp4", "jump", "train", clip(10 + number))
    shutil.copy(root / "good0.mp4", root / "copy_test.mp4")
    rows.append(("copy_test.mp4", "wave", "test"))
    shutil.copy(root / "good1.mp4", root / "copy_train.mp4")
    rows.append(("copy_train.mp4", "wave", "train"))
    add("tiny.mp4", "wave", "train", clip(20, num=4))
    add("endless.mp4", "wave", "train", clip(21, num=90))
    add("fast.mp4", "wave", "train", clip(22, num=40), 50.0)
    add("frozen.mp4", "wave", "train", clip(23, ball=0.0))
    add("pan.mp4", "wave", "train", clip(24, camera=2.0))
    (root / "broken.mp4").write_bytes(b"this is no video")
    rows.append(("broken.mp4", "wave", "test"))
    (root / "labels.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return root / "labels.csv"


def test_every_planted_defect_is_named_and_nothing_else(planted: Path, hts: Hts) -> None:
    code, out, _ = hts("check", planted, "--workers", 0, "--json")
    found = json.loads(out.replace(f"{planted.parent}/", ""))
    assert code == 1
    assert [line.split(":")[0] for line in found["unreadable"]] == ["broken.mp4"]
    assert sorted(tuple(group["names"]) for group in found["duplicates"]) == [
        ("good0.mp4", "copy_test.mp4"),
        ("good1.mp4", "copy_train.mp4"),
    ]
    assert sorted(tuple(group["splits"]) for group in found["duplicates"]) == [("test", "train"), ("train",)]
    assert found["short"] == ["tiny.mp4: 4 frames, 0.16 s"]
    assert found["long"] == ["endless.mp4: 90 frames, 3.60 s"]
    assert found["rates"] == {"25": 12, "50": 1}
    assert found["other_rates"] == ["fast.mp4: 50 frames per second"]
    assert found["still"] == ["frozen.mp4"]
    assert found["everything_moves"] == ["pan.mp4"]
    assert found["warnings"] == [
        "the classes are unequal: wave has 11 readable videos, jump has 2; add videos of jump"
    ]
    motion = {each["name"]: each for each in found["motion"]}
    assert len(motion) == 13
    assert motion["good0.mp4"]["peak_px"] == pytest.approx(2, abs=0.4)  # the square's 2 px per frame
    assert motion["pan.mp4"]["mean_px"] == pytest.approx(2, abs=0.6)


def test_the_defects_are_lines_of_the_text(planted: Path, hts: Hts) -> None:
    _, out, _ = hts("check", planted, "--workers", 0)
    lines = out.replace(f"{planted.parent}/", "").splitlines()
    for line in (
        "very short: tiny.mp4: 4 frames, 0.16 s",
        "very long: endless.mp4: 90 frames, 3.60 s",
        "another frame rate: fast.mp4: 50 frames per second",
        "nothing moves in: frozen.mp4",
        "everything moves in (camera?): pan.mp4",
        "frames per second: 25 (12), 50 (1)",
        "duplicates: the same frames: 'good0.mp4' and 'copy_test.mp4' (test and train)",
        "duplicates: the same frames: 'good1.mp4' and 'copy_train.mp4'",
    ):
        assert line in lines
    assert any(line.startswith("unreadable: broken.mp4") for line in lines)
    assert any(line.startswith("  jump: mean ") for line in lines)


def test_a_video_is_decoded_once_even_where_not_all_frames_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        write_video(tmp_path / "ab"[number % 2] / f"{number}.mp4", clip(number, num=60))
    measure = motion_measure(motion_estimator("nano"))
    whole = check_dataset(str(tmp_path), measure=measure).motion
    opened = Counter[str]()

    class Counted(clip_cache.VideoReader):
        def __init__(self, source: object, *rest: Any) -> None:
            opened[str(source)] += 1
            super().__init__(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_cache, "VideoReader", Counted)
    monkeypatch.setattr(check, "_KEPT_BYTES", 3 * 45 * 3 * 64 * 64)  # three quarters of the frames
    assert check_dataset(str(tmp_path), measure=measure).motion == whole
    assert set(opened.values()) == {1}


def test_motion_is_left_out_on_request(planted: Path, hts: Hts) -> None:
    _, out, _ = hts("check", planted, "--workers", 0, "--json", "--no-motion")
    assert json.loads(out)["motion"] == []
    assert json.loads(out)["still"] == []


def test_good_data_gives_no_findings(tmp_path: Path) -> None:
    for label, shift in (("left", 0), ("right", 10)):
        for number in range(3):
            (tmp_path / label).mkdir(exist_ok=True)
            write_video(tmp_path / label / f"{number}.mp4", clip(number + shift), 25.0)
    found = check_dataset(str(tmp_path), quiet=True, measure=motion_measure(motion_estimator("nano")))
    unusual = (found.short, found.long, found.other_rates, found.still, found.everything_moves)
    assert unusual == ((), (), (), (), ())
    assert found.warnings == ()


# -- motion ----------------------------------------------------------------------------------------


def measured(frames: RawClip) -> ClipMotion:
    measure = motion_measure(motion_estimator("nano"))
    return measure(Sample("a", "wave"), decode_video(frames, 64, 1 << 30))


def test_a_short_motion_in_a_long_still_clip_is_seen() -> None:
    """The eight parts that are looked at first lie between frames 0 and 195, 28 frames apart."""
    frames = clip(5, ball=0.0, num=1).repeat(200, axis=0)
    moving = clip(5, ball=2.0, num=8)
    frames[10:18] = moving
    frames[18:] = moving[-1]
    assert not measured(frames).nothing_moves
    still = clip(5, ball=0.0, num=1).repeat(200, axis=0)
    assert measured(still).nothing_moves


@pytest.mark.parametrize("noise", [0.0, 5.0, 15.0])
def test_noise_is_no_motion(noise: float) -> None:
    assert measured(clip(6, ball=0.0, noise=noise)).nothing_moves


def test_frames_that_were_not_kept_give_the_same_motion(planted: Path) -> None:
    measure, path = motion_measure(motion_estimator("nano")), planted.parent / "good0.mp4"
    videos: list[DecodedVideo] = [decode_video(path, 64, budget) for budget in (1 << 30, 0)]
    assert [video.frames is None for video in videos] == [False, True]
    one, other = (measure(Sample(str(path), "wave"), video) for video in videos)
    assert one == other


def test_a_single_frame_does_not_move() -> None:
    assert measured(clip(5, num=1)).nothing_moves


# -- counting --------------------------------------------------------------------------------------


def test_class_balance() -> None:
    assert class_balance({"a": 30, "b": 10}) is None
    assert class_balance({"a": 5}) is None
    assert "b has 0" in (class_balance({"a": 1, "b": 0}) or "")


def test_at_most_ten_findings_of_a_kind_are_printed() -> None:
    lines = named("very short", [str(number) for number in range(12)])
    assert len(lines) == 11
    assert lines[-1] == "very short: 2 more (--json names all)"

"""examples/flow_images.py: flows under their own titles, in one scale, and the tables."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import hidden_two_stream as package
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.synthetic.training_scenes import generate_scene
from hidden_two_stream.types import FloatArray, RawClip
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.writer import write_video
from hidden_two_stream.weights.motion import save_motion_weights

TITLES = ["hidden (nano)", "DIS fast", "DIS medium"]


@pytest.fixture(scope="module")
def example(example_script: Callable[[str], ModuleType]) -> ModuleType:
    return example_script("flow_images")


@pytest.fixture(scope="module")
def frames() -> RawClip:
    return np.ascontiguousarray(generate_scene(3, num_frames=2, height=48, width=64).frames)


def uniform(u: float, v: float) -> FloatArray:
    flow = np.empty((2, 48, 64), np.float32)
    flow[0], flow[1] = u, v
    return flow


def test_flows_by_title(example: ModuleType, frames: RawClip) -> None:
    """Each title's flow is that of its own method, on the grid of the pictures."""
    frames = frames.repeat(2, axis=1).repeat(2, axis=2)
    fields = example.flows(frames, example.estimators("nano"))
    assert list(fields) == TITLES
    assert [flow.shape for flow in fields.values()] == [(2, 96, 128)] * 3
    for title, name in (("DIS fast", "dis-fast"), ("DIS medium", "dis-medium")):
        np.testing.assert_array_equal(fields[title], estimator(name)(frames)[0])
    coarse = package.motion_estimator("nano").flow(frames)[0]
    times = 96 // coarse.shape[1]
    assert times == 2
    means = fields["hidden (nano)"].reshape(2, 48, 2, 64, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(means[:, 1:-1, 1:-1].mean(), times * coarse[:, 1:-1, 1:-1].mean(), atol=0.02)
    assert not np.array_equal(fields["DIS fast"], fields["DIS medium"])


def test_sheet(example: ModuleType, frames: RawClip) -> None:
    """Under each title lies its flow in the common scale, five times as large; the wheel is to the right."""
    fields = {"right": uniform(4, 0), "up": uniform(0, -2), "still": uniform(0, 0)}
    shown = example.panels(frames, fields, 4.0, show=False)
    assert [panel.title for panel in shown] == list(fields)
    picture = example.sheet(shown, 4.0)
    top, gap, side = example.TITLE, example.GAP, 64 * 5
    assert picture.shape == (top + 240, 3 * (side + gap) + example.LEGEND, 3)
    for number, (title, flow) in enumerate(fields.items()):
        left = number * (side + gap)
        drawn = picture[top:, left : left + side]
        assert (drawn == flow_to_color(flow, 4.0)[0, 0]).all(), title
        alone = example.sheet([shown[number]], 4.0)
        np.testing.assert_array_equal(picture[:top, left : left + side], alone[:top, :side])
        assert (picture[:top, left : left + side] < 128).any(), title
    assert (picture[top + 20, -example.LEGEND + gap + 48] != 255).any()  # the wheel, above its middle
    headings = [example.sheet([panel], 4.0)[:top, :side] for panel in shown]
    assert not np.array_equal(headings[0], headings[1])


def test_frame_only_where_asked_for(example: ModuleType, frames: RawClip) -> None:
    fields = {"right": uniform(4, 0)}
    assert [panel.title for panel in example.panels(frames, fields, 4.0, show=False)] == ["right"]
    first, second = example.panels(frames, fields, 4.0, show=True)
    assert (first.title, second.title) == ("frame", "right")
    np.testing.assert_array_equal(first.image[::5, ::5], frames[0])


def test_one_scale(example: ModuleType) -> None:
    """The fastest field decides; its fastest hundredth does not; next to nothing stays pale."""
    spike = uniform(0, 3)
    spike[:, :1, :5] = 90
    assert example.full_color({"slow": uniform(1, 0), "fast": spike}) == pytest.approx(3)
    assert example.full_color({"slow": uniform(0.1, 0)}) == 0.5
    half = uniform(3, 4)
    half[:, 24:, 1:] = 0
    assert example.speeds(half) == "5.00 / 5.00"
    half[:, 23] = 0
    assert example.speeds(half) == "0.00 / 5.00"


def test_warped_differences(example: ModuleType) -> None:
    """A picture moved by whole pixels is found again by its own motion, and not by the opposite one."""
    wide = np.random.default_rng(0).integers(0, 255, (48, 70, 3), dtype=np.uint8)
    frames = np.stack([wide[:, 3:67], wide[:, :64]])  # what is at x in the first is at x + 3 in the second
    still = np.zeros((48, 64), bool)
    still[:24] = True
    frames[1, :24] = frames[0, :24]
    fields = {"true": uniform(3, 0), "opposite": uniform(-3, 0)}
    found = example.warped_differences(frames, fields, still)
    assert list(found) == ["true", "opposite", "no motion"]
    means = {title: [float(part) for part in text.split(" / ")] for title, text in found.items()}
    plain = np.abs(frames[0, 24:].astype(float) - frames[1, 24:]).mean()
    assert means["no motion"] == pytest.approx([0, plain], abs=0.006)
    assert means["true"][1] < 0.08 * plain  # but for three columns that leave the picture
    assert means["opposite"][1] > 0.8 * plain
    assert means["true"][0] > 0.8 * plain
    assert example.warped_differences(frames, fields, still | True)["true"].endswith("/ none")


def test_pair_is_that_of_hts_flow(example: ModuleType, tmp_path: Path) -> None:
    """Frames t and t+1; a shorter side above 256 px becomes 256."""
    clip = np.stack([np.full((320, 400, 3), 40 * number, np.uint8) for number in range(5)])
    write_video(tmp_path / "clip.mp4", iter(clip), 25.0)
    pair = example.read_pair(tmp_path / "clip.mp4", 2)
    assert pair.shape == (2, 256, 320, 3)
    assert pair.mean(axis=(1, 2, 3)) == pytest.approx([80, 120], abs=3)


def test_slips(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTS_TEST_DATA", str(tmp_path))
    torch.manual_seed(0)
    save_motion_weights(tmp_path / "three.safetensors", build_motion("tiny", 3), "tiny", 3, {})
    cases = (
        (["gone"], "no motion weights 'gone'"),
        ([str(tmp_path / "three.safetensors")], "give weights for 2 or any"),
        (["--frames"], "name another folder with --out"),
        (["--out", str(tmp_path)], "sam2_05_default_juggle.mp4"),
    )
    for arguments, message in cases:
        assert example.main(arguments) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_real_clip(
    example: ModuleType, tmp_path: Path, data_root: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One clip: a small file as it goes into docs, a row of the table, and no long wait."""
    monkeypatch.setenv("HTS_TEST_DATA", str(data_root))
    began = time.monotonic()
    assert example.main(["--clip", "walking", "--out", str(tmp_path)]) == 0
    assert time.monotonic() - began < 10
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    lines = [cells for cells in lines if len(cells) == 5]
    assert [lines[0][1:], lines[3][1:]] == [[*TITLES, "no motion"], [*TITLES, "full color"]]
    assert all(re.fullmatch(r"walking \(\d+\)", lines[row][0]) for row in (2, 5))
    *warped, plain = (float(cell.split(" / ")[1]) for cell in lines[2][1:])
    assert max(warped) < plain  # a person walks: any of the flows is better than none
    *fast, full = lines[5][1:]
    assert float(full) == pytest.approx(max(float(cell.split(" / ")[1]) for cell in fast), abs=0.06)
    file = tmp_path / "flow-walking.jpg"
    assert file.stat().st_size < 150_000
    with VideoReader(file) as reader:
        assert reader.size == (example.TITLE + 240, 3 * (320 + example.GAP) + example.LEGEND)

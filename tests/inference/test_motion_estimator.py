"""The shipped MotionNets on pictures of different sizes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hidden_two_stream
from hidden_two_stream.errors import VideoError, VideoWarning
from hidden_two_stream.inference.flow_export import export_flow
from hidden_two_stream.inference.motion_estimator import default_side
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error_map
from hidden_two_stream.synthetic.clips import generate_clip


def test_small_videos_are_enlarged_for_stacked_networks() -> None:
    """And only for these, and only where nothing else is said; tiny knows the motion better then."""
    clip = generate_clip("right", 2, num_frames=11, size=64)
    seen = {name: hidden_two_stream.motion_estimator(name) for name in ("nano", "tiny", "tiny-2")}
    sides = {name: next(one.flow_windows(clip.frames))[0].shape[-1] for name, one in seen.items()}
    assert sides == {"nano": 64, "tiny": 128, "tiny-2": 128}
    assert next(seen["tiny"].flow_windows(clip.frames, 64))[0].shape[-1] == 64
    errors = [
        float(endpoint_error_map(flow, torch.from_numpy(clip.flow))[torch.from_numpy(clip.moving)].mean())
        for side in (64, None)
        for flow in [resize_flow(torch.from_numpy(seen["tiny"].flow(clip.frames, side)), 64, 64)]
    ]
    assert errors[1] < errors[0]


def test_what_is_wrong_with_a_video_is_a_warning(data_root: Path, tmp_path: Path) -> None:
    path = data_root / "odd" / "corrupted.mp4"
    estimator = hidden_two_stream.motion_estimator("nano")
    expected = "decoding stopped after 28 frames: damaged data"
    with pytest.warns(VideoWarning, match=f"^{re.escape(str(path))}: {expected}$"):
        assert len(estimator.flow(path, 16)) == 27
    found: list[str] = []
    for _ in estimator.flow_windows(path, 16, on_warning=found.append):
        assert not found
    assert found == [expected]
    assert export_flow(estimator, path, tmp_path / "flow.mp4", short_side=16).warnings == (expected,)


def test_frames_that_would_be_enlarged_to_gigabytes_are_refused() -> None:
    clip = np.zeros((2, 1, 100_000, 3), np.uint8)
    with pytest.raises(VideoError, match=r"cannot read video 'array': .* resized to 1600000 x 16"):
        hidden_two_stream.motion_estimator("nano").flow(clip)


@pytest.mark.parametrize(
    ("size", "smallest", "side"),
    [
        ((64, 64), 16, 64),
        ((64, 64), 128, 128),
        ((720, 1280), 128, 256),
        ((8, 8), 16, 16),
        ((8, 8), 128, 128),
        ((60, 1000), 128, 61),  # 1024 px wide, not 2133
        ((1000, 60), 128, 61),
        ((100, 2000), 128, 100),  # nothing to enlarge any more
        ((300, 4000), 128, 256),
    ],
)
def test_side_of_pictures(size: tuple[int, int], smallest: int, side: int) -> None:
    assert default_side(size, smallest) == side

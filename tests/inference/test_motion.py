"""The shipped MotionNets on pictures of different sizes."""

from __future__ import annotations

import torch

import hidden_two_stream
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error_map
from hidden_two_stream.video.synthetic import generate_clip


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

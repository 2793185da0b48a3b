"""Measures how much moves in each clip of a dataset, by the hidden flow of a MotionNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.clip_motion import (
    MEASURED_FRAMES,
    MEASURED_SIDE,
    MOVING_PX,
    ClipMotion,
    measured_starts,
)
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.inference.motion_estimator import MotionEstimator

__all__ = ["motion_measure"]

Floats = npt.NDArray[np.floating]


def motion_measure(estimator: MotionEstimator) -> Callable[[Sample, DecodedVideo], ClipMotion]:
    """Return a function that measures the motion of a clip.

    It looks at eight parts of the clip, and at all of it before it finds that nothing moves.

    Args:
        estimator: a network of pairs: `motion_estimator("nano")`.
    """

    def measure(sample: Sample, video: DecodedVideo) -> ClipMotion:
        found = _measured(estimator, sample, video, measured_starts(video.num_frames))
        if not found.nothing_moves:
            return found
        last = max(0, video.num_frames - MEASURED_FRAMES)
        return _measured(estimator, sample, video, [*range(0, last, MEASURED_FRAMES - 1), last])

    return measure


def _measured(
    estimator: MotionEstimator, sample: Sample, video: DecodedVideo, starts: Sequence[int]
) -> ClipMotion:
    clips = [range(start, min(start + MEASURED_FRAMES, video.num_frames)) for start in starts]
    if len(clips[0]) < 2:
        return ClipMotion(sample.name, sample.label, 0.0, 0.0, 0.0)
    speeds = [_speed(estimator, list(frames)) for frames in video.read_clips(clips, MEASURED_SIDE)]
    return ClipMotion(
        sample.name,
        sample.label,
        round(float(np.mean(speeds)), 3),
        round(max(float(np.percentile(speed, 99)) for speed in speeds), 3),
        round(float(np.median([(speed > MOVING_PX).mean() for speed in speeds])), 3),
    )


def _speed(estimator: MotionEstimator, frames: list[torch.Tensor]) -> Floats:
    """Return the speed (h, w) of the mean flow between frames (3, H, W), px of a frame."""
    flow = estimator.window_flow(frames).mean(axis=0)
    height, width = frames[0].shape[-2:]
    speed: Floats = np.hypot(flow[0] * width / flow.shape[-1], flow[1] * height / flow.shape[-2])
    return speed

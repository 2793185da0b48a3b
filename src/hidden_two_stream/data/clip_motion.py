"""How much moves in a clip, and clips in which nothing moves, or everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "MEASURED_FRAMES",
    "MEASURED_SIDE",
    "MOVING_PX",
    "ClipMotion",
    "measured_frames",
    "measured_starts",
]

MEASURED_SIDE = 64
"""Shorter side of the frames on which motion is measured, px."""

MOVING_PX = 0.2
"""Speed from which on a point counts as moving, px per frame."""

MEASURED_FRAMES = 5
"""Frames of each part of a clip that is measured: four pairs, whose flow is averaged."""

_LOOKS = 8  # parts of a clip that are measured
_STILL_PX = 0.2  # noise stays below on surfaces with texture
_MOST_MOVES = 0.75  # share of the frame


def measured_starts(num_frames: int) -> list[int]:
    """Return the first frames of the parts of a clip that are measured."""
    last = max(0, num_frames - MEASURED_FRAMES)
    return [int(start) for start in np.unique(np.linspace(0, last, _LOOKS).round())]


def measured_frames(num_frames: int) -> set[int]:
    """Return the frames of a clip that are measured, so that no others need to be kept."""
    starts = measured_starts(num_frames)
    return {start + i for start in starts for i in range(MEASURED_FRAMES) if start + i < num_frames}


@dataclass(frozen=True)
class ClipMotion:
    """The hidden motion of one clip, in px per frame of frames whose shorter side is 64 px.

    The flow is averaged over four neighboring pairs of frames: noise averages out, motion does not.

    Attributes:
        name: name of the sample.
        label: its class.
        mean_px: mean speed over the frame and the clip.
        peak_px: the highest 99th percentile of the speed in a frame.
        moving_share: part of the frame that moves by more than 0.2 px per frame, 0…1; the median over time.
    """

    name: str
    label: str
    mean_px: float
    peak_px: float
    moving_share: float

    @property
    def nothing_moves(self) -> bool:
        """Whether the clip is as still as a still scene with noise."""
        return self.peak_px < _STILL_PX

    @property
    def everything_moves(self) -> bool:
        """Whether most of the frame moves, as with a moving camera."""
        return self.moving_share > _MOST_MOVES

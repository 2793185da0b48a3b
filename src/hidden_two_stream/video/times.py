"""Presentation times of frames, in seconds from the first frame of a source.

A file's time stamps are used as long as each lies after the one before. Where they do not, the frame's number
divided by the rate takes their place: from there on in a stream, which cannot know what follows
(`FrameClock`); for every frame in a file that is decoded completely (`file_times`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import Frame, LazyFrame

__all__ = [
    "FALLBACK_FPS",
    "FAR_RATE",
    "FrameClock",
    "at_rate",
    "file_times",
    "index_times",
    "sampled_rate",
    "stamp_seconds",
    "unsampled_warning",
]

FALLBACK_FPS = 25.0
"""Rate of sources that have none: arrays, folders of images, and files that do not say."""

FAR_RATE = 1.5
"""Factor between two frame rates from which on the same motion looks different; a warning says so."""

_Frame = TypeVar("_Frame", Frame, LazyFrame)

_ROUNDING = 1e-9  # s: sums of times that should be equal
_BEFORE_ALL = -(1 << 63)  # below every time stamp


class FrameClock:
    """Times of frames in the order of decoding; they always increase strictly.

    From the first frame on whose time stamp is missing or not greater than the one before, times go on as
    last good time + n / rate, for n = 1, 2, …; later time stamps are ignored. If no time stamp was good, the
    first frame is at 0.

    Args:
        time_base: seconds per unit of the time stamps; None: unknown, as if all time stamps were missing.
        fps: mean rate; None: `FALLBACK_FPS`.
    """

    def __init__(self, time_base: Fraction | None, fps: float | None) -> None:
        self.repaired = False
        self._time_base = time_base
        self._fps = fps or FALLBACK_FPS
        self._first_pts: int | None = None
        self._last_pts = _BEFORE_ALL
        self._last_seconds = 0.0
        self._frames_since = 0  # frames from the one at `_last_seconds` to the next

    def seconds(self, pts: int | None) -> float:
        """Time of the next frame, whose time stamp is `pts` (None: missing)."""
        if self.repaired or pts is None or self._time_base is None or pts <= self._last_pts:
            self.repaired = True
            seconds = self._last_seconds + self._frames_since / self._fps
            self._frames_since += 1
            return seconds
        if self._first_pts is None:
            self._first_pts = pts
        self._last_pts = pts
        self._last_seconds = stamp_seconds(pts, self._first_pts, self._time_base)
        self._frames_since = 1
        return self._last_seconds


def stamp_seconds(pts: int, first_pts: int, time_base: Fraction) -> float:
    """Seconds from the first frame of a file to the frame with time stamp `pts`."""
    return (pts - first_pts) * time_base.numerator / time_base.denominator


def index_times(num_frames: int, fps: float | None) -> npt.NDArray[np.float64]:
    """Frame number / rate for each frame, (num_frames,) float64 s; without a rate, at `FALLBACK_FPS`."""
    return np.arange(num_frames) / (fps or FALLBACK_FPS)


def file_times(stamps: Sequence[float | None], fps: float | None) -> npt.NDArray[np.float64]:
    """Times of all frames of a completely decoded file.

    Args:
        stamps: the file's own time stamp of every frame, in the order of decoding, s; None where missing.
        fps: mean rate; None: `FALLBACK_FPS`.

    Returns:
        (len(stamps),) float64 s, strictly increasing from 0: the time stamps minus the first of them if they
        increase strictly, else frame number / rate for every frame.
    """
    present = np.array([stamp for stamp in stamps if stamp is not None], np.float64)
    if len(present) < len(stamps) or not np.all(np.diff(present) > 0):
        return index_times(len(stamps), fps)
    return present - present[:1]


def at_rate(frames: Iterable[_Frame], fps: float) -> Iterator[_Frame]:
    """Yield `fps` frames per second: for each time first + i / fps, the frame nearest to it.

    Where the video has more frames per second, frames are left out; where it has fewer, frames repeat. A
    video that already has this rate is unchanged, even if its time stamps are rounded.

    Args:
        frames: the frames of a video or of a part of it, in order.
        fps: frames per second, above 0.

    Yields:
        The frames with the times first + i / fps in place of their own; `index` stays the number in the file.
        Of two frames equally near, the earlier one. The last time is no more than a quarter of a step after
        the last frame.
    """
    wanted, first = 0, 0.0
    before: _Frame | None = None
    for frame in frames:
        if before is None:
            first = frame.pts_seconds
        else:
            middle = (before.pts_seconds + frame.pts_seconds) / 2 + _ROUNDING
            while first + wanted / fps <= middle:
                yield replace(before, pts_seconds=first + wanted / fps)
                wanted += 1
        before = frame
    while before is not None and first + wanted / fps <= before.pts_seconds + 0.25 / fps + _ROUNDING:
        yield replace(before, pts_seconds=first + wanted / fps)
        wanted += 1


def sampled_rate(own: float, fps: float) -> float:
    """Different frames per second of a video with rate `own` that is sampled at `fps`; 0: not sampled."""
    return min(own, fps) if fps else own


def unsampled_warning(own: float | None, fps: float) -> str | None:
    """Why the frames of a video with rate `own` are not sampled at `fps`; None: they are, or `fps` is 0."""
    if own or not fps:
        return None
    return f"its frame rate is unknown, so all frames were used, not {fps:g} per second"

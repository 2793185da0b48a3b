"""One row of labels per frame, and back to segments.

Convention: frames are numbered from 0, ranges of frames exclude their end, and frame k belongs to a segment
if start ≤ time of frame k < end. Files give times to a millisecond at best, so an edge that lies up to half a
millisecond after a frame counts as the time of that frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.annotations.model import Annotations, Intervals
from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import Segment

__all__ = ["FrameLabels", "frame_labels", "frame_of", "frame_range", "runs"]

_ROUNDING = 0.501e-3  # s: half a millisecond, and the error of floating-point numbers
_LARGEST_PART = 0.25  # of a frame: for rates at which half a millisecond is longer than that

FrameTimes = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """What happens in each frame of a video.

    Attributes:
        values: (T, behaviors) int8, one row per frame: 1 it happens, 0 it doesn't, -1 nobody looked.
            Several behaviors of a frame may be 1.
        names: the behaviors, in the order of the columns.
    """

    values: npt.NDArray[np.int8] = field(repr=False)
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check shape and values.

        Raises:
            UsageError: the values don't fit the names, or one is not -1, 0 or 1.
        """
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise UsageError(
                f"got frame labels of shape {self.values.shape} for {len(self.names)} behaviors; expected "
                "(frames, behaviors)"
            )
        if self.values.size and (self.values.min() < -1 or self.values.max() > 1):
            raise UsageError("got frame labels below -1 or above 1; expected 1, 0, or -1 for not labeled")

    def to_segments(
        self, pts_seconds: Sequence[float] | FrameTimes | None = None, *, fps: float | None = None
    ) -> list[Segment]:
        """Return a segment for each run of ones of each behavior.

        Args:
            pts_seconds: (T,) times of the frames, increasing.
            fps: frames per second, in place of the times.

        Returns:
            Segments sorted by start. A segment ends at the time of the first frame without it; the last
            frame lasts as long as the one before it.

        Raises:
            UsageError: neither or both of the times and the rate are given, or they don't fit.
        """
        edges = self._edges(pts_seconds, fps)
        found = [
            Segment(float(edges[start]), float(edges[stop]), name)
            for column, name in enumerate(self.names)
            for start, stop in runs(self.values[:, column] == 1)
        ]
        return sorted(found, key=lambda segment: (segment.start_seconds, segment.end_seconds))

    def labeled(
        self, pts_seconds: Sequence[float] | FrameTimes | None = None, *, fps: float | None = None
    ) -> Intervals:
        """Return the intervals of the frames in which no behavior is -1; arguments as `to_segments`."""
        edges = self._edges(pts_seconds, fps)
        seen = runs((self.values != -1).all(axis=1))
        return tuple((float(edges[start]), float(edges[stop])) for start, stop in seen)

    def to_annotations(
        self,
        video: str,
        pts_seconds: Sequence[float] | FrameTimes | None = None,
        *,
        fps: float | None = None,
    ) -> Annotations:
        """Return the segments of a video with the time that was looked at; arguments as `to_segments`."""
        item = Annotations.of(video, self.to_segments(pts_seconds, fps=fps), self.names)
        end = float(self._edges(pts_seconds, fps)[-1])
        return replace(
            item,
            labeled=self.labeled(pts_seconds, fps=fps),
            duration_seconds=end if math.isfinite(end) else None,
            fps=fps,
        )

    def _edges(self, pts_seconds: Sequence[float] | FrameTimes | None, fps: float | None) -> FrameTimes:
        """Times of all frames and of the end of the last one, (T + 1,) s."""
        count = len(self.values)
        if (pts_seconds is None) == (fps is None):
            raise UsageError("give either the times of the frames or their rate")
        if fps is not None:
            if not (fps > 0 and math.isfinite(fps)):
                raise UsageError(f"fps is {fps}; expected a number above 0")
            return np.arange(count + 1) / fps
        times = _checked_times(pts_seconds)
        if len(times) != count:
            raise UsageError(f"got {len(times)} times for {count} rows; expected one row per frame")
        last = times[-1] + (times[-1] - times[-2]) if count > 1 else math.inf
        return np.append(times, last)


def frame_labels(
    segments: Iterable[Segment],
    pts_seconds: Sequence[float] | FrameTimes,
    names: Sequence[str],
    labeled: Intervals | None = None,
) -> FrameLabels:
    """Return one row per frame: which of the behaviors `names` happen in it.

    A frame belongs to a segment if start ≤ time < end. A point marks the frame on screen at its time: the
    last frame that doesn't begin after it.

    Args:
        segments: what happens when; every label is one of `names`.
        pts_seconds: (T,) times of the frames, increasing.
        names: behaviors, in the order of the columns.
        labeled: intervals in which no segment means that nothing happens; elsewhere it means -1, not labeled.
            None: everywhere.

    Raises:
        UsageError: a label is not among `names`, a name occurs twice, or the times don't increase.
    """
    times = _checked_times(pts_seconds)
    columns = {name: column for column, name in enumerate(names)}
    if len(columns) < len(names):
        raise UsageError(f"a behavior is named twice in {list(names)}")
    values = np.full((len(times), len(names)), 0 if labeled is None else -1, np.int8)
    tolerance = _tolerance(float(np.median(np.diff(times))) if len(times) > 1 else math.inf)
    late = times + tolerance
    for start, end in labeled or ():
        values[np.searchsorted(late, start) : np.searchsorted(late, end)] = 0
    for segment in segments:
        if segment.label not in columns:
            raise UsageError(f"unknown label {segment.label!r}; expected one of {', '.join(names)}")
        first, stop = np.searchsorted(late, [segment.start_seconds, segment.end_seconds])
        if segment.is_point:
            stop = np.searchsorted(times, segment.start_seconds + tolerance, side="right")
            first = max(stop - 1, 0)
        values[first:stop, columns[segment.label]] = 1
    return FrameLabels(values, tuple(names))


def frame_range(start_seconds: float, end_seconds: float, fps: float) -> tuple[int, int]:
    """Return the frames [first, stop) of an interval at a constant rate; the one frame of a point."""
    if start_seconds == end_seconds:
        first = frame_of(start_seconds, fps)
        return first, first + 1
    tolerance = _tolerance(1 / fps)
    return (
        math.ceil((start_seconds - tolerance) * fps),
        math.ceil((end_seconds - tolerance) * fps),
    )


def frame_of(seconds: float, fps: float) -> int:
    """Return the frame on screen at a time, from 0, at a constant rate."""
    return max(math.floor((seconds + _tolerance(1 / fps)) * fps), 0)


def runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the ranges [first, stop) in which `flags`, (T,), are true."""
    padded = np.concatenate([[False], flags, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


def _tolerance(frame_seconds: float) -> float:
    return min(_ROUNDING, _LARGEST_PART * frame_seconds)


def _checked_times(pts_seconds: object) -> FrameTimes:
    times = np.asarray(pts_seconds, np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise UsageError("the times of the frames don't increase; expected one time per frame, in seconds")
    return times

"""Follows points or a box through the hidden motion of a video, in constant memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hidden_two_stream.data.clip_cache import require_resizable, resized
from hidden_two_stream.errors import UsageError, warn_of_video
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.motion.tracking import SMALLEST_BOX_PX, inside_frame, step_box, step_points
from hidden_two_stream.types import FloatArray, Frame, Image
from hidden_two_stream.video.crops import short_side_size
from hidden_two_stream.video.reader import Source, VideoReader, source_name

__all__ = ["Box", "Point", "Track", "TrackedFrame", "track", "validate_target"]

Point = tuple[float, float]
"""x and y, px of the video; the center of the top left pixel is at (0, 0)."""

Box = tuple[float, float, float, float]
"""x, y, w, h, px of the video: columns x to x + w − 1 and rows y to y + h − 1."""

_LOST_POINT = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """Where the points or the box are in one frame.

    Attributes:
        index: frame number in the video, from 0.
        pts_seconds: time of the frame; the first frame of the video is at 0.
        points: (N, 2) x and y, px of the video; NaN for lost points. Empty if a box is followed.
        box: x, y, w, h, px of the video; None if it is lost, or if points are followed.
        visible: (N,) whether each point, or (1,) whether the box, is still followed. What was lost once stays
            lost.
        errors_px: forward-backward errors of the step to this frame, shaped as `visible`, px of the video;
            NaN for the first frame, and after a loss. The median over the points of a box.
        image: (H, W, 3) uint8, the frame itself.
    """

    index: int
    pts_seconds: float
    points: npt.NDArray[np.float64]
    box: Box | None
    visible: npt.NDArray[np.bool_]
    errors_px: npt.NDArray[np.float64]
    image: Image = field(repr=False)


class Track(Iterator[TrackedFrame]):
    """An iterator over tracked frames.

    Attributes:
        fps: mean frames per second of the video; None: unknown.
        short_side: shorter side of the frames that MotionNet sees, px.
    """

    def __init__(self, frames: Iterator[TrackedFrame], fps: float | None, short_side: int) -> None:
        self.fps = fps
        self.short_side = short_side
        self._frames = frames

    def __next__(self) -> TrackedFrame:
        return next(self._frames)

    def __iter__(self) -> Iterator[TrackedFrame]:
        return self._frames  # so that a warning names the line of the loop


def track(
    estimator: MotionEstimator,
    source: Source,
    *,
    points: Sequence[Point] = (),
    box: Box | None = None,
    start_seconds: float = 0.0,
    short_side: int | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Track:
    """Return an iterator over the places of points, or of a box, from the start to the end of a video.

    Each step is checked forward and backward (`motion.tracking`). The flow is estimated on frames of
    `short_side` px, and read at the video's own resolution.

    Args:
        estimator: `motion_estimator("nano")`, or `Recognizer.motion_estimator` of a trained run.
        source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array.
        points: x and y of each point in the first frame, px of the video.
        box: x, y, w, h in the first frame, px of the video, instead of points.
        start_seconds: the first frame is the one on screen at this time.
        short_side: shorter side of the frames that MotionNet sees, px; None: see `MotionEstimator.side`.
        on_warning: called after the last frame if something is wrong with the video, with the reason; None: a
            `VideoWarning` is issued.

    Raises:
        UsageError: there is nothing at the path, the points, the box or the start don't lie in the video, or
            the side is below 16 px.
        VideoError: the video cannot be read, or its resized frames would be too large.
        CheckpointError: the flow is not finite.
    """
    reader = VideoReader(source)
    try:
        validate_target(points, box, reader.size)
        side = estimator.side(reader.size, short_side)
        require_resizable(source, reader.size, side)
        first = _first_frame(reader, source, start_seconds)
    except BaseException:
        reader.close()
        raise
    state = _State(points, box, reader.size, side)
    return Track(_track(estimator, reader, source, state, first, on_warning), reader.fps, side)


def validate_target(points: Sequence[Point], box: Box | None, size: tuple[int, int]) -> None:
    """Check what is to be followed.

    Args:
        points, box: as for `track`.
        size: (height, width) of the video, px.

    Raises:
        UsageError: there are neither points nor a box, or both; a value is not a finite number; the box is
            smaller than a pixel; or something lies outside the frame.
    """
    frame = f"the frame of {size[1]} x {size[0]} px"
    if (box is None) == (len(points) == 0):
        raise UsageError(
            f"got {len(points)} points and {'no' if box is None else 'a'} box; expected points, or a box"
        )
    for point in points:
        _require_numbers("point", point, ("x", "y"))
        if not inside_frame(np.array([point], np.float64), size)[0]:
            raise UsageError(
                f"the point {_listed(point)} lies outside {frame}; expected x from 0 to {size[1] - 1} and "
                f"y from 0 to {size[0] - 1}"
            )
    if box is None:
        return
    _require_numbers("box", box, ("x", "y", "w", "h"))
    x, y, w, h = box
    if min(w, h) < SMALLEST_BOX_PX:
        raise UsageError(
            f"the box {_listed(box)} has no area; expected w and h of at least {SMALLEST_BOX_PX} px"
        )
    if x < 0 or y < 0 or x + w > size[1] or y + h > size[0]:
        raise UsageError(f"the box {_listed(box)} reaches outside {frame}; expected x, y, w, h inside it")


def _require_numbers(noun: str, values: Any, names: Sequence[str]) -> None:
    given = list(values) if isinstance(values, Iterable) else [values]
    if len(given) != len(names) or not all(map(_is_number, given)):
        raise UsageError(
            f"the {noun} is {_listed(given)}; expected {len(names)} finite numbers: {','.join(names)}"
        )


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _listed(values: Sequence[object]) -> str:
    return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _first_frame(reader: VideoReader, source: Source, start_seconds: float) -> int:
    """Return the number of the frame on screen at the start."""
    if not _is_number(start_seconds) or start_seconds < 0:
        raise UsageError(f"start_seconds is {start_seconds}; expected 0 or more seconds")
    number = 0 if start_seconds == 0 else reader.number_at(start_seconds)
    if number is None:
        last = deque(reader.frames(), maxlen=1)[0]
        raise UsageError(
            f"start_seconds is {start_seconds:g}, but {source_name(source)!r} is over then; expected at most "
            f"the time of its last frame, {last.pts_seconds:.2f} s"
        )
    return number


class _State:
    """What is followed, and where it is."""

    def __init__(self, points: Sequence[Point], box: Box | None, size: tuple[int, int], side: int) -> None:
        self.points = np.array(points, np.float64).reshape(-1, 2)
        self.box = None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        number = len(self.points) or 1
        self.visible = np.ones(number, np.bool_)
        self.errors_px = np.full(number, np.nan)
        self.side = side
        self._size = size
        self._unit_px = size[0] / short_side_size(*size, side)[0]

    def step(self, forward: FloatArray, backward: FloatArray) -> None:
        """Move on by one frame."""
        if self.box is not None:
            moved = step_box(self.box, forward, backward, self._size, self._unit_px)
            self.box = moved.box if moved.consistent else None
            self.visible[:], self.errors_px[:] = moved.consistent, moved.error_px
            return
        followed = np.flatnonzero(self.visible)
        step = step_points(self.points[followed], forward, backward, self._size, self._unit_px)
        self.points[followed] = np.where(step.consistent[:, None], step.points, _LOST_POINT)
        self.errors_px = np.full(len(self.visible), np.nan)
        self.errors_px[followed], self.visible[followed] = step.errors_px, step.consistent

    def at(self, frame: Frame) -> TrackedFrame:
        """Return the present places as those in `frame`."""
        return TrackedFrame(
            frame.index,
            frame.pts_seconds,
            self.points.copy(),
            self.box,
            self.visible.copy(),
            self.errors_px.copy(),
            frame.image,
        )

    def stand_still(self) -> None:
        """Pass a frame when all is lost."""
        self.errors_px = np.full(len(self.visible), np.nan)


def _track(
    estimator: MotionEstimator,
    reader: VideoReader,
    source: Source,
    state: _State,
    first: int,
    on_warning: Callable[[str], None] | None,
) -> Iterator[TrackedFrame]:
    with reader:
        frames = reader.frames(first)
        frame = next(frames)
        yield state.at(frame)
        last = resized(frame.image[None], state.side)[0]
        while chunk := list(islice(frames, estimator.window_frames - 1)):
            flows: list[tuple[FloatArray, FloatArray]] = []
            if state.visible.any():  # when all is lost, the flow is of no use
                window = [last, *(resized(frame.image[None], state.side)[0] for frame in chunk)]
                last = window[-1]
                flows = _both_ways(estimator, window)
            for number, frame in enumerate(chunk):
                if state.visible.any():
                    state.step(*flows[number])
                else:
                    state.stand_still()
                yield state.at(frame)
        if reader.warning and on_warning is not None:
            on_warning(reader.warning)
        elif reader.warning:
            warn_of_video(source_name(source), reader.warning)


def _both_ways(estimator: MotionEstimator, window: list[Tensor]) -> list[tuple[FloatArray, FloatArray]]:
    """Return flow t → t+1 and flow t+1 → t of each pair of neighboring frames, each (2, h, w)."""
    backward = estimator.window_flow(window[::-1])[::-1]
    return list(zip(estimator.window_flow(window), backward, strict=True))

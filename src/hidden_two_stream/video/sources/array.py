"""Frames that are decoded already."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from functools import partial

from hidden_two_stream.types import Frame, LazyFrame, RawClip
from hidden_two_stream.video.times import FALLBACK_FPS

__all__ = ["ArraySource"]


class ArraySource:
    """The frames of a (T, H, W, 3) uint8 array; frame i is at i / `FALLBACK_FPS`."""

    name = "array"
    fps: float | None = None
    warning: str | None = None
    times_repaired = False
    is_timed = False
    expected_frames: int | None

    def __init__(self, clip: RawClip) -> None:
        self.size = (clip.shape[1], clip.shape[2])
        self._clip = clip
        self.expected_frames = len(clip)

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end where the array ends."""
        for index in wanted:
            if index >= len(self._clip):
                return
            yield Frame(self._clip[index], index, index / FALLBACK_FPS)

    def scan(self) -> Generator[LazyFrame, None, None]:
        """Yield all frames."""
        for index in range(len(self._clip)):
            yield LazyFrame(partial(self._clip.__getitem__, index), index, index / FALLBACK_FPS)

    def between(self, start_seconds: float, end_seconds: float) -> Generator[Frame, None, None]:
        """Yield the frames with start_seconds <= time < end_seconds."""
        frames = self.select(range(len(self._clip)))
        yield from (frame for frame in frames if start_seconds <= frame.pts_seconds < end_seconds)

    def number_at(self, seconds: float) -> int | None:
        """Number of the frame that is on screen at a time; None: the video is over then."""
        number = math.floor(seconds * FALLBACK_FPS)
        return number if 0 <= number < len(self._clip) else None

    def count(self) -> int:
        """Return the number of frames."""
        return len(self._clip)

    def close(self) -> None:
        """Do nothing: an array holds nothing open."""

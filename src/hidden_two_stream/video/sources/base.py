"""What every source of frames offers to `VideoReader`."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol

from hidden_two_stream.types import Frame, LazyFrame

__all__ = ["FrameSource"]


class FrameSource(Protocol):
    """An open source of frames; it keeps the rules of `hidden_two_stream.video.reader`.

    Attributes:
        name: how error messages name it.
        size: (height, width) of every frame, as shown.
        fps: mean frames per second; None: unknown.
        is_timed: whether its frames have presentation times of their own.
        times_repaired: whether time stamps of frames decoded so far were replaced.
        expected_frames: number of frames that the source announces, which can be wrong; None: unknown, or
            the source cannot be read twice.
    """

    name: str
    size: tuple[int, int]
    fps: float | None
    is_timed: bool
    times_repaired: bool
    expected_frames: int | None

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end where the source ends."""

    def scan(self) -> Generator[LazyFrame, None, None]:
        """Yield all frames; end where the source ends."""

    def between(self, start_seconds: float, end_seconds: float) -> Generator[Frame, None, None]:
        """Yield the frames with start_seconds <= time < end_seconds; end where times prove unusable."""

    def number_at(self, seconds: float) -> int | None:
        """Number of the frame that is on screen at a time; None: the video is over then."""

    def count(self) -> int:
        """Decode all frames and return their exact number."""

    def close(self) -> None:
        """Close the source."""

"""What every source of frames offers to `VideoReader`."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol

from hidden_two_stream.types import Frame

__all__ = ["FrameSource"]


class FrameSource(Protocol):
    """An open source of frames; it keeps the rules of `hidden_two_stream.video.reader`.

    Attributes:
        name: how error messages name it.
        size: (height, width) of every frame, after rotation.
        fps: mean frames per second; None: unknown.
        times_repaired: whether time stamps of frames decoded so far were replaced.
    """

    name: str
    size: tuple[int, int]
    fps: float | None
    times_repaired: bool

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end where the source ends."""

    def count(self) -> int:
        """Decode all frames and return their exact number."""

    def close(self) -> None:
        """Close the source."""

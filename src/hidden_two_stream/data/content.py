"""What identifies a video by its frames, whatever its file is called: a digest and a coarse outline."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import Frame, Image, LazyFrame

__all__ = ["MEAN_LEVELS", "Content", "ContentReader", "are_alike", "file_format"]

_Frame = TypeVar("_Frame", Frame, LazyFrame)

Outline = npt.NDArray[np.uint8]

# Between the differences of two encodings of one video and those of two videos: benchmarks/duplicates.py.
_MOST_LEVELS = 16
MEAN_LEVELS = 4.0

_SAMPLED = 64  # rows and columns of a frame that the outline looks at
_CELLS = 8  # rows and columns of the outline
_MOMENTS = 16  # frames of the outline
_IN_CELL = 3 * (_SAMPLED // _CELLS) ** 2  # values of a cell


@dataclass(frozen=True, eq=False)
class Content:
    """The frames of a video or of a labeled part, in short.

    Attributes:
        digest: equal for equal frames, as hexadecimal digits; a video file and a folder of its frames without
            loss have the same.
        outline: (16, 8, 8) uint8 gray levels of coarse cells, at evenly spaced frames. Encoding a video again
            changes them by a few levels.
        num_frames: number of frames.
    """

    digest: str
    outline: Outline
    num_frames: int


class ContentReader:
    """Collects the `Content` of a video frame by frame, in little memory.

    The digest is of a checksum and the outline of each frame: by chance, two videos that differ in a single
    frame agree in one of 2^32 cases, and a checksum takes a fifth of the time of a cryptographic hash.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._cells: list[Outline] = []

    def watch(self, frames: Iterable[_Frame]) -> Iterator[_Frame]:
        """Yield the frames, and take each."""
        for frame in frames:
            self.add(frame.image)
            yield frame

    def add(self, image: Image) -> None:
        """Take the next frame, (H, W, 3) uint8."""
        height, width, channels = image.shape
        pixels = np.ascontiguousarray(image).reshape(-1, channels)
        sampled = pixels.take(_sampled_pixels(height, width), axis=0).reshape(_CELLS**2, -1)
        total = sampled.sum(axis=1, dtype=np.uint32)
        cells = ((total + _IN_CELL // 2) // _IN_CELL).astype(np.uint8)
        self._hash.update(struct.pack("<III", height, width, zlib.crc32(pixels.data)))
        self._hash.update(cells.data)
        self._cells.append(cells.reshape(_CELLS, _CELLS))

    def content(self) -> Content:
        """Return the content of the frames so far; at least one."""
        moments = np.linspace(0, len(self._cells) - 1, _MOMENTS).round().astype(int)
        outline = np.stack([self._cells[moment] for moment in moments])
        return Content(self._hash.hexdigest(), outline, len(self._cells))


def are_alike(
    outlines: npt.NDArray[np.int16], other: npt.NDArray[np.int16], mean_levels: float = MEAN_LEVELS
) -> npt.NDArray[np.bool_]:
    """Return for each of N outlines (N, …) whether it is nearly that of `other`, with as many values.

    Args:
        outlines, other: outlines, or the same moments of them.
        mean_levels: largest mean difference, in gray levels.
    """
    distances = np.abs(outlines - other).reshape(len(outlines), -1)
    alike: npt.NDArray[np.bool_] = distances.max(axis=1) <= _MOST_LEVELS
    alike &= distances.mean(axis=1) <= mean_levels
    return alike


def file_format(path: str) -> str:
    """The kind of file that a video is, by its suffix; "" for a folder of frames.

    Nearly the same frames in two formats are one video. In one format, they may be cuts of a quiet recording.
    """
    return "" if os.path.isdir(path) else os.path.splitext(path)[1].lower()


@lru_cache(maxsize=8)
def _sampled_pixels(height: int, width: int) -> npt.NDArray[np.intp]:
    """Numbers of the pixels that the outline looks at, cell by cell."""
    rows, columns = (np.linspace(0, side - 1, _SAMPLED).round().astype(np.intp) for side in (height, width))
    side = _SAMPLED // _CELLS
    numbers = (rows[:, None] * width + columns).reshape(_CELLS, side, _CELLS, side)
    return numbers.transpose(0, 2, 1, 3).reshape(-1)

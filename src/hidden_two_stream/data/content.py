"""What identifies a video by its frames, whatever its file is called: a digest and a coarse outline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import Image

__all__ = ["Content", "ContentReader"]

Outline = npt.NDArray[np.uint8]

_SAMPLED = 64  # rows and columns of a frame that the outline looks at
_CELLS = 8  # rows and columns of the outline
_MOMENTS = 16  # frames of the outline


@dataclass(frozen=True, eq=False)
class Content:
    """The frames of a video or of a labeled part, in short.

    Attributes:
        digest: equal for equal frames, as hexadecimal digits; a video file and a folder of its frames without
            loss have the same.
        outline: (16, 8, 8) uint8 gray levels of coarse cells, at evenly spaced frames. Encoding a video again
            changes them by a few levels.
    """

    digest: str
    outline: Outline


class ContentReader:
    """Collects the `Content` of a video frame by frame, in little memory."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._cells: list[Outline] = []

    def add(self, image: Image) -> None:
        """Take the next frame, (H, W, 3) uint8."""
        self._hash.update(str(image.shape).encode())
        self._hash.update(np.ascontiguousarray(image).data)
        rows, columns = (np.linspace(0, side - 1, _SAMPLED).round().astype(int) for side in image.shape[:2])
        sampled = image[rows][:, columns]
        width = _SAMPLED // _CELLS
        cells = sampled.reshape(_CELLS, width, _CELLS, width, 3).mean(axis=(1, 3, 4), dtype=np.float32)
        self._cells.append(cells.round().astype(np.uint8))

    def content(self) -> Content:
        """Return the content of the frames so far; at least one."""
        moments = np.linspace(0, len(self._cells) - 1, _MOMENTS).round().astype(int)
        return Content(self._hash.hexdigest(), np.stack([self._cells[moment] for moment in moments]))

"""Images for tests, and an independent PNG decoder."""

from __future__ import annotations

import io

import av
import numpy as np
import numpy.typing as npt


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(height, width, 3) random RGB."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def decode(png: bytes) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a PNG file, by FFmpeg's decoder."""
    with av.open(io.BytesIO(png), mode="r") as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "rgb24"
        return frame.to_ndarray().astype(np.uint8, casting="no")

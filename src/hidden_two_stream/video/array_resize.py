"""The resizing of `video.transforms.resize` in NumPy, with the same pixels, for use without PyTorch.

PyTorch resizes uint8 images in whole numbers, as Pillow does: first along rows, then along columns. Each
output pixel is a sum of input pixels with integer weights, divided by a power of two and rounded. The weights
are those of a triangle (bilinear), which is widened where the image shrinks (antialiasing).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import RawClip, validate_clip
from hidden_two_stream.video.crops import short_side_size
from hidden_two_stream.video.limits import resized_too_large

__all__ = ["array_resized"]

_LARGEST_WEIGHT = 1 << 15  # PyTorch's weights have 16 bits with their sign
_MOST_BITS = 22  # 255 · 2²² still fits into 32 bits


def array_resized(clip: RawClip, size: int | tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return (T, H, W, 3) uint8 as a (T, 3, h, w) uint8 view of the resized frames.

    Args:
        clip: decoded frames.
        size: shorter side, or height and width, px.

    Raises:
        UsageError: `clip` is no such array, a side is below 1, or the result is too large, see `limits`.
    """
    frames = validate_clip(clip)
    before = (frames.shape[1], frames.shape[2])
    after = short_side_size(*before, size) if isinstance(size, int) else size
    if min(after) < 1:
        raise UsageError(
            f"got the size {after[0]} x {after[1]}; expected a height and width of at least 1 pixel"
        )
    reason = resized_too_large(before, after) if after != before else None
    if reason:
        raise UsageError(f"cannot resize a clip: {reason}")
    for axis in (2, 1):
        frames = _resized_along(frames, axis, after[axis - 1])
    return frames.transpose(0, 3, 1, 2)


def _resized_along(frames: RawClip, axis: int, length: int) -> RawClip:
    """Return frames (T, h, w, 3) with another length of axis 1 or 2."""
    if frames.shape[axis] == length:
        return frames
    places, weights, bits = _weights(frames.shape[axis], length)
    shape = (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1)
    total: npt.NDArray[np.int32] = np.full(1, 1 << (bits - 1), np.int32)  # rounds halves up
    for place, weight in zip(places, weights, strict=True):
        total = total + np.take(frames, place, axis).astype(np.int32) * weight.reshape(shape)
    pixels: RawClip = np.clip(total >> bits, 0, 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=8)
def _weights(before: int, after: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], int]:
    """Return where to look, with which weights, and the number of bits to shift the sums by.

    Convention: pixel centers, `align_corners=False`.

    Returns:
        Places (taps, after) and weights (taps, after): those of each output pixel stand in one column.
    """
    scale = before / after
    reach = max(scale, 1.0)
    centers = scale * (np.arange(after) + 0.5)
    first = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centers + reach + 0.5).astype(np.int64), before)
    places = first[None] + np.arange(2 * math.ceil(reach) + 1)[:, None]
    triangle = np.maximum(0.0, 1 - np.abs(places - centers + 0.5) / reach)
    shares = np.where(places < stop, triangle, 0.0)
    shares /= shares.sum(axis=0)
    bits = 0
    while bits < _MOST_BITS and int(0.5 + shares.max() * (1 << (bits + 1))) < _LARGEST_WEIGHT:
        bits += 1
    weights = np.floor(shares * (1 << bits) + 0.5).astype(np.int32)
    return np.minimum(places, before - 1), weights, bits

"""16-bit images that hold fewer bits. Cameras of 10 to 14 bits store them so, and they look nearly black.

The depth of a clip is the smallest of `_DEPTHS` that holds the largest value of all of its frames. All of its
frames are shown with that depth, so the brightness of one frame relative to another stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

__all__ = ["brightened", "depth_of", "depth_warning", "is_deep", "used_depth"]

_DEPTHS = (8, 10, 12, 14)
"""Bits that cameras have; clips with larger values use all 16 bits."""

# Formats of gray or RGB with 16 bits a value: values of a pixel in a plane, and how many of these are not
# alpha; then the same format without alpha. Y'CbCr video is not among them: it always uses its bits.
_FORMATS = {
    "gray16": (1, 1, "gray16le"),
    "ya16": (2, 1, "gray16le"),
    "rgb48": (3, 3, "rgb48le"),
    "bgr48": (3, 3, "rgb48le"),
    "rgba64": (4, 3, "rgb48le"),
    "bgra64": (4, 3, "rgb48le"),
    "gbrp16": (1, 1, "rgb48le"),
    "gbrap16": (1, 1, "rgb48le"),
}

_remembered: dict[Hashable, int | None] = {}


def is_deep(frame: VideoFrame) -> bool:
    """Whether `frame` holds gray or RGB values of 16 bits."""
    return _base_name(frame) in _FORMATS


def used_depth(key: Hashable, frames: Callable[[], Iterable[VideoFrame]]) -> int | None:
    """`depth_of` a whole clip.

    Decoding ends at a frame that uses all bits. The result is kept for the life of the process, because clips
    are read from the same file again and again.

    Args:
        key: stands for the content of the clip.
        frames: decodes all frames.
    """
    if key not in _remembered:
        _remembered[key] = depth_of(frames())
    return _remembered[key]


def depth_of(frames: Iterable[VideoFrame]) -> int | None:
    """Bits that the 16-bit values of some frames use, 8 to 14; None: all, or there are no such values."""
    peak = 0
    for frame in frames:
        peak = max(peak, _peak(frame) if is_deep(frame) else 0)
        if peak >= 1 << _DEPTHS[-1]:
            break
    return next((bits for bits in _DEPTHS if 0 < peak < 1 << bits), None)


def brightened(frame: VideoFrame, depth: int) -> VideoFrame:
    """Return a frame of 16-bit values as an 8-bit one in which `depth` bits are white; others as they are."""
    if not is_deep(frame):
        return frame
    plain = frame.reformat(format=_FORMATS[_base_name(frame)][2], threads=1)
    values = plain.to_ndarray().astype(np.uint16, copy=False)
    image = (values >> np.uint16(depth - 8)).clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[..., None].repeat(3, axis=2)
    return VideoFrame.from_ndarray(image, format="rgb24")


def depth_warning(depth: int) -> str:
    """What a user should know about frames that `brightened` shows."""
    return f"its 16-bit frames hold {depth}-bit values: brightened {1 << 16 - depth} times to be visible"


def _base_name(frame: VideoFrame) -> str:
    return frame.format.name.removesuffix("le").removesuffix("be")


def _peak(frame: VideoFrame) -> int:
    """The largest value that is not alpha, read in place: large images would be copied."""
    per_pixel, used, _ = _FORMATS[_base_name(frame)]
    order = ">u2" if frame.format.name.endswith("be") else "<u2"
    is_planar = per_pixel == 1 and len(frame.planes) > 1
    return max(_plane_peak(frame, index, per_pixel, used, order) for index in range(3 if is_planar else 1))


def _plane_peak(frame: VideoFrame, index: int, per_pixel: int, used: int, order: str) -> int:
    plane = frame.planes[index]
    values: npt.NDArray[np.uint16] = np.frombuffer(memoryview(plane), order)
    rows = values.reshape(frame.height, plane.line_size // 2)
    pixels = rows[:, : frame.width * per_pixel].reshape(frame.height, frame.width, per_pixel)
    return int(pixels[..., :used].max())

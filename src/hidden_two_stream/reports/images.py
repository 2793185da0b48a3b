"""Pixels as self-contained `<img>` elements, and the color wheel that explains drawn flow."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.reports.data import Image

__all__ = ["color_wheel_image", "image_tag", "png_bytes"]


def image_tag(pixels: Image, alt: str, target_side: int = 240) -> str:
    """An `<img>` element that holds its pixels as a PNG data URI.

    Small images keep every pixel, and browsers enlarge them without smoothing. To keep the page small, an
    image of at least 1.5 times `target_side` is averaged over blocks of pixels.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        alt: alternative text.
        target_side: approximate longer side of a reduced image, px.

    Raises:
        UsageError: `pixels` has another type, shape or dtype.
    """
    _check(pixels)
    factor = round(max(pixels.shape[:2]) / target_side)
    if 1 < factor <= min(pixels.shape[:2]):
        height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
        blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
        pixels = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    code = base64.b64encode(png_bytes(pixels)).decode("ascii")
    height, width = pixels.shape[:2]
    attributes = f'width="{width}" height="{height}" alt="{escape(alt)}"'
    if max(height, width) <= 128:
        attributes += ' class="px"'
    return f'<img {attributes} src="data:image/png;base64,{code}">'


def png_bytes(pixels: Image) -> bytes:
    """Encode an image losslessly as PNG (PNG specification, third edition, sections 9 to 11).

    Each row uses the filter None, Sub, or Up, whichever leaves the smallest differences.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Raises:
        UsageError: `pixels` has another type, shape or dtype.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    left, above = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, 1:], above[1:] = pixels[:, :-1], pixels[:-1]
    filtered = np.stack([pixels, pixels - left, pixels - above]).reshape(3, height, width * 3)
    cost = np.abs(filtered.view(np.int8).astype(np.int32)).sum(axis=2)
    chosen = cost.argmin(axis=0)
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0], rows[:, 1:] = chosen, filtered[chosen, np.arange(height)]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _check(pixels: object) -> None:
    expected = "expected a (H, W, 3) uint8 RGB array; convert it before it goes into the report"
    if not isinstance(pixels, np.ndarray):
        raise UsageError(f"got {type(pixels).__name__} as an image; {expected}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"got an array of {pixels.dtype} and shape {pixels.shape} as an image; {expected}")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def color_wheel_image(size: int = 96) -> Image:
    """Draw the color of each flow direction around the center; the rim has the full hue.

    Returns:
        (size, size, 3) uint8 RGB, white outside the wheel.
    """
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    flow = np.stack(np.meshgrid(axis, axis))
    wheel = flow_to_color(flow, max_px=1.0)
    wheel[np.linalg.norm(flow, axis=0) > 1] = 255
    return wheel

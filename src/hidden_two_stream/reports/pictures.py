"""Sections of the report that show pictures, and how pixels become an `<img>` without a second file."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.reports.charts import bar, percent
from hidden_two_stream.reports.data import FlowPicture, Picture, SamplePrediction

__all__ = ["flow_pictures", "picture", "png_bytes", "predictions", "wheel_legend"]


def flow_pictures(strips: Sequence[FlowPicture]) -> str:
    """A card per strip: two frames, the learned motion between them and, where known, the true one."""
    columns = 4 if any(strip.truth is not None for strip in strips) else 3
    cards = "".join(_strip(strip, columns) for strip in strips)
    return f'<div class="stack">{cards}</div>' if cards else ""


def wheel_legend(wheel: Picture | None) -> str:
    """The colour code of motion as a small figure."""
    if wheel is None:
        return ""
    drawn = picture(wheel, "colour wheel: the colour of each direction of motion", 184)
    return f'<figure class="wheel">{drawn}<figcaption>motion from the centre outward</figcaption></figure>'


def _strip(strip: FlowPicture, columns: int) -> str:
    shown = [("frame t", strip.frame), ("frame t + 1", strip.next_frame), ("learned motion", strip.flow)]
    if strip.truth is not None:
        shown.append(("true motion", strip.truth))
    figures = "".join(
        f"<figure>{picture(pixels, f'{name} of {strip.title}')}<figcaption>{name}</figcaption></figure>"
        for name, pixels in shown
    )
    pill = f'<span class="pill">{escape(strip.label)}</span>' if strip.label else ""
    note = f'<span class="small">{escape(strip.note)}</span>' if strip.note else ""
    kind = "strip" if columns == 4 else "strip three"
    return (
        f'<div class="card"><div class="head"><h3>{escape(strip.title)}</h3>{pill}{note}</div>'
        f'<div class="{kind}">{figures}</div></div>'
    )


def predictions(samples: Sequence[SamplePrediction]) -> str:
    """A card per video: its frames, the best classes with their scores, and what each stream said alone."""
    cards = "".join(_prediction(sample) for sample in samples)
    return f'<div class="predictions">{cards}</div>' if cards else ""


def _prediction(sample: SamplePrediction) -> str:
    frames = "".join(
        picture(pixels, f"frame {index} of {sample.title}", 128)
        for index, pixels in enumerate(sample.thumbnails, 1)
    )
    said = sample.top[0][0] if sample.top else ""
    if sample.truth is None:
        verdict = f'<div class="verdict">{escape(said)}</div>'
    elif said == sample.truth:
        verdict = f'<div class="verdict right">✓ {escape(said)}</div>'
    else:
        verdict = f'<div class="verdict wrong">✗ {escape(said)}, in truth {escape(sample.truth)}</div>'
    scores = "".join(
        f'<div class="score"><span title="{escape(name)}">{escape(name)}</span>'
        f"{bar(score, 'fused' if name == sample.truth or sample.truth is None else 'bad', height=8)}"
        f"<span>{percent(score, 0)}</span></div>"
        for name, score in sample.top
    )
    alone = "<br>".join(
        f"{escape(stream)} alone: {escape(name)}, {percent(score, 0)}"
        for stream, (name, score) in sample.streams.items()
    )
    said_alone = f'<div class="said">{alone}</div>' if alone else ""
    thumbs = f'<div class="thumbs">{frames}</div>' if frames else ""
    name = f'<div class="file">{escape(sample.title)}</div>'
    return f'<div class="card">{thumbs}{verdict}{name}{scores}{said_alone}</div>'


def png_bytes(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode RGB pixels without loss as a PNG file (PNG specification, third edition, sections 9 to 11).

    Each row takes whichever of the filters None, Sub and Up leaves the smallest differences.

    Args:
        pixels: (H, W, 3) uint8.

    Raises:
        UsageError: another shape or dtype.
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


def _check(value: object) -> None:
    expected = "expected a (H, W, 3) uint8 RGB array; convert it before it goes into the report"
    if not isinstance(value, np.ndarray):
        raise UsageError(f"got {type(value).__name__} as a picture; {expected}")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or 0 in value.shape:
        raise UsageError(f"got an array of {value.dtype} and shape {value.shape} as a picture; {expected}")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture(pixels: npt.NDArray[np.uint8], alt: str, most: int = 240) -> str:
    """An `<img>` that carries its pixels as a PNG data URI.

    Args:
        pixels: (H, W, 3) uint8. Small pictures are kept exactly and shown enlarged, pixel by pixel; one
            whose longer side is well above `most` is averaged over whole blocks, to keep the page small.
        alt: what a reader who cannot see the picture is told.
        most: wanted length of the longer side, pixels.

    Raises:
        UsageError: `pixels` has another shape or dtype.
    """
    _check(pixels)
    factor = round(max(pixels.shape[:2]) / most)
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

"""Draws the pictures of docs/method.md from generated video, as SVG files with their images inside.

    hts generate untrimmed-v1 --out practice
    (sort practice/clips into videos/, as in docs/tutorial.md)
    hts train --data videos/ --out runs/mine
    .venv/bin/python docs/scripts/method_pictures.py runs/mine practice/clips/jumping_jack_000.mp4

Writes method-network.svg (frames, hidden flow, streams, fusion) and method-warp.svg (how flow is learned
without labels) into --out, and prints the numbers in them. The run needs both streams.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import hidden_two_stream as hts
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.warp import warp
from hidden_two_stream.reports.images import color_wheel_image, png_bytes
from hidden_two_stream.types import FloatArray, Prediction, RawClip
from hidden_two_stream.video.reader import VideoReader

DOCS = Path(__file__).resolve().parents[1]
CARD, INK, QUIET, LINE, BOX = "#f6f7f9", "#1d2129", "#5b6472", "#8a93a3", "#ffffff"
SPATIAL, TEMPORAL, FUSED = "#2f6fb5", "#b5521f", "#3c7d3f"
SIDE, GAP, BAR = 96, 12, 172
DIFFERENCE_SCALE = 4.0
"""Differences of gray levels are drawn this many times as large."""

Image = npt.NDArray[np.uint8]


def text(x: float, y: float, words: str, size: float = 15, color: str = INK, anchor: str = "start") -> str:
    """Return one line of text."""
    style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def tile(x: float, y: float, pixels: Image, side: float = SIDE) -> str:
    """Return an image as a square with a thin edge."""
    code = base64.b64encode(png_bytes(pixels)).decode("ascii")
    place = f'x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"'
    image = f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{code}"/>'
    return f'{image}<rect {place} fill="none" stroke="{LINE}" stroke-width="0.8"/>'


def box(x: float, y: float, width: float, height: float, title: str, note: str, color: str = INK) -> str:
    """Return a box with a title and a quieter second line."""
    middle = x + width / 2
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    shape = f'<rect {place} rx="8" fill="{BOX}" stroke="{color}"/>'
    return (
        shape
        + text(middle, y + height / 2 - 3, title, 15, color, "middle")
        + text(middle, y + height / 2 + 14, note, 13, QUIET, "middle")
    )


def arrow(*points: tuple[float, float]) -> str:
    """Return a line through the points, with a head at its end."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#head)"/>'
    )


def bars(x: float, y: float, scores: dict[str, float], color: str, title: str, shown: int = 3) -> str:
    """Return the highest scores as bars under a title, `BAR` px wide."""
    parts = [text(x, y, title, 15, color)]
    best = sorted(scores.items(), key=lambda item: -item[1])[:shown]
    for row, (label, score) in enumerate(best):
        top = y + 10 + 21 * row
        parts.append(f'<rect x="{x}" y="{top}" width="{BAR}" height="17" rx="3" fill="#e3e7ee"/>')
        parts.append(
            f'<rect x="{x}" y="{top}" width="{max(2, BAR * score):.1f}" height="17" rx="3" fill="{color}" '
            'opacity="0.4"/>'
        )
        parts.append(text(x + 6, top + 13, label.replace("_", " "), 13))
        parts.append(text(x + BAR - 6, top + 13, f"{score:.2f}", 13, INK, "end"))
    return "".join(parts)


def card(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Return the SVG file: a light card, so that it reads the same on light and dark pages."""
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif"><title>{escape(title)}</title><defs>{head}</defs>'
        f'<rect width="{width}" height="{height}" rx="14" fill="{CARD}"/>' + "\n".join(parts) + "</svg>\n"
    )


def network_picture(frames: RawClip, flow: FloatArray, found: Prediction) -> str:
    """Return the path from frames to the fused scores, with what the network of the run saw and said."""
    fastest = float(np.hypot(flow[:, 0], flow[:, 1]).max())
    steps = [0, 4, 8]
    parts = [text(20, 30, "frames"), text(20, 196, "hidden flow, learned without labels")]
    parts += [tile(20 + number * (SIDE + GAP), 40, frames[step]) for number, step in enumerate(steps)]
    parts += [
        tile(20 + number * (SIDE + GAP), 206, flow_to_color(flow[step], fastest))
        for number, step in enumerate(steps)
    ]
    right = 20 + len(steps) * (SIDE + GAP)
    parts.append(arrow((right - 64, 146), (right - 64, 180)))
    parts.append(text(right - 72, 168, "MotionNet", 15, TEMPORAL, "end"))
    parts.append(arrow((right - 6, 96), (right + 24, 96)))
    parts.append(arrow((right - 6, 262), (right + 24, 262)))
    parts.append(box(right + 28, 62, 136, 68, "spatial stream", "a single frame", SPATIAL))
    parts.append(box(right + 28, 228, 136, 68, "temporal stream", "the motion", TEMPORAL))
    left = right + 186
    for top, stream, color in ((62, "spatial", SPATIAL), (228, "temporal", TEMPORAL)):
        scores = dict(zip(found.classes, map(float, found.streams[stream]), strict=True))
        parts.append(arrow((right + 164, top + 34), (left - 8, top + 34)))
        parts.append(bars(left, top - 8, scores, color, f"{stream} scores"))
    scores = dict(zip(found.classes, map(float, found.scores), strict=True))
    parts.append(
        arrow((left + BAR, 96), (left + BAR + 12, 96), (left + BAR + 12, 160), (left + BAR + 30, 160))
    )
    parts.append(
        arrow((left + BAR, 262), (left + BAR + 12, 262), (left + BAR + 12, 186), (left + BAR + 30, 186))
    )
    parts.append(bars(left + BAR + 36, 138, scores, FUSED, "fused"))
    return card(left + 2 * BAR + 54, 332, "Frames, hidden flow, two streams, and their fusion", parts)


def warp_picture(first: Image, second: Image, flow: FloatArray) -> tuple[str, float, float]:
    """Return frames, flow, and what is left when it is undone; and the mean differences, in gray levels."""
    image = torch.from_numpy(second).permute(2, 0, 1)[None].float()
    back = warp(image, torch.from_numpy(flow)[None])[0].permute(1, 2, 0).numpy()
    before = np.abs(first.astype(np.float32) - second)
    after = np.abs(first.astype(np.float32) - back)
    shown = [
        (first, "frame 1", ""),
        (second, "frame 2", ""),
        (flow_to_color(flow), "hidden flow", ""),
        (np.rint(back).clip(0, 255).astype(np.uint8), "frame 2, moved back", "along the flow"),
        (_shade(before), "frame 1 − frame 2", f"on average {before.mean():.1f} of 255"),
        (_shade(after), "frame 1 − moved back", f"on average {after.mean():.1f} of 255"),
    ]
    side = 200
    parts = []
    for number, (pixels, title, note) in enumerate(shown):
        x, y = 20 + (side + 14) * (number % 3), 28 + (side + 52) * (number // 3)
        parts += [text(x, y, title), tile(x, y + 10, pixels, side)]
        parts.append(text(x, y + side + 28, note, 13, QUIET))
    return (
        card(20 + 3 * (side + 14) + 6, 2 * (side + 52) + 16, "How flow is learned without labels", parts),
        float(before.mean()),
        float(after.mean()),
    )


def _shade(difference: FloatArray) -> Image:
    gray = 255 - np.clip(difference.mean(axis=2, keepdims=True) * DIFFERENCE_SCALE, 0, 255)
    return np.rint(np.repeat(gray, 3, axis=2)).astype(np.uint8)


def wheel_picture() -> str:
    """Return the color wheel that explains hidden flow."""
    wheel = color_wheel_image(160)
    parts = [tile(86, 34, wheel, 120)]
    parts += [
        text(146, 24, "up", 12, QUIET, "middle"),
        text(146, 174, "down", 12, QUIET, "middle"),
        text(78, 98, "left", 12, QUIET, "end"),
        text(214, 98, "right", 12, QUIET),
    ]
    return card(
        292, 190, "Colors of the hidden flow: the hue is the direction, the strength the speed", parts
    )


def read(run: Path, video: Path) -> tuple[RawClip, FloatArray, Prediction]:
    """Return frames (T, H, W, 3), hidden flow (T−1, 2, H, W) px, and what the run predicts.

    Raises:
        UsageError: the run lacks a stream.
    """
    recognizer = hts.load(run)
    found = recognizer.predict(video)
    if set(found.streams) != {"spatial", "temporal"}:
        raise UsageError(
            f"{str(run)!r} has the streams {sorted(found.streams)}; expected both; train recipe nano"
        )
    with VideoReader(video) as reader:
        frames = np.stack([frame.image for frame in reader.frames()])
    flow = resize_flow(torch.from_numpy(recognizer.flow(video)), *frames.shape[1:3]).numpy()
    return frames, flow, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder with both streams")
    parser.add_argument("video", type=Path, metavar="VIDEO", help="a generated clip")
    parser.add_argument(
        "--frame", type=int, default=14, help="first frame of the pictures (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=DOCS, metavar="FOLDER", help="(default: docs)")
    given = parser.parse_args(arguments)
    try:
        frames, flow, found = read(given.run, given.video)
        if not 0 <= given.frame < len(flow) - 9:
            raise UsageError(f"--frame is {given.frame}; expected 0 to {len(flow) - 10} in this video")
    except HiddenTwoStreamError as error:
        print(f"method_pictures: {error}", file=sys.stderr)
        return error.exit_code
    at = given.frame
    pair = int(np.hypot(flow[at : at + 9, 0], flow[at : at + 9, 1]).mean(axis=(1, 2)).argmax()) + at
    warped, before, after = warp_picture(frames[pair], frames[pair + 1], flow[pair])
    pictures = {
        "method-network.svg": network_picture(frames[at : at + 11], flow[at : at + 10], found),
        "method-warp.svg": warped,
        "method-wheel.svg": wheel_picture(),
    }
    for name, picture in pictures.items():
        with atomic_write(given.out / name) as partial:
            partial.write_text(picture, encoding="utf-8")
        print(f"{given.out / name}: {len(picture.encode()) / 1000:.0f} kB")
    print(f"difference of frames {pair} and {pair + 1}: {before:.2f} gray levels; moved back {after:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

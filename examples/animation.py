"""Draw the animation of the README: frames, hidden flow and predicted label of generated test clips.

    hts demo --out runs/demo
    .venv/bin/python examples/animation.py runs/demo [--out docs/overview.webp] [--classes right up ...]

Each column is one test clip of the demo, always the first of its class: the frames play above, their hidden
flow in color below (one color scale for all columns), and under them the fused prediction for the whole clip,
green if it is right and red if not. Writes an animated WebP. Text is drawn by OpenCV (extra `classical`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch

import hidden_two_stream as hts
from hidden_two_stream.errors import HiddenTwoStreamError, MissingDependencyError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.synthetic.dataset import clip_path
from hidden_two_stream.types import FloatArray, Prediction, RawClip
from hidden_two_stream.video.reader import VideoReader

try:
    import cv2
except ImportError as missing:
    sys.exit(f"animation: {missing}; it draws the text: install the extra 'classical'")

DOCS = Path(__file__).resolve().parents[1] / "docs"
CLASSES = ("right", "up", "grow", "turn_clockwise")
FPS, QUALITY = 8, 82

# The layout, in px of the image.
TILE, GAP, MARGIN, TITLES = 172, 14, 20, 112
TOP_FLOW = MARGIN + TILE + GAP
TOP_LABEL = TOP_FLOW + TILE + GAP
HEIGHT = TOP_LABEL + 54
RADIUS = 10
SHARP = 4
"""Text and shapes are drawn this many times as large and then averaged, for smooth edges."""

# Colors of GitHub's light theme, on a white card that is legible on light and dark pages.
CARD, BORDER, INK, QUIET = (255, 255, 255), (208, 215, 222), (31, 35, 40), (89, 99, 110)
RIGHT, WRONG, TRACK = (26, 127, 55), (207, 34, 46), (234, 238, 242)

Image = npt.NDArray[np.uint8]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Column:
    """One clip: its class, frames (T, H, W, 3), hidden flow (T−1, 2, TILE, TILE) px, and prediction."""

    label: str
    frames: RawClip
    flow: FloatArray
    prediction: Prediction


def read_columns(run: Path, classes: Sequence[str]) -> list[Column]:
    """Read and label the first test clip of each class.

    Raises:
        UsageError: `run` is not a folder of `hts demo`, or it has no such class.
    """
    recognizer = hts.load(run)
    columns = []
    for label in classes:
        video = clip_path(run / "data", label, "test", 0)
        if not video.is_file():
            raise UsageError(f"no test clip {str(video)!r}; give a folder of hts demo and classes of it")
        with VideoReader(video) as reader:
            frames = np.stack([frame.image for frame in reader.frames()])
        flow = resize_flow(torch.from_numpy(recognizer.flow(video)), TILE, TILE).numpy()
        columns.append(Column(label, frames, flow, recognizer.predict(video)))
    return columns


def draw(columns: Sequence[Column]) -> Iterator[Image]:
    """The images of the animation, (HEIGHT, width, 4) RGBA, one for each pair of frames."""
    card = empty_card(columns)
    fastest_px = max(float(np.hypot(*np.moveaxis(column.flow, 1, 0)).max()) for column in columns)
    corner = rounded(TILE, TILE, RADIUS)[..., None]
    for step in range(min(len(column.flow) for column in columns)):
        image = card.copy()
        for number, column in enumerate(columns):
            frame = cv2.resize(column.frames[step], (TILE, TILE), interpolation=cv2.INTER_CUBIC)
            flow = flow_to_color(column.flow[step], fastest_px)
            for top, tile in ((MARGIN, frame), (TOP_FLOW, flow)):
                place = image[top : top + TILE, left(number) : left(number) + TILE, :3]
                place[:] = np.rint(corner * tile + (1 - corner) * place)
        outline(image, columns)
        yield image


def left(number: int) -> int:
    """The left edge of a column, px."""
    return MARGIN + TITLES + number * (TILE + GAP)


def empty_card(columns: Sequence[Column]) -> Image:
    """Everything that stays the same: the card, titles, color wheel and predictions."""
    width = left(len(columns)) - GAP + MARGIN
    large = np.full((HEIGHT * SHARP, width * SHARP, 3), CARD, np.uint8)
    for middle, title in ((MARGIN + TILE // 2, "frames"), (TOP_FLOW + 30, "hidden flow")):
        write(large, title, MARGIN, middle, 0.5, INK)
    write(large, "learned", MARGIN, TOP_FLOW + 50, 0.42, QUIET)
    write(large, "without labels", MARGIN, TOP_FLOW + 66, 0.42, QUIET)
    write(large, "prediction", MARGIN, TOP_LABEL + 14, 0.5, INK)
    for number, column in enumerate(columns):
        found = column.prediction
        color = RIGHT if found.label == column.label else WRONG
        write(large, found.label.replace("_", " "), left(number), TOP_LABEL + 14, 0.5, color)
        score = f"{found.score:.2f}"
        write(large, score, left(number) + TILE - text_width(score, 0.5), TOP_LABEL + 14, 0.5, color)
        bar(large, left(number), TOP_LABEL + 26, 1.0, TRACK)
        bar(large, left(number), TOP_LABEL + 26, found.score, color)
    small = cv2.resize(large, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    paste_wheel(small, MARGIN, TOP_FLOW + 84, 64)
    alpha = np.rint(255 * rounded(HEIGHT, width, RADIUS + 4))[..., None].astype(np.uint8)
    edge = rounded(HEIGHT, width, RADIUS + 4) - np.pad(rounded(HEIGHT - 2, width - 2, RADIUS + 3), 1)
    edge = np.clip(edge, 0, 1)[..., None]
    bordered = np.rint(edge * np.array(BORDER) + (1 - edge) * small).astype(np.uint8)
    return np.concatenate([bordered, alpha], axis=2)


def outline(image: Image, columns: Sequence[Column]) -> None:
    """Draw a thin border around the flows, whose white ground would run into the card; in place."""
    ring = rounded(TILE, TILE, RADIUS) - np.pad(rounded(TILE - 2, TILE - 2, RADIUS - 1), 1)
    ring = np.clip(ring, 0, 1)[..., None]
    for number in range(len(columns)):
        place = image[TOP_FLOW : TOP_FLOW + TILE, left(number) : left(number) + TILE, :3]
        place[:] = np.rint(ring * np.array(BORDER) + (1 - ring) * place)


def write(large: Image, text: str, x: int, middle: int, scale: float, color: Color) -> None:
    """Write a line of text into the enlarged card, from `x` px, centered on the row `middle`; in place."""
    place = (x * SHARP, round((middle + 10 * scale) * SHARP))
    cv2.putText(large, text, place, cv2.FONT_HERSHEY_DUPLEX, scale * SHARP, color, SHARP, cv2.LINE_AA)


def text_width(text: str, scale: float) -> int:
    """The width of a line of text, px."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale * SHARP, SHARP)
    return round(width / SHARP)


def bar(large: Image, x: int, y: int, share: float, color: Color) -> None:
    """Draw a horizontal bar with round ends over `share` of a column into the enlarged card; in place."""
    half = 3
    ends = [((x + half + at) * SHARP, (y + half) * SHARP) for at in (0, round(share * (TILE - 2 * half)))]
    cv2.line(large, *ends, color, 2 * half * SHARP, cv2.LINE_AA)


def paste_wheel(image: Image, x: int, y: int, size: int) -> None:
    """Paste the color of each direction of motion as a disk; in place."""
    reach = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    v, u = np.meshgrid(reach, reach, indexing="ij")
    inside = rounded(size, size, size / 2)[..., None]
    place = image[y : y + size, x : x + size]
    place[:] = np.rint(inside * flow_to_color(np.stack([u, v]), 1.0) + (1 - inside) * place)


def rounded(height: int, width: int, radius: float) -> npt.NDArray[np.float64]:
    """How much of each pixel a rectangle with round corners covers, (height, width), 0…1."""
    y, x = (np.abs(np.arange(n) + 0.5 - n / 2) - (n / 2 - radius) for n in (height, width))
    distance = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None])
    return np.clip(radius + 0.5 - distance, 0, 1)


def save(images: Iterator[Image], path: Path) -> None:
    """Write an animated WebP that loops for ever.

    Raises:
        MissingDependencyError: PyAV was built without the encoder.
        OutputError: the file cannot be written.
    """
    if "libwebp_anim" not in av.codecs_available:
        raise MissingDependencyError("PyAV has no encoder 'libwebp_anim'; install the wheel of PyPI")
    first = next(images)
    with atomic_write(path) as part, av.open(str(part), "w", format="webp", options={"loop": "0"}) as file:
        stream = file.add_stream("libwebp_anim", rate=FPS, options={"quality": str(QUALITY)})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "bgra"
        stream.time_base = Fraction(1, FPS)
        for number, image in enumerate((first, *images)):
            frame = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format="bgra")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, draw, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of hts demo")
    parser.add_argument(
        "--out", type=Path, default=DOCS / "overview.webp", help="(default: docs/overview.webp)"
    )
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="NAME", help="(default: four)")
    given = parser.parse_args(arguments)
    try:
        save(draw(read_columns(given.run, given.classes)), given.out)
    except HiddenTwoStreamError as error:
        print(f"animation: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

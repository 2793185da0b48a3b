"""Draw the hidden flow of a trained MotionNet beside DIS, on pairs of frames of real clips.

    .venv/bin/python examples/flow_images.py [NAME_OR_FILE] [--out docs] [--clip NAME ...] [--frames]

Writes OUT/flow-CLIP.jpg and prints two tables: how much frame t differs from frame t+1 warped back by each
flow, and the speed of each flow. All methods see the same frames, at the size that `hts flow` uses, and the
flows of a clip share one color scale. The clips in HTS_TEST_DATA or ../shared/data belong to others: use
--frames, which puts frame t beside the flows, to look at them, not to publish.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import hidden_two_stream as hts
from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import atomic_write, make_folder
from hidden_two_stream.inference.motion_estimator import default_side
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.estimators.classical import Estimator, estimator
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.warp import warp
from hidden_two_stream.reports.images import color_wheel_image
from hidden_two_stream.types import FloatArray, RawClip
from hidden_two_stream.video.reader import VideoReader

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DOCS = Path(__file__).resolve().parents[1] / "docs"
HEIGHT = 256
"""Height of all panels, px: images up to half as high are enlarged by a whole number."""
GAP, TITLE, LEGEND, WHEEL = 8, 24, 128, 96
QUALITY = 90
NO_MOTION = "no motion"
JUDGE, STILL_PX = "DIS medium", 0.25
"""The method whose flow says which pixels are still, and the speed below which they are."""

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Clip:
    """A recording below HTS_TEST_DATA, and the frame t whose motion to t+1 is drawn."""

    name: str
    file: str
    frame: int


CLIPS = (
    Clip("juggling", "clips/sam2_05_default_juggle.mp4", 60),
    Clip("juggling-fast", "clips/sam2_05_default_juggle.mp4", 110),
    Clip("armwrestling", "clips/mmaction2_demo_armwrestling.mp4", 120),
    Clip("walking", "clips/person01_walking_d1_uncomp.avi", 40),
)


@dataclass(frozen=True)
class Panel:
    """An image (h, w, 3) RGB and its title."""

    title: str
    image: Image


def read_pair(path: Path, frame: int) -> RawClip:
    """Frames `frame` and the next, (2, h, w, 3), at the size that `hts flow` uses.

    Raises:
        UsageError: there is no such file.
        VideoError: the file cannot be read, or ends before `frame`.
    """
    with VideoReader(path) as reader:
        images = resized(reader.read([frame, frame + 1]), default_side(reader.size))
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def estimators(source: str) -> dict[str, Estimator]:
    """The network, DIS fast and DIS medium, by title, in the order of the panels.

    Raises:
        UsageError: there are no such weights, or they are not for pairs of frames.
        MissingDependencyError: OpenCV is not installed.
    """
    trained = hts.motion_estimator(source)
    if trained.num_frames not in (0, 2):
        raise UsageError(f"{source!r} takes {trained.num_frames} frames at once; give weights for 2 or any")

    def hidden(frames: RawClip) -> FloatArray:
        return trained.flow(frames, min(frames.shape[1:3]))

    return {
        f"hidden ({Path(source).stem})": hidden,
        "DIS fast": estimator("dis-fast"),
        JUDGE: estimator("dis-medium"),
    }


def flows(frames: RawClip, methods: Mapping[str, Estimator]) -> dict[str, FloatArray]:
    """The flow (2, H, W) px of the pair `frames` (2, H, W, 3) by each method, by title."""
    size = frames.shape[1:3]
    return {
        title: resize_flow(torch.from_numpy(flow(frames)[0]), *size).numpy()
        for title, flow in methods.items()
    }


def full_color(fields: Mapping[str, FloatArray]) -> float:
    """The speed, px, of full color: the highest 99th percentile of the fields, at least 0.5."""
    return max(0.5, *(float(np.percentile(np.hypot(*flow), 99)) for flow in fields.values()))


def warped_differences(frames: RawClip, fields: Mapping[str, FloatArray], still: Mask) -> dict[str, str]:
    """Means of |frame t − frame t+1 warped back|, of 255, over still and over moving pixels, by title.

    Args:
        frames: (2, H, W, 3).
        fields: flows (2, H, W) px, by title.
        still: mask (H, W).
    """
    first, second = torch.from_numpy(frames).permute(0, 3, 1, 2).float().split(1)
    found = {}
    for title, flow in {**fields, NO_MOTION: np.zeros((2, *still.shape), np.float32)}.items():
        difference = (first - warp(second, torch.from_numpy(flow)[None])).abs().mean(dim=1)[0].numpy()
        parts = (difference[still], difference[~still])
        found[title] = " / ".join(f"{part.mean():.2f}" if part.size else "none" for part in parts)
    return found


def speeds(flow: FloatArray) -> str:
    """The median and the 99th percentile of the speed, px."""
    return " / ".join(f"{np.percentile(np.hypot(*flow), part):.2f}" for part in (50, 99))


def panels(frames: RawClip, fields: Mapping[str, FloatArray], max_px: float, *, show: bool) -> list[Panel]:
    """The flows in color, in their order, after frame t if `show`."""
    drawn = [Panel(title, enlarged(flow_to_color(flow, max_px))) for title, flow in fields.items()]
    return [Panel("frame", enlarged(frames[0])), *drawn] if show else drawn


def enlarged(image: Image) -> Image:
    """The image, enlarged by the largest whole number that fits into HEIGHT."""
    times = max(1, HEIGHT // image.shape[0])
    return image.repeat(times, axis=0).repeat(times, axis=1)


def sheet(shown: Sequence[Panel], max_px: float) -> Image:
    """All panels in a row, with titles above, and the color wheel with its scale on the right."""
    height = TITLE + max(max(panel.image.shape[0] for panel in shown), WHEEL + 2 * TITLE)
    columns = []
    for panel in shown:
        column = np.full((height, panel.image.shape[1] + GAP, 3), 255, np.uint8)
        column[TITLE : TITLE + panel.image.shape[0], :-GAP] = panel.image
        columns.append(write(column, panel.title, 0))
    legend = np.full((height, LEGEND, 3), 255, np.uint8)
    legend[TITLE : TITLE + WHEEL, GAP : GAP + WHEEL] = color_wheel_image(WHEEL)
    write(legend, f"to {max_px:.1f} px", TITLE + WHEEL)
    columns.append(write(legend, "darker: faster", TITLE + WHEEL + TITLE))
    return np.concatenate(columns, axis=1)


def write(image: Image, text: str, top: int) -> Image:
    """Write a line of text with its upper edge in row `top`, in place, and return `image`."""
    import cv2  # after `estimators`, whose error names the extra to install

    place = (2, top + TITLE - 8)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (36, 41, 47), 1, cv2.LINE_AA)
    return image


def save(image: Image, path: Path) -> None:
    """Write a JPEG file with color at full resolution.

    Raises:
        OutputError: the file cannot be written.
    """
    import cv2

    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])
    with atomic_write(path) as file:
        file.write_bytes(encoded.tobytes())


def draw(
    clip: Clip, root: Path, methods: Mapping[str, Estimator], *, show: bool
) -> tuple[Image, list[str], list[str]]:
    """The sheet of a clip, and its row in each table.

    Raises:
        UsageError, VideoError: as `read_pair`.
    """
    frames = read_pair(root / clip.file, clip.frame)
    fields = flows(frames, methods)
    max_px = full_color(fields)
    still = np.hypot(*fields[JUDGE]) < STILL_PX
    name, differences = f"{clip.name} ({clip.frame})", warped_differences(frames, fields, still)
    image = sheet(panels(frames, fields, max_px, show=show), max_px)
    return (
        image,
        [name, *differences.values()],
        [name, *map(speeds, fields.values()), f"{max_px:.1f}"],
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, draw, print."""
    names = [clip.name for clip in CLIPS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", nargs="?", default="nano", metavar="NAME_OR_FILE",
                        help="motion weights for pairs (default: nano)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=DOCS, metavar="FOLDER", help="(default: docs)")
    parser.add_argument("--clip", nargs="+", default=names, choices=names, help="(default: all)")
    parser.add_argument("--frames", action="store_true", help="also draw frame t: to look at, not to publish")
    given = parser.parse_intermixed_args(arguments)
    root = Path(os.environ.get("HTS_TEST_DATA") or DATA)
    try:
        if given.frames and given.out.resolve() == DOCS:
            raise UsageError("frames of others' clips stay out of docs; name another folder with --out")
        methods = estimators(given.network)
        differences, fastest = [], []
        for clip in (clip for clip in CLIPS if clip.name in given.clip):
            image, *rows = draw(clip, root, methods, show=given.frames)
            differences.append(rows[0])
            fastest.append(rows[1])
            save(image, make_folder(given.out) / f"flow-{clip.name}.jpg")
    except HiddenTwoStreamError as error:
        print(f"flow_images: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Machine: {machine()}")
    print("\nMean |frame t − frame t+1 warped back| over R, G, B, of 255: still pixels / moving pixels")
    print(f"(still: slower than {STILL_PX} px by {JUDGE})\n")
    print(table(["clip (frame t)", *methods, NO_MOTION], differences))
    print("\nSpeed, px: median / 99th percentile, and the speed of full color\n")
    print(table(["clip (frame t)", *methods, "full color"], fastest))
    return 0


if __name__ == "__main__":
    sys.exit(main())

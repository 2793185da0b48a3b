"""Draw the hidden flow of a trained MotionNet beside DIS, on pairs of frames of real clips.

    .venv/bin/python examples/flow_pictures.py [NAME_OR_FILE] [--out docs] [--clip NAME ...] [--frames]

Writes OUT/flow-CLIP.jpg and prints two tables: how far frame t+1, warped back by each flow, is from frame t,
and how fast each flow is. All see the same frames, in the size that `hts flow` takes; flows of a clip share
one colour scale. The clips, of HTS_TEST_DATA or ../shared/data, are others': --frames, which puts frame
t beside the flows, is for looking at, not for publishing.
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
"""Of all panels, px: pictures up to half as high are enlarged by a whole number."""
GAP, TITLE, LEGEND, WHEEL = 8, 24, 128, 96
QUALITY = 90
NO_MOTION = "no motion"
JUDGE, STILL_PX = "DIS medium", 0.25
"""Whose flow says what is still, and below which speed."""

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
    """A picture (h, w, 3) RGB and what stands above it."""

    title: str
    picture: Image


def read_pair(path: Path, frame: int) -> RawClip:
    """Frames `frame` and the next, (2, h, w, 3), in the size that `hts flow` shows to MotionNet.

    Raises:
        UsageError: there is no such file.
        VideoError: it cannot be read, or ends before.
    """
    with VideoReader(path) as reader:
        pictures = resized(reader.read([frame, frame + 1]), default_side(reader.size))
    return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())


def estimators(source: str) -> dict[str, Estimator]:
    """By title, in the order of the panels: the network, DIS fast, DIS medium.

    Raises:
        UsageError: no such weights, or they are not for pairs of frames.
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
    """By title, the flow (2, H, W) px of the pair `frames` (2, H, W, 3), on its own grid."""
    size = frames.shape[1:3]
    return {
        title: resize_flow(torch.from_numpy(flow(frames)[0]), *size).numpy()
        for title, flow in methods.items()
    }


def full_colour(fields: Mapping[str, FloatArray]) -> float:
    """Speed, px, that gets the full colour: the highest of the fields' 99th percentiles, at least 0.5."""
    return max(0.5, *(float(np.percentile(np.hypot(*flow), 99)) for flow in fields.values()))


def warped_differences(frames: RawClip, fields: Mapping[str, FloatArray], still: Mask) -> dict[str, str]:
    """By title, means of |frame t − frame t+1 warped back|, of 255: over the pixels of `still`, over others.

    Args:
        frames: (2, H, W, 3).
        fields: by title, (2, H, W) px.
        still: (H, W).
    """
    first, second = torch.from_numpy(frames).permute(0, 3, 1, 2).float().split(1)
    found = {}
    for title, flow in {**fields, NO_MOTION: np.zeros((2, *still.shape), np.float32)}.items():
        difference = (first - warp(second, torch.from_numpy(flow)[None])).abs().mean(dim=1)[0].numpy()
        parts = (difference[still], difference[~still])
        found[title] = " / ".join(f"{part.mean():.2f}" if part.size else "none" for part in parts)
    return found


def speeds(flow: FloatArray) -> str:
    """Median and 99th percentile of the speed, px."""
    return " / ".join(f"{np.percentile(np.hypot(*flow), part):.2f}" for part in (50, 99))


def panels(frames: RawClip, fields: Mapping[str, FloatArray], max_px: float, *, show: bool) -> list[Panel]:
    """The coloured flows in their order, behind frame t where it is to be shown."""
    drawn = [Panel(title, enlarged(flow_to_color(flow, max_px))) for title, flow in fields.items()]
    return [Panel("frame", enlarged(frames[0])), *drawn] if show else drawn


def enlarged(picture: Image) -> Image:
    """Small pictures with every pixel as a square of as many as fit into HEIGHT; others as they are."""
    times = max(1, HEIGHT // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def sheet(shown: Sequence[Panel], max_px: float) -> Image:
    """All panels in a row, titles above, and the colour wheel with its scale to the right."""
    height = TITLE + max(max(panel.picture.shape[0] for panel in shown), WHEEL + 2 * TITLE)
    columns = []
    for panel in shown:
        column = np.full((height, panel.picture.shape[1] + GAP, 3), 255, np.uint8)
        column[TITLE : TITLE + panel.picture.shape[0], :-GAP] = panel.picture
        columns.append(write(column, panel.title, 0))
    legend = np.full((height, LEGEND, 3), 255, np.uint8)
    legend[TITLE : TITLE + WHEEL, GAP : GAP + WHEEL] = color_wheel_image(WHEEL)
    write(legend, f"to {max_px:.1f} px", TITLE + WHEEL)
    columns.append(write(legend, "darker: faster", TITLE + WHEEL + TITLE))
    return np.concatenate(columns, axis=1)


def write(picture: Image, text: str, top: int) -> Image:
    """`picture` with a line of text, its upper edge in row `top`; in place."""
    import cv2  # not before `estimators` has said where it comes from

    place = (2, top + TITLE - 8)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (36, 41, 47), 1, cv2.LINE_AA)
    return picture


def save(picture: Image, path: Path) -> None:
    """Write a JPEG file, with colour as fine as brightness.

    Raises:
        OutputError: it cannot be written.
    """
    import cv2

    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])
    with atomic_write(path) as file:
        file.write_bytes(encoded.tobytes())


def draw(
    clip: Clip, root: Path, methods: Mapping[str, Estimator], *, show: bool
) -> tuple[Image, list[str], list[str]]:
    """The sheet of a clip, and its row of each table.

    Raises:
        UsageError, VideoError: as `read_pair`.
    """
    frames = read_pair(root / clip.file, clip.frame)
    fields = flows(frames, methods)
    max_px = full_colour(fields)
    still = np.hypot(*fields[JUDGE]) < STILL_PX
    name, differences = f"{clip.name} ({clip.frame})", warped_differences(frames, fields, still)
    picture = sheet(panels(frames, fields, max_px, show=show), max_px)
    return (
        picture,
        [name, *differences.values()],
        [name, *map(speeds, fields.values()), f"{max_px:.1f}"],
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in Markdown."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, draw, print."""
    names = [clip.name for clip in CLIPS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", nargs="?", default="nano", metavar="NAME_OR_FILE",
                        help="motion weights for pairs (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=DOCS, metavar="FOLDER", help="(default: docs)")
    parser.add_argument("--clip", nargs="+", default=names, choices=names, help="(default: all)")
    parser.add_argument("--frames", action="store_true", help="show frame t too: to look at, not to publish")
    given = parser.parse_intermixed_args(arguments)
    root = Path(os.environ.get("HTS_TEST_DATA") or DATA)
    try:
        if given.frames and given.out.resolve() == DOCS:
            raise UsageError("frames of others' clips stay out of docs; name another folder with --out")
        methods = estimators(given.network)
        differences, fastness = [], []
        for clip in (clip for clip in CLIPS if clip.name in given.clip):
            picture, *rows = draw(clip, root, methods, show=given.frames)
            differences.append(rows[0])
            fastness.append(rows[1])
            save(picture, make_folder(given.out) / f"flow-{clip.name}.jpg")
    except HiddenTwoStreamError as error:
        print(f"flow_pictures: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Machine: {machine()}")
    print("\nMean |frame t − frame t+1 warped back| over R, G, B, of 255: where it is still / where it moves")
    print(f"(still: slower than {STILL_PX} px by {JUDGE})\n")
    print(table(["clip (frame t)", *methods, NO_MOTION], differences))
    print("\nSpeed, px: median / 99th percentile, and that of full colour\n")
    print(table(["clip (frame t)", *methods, "full colour"], fastness))
    return 0


if __name__ == "__main__":
    sys.exit(main())

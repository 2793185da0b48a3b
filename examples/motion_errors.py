"""Print flow errors of trained MotionNets beside classical estimators, on pairs with true flow.

    .venv/bin/python examples/motion_errors.py [NAME_OR_FILE ...] [--generated FOLDER] [--without tvl1]
        [--enlarged dis-medium@2]

The error is the end-point error in px of the true flow's own grid, averaged over pixels. The pairs are
Sintel alley_1 (frame 1 → 2) and FlyingChairs 0 to 3, from HTS_TEST_DATA or ../shared/data, in full size;
the flow of a network is resized to the true one. --generated adds the test clips of a folder written by
`hts generate motions-v1`, with the mean over moving pixels and over all. Networks for more than two frames
are tested on these clips only. Networks see the clips as `hts flow` does, which enlarges small video;
estimators see them as they are, or enlarged twice if their name ends in @2.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hidden_two_stream as hts
from hidden_two_stream.cli.output import print_json
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, MissingDependencyError, UsageError
from hidden_two_stream.motion.estimators.classical import ESTIMATORS, Estimator, estimator
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.motion.flo import read_flo
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.metrics import endpoint_error_map
from hidden_two_stream.progress import note
from hidden_two_stream.synthetic.dataset import load_ground_truth
from hidden_two_stream.types import FloatArray, RawClip
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.weights.motion import shipped_motion_weights

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHAIRS = tuple(f"Chairs {number}" for number in range(4))
MEAN, MOVING, ALL = "Chairs mean", "moving px", "all px"
UNKNOWN_PX = 1e9


@dataclass(frozen=True)
class Pair:
    """Two frames (2, H, W, 3) uint8 and the true flow (2, H, W) px between them."""

    name: str
    frames: RawClip
    truth: FloatArray


@dataclass(frozen=True)
class Method:
    """A function from frames (T, H, W, 3) to flow (T−1, 2, h, w) px, and whether it takes pairs of frames."""

    name: str
    flow: Estimator
    takes_pairs: bool = True


def read_images(*paths: Path) -> RawClip:
    """Frames (T, H, W, 3), one from each image file."""
    images = []
    for path in paths:
        with VideoReader(path) as reader:
            images.append(next(iter(reader.frames())).image)
    return np.stack(images)


def read_pairs(root: Path) -> list[Pair]:
    """The pair of Sintel and those of FlyingChairs.

    Raises:
        UsageError: the images are missing.
    """
    if not (root / "flow").is_dir():
        raise UsageError(
            f"no pairs with true flow in {str(root / 'flow')!r}; set HTS_TEST_DATA to their folder"
        )
    sintel, chairs = root / "flow" / "sintel_alley_1", root / "flow" / "flyingchairs"
    frames = read_images(sintel / "frame_0001.png", sintel / "frame_0002.png")
    pairs = [Pair("Sintel", frames, read_flo(sintel / "frame_0001.flo"))]
    for number, name in enumerate(CHAIRS):
        frames = read_images(*(chairs / f"{number:07d}-img{which}.ppm" for which in (0, 1)))
        pairs.append(Pair(name, frames, read_flo(chairs / f"{number:07d}-gt.flo")))
    return pairs


def test_clips(folder: Path) -> list[Path]:
    """The test videos of a generated benchmark.

    Raises:
        UsageError: the folder has no labels.csv, or no test part.
    """
    index = folder / "labels.csv"
    if not index.is_file():
        raise UsageError(f"no {str(index)!r}; make the set with: hts generate motions-v1 --out {folder}")
    with index.open(newline="", encoding="utf-8") as file:
        videos = [folder / row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    if not videos:
        raise UsageError(f"{str(index)!r} lists no test videos; give a set with a test part")
    return videos


def truths(videos: Sequence[Path]) -> Iterator[tuple[RawClip, FloatArray, np.ndarray]]:
    """Frames, true flow and mask of the moving pixels, one video after the other."""
    for video in videos:
        known = load_ground_truth(video)
        if known is None:
            raise DataError(f"no true flow beside {str(video)!r}; make the set again with hts generate")
        with VideoReader(video) as reader:
            yield np.stack([frame.image for frame in reader.frames()]), *known


def error_map(flow: FloatArray, truth: FloatArray) -> np.ndarray:
    """End-point errors (…, H, W) px of a flow, resized to the grid of `truth` (…, 2, H, W)."""
    estimate = resize_flow(torch.from_numpy(np.ascontiguousarray(flow)), *truth.shape[-2:])
    errors: np.ndarray = endpoint_error_map(estimate, torch.from_numpy(truth)).double().numpy()
    return errors


def pair_errors(method: Method, pairs: Sequence[Pair]) -> dict[str, float]:
    """The mean error of each pair and over FlyingChairs, without pixels of unknown flow."""
    found: dict[str, float] = {}
    for pair in pairs:
        known = (np.abs(pair.truth) < UNKNOWN_PX).all(axis=0)
        found[pair.name] = float(error_map(method.flow(pair.frames)[0], pair.truth)[known].mean())
    return found | {MEAN: float(np.mean([found[name] for name in CHAIRS]))}


def generated_errors(method: Method, videos: Sequence[Path]) -> dict[str, float]:
    """The mean error over the moving pixels of all clips, and over all pixels."""
    sums, counts = np.zeros(2), np.zeros(2)
    for frames, truth, moving in truths(videos):
        errors = error_map(method.flow(frames), truth)
        sums += errors[moving].sum(), errors.sum()
        counts += moving.sum(), errors.size
    return dict(zip((MOVING, ALL), (sums / counts).tolist(), strict=True))


def zero(frames: RawClip) -> FloatArray:
    """Flow of no motion, as a method."""
    return np.zeros((len(frames) - 1, 2, *frames.shape[1:3]), np.float32)


def network(source: str, device: str, short_side: int | None = None) -> Method:
    """A trained MotionNet that sees frames as they are; small ones enlarged as by `hts flow`."""
    trained = hts.motion_estimator(source, device)

    def flow(frames: RawClip) -> FloatArray:
        return trained.flow(frames, short_side or max(trained.smallest_side, min(frames.shape[1:3])))

    return Method(Path(source).stem, flow, trained.num_frames in (0, 2))


def classical(without: Sequence[str]) -> list[Method]:
    """The classical estimators that are installed and not left out."""
    found = []
    for name in ESTIMATORS:
        try:
            found += [] if name in without else [Method(name, estimator(name))]
        except MissingDependencyError as error:
            note(str(error))
    return found


def enlarged(names: Sequence[str]) -> list[Method]:
    """Estimators on enlarged frames, such as dis-medium@2; the pairs are large, so they skip those."""
    return [Method(name, find_estimator(name), takes_pairs=False) for name in names]


def measure(methods: Sequence[Method], pairs: Sequence[Pair], videos: Sequence[Path]) -> list[dict[str, Any]]:
    """One row per method: its name, and its errors by column."""
    rows: list[dict[str, Any]] = []
    for method in methods:
        note(method.name)
        on_pairs = pair_errors(method, pairs) if method.takes_pairs else {}
        on_clips = generated_errors(method, videos) if videos else {}
        rows.append({"method": method.name, "epe_px": on_pairs | on_clips})
    return rows


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A Markdown table of the rows."""
    lines = [f"| flow | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for row in rows:
        cells = (f"{row['epe_px'][name]:.2f}" if name in row["epe_px"] else "" for name in columns)
        lines.append(f"| {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def protocol(videos: Sequence[Path], short_side: int | None) -> str:
    """How the errors are measured."""
    text = "end-point error, px, mean over pixels; frames in full size, flow resized to the true one"
    if videos:
        text += f"; {len(videos)} generated test clips, over moving pixels and over all"
    if short_side is not None:
        return f"{text}; networks see frames with a shorter side of {short_side} px"
    return f"{text}; networks that stack frames see small ones enlarged, as in hts flow"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Flow errors of MotionNets beside classical estimators.")
    parser.add_argument("networks", nargs="*", metavar="NAME_OR_FILE", help="motion weights (default: all "
                        "that come with the package)")  # fmt: skip
    parser.add_argument("--generated", type=Path, metavar="FOLDER", help="written by hts generate motions-v1")
    parser.add_argument("--without", nargs="+", default=[], choices=ESTIMATORS, metavar="NAME",
                        help=f"leave out some of {', '.join(ESTIMATORS)}")  # fmt: skip
    parser.add_argument("--enlarged", nargs="+", default=[], metavar="NAME@2",
                        help="estimators that see the generated clips enlarged")  # fmt: skip
    parser.add_argument("--short-side", type=int, metavar="PX", help="of the frames that networks see "
                        "(default: as they are, small video enlarged as by hts flow)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of the networks (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_intermixed_args(arguments)
    try:
        names = given.networks or shipped_motion_weights()
        methods = [network(source, given.device, given.short_side) for source in names]
        methods += [*classical(given.without), *enlarged(given.enlarged), Method("zero flow", zero)]
        pairs = read_pairs(Path(os.environ.get("HTS_TEST_DATA") or DATA))
        videos = [] if given.generated is None else test_clips(given.generated)
        rows = measure(methods, pairs, videos)
    except HiddenTwoStreamError as error:
        print(f"motion_errors: {error}", file=sys.stderr)
        return error.exit_code
    columns = [*(pair.name for pair in pairs), MEAN, *((MOVING, ALL) if videos else ())]
    if given.json:
        print_json({"machine": machine(), "protocol": protocol(videos, given.short_side), "rows": rows})
    else:
        print(
            f"Machine: {machine()}\nProtocol: {protocol(videos, given.short_side)}\n\n{table(rows, columns)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

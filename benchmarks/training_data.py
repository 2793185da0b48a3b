"""Prints how long training waits for its data on this machine: cached and decoded again for every clip.

    python benchmarks/training_data.py [--recipes nano tiny] [--steps 30] [--workers 2] [--threads 1]

The data are generated H.264 clips of 320×240, 60 frames, in two classes. Each stage trains for a few steps.
The wait is the time in which the loop asks for the next batch and has none; the first batch of a stage, which
starts the decoding processes, stands apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import hidden_two_stream as hts
from hidden_two_stream.environment import machine
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training import loop
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video.writer import write_video

CACHE_MB = {"cached": 2048, "decoded again": 0}
FILES = 8  # of each class

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass
class Waits:
    """Waits of a stage for its first batch and for all others, and its time since the first, s."""

    first: float = 0.0
    others: float = 0.0
    whole: float = 0.0


def watched(batches: Batches, waits: Waits) -> Batches:
    """Yield batches, and add up how long each was waited for."""
    begin = asked = time.monotonic()
    for number, batch in enumerate(batches):
        now = time.monotonic()
        if number:
            waits.others += now - asked
        else:
            waits.first, begin = now - begin, now
        yield batch
        asked = time.monotonic()
        waits.whole = asked - begin


def main() -> None:
    """Train with each recipe and print the waits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["nano", "tiny"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{machine()}, {arguments.workers} workers")
    with tempfile.TemporaryDirectory() as folder:
        data = generated(Path(folder))
        for recipe in arguments.recipes:
            for name, megabytes in CACHE_MB.items():
                stages = measured(data, Path(folder) / "run", recipe, arguments, megabytes)
                print(f"\n{recipe}, {name} (load average {os.getloadavg()[0]:.1f})")
                for stage, waits in stages.items():
                    share = waits.others / waits.whole
                    shown = f"{stage}: waits {share:.1%} of {waits.whole:.1f} s"
                    print(f"  {shown}; first batch after {waits.first:.2f} s", flush=True)


def generated(folder: Path) -> Path:
    """Write the clips into a folder of classes and return it."""
    for name in ("grow", "shrink"):
        place = folder / "data" / name
        place.mkdir(parents=True)
        for number in range(FILES):
            frames = generate_clip(name, number, num_frames=60, size=320).frames[:, :240]
            write_video(place / f"{number}.mp4", frames)
    return folder / "data"


def measured(
    data: Path, out: Path, recipe: str, arguments: argparse.Namespace, cache_mb: int
) -> dict[str, Waits]:
    """Train a few steps of each stage; return the waits by stage."""
    shutil.rmtree(out, ignore_errors=True)
    steps = {f"{stage}.steps": arguments.steps for stage in ("motion", "spatial", "temporal")}
    overrides = {**steps, "calibration.method": "none"}
    resources = Resources(workers=arguments.workers, cache_mb=cache_mb, quiet=True, accelerator="cpu")
    found: dict[str, Waits] = {}
    plain = loop._StageRun._batches

    def batches(stage: Any) -> Batches:
        return watched(plain(stage), found.setdefault(stage.name, Waits()))

    with mock.patch.object(loop._StageRun, "_batches", batches):
        hts.train(data, out, recipe, overrides, resources=resources, protocol="center")
    return found


if __name__ == "__main__":
    main()

"""Time ten flow fields of 224×224: shipped MotionNets against classical estimators, in one process.

    .venv/bin/python examples/motion_speed.py [NAME ...] [--threads 2] [--rounds 15] [--without tvl1]

All methods see the same eleven frames of generated video, in the form that their callers have: networks
get normalized floats, estimators get uint8 images, which they turn gray. Every round times each method
once, so that other work of the machine meets all of them. A warm-up run of the same method comes right
before each timed run: it lets the waiting threads of the previous method go idle. The table gives medians
of the milliseconds, and of each round's ratio to the first network.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import hidden_two_stream as hts
from hidden_two_stream.cli.output import print_json
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError, MissingDependencyError
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.motion.estimators.classical import ESTIMATORS, estimator
from hidden_two_stream.parallel import threads
from hidden_two_stream.progress import note
from hidden_two_stream.synthetic.training_scenes import generate_scene
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.transforms import normalize, to_tensor
from hidden_two_stream.weights.motion import shipped_motion_weights

SIDE, NUM_FRAMES, SEED = 224, 11, 7


def network(source: str, frames: RawClip) -> Callable[[], Any]:
    """A function that computes the clip's flow by a trained MotionNet, in one batch of windows."""
    trained = hts.motion_estimator(source)
    length = trained.num_frames or NUM_FRAMES
    clip = normalize(to_tensor(frames)[None].contiguous()).contiguous()
    windows = torch.cat([clip[:, i : i + length] for i in range(0, NUM_FRAMES - 1, length - 1)])

    @torch.inference_mode()
    def run() -> Any:
        return trained.network(windows)

    return run


def classical(name: str, frames: RawClip) -> Callable[[], Any]:
    """A function that computes the clip's flow by a classical estimator."""
    estimate = estimator(name)
    return lambda: estimate(frames)


def measure(methods: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """One row per method: median milliseconds, and median ratio to the round's first method."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        for name, run in methods.items():
            milliseconds, _ = timed(run)
            if number:  # the first round warms up
                times[name].append(milliseconds)
    first = next(iter(times.values()))
    return [
        {
            "method": name,
            "ms": statistics.median(row),
            "ratio": statistics.median(a / b for a, b in zip(row, first, strict=True)),
        }
        for name, row in times.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NAME_OR_FILE", help="motion weights (default: all "
                        "that come with the package)")  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=2, help="of networks and OpenCV (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default: %(default)s)")
    parser.add_argument("--without", nargs="+", default=[], choices=ESTIMATORS, metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_intermixed_args(arguments)
    frames = np.ascontiguousarray(generate_scene(SEED, num_frames=NUM_FRAMES, height=SIDE, width=SIDE).frames)
    try:
        methods = {source: network(source, frames) for source in given.networks or shipped_motion_weights()}
    except HiddenTwoStreamError as error:
        print(f"motion_speed: {error}", file=sys.stderr)
        return error.exit_code
    for name in ESTIMATORS:
        try:
            methods |= {} if name in given.without else {name: classical(name, frames)}
        except MissingDependencyError as error:
            note(str(error))
    with threads(given.threads):
        rows, on = measure(methods, given.rounds), machine()
    protocol = (
        f"ten flow fields of {SIDE}×{SIDE}, {given.threads} threads, median of {given.rounds} rounds, "
        "each after a warm-up run"
    )
    if given.json:
        print_json({"machine": on, "protocol": protocol, "rows": rows})
        return 0
    print(f"Machine: {on}\nProtocol: {protocol}\n")
    print(f"| flow | ms | relative to {rows[0]['method']} |\n|---|---:|---:|")
    for row in rows:
        print(f"| {row['method']} | {row['ms']:.1f} | {row['ratio']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time ten flow fields of 224×224: shipped MotionNets against classical estimators, in one run.

    .venv/bin/python examples/motion_speed.py [NAME ...] [--threads 2] [--rounds 15] [--without tvl1]

All see the same eleven frames of generated video, as their callers have them: networks normalised floats,
estimators uint8 pictures, which they turn grey. Every round times each once, so that whatever else the
machine does meets all of them, right after one more run of its own that is not timed: OpenCV's threads wait
for their next work on a processor for a while, and would take it from a network that comes next. The table
gives medians of milliseconds, and of each round's ratio to the first network.
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
from hidden_two_stream.synthetic.scenery import generate_scene
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.transforms import to_frames, to_tensor
from hidden_two_stream.weights.motion import shipped_motion_weights

SIDE, NUM_FRAMES, SEED = 224, 11, 7


def network(source: str, frames: RawClip) -> Callable[[], Any]:
    """Flow of the clip by a trained MotionNet; one for fewer frames sees all of its windows as a batch."""
    trained = hts.motion_estimator(source)
    taken = trained.num_frames or NUM_FRAMES
    clip = to_frames(to_tensor(frames)[None].contiguous(), False).contiguous()
    windows = torch.cat([clip[:, i : i + taken] for i in range(0, NUM_FRAMES - 1, taken - 1)])

    @torch.inference_mode()
    def run() -> Any:
        return trained.network(windows)

    return run


def classical(name: str, frames: RawClip) -> Callable[[], Any]:
    """Flow of the clip by an estimator."""
    estimate = estimator(name)
    return lambda: estimate(frames)


def measure(methods: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Rows by method: median milliseconds, and the median of its time relative to the first of the round."""
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
        "each after a run of its own"
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

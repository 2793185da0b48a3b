"""Says what labeling a large collection takes and costs, what limits it, and what stored flow would add.

    python benchmarks/scale.py docs/scale.json [--hours 1e6] [--machines 1 10 100 1000] [--hop 1] …

The costs per file, frame and clip are measured by `benchmarks/scale_costs.py`, those of a GPU by
`benchmarks/gpu.py`. Everything else is an assumption with an option of its own: the collection (hours,
minutes per file, frame size and rate, bitrate), the machines (cores, GPU, network), the shared storage, and
prices in a currency of your choice. Printed are Markdown tables.

Model. An hour of video costs a machine CPU seconds, GPU seconds and bytes. Its rate is the least of cores ÷
CPU seconds, 1 ÷ GPU seconds, and link ÷ bytes; the rate of N machines is N times that, or what the shared
storage delivers. The last table simulates files of random lengths that workers take from one list, with
machines that fail, and compares the time with the model's.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR
GPU_CLIPS_PER_SECOND = {"nano": 12132.0, "tiny": 3835.0, "paper": 2991.0}
"""Whole model on one NVIDIA H100: docs/gpu.md. nano at 128 px, the others at 224 px."""
GB, TB, PB = 1e9, 1e12, 1e15


@dataclass(frozen=True)
class Collection:
    """What is to be labeled.

    Attributes:
        hours: hours of video.
        file_minutes: mean length of a file.
        pixels: of a frame.
        fps: frames per second.
        mbit: megabits per second of video.
        hop: seconds between the starts of two clips.
    """

    hours: float
    file_minutes: float
    pixels: float
    fps: float
    mbit: float
    hop: float

    @property
    def bytes_per_hour(self) -> float:
        """Bytes of encoded video per hour."""
        return self.mbit * 1e6 / 8 * HOUR


@dataclass(frozen=True)
class Machine:
    """One machine: cores, whether it has a GPU, its link in Gbit/s, and its price per hour."""

    cores: int
    has_gpu: bool
    gbit: float
    price: float


@dataclass(frozen=True)
class Cost:
    """What an hour of video costs a machine: seconds of a core, seconds of a GPU, bytes that are read."""

    cpu: float
    gpu: float
    bytes: float

    def rates(self, machine: Machine) -> dict[str, float]:
        """Return the hours of video per second that each part of a machine allows."""
        rates = {"CPU": machine.cores / self.cpu, "network": machine.gbit * 1e9 / 8 / self.bytes}
        return rates | ({"GPU": 1 / self.gpu} if self.gpu else {})


@dataclass(frozen=True)
class Plan:
    """The result for a number of machines: seconds, price, and what limits it."""

    seconds: float
    price: float
    limit: str


def cost_of(costs: dict[str, Any], collection: Collection, recipe: str, num_frames: int, gpu: bool) -> Cost:
    """Return the cost of an hour of video.

    Args:
        costs: the measurements.
        collection: the video.
        recipe: whose networks see each clip.
        num_frames: frames of a clip.
        gpu: whether a GPU runs the networks.
    """
    frames, clips = collection.fps * HOUR, HOUR / collection.hop
    used = min(frames, clips * num_frames)
    seconds = (
        frames * at_size(costs, "frame_ms", collection.pixels)
        + used * at_size(costs, "used_frame_ms", collection.pixels)
        + 60 / collection.file_minutes * at_size(costs, "file_ms", collection.pixels)
        + (0 if gpu else clips * costs["networks_ms"][recipe])
    ) / 1e3
    return Cost(seconds, clips / GPU_CLIPS_PER_SECOND[recipe] if gpu else 0, collection.bytes_per_hour)


def at_size(costs: dict[str, Any], name: str, pixels: float) -> float:
    """Return a time at a frame size, ms: interpolated between the measured sizes, beyond them by pixels."""
    sizes = [float(row["pixels"]) for row in costs["decoding"]]
    times = [float(row[name]) for row in costs["decoding"]]
    beyond = max(1.0, pixels / sizes[-1])
    return float(np.interp(pixels, sizes, times)) * beyond


def plan(cost: Cost, collection: Collection, machine: Machine, number: int, storage_gbit: float) -> Plan:
    """Return how long a number of machines takes, what it costs, and what limits it."""
    rates = {name: number * rate for name, rate in cost.rates(machine).items()}
    rates["storage"] = storage_gbit * 1e9 / 8 / cost.bytes
    limit = min(rates, key=lambda name: rates[name])
    seconds = collection.hours / rates[limit]
    return Plan(seconds, seconds / HOUR * number * machine.price, limit)


def simulated(
    cost: Cost, collection: Collection, machine: Machine, number: int, failures: float, seed: int
) -> float:
    """Simulate the labeling, file by file, and return its seconds; the storage is no limit here.

    Each core of each machine is a worker that takes the next file as soon as it has none. File lengths are
    log-normal, with a standard deviation of the logarithm of 1. A machine fails at random; the file of the
    worker that finds it failed starts again ten minutes later.

    Args:
        cost, collection, machine, number: as for `plan`.
        failures: failures of a machine per day.
        seed: of the lengths and failures.
    """
    draw = np.random.default_rng(seed)
    num_files = round(collection.hours * 60 / collection.file_minutes)
    lengths = draw.lognormal(math.log(collection.file_minutes) - 0.5, 1.0, num_files) / 60
    lengths *= collection.hours / lengths.sum()
    per_hour = machine.cores / min(cost.rates(machine).values())  # seconds of a worker for an hour of video
    per_second = failures / (24 * HOUR)
    free = [0.0] * (number * machine.cores)
    end = 0.0
    for length in lengths:
        now, seconds = heapq.heappop(free), float(length) * per_hour
        while per_second and (fails_after := draw.exponential(1 / per_second)) < seconds:
            now += fails_after + 600
        heapq.heappush(free, now + seconds)
        end = max(end, now + seconds)
    return end


# -- tables ----------------------------------------------------------------------------------------


def main() -> None:
    """Print the tables."""
    arguments = parsed()
    costs = json.loads(arguments.costs.read_text(encoding="utf-8"))
    height, width = (int(side) for side in arguments.frame.split("x")[::-1])
    collection = Collection(
        arguments.hours, arguments.file_minutes, height * width, arguments.fps, arguments.mbit, arguments.hop
    )
    plain = Machine(arguments.cores, False, arguments.gbit, arguments.price)
    with_gpu = Machine(arguments.gpu_cores, True, arguments.gbit, arguments.gpu_price)
    sections = (
        measured_table(costs),
        plan_table(costs, collection, (plain, with_gpu), arguments),
        stored_table(costs, collection, arguments),
        simulation_table(costs, collection, (plain, with_gpu), arguments),
    )
    print("\n\n".join("\n".join(section) for section in sections))


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("costs", type=Path, help="what scale_costs.py wrote")
    parser.add_argument("--hours", type=float, default=1e6)
    parser.add_argument("--file-minutes", type=float, default=5)
    parser.add_argument("--frame", default="640x480", help="width x height")
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--mbit", type=float, default=1.5)
    parser.add_argument("--hop", type=float, default=1, help="seconds from clip to clip")
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--gpu-cores", type=int, default=64)
    parser.add_argument("--gbit", type=float, default=10, help="link of a machine")
    parser.add_argument("--storage-gbit", type=float, default=400, help="of all machines together")
    parser.add_argument("--price", type=float, default=0.5, help="of an hour of a machine without a GPU")
    parser.add_argument("--gpu-price", type=float, default=4.0, help="of one with a GPU")
    parser.add_argument("--storage-price", type=float, default=0.02, help="of a gigabyte for a month")
    parser.add_argument("--failures", type=float, default=0.1, help="of a machine per day, simulated")
    parser.add_argument("--simulated-hours", type=float, default=20000)
    return parser.parse_args()


FRAMES = {"nano-branched": 11, "nano": 16, "tiny": 11, "paper": 11}


PARTS = {
    "frame_ms": "decode a frame",
    "used_frame_ms": "convert and resize a used frame",
    "file_ms": "open a file and decode its first frame",
}
"""Costs that depend on the size of a frame."""


def measured_table(costs: dict[str, Any]) -> list[str]:
    """Return what was measured."""
    sizes = ", ".join(f"{row['pixels'] / 1e6:.2g}" for row in costs["decoding"])
    lines = [
        f"{costs['machine']}, CPU time of one thread; frames of {sizes} megapixels",
        "",
        "| cost | ms |",
        "|---|---:|",
    ]
    for name, title in PARTS.items():
        times = ", ".join(f"{row[name]:.2g}" for row in costs["decoding"])
        lines.append(f"| {title} | {times} |")
    lines += [f"| {name}, both streams, one clip | {ms:.1f} |" for name, ms in costs["networks_ms"].items()]
    lines += [f"| {name.removesuffix('_ms')}, one pair | {costs['flow'][name]:.1f} |" for name in FLOWS]
    return lines


def plan_table(
    costs: dict[str, Any], collection: Collection, machines: tuple[Machine, Machine], arguments: Any
) -> list[str]:
    """Return time, price and limit by recipe, hardware and number of machines."""
    lines = [
        f"{collection.hours:,.0f} hours, {collection.hours * collection.bytes_per_hour / PB:.2f} PB; time "
        "and limit by number of machines; price with one machine, or more while the storage is no limit",
        "",
        "| networks | machines | "
        + " | ".join(f"{number:,}" for number in arguments.machines)
        + " | price |",
        "|---|---|" + "---:|" * (len(arguments.machines) + 1),
    ]
    for recipe, machine in rows(machines):
        cost = cost_of(costs, collection, recipe, FRAMES[recipe], machine.has_gpu)
        plans = [
            plan(cost, collection, machine, number, arguments.storage_gbit) for number in arguments.machines
        ]
        cells = " | ".join(f"{duration(one.seconds)}, {one.limit}" for one in plans)
        lines.append(f"| {recipe} | {described(machine)} | {cells} | {plans[0].price:,.0f} |")
    return lines


FLOWS = ("tvl1_ms", "dis-fast_ms")


def stored_table(costs: dict[str, Any], collection: Collection, arguments: Any) -> list[str]:
    """Return what precomputed flow would take: time of a core, bytes, and its price."""
    pairs = collection.hours * HOUR * collection.fps
    scale = collection.pixels / costs["flow"]["pixels"]
    size = pairs * costs["flow"]["pair_bytes"] * scale
    lines = [
        f"Flow of all pairs of frames at full size, stored: {size / PB:.1f} PB, "
        f"{size / GB * arguments.storage_price:,.0f} per month; read once more by every training or test",
        "",
        "| flow | core years | price of the machines |",
        "|---|---:|---:|",
    ]
    for name in FLOWS:
        seconds = pairs * costs["flow"][name] * scale / 1e3
        price = seconds / HOUR / arguments.cores * arguments.price
        lines.append(f"| {name.removesuffix('_ms')} | {seconds / YEAR:,.0f} | {price:,.0f} |")
    for recipe in ("nano", "tiny"):
        cost = cost_of(costs, collection, recipe, FRAMES[recipe], gpu=False)
        seconds = cost.cpu * collection.hours
        price = seconds / HOUR / arguments.cores * arguments.price
        lines.append(
            f"| none: {recipe}, decoding and labels included | {seconds / YEAR:,.0f} | {price:,.0f} |"
        )
    return lines


def simulation_table(
    costs: dict[str, Any], collection: Collection, machines: tuple[Machine, Machine], arguments: Any
) -> list[str]:
    """Return the simulated time over that of the model, for the recipe nano without a GPU."""
    part = Collection(**(vars(collection) | {"hours": arguments.simulated_hours}))
    cost = cost_of(costs, part, "nano", FRAMES["nano"], gpu=False)
    lines = [
        f"{part.hours:,.0f} hours simulated, nano, {described(machines[0])}",
        "",
        f"| machines | model | simulated, no failures | simulated, {arguments.failures:g} failures a day |",
        "|---:|---:|---:|---:|",
    ]
    for number in arguments.machines:
        seconds = plan(cost, part, machines[0], number, math.inf).seconds
        found = [simulated(cost, part, machines[0], number, rate, 0) for rate in (0.0, arguments.failures)]
        cells = " | ".join(f"{one / seconds:.3f} ×" for one in found)
        lines.append(f"| {number:,} | {duration(seconds)} | {cells} |")
    return lines


def rows(machines: tuple[Machine, Machine]) -> Iterator[tuple[str, Machine]]:
    """Yield each recipe with the machines whose cost for it was measured."""
    for recipe in FRAMES:
        yield recipe, machines[0]
        if recipe in GPU_CLIPS_PER_SECOND:
            yield recipe, machines[1]


def described(machine: Machine) -> str:
    """Return a machine in words."""
    return f"{machine.cores} cores{' and a GPU' if machine.has_gpu else ''}"


def duration(seconds: float) -> str:
    """Return a time in a unit that fits it."""
    for unit, length in (("years", YEAR), ("days", 24 * HOUR), ("hours", HOUR)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 60:.0f} minutes"


if __name__ == "__main__":
    main()

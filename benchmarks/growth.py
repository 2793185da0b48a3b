"""Measures how time and memory grow with the work, prints a table, and draws it.

    python benchmarks/growth.py [--out docs/growth.svg] [--repeats 3] [length resolution classes list workers]

- length: `hts predict` of one file of 320×240 with 30 to 3,000 frames;
- resolution: of one file of 60 frames, 160×120 to 1920×1080;
- classes: of a run that knows 2 to 10,000 classes;
- list: the time until the first result, for lists of 10 to 100,000 files;
- workers: 40 files with 1, 2 and 4 processes.

Each point is a process of its own with one thread: CPU time (for list and workers, wall-clock time) and the
largest memory of the process, start and libraries included. The least of the repeats counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import RunInfo, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.environment import machine
from hidden_two_stream.files import write_text
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

COMMAND = (sys.executable, "-m", "hidden_two_stream", "predict")
MEASURED = """
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, time.monotonic() - begin, used.ru_maxrss, done.returncode]))
"""
FRAMES, HEIGHT, WIDTH = 60, 240, 320
FILES = 40


@dataclass(frozen=True)
class Point:
    """One measurement: the size of the work, its time in seconds, and memory in MB (0: not measured)."""

    size: int
    seconds: float
    megabytes: float


def main() -> None:
    """Measure the axes that the arguments name, print them, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("axes", nargs="*", choices=[[], *AXES], default=[])
    parser.add_argument("--out", type=Path, help="where to draw the plot, SVG")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, one thread per process")
    found: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = prepared_run(Path(folder) / "run", 8)
        for name in arguments.axes or AXES:
            print(f"\n{name} (load average {os.getloadavg()[0]:.1f})", flush=True)
            place = Path(folder) / name
            place.mkdir()
            for point in AXES[name](place, run, arguments.repeats):
                found.setdefault(name, []).append(point)
                memory = f"{point.megabytes:8.0f} MB" if point.megabytes else ""
                print(f"  {point.size:>9,} {point.seconds:8.2f} s {memory}", flush=True)
    if arguments.out is not None:
        write_text(arguments.out, plot(found))


# -- axes ------------------------------------------------------------------------------------------


def length(place: Path, run: Path, repeats: int) -> Iterator[Point]:
    """Yield the cost of a file by its number of frames."""
    for frames in (30, 100, 300, 1000, 3000):
        path = place / f"{frames}.mp4"
        write_video(path, itertools.islice(itertools.cycle(clip()), frames))
        yield measured(frames, repeats, str(run), str(path))


def resolution(place: Path, run: Path, repeats: int) -> Iterator[Point]:
    """Yield the cost of a file by its number of pixels."""
    for height, width in ((120, 160), (240, 320), (480, 640), (720, 1280), (1080, 1920)):
        path = place / f"{height}.mp4"
        write_video(path, enlarged(clip(), height, width))
        yield measured(height * width, repeats, str(run), str(path))


def classes(place: Path, _run: Path, repeats: int) -> Iterator[Point]:
    """Yield the cost of a file by the number of classes of the run."""
    write_video(place / "clip.mp4", clip())
    for number in (2, 10, 100, 1000, 10000):
        run = prepared_run(place / str(number), number)
        yield measured(number, repeats, str(run), str(place / "clip.mp4"))


def entries(place: Path, run: Path, repeats: int) -> Iterator[Point]:
    """Yield the time until the first result by the number of files in a list."""
    write_video(place / "clip.mp4", clip())
    for number in (10, 100, 1000, 10_000, 100_000):
        paths = [place / f"{index}.mp4" for index in range(number)]
        for path in paths:
            path.symlink_to(place / "clip.mp4")
        (place / "list.txt").write_text("".join(f"{path}\n" for path in paths))
        seconds = min(first_result(run, place / "list.txt") for _ in range(repeats))
        yield Point(number, seconds, 0)
        for path in paths:
            path.unlink()


def workers(place: Path, run: Path, repeats: int) -> Iterator[Point]:
    """Yield the wall-clock time of many files by the number of processes."""
    write_video(place / "0.mp4", clip())
    for number in range(1, FILES):
        shutil.copy(place / "0.mp4", place / f"{number}.mp4")
    for number in (1, 2, 4):
        arguments = (str(run), str(place), "--workers", str(number))
        yield measured(number, repeats, *arguments, clock=1)


AXES: dict[str, Callable[[Path, Path, int], Iterator[Point]]] = {
    "length": length,
    "resolution": resolution,
    "classes": classes,
    "list": entries,
    "workers": workers,
}
UNITS = {
    "length": "frames of the file",
    "resolution": "pixels of a frame",
    "classes": "classes of the run",
    "list": "files in the list, to the first result",
    "workers": f"processes, {FILES} files",
}


# -- measuring -------------------------------------------------------------------------------------


def measured(size: int, repeats: int, *arguments: str, clock: int = 0) -> Point:
    """Run `hts predict` in processes of its own; return the least time and memory."""
    times, memory = [], []
    for _ in range(repeats):
        command = (sys.executable, "-c", MEASURED, *COMMAND, *arguments, "--quiet")
        printed = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment()
        ).stdout
        *clocks, kilobytes, code = json.loads(printed)
        if code:
            raise SystemExit(f"hts predict {' '.join(arguments)} ended with exit code {code}")
        times.append(clocks[clock])
        memory.append(kilobytes / 1e3)
    return Point(size, min(times), min(memory))


def first_result(run: Path, listed: Path) -> float:
    """Return the time until the first line of `hts predict`, s; then end it."""
    begin = time.monotonic()
    command = (*COMMAND, str(run), "--list", str(listed), "--quiet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - begin
        process.kill()
    if not line:
        raise SystemExit("hts predict printed nothing")
    return seconds


def environment() -> dict[str, str]:
    """Return the environment of a measured process."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


# -- inputs ----------------------------------------------------------------------------------------


def prepared_run(folder: Path, num_classes: int) -> Path:
    """Write a run of the recipe nano without training and return its folder."""
    recipe = load_recipe("nano")
    recipe = replace(recipe, input=replace(recipe.input, size=128, resize=128))
    torch.manual_seed(0)
    folder.mkdir()
    names = tuple(f"class {number}" for number in range(num_classes))
    save_run(folder, build_model(recipe, num_classes), RunInfo(recipe, names))
    return folder


def clip() -> RawClip:
    """Return FRAMES frames of HEIGHT×WIDTH."""
    return generate_clip("grow", 3, num_frames=FRAMES, size=WIDTH).frames[:, :HEIGHT]


def enlarged(frames: RawClip, height: int, width: int) -> RawClip:
    """Return frames of another size, pixels repeated."""
    rows = np.arange(height) * frames.shape[1] // height
    return frames[:, rows][:, :, np.arange(width) * frames.shape[2] // width]


# -- plot ------------------------------------------------------------------------------------------

PANEL, GAP, TOP = (210, 150), 60, 30
COLORS = {"seconds": "#0072b2", "megabytes": "#d55e00"}


def plot(found: dict[str, list[Point]]) -> str:
    """Return the measurements as SVG: a panel for each axis, both scales logarithmic."""
    width, height = PANEL
    panels = [
        f'<g transform="translate({GAP + number * (width + GAP)} {TOP})">{panel(UNITS[name], points)}</g>'
        for number, (name, points) in enumerate(found.items())
    ]
    whole = (GAP + len(panels) * (width + GAP), height + TOP + 60)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" font-size="11" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{GAP}" y="16"><tspan fill="{COLORS["seconds"]}">● seconds</tspan> '
        f'<tspan fill="{COLORS["megabytes"]}">● memory, GB</tspan></text>{"".join(panels)}</svg>\n'
    )


def panel(title: str, points: list[Point]) -> str:
    """Return one panel: time and, where it was measured, memory against the size of the work."""
    width, height = PANEL
    lines = {"seconds": [point.seconds for point in points]}
    if all(point.megabytes for point in points):
        lines["megabytes"] = [point.megabytes / 1e3 for point in points]
    values = [value for line in lines.values() for value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(points[0].size), math.log10(points[-1].size)
    marks = [f'<rect width="{width}" height="{height}" fill="none" stroke="#bbb"/>']

    def across(size: float) -> float:
        return 10 + (width - 20) * (math.log10(size) - first) / (last - first)

    def down(value: float) -> float:
        return height - height * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        y = down(10.0**power)
        marks.append(f'<line x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        marks.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for point in points:
        label = f"{point.size:,}" if point.size < 1e4 else f"{point.size / 1e3:,.0f}k"
        marks.append(
            f'<text x="{across(point.size):.1f}" y="{height + 15}" text-anchor="middle">{label}</text>'
        )
    marks.append(f'<text x="{width / 2}" y="{height + 32}" text-anchor="middle">{escape(title)}</text>')
    for name, line in lines.items():
        places = [(across(point.size), down(value)) for point, value in zip(points, line, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{COLORS[name]}" stroke-width="2"/>')
        marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLORS[name]}"/>' for x, y in places]
    return "".join(marks)


if __name__ == "__main__":
    main()

"""Checks that memory and open files stay flat: a long stream and many predictions in one process.

    python benchmarks/long_life.py [--minutes 30] [--predictions 2000] [--out long-life.csv]

The stream is a generated file of one minute at its own pace, over and over; predictions go through short
files of several sizes, one of which is unreadable. Memory is that of the process after a garbage collection.
Exit code 1: after the first tenth, memory grew by more than 5% or a file stayed open. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hidden_two_stream.environment import machine
from hidden_two_stream.errors import VideoError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.shipped import shipped_recognizer
from hidden_two_stream.synthetic.clips import CLASSES, generate_clip
from hidden_two_stream.video.writer import write_video

_MOST_GROWTH = 0.05
_SAMPLES = 40

Sample = tuple[float, float, int]
"""Share of the work that is done, memory in MB, open files."""


def sample(share: float) -> Sample:
    """Return memory and open files of this process now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return share, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))


def streamed(recognizer: Recognizer, folder: Path, minutes: float) -> Iterator[Sample]:
    """Yield samples while a file plays at its own pace, over and over."""
    path = folder / "minute.mp4"
    clips = [generate_clip(CLASSES[seed % len(CLASSES)], seed, num_frames=50, size=160) for seed in range(30)]
    write_video(path, (frame for clip in clips for frame in clip.frames), 25)
    begun, due, end = time.monotonic(), 0.0, 60 * minutes
    while (spent := time.monotonic() - begun) < end:
        for _ in recognizer.stream(str(path)):
            spent = time.monotonic() - begun
            if spent >= due:
                yield sample(min(spent / end, 1.0))
                due = spent + end / _SAMPLES
            if spent >= end:
                break


def predicted(recognizer: Recognizer, folder: Path, number: int) -> Iterator[Sample]:
    """Yield samples while files are labeled."""
    files = []
    for seed, size in enumerate((48, 64, 96, 160)):
        files.append(folder / f"{size}.mp4")
        clip = generate_clip(CLASSES[seed], seed, num_frames=20 + 7 * seed, size=size)
        write_video(files[-1], clip.frames, 25)
    files.append(folder / "text.mp4")
    files[-1].write_text("no video", encoding="utf-8")
    for count in range(number):
        try:
            recognizer.predict(files[count % len(files)])
        except VideoError:
            if files[count % len(files)] != files[-1]:
                raise
        if count % max(1, number // _SAMPLES) == 0:
            yield sample(count / number)


def judged(name: str, found: Callable[[], Iterator[Sample]], rows: list[tuple[str, *Sample]]) -> bool:
    """Print the growth after the first tenth, and return whether it is small."""
    samples = list(found())
    rows += [(name, *each) for each in samples]
    settled = [each for each in samples if each[0] >= 0.1] or samples
    first, last = settled[0], settled[-1]
    growth = last[1] / first[1] - 1
    print(
        f"{name}: memory {first[1]:.0f} → {last[1]:.0f} MB ({growth:+.1%}), open files {first[2]} → "
        f"{last[2]}, {len(samples)} samples",
        flush=True,
    )
    return growth <= _MOST_GROWTH and last[2] <= first[2]


def main() -> int:
    """Run both, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--predictions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    recognizer = shipped_recognizer(128)
    rows: list[tuple[str, *Sample]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        works = {
            f"{arguments.predictions} predictions": lambda: predicted(
                recognizer, folder, arguments.predictions
            ),
            f"{arguments.minutes:g} minutes of a stream": lambda: streamed(
                recognizer, folder, arguments.minutes
            ),
        }
        are_flat = [judged(name, work, rows) for name, work in works.items()]
    print(f"Shipped stream, 128 px. Machine: {machine()}.")
    if arguments.out is not None:
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("work", "share_done", "memory_mb", "open_files"), *rows]
            )
    return 0 if all(are_flat) else 1


if __name__ == "__main__":
    sys.exit(main())

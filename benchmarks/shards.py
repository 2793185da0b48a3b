"""Times training's start and one epoch over many small files, and over the same videos in shards.

Decoded frames are not kept (`--cache-mb 0`), as for data that does not fit into memory. Files and shards
take turns in one process, and the page cache is warm for both, so the gain of shards on slow or remote disks
is not in these figures. Times are CPU seconds of the process, which other work on the machine changes
little, with the seconds that passed beside them.

    python benchmarks/shards.py [--videos 400] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.packing import pack
from hidden_two_stream.data.training_set import Augmentation, StepSampler, TrainingClips, training_batches
from hidden_two_stream.environment import machine
from hidden_two_stream.video.shards.addresses import INDEX_NAME
from hidden_two_stream.video.writer import write_video

FRAMES = 24
HEIGHT, WIDTH = 96, 128
SIZE = 64
BATCH = 8


def write_videos(root: Path, number: int) -> int:
    """Write small videos of two classes, and return their bytes."""
    for index in range(number):
        blocks = np.random.default_rng(index).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        image = blocks.repeat(8, axis=0).repeat(8, axis=1)
        step = (0, 2) if index % 2 else (2, 0)
        clip = np.stack([np.roll(image, (n * step[0], n * step[1]), (0, 1)) for n in range(FRAMES)])
        write_video(root / ("left" if index % 2 else "down") / f"{index:05}.mp4", clip, fps=25)
    return sum(path.stat().st_size for path in root.rglob("*.mp4"))


def start(data: Path) -> ClipCache:
    """Read the index and learn the length of every video, as training does when it begins."""
    return open_clip_cache(read_dataset_index(data).samples, SIZE, budget_bytes=0)


def epoch(cache: ClipCache) -> None:
    """Read a clip of every video, in batches."""
    labels = [int("left" in sample.label) for sample in cache.samples]
    clips = TrainingClips(cache, labels, 11, 1, Augmentation(SIZE, (1.0,), True, 0.0))
    for _ in training_batches(clips, StepSampler(len(labels), BATCH, 1, 0, len(labels) // BATCH, 0), 0):
        pass


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of some work, its CPU seconds and its seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files, shards = Path(folder) / "videos", Path(folder) / "packed"
        num_bytes = write_videos(files, arguments.videos)
        packed, processor, wall = timed(lambda: pack(files, shards, "50MB", workers=0, quiet=True))
        index_bytes = (shards / INDEX_NAME).stat().st_size
        print(machine())
        print(
            f"{arguments.videos} videos of {FRAMES} frames, {WIDTH}×{HEIGHT} px, "
            f"{num_bytes / 1e6:.1f} MB of files"
        )
        print(
            f"pack: {processor:.2f} s CPU ({wall:.2f} s wall), {packed.num_bytes / num_bytes:.2f} times the "
            f"bytes, index {index_bytes / arguments.videos:.0f} bytes a video"
        )
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(arguments.repeats):
            for name, data in (("files", files), ("shards", shards)):
                cache, *seconds = timed(lambda data=data: start(data))
                times.setdefault(("start", name), []).append((seconds[0], seconds[1]))
                _, *seconds = timed(lambda cache=cache: epoch(cache))
                times.setdefault(("epoch", name), []).append((seconds[0], seconds[1]))
        for what in ("start", "epoch"):
            middle = {
                name: statistics.median(t[0] for t in times[what, name]) for name in ("files", "shards")
            }
            walls = {name: statistics.median(t[1] for t in times[what, name]) for name in ("files", "shards")}
            print(
                f"{what}: files {middle['files']:.3f} s CPU (wall {walls['files']:.3f}), shards "
                f"{middle['shards']:.3f} s CPU (wall {walls['shards']:.3f}), files / shards "
                f"{middle['files'] / middle['shards']:.2f}"
            )


if __name__ == "__main__":
    main()

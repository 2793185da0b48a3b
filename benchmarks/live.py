"""Prints latency, drops and work of live recognition, on a file of 320×240 px at its own pace.

    python benchmarks/live.py [--seconds 300] [--fps 25] [--threads 2] [--slow 0.1]

Recipe nano with random weights of the streams: weights do not change the time. First line: as it is. Second
line: a model that is slowed down by --slow seconds per frame, where frames must be dropped and the latency
stay flat. Then the work of a new frame against that of a whole window, as PyTorch counts it: multiplications
and additions of convolutions and matrix products.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.environment import machine
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.ring import WindowRing
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.types import Image
from hidden_two_stream.video.writer import write_video

HEIGHT, WIDTH, REPEATS = 240, 320, 40
CLASSES = tuple(f"class {number}" for number in range(10))


def film(seconds: float, fps: float) -> Iterator[Image]:
    """Yield people in motion, one short clip after the other, padded to the frame."""
    needed, seed = round(seconds * fps), 0
    while needed > 0:
        label = LIBRARY_CLASSES.index(("walk", "wave_both", "jumping_jack", "bend_down")[seed % 4])
        clip = generate_library_clip(label, seed, num_frames=50, size=HEIGHT)
        side = (WIDTH - HEIGHT) // 2
        yield from np.pad(clip, ((0, 0), (0, 0), (side, side), (0, 0)), "edge")[:needed]
        needed, seed = needed - len(clip), seed + 1


def recognizer(name: str) -> Recognizer:
    """Return the networks of a recipe at 128 px."""
    recipe = load_recipe(name, {"input.size": 128, "input.resize": 128})
    metadata = RunMetadata(stages=("spatial", "temporal"))
    return Recognizer(build_model(recipe, len(CLASSES)), RunInfo(recipe, CLASSES, metadata))


def live(path: Path, slow_seconds: float) -> str:
    """Return the figures of one pass over a file."""
    found = recognizer("nano")
    latencies, dropped, ends = [], 0, []
    begun = time.monotonic()
    for decision in found.stream(str(path)):
        if slow_seconds:
            time.sleep(slow_seconds)
        latencies.append(1e3 * decision.latency_seconds)
        ends.append(decision.end_seconds)
        dropped += decision.num_dropped
    lag = time.monotonic() - begun - ends[-1]
    tenth = max(1, len(latencies) // 10)
    middle, late = np.percentile(latencies, (50, 95))
    first, last = np.percentile(latencies[:tenth], 95), np.percentile(latencies[-tenth:], 95)
    return (
        f"{len(latencies)} decisions in {ends[-1]:.0f} s, {dropped} frames dropped; latency {middle:.1f} ms "
        f"(median), {late:.1f} ms (95th percentile; {first:.1f} ms in the first tenth, {last:.1f} ms in the "
        f"last); {lag:.2f} s behind at the end"
    )


def operations(run: Callable[[], object]) -> int:
    """Return the counted operations of one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def milliseconds(run: Callable[[], object]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def work(name: str) -> str:
    """Return the row of a recipe: what a new frame costs the temporal stream, relative to a whole window."""
    found = recognizer(name)
    length = found.info.recipe.model.num_frames
    clip = np.random.default_rng(0).integers(0, 256, (length + 1, 128, 128, 3), dtype=np.uint8)
    ring = WindowRing(found.model, found.info.recipe, ("temporal",))
    for image in clip[:-1]:
        ring.push(image)

    def whole() -> Tensor:
        with torch.inference_mode():
            window = torch.from_numpy(clip[1:]).permute(0, 3, 1, 2)[None]
            return found.model.temporal(found.model.preprocess(window))

    def new() -> object:
        return ring.push(clip[-1])

    times = [(milliseconds(whole), milliseconds(new)) for _ in range(REPEATS)]
    window, frame = np.median(times, axis=0)
    ratio = operations(new) / operations(whole)
    return (
        f"| {name}, {found.info.recipe.model.temporal} | {length} | {ratio:.3f} "
        f"| {window:.2f} | {frame:.2f} | {frame / window:.2f} |"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--slow", type=float, default=0.1, help="s per frame of the slowed-down model")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "live.mp4"
        write_video(path, film(arguments.seconds, arguments.fps), arguments.fps, crf=23)
        print(f"as it is: {live(path, 0.0)}", flush=True)
        print(f"slowed down by {arguments.slow:g} s: {live(path, arguments.slow)}", flush=True)
    print("\n| recipe, temporal stream | frames | work, ratio | window, ms | new frame, ms | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in ("nano-branched", "nano"):
        print(work(name), flush=True)
    print(f"\n{WIDTH}×{HEIGHT} px, {arguments.fps:g} frames per second. Machine: {machine()}.")


if __name__ == "__main__":
    main()

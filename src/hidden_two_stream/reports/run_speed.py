"""How fast a run is on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.environment import machine
from hidden_two_stream.inference.annotator import load_annotator
from hidden_two_stream.inference.predictor import Recognizer, load

__all__ = ["Speed", "measure_speed"]

_REPEATS = 7
_FRAMES = 32  # of the clip that an annotator labels


@dataclass(frozen=True)
class Speed:
    """A measured time.

    Attributes:
        what: what was timed.
        milliseconds: median of seven runs, after one to warm up.
        frames_per_second: frames of the input per second of this time.
        device: where.
        machine: system, processor, threads, GPU.
    """

    what: str
    milliseconds: float
    frames_per_second: float
    device: str
    machine: str


def measure_speed(run: str | Path, kind: str, device: str = "cpu") -> Speed | None:
    """Return the speed of a run of a kind, see `RunCard`; None: such runs are loaded elsewhere.

    Raises:
        UsageError, CheckpointError: the run cannot be loaded, or there is no such device.
    """
    rng = np.random.default_rng(0)
    if kind == "frame labels":
        annotator = load_annotator(run, device)
        size = annotator.info.recipe.input.size
        clip = rng.integers(0, 256, (_FRAMES, size, size, 3), dtype=np.uint8)
        return _timed(lambda: annotator.annotate(clip), f"{_FRAMES} frames of {size} px", _FRAMES, device)
    if kind not in ("clips", "motion network"):
        return None
    recognizer = load(run, device)
    size, length = recognizer.info.recipe.input.size, recognizer.info.recipe.model.num_frames
    frames = torch.from_numpy(rng.integers(0, 256, (1, length, 3, size, size), dtype=np.uint8)).to(device)
    what = f"one window of {length} frames of {size} px, decoding not counted"
    return _timed(lambda: _forward(recognizer, frames), what, length, device)


@torch.inference_mode()
def _forward(recognizer: Recognizer, clips: torch.Tensor) -> None:
    model = recognizer.model
    frames = model.preprocess(clips)
    calls = {"spatial": model.spatial, "temporal": model.temporal}
    results = [calls[name](frames) for name in recognizer.trained_streams] or [model.motion(frames)[0]]
    results[-1].cpu()  # waits for a GPU


def _timed(work: Callable[[], object], what: str, num_frames: int, device: str) -> Speed:
    work()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    middle = statistics.median(times)
    return Speed(what, round(1000 * middle, 3), round(num_frames / middle, 1), device, machine())

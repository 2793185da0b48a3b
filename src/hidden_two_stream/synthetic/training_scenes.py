"""Scenes with the statistics of real video and exact flow, to learn motion from.

These scenes have no classes. A background and sprites of many looks and shapes move, turn, grow, shear and
bend under a moving camera. Then come shadows, changes of exposure, sensor noise and real compression.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.errors import OutputError, UsageError, WorkerError
from hidden_two_stream.files import make_folder
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.synthetic.arrays import BoolArray
from hidden_two_stream.synthetic.camera import film_like_video
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.scene import draw, exact_flow, still_visible
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.synthetic.staging import stage
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["TrainingScene", "generate_scene", "write_scenes"]

_SHUTTER_MOMENTS = 5  # averaged for motion blur; odd, so that the middle one is at the frame's time
_SMALLEST = 32


@dataclass(frozen=True)
class TrainingScene:
    """A generated clip and its exact motion.

    Attributes:
        frames: (T, H, W, 3) uint8.
        flow: (T-1, 2, H, W) float32 pixels, frame t to t+1, of the surface visible at t; channel 0 = u
            (right), 1 = v (down), at the pixel centers of frame t.
        visible: (T-1, H, W) bool: False where at t+1 another surface hides the point, or the point has left
            the frame.
    """

    frames: RawClip
    flow: FloatArray
    visible: BoolArray


def generate_scene(
    seed: int,
    *,
    num_frames: int = 11,
    height: int = 160,
    width: int = 160,
    style: SceneStyle = SceneStyle(),  # noqa: B008 (it is frozen)
) -> TrainingScene:
    """Generate one scene; the same arguments always return the same scene.

    Raises:
        UsageError: a negative seed, no frames, or a side below 32.
    """
    _validate(seed, num_frames, height, width)
    frames, motion = _film(seed, num_frames, height, width, style)
    return TrainingScene(frames, *motion())


def _film(
    seed: int, num_frames: int, height: int, width: int, style: SceneStyle
) -> tuple[RawClip, Callable[[], tuple[FloatArray, BoolArray]]]:
    """Return the frames of a scene, and a function that computes flow and visibility, which takes longer."""
    rng = np.random.default_rng([seed, num_frames, height, width])
    blurred = chance(rng, style.motion_blur)
    parts = _SHUTTER_MOMENTS if blurred else 1
    times = np.arange(num_frames) - (num_frames - 1) / 2
    within = rng.uniform(*style.shutter) * (np.arange(parts) - parts // 2) / parts
    surfaces = stage(rng, style, (times[:, None] + within).ravel(), height, width)
    moments = range(parts // 2, num_frames * parts, parts)
    light, front = draw(surfaces, range(num_frames * parts), height, width)
    front = front[moments.start :: parts]
    if blurred:
        light = torch.from_numpy(light).unflatten(0, (num_frames, parts)).mean(dim=1).numpy()

    def motion() -> tuple[FloatArray, BoolArray]:
        flow = exact_flow(surfaces, front, moments)
        return flow, still_visible(surfaces, front, flow, moments)

    return film_like_video(rng, light, style), motion


def _validate(seed: int, num_frames: int, height: int, width: int) -> None:
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")
    if num_frames < 1:
        raise UsageError(f"got num_frames={num_frames}; expected at least 1 frame")
    if min(height, width) < _SMALLEST:
        raise UsageError(
            f"got height={height}, width={width}; expected frames of at least {_SMALLEST} pixels a side"
        )


# -- many scenes on disk ---------------------------------------------------------------------------


def _paths(folder: Path, ground_truth: bool) -> dict[str, Path]:
    names = ("frames", "flow", "visible") if ground_truth else ("frames",)
    return {name: folder / f"{name}.npy" for name in names}


def _write_shard(
    numbers: range, folder: Path, seed: int, size: tuple[int, int, int], style: SceneStyle, ground_truth: bool
) -> int:
    """Write the scenes of these numbers into the existing files and return how many."""
    num_frames, height, width = size
    files = {name: np.load(path, mmap_mode="r+") for name, path in _paths(folder, ground_truth).items()}
    for number in numbers:
        files["frames"][number], motion = _film(seed + number, num_frames, height, width, style)
        if ground_truth:
            files["flow"][number], files["visible"][number] = motion()
    for file in files.values():
        file.flush()
    return len(numbers)


def write_scenes(
    folder: str | os.PathLike[str],
    count: int,
    seed: int = 0,
    workers: int = 0,
    *,
    num_frames: int = 11,
    height: int = 160,
    width: int = 160,
    style: SceneStyle = SceneStyle(),  # noqa: B008 (it is frozen)
    ground_truth: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `count` scenes into NumPy files and return the folder.

    `frames.npy` holds (count, T, H, W, 3) uint8. With `ground_truth`, `flow.npy` holds (count, T-1, 2, H, W)
    float16 and `visible.npy` (count, T-1, H, W) bool. `np.load(path, mmap_mode="r")` opens them. Scene i is
    `generate_scene(seed + i)`, whatever the number of workers. The files have their full size from the start;
    existing ones are replaced.

    Args:
        folder: created if missing.
        count: number of scenes.
        seed: of the first scene.
        workers: processes that share the work; 0 works in this process.
        num_frames: frames per scene.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        style: ranges from which the scenes are drawn.
        ground_truth: also write flow and visibility.
        progress: called with (scenes done, scenes in all) after each part.

    Raises:
        UsageError: a number is out of range.
        OutputError: the files cannot be written.
    """
    if count < 1:
        raise UsageError(f"got count={count}; expected at least 1 scene")
    if workers < 0:
        raise UsageError(f"got workers={workers}; expected 0 or more processes")
    _validate(seed, num_frames, height, width)
    root = make_folder(folder)
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "frames": ((count, num_frames, height, width, 3), np.uint8),
        "flow": ((count, num_frames - 1, 2, height, width), np.float16),
        "visible": ((count, num_frames - 1, height, width), np.bool_),
    }
    try:
        for name, path in _paths(root, ground_truth).items():
            shape, kind = shapes[name]
            np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape).flush()
    except OSError as error:
        raise OutputError(
            f"cannot write scenes into {str(root)!r}: {error.strerror or error}; expected a writable folder "
            "with room on its disk; choose another"
        ) from error
    step = max(1, min(16, count // (4 * max(1, workers))))
    shards = [range(start, min(start + step, count)) for start in range(0, count, step)]
    write = partial(
        _write_shard,
        folder=root,
        seed=seed,
        size=(num_frames, height, width),
        style=style,
        ground_truth=ground_truth,
    )
    done = 0
    for written in run_in_processes(write, shards, workers, _lost):
        done += written
        if progress is not None:
            progress(done, count)
    return root


def _lost(shard: range) -> int:
    raise WorkerError(f"cannot generate scenes {shard.start} to {shard.stop - 1}: {LOST_WORKER}")

"""Generated video with the statistics of real video, with exact flow, to learn motion from.

Other than `synthetic`, scenes have no classes: a background and sprites of many looks and shapes move, turn,
grow, shear and bend under a moving camera; then come light, sensor noise and real compression. `surfaces`
has the geometry, `materials` and `shapes` the looks, `staging` what happens, `footage` camera and codec.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import make_folder
from hidden_two_stream.parallel import WorkerPool
from hidden_two_stream.synthetic.footage import filmed
from hidden_two_stream.synthetic.materials import chance
from hidden_two_stream.synthetic.staging import SceneStyle, stage
from hidden_two_stream.synthetic.surfaces import draw, follow
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["Scene", "SceneStyle", "generate_scene", "scene_clips"]

BoolArray = npt.NDArray[np.bool_]

_SHUTTER_MOMENTS = 5  # pictures that make up one with motion blur; odd, so that one is at the frame's time
_SMALLEST = 32


@dataclass(frozen=True)
class Scene:
    """A generated clip and its exact motion.

    Attributes:
        frames: (T, H, W, 3) uint8.
        flow: (T-1, 2, H, W) float32 px, frame t to t+1, at t's pixel centres, of the surface that is visible
            there at t; channel 0 = u (right), 1 = v (down).
        visible: (T-1, H, W) bool: False where at t+1 the point is hidden by another surface, or has left the
            picture.
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
) -> Scene:
    """Generate one scene; the same arguments always give the same scene.

    Raises:
        UsageError: a negative seed, no frames, or a side below 32.
    """
    _validate(seed, num_frames, height, width)
    frames, motion = _film(seed, num_frames, height, width, style)
    return Scene(frames, *motion())


def _film(
    seed: int, num_frames: int, height: int, width: int, style: SceneStyle
) -> tuple[RawClip, Callable[[], tuple[FloatArray, BoolArray]]]:
    """The frames of a scene, and a function that works out its flow and visibility: that takes a while."""
    rng = np.random.default_rng([seed, num_frames, height, width])
    blurred = chance(rng, style.motion_blur)
    parts = _SHUTTER_MOMENTS if blurred else 1
    times = np.arange(num_frames) - (num_frames - 1) / 2
    within = rng.uniform(*style.shutter) * (np.arange(parts) - parts // 2) / parts
    surfaces = stage(rng, style, (times[:, None] + within).ravel(), height, width)
    moments = range(parts // 2, num_frames * parts, parts)
    light, seen = draw(surfaces, height, width, range(num_frames * parts))
    if blurred:
        light = light.unflatten(0, (num_frames, parts)).mean(dim=1)
    return filmed(rng, style, light), lambda: follow(surfaces, seen[moments.start :: parts], moments)


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
    """Write scenes of these numbers into the files that are there; returns how many."""
    num_frames, height, width = size
    files = {name: np.load(path, mmap_mode="r+") for name, path in _paths(folder, ground_truth).items()}
    for number in numbers:
        files["frames"][number], motion = _film(seed + number, num_frames, height, width, style)
        if ground_truth:
            files["flow"][number], files["visible"][number] = motion()
    for file in files.values():
        file.flush()
    return len(numbers)


def scene_clips(
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
    """Write `count` scenes into arrays that `np.load(path, mmap_mode="r")` opens; returns the folder.

    `frames.npy` (count, T, H, W, 3) uint8, and with `ground_truth` also `flow.npy` (count, T-1, 2, H, W)
    float16 and `visible.npy` (count, T-1, H, W) bool. Scene i is `generate_scene(seed + i)`, whatever the
    number of workers. The files have their full size from the start; older ones are replaced.

    Args:
        folder: made if missing.
        count: scenes.
        seed: of the first scene.
        workers: processes that share the work; 0 does it in this one.
        num_frames: frames per scene.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        style: what the scenes are like.
        ground_truth: also write flow and visibility.
        progress: called with (scenes done, scenes in all) after each shard.

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
    if workers == 0:
        _run(map(write, shards), count, progress)
    else:
        with WorkerPool(workers) as pool:
            _run(pool.map(write, shards), count, progress)
    return root


def _run(shards: Iterable[int], count: int, progress: Callable[[int, int], None] | None) -> None:
    done = 0
    for written in shards:
        done += written
        if progress is not None:
            progress(done, count)

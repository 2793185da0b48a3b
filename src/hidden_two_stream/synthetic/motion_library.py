"""A library of many motions, to learn what motions look like before any real video.

Figures with moving limbs, patches on their own and in pairs, and movements of the camera. Everything but the
motion is drawn independently of the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError, WorkerError
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.draws import chance, log_uniform
from hidden_two_stream.synthetic.figure_gaits import GAITS
from hidden_two_stream.synthetic.figure_gestures import GESTURES
from hidden_two_stream.synthetic.figure_motion import FigureMotion
from hidden_two_stream.synthetic.figure_postures import POSTURES
from hidden_two_stream.synthetic.figures import draw_figure, paint_figure, steady_travel
from hidden_two_stream.synthetic.library_look import (
    Look,
    background,
    color,
    draw_look,
    film,
    nuisance_camera,
    sprite,
)
from hidden_two_stream.synthetic.mover_paths import CAMERAS, PAIRS, REFERENCE_PX, SINGLES, Path
from hidden_two_stream.synthetic.painting import paint_capsule, paint_sprite, seen, view_of_tile
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["LIBRARY_CLASSES", "generate_library", "generate_library_clip"]

_FIGURES: dict[str, FigureMotion] = {**GAITS, **GESTURES, **POSTURES}

LIBRARY_CLASSES: tuple[str, ...] = (*_FIGURES, *SINGLES, *PAIRS, *CAMERAS)
"""Names of the motions; a label is a place in this tuple."""

_CHUNK = 16


def generate_library_clip(label: int, seed: int, *, num_frames: int = 16, size: int = 112) -> RawClip:
    """Generate one clip; the same arguments always return the same clip.

    Args:
        label: place of the motion in `LIBRARY_CLASSES`.
        seed: 0 or more; clips of different labels share nothing.
        num_frames: T, at least 2.
        size: height and width in pixels, at least 32.

    Returns:
        (T, size, size, 3) uint8.

    Raises:
        UsageError: an argument is out of range.
    """
    _check(num_frames, size)
    if not 0 <= label < len(LIBRARY_CLASSES):
        raise UsageError(f"got the label {label}; expected 0 to {len(LIBRARY_CLASSES) - 1}")
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")
    name = LIBRARY_CLASSES[label]
    rng = np.random.default_rng([seed, label, num_frames, size])
    look = draw_look(rng, size)
    clock = Clock(rng, num_frames)
    if name in _FIGURES:
        light = _figure_scene(clock, look, size, _FIGURES[name])
    elif name in CAMERAS:
        light = _camera_scene(clock, look, size, CAMERAS[name])
    else:
        paths = PAIRS[name](clock) if name in PAIRS else (SINGLES[name](clock),)
        light = _patch_scene(clock, look, size, paths)
    return film(rng, light, look)


def _check(num_frames: int, size: int) -> None:
    if num_frames < 2:
        raise UsageError(f"got num_frames={num_frames}; expected at least 2 frames")
    if size < 32:
        raise UsageError(f"got size={size}; expected frames of at least 32 pixels a side")


# -- scenes ----------------------------------------------------------------------------------------


def _figure_scene(clock: Clock, look: Look, size: int, motion: FigureMotion) -> FloatArray:
    rng, unit = clock.rng, size / REFERENCE_PX
    camera = nuisance_camera(rng, clock.num_frames, unit)
    follow = motion.travels and chance(rng, 0.2)
    figure = draw_figure(clock, motion, size, look, follow)
    if follow:
        camera = replace(camera, center=camera.center - steady_travel(figure.path))
    light = view_of_tile(background(rng, look, size, textured=False), camera, size)
    _paint_still_things(clock, look, light, camera)
    paint_figure(rng, light, figure, look, camera, look.front)
    _paint_bar(clock, look, light, camera)
    return light


def _patch_scene(clock: Clock, look: Look, size: int, paths: tuple[Path, ...]) -> FloatArray:
    rng, unit = clock.rng, size / REFERENCE_PX
    camera = nuisance_camera(rng, clock.num_frames, unit)
    light = view_of_tile(background(rng, look, size, textured=False), camera, size)
    _paint_still_things(clock, look, light, camera)
    smallest, largest = (8, 24) if len(paths) == 1 else (6, 13)
    radii = [log_uniform(rng, (0.6 * largest if look.grid else smallest, largest)) for _ in paths]
    place = _place(clock, paths, radii)
    for path, radius in zip(paths, radii, strict=True):
        patch = sprite(rng, look, radius * unit, look.front, unit)
        center = seen(camera, 0.5 * (size - 1) * (1 + 1j) + unit * (place + path.center), size)
        start = clock.between(0, 6.283)
        turn = path.scale * camera.scale * np.exp(1j * (start + path.angle + camera.angle))
        paint_sprite(light, patch.tile, patch.half_px, center, turn)
    _paint_bar(clock, look, light, camera)
    return light


def _place(clock: Clock, paths: tuple[Path, ...], radii: list[float]) -> complex:
    """Return where the paths start from, so that the patches stay within the frame if there is room."""
    reach = [0.8 * radius * path.scale for path, radius in zip(paths, radii, strict=True)]
    place = []
    for part in ("real", "imag"):
        ways = [getattr(path.center, part) for path in paths]
        low = min(float((way - far).min()) for way, far in zip(ways, reach, strict=True))
        high = max(float((way + far).max()) for way, far in zip(ways, reach, strict=True))
        least, most = -REFERENCE_PX / 2 - low, REFERENCE_PX / 2 - high
        place.append(clock.between(least, most) if least < most else 0.5 * (least + most))
    return complex(*place)


def _camera_scene(clock: Clock, look: Look, size: int, move: Callable[[Clock], Path]) -> FloatArray:
    """Return the light of a still figure or still patches before a camera that moves."""
    rng, unit = clock.rng, size / REFERENCE_PX
    camera = move(clock)
    camera = replace(camera, center=camera.center * unit)
    light = view_of_tile(background(rng, look, size, textured=True), camera, size)
    if chance(rng, 0.5):
        still_figure = draw_figure(clock, _FIGURES["stand_still"], size, look, follow=False)
        paint_figure(rng, light, still_figure, look, camera, look.front)
    else:
        _paint_patch_at_rest(clock, look, light, camera, log_uniform(rng, (8, 24)), look.front)
    _paint_still_things(clock, look, light, camera)
    _paint_bar(clock, look, light, camera)
    return light


def _paint_still_things(clock: Clock, look: Look, light: FloatArray, camera: Path) -> None:
    if chance(clock.rng, 0.2):
        for _ in range(int(clock.rng.integers(1, 3))):
            level = look.front if chance(clock.rng, 0.5) else clock.between(0.05, 0.95)
            _paint_patch_at_rest(clock, look, light, camera, log_uniform(clock.rng, (4, 16)), level)


def _paint_patch_at_rest(
    clock: Clock, look: Look, light: FloatArray, camera: Path, radius: float, level: float
) -> None:
    size = light.shape[-1]
    unit = size / REFERENCE_PX
    patch = sprite(clock.rng, look, radius * unit, level, unit)
    place = complex(clock.between(0.05, 0.95), clock.between(0.05, 0.95)) * size
    center = seen(camera, np.full(clock.num_frames, place), size)
    turn = camera.scale * np.exp(1j * (clock.between(0, 6.283) + camera.angle))
    paint_sprite(light, patch.tile, patch.half_px, center, turn)


def _paint_bar(clock: Clock, look: Look, light: FloatArray, camera: Path) -> None:
    """Paint a still bar across the frame, in some of the clips, in front of everything."""
    if not chance(clock.rng, 0.12):
        return
    size = light.shape[-1]
    middle = complex(clock.between(0.15, 0.85), clock.between(0.15, 0.85)) * size
    half = size * np.exp(1j * clock.between(0, 6.283))
    ends = [seen(camera, np.full(clock.num_frames, middle + sign * half), size) for sign in (-1, 1)]
    radius = clock.between(0.02, 0.05) * size * camera.scale
    paint_capsule(light, (ends[0], ends[1]), radius, color(clock.rng, look, clock.between(0.05, 0.95)))


# -- many clips ------------------------------------------------------------------------------------


def generate_library(
    count: int,
    seed: int = 0,
    *,
    workers: int = 0,
    num_frames: int = 16,
    size: int = 112,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[RawClip, npt.NDArray[np.int64]]:
    """Generate many clips, as many of each class as possible, in random order.

    Args:
        count: number of clips; the first clips of a longer library are the same.
        seed: each seed gives other clips.
        workers: processes that share the work; 0 works in this process.
        num_frames: T.
        size: height and width in pixels.
        progress: called with (clips done, clips in all) after each few clips.

    Returns:
        clips (count, T, size, size, 3) uint8 and labels (count,) int64. The clips take 0.6 MB each for 16
        frames of 112 pixels.

    Raises:
        UsageError: an argument is out of range.
        WorkerError: worker processes cannot be started, or one died.
    """
    if not 1 <= count < 2**32:
        raise UsageError(f"got count={count}; expected at least 1 clip")
    if workers < 0:
        raise UsageError(f"got workers={workers}; expected 0 or more processes")
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")
    _check(num_frames, size)
    labels = _labels(count, seed)
    clips = np.empty((count, num_frames, size, size, 3), np.uint8)
    tasks = [
        [(int(labels[n]), seed * 2**32 + n) for n in range(start, min(count, start + _CHUNK))]
        for start in range(0, count, _CHUNK)
    ]
    done = 0
    make = partial(_generate_some, num_frames=num_frames, size=size)
    for some in run_in_processes(make, tasks, workers, _lost):
        clips[done : done + len(some)] = some
        done += len(some)
        if progress is not None:
            progress(done, count)
    return clips, labels


def _labels(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return (count,) labels: one random order of all classes after the other."""
    rng = np.random.default_rng([seed, 0])
    rounds = -(-count // len(LIBRARY_CLASSES))
    orders = [rng.permutation(len(LIBRARY_CLASSES)) for _ in range(rounds)]
    return np.concatenate(orders)[:count].astype(np.int64)


def _generate_some(tasks: list[tuple[int, int]], num_frames: int, size: int) -> RawClip:
    return np.stack([generate_library_clip(*task, num_frames=num_frames, size=size) for task in tasks])


def _lost(tasks: list[tuple[int, int]]) -> RawClip:
    raise WorkerError(f"cannot generate the clips (label, seed) {tasks}: {LOST_WORKER}")

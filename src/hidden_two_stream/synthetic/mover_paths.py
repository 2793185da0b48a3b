"""Movements of rigid patches and of the camera.

Convention: positions are complex numbers x + iy in pixels of a frame of `REFERENCE_PX` a side, y down; a
growing angle turns clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.draws import chance, complex_normal, direction, log_uniform

__all__ = ["CAMERAS", "PAIRS", "REFERENCE_PX", "SINGLES", "Path", "still"]

Places = npt.NDArray[np.complexfloating[Any, Any]]

REFERENCE_PX = 112
"""Side of the frames in which lengths are stated."""


@dataclass(frozen=True)
class Path:
    """The movement of a patch, or of the whole scene before the camera; each (T,).

    Attributes:
        center: displacement.
        scale: relative size.
        angle: radians.
    """

    center: Complex
    scale: Reals
    angle: Reals


def still(num_frames: int) -> Path:
    """Return the path of something that does not move."""
    return Path(np.zeros(num_frames, complex), np.ones(num_frames), np.zeros(num_frames))


def _path(
    clock: Clock, center: Places | None = None, log_scale: Reals | None = None, angle: Reals | None = None
) -> Path:
    zero = np.zeros(clock.num_frames)
    return Path(
        np.asarray(zero if center is None else center, np.complex128),
        np.exp(zero if log_scale is None else log_scale),
        zero if angle is None else angle,
    )


def _share(clock: Clock) -> Reals:
    """Return (T,) values from 0 at the first frame to 1 at the last."""
    return np.asarray(clock.frames / max(1, clock.num_frames - 1))


def _centered(center: Places) -> Places:
    return np.asarray(center - 0.5 * (center[0] + center[-1]))


# -- one patch -------------------------------------------------------------------------------------


def _near(clock: Clock, way: complex) -> complex:
    """Return a unit vector within 12 degrees of `way`."""
    return complex(way * np.exp(1j * math.radians(clock.between(-12, 12))))


def _travel(clock: Clock) -> float:
    """Return a distance that a patch covers within a clip, in pixels."""
    return log_uniform(clock.rng, (14, 62))


def _straight(clock: Clock, way: complex) -> Path:
    return _path(clock, _near(clock, way) * _travel(clock) * (_share(clock) - 0.5))


def _uneven(clock: Clock, faster: bool) -> Path:
    """A straight path whose speed grows from nearly nothing, or falls to it."""
    share = _share(clock)
    power = clock.between(2.2, 3.2)
    done = share**power if faster else 1 - (1 - share) ** power
    return _path(clock, direction(clock.rng) * clock.between(28, 66) * (done - 0.5))


def _stop_and_go(clock: Clock) -> Path:
    speed = np.clip(0.5 + 3 * np.sin(clock.cycle(5, 10)), 0, 1)
    return _path(clock, _centered(direction(clock.rng) * clock.between(2.5, 5) * np.cumsum(speed)))


def _turn(clock: Clock, sign: float) -> Path:
    rate = log_uniform(clock.rng, (0.06, 0.35))
    drift = direction(clock.rng) * clock.between(0, 6) * (_share(clock) - 0.5)
    return _path(clock, drift, angle=sign * rate * clock.frames)


def _grow(clock: Clock, sign: float) -> Path:
    drift = direction(clock.rng) * clock.between(0, 6) * (_share(clock) - 0.5)
    return _path(clock, drift, log_scale=sign * clock.between(0.45, 1.1) * (_share(clock) - 0.5))


def _pulse(clock: Clock) -> Path:
    return _path(clock, log_scale=clock.between(0.2, 0.4) * np.sin(clock.cycle(6, 14)))


def _oscillate(clock: Clock, way: complex) -> Path:
    return _path(clock, _near(clock, way) * log_uniform(clock.rng, (5, 26)) * np.sin(clock.cycle(6, 18)))


def _circle(clock: Clock, sign: float) -> Path:
    return _path(clock, log_uniform(clock.rng, (8, 26)) * np.exp(1j * sign * clock.cycle(9, 24)))


def _zigzag(clock: Clock) -> Path:
    phase, way = clock.cycle(6, 12), direction(clock.rng)
    across = clock.between(5, 10) * np.arcsin(np.sin(phase))
    return _path(clock, way * (clock.between(36, 66) * (_share(clock) - 0.5) + 1j * across))


def _bounce(clock: Clock) -> Path:
    """Parabolas, one after the other, above a floor."""
    phase = clock.cycle(12, 26) / math.pi
    height = 4 * (phase % 1) * (1 - phase % 1)
    sideways = clock.between(-30, 30) * (_share(clock) - 0.5)
    return _path(clock, sideways - 1j * clock.between(14, 42) * (height - 0.5))


def _corner(clock: Clock, first: complex, second: complex) -> Path:
    """Two straight steps, one after the other, with the turn in the middle third of the clip."""
    share, switch = _share(clock), clock.between(0.36, 0.64)
    step = clock.between(34, 76)
    center = np.minimum(share, switch) * _near(clock, first) + np.maximum(0, share - switch) * _near(
        clock, second
    )
    return _path(clock, _centered(step * center))


_ROOT = math.sqrt(0.5)
_WAYS = {
    "right": 1,
    "down_right": _ROOT * (1 + 1j),
    "down": 1j,
    "down_left": _ROOT * (-1 + 1j),
    "left": -1,
    "up_left": _ROOT * (-1 - 1j),
    "up": -1j,
    "up_right": _ROOT * (1 - 1j),
}
_CORNERS = {
    "right_then_up": (1, -1j),
    "up_then_right": (-1j, 1),
    "left_then_down": (-1, 1j),
    "down_then_left": (1j, -1),
}

SINGLES: dict[str, Callable[[Clock], Path]] = {
    **{f"move_{name}": partial(_straight, way=way) for name, way in _WAYS.items()},
    "accelerate": partial(_uneven, faster=True),
    "brake": partial(_uneven, faster=False),
    "stop_and_go": _stop_and_go,
    "turn_clockwise": partial(_turn, sign=1.0),
    "turn_counterclockwise": partial(_turn, sign=-1.0),
    "grow": partial(_grow, sign=1.0),
    "shrink": partial(_grow, sign=-1.0),
    "pulse": _pulse,
    "oscillate_horizontally": partial(_oscillate, way=1),
    "oscillate_vertically": partial(_oscillate, way=1j),
    "circle_clockwise": partial(_circle, sign=1.0),
    "circle_counterclockwise": partial(_circle, sign=-1.0),
    "zigzag": _zigzag,
    "bounce": _bounce,
    **{name: partial(_corner, first=first, second=second) for name, (first, second) in _CORNERS.items()},
}
"""Movements of one patch, by name."""


# -- two patches -----------------------------------------------------------------------------------


def _gap(clock: Clock, near: float, far: float, closing: bool) -> tuple[Path, Path]:
    """Both patches move along the line between them."""
    share = _share(clock) if closing else 1 - _share(clock)
    half = 0.5 * (far + (near - far) * share) * direction(clock.rng)
    return _path(clock, half), _path(clock, -half)


def _follow(clock: Clock) -> tuple[Path, Path]:
    way = direction(clock.rng)
    center = way * clock.between(24, 44) * (_share(clock) - 0.5)
    half = 0.5 * way * clock.between(20, 32)
    return _path(clock, center + half), _path(clock, center - half)


def _overtake(clock: Clock) -> tuple[Path, Path]:
    """The same direction, side by side, one faster than the other."""
    way, share = direction(clock.rng), _share(clock) - 0.5
    slow, fast = clock.between(12, 22), clock.between(50, 70)
    aside = 0.5j * way * clock.between(14, 24)
    return _path(clock, way * slow * share + aside), _path(clock, way * fast * share - aside)


def _cross(clock: Clock) -> tuple[Path, Path]:
    """Paths at right angles that meet in the middle."""
    way, share = direction(clock.rng), _share(clock) - 0.5
    turn = 1j if chance(clock.rng, 0.5) else -1j
    return (
        _path(clock, way * clock.between(36, 60) * share),
        _path(clock, way * turn * clock.between(36, 60) * (share + clock.between(-0.15, 0.15))),
    )


def _orbit(clock: Clock) -> tuple[Path, Path]:
    sign = 1 if chance(clock.rng, 0.5) else -1
    half = clock.between(11, 20) * np.exp(1j * sign * clock.cycle(12, 28))
    return _path(clock, half), _path(clock, -half)


PAIRS: dict[str, Callable[[Clock], tuple[Path, Path]]] = {
    "approach": partial(_gap, near=18, far=62, closing=True),
    "part": partial(_gap, near=18, far=62, closing=False),
    "follow": _follow,
    "overtake": _overtake,
    "cross": _cross,
    "orbit": _orbit,
}
"""Movements of two patches, by name."""


# -- the camera ------------------------------------------------------------------------------------


def _pan(clock: Clock, way: complex) -> Path:
    return _path(clock, _near(clock, way) * log_uniform(clock.rng, (14, 50)) * (_share(clock) - 0.5))


def _zoom(clock: Clock, sign: float) -> Path:
    return _path(clock, log_scale=sign * clock.between(0.22, 0.7) * (_share(clock) - 0.5))


def _roll(clock: Clock, sign: float) -> Path:
    return _path(clock, angle=sign * clock.between(0.25, 1.0) * (_share(clock) - 0.5))


def _shake(clock: Clock) -> Path:
    return _path(clock, complex_normal(clock.rng, clock.num_frames) * clock.between(1.2, 3.0))


CAMERAS: dict[str, Callable[[Clock], Path]] = {
    "scene_right": partial(_pan, way=1),
    "scene_left": partial(_pan, way=-1),
    "scene_up": partial(_pan, way=-1j),
    "scene_down": partial(_pan, way=1j),
    "zoom_in": partial(_zoom, sign=1.0),
    "zoom_out": partial(_zoom, sign=-1.0),
    "scene_clockwise": partial(_roll, sign=1.0),
    "scene_counterclockwise": partial(_roll, sign=-1.0),
    "camera_shake": _shake,
}
"""Movements of the whole scene before the camera, by name."""

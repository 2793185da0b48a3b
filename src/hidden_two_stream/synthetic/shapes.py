"""Shapes as signed distances to their borders, positive inside, and the cover of their edges."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.types import FloatArray

__all__ = ["SHAPES", "capsule", "cover", "patch_shape"]


def cover(distance_px: Reals, width_px: float) -> FloatArray:
    """Return the cover in 0..1: a smooth step of this width across the border."""
    x = np.clip(distance_px / width_px + 0.5, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


# -- distances, roughly, at places (x, y) ----------------------------------------------------------


def _ellipse(x: Reals, y: Reals, radius: float, aspect: float) -> Reals:
    return np.asarray((1 - np.hypot(x, y / aspect) / radius) * radius * aspect)


def _wavy_circle(x: Reals, y: Reals, radius: float, waves: Iterable[tuple[int, float, float]]) -> Reals:
    """A circle whose radius varies with the angle; waves are (cycles, share of the radius, phase)."""
    theta = np.arctan2(y, x)
    wobble = np.sum([share * np.cos(cycles * theta + phase) for cycles, share, phase in waves], axis=0)
    return np.asarray(radius * (1 + wobble) - np.hypot(x, y))


def _rounded_rectangle(x: Reals, y: Reals, half_width: float, half_height: float, corner: float) -> Reals:
    dx, dy = np.abs(x) - (half_width - corner), np.abs(y) - (half_height - corner)
    outside = np.hypot(np.clip(dx, 0, None), np.clip(dy, 0, None))
    return np.asarray(corner - outside - np.clip(np.maximum(dx, dy), None, 0))


def _regular_polygon(x: Reals, y: Reals, circumradius: float, sides: int) -> Reals:
    q = x + 1j * y
    facing = [(q * np.exp(2j * math.pi * k / sides)).real for k in range(sides)]
    return np.asarray(circumradius * math.cos(math.pi / sides) - np.maximum.reduce(facing))


def capsule(x: Reals, y: Reals, start: complex, end: complex, radius: float) -> Reals:
    """Return the distance to the border of all places within `radius` of a line segment."""
    along = end - start
    length = abs(along) or 1e-6
    dx, dy = x - start.real, y - start.imag
    t = np.clip((dx * along.real + dy * along.imag) / length**2, 0, 1)
    return np.asarray(radius - np.hypot(dx - t * along.real, dy - t * along.imag))


# -- random shapes ---------------------------------------------------------------------------------


def patch_shape(rng: np.random.Generator, x: Reals, y: Reals, radius: float) -> Reals:
    """Return the distance, in pixels, to the border of a random compact shape about (0, 0).

    The shape is an ellipse, a rounded rectangle, a regular polygon or a wavy circle.
    """
    kind = rng.integers(4)
    aspect = rng.uniform(0.65, 1.0)
    wobble, phases = rng.uniform(0.03, 0.12, 3), rng.uniform(0, 2 * math.pi, 3)
    sides = int(rng.integers(3, 7))
    if kind == 0:
        return _ellipse(x, y, radius, aspect)
    if kind == 1:
        return _rounded_rectangle(x, y, 0.95 * radius, 0.95 * radius * aspect, 0.3 * radius)
    if kind == 2:
        return _regular_polygon(x, y, 1.25 * radius, sides)
    return _wavy_circle(x, y, radius, zip((2, 3, 5), wobble, phases, strict=True))


def _random_ellipse(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    return _ellipse(x, y, 0.9, rng.uniform(0.4, 1.0))


def _random_polygon(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    sides = int(rng.integers(3, 7))
    angles = 2 * math.pi * (np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) / sides
    faces = [math.cos(a) * x + math.sin(a) * y - rng.uniform(0.3, 0.55) for a in angles]
    rounding = rng.uniform(12, 60)
    largest = np.maximum.reduce(faces)
    soft = np.log(sum(np.exp(rounding * (face - largest)) for face in faces)) / rounding
    corner = 0.9 - np.hypot(x, y)  # nearly parallel faces would meet outside the tile
    return np.asarray(np.minimum(-(largest + soft), corner))


def _random_blob(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    waves = [(cycles, rng.uniform(0.02, 0.16), rng.uniform(0, 2 * math.pi)) for cycles in (2, 3, 4, 6)]
    return _wavy_circle(x, y, 0.6, waves)


def _random_bar(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    half = rng.uniform(0.05, 0.22)
    return capsule(x, y, complex(-0.9 + half, 0), complex(0.9 - half, 0), half)


def _random_limbs(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    parts = []
    for _ in range(int(rng.integers(2, 5))):
        at, angle, half = 0j, rng.uniform(0, 2 * math.pi), rng.uniform(0.06, 0.16)
        for _ in range(int(rng.integers(1, 3))):
            end = at + rng.uniform(0.25, 0.37) * complex(math.cos(angle), math.sin(angle))
            parts.append(capsule(x, y, at, end, half))
            at, angle, half = end, angle + rng.uniform(-1.2, 1.2), half * 0.8
    return np.asarray(np.maximum.reduce(parts))


SHAPES = {
    "ellipse": _random_ellipse,
    "polygon": _random_polygon,
    "blob": _random_blob,
    "bar": _random_bar,
    "limbs": _random_limbs,
}
"""Random shapes on a tile from -1 to 1, by kind; the distance is at most 0 at the tile's rim."""

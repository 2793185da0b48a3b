"""Shapes of the sprites of `scenery`, as distances to their borders."""

from __future__ import annotations

import math

import numpy as np

from hidden_two_stream.synthetic.materials import Reals
from hidden_two_stream.types import FloatArray

__all__ = ["SHAPES", "capsule", "cover"]


def capsule(x: Reals, y: Reals, start: complex, end: complex, radius: float) -> Reals:
    """Distance to the border, positive inside, of all that lies within `radius` of a line."""
    along = end - start
    length = abs(along) or 1e-6
    dx, dy = x - start.real, y - start.imag
    t = np.clip((dx * along.real + dy * along.imag) / length**2, 0, 1)
    return np.asarray(radius - np.hypot(dx - t * along.real, dy - t * along.imag))


def _ellipse(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    aspect = rng.uniform(0.4, 1.0)
    return np.asarray((1 - np.hypot(x, y / aspect) / 0.9) * 0.9 * aspect)


def _polygon(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    sides = int(rng.integers(3, 7))
    angles = 2 * math.pi * (np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) / sides
    faces = [math.cos(a) * x + math.sin(a) * y - rng.uniform(0.3, 0.55) for a in angles]
    rounding = rng.uniform(12, 60)
    largest = np.maximum.reduce(faces)
    soft = np.log(sum(np.exp(rounding * (face - largest)) for face in faces)) / rounding
    corner = 0.9 - np.hypot(x, y)  # nearly parallel faces would meet outside the tile
    return np.asarray(np.minimum(-(largest + soft), corner))


def _blob(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    theta = np.arctan2(y, x)
    waves = [rng.uniform(0.02, 0.16) * np.cos(k * theta + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 4, 6)]
    return np.asarray(0.6 * (1 + np.sum(waves, axis=0)) - np.hypot(x, y))


def _bar(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    half = rng.uniform(0.05, 0.22)
    return capsule(x, y, complex(-0.9 + half, 0), complex(0.9 - half, 0), half)


def _limbs(rng: np.random.Generator, x: Reals, y: Reals) -> Reals:
    parts = []
    for _ in range(int(rng.integers(2, 5))):
        at, angle, half = 0j, rng.uniform(0, 2 * math.pi), rng.uniform(0.06, 0.16)
        for _ in range(int(rng.integers(1, 3))):
            end = at + rng.uniform(0.25, 0.37) * complex(math.cos(angle), math.sin(angle))
            parts.append(capsule(x, y, at, end, half))
            at, angle, half = end, angle + rng.uniform(-1.2, 1.2), half * 0.8
    return np.asarray(np.maximum.reduce(parts))


SHAPES = {"ellipse": _ellipse, "polygon": _polygon, "blob": _blob, "bar": _bar, "limbs": _limbs}
"""Distance to the border, positive inside and at most 0 at the tile's rim, of shapes on -1..1, by kind."""


def cover(distance_px: Reals, width_px: float) -> FloatArray:
    """Cover in 0..1 of an edge this wide, from the distance to the border in pixels."""
    x = np.clip(distance_px / width_px + 0.5, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)

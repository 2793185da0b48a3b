"""Random numbers that the generators draw."""

from __future__ import annotations

import math

import numpy as np

from hidden_two_stream.synthetic.arrays import Complex

__all__ = ["Range", "chance", "complex_normal", "direction", "log_uniform"]

Range = tuple[float, float]
"""(low, high)"""


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with this probability."""
    return bool(rng.random() < probability)


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Return a number whose logarithm is uniform between the bounds; `high` if `low` is 0."""
    low, high = bounds
    fraction = rng.random()
    return float(low * (high / low) ** fraction) if low > 0 else float(high)


def direction(rng: np.random.Generator) -> complex:
    """Return a random unit vector x + iy."""
    return complex(np.exp(1j * rng.uniform(0, 2 * math.pi)))


def complex_normal(rng: np.random.Generator, count: int) -> Complex:
    """Return (count,) numbers whose real and imaginary parts are standard normal."""
    return np.asarray(rng.standard_normal(count) + 1j * rng.standard_normal(count))

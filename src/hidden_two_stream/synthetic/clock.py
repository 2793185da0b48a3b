"""When things move: the phase of a repeated movement, the progress of a single one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.synthetic.draws import log_uniform

__all__ = ["Clock", "blend", "ramp"]


@dataclass(frozen=True)
class Clock:
    """Draws the tempo and the start of a movement for a clip of `num_frames` frames."""

    rng: np.random.Generator
    num_frames: int

    @property
    def frames(self) -> Reals:
        """Frame numbers, (T,)."""
        return np.arange(self.num_frames, dtype=np.float64)

    def between(self, low: float, high: float) -> float:
        """Return a number between the bounds."""
        return float(self.rng.uniform(low, high))

    def cycle(self, shortest: float = 10, longest: float = 32) -> Reals:
        """Return the phase (T,), in radians, of a movement with a period between the bounds, in frames."""
        period = log_uniform(self.rng, (shortest, longest))
        return np.asarray(self.rng.uniform(0, 2 * math.pi) + 2 * math.pi * self.frames / period)

    def event(self, shortest: float = 7, longest: float = 18) -> Reals:
        """Return the progress (T,), 0 to 1, of a single movement; at least half of it is in the clip."""
        longest = min(longest, 1.2 * self.num_frames)
        duration = log_uniform(self.rng, (min(shortest, longest), longest))
        start = self.rng.uniform(-0.5 * duration, self.num_frames - 1 - 0.5 * duration)
        return ramp((self.frames - start) / duration)


def ramp(progress: Reals) -> Reals:
    """Return a smooth step from 0 to 1 as `progress` goes from 0 to 1."""
    t = np.clip(progress, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def blend(start: float, end: float, progress: Reals) -> Reals:
    """Return values (T,) that go from `start` to `end`."""
    return np.asarray(start + (end - start) * progress)

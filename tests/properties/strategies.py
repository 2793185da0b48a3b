"""Random shapes and arrays for the tests of properties.

Hypothesis draws shapes and a seed; the seed gives the values. So a failing example shrinks to a small shape,
and it is printed as a few numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st
from torch import Tensor

sides = st.integers(1, 13)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(sides, sides)
"""(height, width)"""


@st.composite
def flows(draw: st.DrawFn, scale_px: float = 4.0) -> Tensor:
    """(B, 2, H, W) float64, px, normally distributed."""
    batch, height, width = draw(st.integers(1, 3)), draw(sides), draw(sides)
    return normal((batch, 2, height, width), draw(seeds)) * scale_px


@st.composite
def clips(draw: st.DrawFn, shortest: int = 1) -> npt.NDArray[np.uint8]:
    """(T, H, W, 3) uint8: noise, or only black and white."""
    frames = draw(st.integers(1, 3))
    height, width = draw(st.integers(shortest, 24)), draw(st.integers(shortest, 24))
    noise = np.random.default_rng(draw(seeds)).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return np.where(noise < 128, np.uint8(0), np.uint8(255)) if draw(st.booleans()) else noise


@st.composite
def logits(draw: st.DrawFn, streams: int) -> list[npt.NDArray[np.float64]]:
    """(N, classes) float64 for each of `streams` streams."""
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(seeds))
    return [rng.normal(0, draw(st.sampled_from((0.01, 1.0, 30.0))), shape) for _ in range(streams)]


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normally distributed float64 values."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

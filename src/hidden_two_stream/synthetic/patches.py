"""The surfaces of clips with class labels: textured backgrounds, bars and patches.

Lengths that scale with the frame are multiplied by `unit`.
"""

from __future__ import annotations

import math

import numpy as np

from hidden_two_stream.synthetic.arrays import Complex
from hidden_two_stream.synthetic.draws import direction
from hidden_two_stream.synthetic.shapes import cover, patch_shape
from hidden_two_stream.synthetic.surfaces import Patch, Sheet
from hidden_two_stream.synthetic.textures import DENSITY, two_color_texture
from hidden_two_stream.types import FloatArray

__all__ = ["background", "bar", "patch"]


def background(rng: np.random.Generator, size: int, offset: Complex, unit: float) -> Sheet:
    """Return an opaque sheet that fills a square frame of this size at each of the (M,) offsets."""
    margin = _margin(offset)
    side = _side(size, margin)
    return Sheet(two_color_texture(rng, side, side, finest_px=2.5, unit=unit), margin, offset)


def bar(rng: np.random.Generator, size: int, offset: Complex, unit: float) -> Sheet:
    """Return a sheet with a straight bar across the frame, near its center, and nothing else."""
    margin = _margin(offset)
    side = _side(size, margin)
    colors = two_color_texture(rng, side, side, finest_px=2.5, unit=unit)
    axis = (np.arange(side) - (side - 1) / 2) / DENSITY
    across = ((axis + 1j * axis[:, None]) * direction(rng)).real + rng.uniform(-10, 10) * unit
    return Sheet(_with_cover(colors, cover(rng.uniform(2, 4) * unit - np.abs(across), 1.0)), margin, offset)


def patch(rng: np.random.Generator, radius: float, unit: float, center: Complex, turn: Complex) -> Patch:
    """Return a patch of random shape and texture on a path; `radius` in pixels at scale 1."""
    half = math.ceil(DENSITY * (1.4 * radius + 3 * unit))
    side = 2 * half + 1
    # Details are coarser than the background's because the patch may shrink.
    colors = two_color_texture(rng, side, side, finest_px=3.5, unit=unit)
    axis = (np.arange(side) - half) / DENSITY
    distance = patch_shape(rng, axis, axis[:, None], radius)
    return Patch(_with_cover(colors, cover(distance, rng.choice([1.0, 3.0]) * unit)), center, turn)


def _margin(offset: Complex) -> int:
    """Return a whole number of pixels above the largest shift along either axis."""
    return math.ceil(float(np.abs(np.concatenate([offset.real, offset.imag])).max())) + 1


def _side(size: int, margin: int) -> int:
    """Return the side, in texels, of a texture for a frame and a margin on each side."""
    return DENSITY * (size + 2 * margin) + 1


def _with_cover(colors: FloatArray, alpha: FloatArray) -> FloatArray:
    return np.concatenate([colors, alpha[None]])

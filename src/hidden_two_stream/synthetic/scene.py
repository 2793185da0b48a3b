"""Layered scenes: surfaces that move in front of each other, drawn, with the exact motion of what is seen.

Convention: positions are complex numbers as in `textures`, x right and y down. A surface's point q is at
`centre + turn * q`, with `turn = scale * exp(i angle)`, and a growing angle turns clockwise on the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hidden_two_stream.synthetic.textures import Complex, paint, pixel_centres, shifted
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["BoolArray", "Surface", "complex_normal", "draw", "exact_flow", "exposed"]

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """A surface and its path.

    Attributes:
        colours: (h, w, 4) colour and cover of a sprite or a bar, or (h, w, 3) of a background.
        centre: (T,) where its origin is, in pixels; for a sheet its offset from the frame's centre.
        turn: (T,) scale and angle; None for a sheet, which fills the frame and is only shifted.
    """

    colours: FloatArray
    centre: Complex
    turn: Complex | None = None


def draw(surfaces: Sequence[Surface], size: int) -> tuple[FloatArray, IndexArray]:
    """Light of the scene, and what is seen where.

    Args:
        surfaces: from back to front; the first is a background without cover.
        size: height and width in pixels.

    Returns:
        (T, size, size, 3) in 0..1, and (T, size, size) the number of the surface that covers more than half.
    """
    frames = shifted(surfaces[0].colours, surfaces[0].centre, size)
    visible = np.zeros(frames.shape[:3], np.int64)
    for number, surface in enumerate(surfaces[1:], start=1):
        if surface.turn is None:
            sheet = shifted(surface.colours, surface.centre, size)
            frames += sheet[..., 3:] * (sheet[..., :3] - frames)
            cover = sheet[..., 3]
        else:
            cover = paint(frames, surface.colours, surface.centre, surface.turn)
        visible[cover > 0.5] = number
    return frames, visible


def exact_flow(surfaces: Sequence[Surface], visible: IndexArray) -> FloatArray:
    """(T-1, 2, H, W) float32 pixels, frame t to t+1, of the surface that `draw` found visible at t."""
    size = visible.shape[-1]
    still = np.ones(len(visible), np.complex128)
    step = np.zeros((len(visible) - 1, size, size), np.complex128)
    for number, surface in enumerate(surfaces):
        turn = still if surface.turn is None else surface.turn
        step = np.where(visible[:-1] == number, _steps(surface.centre, turn, size), step)
    return np.stack([step.real, step.imag], axis=1).astype(np.float32)


def _steps(centre: Complex, turn: Complex, size: int) -> Complex:
    """Displacement (T-1, H, W) of a surface under `p = centre + turn * q`: A_{t+1}(A_t^{-1}(p)) - p."""
    p = pixel_centres(size)
    ratio = (turn[1:] / turn[:-1])[:, None, None]
    return np.asarray(centre[1:, None, None] + ratio * (p - centre[:-1, None, None]) - p)


def exposed(rng: np.random.Generator, frames: FloatArray, brightness: float, noise_sigma: float) -> RawClip:
    """What the sensor makes of (T, H, W, 3) light in 0..1: a slowly changing gain, noise, 256 levels.

    Args:
        rng: source of the gain's phase and of the noise.
        frames: light.
        brightness: largest change of the gain, as a fraction.
        noise_sigma: standard deviation of the noise, as a fraction of full scale.
    """
    num_frames = len(frames)
    phase, cycles = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.0)
    gain = 1 + brightness * np.sin(phase + 2 * math.pi * cycles * np.arange(num_frames) / num_frames)
    light = frames * gain.astype(np.float32)[:, None, None, None]
    if noise_sigma > 0:
        light += rng.standard_normal(frames.shape, dtype=np.float32) * np.float32(noise_sigma)
    return np.asarray(np.clip(np.rint(light * 255), 0, 255), np.uint8)


def complex_normal(rng: np.random.Generator, count: int) -> Complex:
    """(count,) complex numbers whose real and imaginary parts are standard normal."""
    return np.asarray(rng.standard_normal(count) + 1j * rng.standard_normal(count))

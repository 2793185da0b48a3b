"""What the clips of the motion library look like, drawn independently of what moves.

Colors, textures, still things, the camera's small movements, and its flaws. Light is (C, T, H, W) float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.synthetic.draws import Range, chance, complex_normal, direction, log_uniform
from hidden_two_stream.synthetic.mover_paths import REFERENCE_PX, Path, still
from hidden_two_stream.synthetic.noise import spline_noise
from hidden_two_stream.synthetic.shapes import SHAPES, patch_shape
from hidden_two_stream.types import FloatArray, RawClip

__all__ = ["Look", "Sprite", "background", "draw_look", "film", "nuisance_camera", "sprite"]

_TEXELS = 1.5
"""Texels per pixel of a sprite; it may grow."""


@dataclass(frozen=True)
class Look:
    """The style of one clip.

    Attributes:
        channels: 1 for gray, 3 for color.
        thermal: warm things on a dark, smooth ground.
        ground: mean brightness of the background, 0..1.
        front: mean brightness of what moves.
        grid: pixels a side of the sensor, or 0 for the frame's own.
    """

    channels: int
    thermal: bool
    ground: float
    front: float
    grid: int


def draw_look(rng: np.random.Generator, size: int) -> Look:
    """Return a random style."""
    thermal = chance(rng, 0.2)
    gray = chance(rng, 0.3)
    coarse = chance(rng, 0.75 if thermal else 0.08)
    grid = round(rng.choice([16, 20, 24, 28, 32]))
    contrast = log_uniform(rng, (0.25, 0.7) if thermal else (0.14, 0.6))
    ground = rng.uniform(0.05, 0.25) if thermal else rng.uniform(0.06, 0.94)
    brighter = thermal or chance(rng, 0.5)
    if not 0 < ground + (contrast if brighter else -contrast) < 1:
        brighter = ground < 0.5
    front = ground + contrast if brighter else ground - contrast
    return Look(
        channels=1 if thermal or gray else 3,
        thermal=thermal,
        ground=float(ground),
        front=float(np.clip(front, 0.03, 0.97)),
        grid=min(size, grid) if coarse else 0,
    )


# -- surfaces --------------------------------------------------------------------------------------


def color(rng: np.random.Generator, look: Look, level: float, spread: float = 0.0) -> FloatArray:
    """Return (C,): a color of about this brightness."""
    level = level + spread * rng.standard_normal()
    tint = 1 + rng.uniform(-1, 1, 3) * rng.uniform(0, 0.5)
    tint = tint[: look.channels] if look.channels == 3 else np.ones(1)
    return np.asarray(np.clip(level * tint / tint.mean(), 0.01, 0.99), np.float32)


def _pattern(rng: np.random.Generator, n: int, unit: float) -> FloatArray:
    """Return (n, n) values of about -1 to 1: noise, blobs, stripes or checks; unit: texels per pixel."""
    kind = rng.choice(4, p=[0.45, 0.2, 0.2, 0.15])
    if kind == 0:
        spacing = log_uniform(rng, (1.5, 6)) * unit
        layers = [spline_noise(rng, n, n, spacing * step, 1)[0] for step in (1, 2.5, 6)]
        return np.asarray((layers[0] + layers[1] + layers[2]) * np.float32(0.45), np.float32)
    if kind == 1:
        return np.asarray(np.tanh(3 * spline_noise(rng, n, n, rng.uniform(3, 10) * unit, 1)[0]), np.float32)
    wave = 2 * math.pi / (rng.uniform(5, 18) * unit)
    way = direction(rng)
    x = np.arange(n, dtype=np.float32)
    along = np.sin((wave * way.real * x + wave * way.imag * x[:, None]) + np.float32(rng.uniform(0, 6)))
    if kind == 3:
        along = along * np.sin(wave * way.imag * x - wave * way.real * x[:, None])
    return np.asarray(np.tanh(2 * along), np.float32)


def _texture(
    rng: np.random.Generator, look: Look, n: int, unit: float, level: float, contrast: Range
) -> FloatArray:
    """Return (C, n, n): a color with a pattern."""
    base = color(rng, look, level)
    depth = log_uniform(rng, contrast) * (0.3 if look.thermal else 1.0)
    shift = depth * (1 + 0.6 * rng.uniform(-1, 1, look.channels)).astype(np.float32)
    pattern = _pattern(rng, n, unit)
    return np.asarray(np.clip(base[:, None, None] + shift[:, None, None] * pattern, 0, 1), np.float32)


def background(rng: np.random.Generator, look: Look, size: int, textured: bool) -> FloatArray:
    """Return a tile (C, n, n), larger than the frame: plain, a gradient, two walls, or a texture.

    Args:
        rng: source of randomness.
        look: style.
        size: side of the frame, pixels.
        textured: always draw a texture that shows movements of the camera.
    """
    n = 2 * round(0.75 * size)
    unit = size / REFERENCE_PX
    kind = "texture" if textured or chance(rng, 0.6) else str(rng.choice(["plain", "gradient", "walls"]))
    if kind == "texture":
        return _texture(rng, look, n, unit, look.ground, (0.1, 0.3) if textured else (0.02, 0.25))
    tile = np.empty((look.channels, n, n), np.float32)
    tile[:] = color(rng, look, look.ground)[:, None, None]
    if kind == "walls":
        line = round(n * rng.uniform(0.45, 0.75))
        tile[:, line:] = color(rng, look, look.ground, 0.12)[:, None, None]
    elif kind == "gradient":
        way, axis = direction(rng), np.linspace(-1, 1, n)
        tile += (rng.uniform(0.03, 0.2) * (way.real * axis + way.imag * axis[:, None])).astype(np.float32)
    return np.clip(tile, 0, 1)


@dataclass(frozen=True)
class Sprite:
    """A patch with a texture.

    Attributes:
        tile: (C + 1, n, n), colors times opacity, then opacity.
        half_px: half of the tile's side, in pixels.
        radius: of the shape, in pixels.
    """

    tile: FloatArray
    half_px: float
    radius: float


def sprite(rng: np.random.Generator, look: Look, radius: float, level: float, unit: float) -> Sprite:
    """Return a random patch with a texture; some have limbs."""
    half = 1.35 * radius
    n = max(8, 2 * math.ceil(half * _TEXELS))
    axis = (np.arange(n) + 0.5) * (2 / n) - 1
    x, y = axis[None, :], axis[:, None]
    if chance(rng, 0.35):
        kind = str(rng.choice(["limbs", "bar", "blob", "polygon"]))
        distance = SHAPES[kind](rng, x, y) * half
    else:
        distance = patch_shape(rng, x * half, y * half, radius)
    opacity = np.clip(distance * _TEXELS + 0.5, 0, 1).astype(np.float32)
    texture = _texture(rng, look, n, _TEXELS * unit, level, (0.05, 0.3))
    return Sprite(np.concatenate([texture * opacity, opacity[None]]), half, radius)


# -- the camera ------------------------------------------------------------------------------------


def nuisance_camera(rng: np.random.Generator, num_frames: int, unit: float) -> Path:
    """Return a still camera in most clips, else a slight shake, pan or zoom; lengths in pixels."""
    if not chance(rng, 0.3):
        return still(num_frames)
    tau = np.arange(num_frames) - 0.5 * (num_frames - 1)
    path = still(num_frames)
    center = direction(rng) * rng.uniform(0, 0.35) * unit * tau if chance(rng, 0.5) else path.center
    if chance(rng, 0.7):
        center = center + complex_normal(rng, num_frames) * rng.uniform(0.1, 0.5) * unit
    scale = np.exp(rng.uniform(-0.004, 0.004) * tau) if chance(rng, 0.3) else path.scale
    return Path(np.asarray(center), scale, path.angle)


def film(rng: np.random.Generator, light: FloatArray, look: Look) -> RawClip:
    """Return the frames (T, H, W, 3) that a camera with flaws gives."""
    size = light.shape[-1]
    if chance(rng, 0.15):  # each frame keeps a part of the one before, as slow sensors do
        light[:, 1:] = light[:, 1:] + np.float32(rng.uniform(0.1, 0.45)) * (light[:, :-1] - light[:, 1:])
    if chance(rng, 0.25):
        light = _blurred(light, float(rng.uniform(0.1, 0.33)))
    light *= _gain(rng, light.shape[1])[:, None, None]
    sigma = rng.uniform(0, 0.04) * (0.5 if chance(rng, 0.5) else 1.0)
    if look.grid:
        small = functional.interpolate(torch.from_numpy(light), (look.grid, look.grid), mode="area").numpy()
        _add_noise(rng, small, sigma)
        mode = "nearest" if chance(rng, 0.5) else "bilinear"
        light = functional.interpolate(torch.from_numpy(small), (size, size), mode=mode).numpy()
    else:
        if chance(rng, 0.12):
            light = _blocky(light, float(rng.uniform(0.01, 0.05)))
        _add_noise(rng, light, sigma)
    light *= 255
    light += 0.5
    frames = np.clip(light, 0, 255, out=light).astype(np.uint8).transpose(1, 2, 3, 0)
    return np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:3], 3)))


def _gain(rng: np.random.Generator, num_frames: int) -> FloatArray:
    """Return (T,) factors: slow changes of the brightness in some clips."""
    if not chance(rng, 0.4):
        return np.ones(num_frames, np.float32)
    phase: Reals = rng.uniform(0, 6) + rng.uniform(1, 6) * np.arange(num_frames) / num_frames
    return (1 + rng.uniform(0, 0.12) * np.sin(phase)).astype(np.float32)


def _blurred(light: FloatArray, side: float) -> FloatArray:
    """Return the light after a blur with the weights (side, 1 - 2 side, side) along both axes."""
    side_weight = np.float32(side)
    light[..., 1:-1, :] += side_weight * (light[..., 2:, :] + light[..., :-2, :] - 2 * light[..., 1:-1, :])
    light[..., 1:-1] += side_weight * (light[..., 2:] + light[..., :-2] - 2 * light[..., 1:-1])
    return light


def _blocky(light: FloatArray, threshold: float) -> FloatArray:
    """Return the light without faint detail in blocks of 8 by 8 pixels, as strong compression leaves it."""
    size = light.shape[-1]
    if size % 8:
        return light
    blocks = light.reshape(*light.shape[:2], size // 8, 8, size // 8, 8)
    mean = blocks.mean(axis=(3, 5), keepdims=True)
    detail = blocks - mean
    detail[np.abs(detail) < threshold] = 0
    return np.asarray((mean + detail).reshape(light.shape), np.float32)


def _add_noise(rng: np.random.Generator, light: FloatArray, sigma: float) -> None:
    """Add Gaussian noise, in place; the channels share it, at different places, which is faster."""
    noise = rng.standard_normal(light.shape[1:], dtype=np.float32) * np.float32(sigma)
    flat = noise.reshape(-1)
    for channel in light:
        channel += np.roll(flat, int(rng.integers(flat.size))).reshape(noise.shape)

"""Procedural surfaces, and drawing them at positions between pixels.

Convention: positions are complex numbers x + iy in pixels, y down; the centre of the pixel in row i, column j
is at x = j, y = i. Surfaces are made with `_DENSITY` texels per pixel. A sprite is an (n, n, 4) surface of
colour and cover whose middle texel is the origin.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import FloatArray

__all__ = [
    "Complex",
    "Reals",
    "bar_sprite",
    "canvas_shape",
    "direction",
    "paint",
    "patch_sprite",
    "pixel_centres",
    "shifted",
    "texture",
]

Complex = npt.NDArray[np.complex128]
Reals = npt.NDArray[np.floating[Any]]

_DENSITY = 2  # texels per pixel: bilinear sampling of a smooth, denser texture neither aliases nor flickers


def direction(rng: np.random.Generator) -> complex:
    """A random unit vector."""
    return complex(np.exp(1j * rng.uniform(0, 2 * math.pi)))


def pixel_centres(size: int) -> Complex:
    """(size, size): the positions of a square frame's pixels."""
    return np.asarray(np.arange(size) + 1j * np.arange(size)[:, None])


# -- surfaces --------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _spline_basis(length: int, spacing: float) -> FloatArray:
    """(length, knots): values of the uniform cubic B-splines with that knot spacing, at 0..length-1."""
    x = np.arange(length) / spacing
    distance = np.abs(x[:, None] - np.arange(-1, int(x[-1]) + 3))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, spacing: float, channels: int) -> FloatArray:
    """(channels, height, width) smooth noise of about unit variance; details measure about 2 x `spacing`."""
    rows, columns = _spline_basis(height, spacing), _spline_basis(width, spacing)
    knots = rng.standard_normal((channels, rows.shape[1], columns.shape[1]), dtype=np.float32)
    return np.asarray(rows @ knots @ columns.T / np.float32(0.48), np.float32)


def _octaves(
    rng: np.random.Generator, height: int, width: int, finest_px: float, coarsest_px: float, channels: int
) -> FloatArray:
    count = max(1, round(math.log2(coarsest_px / finest_px)) + 1)
    layers = [_noise(rng, height, width, _DENSITY * finest_px * 2**k, channels) for k in range(count)]
    return np.asarray(np.sum(layers, axis=0) / math.sqrt(count), np.float32)


def texture(
    rng: np.random.Generator, height: int, width: int, *, finest_px: float, unit: float
) -> FloatArray:
    """(height, width, 3) in 0..1: noise, blobs, stripes or checks of two colours, with coloured detail."""
    dark, bright = rng.uniform(0.05, 0.4, 3), rng.uniform(0.6, 0.95, 3)
    kind = rng.integers(4)
    if kind == 0:
        pattern = _octaves(rng, height, width, finest_px, 10 * unit, 1)[0]
    elif kind == 1:
        pattern = 2 * _noise(rng, height, width, _DENSITY * 5 * unit, 1)[0]
    else:
        wave = 2 * math.pi / (rng.uniform(7, 16, 2) * unit * _DENSITY)
        along = direction(rng)
        phases = rng.uniform(0, 2 * math.pi, 2)
        rotated = (np.arange(width) + 1j * np.arange(height)[:, None]) * along
        pattern = 1.5 * np.sin(wave[0] * rotated.real + phases[0])
        if kind == 3:
            pattern = 1.4 * pattern * np.sin(wave[1] * rotated.imag + phases[1])
    blend = (0.5 + 0.5 * np.tanh(pattern)).astype(np.float32)[..., None]
    detail = _octaves(rng, height, width, finest_px, 10 * unit, 3).transpose(1, 2, 0)
    colours = dark.astype(np.float32) + blend * (bright - dark).astype(np.float32)
    return np.asarray(np.clip(colours + np.float32(0.12) * detail, 0.02, 0.98), np.float32)


def _inside(rng: np.random.Generator, q: Complex, radius: float) -> Reals:
    """Signed distance in pixels, roughly, to the border of a random shape about 0; positive inside."""
    kind = rng.integers(4)
    aspect = rng.uniform(0.65, 1.0)
    wobble, phases = rng.uniform(0.03, 0.12, 3), rng.uniform(0, 2 * math.pi, 3)
    sides = int(rng.integers(3, 7))
    if kind == 0:
        return np.asarray((1 - np.abs(q.real + 1j * q.imag / aspect) / radius) * radius * aspect)
    if kind == 1:
        corner = 0.3 * radius
        dx = np.abs(q.real) - (0.95 * radius - corner)
        dy = np.abs(q.imag) - (0.95 * radius * aspect - corner)
        outside = np.hypot(np.clip(dx, 0, None), np.clip(dy, 0, None))
        return np.asarray(corner - outside - np.clip(np.maximum(dx, dy), None, 0))
    if kind == 2:
        facing = [(q * np.exp(2j * math.pi * k / sides)).real for k in range(sides)]
        return np.asarray(1.25 * radius * math.cos(math.pi / sides) - np.maximum.reduce(facing))
    theta = np.angle(q)
    waves = sum(w * np.cos(k * theta + p) for k, w, p in zip((2, 3, 5), wobble, phases, strict=True))
    return np.asarray(radius * (1 + np.asarray(waves)) - np.abs(q))


def _edge(distance: Reals, width: float) -> Reals:
    """Cover 0..1 from a signed distance, by a smooth step of this width."""
    x = np.clip(distance / width + 0.5, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def patch_sprite(rng: np.random.Generator, radius: float, unit: float) -> FloatArray:
    """(n, n, 4) colour and cover of the patch at scale 1, centred."""
    half = math.ceil(_DENSITY * (1.4 * radius + 3 * unit))
    length = 2 * half + 1
    # Details are coarser than the background's because the patch may shrink.
    colours = texture(rng, length, length, finest_px=3.5, unit=unit)
    axis = (np.arange(length) - half) / _DENSITY
    distance = _inside(rng, np.asarray(axis + 1j * axis[:, None]), radius)
    cover = _edge(distance, rng.choice([1.0, 3.0]) * unit)
    return np.concatenate([colours, cover[..., None]], axis=-1, dtype=np.float32)


def canvas_shape(size: int, offsets: Complex) -> tuple[int, int]:
    """(height, width) in texels of a surface that fills a square frame at each of the (T,) offsets."""
    reach = np.abs(np.concatenate([offsets.real, offsets.imag])).max()
    side = _DENSITY * (size + 2 * (math.ceil(reach) + 1)) + 1
    return side, side


def bar_sprite(rng: np.random.Generator, shape: tuple[int, int], unit: float) -> FloatArray:
    """(height, width, 4) colour and cover of a bar across the canvas, near its centre."""
    colours = texture(rng, *shape, finest_px=2.5, unit=unit)
    x, y = ((np.arange(n) - (n - 1) / 2) / _DENSITY for n in (shape[1], shape[0]))
    across = ((x + 1j * y[:, None]) * direction(rng)).real + rng.uniform(-10, 10) * unit
    cover = _edge(rng.uniform(2, 4) * unit - np.abs(across), 1.0)
    return np.concatenate([colours, cover[..., None]], axis=-1, dtype=np.float32)


# -- drawing ---------------------------------------------------------------------------------------


def shifted(canvas: FloatArray, offsets: Complex, size: int) -> FloatArray:
    """(T, size, size, C): a canvas seen centred, moved by each of the (T,) offsets; bilinear."""
    margin = ((canvas.shape[0] - 1) // _DENSITY - size) // 2
    out = np.empty((len(offsets), size, size, canvas.shape[2]), np.float32)
    span = _DENSITY * (size - 1) + 1
    for frame, offset in zip(out, offsets, strict=True):
        x, y = _DENSITY * (margin - offset.real), _DENSITY * (margin - offset.imag)
        column, row = math.floor(x), math.floor(y)
        fx, fy = np.float32(x - column), np.float32(y - row)
        upper = canvas[row : row + span : _DENSITY, column : column + span + 1]
        lower = canvas[row + 1 : row + 1 + span : _DENSITY, column : column + span + 1]
        line = upper + fy * (lower - upper)
        left, right = line[:, :span:_DENSITY], line[:, 1 : span + 1 : _DENSITY]
        np.add(left, fx * (right - left), out=frame)
    return out


def _sample(sprite: FloatArray, q: Complex) -> FloatArray:
    """(..., 4) bilinear values of a centred sprite at positions `q` in its pixels; uncovered outside."""
    length = sprite.shape[0]
    x, y = (np.clip(part * _DENSITY + (length - 1) / 2, 0, length - 1.001) for part in (q.real, q.imag))
    column, row = x.astype(np.intp), y.astype(np.intp)
    fx, fy = ((a - b).astype(np.float32)[..., None] for a, b in ((x, column), (y, row)))
    flat, index = sprite.reshape(-1, 4), row * length + column
    upper = flat[index] * (1 - fx) + flat[index + 1] * fx
    lower = flat[index + length] * (1 - fx) + flat[index + length + 1] * fx
    return np.asarray(upper + fy * (lower - upper), np.float32)


def paint(frames: FloatArray, sprite: FloatArray, centre: Complex, turn: Complex) -> FloatArray:
    """Paint the sprite over the frames in place, by inverse mapping; returns its cover (T, H, W)."""
    size = frames.shape[1]
    cover = np.zeros(frames.shape[:3], np.float32)
    reach = (sprite.shape[0] - 1) / 2 / _DENSITY
    p = pixel_centres(size)
    for t, (c, m) in enumerate(zip(centre, turn, strict=True)):
        low_x, low_y = (max(0, math.floor(v - reach * abs(m))) for v in (c.real, c.imag))
        high_x, high_y = (max(0, math.ceil(v + reach * abs(m)) + 1) for v in (c.real, c.imag))
        box = (slice(low_y, high_y), slice(low_x, high_x))
        colour = _sample(sprite, (p[box] - c) / m)
        cover[t][box] = colour[..., 3]
        frames[t][box] += colour[..., 3:] * (colour[..., :3] - frames[t][box])
    return cover

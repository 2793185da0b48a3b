"""Textures: the colors of surfaces.

Convention: a texture is (3, height, width) float32 RGB in 0..1 with `DENSITY` texels per pixel. Textures hold
little detail finer than two pixels, so bilinear sampling neither aliases nor flickers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hidden_two_stream.synthetic.draws import direction, log_uniform
from hidden_two_stream.synthetic.noise import hills, low_pass, octaves, spectral_noise, spline_noise
from hidden_two_stream.types import FloatArray

__all__ = ["DENSITY", "MATERIALS", "material", "mixed", "two_color_texture"]

DENSITY = 2
"""Texels per pixel."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def two_color_texture(
    rng: np.random.Generator, height: int, width: int, *, finest_px: float, unit: float
) -> FloatArray:
    """Return (3, height, width) noise, blobs, stripes or checks of two colors, with colored detail.

    Args:
        rng: source of randomness.
        height: in texels.
        width: in texels.
        finest_px: knot spacing of the finest detail, in pixels.
        unit: factor on all other lengths.
    """
    finest, coarsest = DENSITY * finest_px, DENSITY * 10 * unit
    dark, bright = rng.uniform(0.05, 0.4, 3), rng.uniform(0.6, 0.95, 3)
    kind = rng.integers(4)
    if kind == 0:
        pattern = octaves(rng, height, width, finest, coarsest, 1)[0]
    elif kind == 1:
        pattern = 2 * spline_noise(rng, height, width, DENSITY * 5 * unit, 1)[0]
    else:
        wave = 2 * math.pi / (rng.uniform(7, 16, 2) * unit * DENSITY)
        along = direction(rng)
        phases = rng.uniform(0, 2 * math.pi, 2)
        rotated = (np.arange(width) + 1j * np.arange(height)[:, None]) * along
        pattern = 1.5 * np.sin(wave[0] * rotated.real + phases[0])
        if kind == 3:
            pattern = 1.4 * pattern * np.sin(wave[1] * rotated.imag + phases[1])
    blend = (0.5 + 0.5 * np.tanh(pattern)).astype(np.float32)
    detail = octaves(rng, height, width, finest, coarsest, 3)
    base, contrast = (color.astype(np.float32)[:, None, None] for color in (dark, bright - dark))
    return np.asarray(np.clip(base + blend * contrast + np.float32(0.12) * detail, 0.02, 0.98), np.float32)


# -- materials: square tiles that repeat without a seam, with the statistics of real images ---------


def _color(rng: np.random.Generator, saturation: float = 0.35) -> FloatArray:
    """Return (3,) a color of any brightness and mostly low saturation."""
    tint = rng.uniform(-1, 1, 3) * saturation * rng.random()
    return np.asarray(np.clip(rng.uniform(0.08, 0.92) * (1 + tint), 0.02, 0.98), np.float32)


def _two_colors(rng: np.random.Generator, blend: FloatArray) -> FloatArray:
    """Return (3, n, n), two random colors mixed by `blend` (n, n) in 0..1."""
    one, other = _color(rng), _color(rng)
    return np.asarray(one[:, None, None] + (other - one)[:, None, None] * blend, np.float32)


def _fractal(rng: np.random.Generator, n: int) -> FloatArray:
    """Return noise with the spectrum of natural images, in related colors."""
    light, tone = spectral_noise(rng, n, rng.uniform(0.8, 1.6), channels=2)
    along = 1 + rng.uniform(-0.3, 0.3, (3, 1, 1)).astype(np.float32)
    across = rng.uniform(-0.5, 0.5, (3, 1, 1)).astype(np.float32)
    return np.asarray(_color(rng)[:, None, None] + 0.2 * (along * light + across * tone), np.float32)


def _copies(center: float, reach: int, n: int) -> Iterator[tuple[float, int, int]]:
    """Yield (center, start, stop) along one axis for each copy of a shape that touches the repeating tile."""
    for shift in (0, n, -n):
        start = max(0, math.floor(center + shift) - reach)
        stop = min(n, math.ceil(center + shift) + reach)
        if start < stop:
            yield center + shift, start, stop


def _leaf(rng: np.random.Generator, tile: FloatArray, radius: float, color: FloatArray) -> None:
    """Paint an ellipse or a polygon into the tile, across its seams."""
    n = tile.shape[-1]
    center_x, center_y = rng.uniform(0, n, 2)
    angle, aspect, sides = rng.uniform(0, math.pi), rng.uniform(0.25, 1.0), int(rng.integers(0, 6))
    slope = rng.normal(0, 0.15, 2) / radius if rng.random() < 0.4 else np.zeros(2)
    reach = math.ceil(radius) + 2
    for x0, left, right in _copies(center_x, reach, n):
        for y0, top, bottom in _copies(center_y, reach, n):
            x = np.arange(left, right, dtype=np.float32) - np.float32(x0)
            y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y0)
            u = np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y
            v = np.float32(math.cos(angle)) * y - np.float32(math.sin(angle)) * x
            if sides < 3:
                inside = np.float32(radius * aspect) * (1 - np.hypot(u, v / np.float32(aspect)) / radius)
            else:
                turns = [2 * math.pi * k / sides for k in range(sides)]
                faces = [math.cos(a) * u + math.sin(a) * v / np.float32(aspect) for a in turns]
                depth = radius * math.cos(math.pi / sides) - np.maximum.reduce(faces)
                inside = depth * np.float32(aspect)
            alpha = np.clip(inside / 2 + 0.5, 0, 1).astype(np.float32)
            shade = (slope[0] * x + slope[1] * y).astype(np.float32)
            view = tile[:, top:bottom, left:right]
            view += alpha * (color[:, None, None] + shade - view)


def _leaves(rng: np.random.Generator, n: int) -> FloatArray:
    """Return dead leaves: shapes of all sizes in front of each other."""
    tile = _two_colors(rng, 0.5 + 0.25 * hills(rng, n))
    palette = [_color(rng, 0.6) for _ in range(int(rng.integers(3, 12)))]
    finest, coarsest = log_uniform(rng, (3, 12)), n / rng.uniform(4, 9)
    fractions = rng.random(math.ceil(n / 480 * int(rng.integers(50, 200))))
    # Density of radii r ** -2; a few small ones are hidden by large ones, most lie in front.
    radii = 1 / (1 / finest + fractions * (1 / max(coarsest, finest + 1) - 1 / finest))
    radii = radii[np.argsort(-radii * np.exp(rng.normal(0, 0.7, len(radii))))]
    for radius in radii:
        _leaf(rng, tile, float(radius), palette[int(rng.integers(len(palette)))])
    return tile


def _waves(rng: np.random.Generator, n: int) -> FloatArray:
    """Return stripes, checks or blobs, soft or hard, often unevenly spaced or faded in places."""
    kind, hardness = rng.integers(3), log_uniform(rng, (0.7, 20))
    period = log_uniform(rng, (4 * DENSITY, n / 2))
    if kind == 2:
        pattern = spectral_noise(rng, n, 4.0, coarsest=period)[0]
    else:
        angle = rng.uniform(0, math.pi)
        cycles = np.rint(n / period * np.array([math.cos(angle), math.sin(angle)]))
        axis = np.arange(n, dtype=np.float32) * np.float32(2 * math.pi / n)
        bend = rng.choice([0.0, 1.0]) * rng.uniform(0, 1.5) * hills(rng, n)
        pattern = np.sin(cycles[0] * axis + cycles[1] * axis[:, None] + bend)
        if kind == 1:
            pattern = pattern * np.sin(cycles[0] * axis[:, None] - cycles[1] * axis + bend)
    # An edge narrower than two texels would alias.
    pattern = np.tanh(min(hardness, period / 6) * pattern)
    if rng.random() < 0.3:
        pattern = pattern * np.clip(0.5 + hills(rng, n), 0, 1)
    return _two_colors(rng, np.asarray(0.5 + 0.5 * pattern, np.float32))


def _plain(rng: np.random.Generator, n: int) -> FloatArray:
    """Return smooth shading as on walls, skies and skin, with up to five small shapes."""
    tile = (
        _color(rng)[:, None, None]
        + 0.15 * rng.random() * hills(rng, n) * (0.7 + 0.3 * _color(rng))[:, None, None]
    )
    tile = np.ascontiguousarray(tile, np.float32)
    for _ in range(int(rng.integers(0, 6))):
        _leaf(rng, tile, log_uniform(rng, (3, max(4, n / 16))), _color(rng))
    return tile


def _writing(rng: np.random.Generator, n: int) -> FloatArray:
    """Return lines of small glyphs in groups, with empty areas."""
    height_px = log_uniform(rng, (7, 24))
    lines = max(1, round(n / (DENSITY * height_px)))
    signs = max(1, round(n / (DENSITY * height_px * 0.6)))
    bits = np.zeros((lines, 10, signs, 6), np.float32)
    bits[:, 2:8, :, :5] = rng.random((lines, 6, signs, 5)) < 0.5
    bits[:, 2:8, :, 0] = np.maximum(bits[:, 2:8, :, 0], rng.random((lines, 1, signs)) < 0.6)
    bits *= (rng.random((lines, 1, signs, 1)) < 0.8) & (rng.random((lines, 1, 1, 1)) < 0.8)
    ink = bits.reshape(lines * 10, signs * 6)
    rows, columns = (np.arange(n) * count // n for count in ink.shape)
    place = np.clip(0.5 + 3 * (hills(rng, n) + rng.uniform(-0.5, 1)), 0, 1)
    return low_pass(_two_colors(rng, np.asarray(ink[rows][:, columns] * place, np.float32)), DENSITY * 0.35)


MATERIALS = {
    "fractal": _fractal,
    "leaves": _leaves,
    "waves": _waves,
    "plain": _plain,
    "writing": _writing,
}
"""Functions (rng, n) that return a (3, n, n) tile, by kind."""


def material(
    rng: np.random.Generator, n: int, kind: str, *, contrast: float, gray: bool, blur_px: float
) -> FloatArray:
    """Return a (3, n, n) tile of one kind.

    Args:
        rng: source of randomness.
        n: side in texels, even.
        kind: a key of `MATERIALS`.
        contrast: standard deviation of the tile, relative to full scale; an upper bound for "plain".
        gray: remove nearly all color.
        blur_px: standard deviation of a Gaussian blur, in pixels.
    """
    tile = MATERIALS[kind](rng, n)
    if kind not in ("fractal", "plain"):
        detail = spectral_noise(rng, n, rng.uniform(0.8, 1.4))[0] * np.clip(0.5 + hills(rng, n), 0.05, 1.5)
        tile = tile * np.asarray(1 + log_uniform(rng, (0.02, 0.35)) * detail, np.float32)
    elif kind == "plain":
        tile = tile + log_uniform(rng, (0.001, 0.015)) * spectral_noise(rng, n, 1.0)
    if blur_px > 0:
        tile = low_pass(tile, DENSITY * blur_px)
    if gray:
        light = np.tensordot(_LUMA, tile, 1)
        tile = light + np.float32(0.1 * rng.random()) * (tile - light)
    mean, spread = tile.mean(axis=(1, 2), keepdims=True), float(tile.std(axis=(1, 2)).max()) + 1e-6
    gain = contrast / spread if kind != "plain" else min(1.0, contrast / spread)
    return np.asarray(np.clip(mean + np.float32(gain) * (tile - mean), 0.01, 0.99), np.float32)


def mixed(rng: np.random.Generator, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return a tile that shows `one` in some regions and `other` elsewhere, with hard or soft borders."""
    relief = spectral_noise(rng, one.shape[-1], 2.5)[0] + np.float32(rng.normal(0, 0.5))
    blend = np.clip(0.5 + relief * np.float32(log_uniform(rng, (1.5, 30))), 0, 1)
    return np.asarray(one + blend * (other - one), np.float32)

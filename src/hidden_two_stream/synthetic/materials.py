"""Looks of the surfaces of `scenery`: seamless tiles with the statistics of real pictures.

Convention: a tile is (3, n, n) float32 RGB in 0..1 with `DENSITY` texels per pixel; it repeats without seam.
Tiles hold little beyond half a cycle per pixel: bilinear sampling then neither aliases nor flickers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import FloatArray

__all__ = [
    "DENSITY",
    "MATERIALS",
    "Range",
    "Reals",
    "chance",
    "log_uniform",
    "material",
    "mixed",
    "noise",
]

DENSITY = 2
"""Texels per pixel."""

_HIGHEST = 0.2  # cycles per texel at which the tile's contrast has fallen to 1/e
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Reals = npt.NDArray[np.floating[Any]]
Range = tuple[float, float]


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """A number whose logarithm is uniform between the bounds; the upper bound where the lower one is 0."""
    low, high = bounds
    fraction = rng.random()
    return float(low * (high / low) ** fraction) if low > 0 else float(high)


def chance(rng: np.random.Generator, part: float) -> bool:
    """True for this part, 0..1, of the draws."""
    return bool(rng.random() < part)


# -- tiles -----------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _frequency(n: int) -> FloatArray:
    """(n, n // 2 + 1) cycles per texel of a real spectrum, with 1 / n in place of 0."""
    rows, columns = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)
    return np.asarray(np.maximum(np.hypot(rows, columns), 1 / n), np.float32)


@lru_cache(maxsize=32)
def _sharpness(n: int) -> FloatArray:
    return np.asarray(np.exp(-np.square(_frequency(n) / np.float32(_HIGHEST))), np.float32)


def noise(
    rng: np.random.Generator, n: int, slope: float, channels: int = 1, coarsest_px: float = math.inf
) -> FloatArray:
    """(channels, n, n) noise of unit variance whose amplitude falls as frequency ** -slope.

    Args:
        rng: source of the spectrum.
        n: side in texels.
        slope: 0.8 to 1.6 for natural pictures.
        channels: independent fields.
        coarsest_px: wavelength above which the spectrum is flat.
    """
    frequency = np.maximum(_frequency(n), np.float32(1 / (DENSITY * coarsest_px)))
    amplitude = np.asarray(frequency ** np.float32(-slope) * _sharpness(n), np.float32)
    amplitude[0, 0] = 0
    spectrum = rng.standard_normal((channels, n, 2 * (n // 2 + 1)), dtype=np.float32).view(np.complex64)
    field = np.fft.irfft2(spectrum * amplitude, s=(n, n)).astype(np.float32)
    return np.asarray(field / (field.std(axis=(1, 2), keepdims=True) + 1e-9), np.float32)


def _smooth(rng: np.random.Generator, n: int) -> FloatArray:
    """(n, n) noise of unit variance with nothing but a few large hills."""
    return np.asarray(noise(rng, n, 3.0)[0], np.float32)


def _filtered(tile: FloatArray, sigma_px: float) -> FloatArray:
    """The tile after a Gaussian blur, and without what pixels cannot show."""
    n = tile.shape[-1]
    gauss = np.exp(-2 * np.square(np.float32(math.pi * DENSITY * sigma_px) * _frequency(n)))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(tile) * (gauss * _sharpness(n)), s=(n, n)), np.float32)


def _colour(rng: np.random.Generator, saturation: float = 0.35) -> FloatArray:
    """(3,) a colour: any brightness, mostly of low saturation."""
    tint = rng.uniform(-1, 1, 3) * saturation * rng.random()
    return np.asarray(np.clip(rng.uniform(0.08, 0.92) * (1 + tint), 0.02, 0.98), np.float32)


def _two_colours(rng: np.random.Generator, blend: FloatArray) -> FloatArray:
    """(3, n, n) from a (n, n) blend in 0..1 of two random colours."""
    one, other = _colour(rng), _colour(rng)
    return np.asarray(one[:, None, None] + (other - one)[:, None, None] * blend, np.float32)


def _fractal(rng: np.random.Generator, n: int) -> FloatArray:
    light, tone = noise(rng, n, rng.uniform(0.8, 1.6), channels=2)
    along = 1 + rng.uniform(-0.3, 0.3, (3, 1, 1)).astype(np.float32)
    across = rng.uniform(-0.5, 0.5, (3, 1, 1)).astype(np.float32)
    return np.asarray(_colour(rng)[:, None, None] + 0.2 * (along * light + across * tone), np.float32)


def _leaf(rng: np.random.Generator, tile: FloatArray, radius: float, colour: FloatArray) -> None:
    """Paint a disc, an ellipse or a polygon into the tile, across its seams."""
    n = tile.shape[-1]
    x0, y0 = rng.uniform(0, n, 2)
    angle, aspect, sides = rng.uniform(0, math.pi), rng.uniform(0.25, 1.0), int(rng.integers(0, 6))
    slope = rng.normal(0, 0.15, 2) / radius if rng.random() < 0.4 else np.zeros(2)
    reach = math.ceil(radius) + 2
    for left in (0, n, -n):
        low, high = max(0, math.floor(x0 + left) - reach), min(n, math.ceil(x0 + left) + reach)
        if low >= high:
            continue
        for above in (0, n, -n):
            top, bottom = max(0, math.floor(y0 + above) - reach), min(n, math.ceil(y0 + above) + reach)
            if top >= bottom:
                continue
            x = np.arange(low, high, dtype=np.float32) - np.float32(x0 + left)
            y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y0 + above)
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
            view = tile[:, top:bottom, low:high]
            view += alpha * (colour[:, None, None] + shade - view)


def _leaves(rng: np.random.Generator, n: int) -> FloatArray:
    """Dead leaves: things of all sizes in front of each other."""
    tile = np.repeat(_two_colours(rng, 0.5 + 0.25 * _smooth(rng, n)), 1, axis=0)
    palette = [_colour(rng, 0.6) for _ in range(int(rng.integers(3, 12)))]
    finest, coarsest = log_uniform(rng, (3, 12)), n / rng.uniform(4, 9)
    fractions = rng.random(math.ceil(n / 480 * int(rng.integers(50, 200))))
    # Density of radii r ** -2; a few small ones are hidden by large ones, most lie in front.
    radii = 1 / (1 / finest + fractions * (1 / max(coarsest, finest + 1) - 1 / finest))
    radii = radii[np.argsort(-radii * np.exp(rng.normal(0, 0.7, len(radii))))]
    for radius in radii:
        _leaf(rng, tile, float(radius), palette[int(rng.integers(len(palette)))])
    return tile


def _waves(rng: np.random.Generator, n: int) -> FloatArray:
    """Stripes, checks or blobs, soft or hard; often of uneven spacing or faded in places."""
    kind, hardness = rng.integers(3), log_uniform(rng, (0.7, 20))
    period = log_uniform(rng, (4 * DENSITY, n / 2))
    if kind == 2:
        pattern = noise(rng, n, 4.0, coarsest_px=period / DENSITY)[0]
    else:
        angle = rng.uniform(0, math.pi)
        cycles = np.rint(n / period * np.array([math.cos(angle), math.sin(angle)]))
        axis = np.arange(n, dtype=np.float32) * np.float32(2 * math.pi / n)
        bend = rng.choice([0.0, 1.0]) * rng.uniform(0, 1.5) * _smooth(rng, n)
        pattern = np.sin(cycles[0] * axis + cycles[1] * axis[:, None] + bend)
        if kind == 1:
            pattern = pattern * np.sin(cycles[0] * axis[:, None] - cycles[1] * axis + bend)
    # An edge narrower than two texels would alias.
    pattern = np.tanh(min(hardness, period / 6) * pattern)
    if rng.random() < 0.3:
        pattern = pattern * np.clip(0.5 + _smooth(rng, n), 0, 1)
    return _two_colours(rng, np.asarray(0.5 + 0.5 * pattern, np.float32))


def _plain(rng: np.random.Generator, n: int) -> FloatArray:
    """Walls, skies, skin: smooth shading, and now and then a small thing."""
    tile = (
        _colour(rng)[:, None, None]
        + 0.15 * rng.random() * _smooth(rng, n) * (0.7 + 0.3 * _colour(rng))[:, None, None]
    )
    tile = np.ascontiguousarray(tile, np.float32)
    for _ in range(int(rng.integers(0, 6))):
        _leaf(rng, tile, log_uniform(rng, (3, max(4, n / 16))), _colour(rng))
    return tile


def _writing(rng: np.random.Generator, n: int) -> FloatArray:
    """Lines of small signs in groups, on a ground that is empty in places."""
    height_px = log_uniform(rng, (7, 24))
    lines = max(1, round(n / (DENSITY * height_px)))
    signs = max(1, round(n / (DENSITY * height_px * 0.6)))
    bits = np.zeros((lines, 10, signs, 6), np.float32)
    bits[:, 2:8, :, :5] = rng.random((lines, 6, signs, 5)) < 0.5
    bits[:, 2:8, :, 0] = np.maximum(bits[:, 2:8, :, 0], rng.random((lines, 1, signs)) < 0.6)
    bits *= (rng.random((lines, 1, signs, 1)) < 0.8) & (rng.random((lines, 1, 1, 1)) < 0.8)
    ink = bits.reshape(lines * 10, signs * 6)
    rows, columns = (np.arange(n) * count // n for count in ink.shape)
    place = np.clip(0.5 + 3 * (_smooth(rng, n) + rng.uniform(-0.5, 1)), 0, 1)
    return _filtered(_two_colours(rng, np.asarray(ink[rows][:, columns] * place, np.float32)), 0.35)


MATERIALS = {
    "fractal": _fractal,
    "leaves": _leaves,
    "waves": _waves,
    "plain": _plain,
    "writing": _writing,
}
"""Makers of a tile, by kind."""


def material(
    rng: np.random.Generator, n: int, kind: str, *, contrast: float, grey: bool, blur_px: float
) -> FloatArray:
    """(3, n, n) a tile.

    Args:
        rng: source of all that is random.
        n: side in texels, even.
        kind: a key of `MATERIALS`.
        contrast: standard deviation of the tile, of 1; for "plain" only the most that it may be.
        grey: take (nearly) all colour away.
        blur_px: standard deviation of a blur, in pixels.
    """
    tile = MATERIALS[kind](rng, n)
    if kind not in ("fractal", "plain"):
        detail = noise(rng, n, rng.uniform(0.8, 1.4))[0] * np.clip(0.5 + _smooth(rng, n), 0.05, 1.5)
        tile = tile * np.asarray(1 + log_uniform(rng, (0.02, 0.35)) * detail, np.float32)
    elif kind == "plain":
        tile = tile + log_uniform(rng, (0.001, 0.015)) * noise(rng, n, 1.0)
    if blur_px > 0:
        tile = _filtered(tile, blur_px)
    if grey:
        light = np.tensordot(_LUMA, tile, 1)
        tile = light + np.float32(0.1 * rng.random()) * (tile - light)
    mean, spread = tile.mean(axis=(1, 2), keepdims=True), float(tile.std(axis=(1, 2)).max()) + 1e-6
    gain = contrast / spread if kind != "plain" else min(1.0, contrast / spread)
    return np.asarray(np.clip(mean + np.float32(gain) * (tile - mean), 0.01, 0.99), np.float32)


def mixed(rng: np.random.Generator, one: FloatArray, other: FloatArray) -> FloatArray:
    """A tile that is like one in some regions and like the other elsewhere, with hard or soft borders."""
    hills = noise(rng, one.shape[-1], 2.5)[0] + np.float32(rng.normal(0, 0.5))
    blend = np.clip(0.5 + hills * np.float32(log_uniform(rng, (1.5, 30))), 0, 1)
    return np.asarray(one + blend * (other - one), np.float32)

"""Smooth random fields, from which the textures are made.

Lengths are in texels, frequencies in cycles per texel.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from hidden_two_stream.types import FloatArray

__all__ = ["hills", "low_pass", "octaves", "spectral_noise", "spline_noise"]

_CUTOFF = 0.2  # cycles per texel where the low-pass has fallen to 1/e


# -- splines: any height and width -----------------------------------------------------------------


@lru_cache(maxsize=64)
def _spline_basis(length: int, spacing: float) -> FloatArray:
    """Return (length, knots): the uniform cubic B-splines of this knot spacing at 0..length-1."""
    x = np.arange(length) / spacing
    distance = np.abs(x[:, None] - np.arange(-1, int(x[-1]) + 3))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def spline_noise(
    rng: np.random.Generator, height: int, width: int, spacing: float, channels: int
) -> FloatArray:
    """Return (channels, height, width) noise of about unit variance and details of about 2 × `spacing`."""
    rows, columns = _spline_basis(height, spacing), _spline_basis(width, spacing)
    knots = rng.standard_normal((channels, rows.shape[1], columns.shape[1]), dtype=np.float32)
    return np.asarray(rows @ knots @ columns.T / np.float32(0.48), np.float32)


def octaves(
    rng: np.random.Generator, height: int, width: int, finest: float, coarsest: float, channels: int
) -> FloatArray:
    """Return (channels, height, width), the sum of spline noise of each octave of spacings."""
    count = max(1, round(math.log2(coarsest / finest)) + 1)
    layers = [spline_noise(rng, height, width, finest * 2**k, channels) for k in range(count)]
    return np.asarray(np.sum(layers, axis=0) / math.sqrt(count), np.float32)


# -- spectra: square tiles that repeat without a seam ----------------------------------------------


@lru_cache(maxsize=32)
def _frequency(n: int) -> FloatArray:
    """Return (n, n // 2 + 1) frequencies of a real spectrum, with 1 / n in place of 0."""
    rows, columns = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)
    return np.asarray(np.maximum(np.hypot(rows, columns), 1 / n), np.float32)


@lru_cache(maxsize=32)
def _sharpness(n: int) -> FloatArray:
    """Return (n, n // 2 + 1) gains of the low-pass."""
    return np.asarray(np.exp(-np.square(_frequency(n) / np.float32(_CUTOFF))), np.float32)


def spectral_noise(
    rng: np.random.Generator, n: int, slope: float, channels: int = 1, coarsest: float = math.inf
) -> FloatArray:
    """Return (channels, n, n) noise of unit variance whose amplitude falls as frequency ** -slope.

    Args:
        rng: source of the spectrum.
        n: side in texels.
        slope: 0.8 to 1.6 for natural images.
        channels: independent fields.
        coarsest: wavelength above which the spectrum is flat.
    """
    frequency = np.maximum(_frequency(n), np.float32(1 / coarsest))
    amplitude = np.asarray(frequency ** np.float32(-slope) * _sharpness(n), np.float32)
    amplitude[0, 0] = 0
    spectrum = rng.standard_normal((channels, n, 2 * (n // 2 + 1)), dtype=np.float32).view(np.complex64)
    field = np.fft.irfft2(spectrum * amplitude, s=(n, n)).astype(np.float32)
    return np.asarray(field / (field.std(axis=(1, 2), keepdims=True) + 1e-9), np.float32)


def hills(rng: np.random.Generator, n: int) -> FloatArray:
    """Return (n, n) noise of unit variance that consists of a few large hills."""
    return np.asarray(spectral_noise(rng, n, 3.0)[0], np.float32)


def low_pass(tile: FloatArray, sigma: float) -> FloatArray:
    """Return the tile (..., n, n) after a Gaussian blur, without frequencies that would alias."""
    n = tile.shape[-1]
    gauss = np.exp(-2 * np.square(np.float32(math.pi * sigma) * _frequency(n)))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(tile) * (gauss * _sharpness(n)), s=(n, n)), np.float32)

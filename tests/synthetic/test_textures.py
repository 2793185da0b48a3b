"""Textures and shapes: seamless, with natural spectra, inside their tiles."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.synthetic.shapes import SHAPES
from hidden_two_stream.synthetic.textures import MATERIALS, material


@pytest.mark.parametrize("kind", list(MATERIALS))
def test_tiles_repeat_without_a_seam(kind: str) -> None:
    for seed in range(4):
        tile = material(np.random.default_rng(seed), 128, kind, contrast=0.2, gray=False, blur_px=0)
        assert (tile.shape, tile.dtype.name) == ((3, 128, 128), "float32")
        assert 0 <= tile.min() <= tile.max() <= 1
        for axis in (1, 2):
            inside = np.abs(np.diff(tile, axis=axis)).mean(axis=(0, 3 - axis))
            seam = np.abs(np.take(tile, 0, axis) - np.take(tile, -1, axis)).mean()
            assert seam <= 1.5 * inside.max() + 1e-6


def test_fractal_tiles_have_the_spectrum_of_natural_images() -> None:
    tile = material(np.random.default_rng(1), 256, "fractal", contrast=0.05, gray=True, blur_px=0)[0]
    amplitude = np.abs(np.fft.fft2(tile))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    bands = [amplitude[(radius > f) & (radius < 1.3 * f)].mean() for f in (0.02, 0.08)]
    assert 0.75 < np.log(bands[0] / bands[1]) / np.log(4) < 1.8


@pytest.mark.parametrize("kind", list(SHAPES))
def test_shapes_end_inside_their_tile(kind: str) -> None:
    axis = np.linspace(-1, 1, 65)
    for seed in range(20):
        distance = SHAPES[kind](np.random.default_rng(seed), axis, axis[:, None])
        rim = np.concatenate([distance[0], distance[-1], distance[:, 0], distance[:, -1]])
        assert rim.max() <= 0
        assert (distance > 0).mean() > 0.02

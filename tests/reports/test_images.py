"""Images of a report: PNG without loss, reduced when large, and the color wheel."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.reports.images import color_wheel_image, image_tag, png_bytes

from .pixels import decode, noise


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (13, 1), (7, 5), (64, 64), (33, 130)])
def test_png_keeps_every_pixel(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    smooth = np.stack([rows * 3, columns * 2, rows + columns], axis=2).astype(np.uint8)
    for pixels in (noise(*shape), smooth, np.full((*shape, 3), 255, np.uint8)):
        np.testing.assert_array_equal(decode(png_bytes(pixels)), pixels)


def test_a_smooth_image_is_compressed_well() -> None:
    rows, columns = np.indices((200, 200))
    smooth = np.stack([rows, columns, (rows + columns) // 2], axis=2).astype(np.uint8)
    assert len(png_bytes(smooth)) < smooth.size / 50


def test_a_large_image_is_averaged_and_a_small_one_keeps_its_pixels() -> None:
    large = np.kron(noise(24, 32), np.ones((20, 20, 1), np.uint8))  # 480×640: blocks of 20 survive halving
    html = image_tag(large, "a & b", target_side=320)
    assert 'width="320" height="240" alt="a &amp; b"' in html
    assert 'class="px"' not in html
    uri = re.findall(r"base64,([^\"]+)", html)[0]
    np.testing.assert_array_equal(decode(base64.b64decode(uri)), large[::2, ::2])
    assert 'class="px"' in image_tag(noise(64, 64), "")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), [[0, 0, 0]]]
)
def test_an_array_that_is_no_image_is_rejected(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"as an image; expected a \(H, W, 3\) uint8"):
        image_tag(wrong, "")


def test_color_wheel_has_the_documented_colors() -> None:
    """White in the center and outside; red right, yellow down, cyan left, violet up."""
    wheel = color_wheel_image(65).astype(int)
    assert (wheel[32, 32] == 255).all()
    assert (wheel[[0, 0, 64, 64], [0, 64, 0, 64]] == 255).all()
    right, down, left, up = wheel[32, 60], wheel[60, 32], wheel[32, 4], wheel[4, 32]
    assert right[0] == 255
    assert max(right[1:]) < 60
    assert min(down[:2]) > 200
    assert down[2] < 60
    assert left[0] < 60
    assert min(left[1:]) > 200
    assert up[2] > up[0] > up[1]

"""The Middlebury color code: known directions, and a slow version from the wheel's corners."""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.color import color_wheel, flow_to_color
from hidden_two_stream.motion.flo import read_flo

# Index on the wheel of each pure color: red, yellow, green, cyan, blue, magenta, red again.
CORNERS = [0, 15, 21, 25, 36, 49, 55]
PURE = {
    "r": [255, 255, 0, 0, 0, 255, 255],
    "g": [0, 255, 255, 255, 0, 0, 0],
    "b": [0, 0, 0, 255, 255, 255, 0],
}


def slow_color(u: float, v: float, max_px: float) -> list[float]:
    """One pixel, from the corners by linear interpolation: no wheel array, no vectors."""
    if not (math.isfinite(u) and math.isfinite(v)):
        return [0, 0, 0]
    index = math.degrees(math.atan2(v, u)) % 360 / 360 * 54
    speed = math.hypot(u, v) / max_px
    pure = [float(np.interp(index, CORNERS, PURE[channel])) for channel in "rgb"]
    return [255 * (1 - speed) + value * speed if speed <= 1 else 0.75 * value for value in pure]


def one(u: float, v: float, max_px: float | None = 1.0) -> list[int]:
    flow = np.array([u, v], np.float32).reshape(2, 1, 1)
    return [int(value) for value in flow_to_color(flow, max_px)[0, 0]]


def test_wheel_has_the_corners_in_order() -> None:
    wheel = color_wheel()
    assert wheel.shape == (55, 3)
    for index, *color in zip(CORNERS[:-1], PURE["r"], PURE["g"], PURE["b"], strict=False):
        assert wheel[index].tolist() == color
    between = np.stack([np.interp(np.arange(55), CORNERS, PURE[channel]) for channel in "rgb"], axis=-1)
    assert np.abs(wheel - between).max() < 1
    assert np.array_equal(wheel, np.round(wheel))


def test_known_directions() -> None:
    assert one(1, 0) == [255, 0, 0]
    assert one(1, -0.0) == [255, 0, 0]
    # A quarter turn is 13.5 steps: of 15 to yellow; 2 of 11 past cyan; 4.5 of 13 past blue.
    np.testing.assert_allclose(one(0, 1), [255, 13.5 / 15 * 255, 0], atol=1)  # down: yellow
    np.testing.assert_allclose(one(-1, 0), [0, 9 / 11 * 255, 255], atol=1)  # left: cyan
    np.testing.assert_allclose(one(0, -1), [4.5 / 13 * 255, 0, 255], atol=1)  # up: violet


def test_hue_rises_all_the_way_round() -> None:
    turns = np.arange(72) * math.tau / 72
    flow = np.stack((np.cos(turns), np.sin(turns)))[:, None]
    colors = flow_to_color(flow, 1.0)[0] / 255
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in colors]
    assert hues[0] == 0
    assert np.all(np.diff(hues) > 0)


def test_still_is_white_and_color_deepens_with_speed() -> None:
    assert one(0, 0) == [255, 255, 255]
    assert flow_to_color(np.zeros((2, 4, 5), np.float32)).min() == 255
    greens = [one(speed, 0, 4.0)[1] for speed in (0, 1, 2, 3, 4)]
    assert greens == [255, 191, 127, 63, 0]


def test_beyond_the_maximum_is_darkened() -> None:
    assert one(4, 0, 4.0) == [255, 0, 0]
    assert one(4.01, 0, 4.0) == one(400, 0, 4.0) == [191, 0, 0]


def test_default_maximum_is_the_greatest_known_speed_of_the_call() -> None:
    flow = np.zeros((2, 2, 1, 3), np.float32)
    flow[0, 0, 0] = (1, 2, np.nan)
    flow[1, 0, 0] = (4, -0.5, 1e10)
    np.testing.assert_array_equal(flow_to_color(flow), flow_to_color(flow, 4.0))
    assert flow_to_color(flow)[1, 0, 0].tolist() == [255, 0, 0]
    assert flow_to_color(flow[0])[0, 1].tolist() == [255, 0, 0]


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf, 1e10, -1e10])
def test_unknown_flow_is_black(unknown: float) -> None:
    assert one(unknown, 0) == one(0, unknown) == [0, 0, 0]
    assert one(unknown, 0, None) == [0, 0, 0]


def test_batch_equals_one_by_one() -> None:
    flow = np.random.default_rng(0).normal(0, 2, (3, 2, 4, 5))
    batch = flow_to_color(flow, 3.0)
    assert batch.shape == (3, 4, 5, 3)
    assert batch.dtype == np.uint8
    for one_flow, image in zip(flow, batch, strict=True):
        np.testing.assert_array_equal(flow_to_color(one_flow, 3.0), image)
    assert flow_to_color(flow[:0]).shape == (0, 4, 5, 3)


@pytest.mark.parametrize("max_px", [2.0, 20.0, 60.0])
def test_agrees_with_the_slow_version_on_real_flow(data_root: Path, max_px: float) -> None:
    flow = read_flo(data_root / "flow" / "flyingchairs" / "0000000-gt.flo")[:, ::16, ::16].copy()
    flow[0, 3, 4] = np.nan
    expected = np.array(
        [[slow_color(u, v, max_px) for u, v in row] for row in flow.transpose(1, 2, 0).tolist()]
    )
    image = flow_to_color(flow, max_px)
    assert np.abs(image - expected).max() <= 2  # whole-number wheel and cut-off decimals
    assert np.ptp(image.reshape(-1, 3), axis=0).min() > 100


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 4), (4, 4, 2), (1, 1, 2, 4, 4)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected \(2, h, w\)"):
        flow_to_color(np.zeros(shape))


@pytest.mark.parametrize("max_px", [0.0, -1.0, math.nan, math.inf])
def test_wrong_maximum_is_refused(max_px: float) -> None:
    with pytest.raises(UsageError, match="max_px"):
        one(1, 0, max_px)

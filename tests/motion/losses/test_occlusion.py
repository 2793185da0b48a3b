"""Occlusion masks against slow loops, and for a square that moves over its background."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.motion.losses.occlusion import backward_pyramid, forward_backward_mask, inside_mask

Array = npt.NDArray[np.float64]


def sampled(plane: Array, y: float, x: float) -> float:
    height, width = plane.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = (1 - x + left) * plane[top, left] + (x - left) * plane[top, right]
    lower = (1 - x + left) * plane[bottom, left] + (x - left) * plane[bottom, right]
    return float((1 - y + top) * upper + (y - top) * lower)


def slow_mask(forward: Array, backward: Array) -> Array:
    _, height, width = forward.shape
    result = np.zeros((height, width))
    for y, x in itertools.product(range(height), range(width)):
        u, v = forward[:, y, x]
        to_y, to_x = y + v, x + u
        if not (-0.5 <= to_y <= height - 0.5 and -0.5 <= to_x <= width - 0.5):
            continue
        back = [sampled(plane, to_y, to_x) for plane in backward]
        gap = (u + back[0]) ** 2 + (v + back[1]) ** 2
        result[y, x] = gap < 0.01 * (u**2 + v**2 + back[0] ** 2 + back[1] ** 2) + 0.5
    return result


def test_mask_agrees_with_slow_loops() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(scale=3, size=(3, 2, 1, 1))
    forward, backward = (way * common + rng.normal(scale=0.5, size=(3, 2, 9, 14)) for way in (1, -1))
    found = forward_backward_mask(torch.from_numpy(forward), torch.from_numpy(backward))
    assert found.shape == (3, 1, 9, 14)
    expected = np.stack([slow_mask(forward[n], backward[n]) for n in range(3)])
    np.testing.assert_array_equal(found[:, 0].numpy(), expected)
    assert 0.05 < expected.mean() < 0.95


@pytest.mark.parametrize(("u", "v"), [(0, 0), (3, 0), (-2, 0), (0, 4), (0, -1), (5, -3), (40, 0)])
def test_what_a_translation_moves_out_of_the_image(u: int, v: int) -> None:
    height, width = 12, 17
    flow = torch.tensor([u, v], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, height, width)
    expected = torch.zeros(1, 1, height, width)
    for y, x in itertools.product(range(height), range(width)):
        expected[0, 0, y, x] = float(0 <= y + v < height and 0 <= x + u < width)
    torch.testing.assert_close(inside_mask(flow), expected)
    torch.testing.assert_close(forward_backward_mask(flow, -flow), expected)


def test_the_background_that_a_square_covers_next_is_found() -> None:
    """A square of 10 px moves 4 px right, so the 4 columns to its right are hidden in the next frame."""
    forward, backward = torch.zeros(1, 2, 32, 40), torch.zeros(1, 2, 32, 40)
    forward[0, 0, 10:20, 8:18] = 4
    backward[0, 0, 10:20, 12:22] = -4
    expected = torch.ones(1, 1, 32, 40)
    expected[0, 0, 10:20, 18:22] = 0
    torch.testing.assert_close(forward_backward_mask(forward, backward), expected)
    # And the columns that it uncovers are hidden in the other direction.
    expected = torch.ones(1, 1, 32, 40)
    expected[0, 0, 10:20, 8:12] = 0
    torch.testing.assert_close(forward_backward_mask(backward, forward), expected)


@pytest.mark.parametrize(("gap", "speed", "seen"), [(0.70, 0, 1), (0.72, 0, 0), (0.95, 5, 1), (1.1, 5, 0)])
def test_tolerance_grows_with_speed(gap: float, speed: float, seen: int) -> None:
    forward, backward = torch.zeros(1, 2, 20, 20), torch.zeros(1, 2, 20, 20)
    forward[:, 1] = speed
    backward[:, 1] = -speed
    backward[:, 0] = gap
    assert forward_backward_mask(forward, backward)[0, 0, 4, 10].item() == seen


def test_masks_have_no_gradient() -> None:
    forward = torch.zeros(1, 2, 8, 8, requires_grad=True)
    backward = torch.zeros(1, 2, 8, 8, requires_grad=True)
    assert not forward_backward_mask(forward, backward).requires_grad
    assert not inside_mask(forward).requires_grad


def test_backward_flow_is_that_of_each_pair_swapped() -> None:
    """This network sees each pair by itself, so the pair (t+1, t) alone must give the flow at t."""
    gain = torch.nn.Parameter(torch.tensor(2.0))

    def network(frames: torch.Tensor) -> list[torch.Tensor]:
        first, second = frames[:, :-1, :2], frames[:, 1:, :2]
        flow = gain * (second + first * second)
        return [flow, flow[..., ::2, ::2]]

    frames = torch.rand(2, 4, 3, 8, 12) - 0.5
    pyramid = backward_pyramid(network, frames)
    assert not pyramid[0].requires_grad
    for t in range(3):
        swapped = network(torch.stack((frames[:, t + 1], frames[:, t]), dim=1))
        for level, expected in zip(pyramid, swapped, strict=True):
            torch.testing.assert_close(level[:, t], expected[:, 0])

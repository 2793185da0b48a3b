"""Points and boxes along a flow, against closed forms and a slow second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.tracking import (
    GRID_SIDE,
    _scale,
    box_grid,
    follow_points,
    inside_frame,
    sample_flow,
    step_box,
    step_points,
)
from hidden_two_stream.types import FloatArray

SIZE = (48, 64)


def uniform(u: float, v: float, size: tuple[int, int] = SIZE) -> FloatArray:
    flow = np.empty((2, *size), np.float32)
    flow[0], flow[1] = u, v
    return flow


def random_flow(seed: int, size: tuple[int, int] = SIZE, px: float = 3.0) -> FloatArray:
    return np.random.default_rng(seed).normal(0, px, (2, *size)).astype(np.float32)


def similarity(scale: float, angle: float, center: complex, shift: complex) -> FloatArray:
    """The flow of p → center + shift + scale·exp(i angle)·(p − center)."""
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    p = x + 1j * y
    motion = center + shift + scale * np.exp(1j * angle) * (p - center) - p
    return np.stack((motion.real, motion.imag)).astype(np.float32)


# -- a slow tracker --------------------------------------------------------------------------------


def slow_sample(flow: FloatArray, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """The flow at (x, y), pixel by pixel: hat functions around the centers of the grid's cells."""
    rows, columns = flow.shape[1:]
    cell_h, cell_w = size[0] / rows, size[1] / columns
    centers_x = [(column + 0.5) * cell_w - 0.5 for column in range(columns)]
    centers_y = [(row + 0.5) * cell_h - 0.5 for row in range(rows)]
    x = min(max(x, centers_x[0]), centers_x[-1])
    y = min(max(y, centers_y[0]), centers_y[-1])
    u = v = 0.0
    for row in range(rows):
        for column in range(columns):
            weight = max(0.0, 1 - abs(x - centers_x[column]) / cell_w)
            weight *= max(0.0, 1 - abs(y - centers_y[row]) / cell_h)
            u += weight * float(flow[0, row, column]) * cell_w
            v += weight * float(flow[1, row, column]) * cell_h
    return u, v


def slow_follow(
    start: tuple[float, float], forward: FloatArray, backward: FloatArray, size: tuple[int, int]
) -> list[tuple[float, float, bool]]:
    (x, y), good, path = start, True, [(*start, True)]
    for there, back in zip(forward, backward, strict=True):
        u, v = slow_sample(there, x, y, size)
        x, y = x + u, y + v
        bu, bv = slow_sample(back, x, y, size)
        close = (u + bu) ** 2 + (v + bv) ** 2 < 0.01 * (u**2 + v**2 + bu**2 + bv**2) + 0.5
        good = good and close and -0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5
        path.append((x, y, good))
    return path


@pytest.mark.parametrize("grid", [(12, 16), (48, 64), (7, 9)])
def test_points_follow_as_in_the_slow_tracker(grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    smooth = np.stack([random_flow(seed, (3, 4), 1.5 * grid[0] / SIZE[0]) for seed in range(6)])
    forward = resize_flow(torch.from_numpy(smooth), *grid).numpy() * 3 / grid[0]
    backward = -forward + rng.normal(0, 0.3 * grid[0] / SIZE[0], forward.shape).astype(np.float32)
    points = rng.uniform(-0.5, 1, (40, 2)) * (SIZE[1] - 0.5, SIZE[0] - 0.5)
    points = np.abs(points)
    places, visible = follow_points(points, forward, backward, SIZE)
    for number, point in enumerate(points):
        path = slow_follow((point[0], point[1]), forward, backward, SIZE)
        np.testing.assert_allclose(places[:, number], [(x, y) for x, y, _ in path], atol=1e-4)
        assert visible[:, number].tolist() == [good for *_, good in path]
    assert 0 < visible[-1].sum() < len(points)  # both outcomes are tested


@pytest.mark.parametrize("grid", [(24, 32), (48, 64), (9, 7)])
def test_at_pixel_centers_the_flow_is_the_resized_one(grid: tuple[int, int]) -> None:
    flow = random_flow(1, grid)
    resized = resize_flow(torch.from_numpy(flow), *SIZE).numpy()
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    points = np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float64)
    found = sample_flow(flow, points, SIZE).T.reshape(2, *SIZE)
    np.testing.assert_allclose(found, resized, atol=1e-4)


def test_other_shapes_are_named() -> None:
    with pytest.raises(UsageError, match=r"flow of shape \(3, 48, 64\).*expected \(2, h, w\)"):
        sample_flow(np.zeros((3, 48, 64), np.float32), np.zeros((1, 2)), SIZE)


# -- points ----------------------------------------------------------------------------------------


def test_whole_pixel_motion_is_exact() -> None:
    steps = [(3, -2), (-1, 0), (0, 4), (2, 2)]
    forward, backward = (np.stack([uniform(s * u, s * v) for u, v in steps]) for s in (1, -1))
    points = np.array([[10.0, 20.0], [31.25, 7.5]])
    places, visible = follow_points(points, forward, backward, SIZE)
    expected = points + np.cumsum([(0, 0), *steps], axis=0)[:, None]
    np.testing.assert_array_equal(places, expected)
    assert visible.all()
    assert not step_points(points, forward[0], backward[0], SIZE).errors_px.any()


@pytest.mark.parametrize(
    ("motion", "miss", "unit", "consistent"),
    [
        (0.0, math.sqrt(0.5) - 0.01, 1.0, True),
        (0.0, math.sqrt(0.5) + 0.01, 1.0, False),
        (0.0, 2 * math.sqrt(0.5) - 0.02, 2.0, True),  # frames of half the size saw it
        (0.0, 2 * math.sqrt(0.5) + 0.02, 2.0, False),
        (10.0, 1.48, 1.0, True),  # 2.19 < 0.01 (100 + 72.59) + 0.5 = 2.23
        (10.0, 1.5, 1.0, False),  # 2.25 > 2.22
    ],
)
def test_threshold(motion: float, miss: float, unit: float, consistent: bool) -> None:
    step = step_points(np.array([[20.0, 20.0]]), uniform(motion, 0), uniform(miss - motion, 0), SIZE, unit)
    assert step.errors_px == pytest.approx([miss], abs=1e-6)
    assert step.consistent.tolist() == [consistent]


def test_a_point_that_leaves_the_frame_is_inconsistent() -> None:
    points = np.array([[60.0, 20.0], [62.0, 20.0], [62.5, 20.0], [20.0, 47.0]])
    assert inside_frame(points, SIZE).all()
    step = step_points(points, uniform(1.5, 0.25), uniform(-1.5, -0.25), SIZE)
    assert step.consistent.tolist() == [True, True, False, True]


# -- boxes -----------------------------------------------------------------------------------------


def test_the_grid_of_a_box_lies_evenly_in_it() -> None:
    """Ten columns from 5 to 14: pixel centers; their mean is the center of the box."""
    grid = box_grid((5, 10, 10, 20))
    assert len(grid) == GRID_SIDE**2
    assert np.unique(grid[:, 0]).tolist() == pytest.approx(list(range(5, 15)))
    np.testing.assert_allclose(grid.mean(axis=0), (9.5, 19.5))


def test_a_box_follows_whole_pixel_motion() -> None:
    step = step_box((10, 12, 20, 8), uniform(3, -2), uniform(-3, 2), SIZE)
    assert step.box == pytest.approx((13, 10, 20, 8), abs=1e-9)
    assert (step.error_px, step.consistent) == (0.0, True)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("one_sided", [False, True])
def test_a_box_follows_scale(scale: float, one_sided: bool) -> None:
    """Also if the points that decide lie on one side of its center."""
    center, shift = 29.5 + 23.5j, 1.5 - 2j
    forward = similarity(scale, 0, center, shift)
    backward = similarity(1 / scale, 0, center + shift, -shift)
    if one_sided:
        backward[:, :, 31:] += 0.2  # larger errors on the right: the left half is kept
    step = step_box((20, 14, 20, 20), forward, backward, SIZE)
    w = 20 * scale
    assert step.box == pytest.approx((31 - (w - 1) / 2, 21.5 - (w - 1) / 2, w, w), abs=2e-3)
    assert step.consistent


def test_a_turn_does_not_scale_a_box() -> None:
    """The points that decide may lie on one side of the center; the turn moves none of them by 1.35 px."""
    center = 29.5 + 23.5j
    step = step_box((20, 14, 20, 20), similarity(1, 0.1, center, 0), similarity(1, -0.1, center, 0), SIZE)
    assert step.box[2:] == pytest.approx((20, 20), abs=1e-3)
    assert step.box[:2] == pytest.approx((20, 14), abs=1.35)
    assert step.consistent


def test_points_of_something_else_do_not_move_a_box() -> None:
    """Two fifths of the box belong to an occluder, whose flow back leads elsewhere."""
    forward, backward = uniform(2, 1), uniform(-2, -1)
    forward[:, :, :18] = uniform(-4, 0)[:, :, :18]
    backward[:, :, :18] = uniform(0, 0)[:, :, :18]
    step = step_box((10, 10, 20, 20), forward, backward, SIZE)
    assert step.box == pytest.approx((12, 11, 20, 20), abs=1e-6)
    assert step.consistent
    forward[:, :, :21] = uniform(-4, 0)[:, :, :21]  # 11 of 20 columns
    backward[:, :, :21] = uniform(0, 0)[:, :, :21]
    assert not step_box((10, 10, 20, 20), forward, backward, SIZE).consistent


def test_a_box_is_lost_when_half_of_it_has_left_the_frame() -> None:
    forward, backward = uniform(5, 0), uniform(-5, 0)
    assert step_box((48, 10, 20, 20), forward, backward, SIZE).consistent  # 53 to 72: 11 of 20 inside
    assert not step_box((51, 10, 20, 20), forward, backward, SIZE).consistent
    gone = step_box((80, 10, 20, 20), forward, backward, SIZE)
    assert (gone.box, gone.consistent) == ((80, 10, 20, 20), False)


def test_a_box_that_shrinks_to_nothing_is_lost() -> None:
    step = step_box((28, 22, 4, 4), similarity(0.2, 0, 29.5 + 23.5j, 0), uniform(0, 0), SIZE, unit_px=9)
    assert step.box[2] == pytest.approx(0.8, abs=1e-3)
    assert not step.consistent


def test_a_frame_reaches_half_a_pixel_beyond_its_outermost_centers() -> None:
    height, width = 3, 5
    edges = np.array([(-0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])
    assert inside_frame(edges, (height, width)).all()
    beyond = [(-0.6, 1), (width - 0.4, 1), (1, -0.6), (1, height - 0.4)]
    assert not inside_frame(np.array(beyond), (height, width)).any()


def test_the_scale_of_a_step() -> None:
    """The median over all pairs of points, also if there is only one pair; one point has no scale."""
    before = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    assert _scale(before[:1], before[:1]) == 1
    assert _scale(before[:2], 1.5 * before[:2]) == pytest.approx(1.5)
    after = before + np.array([[0, 0], [4, 0], [0, 0]])  # pairs change by 8 / 4, 3 / 3 and √73 / 5
    assert _scale(before, after) == pytest.approx(math.sqrt(73) / 5)

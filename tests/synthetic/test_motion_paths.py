"""Patches and cameras of the motion library move as their class says, measured on what is painted."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.mover_paths import CAMERAS, PAIRS, REFERENCE_PX, SINGLES, Path, still
from hidden_two_stream.synthetic.painting import paint_capsule, paint_sprite, seen, view_of_tile

SIZE, NUM_FRAMES = 112, 16
SEEDS = range(8)


def clock(seed: int) -> Clock:
    return Clock(np.random.default_rng(seed), NUM_FRAMES)


def painted(path: Path) -> np.ndarray:
    """(T, H, W) opacity of a soft spot, longer than it is high, that follows the path from the middle."""
    axis = ((np.arange(64) + 0.5) / 32 - 1) * 16
    spot = np.exp(-0.5 * (np.square(axis / 4)[None, :] + np.square(axis / 2)[:, None])).astype(np.float32)
    light = np.zeros((1, NUM_FRAMES, SIZE, SIZE), np.float32)
    center = 0.5 * (SIZE - 1) * (1 + 1j) + path.center
    paint_sprite(light, np.stack([spot, spot]), 16.0, center, path.scale * np.exp(1j * path.angle))
    return light[0]


def centroids(mask: np.ndarray) -> np.ndarray:
    """(T,) complex places of the centers of gravity."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.asarray((mask * (x + 1j * y)).sum((1, 2)) / mask.sum((1, 2)))


def orientations(mask: np.ndarray) -> np.ndarray:
    """(T,) unwrapped angles of the long axis, from second moments; a growing angle is clockwise."""
    y, x = np.mgrid[:SIZE, :SIZE]
    second = (mask * np.square(x + 1j * y - centroids(mask)[:, None, None])).sum((1, 2))
    return np.unwrap(np.angle(second)) / 2


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *(("right", 1), ("left", -1), ("up", -1j), ("down", 1j)),
        *(("up_right", 1 - 1j), ("up_left", -1 - 1j), ("down_right", 1 + 1j), ("down_left", -1 + 1j)),
    ],
)
def test_straight_moves(name: str, way: complex) -> None:
    for seed in SEEDS:
        steps = np.diff(centroids(painted(SINGLES[f"move_{name}"](clock(seed)))))
        np.testing.assert_allclose(np.abs(steps), np.abs(steps.mean()), atol=0.02)
        assert np.abs(np.angle(steps / way)).max() < np.radians(13)
        assert 14 / 15 - 0.02 < abs(steps.mean()) < 62 / 15 + 0.02


@pytest.mark.parametrize(("name", "sign"), [("turn_clockwise", 1), ("turn_counterclockwise", -1)])
def test_turns(name: str, sign: int) -> None:
    for seed in SEEDS:
        rate = np.diff(orientations(painted(SINGLES[name](clock(seed)))))
        assert (sign * rate > 0.05).all()
        assert (sign * rate < 0.37).all()


@pytest.mark.parametrize(("name", "sign"), [("grow", 1), ("shrink", -1)])
def test_growth(name: str, sign: int) -> None:
    for seed in SEEDS:
        areas = painted(SINGLES[name](clock(seed))).sum((1, 2))
        assert 0.4 < sign * 0.5 * np.log(areas[-1] / areas[0]) < 1.15
        assert (sign * np.diff(np.log(areas)) > 0).mean() > 0.9


@pytest.mark.parametrize(("name", "sign"), [("circle_clockwise", 1), ("circle_counterclockwise", -1)])
def test_circles(name: str, sign: int) -> None:
    for seed in SEEDS:
        steps = np.diff(centroids(painted(SINGLES[name](clock(seed)))))
        turns = np.angle(steps[1:] / steps[:-1])
        assert (sign * turns > 0.15).all()


@pytest.mark.parametrize(
    ("name", "long", "short"), [("horizontally", "real", "imag"), ("vertically", "imag", "real")]
)
def test_oscillations(name: str, long: str, short: str) -> None:
    for seed in SEEDS:
        path = centroids(painted(SINGLES[f"oscillate_{name}"](clock(seed))))
        along, across = getattr(path, long), getattr(path, short)
        assert np.ptp(along) > 4 * np.ptp(across)
        assert (np.diff(np.sign(np.diff(along))) != 0).any()


def test_accelerating_and_braking() -> None:
    for seed in SEEDS:
        for name, order in (("accelerate", 1), ("brake", -1)):
            speed = np.abs(np.diff(centroids(painted(SINGLES[name](clock(seed))))))[::order]
            assert speed[-3:].mean() > 4 * speed[:3].mean()


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("right_then_up", 1, -1j),
        ("up_then_right", -1j, 1),
        ("left_then_down", -1, 1j),
        ("down_then_left", 1j, -1),
    ],
)
def test_order(name: str, first: complex, second: complex) -> None:
    for seed in SEEDS:
        steps = np.diff(centroids(painted(SINGLES[name](clock(seed)))))
        assert np.abs(np.angle(steps[:5] / first)).max() < np.radians(13)
        assert np.abs(np.angle(steps[-5:] / second)).max() < np.radians(13)


def test_pairs() -> None:
    for seed in SEEDS:
        gaps = {}
        for name, pair in PAIRS.items():
            one, other = (path.center for path in pair(clock(seed)))
            gaps[name] = np.abs(one - other)
            if name == "orbit":
                assert np.ptp(np.unwrap(np.angle(one - other))) > 2 * np.pi * 15 / 28 - 0.01
        assert (np.diff(gaps["approach"]) < -1).all()
        assert (np.diff(gaps["part"]) > 1).all()
        for name in ("follow", "orbit"):
            np.testing.assert_allclose(gaps[name], gaps[name][0])
        assert 0 < gaps["overtake"].argmin() < NUM_FRAMES - 1
        assert 0 < gaps["cross"].argmin() < NUM_FRAMES - 1


def scene_flow(camera: Path) -> np.ndarray:
    """(T-1, 4) of a painted scene: mean u, mean v, divergence / 2 and curl / 2, from four spots of light."""
    spots = 0.5 * (SIZE - 1) * (1 + 1j) + np.array([-12, 12, -12j, 12j])
    places = []
    for spot in spots:
        light = np.zeros((1, NUM_FRAMES, SIZE, SIZE), np.float32)
        at = seen(camera, np.full(NUM_FRAMES, spot), SIZE)
        paint_capsule(light, (at, at), np.full(NUM_FRAMES, 3.0), np.ones(1, np.float32))
        places.append(centroids(light[0]))
    steps = np.diff(np.array(places), axis=1)
    arms = np.array(places)[:, :-1] - np.mean(places, axis=0)[:-1]
    bend = (steps / arms).mean(0)
    return np.stack([steps.real.mean(0), steps.imag.mean(0), bend.real, bend.imag], axis=1)


@pytest.mark.parametrize(
    ("name", "component", "sign"),
    [
        *(("scene_right", 0, 1), ("scene_left", 0, -1), ("scene_down", 1, 1), ("scene_up", 1, -1)),
        *(("zoom_in", 2, 1), ("zoom_out", 2, -1)),
        *(("scene_clockwise", 3, 1), ("scene_counterclockwise", 3, -1)),
    ],
)
def test_cameras(name: str, component: int, sign: int) -> None:
    least = (0.85, 0.85, 0.013, 0.015)[component]
    for seed in SEEDS:
        flow = scene_flow(CAMERAS[name](clock(seed)))
        assert (sign * flow[:, component] > least).all()
        others = np.delete(flow, component, axis=1) * ([1, 20, 20] if component < 2 else [0.05, 0.05, 1])
        assert np.abs(others).max() < 0.3 * np.abs(flow[:, component]).max()


# -- painting --------------------------------------------------------------------------------------


def test_a_pan_of_whole_pixels_is_a_shifted_image() -> None:
    tile = np.random.default_rng(0).random((3, 168, 168), np.float32)
    shift = np.array([0, 3 - 2j, -5 + 4j])
    light = view_of_tile(tile, Path(shift, np.ones(3), np.zeros(3)), SIZE)
    for number, move in enumerate(shift):
        left, top = 28 - int(move.real), 28 - int(move.imag)
        expected = tile[:, top : top + SIZE, left : left + SIZE]
        np.testing.assert_allclose(light[:, number], expected, atol=1e-4)


def test_a_still_camera_shows_the_same_as_one_that_hardly_moves() -> None:
    tile = np.random.default_rng(0).random((1, 168, 168), np.float32)
    moving = view_of_tile(tile, Path(np.array([0, 1e-9j]), np.ones(2), np.zeros(2)), SIZE)
    np.testing.assert_allclose(view_of_tile(tile, still(2), SIZE), moving, atol=1e-4)


@pytest.mark.parametrize(
    ("start", "end"), [(20 + 30j, 70 + 55j), (-9 + 50j, 30 + 130j), (40 + 40j, 40 + 40j)]
)
def test_a_capsule_is_as_pixel_by_pixel(start: complex, end: complex) -> None:
    radius = 4.3
    light = np.full((1, 1, SIZE, SIZE), 0.25, np.float32)
    paint_capsule(light, (np.array([start]), np.array([end])), np.array([radius]), np.ones(1, np.float32))
    along = np.linspace(0, 1, 4001)
    points = start + along * (end - start)
    for y in range(0, SIZE, 3):
        for x in range(0, SIZE, 3):
            opacity = np.clip(radius + 0.5 - np.abs(points - (x + 1j * y)).min(), 0, 1)
            assert light[0, 0, y, x] == pytest.approx(0.25 + 0.75 * opacity, abs=2e-3)


def test_what_is_outside_the_frame_is_not_painted() -> None:
    light = np.zeros((1, 1, SIZE, SIZE), np.float32)
    ends = (np.array([-50 + 20j]), np.array([-20 + 20j]))
    paint_capsule(light, ends, np.array([4.0]), np.ones(1, np.float32))
    paint_sprite(light, np.ones((2, 8, 8), np.float32), 6.0, np.array([20 + 300j]), np.array([1 + 0j]))
    assert not light.any()


def test_paths_fit_into_the_frame() -> None:
    for seed in SEEDS:
        for name, move in SINGLES.items():
            path = move(clock(seed)).center
            assert max(np.ptp(path.real), np.ptp(path.imag)) < REFERENCE_PX, name

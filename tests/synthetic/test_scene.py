"""The scene model: every kind of surface keeps its points, and surfaces in front hide those behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hidden_two_stream.synthetic.patches import background, bar, patch
from hidden_two_stream.synthetic.scene import Box, Surface, draw, exact_flow, exact_paths, still_visible
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.synthetic.staging import stage

SIZE = 48
STYLE = SceneStyle(
    sprites=(1, 1), radius_px=(60, 60), figures=0, carried=0, calm=0, bent=1, contrast=(0.2, 0.2)
)


def surface_of(kind: str, seed: int) -> Surface:
    """A surface of this kind at 3 moments, in the middle of a frame of SIZE x SIZE."""
    rng = np.random.default_rng(seed)
    path = rng.uniform(-3, 3, 3) + 1j * rng.uniform(-3, 3, 3)
    turn = np.exp(rng.uniform(-0.2, 0.2, 3) + 1j * rng.uniform(-1, 1, 3))
    if kind == "background":
        return background(rng, SIZE, path, 1.0)
    if kind == "bar":
        return bar(rng, SIZE, path, 1.0)
    if kind == "patch":
        return patch(rng, 14.0, 1.0, path + SIZE / 2 * (1 + 1j), turn)
    warped = stage(rng, STYLE, np.array([-1.0, 0.0, 1.0]), SIZE, SIZE)
    return warped[0] if kind == "warped background" else warped[1]


@pytest.mark.parametrize("kind", ["background", "bar", "patch", "warped background", "warped sprite"])
def test_a_point_keeps_its_color_and_cover_where_it_goes(kind: str) -> None:
    right, wrong = [], []
    for seed in range(4):
        surface = surface_of(kind, seed)
        x, y = np.random.default_rng(9).uniform(12, SIZE - 12, (2, 200)).astype(np.float32)
        for moment, later in ((0, 1), (1, 2), (2, 0)):
            before = surface.sample(moment, x, y)
            there = [place.astype(np.float32) for place in surface.follow(moment, later, x, y)]
            right.append(np.abs(surface.sample(later, *there) - before))
            wrong.append(np.abs(surface.sample(later, there[0] + np.float32(0.5), there[1]) - before))
    assert np.max(right) < 0.002
    assert np.mean(wrong) > 100 * np.mean(right)


@dataclass(frozen=True)
class Plain:
    """A rectangle of one color and one cover, which moves to the right by `speed` pixels per moment."""

    color: float
    cover: float | None
    left: int
    right: int
    speed: int = 0

    def box(self, moment: int, height: int, width: int) -> Box:
        shift = self.speed * moment
        return slice(0, height), slice(max(0, self.left + shift), min(width, self.right + shift))

    def rests(self, moment: int, later: int) -> bool:
        return self.speed == 0

    def sample(self, moment: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = [self.color] * 3 + ([] if self.cover is None else [self.cover])
        return np.asarray(np.multiply.outer(values, np.ones(np.broadcast(x, y).shape)), np.float32)

    def follow(self, moment: int, later: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x + np.float32(self.speed * (later - moment)), y


def test_surfaces_in_front_mix_with_and_hide_those_behind() -> None:
    surfaces = [Plain(0.2, None, 0, 8), Plain(0.6, 0.5, 1, 5), Plain(1.0, 0.75, 3, 7, speed=2)]
    light, front = draw(surfaces, range(3), 2, 8)
    assert (light.shape, light.dtype.name, front.shape) == ((3, 3, 2, 8), "float32", (3, 2, 8))
    columns = {  # by hand: half of 0.6 on 0.2 is 0.4; three quarters of 1.0 on 0.4 are 0.85
        0: ([0.2, 0.4, 0.4, 0.85, 0.85, 0.8, 0.8, 0.2], [0, 0, 0, 2, 2, 2, 2, 0]),
        1: ([0.2, 0.4, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8], [0, 0, 0, 0, 0, 2, 2, 2]),
        2: ([0.2, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.8], [0, 0, 0, 0, 0, 0, 0, 2]),
    }
    for t, (lights, numbers) in columns.items():
        np.testing.assert_allclose(light[t], np.broadcast_to(lights, (3, 2, 8)), atol=1e-6)
        np.testing.assert_array_equal(front[t], np.broadcast_to(numbers, (2, 8)))
    # A cover of exactly one half doesn't hide: flow and visibility are those of the background.
    flow = exact_flow(surfaces, front, range(3))
    np.testing.assert_array_equal(flow[0, 0, 0], [0, 0, 0, 2, 2, 2, 2, 0])
    np.testing.assert_array_equal(flow[:, 1], 0)
    visible = still_visible(surfaces, front, flow, range(3))
    np.testing.assert_array_equal(visible[0, 0], [1, 1, 1, 1, 1, 1, 0, 0])  # leaves; is hidden
    np.testing.assert_array_equal(visible[1, 1], [1, 1, 1, 1, 1, 1, 0, 0])


def test_a_passing_patch_hides_and_uncovers_a_still_background() -> None:
    rng = np.random.default_rng(2)
    still = np.zeros(4, np.complex128)
    path = 20 + 24j + 3.0 * np.arange(4)
    surfaces: list[Surface] = [background(rng, SIZE, still, 1.0), patch(rng, 9.0, 1.0, path, still + 1)]
    _, front = draw(surfaces, range(4), SIZE, SIZE)
    flow = exact_flow(surfaces, front, range(4))
    visible = still_visible(surfaces, front, flow, range(4))
    behind = front[:-1] == 0
    np.testing.assert_array_equal(flow[:, 0], np.where(behind, 0, 3))
    np.testing.assert_array_equal(visible, np.where(behind, front[1:] == 0, True))
    assert (~visible).sum() > 60


def test_exact_paths_agree_with_the_exact_flow_and_its_visibility() -> None:
    """One step of every kind of surface, and whether something else hides its end."""
    rng = np.random.default_rng(5)
    warped = stage(rng, SceneStyle(), np.arange(3.0), SIZE, SIZE)
    path = np.array([20 + 24j, 23 + 24j, 26 + 20j])
    surfaces = [*warped, patch(rng, 10.0, 1.0, path, np.ones(3)), bar(rng, SIZE, path / 10, 1.0)]
    _, front = draw(surfaces, range(3), SIZE, SIZE)
    flow = exact_flow(surfaces, front, range(3))
    visible = still_visible(surfaces, front, flow, range(3))
    x, y = (side.ravel() for side in np.meshgrid(np.arange(SIZE), np.arange(SIZE)))
    points = np.stack((x, y), axis=1)
    places, seen = exact_paths(surfaces, front, range(3), points)
    np.testing.assert_array_equal(places[0], points)
    assert seen[0].all()
    np.testing.assert_allclose(places[1] - points, flow[0].reshape(2, -1).T, atol=1e-4)
    assert (seen[1] == visible[0].ravel()).mean() > 0.999  # rounding at an edge
    assert 0.5 < seen[2].mean() < 0.999
    on_patch = front[0].ravel() == len(surfaces) - 2
    np.testing.assert_allclose(places[2][on_patch] - points[on_patch], [[6, -4]] * on_patch.sum(), atol=1e-4)

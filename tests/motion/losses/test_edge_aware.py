"""Edge-aware smoothness against slow loops and by analysis."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.edge_aware import edge_aware_smoothness
from hidden_two_stream.motion.losses.paper import border_mask, smoothness_loss

Array = npt.NDArray[np.float64]


def slow(flow: Array, image: Array, epsilon: float, exponent: float, weight: float, order: int) -> float:
    """flow (2, h, w), image (3, h, w). A tenth of the shorter side is left out at each edge."""
    _, height, width = flow.shape
    edge = round(0.1 * min(height, width))
    counted = list(itertools.product(range(edge, height - edge), range(edge, width - edge)))
    total = 0.0
    for (y, x), (down, right), c in itertools.product(counted, ((0, 1), (1, 0)), range(2)):
        after, before = (y + down, x + right), (y - down, x - right)
        if after[0] >= height or after[1] >= width or (order == 2 and min(before) < 0):
            continue
        if order == 1:
            change = flow[c][after] - flow[c][y, x]
            slopes = [plane[after] - plane[y, x] for plane in image]
        else:
            change = flow[c][after] - 2 * flow[c][y, x] + flow[c][before]
            slopes = [(plane[after] - plane[before]) / 2 for plane in image]
            slopes = [((plane[after] - plane[y, x]) + (plane[y, x] - plane[before])) / 2 for plane in image]
        edges = np.exp(-weight * np.mean(np.abs(slopes)))
        total += float(edges * (change**2 + epsilon**2) ** exponent)
    return total / (2 * len(counted))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(12, 16), (9, 4), (3, 3), (20, 31)])
def test_agrees_with_slow_loops(height: int, width: int, order: int) -> None:
    rng = np.random.default_rng(height)
    flow, image = rng.normal(size=(2, 2, height, width)), rng.normal(scale=0.2, size=(2, 3, height, width))
    mask = border_mask(torch.from_numpy(flow), 0.1)
    arguments = (0.1, 0.4, 10.0, order)
    found = edge_aware_smoothness(torch.from_numpy(flow), torch.from_numpy(image), mask, *arguments)
    expected = np.mean([slow(flow[n], image[n], *arguments) for n in range(2)])
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_without_edges_it_is_the_published_smoothness() -> None:
    flow, image = torch.randn(3, 2, 14, 20).double(), torch.randn(3, 3, 14, 20).double()
    mask = border_mask(flow, 0.1)
    plain = smoothness_loss(flow, mask, 1e-3, 0.3)
    torch.testing.assert_close(edge_aware_smoothness(flow, image, mask, 1e-3, 0.3, 0.0), plain)
    even = torch.full_like(image, 0.4)
    torch.testing.assert_close(edge_aware_smoothness(flow, even, mask, 1e-3, 0.3, 10.0), plain)


def test_a_flow_edge_costs_less_on_an_edge_of_the_image() -> None:
    flow, image = torch.zeros(1, 2, 16, 16).double(), torch.zeros(1, 3, 16, 16).double()
    flow[..., 8:] = 3
    image[..., 8:] = 0.5
    mask = border_mask(flow, 0.1)

    def cost(shift: int) -> float:
        return edge_aware_smoothness(flow, image.roll(shift, -1), mask, 1e-9, 0.5, 10.0).item()

    assert cost(0) == pytest.approx(np.exp(-5) * cost(2), rel=1e-3)


def test_second_order_lets_flow_grow_evenly() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    flow = torch.stack((0.3 * x - 0.2 * y, 0.1 * y))[None].double()
    image, mask = torch.rand(1, 3, 12, 12).double(), border_mask(flow, 0.1)
    first, second = (
        edge_aware_smoothness(flow, image, mask, 1e-6, 0.5, 1.0, order).item() for order in (1, 2)
    )
    assert second < 1e-5 < 1e-2 < first


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_agree_with_finite_differences(order: int) -> None:
    flow, image = torch.randn(2, 2, 6, 7).double().requires_grad_(), torch.rand(2, 3, 6, 7).double()
    mask = border_mask(flow, 0.1)

    def loss(moved: torch.Tensor) -> torch.Tensor:
        return edge_aware_smoothness(moved, image, mask, 0.1, 0.5, 10.0, order)

    assert torch.autograd.gradcheck(loss, (flow,))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 9)])
def test_tiny_grids_have_nothing_to_compare(height: int, width: int, order: int) -> None:
    flow = torch.randn(1, 2, height, width)
    mask = border_mask(flow, 0.1)
    assert edge_aware_smoothness(flow, torch.rand(1, 3, height, width), mask, 0.1, 0.5, 1.0, order).isfinite()


def test_unknown_order() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    with pytest.raises(UsageError, match="smooth_order is 3; expected 1 or 2"):
        edge_aware_smoothness(flow, torch.zeros(1, 3, 8, 8), border_mask(flow, 0.1), 0.1, 0.5, 1.0, 3)

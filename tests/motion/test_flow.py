"""Resizing and flipping flows: values against a slow resampler and against shifted images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow


def slow_resize(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel: center of the new pixel in the old grid, four neighbors, edges repeated."""
    _, h, w = flow.shape
    result = np.zeros((2, height, width))
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((column + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            upper = flow[:, y0, x0] * (1 - (x - x0)) + flow[:, y0, x1] * (x - x0)
            lower = flow[:, y1, x0] * (1 - (x - x0)) + flow[:, y1, x1] * (x - x0)
            value = upper * (1 - (y - y0)) + lower * (y - y0)
            result[:, row, column] = value * (width / w, height / h)
    return result


@pytest.mark.parametrize("size", [(10, 14), (4, 3), (5, 21), (15, 7), (1, 1), (6, 6)])
def test_resize_agrees_with_slow_bilinear(size: tuple[int, int]) -> None:
    flow = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(resize_flow(flow, *size).numpy(), slow_resize(flow.numpy(), *size), atol=1e-12)


def test_resize_scales_u_by_width_and_v_by_height() -> None:
    flow = torch.tensor([3.0, -5.0]).view(2, 1, 1).expand(2, 8, 10)
    resized = resize_flow(flow, 24, 5)
    torch.testing.assert_close(resized[0], torch.full((24, 5), 1.5))
    torch.testing.assert_close(resized[1], torch.full((24, 5), -15.0))


def test_resized_zoom_is_the_zoom_of_the_new_grid() -> None:
    """A zoom by 10 % about the center has u = 0.1 (x - center) on every grid, in pixels of that grid."""

    def zoom(h: int, w: int) -> torch.Tensor:
        y, x = torch.meshgrid(torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij")
        return 0.1 * torch.stack((x, y))

    resized = resize_flow(zoom(12, 16), 36, 32)
    torch.testing.assert_close(resized[:, 2:-2, 2:-2], zoom(36, 32)[:, 2:-2, 2:-2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0), (1, 2, 3)])
def test_leading_dimensions_are_kept(leading: tuple[int, ...]) -> None:
    flow = torch.randn(*leading, 2, 4, 6)
    resized = resize_flow(flow, 8, 9)
    assert resized.shape == (*leading, 2, 8, 9)
    if flow.numel():
        last = (-1,) * len(leading)
        torch.testing.assert_close(resized[last], resize_flow(flow[last], 8, 9))


def test_same_size_gives_the_same_object() -> None:
    flow = torch.randn(1, 2, 4, 6)
    assert resize_flow(flow, 4, 6) is flow


def test_gradients_flow_through() -> None:
    flow = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: resize_flow(f, 5, 3), (flow,))


def test_views_that_are_not_contiguous_resize_alike() -> None:
    flow = torch.randn(2, 4, 6, 2).permute(0, 3, 1, 2)
    torch.testing.assert_close(resize_flow(flow, 7, 5), resize_flow(flow.contiguous(), 7, 5))


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 4), (2, 1, 4, 4), (1, 20, 4, 4)])
def test_wrong_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected \(\.\.\., 2, h, w\)"):
        resize_flow(torch.zeros(shape), 8, 8)


def test_empty_size_is_refused() -> None:
    with pytest.raises(UsageError, match="0 x 4"):
        resize_flow(torch.zeros(2, 4, 4), 0, 4)


def medians(flow: Tensor) -> Tensor:
    """Medians of 5 columns of the medians of 5 rows, by sorting."""
    padded = functional.pad(flow, (2, 2, 2, 2), mode="replicate")
    return padded.unfold(-2, 5, 1).median(dim=-1).values.unfold(-1, 5, 1).median(dim=-1).values


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 12)])
def test_medians_are_those_of_sorting(height: int, width: int) -> None:
    flow = torch.randn(3, 2, height, width)
    assert torch.equal(median_filter(flow), medians(flow))


def test_medians_take_outliers_away_and_leave_edges() -> None:
    flow = torch.zeros(1, 2, 12, 12)
    flow[..., 6:] = 5.0
    spoilt = flow.clone()
    spoilt[..., 3, 3] = spoilt[..., 8, 9] = -7.0
    assert torch.equal(median_filter(spoilt), flow)

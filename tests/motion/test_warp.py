"""Backward warping: whole pixels shift the image at every size; directions, edges and gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from hidden_two_stream.motion.warp import sampling_grid, warp

LARGER = [(1, 257), (255, 3), (31, 33), (57, 101), (113, 225)]


def slow_warp(image: npt.NDArray[np.float64], flow: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """image (C, h, w), flow (2, h, w): pixel by pixel, four neighbors of (x + u, y + v), edges repeated."""
    _, height, width = image.shape
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            x = min(max(column + flow[0, row, column], 0.0), width - 1.0)
            y = min(max(row + flow[1, row, column], 0.0), height - 1.0)
            left, top = math.floor(x), math.floor(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            upper = image[:, top, left] * (1 - (x - left)) + image[:, top, right] * (x - left)
            lower = image[:, bottom, left] * (1 - (x - left)) + image[:, bottom, right] * (x - left)
            result[:, row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return result


def uniform_flow(u: float, v: float, height: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([u, v], dtype=dtype).view(1, 2, 1, 1).repeat(1, 1, height, width)


def check_integer_flow(height: int, width: int) -> None:
    """Each pixel has its own whole flow, up to two pixels beyond the far edge: plain indexing."""
    rng = np.random.default_rng(1000 * height + width)
    image = rng.random((2, height, width), dtype=np.float32)
    u = rng.integers(-width - 2, width + 3, (height, width))
    v = rng.integers(-height - 2, height + 3, (height, width))
    rows = np.clip(np.arange(height)[:, None] + v, 0, height - 1)
    columns = np.clip(np.arange(width) + u, 0, width - 1)
    expected = image[:, rows, columns]
    flow = np.stack((u, v))[None]
    exact = warp(torch.from_numpy(image[None]).double(), torch.from_numpy(flow).double())[0].numpy()
    np.testing.assert_allclose(exact, expected, atol=1e-12, rtol=0, err_msg=f"float64, {height} x {width}")
    single = warp(torch.from_numpy(image[None]), torch.from_numpy(flow).float())[0].numpy()
    # A coordinate is accurate to a few units of 2^-24 of the side.
    tolerance = 4e-7 * max(height, width, 4)
    np.testing.assert_allclose(
        single, expected, atol=tolerance, rtol=0, err_msg=f"float32, {height} x {width}"
    )


@pytest.mark.parametrize("height", range(1, 18))
def test_whole_pixels_are_plain_indexing_at_every_small_size(height: int) -> None:
    for width in range(1, 18):
        check_integer_flow(height, width)


@pytest.mark.parametrize(("height", "width"), LARGER)
def test_whole_pixels_are_plain_indexing_at_odd_larger_sizes(height: int, width: int) -> None:
    check_integer_flow(height, width)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 13), (1, 5), (14, 9), (57, 101)])
@pytest.mark.parametrize(("u", "v"), [(1, 0), (0, 1), (-2, 0), (0, -3), (3, -1)])
def test_uniform_flow_shifts_the_image(height: int, width: int, u: int, v: int) -> None:
    """result[y, x] = image[y + v, x + u] where that pixel is inside the image."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    result = warp(image, uniform_flow(u, v, height, width, torch.float32))
    tops, lefts = range(max(0, -v), height - max(0, v)), range(max(0, -u), width - max(0, u))
    for y, x in itertools.product(tops, lefts):
        assert result[0, :, y, x].tolist() == pytest.approx(image[0, :, y + v, x + u].tolist(), abs=5e-5)


def test_half_a_pixel_averages_two_neighbors() -> None:
    image = torch.rand(2, 3, 6, 9, dtype=torch.float64)
    right = warp(image, uniform_flow(0.5, 0, 6, 9).repeat(2, 1, 1, 1))
    torch.testing.assert_close(right[..., :-1], (image[..., :-1] + image[..., 1:]) / 2)
    up = warp(image, uniform_flow(0, -0.5, 6, 9).repeat(2, 1, 1, 1))
    torch.testing.assert_close(up[..., 1:, :], (image[..., :-1, :] + image[..., 1:, :]) / 2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (7, 1), (5, 8), (8, 5), (11, 14)])
def test_any_flow_agrees_with_slow_bilinear_sampling(height: int, width: int) -> None:
    rng = np.random.default_rng(height * 100 + width)
    images = rng.normal(size=(3, 2, height, width))
    flows = rng.normal(scale=3.0, size=(3, 2, height, width))
    results = warp(torch.from_numpy(images), torch.from_numpy(flows)).numpy()
    for image, flow, result in zip(images, flows, results, strict=True):
        np.testing.assert_allclose(result, slow_warp(image, flow), atol=1e-12)


def test_frame_after_warped_by_the_flow_gives_the_frame_before() -> None:
    """A square moves 3 px right and 2 px down: flow t → t+1 is u = 3, v = 2 and brings it back."""
    before, after = torch.zeros(1, 1, 12, 16), torch.zeros(1, 1, 12, 16)
    before[..., 2:5, 4:8] = torch.rand(3, 4)
    after[..., 4:7, 7:11] = before[..., 2:5, 4:8]
    torch.testing.assert_close(warp(after, uniform_flow(3, 2, 12, 16).float()), before, atol=1e-6, rtol=0)
    for u, v in ((-3, -2), (2, 3), (3, -2), (0, 0)):
        assert (warp(after, uniform_flow(u, v, 12, 16).float()) - before).abs().max() > 0.1


def test_a_smooth_zoom_is_undone() -> None:
    """An analytic image and flow: frame t+1 is frame t zoomed by 5 % about the origin of the grid."""

    def scene(x: Tensor, y: Tensor) -> Tensor:
        return torch.sin(0.2 * x + 0.3) * torch.cos(0.15 * y)

    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    after = scene(x / 1.05, y / 1.05)[None, None]
    flow = 0.05 * torch.stack((x, y))[None]
    before = scene(x, y)[None, None]
    inside = (warp(after, flow) - before)[..., :38, :47]
    assert inside.abs().max() < 0.01
    assert (after - before)[..., :38, :47].abs().max() > 0.2


def test_outside_takes_the_nearest_edge_pixel() -> None:
    image = torch.rand(1, 2, 5, 7, dtype=torch.float64)
    flow = uniform_flow(1000, 0, 5, 7)
    torch.testing.assert_close(warp(image, flow), image[..., -1:].expand_as(image))
    torch.testing.assert_close(warp(image, -flow), image[..., :1].expand_as(image))
    flow = uniform_flow(0, 0.75, 5, 7)
    torch.testing.assert_close(warp(image, flow)[..., -1, :], image[..., -1, :])
    torch.testing.assert_close(warp(image, -flow)[..., 0, :], image[..., 0, :])
    far = warp(image, uniform_flow(-50, 60, 5, 7))
    torch.testing.assert_close(far, image[..., -1:, :1].expand_as(image))


def test_grid_puts_pixel_centers_half_a_pixel_inside_the_edges() -> None:
    grid = sampling_grid(torch.zeros(2, 2, 2, 4))
    assert grid.shape == (2, 2, 4, 2)
    torch.testing.assert_close(grid[0, 0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(grid[1, :, 0, 1], torch.tensor([-0.5, 0.5]))
    moved = sampling_grid(uniform_flow(1, 0, 2, 4).float())
    torch.testing.assert_close(moved[..., 0], grid[:1, ..., 0] + 0.5)
    torch.testing.assert_close(moved[..., 1], grid[:1, ..., 1])


def test_flow_of_integer_type() -> None:
    """The scale of a pixel must not be rounded to an integer."""
    whole = uniform_flow(3, -2, 6, 9)
    for dtype in (torch.int64, torch.int16):
        grid = sampling_grid(whole.to(dtype))
        assert grid.is_floating_point()
        torch.testing.assert_close(grid, sampling_grid(whole), check_dtype=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_sampled_in_float32_and_stays_half(dtype: torch.dtype) -> None:
    """Whole pixels are exact, although 1 / 112 is not; the result has the image's type, not the flow's."""
    image = torch.rand(1, 3, 5, 112).to(dtype)
    shifted = warp(image, uniform_flow(7, 0, 5, 112).to(dtype))
    assert shifted.dtype == dtype
    torch.testing.assert_close(shifted[..., :-7], image[..., 7:])
    assert warp(image.float(), uniform_flow(7, 0, 5, 112).to(dtype)).dtype == torch.float32


def test_images_of_a_batch_have_their_own_flow() -> None:
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64).repeat(3, 1, 1, 1)
    flow = torch.cat([uniform_flow(u, 0, 6, 6) for u in (0, 1, 2)])
    result = warp(image, flow)
    for u in range(3):
        torch.testing.assert_close(result[u, :, :, : 6 - u], image[u, :, :, u:])


@pytest.mark.parametrize(("height", "width"), [(4, 5), (3, 7)])
def test_gradients_agree_with_finite_differences(height: int, width: int) -> None:
    """Targets stay 0.2 px away from whole coordinates, where sampling has a kink; some lie outside."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, 2, height, width, dtype=torch.float64, generator=generator)
    whole = torch.randint(-3, 4, (2, 2, height, width), generator=generator)
    flow = whole + 0.2 + 0.6 * torch.rand(whole.shape, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(warp, (image.requires_grad_(), flow.requires_grad_()))


def test_gradient_of_a_ramp_is_its_slope() -> None:
    """d/du of 4x − 3y sampled at (x + u, y + v) is 4 and d/dv is −3; outside nothing changes."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    flow = uniform_flow(0.3, 0.6, 6, 8).float().requires_grad_()
    warp((4 * x - 3 * y)[None, None], flow).sum().backward()
    gradient = flow.grad
    assert gradient is not None
    torch.testing.assert_close(gradient[0, 0, :, :-1], torch.full((6, 7), 4.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(gradient[0, 1, :-1], torch.full((5, 8), -3.0), atol=1e-4, rtol=0)
    assert gradient[0, 0, :, -1].abs().max() == 0
    assert gradient[0, 1, -1].abs().max() == 0

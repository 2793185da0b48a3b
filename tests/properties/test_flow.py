"""Flow of any shape: units of px, pixel centers, directions, errors, colors and files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from hidden_two_stream.errors import DataError
from hidden_two_stream.motion.color import UNKNOWN_ABOVE_PX, color_wheel, flow_to_color
from hidden_two_stream.motion.flo import read_flo, write_flo
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.metrics import endpoint_error, endpoint_error_map
from hidden_two_stream.motion.tracking import sample_flow
from hidden_two_stream.motion.warp import sampling_grid, warp

from .strategies import flows, normal, seeds, sides, sizes

EXACT = {"atol": 1e-9, "rtol": 0}


def mirrored(flow: Tensor) -> Tensor:
    """The flow of the clip mirrored left to right: columns in reverse order, u negated."""
    return flow.flip(-1) * flow.new_tensor([-1.0, 1.0])[:, None, None]


def transposed(flow: Tensor) -> Tensor:
    """The flow of the clip whose rows and columns are exchanged: u and v exchange, too."""
    return flow.flip(-3).transpose(-1, -2)


def coordinates(height: int, width: int) -> Tensor:
    """(1, 2, H, W) float64: x and y of each pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y)).double()[None]


# -- resizing --------------------------------------------------------------------------------------


@given(flows(), sizes)
def test_a_uniform_flow_stays_the_same_part_of_the_image(flow: Tensor, size: tuple[int, int]) -> None:
    uniform = flow[..., :1, :1].expand_as(flow)
    resized = resize_flow(uniform, *size)
    assert resized.shape == (len(flow), 2, *size)
    height, width = flow.shape[-2:]
    parts = uniform[:, :, 0, 0] / torch.tensor([width, height])
    new_parts = resized / torch.tensor([size[1], size[0]])[:, None, None]
    torch.testing.assert_close(new_parts, parts[:, :, None, None].expand_as(new_parts), **EXACT)


@given(flows(), sizes)
def test_resizing_commutes_with_mirroring(flow: Tensor, size: tuple[int, int]) -> None:
    torch.testing.assert_close(
        resize_flow(mirrored(flow), *size), mirrored(resize_flow(flow, *size)), **EXACT
    )


@given(flows(), sizes)
def test_resizing_commutes_with_exchanging_the_axes(flow: Tensor, size: tuple[int, int]) -> None:
    found = resize_flow(transposed(flow), size[1], size[0])
    torch.testing.assert_close(found, transposed(resize_flow(flow, *size)), **EXACT)


@given(flows(), sizes)
def test_the_tracker_reads_the_resized_flow(flow: Tensor, size: tuple[int, int]) -> None:
    """NumPy's bilinear sampling at the pixels of the video is PyTorch's resizing to the video."""
    pixels = coordinates(*size)[0].flatten(1).T.numpy()
    for one, resized in zip(flow, resize_flow(flow, *size), strict=True):
        found = sample_flow(one.numpy(), pixels, size)
        np.testing.assert_allclose(found, resized.flatten(1).T.numpy(), **EXACT)


@given(flows())
def test_medians_commute_with_every_increasing_function(flow: Tensor) -> None:
    assert torch.equal(median_filter(flow.exp() - 3), median_filter(flow).exp() - 3)
    assert torch.equal(median_filter(mirrored(flow)), mirrored(median_filter(flow)))


# -- warping ---------------------------------------------------------------------------------------


@given(flows())
def test_no_flow_is_the_identity(flow: Tensor) -> None:
    torch.testing.assert_close(warp(flow, torch.zeros_like(flow)), flow, **EXACT)


@given(flows(scale_px=6.0))
def test_a_warped_image_of_coordinates_shows_where_the_flow_points(flow: Tensor) -> None:
    """An image whose values are x and y gives x + u and y + v: no other convention of centers does."""
    height, width = flow.shape[-2:]
    place = coordinates(height, width).expand_as(flow)
    low, high = torch.zeros(2, 1, 1).double(), torch.tensor([width - 1, height - 1]).double()[:, None, None]
    torch.testing.assert_close(warp(place, flow), (place + flow).clamp(low, high), **EXACT)


@given(flows(scale_px=6.0))
def test_the_grid_is_minus_one_and_one_at_the_edges_of_the_image(flow: Tensor) -> None:
    height, width = flow.shape[-2:]
    grid = sampling_grid(flow).permute(0, 3, 1, 2)
    edges = torch.tensor([width, height]).double()[:, None, None]
    torch.testing.assert_close((grid + 1) / 2 * edges - 0.5, coordinates(height, width) + flow, **EXACT)


@given(flows(), st.integers(1, 4), seeds)
def test_a_flow_of_whole_pixels_is_plain_indexing(flow: Tensor, channels: int, seed: int) -> None:
    batch, _, height, width = flow.shape
    image, whole = normal((batch, channels, height, width), seed), flow.round()
    x, y = (coordinates(height, width) + whole).long().unbind(1)
    place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    expected = image.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, channels, -1))
    torch.testing.assert_close(warp(image, whole), expected.view_as(image), **EXACT)


@given(flows(), seeds)
def test_warping_commutes_with_mirroring_and_exchanging_the_axes(flow: Tensor, seed: int) -> None:
    image = normal((len(flow), 2, *flow.shape[-2:]), seed)
    warped = warp(image, flow)
    torch.testing.assert_close(warp(image.flip(-1), mirrored(flow)), warped.flip(-1), **EXACT)
    across = warp(image.transpose(-1, -2), transposed(flow))
    torch.testing.assert_close(across, warped.transpose(-1, -2), **EXACT)


# -- errors ----------------------------------------------------------------------------------------


@given(flows(), seeds, seeds)
def test_the_end_point_error_is_a_distance(flow: Tensor, second: int, third: int) -> None:
    other, last = normal(tuple(flow.shape), second), normal(tuple(flow.shape), third)
    error = endpoint_error_map(flow, other)
    expected = np.hypot(*(flow - other).numpy().swapaxes(0, 1))
    np.testing.assert_allclose(error.numpy(), expected, rtol=1e-12)
    assert torch.equal(error, endpoint_error_map(other, flow))
    assert not endpoint_error_map(flow, flow).any()
    assert (error <= endpoint_error_map(flow, last) + endpoint_error_map(last, other) + 1e-12).all()
    assert endpoint_error(flow, other).item() == pytest.approx(expected.mean())


@given(flows(), seeds)
def test_errors_outside_the_mask_do_not_count(flow: Tensor, seed: int) -> None:
    target = normal(tuple(flow.shape), seed)
    mask = normal((len(flow), *flow.shape[-2:]), seed + 1) > 0
    expected = endpoint_error_map(flow, target)[mask].mean()
    spoiled = torch.where(mask[:, None], target, float("nan"))
    torch.testing.assert_close(endpoint_error(flow, spoiled, mask), expected, equal_nan=True)


# -- colors ----------------------------------------------------------------------------------------


@given(flows(), st.integers(-20, 20))
def test_colors_depend_on_the_share_of_the_greatest_speed(flow: Tensor, exponent: int) -> None:
    values = flow.float().numpy()
    image = flow_to_color(values)
    assert (image.shape, image.dtype) == ((len(flow), *flow.shape[-2:], 3), np.uint8)
    np.testing.assert_array_equal(flow_to_color(values * np.float32(2.0**exponent)), image)


@given(flows(), st.floats(0.1, 20))
def test_each_pixel_has_the_color_of_its_own_vector(flow: Tensor, max_px: float) -> None:
    """All pixels in one row, or one flow at a time, change nothing; no channel exceeds the pure hue's."""
    values = flow.float().numpy()
    image = flow_to_color(values, max_px)
    row = values.swapaxes(0, 1).reshape(2, 1, -1)
    np.testing.assert_array_equal(flow_to_color(row, max_px), image.reshape(1, -1, 3))
    np.testing.assert_array_equal(np.stack([flow_to_color(one, max_px) for one in values]), image)
    speed = np.hypot(*values.swapaxes(0, 1))
    assert (image[speed < 0.001 * max_px] >= 254).all()
    # The pure hue has a channel of 0, so the darkest channel of a slower pixel shows the speed.
    slow = speed < 0.99 * max_px
    darkest = 255 * (1 - speed[slow] / max_px)
    assert (np.abs(image[slow].min(axis=-1) - darkest) <= 9).all()


@given(
    flows(), st.sampled_from((np.nan, np.inf, -np.inf, 2 * UNKNOWN_ABOVE_PX, -2 * UNKNOWN_ABOVE_PX)), seeds
)
def test_unknown_flow_is_black_and_changes_no_other_pixel(flow: Tensor, unknown: float, seed: int) -> None:
    values = flow.float().numpy()
    rng = np.random.default_rng(seed)
    known = rng.random((len(values), *values.shape[-2:])) < 0.7
    channel = rng.integers(0, 2)
    spoiled = values.copy()
    spoiled[:, channel][~known] = unknown
    image = flow_to_color(spoiled, 3.0)
    assert not image[~known].any()
    np.testing.assert_array_equal(image[known], flow_to_color(values, 3.0)[known])


@given(st.integers(0, 54))
def test_neighboring_hues_differ_in_one_channel(index: int) -> None:
    wheel = color_wheel()
    step = wheel[(index + 1) % len(wheel)] - wheel[index]
    assert np.count_nonzero(step) == 1
    assert wheel[index].max() == 255
    assert wheel[index].min() == 0


# -- files -----------------------------------------------------------------------------------------

FLOW_ARRAYS = st.tuples(st.just(2), sides, sides).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(width=32))
)


@given(FLOW_ARRAYS)
def test_flow_files_keep_every_bit(flow: npt.NDArray[np.float32]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.flo"
        write_flo(path, flow)
        assert path.stat().st_size == 12 + flow.nbytes
        found = read_flo(path)
    np.testing.assert_array_equal(found.view(np.uint32), flow.view(np.uint32))


@given(sizes, st.floats(0, 1))
def test_flow_files_cut_anywhere_are_refused(size: tuple[int, int], share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.flo"
        write_flo(path, np.ones((2, *size), np.float32))
        whole = path.read_bytes()
        kept = int(share * len(whole))
        assume(kept < len(whole))
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match="expected"):
            read_flo(path)

"""Clips of any shape: sizes of crops, ranges of values, and the same pixels from both implementations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidden_two_stream.video.array_resize import array_resized
from hidden_two_stream.video.crops import (
    center_crop,
    center_crop_box,
    corner_crop_boxes,
    five_crop,
    flip,
    multi_scale_crop_box,
    short_side_size,
    ten_crop,
)
from hidden_two_stream.video.transforms import (
    CONTRAST_STD,
    MEAN_RGB,
    apply_crop,
    color_jitter,
    contrast_normalize,
    normalize,
    resize,
    resize_short_side,
    to_tensor,
)

from .strategies import clips, normal, seeds

Clip = npt.NDArray[np.uint8]
fractions = st.floats(0, 1, exclude_max=True)
strengths = st.floats(0, 1)
long_sides = st.integers(1, 600)


# -- sizes -----------------------------------------------------------------------------------------


@given(long_sides, long_sides, long_sides)
def test_the_short_side_is_as_asked_and_the_aspect_stays(height: int, width: int, short_side: int) -> None:
    new = short_side_size(height, width, short_side)
    assert min(new) == short_side
    assert short_side_size(width, height, short_side) == new[::-1]
    for side, before in zip(new, (height, width), strict=True):
        assert abs(side - before * short_side / min(height, width)) <= 0.5


@given(clips(), st.integers(1, 24), st.integers(1, 24))
def test_numpy_resizes_to_the_pixels_of_pytorch(clip: Clip, height: int, width: int) -> None:
    expected = resize(to_tensor(clip), height, width)
    assert (tuple(expected.shape), expected.dtype) == ((len(clip), 3, height, width), torch.uint8)
    np.testing.assert_array_equal(array_resized(clip, (height, width)), expected)
    short = min(height, width)
    np.testing.assert_array_equal(array_resized(clip, short), resize_short_side(to_tensor(clip), short))


@given(clips(), st.integers(1, 24), st.integers(1, 24))
def test_resized_pixels_stay_between_the_darkest_and_the_brightest(
    clip: Clip, height: int, width: int
) -> None:
    before = to_tensor(clip)
    after = resize(before, height, width)
    for channel in range(3):
        assert before[:, channel].min() <= after[:, channel].min()
        assert after[:, channel].max() <= before[:, channel].max()
    # Half a level from rounding each of the two directions.
    assert (resize(flip(before), height, width).int() - flip(after).int()).abs().max() <= 1


# -- crops -----------------------------------------------------------------------------------------


@given(long_sides, long_sides, fractions)
def test_crop_boxes_touch_their_corners_and_the_center_is_even(height: int, width: int, share: float) -> None:
    size = 1 + int(share * min(height, width))
    boxes = corner_crop_boxes(height, width, size)
    places = [(box.top, box.left) for box in boxes]
    bottom, right = height - size, width - size
    assert places[:4] == [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    assert boxes[4] == center_crop_box(height, width, size)
    assert {(box.height, box.width) for box in boxes} == {(size, size)}
    assert bottom - 2 * boxes[4].top in (0, 1)
    assert right - 2 * boxes[4].left in (0, 1)


@given(clips(), fractions)
def test_ten_crops_are_five_and_their_mirror_images(clip: Clip, share: float) -> None:
    frames = to_tensor(clip)
    size = 1 + int(share * min(clip.shape[1:3]))
    five, ten = five_crop(frames, size), ten_crop(frames, size)
    assert ten.shape == (10, len(clip), 3, size, size)
    assert torch.equal(ten[:5], five)
    assert torch.equal(ten[5:].flip(-1), five)
    assert torch.equal(five[4], center_crop(frames, size))
    np.testing.assert_array_equal(ten_crop(frames.numpy(), size), ten)  # without PyTorch
    for crop, box in zip(five, corner_crop_boxes(clip.shape[1], clip.shape[2], size), strict=True):
        assert torch.equal(crop, apply_crop(frames, box, size))


@given(
    st.integers(4, 600),
    st.integers(4, 600),
    st.integers(1, 600),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=5).map(lambda scales: sorted(scales, reverse=True)),
    st.tuples(fractions, fractions, fractions),
)
def test_multi_scale_boxes_lie_in_the_frame_at_a_corner_or_the_center(
    height: int, width: int, size: int, scales: list[float], draw: tuple[float, float, float]
) -> None:
    box = multi_scale_crop_box(height, width, size, scales, draw)
    short = min(height, width)
    expected = [max(1, int(short * scale)) for scale in scales]
    steps = [
        [
            place
            for place, asked in enumerate(expected)
            if side == asked or (side == size and abs(asked - size) <= 2)
        ]
        for side in (box.height, box.width)
    ]
    assert min(abs(row - column) for row in steps[0] for column in steps[1]) <= 1
    down, right = height - box.height, width - box.width
    corners = {(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)}
    assert (box.top, box.left) in corners
    assert down >= 0
    assert right >= 0


# -- values ----------------------------------------------------------------------------------------


@given(clips())
def test_normalized_pixels_are_in_range_and_can_be_undone(clip: Clip) -> None:
    frames = to_tensor(clip)
    values = normalize(frames)
    assert values.dtype == torch.float32
    means = torch.tensor(MEAN_RGB)[:, None, None]
    assert (values >= (0 - means) / 255).all()
    assert (values <= (255 - means) / 255).all()
    assert torch.equal((values * 255 + means).round().to(torch.uint8), frames)


@given(
    clips(),
    strengths,
    strengths,
    strengths,
    seeds,
    st.sampled_from((torch.uint8, torch.float32, torch.float64)),
)
def test_jitter_keeps_type_shape_and_range_and_repeats(
    clip: Clip, brightness: float, contrast: float, saturation: float, seed: int, dtype: torch.dtype
) -> None:
    frames = to_tensor(clip).to(dtype)
    first, again = (
        color_jitter(frames, brightness, contrast, saturation, torch.Generator().manual_seed(seed))
        for _ in range(2)
    )
    assert (first.shape, first.dtype) == (frames.shape, dtype)
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, again)
    none = color_jitter(frames, 0, 0, 0, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(none, frames, atol=1e-3, rtol=0)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), seeds, st.floats(0.0, 2.0))
def test_normalized_contrast_has_no_mean_and_a_known_deviation(
    num_frames: int, height: int, width: int, seed: int, spread: float
) -> None:
    frames = normal((2, num_frames, 3, height, width), seed) * spread + 0.3
    result = contrast_normalize(frames)
    torch.testing.assert_close(result.mean((-4, -2, -1)), torch.zeros(2, 3).double(), atol=1e-9, rtol=0)
    before = (frames - frames.mean((-4, -2, -1), keepdim=True)).square().mean((-4, -3, -2, -1)).sqrt()
    expected = CONTRAST_STD * (before / 0.01).clamp(max=1)
    torch.testing.assert_close(result.square().mean((-4, -3, -2, -1)).sqrt(), expected, atol=1e-9, rtol=0)

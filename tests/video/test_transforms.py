from __future__ import annotations

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.crops import (
    Crop,
    center_crop_box,
    corner_crop_boxes,
    flip,
    multi_scale_crop_box,
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


def random_clip(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_to_tensor_moves_channels_only() -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    tensor = to_tensor(array)
    assert (tuple(tensor.shape), tensor.dtype) == ((4, 3, 5, 6), torch.uint8)
    for t, channel, row, column in [(0, 0, 0, 0), (1, 2, 3, 4), (3, 1, 4, 5)]:
        assert tensor[t, channel, row, column] == array[t, row, column, channel]


def test_to_tensor_takes_views_and_read_only_arrays() -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_tensor(array[::-1, :, ::-2]), array[::-1, :, ::-2].transpose(0, 3, 1, 2))
    array.flags.writeable = False
    np.testing.assert_array_equal(to_tensor(array), array.transpose(0, 3, 1, 2))


def test_to_tensor_refuses_other_arrays() -> None:
    with pytest.raises(UsageError, match="float64"):
        to_tensor(np.zeros((4, 5, 6, 3)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\(4, 3, 5, 6\)"):
        to_tensor(np.zeros((4, 3, 5, 6), np.uint8))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_normalize_is_pixel_minus_mean_over_255(shape: tuple[int, ...]) -> None:
    clip = random_clip(*shape)
    mean = np.array([123.0, 117.0, 104.0]).reshape(3, 1, 1)
    result = normalize(clip)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, (clip.numpy().astype(float) - mean) / 255, atol=1e-7)
    assert MEAN_RGB == (123.0, 117.0, 104.0)


def test_normalize_leaves_its_input_alone() -> None:
    clip = random_clip(2, 3, 4, 4).float()
    before = clip.clone()
    normalize(clip)
    assert torch.equal(clip, before)


# -- size


def triangle_resize(image: np.ndarray, length: int) -> np.ndarray:
    """Antialiased bilinear resize of the last axis, half-pixel centres, written from the definition."""
    old = image.shape[-1]
    scale = old / length
    support = max(scale, 1.0)
    columns = []
    for k in range(length):
        weights = np.clip(1 - np.abs(np.arange(old) + 0.5 - (k + 0.5) * scale) / support, 0, None)
        columns.append(image @ (weights / weights.sum()))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize(("height", "width"), [(10, 9), (40, 50), (7, 50), (23, 31)])
def test_resize_follows_the_definition(height: int, width: int) -> None:
    clip = random_clip(2, 3, 23, 31)
    expected = triangle_resize(clip.numpy().astype(float), width).swapaxes(-1, -2)
    expected = triangle_resize(expected, height).swapaxes(-1, -2)
    result = resize(clip, height, width)
    assert (tuple(result.shape), result.dtype) == ((2, 3, height, width), torch.uint8)
    # Each of the two directions rounds to whole grey levels.
    assert np.abs(result.numpy() - expected).max() <= 1.5
    assert abs((result.numpy() - expected).mean()) < 0.1


def test_resize_keeps_constants_and_ramps() -> None:
    assert (resize(torch.full((1, 3, 20, 30), 200, dtype=torch.uint8), 13, 47) == 200).all()
    ramp = (torch.arange(64) * 4).to(torch.uint8).expand(1, 3, 16, 64)
    # Output pixel k covers input pixels 2k and 2k + 1, so its centre reads 4 (2k + 0.5).
    np.testing.assert_allclose(resize(ramp, 8, 32)[0, 0, 3, 1:-1], 8 * np.arange(1, 31) + 2, atol=1)
    np.testing.assert_allclose(resize(ramp, 16, 128)[0, 0, 3, 1:-1], 2 * np.arange(1, 127) - 1, atol=1)


def test_resize_gives_the_same_for_file_and_array_for_one_frame_and_many() -> None:
    array = np.random.default_rng(0).integers(0, 256, (7, 24, 32, 3), dtype=np.uint8)
    decoded, stored = to_tensor(array), torch.from_numpy(array.transpose(0, 3, 1, 2).copy())
    whole = resize(decoded, 17, 21)
    assert torch.equal(whole, resize(stored, 17, 21))
    assert torch.equal(whole, torch.cat([resize(decoded[t : t + 1], 17, 21) for t in range(7)]))
    assert torch.equal(whole, torch.cat([resize(stored[:3], 17, 21), resize(stored[3:], 17, 21)]))


def test_resize_returns_a_clip_of_the_right_size_itself() -> None:
    clip = random_clip(2, 3, 20, 30)
    assert resize(clip, 20, 30) is clip
    assert resize_short_side(clip, 20) is clip


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((240, 320), 256, (256, 341)),
        ((320, 240), 256, (341, 256)),
        ((240, 320), 120, (120, 160)),
        ((100, 100), 64, (64, 64)),
        ((3, 500), 1, (1, 167)),
    ],
)
def test_resize_short_side_keeps_the_aspect(
    size: tuple[int, int], short_side: int, expected: tuple[int, int]
) -> None:
    assert tuple(resize_short_side(random_clip(1, 3, *size), short_side).shape[-2:]) == expected


def test_resize_refuses_empty_sizes() -> None:
    with pytest.raises(UsageError, match="0 x 5"):
        resize(random_clip(1, 3, 4, 4), 0, 5)
    with pytest.raises(UsageError, match="0 x 0"):
        resize_short_side(random_clip(1, 3, 4, 4), 0)


# -- crops


def test_crop_boxes_by_hand() -> None:
    assert center_crop_box(256, 340, 224) == Crop(16, 58, 224, 224)
    assert center_crop_box(5, 6, 4) == Crop(0, 1, 4, 4)
    assert center_crop_box(4, 4, 4) == Crop(0, 0, 4, 4)
    assert corner_crop_boxes(256, 340, 224) == (
        Crop(0, 0, 224, 224),
        Crop(0, 116, 224, 224),
        Crop(32, 0, 224, 224),
        Crop(32, 116, 224, 224),
        Crop(16, 58, 224, 224),
    )


@pytest.mark.parametrize("size", [0, 225])
def test_crops_larger_than_the_frame_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"{size} px.*300 x 224"):
        center_crop_box(224, 300, size)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        # 256 x 340 frames: sides 256, 224, 192
        ((0.0, 0.0, 0.0), Crop(0, 0, 256, 256)),
        ((0.0, 0.6, 0.2), Crop(0, 116, 256, 224)),
        ((0.4, 0.0, 0.4), Crop(32, 0, 224, 256)),
        ((0.4, 0.4, 0.6), Crop(32, 116, 224, 224)),
        ((0.4, 0.9, 0.8), Crop(16, 74, 224, 192)),
        ((0.99, 0.49, 0.99), Crop(32, 58, 192, 224)),
        ((0.99, 0.5, 0.2), Crop(0, 148, 192, 192)),
    ],
)
def test_multi_scale_boxes_by_hand(draw: tuple[float, float, float], expected: Crop) -> None:
    assert multi_scale_crop_box(256, 340, 224, draw=draw) == expected


def test_multi_scale_box_is_the_largest_central_square_by_default() -> None:
    assert multi_scale_crop_box(256, 340, 224) == Crop(0, 42, 256, 256)


def test_multi_scale_boxes_fit_and_differ_by_one_step_at_most() -> None:
    steps = [200, 175, 150, 132]
    pairs, places = set(), set()
    for draw in np.random.default_rng(0).random((500, 3)):
        box = multi_scale_crop_box(300, 200, 64, (1, 0.875, 0.75, 0.66), draw=tuple(draw))
        row, column = steps.index(box.height), steps.index(box.width)
        assert abs(row - column) <= 1
        assert box.top + box.height <= 300
        assert box.left + box.width <= 200
        pairs.add((row, column))
        if (row, column) == (1, 1):
            places.add((box.top, box.left))
    assert len(pairs) == 10
    assert places == {(0, 0), (0, 25), (125, 0), (125, 25), (62, 12)}


def test_multi_scale_sides_close_to_the_size_become_it() -> None:
    assert multi_scale_crop_box(255, 300, 224, draw=(0.5, 0.5, 0)) == Crop(
        0, 0, 224, 224
    )  # 255 * 0.875 = 223.1
    assert multi_scale_crop_box(100, 300, 101, draw=(0, 0, 0)) == Crop(0, 0, 100, 100)


@pytest.mark.parametrize(
    ("scales", "draw", "named"),
    [
        ((), (0, 0, 0), "scales"),
        ((1.2,), (0, 0, 0), "1.2"),
        ((0.0,), (0, 0, 0), "0.0"),
        ((1.0,), (0, 1.0, 0), "draw"),
    ],
)
def test_multi_scale_arguments_are_checked(
    scales: tuple[float, ...], draw: tuple[float, float, float], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        multi_scale_crop_box(100, 100, 64, scales, draw=draw)


def test_apply_crop_cuts_then_resizes() -> None:
    clip = random_clip(2, 3, 20, 30)
    assert torch.equal(apply_crop(clip, Crop(3, 5, 10, 10), 10), clip[:, :, 3:13, 5:15])
    cut = clip[:, :, 3:13, 5:21].clone()
    assert torch.equal(apply_crop(clip, Crop(3, 5, 10, 16), 8), resize(cut, 8, 8))


@pytest.mark.parametrize("box", [Crop(-1, 0, 5, 5), Crop(0, 26, 5, 5), Crop(16, 0, 5, 5), Crop(0, 0, 0, 5)])
def test_apply_crop_refuses_boxes_outside(box: Crop) -> None:
    with pytest.raises(UsageError, match="30 x 20"):
        apply_crop(random_clip(1, 3, 20, 30), box, 5)


def test_ten_crop_order() -> None:
    clip = random_clip(2, 3, 9, 13)
    crops = ten_crop(clip, 5)
    assert tuple(crops.shape) == (10, 2, 3, 5, 5)
    array = clip.numpy()
    by_hand = [
        array[..., :5, :5],
        array[..., :5, 8:],
        array[..., 4:, :5],
        array[..., 4:, 8:],
        array[..., 2:7, 4:9],
    ]
    for crop, expected in zip(crops, by_hand + [a[..., ::-1] for a in by_hand], strict=True):
        np.testing.assert_array_equal(crop, expected)


def test_flip_mirrors_columns() -> None:
    clip = random_clip(2, 3, 4, 5)
    np.testing.assert_array_equal(flip(clip), clip.numpy()[..., ::-1])
    assert torch.equal(flip(flip(clip)), clip)


# -- colour


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_jitter_matches_its_definition() -> None:
    clip = random_clip(3, 3, 6, 7).float() * 0.5 + 60  # far from the ends, so nothing is clamped
    result = color_jitter(clip, 0.2, 0.3, 0.4, generator(5))
    b, c, s = 1 + np.array([0.2, 0.3, 0.4]) * (2 * torch.rand(3, generator=generator(5)).numpy() - 1)
    luma = np.array([0.299, 0.587, 0.114])
    pixels = np.moveaxis(clip.numpy().astype(float), 1, -1) * b
    mean = (pixels @ luma).mean()
    pixels = mean + (pixels - mean) * c
    grey = (pixels @ luma)[..., None]
    expected = np.moveaxis(grey + (pixels - grey) * s, -1, 1)
    assert 0 <= expected.min() <= expected.max() <= 255
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("strengths", [(0.4, 0, 0), (0, 0.4, 0), (0, 0, 0.4), (0.4, 0.4, 0.4)])
def test_jitter_treats_all_frames_alike(strengths: tuple[float, float, float]) -> None:
    same = random_clip(1, 3, 8, 8).expand(4, 3, 8, 8)
    result = color_jitter(same, *strengths, generator(3))
    assert (result == result[:1]).all()
    assert not torch.equal(result, same)


def test_jitter_is_decided_by_the_generator() -> None:
    clip = random_clip(2, 3, 8, 8)
    torch.manual_seed(1)
    first = color_jitter(clip, 0.4, 0.4, 0.4, generator(3))
    torch.manual_seed(2)
    assert torch.equal(first, color_jitter(clip, 0.4, 0.4, 0.4, generator(3)))
    assert not torch.equal(first, color_jitter(clip, 0.4, 0.4, 0.4, generator(4)))


def test_jitter_of_nothing_is_nothing_and_types_stay() -> None:
    clip = random_clip(2, 3, 8, 8)
    assert torch.equal(color_jitter(clip, 0, 0, 0, generator()), clip)
    for seed in range(10):
        bright = color_jitter(clip.float(), 1, 1, 1, generator(seed))
        assert bright.dtype == torch.float32
        assert 0 <= bright.min() <= bright.max() <= 255
    grey = random_clip(2, 1, 8, 8).expand(2, 3, 8, 8)
    coloured = color_jitter(grey, 0, 0, 1, generator())
    assert (coloured.int() - grey.int()).abs().max() <= 1


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_jitter_strengths_are_checked(name: str, strength: float) -> None:
    strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0} | {name: strength}
    with pytest.raises(UsageError, match=f"{name}={strength}"):
        color_jitter(random_clip(1, 3, 4, 4), **strengths, generator=generator())


def test_contrast_normalize_sets_mean_and_deviation() -> None:
    clip = random_clip(5, 3, 8, 9).float() / 255 * 0.1 + torch.tensor([0.2, 0.0, -0.3])[:, None, None]
    array = contrast_normalize(clip).numpy()
    np.testing.assert_allclose(array.mean((0, 2, 3)), 0, atol=1e-6)
    assert array.std() == pytest.approx(CONTRAST_STD, rel=1e-4)
    original = clip.numpy() - clip.numpy().mean((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(array, original * (CONTRAST_STD / original.std()), atol=1e-5)


def test_contrast_normalize_does_not_depend_on_contrast_or_on_other_clips() -> None:
    clips = torch.stack([normalize(random_clip(5, 3, 8, 9, seed=seed)) for seed in range(2)])
    both = contrast_normalize(clips)
    for clip, result in zip(clips, both, strict=True):
        torch.testing.assert_close(contrast_normalize(clip), result)
        torch.testing.assert_close(contrast_normalize(clip * 0.2 + 0.1), result, atol=1e-5, rtol=1e-4)


def test_contrast_normalize_leaves_flat_clips_flat() -> None:
    assert (contrast_normalize(torch.full((4, 3, 5, 5), 0.25)) == 0).all()
    faint = torch.randn(4, 3, 16, 16, generator=generator()) * 0.001
    assert contrast_normalize(faint).std() == pytest.approx(0.001 * CONTRAST_STD / 0.01, rel=0.05)

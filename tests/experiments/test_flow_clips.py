"""Clips of precomputed flow: crops and mirror images of flow are the flow of cropped, mirrored frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.training_set import Augmentation, ClipKey, TrainingClips
from hidden_two_stream.experiments.baselines import BaselineModel
from hidden_two_stream.experiments.precomputed_flow import (
    FlowCache,
    FlowClips,
    FlowVideo,
    crop_flow,
    flip_flow,
)
from hidden_two_stream.motion.warp import warp
from hidden_two_stream.video.crops import Crop


def store_of(frames: Tensor) -> ClipCache:
    size = (frames.shape[-2], frames.shape[-1])
    video = DecodedVideo("a", len(frames), 0, size, None, None, frames)
    return ClipCache((Sample("a", "x"),), (video,), (), min(size))


def flow_of(store: ClipCache, flow: Tensor) -> FlowCache:
    return FlowCache(store.samples, (FlowVideo(store.videos[0], flow),), (), 0, 0.0)


def moving_texture(u: int, v: int, num_frames: int = 6, side: int = 48) -> tuple[Tensor, Tensor]:
    """Smooth periodic texture that moves by (u, v) px a frame: pictures uint8, and flow float16."""
    rng = np.random.default_rng(0)
    frequency = np.fft.fftfreq(side)
    envelope = np.exp(-(frequency[:, None] ** 2 + frequency**2) / 0.08**2)
    texture = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, side, side))) * envelope).real
    texture = 127 + 100 * texture / abs(texture).max()
    pictures = np.stack([np.roll(texture, (v * t, u * t), (1, 2)) for t in range(num_frames)])
    flow = torch.tensor([u, v], dtype=torch.float16).view(1, 2, 1, 1).expand(num_frames, 2, side, side)
    return torch.from_numpy(pictures).round().to(torch.uint8), flow.contiguous()


def test_a_crop_scales_values_by_its_own_sides() -> None:
    flow = torch.ones(2, 2, 30, 40, dtype=torch.float16)
    found = crop_flow(flow, Crop(3, 5, 12, 24), 48)
    assert found.shape == (2, 2, 48, 48)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found[:, 0], torch.full_like(found[:, 0], 2.0))
    torch.testing.assert_close(found[:, 1], torch.full_like(found[:, 1], 4.0))


def test_a_crop_takes_the_place_of_its_box() -> None:
    """u = column, v = row: after a crop without resizing they begin at the box."""
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    found = crop_flow(torch.stack((x, y))[None], Crop(2, 7, 16, 16), 16)[0]
    torch.testing.assert_close(found[0, 0], torch.arange(7.0, 23.0))
    torch.testing.assert_close(found[1, :, 0], torch.arange(2.0, 18.0))


def moved(second: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The first picture of a pair, by definition of flow: first[y, x] = second[y + v, x + u]."""
    _, h, w = flow.shape
    first = np.zeros_like(second)
    for y in range(h):
        for x in range(w):
            first[y, x] = second[(y + flow[1, y, x]) % h, (x + flow[0, y, x]) % w]
    return first


def test_flipped_flow_explains_the_flipped_pair() -> None:
    rng = np.random.default_rng(0)
    second = rng.integers(0, 256, (9, 12))
    flow = rng.integers(-3, 4, (2, 9, 12))
    first = moved(second, flow)
    flipped = flip_flow(torch.from_numpy(flow)).numpy()
    np.testing.assert_array_equal(moved(second[:, ::-1], flipped), first[:, ::-1])
    assert not np.array_equal(moved(second[:, ::-1], flow[:, :, ::-1]), first[:, ::-1])


def test_flip_values_and_flip_twice() -> None:
    flow = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])
    before = flow.clone()
    flipped = flip_flow(flow)
    torch.testing.assert_close(flipped, torch.tensor([[[-3.0, -2.0, -1.0]], [[6.0, 5.0, 4.0]]]))
    torch.testing.assert_close(flip_flow(flipped), flow)
    torch.testing.assert_close(flow, before)


@pytest.mark.parametrize("seed", range(6))
def test_augmented_flow_is_the_flow_of_augmented_pictures(seed: int) -> None:
    """The same key gives both; the second picture, warped by the flow, is the first."""
    pictures, flow = moving_texture(2, -1)
    how = Augmentation(size=32, crop_scales=(1.0, 0.75, 0.5), flip=True, color_jitter=0.0)
    store = store_of(pictures)
    clip = TrainingClips(store, [0], 4, 1, how)[ClipKey(0, seed)][0][0]
    given = FlowClips(flow_of(store, flow), [0], 4, 1, how)[ClipKey(0, seed)][0][0]
    assert clip.shape == (4, 3, 32, 32)
    assert given.shape == (4, 2, 32, 32)
    first, second = clip[:-1].float(), clip[1:].float()
    found = warp(second, given[:-1].float())
    inside = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    unlike = (second - first)[inside].abs().mean()
    assert (found - first)[inside].abs().mean() < 0.1 * unlike


def test_colour_changes_leave_flow_alone() -> None:
    pictures, flow = moving_texture(1, 1)
    cache = flow_of(store_of(pictures), flow)
    plain, jittered = (
        FlowClips(cache, [0], 3, 1, Augmentation(48, (1.0,), False, jitter))[ClipKey(0, 1)][0]
        for jitter in (0.0, 0.9)
    )
    assert torch.equal(plain, jittered)


def test_flow_enters_networks_in_pixels() -> None:
    flow = torch.tensor([-3.5, 0.25], dtype=torch.float16).view(1, 2, 1, 1)
    for normalize_contrast in ("false", "true"):
        recipe = load_recipe("nano", [f"input.normalize_contrast={normalize_contrast}"])
        found = BaselineModel("flow", recipe, 2).preprocess(flow)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, flow.float())

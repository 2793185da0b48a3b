"""Coarse to fine: sizes, composition of flows, and large motion found in small steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.coarse_to_fine import (
    CoarseToFine,
    _resized,
    compose_flows,
    pyramid_sides,
)
from hidden_two_stream.motion.warp import warp


@pytest.mark.parametrize(
    ("coarsest", "finest", "sides"),
    [
        (128, 16, [16]),
        (128, 128, [128]),
        (128, 180, [180]),
        (128, 182, [128, 182]),
        (128, 224, [128, 224]),
        (128, 362, [128, 362]),
        (128, 436, [128, 236, 436]),
        (128, 1024, [128, 256, 512, 1024]),
    ],
)
def test_sides(coarsest: int, finest: int, sides: list[int]) -> None:
    assert pyramid_sides(coarsest, finest) == sides


class Searching(nn.Module):
    """Finds one shift of the whole image, by trying all whole pixels up to `reach` in each direction."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.seen: list[tuple[int, ...]] = []

    def forward(self, frames: Tensor) -> list[Tensor]:
        first, second = frames[:, 0], frames[:, 1]
        self.seen.append(tuple(frames.shape))
        height, width = frames.shape[-2:]
        middle = (..., slice(20, height - 20), slice(20, width - 20))
        shifts = [
            (u, v) for u in range(-self.reach, self.reach + 1) for v in range(-self.reach, self.reach + 1)
        ]
        errors = torch.stack(
            [
                (second.roll((-v, -u), (-2, -1)) - first)[middle].abs().mean(dim=(-3, -2, -1))
                for u, v in shifts
            ]
        )
        best = torch.tensor(shifts, dtype=torch.float32)[errors.argmin(dim=0)]
        half = best[:, None, :, None, None] / 2  # px of a grid of half the size, like that of tiny
        return [half.expand(len(frames), 1, 2, height // 2, width // 2)]


def blobs(height: int, width: int) -> Tensor:
    """(3, H, W): noise that is smooth over 16 px and survives at a quarter of the size."""
    noise = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(noise, (height, width), mode="bicubic", align_corners=False)[0]


def test_shift_beyond_the_reach_of_the_network_is_found() -> None:
    """(10, −6) px at 256 × 320, by a network that finds 3 px at most."""
    image = blobs(256 + 32, 320 + 32)
    first, second = image[:, 16:-16, 16:-16], image[:, 16 + 6 : -16 + 6, 16 - 10 : -16 - 10]
    frames = torch.stack((torch.stack((first, second)), torch.stack((first, first))))
    network = Searching(3)
    (flow,) = CoarseToFine(network, 64)(frames)
    assert network.seen == [(2, 2, 3, 64, 80), (2, 2, 3, 128, 160), (2, 2, 3, 256, 320)]
    expected = torch.tensor([[10.0, -6.0], [0.0, 0.0]])[:, None, :, None, None] / 2
    torch.testing.assert_close(flow, expected.expand(2, 1, 2, 128, 160))
    alone = network(frames)[0]
    assert (alone[0] - flow[0]).abs().amax() > 3


def test_composed_flows_warp_like_one_after_the_other() -> None:
    """Against pixels looked up by hand: a flow that varies over the image, then a residual of (2, 1)."""
    flow = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (1, 2, 12, 15)).astype(np.float32))
    left = torch.tensor([2.0, 1.0])[None, :, None, None].expand(1, 2, 12, 15)
    joined = compose_flows(flow, left)[0].numpy()
    for y, x in ((3, 4), (5, 7), (8, 9)):
        u, v = flow[0, :, y + 1, x + 2].tolist()
        np.testing.assert_allclose(joined[:, y, x], (u + 2, v + 1), atol=1e-5)
    image = torch.rand(1, 1, 12, 15, generator=torch.Generator().manual_seed(1))
    twice, once = warp(warp(image, flow), left), warp(image, compose_flows(flow, left))
    torch.testing.assert_close(once[..., 3:-3, 4:-4], twice[..., 3:-3, 4:-4], atol=1e-5, rtol=1e-4)


def test_single_outliers_are_filtered_out() -> None:
    class Spoilt(nn.Module):
        def forward(self, frames: Tensor) -> list[Tensor]:
            flow = torch.ones(len(frames), 1, 2, 32, 32)
            flow[..., 9, 9] = 50.0
            return [flow]

    (flow,) = CoarseToFine(Spoilt(), 64)(torch.rand(1, 2, 3, 64, 64))
    assert torch.equal(flow, torch.ones(1, 1, 2, 32, 32))


def test_takes_pairs_and_a_size() -> None:
    with pytest.raises(UsageError, match=r"shape \(1, 3, 3, 64, 64\); expected \(B, 2, 3, H, W\)"):
        CoarseToFine(Searching(1), 64)(torch.rand(1, 3, 3, 64, 64))
    with pytest.raises(UsageError, match="coarsest is 0; expected at least 1 px"):
        CoarseToFine(Searching(1), 0)


def test_small_frames_are_filtered_against_aliasing() -> None:
    """Stripes of one pixel are gray at a third of the size, not black or white."""
    stripes = (torch.arange(63) % 2).float().expand(1, 2, 3, 63, 63)
    small = _resized(stripes, 21, 21)
    assert small.shape == (1, 2, 3, 21, 21)
    assert (small[..., 1:-1] - 0.5).abs().max() < 0.15
    assert _resized(stripes, 63, 63) is stripes

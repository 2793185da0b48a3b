"""Residual pairs: their flow against shifts known by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses import residual
from hidden_two_stream.motion.losses.distillation import teacher_loss
from hidden_two_stream.motion.losses.residual import (
    random_flow,
    residual_pairs,
    synthetic_pairs,
    warped_pairs,
)
from hidden_two_stream.motion.networks.tiny import TinyMotionNet
from hidden_two_stream.motion.warp import warp

SIZE = (48, 60)
INSIDE = (..., slice(8, -8), slice(8, -8))


def images(number: int = 3) -> torch.Tensor:
    return torch.rand(number, 3, *SIZE, generator=torch.Generator().manual_seed(1)) - 0.5


def shift(u: float, v: float, number: int = 3) -> torch.Tensor:
    return torch.tensor([float(u), float(v)]).view(1, 2, 1, 1).expand(number, 2, *SIZE).clone()


@pytest.fixture
def field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random flows are a shift of (2, −3) px."""
    monkeypatch.setattr(residual, "random_flow", lambda like, largest: shift(2, -3))


@pytest.fixture
def only_moved(field: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthetic pairs have no noise and no other light, and all of them move."""
    for name in ("NOISE", "RELIT", "STILL"):
        monkeypatch.setattr(residual, name, 0.0)


@pytest.mark.usefixtures("only_moved")
def test_a_synthetic_pair_is_an_image_and_itself_shifted() -> None:
    """first(x) = second(x + flow), for whole pixels: no interpolation hides a wrong sign or channel."""
    pairs, flow = synthetic_pairs(images())
    assert torch.equal(pairs[:, 1], images())
    assert torch.equal(flow, shift(2, -3))
    torch.testing.assert_close(pairs[:, 0][..., 3:, :-2], images()[..., :-3, 2:])


def test_some_images_stand_still_and_some_have_other_light() -> None:
    torch.manual_seed(0)
    pairs, flow = synthetic_pairs(images(400))
    still = (flow == 0).flatten(1).all(dim=1)
    assert 0.06 < still.float().mean() < 0.14
    apart = (pairs[:, 0] - pairs[:, 1])[still].flatten(1)
    relit = apart.std(dim=1) > 2 * residual.NOISE
    assert 0 < apart.std(dim=1).min() < residual.NOISE  # noise alone
    assert 0.1 < relit.float().mean() < 0.5


@pytest.mark.usefixtures("field")
def test_the_residual_of_a_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher's flow is (5, 1). The warp adds an error of (2, −3), which the residual reverses."""
    monkeypatch.setattr(residual, "WARPED", 1.0)
    frames = torch.stack((images(), images().flip(1)), dim=1)
    pairs, left = warped_pairs(frames, shift(5, 1))
    assert torch.equal(pairs[:, 0], frames[:, 0])
    torch.testing.assert_close(left, shift(-2, 3))
    torch.testing.assert_close(pairs[:, 1][..., 2:, :-7], frames[:, 1][..., :-2, 7:])  # warped by (7, −2)


def test_residual_and_approximate_flow_compose_to_the_flow() -> None:
    """Composed as residual(x) + approximate(x + residual(x))."""
    torch.manual_seed(3)
    frames = torch.stack((images(64), images(64)), dim=1)
    flow = random_flow(frames, 3.0)
    torch.manual_seed(4)
    chosen = torch.rand(64, 1, 1, 1) < residual.WARPED
    mistake = random_flow(flow, residual.ERROR_PX)
    torch.manual_seed(4)
    pairs, left = warped_pairs(frames, flow)
    so_far = chosen * (flow + mistake)
    apart = (left + warp(so_far, left) - flow)[INSIDE].square().sum(dim=1).sqrt()
    assert apart.quantile(0.99) < 0.05
    assert apart.mean() < 0.01
    assert left[INSIDE].abs().mean() < flow[INSIDE].abs().mean()
    as_it_was = ~chosen.flatten()
    assert torch.equal(pairs[as_it_was], frames[as_it_was])
    assert torch.equal(left[as_it_was], flow[as_it_was])
    assert 0.4 < chosen.float().mean() < 0.8


@pytest.mark.usefixtures("only_moved")
def test_pairs_lose_the_margin_that_was_there_for_warping() -> None:
    """Inside the margin, no pixel comes from outside the images."""
    frames = torch.stack((images(), images().flip(0)), dim=1)
    teacher = torch.full((3, 2, 12, 15), 1.0)  # a quarter of the size: (4, 4) px
    pairs, flow = residual_pairs(frames, teacher)
    assert pairs.shape == (6, 2, 3, 32, 40)
    assert flow.shape == (6, 1, 2, 32, 40)
    by_hand = images()[..., 5:37, 12:52]  # (2, −3) px beside the margins, 10 and 8
    torch.testing.assert_close(pairs[:3, 0], by_hand)
    assert all(tuple(each[0, :, 0, 0].tolist()) in {(4.0, 4.0), (-2.0, 3.0)} for each in flow[3:])


def test_a_random_flow_is_smooth_and_as_large_as_asked() -> None:
    torch.manual_seed(5)
    like = torch.zeros(600, 3, 64, 64)
    field = random_flow(like, 2.0)
    assert field.shape == (600, 2, 64, 64)
    # Standard deviation of a part: 2 · √(1/5) (mean square of u²) times √(1 + what the grids add).
    shifts = field.mean(dim=(2, 3))
    assert 0.8 < shifts.std() < 1.1
    assert field.diff(dim=3).abs().max() < 2.0
    assert field.diff(dim=3).abs().mean() < 0.06
    assert (field - shifts[..., None, None]).abs().mean() > 0.2  # parts move differently
    torch.testing.assert_close(random_flow(like, 0.0), torch.zeros(600, 2, 64, 64))
    torch.manual_seed(5)
    assert torch.equal(random_flow(like, 2.0), field)


@pytest.mark.slow
def test_a_network_learns_the_residual() -> None:
    """On random textures; on other ones its flow is far closer to the truth than zero flow."""

    def frames(number: int) -> torch.Tensor:
        parts = [
            strength * functional.interpolate(torch.randn(number, 3, cells, cells), (72, 72), mode="bicubic")
            for cells, strength in ((8, 0.3), (18, 0.15), (36, 0.08))
        ]
        return torch.stack(parts).sum(dim=0).clamp(-0.5, 0.5)[:, None].expand(-1, 2, -1, -1, -1)

    def training_pairs(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return residual_pairs(frames(number), torch.zeros(number, 2, 9, 9))  # no motion

    torch.manual_seed(0)
    network = TinyMotionNet(2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    others, truth = training_pairs(32)
    for _ in range(300):
        pairs, left = training_pairs(4)
        optimizer.zero_grad()
        teacher_loss(network(pairs), left, pairs.shape[-1], 0.01).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        found = resize_flow(network(others)[0], *truth.shape[-2:])
    apart, zero = ((flow - truth).square().sum(dim=2).sqrt().mean() for flow in (found, 0 * truth))
    assert zero > 0.5
    assert apart < 0.6 * zero


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(UsageError, match="largest is -1"):
        random_flow(images(), -1)
    with pytest.raises(UsageError, match=r"3, 3, 32, 32.*2"):
        residual_pairs(torch.zeros(1, 3, 3, 32, 32), torch.zeros(1, 2, 32, 32))

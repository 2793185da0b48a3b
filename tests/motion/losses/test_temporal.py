"""Constant velocity along the motion: analytic flows and slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from hidden_two_stream.motion.losses.paper import border_mask
from hidden_two_stream.motion.losses.temporal import temporal_loss

REST = 0.1  # (0 + ε²)^0.5, the penalty of no change


def loss(flow: torch.Tensor) -> float:
    return temporal_loss(flow, border_mask(flow, 0.1), 0.1, 0.5).item()


def translation(*velocities: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(velocities).view(1, -1, 2, 1, 1).expand(1, -1, 2, 16, 20).contiguous()


def test_a_constant_translation_costs_nothing() -> None:
    assert loss(translation((1.5, -2.0), (1.5, -2.0), (1.5, -2.0))) == pytest.approx(REST)


def test_a_change_of_velocity_costs_its_size() -> None:
    """u changes by 3 between the first two pairs, v by 4; the mean is over pairs, u and v."""
    found = loss(translation((0, 0), (3, 4), (3, 4)))
    mask = np.zeros((16, 20))
    mask[2:14, 2:18] = 1
    later = mask.copy()
    later[:, 17:] = later[12:, :] = 0  # (3, 4) px leave the image there
    first = (np.hypot(3, 0.1) + np.hypot(4, 0.1)) / 2
    expected = (mask.sum() * first + later.sum() * REST) / (mask.sum() + later.sum())
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_moving_object_is_compared_with_itself_and_not_with_what_comes_to_its_place() -> None:
    flow = torch.zeros(1, 2, 2, 24, 40)
    for t in range(2):
        flow[0, t, 0, 8:16, 10 + 4 * t : 18 + 4 * t] = 4
    mask = torch.zeros(24, 40)
    mask[8:16, 10:18] = 1  # the object in frame t
    assert temporal_loss(flow, mask, 0.1, 0.5).item() == pytest.approx(REST)
    in_place = (flow[:, 0] - flow[:, 1])[0, 0, 8:16, 10:18].abs().mean()
    assert in_place > 1


def test_agrees_with_slow_loops() -> None:
    """Whole-pixel motion, so that no interpolation is needed."""
    rng = np.random.default_rng(0)
    flow = rng.integers(-3, 4, size=(2, 3, 2, 11, 13)).astype(np.float64)
    penalties = []
    for b, t, y, x in itertools.product(range(2), range(2), range(1, 10), range(1, 12)):
        u, v = flow[b, t, :, y, x].astype(int)
        if 0 <= y + v < 11 and 0 <= x + u < 13:
            change = flow[b, t, :, y, x] - flow[b, t + 1, :, y + v, x + u]
            penalties.append(np.mean((change**2 + 0.01) ** 0.5))
    assert loss(torch.from_numpy(flow)) == pytest.approx(float(np.mean(penalties)), rel=1e-10)


def test_two_frames_have_no_neighboring_pairs() -> None:
    assert loss(torch.randn(2, 1, 2, 8, 8)) == 0


def test_gradients_agree_with_finite_differences_of_the_later_flow() -> None:
    """And of the earlier flow with a uniform later one, where the fixed position has no influence."""
    now, even = (translation(velocity)[..., :6, :8].double() for velocity in ((0.3, -0.6), (1.0, 0.5)))
    later = torch.randn(1, 1, 2, 6, 8).double()
    mask = border_mask(now, 0.1)

    def of_later(moved: torch.Tensor) -> torch.Tensor:
        return temporal_loss(torch.cat((now, moved), dim=1), mask, 0.1, 0.5)

    def of_now(moved: torch.Tensor) -> torch.Tensor:
        return temporal_loss(torch.cat((moved, even), dim=1), mask, 0.1, 0.5)

    assert torch.autograd.gradcheck(of_later, (later.requires_grad_(),))
    assert torch.autograd.gradcheck(of_now, (now.requires_grad_(),))


def test_a_single_pair_costs_nothing() -> None:
    assert loss(translation((1.5, -2.0))) == 0

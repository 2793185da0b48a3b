"""The temporal stream as a sequence: windows about the moving part, cached pairs, and time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.sequence import (
    FLOW_CHANNELS,
    SequenceStream,
    flow_channels,
    motion_windows,
)
from hidden_two_stream.weights.motion import load_motion_weights


def lively(motion: str = "nano", num_frames: int = 11) -> HiddenTwoStream:
    """Random weights and statistics, in evaluation mode."""
    torch.manual_seed(0)
    model = HiddenTwoStream(motion, "small", 5, num_frames, temporal="sequence", streams=("temporal",))
    if motion == "nano":
        load_motion_weights(model.motion_net, "nano")
    for module in model.temporal_stream.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    torch.nn.init.normal_(model.temporal_stream.fc.weight, std=0.3)  # type: ignore[union-attr,arg-type]
    return model.eval()


def moving_square(top: int, left: int, side: int, shape: tuple[int, int] = (32, 32)) -> Tensor:
    """Flow (1, 2, h, w): the square moves by (23, −8), the rest by (3, 2), as before a panning camera."""
    flow = torch.empty(1, 2, *shape)
    flow[:, 0], flow[:, 1] = 3.0, 2.0
    flow[:, 0, top : top + side, left : left + side] += 20.0
    flow[:, 1, top : top + side, left : left + side] -= 10.0
    return flow


# --- channels and windows


def test_flow_channels_keep_components_and_points_apart() -> None:
    flow = torch.arange(2 * 4 * 6, dtype=torch.float32).reshape(1, 2, 4, 6)
    channels = flow_channels(flow)
    assert channels.shape == (1, FLOW_CHANNELS, 2, 3)
    for component in (0, 1):
        for y in (0, 1):
            for x in (0, 1):
                expected = flow[:, component, y::2, x::2]
                torch.testing.assert_close(channels[:, 4 * component + 2 * y + x], expected)
    odd = flow_channels(flow[..., :3, :5])
    assert odd.shape == (1, FLOW_CHANNELS, 2, 3)
    torch.testing.assert_close(odd[0, 2], odd[0, 0].where(torch.tensor([[False], [True]]), odd[0, 2]))


def test_windows_lie_about_the_part_that_moves_apart_from_the_camera() -> None:
    """Against plain NumPy: moments of the square, then nine Gaussians."""
    top, left, side = 8, 18, 8
    rows, columns = motion_windows(flow_channels(moving_square(top, left, side)), 16, 16)
    centers = (np.arange(16) + 0.5) / 16
    inside_y = centers[top // 2 : (top + side) // 2]
    inside_x = centers[left // 2 : (left + side) // 2]
    spread = max(np.std(inside_y), np.std(inside_x), 0.08)
    for found, inside in ((rows[0], inside_y), (columns[0], inside_x)):
        for number, offset in enumerate((-1.2, 0.0, 1.2)):
            gauss = np.exp(-0.5 * ((centers - inside.mean() - offset * spread) / (0.6 * spread)) ** 2)
            np.testing.assert_allclose(found[number].numpy(), gauss / gauss.sum(), atol=2e-3)


def test_windows_follow_the_moving_part() -> None:
    here = motion_windows(flow_channels(moving_square(4, 6, 8)), 16, 16)
    there = motion_windows(flow_channels(moving_square(14, 16, 8)), 16, 16)  # 10 points further: 5 cells
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(
            one[:, 1, :11].roll(5, dims=1)[:, 5:], other[:, 1, 5:11], atol=2e-3, rtol=0
        )


def test_windows_without_motion_cover_the_whole_frame() -> None:
    rows, columns = motion_windows(flow_channels(torch.full((1, 2, 32, 32), 1.5)), 8, 8)
    for windows in (rows, columns):
        assert (windows[0].sum(dim=0) > 0.1).all()
        torch.testing.assert_close(windows.sum(dim=2), torch.ones(1, 3))


@pytest.mark.parametrize("grid", [(8, 8), (5, 9), (1, 1)])
def test_windows_on_any_grid_are_finite_and_sum_to_one(grid: tuple[int, int]) -> None:
    flow = torch.randn(3, 2, 10, 18) * 100
    for windows in motion_windows(flow_channels(flow), *grid):
        assert windows.isfinite().all()
        torch.testing.assert_close(windows.sum(dim=2), torch.ones(3, 3))


# --- pairs and time


def test_cached_pairs_give_the_scores_of_whole_windows() -> None:
    """As a stream of frames would: each pair alone, and each window from the vectors of its pairs."""
    model = lively()
    frames = torch.rand(1, 16, 3, 64, 64) - 0.5
    with torch.no_grad():
        cached = torch.cat([model.pair_vectors(frames[:, t : t + 2]) for t in range(15)], dim=1)
        for start in range(6):
            whole = model.temporal(frames[:, start : start + 11])
            steps = model.step_logits(cached[:, start : start + 10])
            assert steps.shape == (1, 10, 5)
            torch.testing.assert_close(steps.mean(dim=1), whole, atol=1e-5, rtol=1e-5)
    assert whole.std() > 0.01


def test_the_order_of_the_pairs_matters() -> None:
    model = lively()
    vectors = torch.randn(2, 10, 128)
    with torch.no_grad():
        assert not torch.allclose(
            model.step_logits(vectors).mean(dim=1), model.step_logits(vectors.flip(1)).mean(dim=1), atol=1e-3
        )


def test_a_step_sees_seven_pairs_on_each_side() -> None:
    model = lively()
    vectors = torch.randn(1, 24, 128)
    changed = vectors.clone()
    changed[:, 12] += 1
    with torch.no_grad():
        moved = (model.step_logits(vectors) - model.step_logits(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(5, 20))


@pytest.mark.parametrize("motion_frames", [0, 2])
@pytest.mark.parametrize("motion", ["nano", "tiny"])
def test_shapes_and_one_forward_pass(motion: str, motion_frames: int) -> None:
    torch.manual_seed(0)
    model = HiddenTwoStream(
        motion, "small", 5, 5, temporal="sequence", streams=("temporal",), motion_frames=motion_frames
    ).eval()
    for height, width in ((32, 32), (33, 47)):
        frames = torch.rand(2, 5, 3, height, width) - 0.5
        with torch.no_grad():
            pyramid, logits = model.motion_and_temporal(frames)
            torch.testing.assert_close(logits, model.temporal(frames))
            torch.testing.assert_close(pyramid[0], model.motion(frames)[0])
            assert model.pair_vectors(frames).shape == (2, 4, 128)
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()


def test_other_streams_have_no_pair_vectors() -> None:
    model = HiddenTwoStream("nano", "small", 5, temporal="branched")
    with pytest.raises(UsageError, match="'branched'; expected 'sequence'"):
        model.pair_vectors(torch.zeros(1, 11, 3, 32, 32))


def test_gradients_reach_every_layer() -> None:
    stream = SequenceStream(FLOW_CHANNELS + 4, 3, 0.0)
    stream(torch.randn(4, 10, FLOW_CHANNELS + 4, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in stream.parameters())

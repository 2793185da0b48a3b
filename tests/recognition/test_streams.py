"""The hand-over of flow against slow loops of the reference's steps, and what each stream gets to see."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from hidden_two_stream.recognition.streams import FLOW_LIMIT_PX, SpatialStream, TemporalStream, hand_over

Array = npt.NDArray[np.float64]


def slow_hand_over(flow: Array, rows: int, columns: int) -> Array:
    """(T − 1, 2, h, w) px of a grid that is `rows` × `columns` times coarser → (2 (T − 1), H, W).

    The reference's steps, pixel by pixel: to pixels of the input, clamp to ±20, + 20, × 6.375, bilinear
    to the input's size, − 128.
    """
    pairs, _, h, w = flow.shape
    levels = np.zeros((2 * pairs, h, w))
    for t, y, x in itertools.product(range(pairs), range(h), range(w)):
        for c, factor in enumerate((columns, rows)):
            pixels = min(max(flow[t, c, y, x] * factor, -20.0), 20.0)
            levels[2 * t + c, y, x] = (pixels + 20) * 6.375
    result = np.full((2 * pairs, h * rows, w * columns), -128.0)
    for y, x in itertools.product(range(h * rows), range(w * columns)):
        row = min(max((y + 0.5) / rows - 0.5, 0.0), h - 1.0)
        column = min(max((x + 0.5) / columns - 0.5, 0.0), w - 1.0)
        top, left = math.floor(row), math.floor(column)
        for i, j in itertools.product((top, top + 1), (left, left + 1)):
            weight = (1 - abs(row - i)) * (1 - abs(column - j))
            if weight > 0:
                result[:, y, x] += weight * levels[:, i, j]
    return result


def lively(stream: nn.Module) -> nn.Module:
    """In evaluation mode, with a head whose scores differ visibly."""
    with torch.no_grad():
        for module in stream.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_()
    return stream.eval()


# --- hand-over


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (4, 4), (1, 1), (2, 3)])
@pytest.mark.parametrize(("batch", "pairs", "h", "w"), [(1, 1, 1, 1), (2, 3, 5, 4), (1, 2, 3, 7)])
def test_hand_over_agrees_with_slow_loops(
    rows: int, columns: int, batch: int, pairs: int, h: int, w: int
) -> None:
    """×2 as in the reference, ×4 for nano; a third of the flows is beyond the limit."""
    flow = np.random.default_rng(0).normal(scale=20 / columns, size=(batch, pairs, 2, h, w))
    handed = hand_over(torch.from_numpy(flow), h * rows, w * columns)
    assert handed.shape == (batch, 2 * pairs, h * rows, w * columns)
    expected = np.stack([slow_hand_over(clip, rows, columns) for clip in flow])
    np.testing.assert_allclose(handed.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("flow_px", "expected"),
    [(0.0, -0.5), (20.0, 127.0), (-20.0, -128.0), (35.0, 127.0), (-1e4, -128.0), (10.0, 63.25)],
)
def test_values_of_the_hand_over(flow_px: float, expected: float) -> None:
    """Pixels of the input, so half as much on the half-size grid: 0…255 less 128."""
    flow = torch.zeros(1, 1, 2, 4, 4, dtype=torch.float64)
    flow[:, :, 0] = flow_px / 2
    handed = hand_over(flow, 8, 8)
    assert FLOW_LIMIT_PX == 20
    torch.testing.assert_close(handed[:, 0], torch.full((1, 8, 8), expected).double())
    torch.testing.assert_close(handed[:, 1], torch.full((1, 8, 8), -0.5).double())


def test_another_limit_spreads_over_the_same_range() -> None:
    flow = torch.tensor([-6.0, -5.0, 0.0, 5.0, 6.0]).view(1, 1, 1, 1, 5).expand(1, 1, 2, 5, 5)
    handed = hand_over(flow, 5, 5, limit_px=5.0)
    assert handed[0, 0, 0].tolist() == pytest.approx([-128, -128, -0.5, 127, 127])


def test_channels_are_u_and_v_of_each_pair_in_turn() -> None:
    flow = torch.arange(6.0).view(1, 3, 2, 1, 1).expand(1, 3, 2, 4, 4)
    means = hand_over(flow, 4, 4).mean(dim=(0, 2, 3))
    assert means.tolist() == pytest.approx([value * 6.375 - 0.5 for value in range(6)], abs=1e-3)


def test_gradient_passes_to_the_flow() -> None:
    generator = torch.Generator().manual_seed(0)
    flow = 4 * torch.randn(1, 2, 2, 3, 4, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda f: hand_over(f, 6, 8), (flow.requires_grad_(),))


def test_gradient_is_cut_beyond_the_limit() -> None:
    """Inside: 6.375 levels a pixel, × 2 px of input for one of the grid, × 4 pixels that come from one."""
    flow = torch.zeros(1, 1, 2, 4, 4, dtype=torch.float64)
    flow[0, 0, 0, 1, 1], flow[0, 0, 1, 2, 2] = 10.5, -10.5
    flow.requires_grad_()
    hand_over(flow, 8, 8).sum().backward()
    assert flow.grad is not None
    expected = torch.full((1, 1, 2, 4, 4), 6.375 * 2 * 4, dtype=torch.float64)
    expected[0, 0, 0, 1, 1] = expected[0, 0, 1, 2, 2] = 0
    torch.testing.assert_close(flow.grad, expected)


# --- streams


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_temporal_stream_is_its_backbone_on_the_handed_flow(backbone: str) -> None:
    torch.manual_seed(0)
    stream = lively(TemporalStream(backbone, num_frames=4, num_classes=5, dropout=0.5))
    flow = torch.randn(2, 3, 2, 16, 12)
    channels = torch.from_numpy(np.stack([slow_hand_over(clip, 2, 2) for clip in flow.double().numpy()]))
    with torch.no_grad():
        logits = stream(flow, 32, 24)
        expected = stream.get_submodule("backbone")(channels.float())
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits, expected, atol=1e-2, rtol=1e-3)


def test_temporal_stream_sees_every_pair_and_component() -> None:
    torch.manual_seed(0)
    stream = lively(TemporalStream("small", num_frames=4, num_classes=5, dropout=0.5))
    flow = torch.randn(1, 3, 2, 8, 8)
    with torch.no_grad():
        logits = stream(flow, 16, 16)
        for pair, component in itertools.product(range(3), range(2)):
            changed = flow.clone()
            changed[:, pair, component] += 3
            assert (stream(changed, 16, 16) - logits).abs().max() > 1e-3


def test_loss_of_the_temporal_stream_reaches_the_flow() -> None:
    torch.manual_seed(0)
    stream = lively(TemporalStream("small", num_frames=3, num_classes=5, dropout=0.5))
    flow = torch.randn(2, 2, 2, 16, 16, requires_grad=True)
    nn.functional.cross_entropy(stream(flow, 32, 32), torch.tensor([0, 3])).backward()
    assert flow.grad is not None
    assert (flow.grad.abs().amax(dim=(3, 4)) > 0).all()


@pytest.mark.parametrize(("num_frames", "middle"), [(1, 0), (2, 1), (3, 1), (10, 5), (11, 5)])
def test_spatial_stream_sees_the_middle_frame_alone(num_frames: int, middle: int) -> None:
    torch.manual_seed(0)
    stream = lively(SpatialStream("small", num_classes=4, dropout=0.5))
    frames = torch.randn(2, num_frames, 3, 20, 28)

    def logits(clip: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = stream(clip)
        return result

    before = logits(frames)
    assert before.shape == (2, 4)
    with torch.no_grad():
        torch.testing.assert_close(stream.get_submodule("backbone")(frames[:, middle]), before)
    for t in range(num_frames):
        changed = frames.clone()
        changed[:, t] = torch.randn(2, 3, 20, 28)
        assert torch.equal(logits(changed), before) == (t != middle)

"""The hand-over of flow against slow loops of the reference's steps, and what each stream gets to see."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.recognition.backbones import SmallNet
from hidden_two_stream.recognition.hand_over import FLOW_LIMIT_PX, Border, hand_over
from hidden_two_stream.recognition.streams import ActionBranch, SpatialStream, TemporalStream

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


@pytest.mark.parametrize("border", ["edge", "reference"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_round_flow_to_levels(dtype: torch.dtype, border: Border) -> None:
    """On the way, flow lies near level 128, where bfloat16 has whole steps: a sixth of a pixel."""
    flow = torch.rand(1, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).sub(0.5).to(dtype)
    handed = hand_over(flow, 16, 16, border=border)
    expected = hand_over(flow.double(), 16, 16, border=border)
    assert handed.dtype == dtype
    torch.testing.assert_close(handed.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)


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


# --- the reference's border


def levels_of(flow: Tensor, height: int, width: int) -> Tensor:
    """(B, T − 1, 2, h, w) px of its own grid → (B, 2 (T − 1), h, w) in 0…255."""
    u = flow[:, :, 0] * (width / flow.shape[-1])
    v = flow[:, :, 1] * (height / flow.shape[-2])
    pixels = torch.stack((u, v), dim=2).flatten(1, 2)
    return (torch.minimum(torch.maximum(pixels, torch.tensor(-20.0)), torch.tensor(20.0)) + 20) * 6.375


def caffe_upsampling(x: Tensor) -> Tensor:
    """Deconvolution ×2 with Caffe's bilinear filler: kernel 4, stride 2, pad 1, one group per channel."""
    factor, centre = 2, (2 * 2 - 1 - 2 % 2) / (2 * 2)
    profile = torch.tensor([1 - abs(i / factor - centre) for i in range(4)], dtype=x.dtype)
    assert profile.tolist() == [0.25, 0.75, 0.75, 0.25]
    kernel = torch.outer(profile, profile).expand(x.shape[1], 1, 4, 4)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


@pytest.mark.parametrize(("h", "w"), [(4, 4), (1, 1), (3, 8), (16, 12)])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 3e-4)])
def test_reference_border_is_the_references_deconvolution(
    h: int, w: int, dtype: torch.dtype, atol: float
) -> None:
    flow = 8 * torch.randn(2, 3, 2, h, w, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = caffe_upsampling(levels_of(flow, 2 * h, 2 * w)) - 128
    handed = hand_over(flow, 2 * h, 2 * w, border="reference")
    assert handed.shape == (2, 6, 2 * h, 2 * w)
    torch.testing.assert_close(handed, expected, atol=atol, rtol=0)


def test_reference_border_at_the_size_of_the_paper() -> None:
    """112 → 224 in single precision: coordinates are rounded, so to a hundredth of a grey level."""
    flow = 8 * torch.randn(1, 1, 2, 112, 112, generator=torch.Generator().manual_seed(0))
    expected = caffe_upsampling(levels_of(flow, 224, 224)) - 128
    torch.testing.assert_close(hand_over(flow, 224, 224, border="reference"), expected, atol=1e-2, rtol=0)


def test_reference_border_darkens_the_outermost_pixels_alone() -> None:
    """No motion is 127.5: three quarters of it at the edges, nine sixteenths in the corners."""
    still = hand_over(torch.zeros(1, 1, 2, 4, 6, dtype=torch.float64), 8, 12, border="reference")[0, 0] + 128
    expected = torch.full((8, 12), 127.5, dtype=torch.float64)
    expected[[0, -1], :] *= 0.75
    expected[:, [0, -1]] *= 0.75
    torch.testing.assert_close(still, expected)
    flow = 8 * torch.randn(1, 2, 2, 5, 7, dtype=torch.float64)
    edge, reference = hand_over(flow, 10, 14), hand_over(flow, 10, 14, border="reference")
    torch.testing.assert_close(reference[..., 1:-1, 1:-1], edge[..., 1:-1, 1:-1])
    assert (reference[..., 0, :] - edge[..., 0, :]).abs().max() > 1


def slow_over_zeros(flow: Array, height: int, width: int) -> Array:
    """As `slow_hand_over`, but to any size, and nothing but zeros beyond the border."""
    pairs, _, h, w = flow.shape
    result = np.zeros((2 * pairs, height, width))
    for t, c in itertools.product(range(pairs), range(2)):
        levels = (np.clip(flow[t, c] * (width / w, height / h)[c], -20, 20) + 20) * 6.375
        for y, x in itertools.product(range(height), range(width)):
            row, column = (y + 0.5) * h / height - 0.5, (x + 0.5) * w / width - 0.5
            top, left = math.floor(row), math.floor(column)
            for i, j in itertools.product((top, top + 1), (left, left + 1)):
                if 0 <= i < h and 0 <= j < w:
                    weight = (1 - abs(row - i)) * (1 - abs(column - j))
                    result[2 * t + c, y, x] += weight * levels[i, j]
    return result - 128


@pytest.mark.parametrize(
    ("h", "w", "height", "width"),
    [(3, 4, 12, 16), (4, 5, 7, 9), (3, 3, 11, 9), (2, 7, 8, 13), (1, 1, 3, 5), (4, 4, 4, 4)],
)
def test_reference_border_at_other_ratios(h: int, w: int, height: int, width: int) -> None:
    flow = np.random.default_rng(1).normal(scale=5, size=(2, 2, 2, h, w))
    handed = hand_over(torch.from_numpy(flow), height, width, border="reference")
    expected = np.stack([slow_over_zeros(clip, height, width) for clip in flow])
    np.testing.assert_allclose(handed.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 11)])
def test_gradient_passes_over_the_reference_border(height: int, width: int) -> None:
    flow = torch.randn(1, 2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda f: hand_over(f, height, width, border="reference"), (flow.requires_grad_(),)
    )


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


def test_temporal_stream_hands_over_with_its_border() -> None:
    torch.manual_seed(0)
    flow = torch.randn(1, 2, 2, 8, 8)
    seen = {}
    for border in ("edge", "reference"):
        stream = TemporalStream("small", 3, 5, 0.5, border=border).eval()  # type: ignore[arg-type]
        stream.get_submodule("backbone").register_forward_pre_hook(
            lambda module, args, border=border: seen.update({border: args[0]})
        )
        with torch.no_grad():
            stream(flow, 16, 16)
    expected = caffe_upsampling(levels_of(flow, 16, 16)) - 128
    torch.testing.assert_close(seen["reference"], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen["edge"], hand_over(flow, 16, 16))


def test_inflated_stream_has_u_and_v_as_channels_and_pairs_as_time() -> None:
    """(B, 2, T − 1, H, W): channel c at time t is component c of pair t, so permuted pairs permute time."""
    torch.manual_seed(0)
    stream = TemporalStream("small", num_frames=5, num_classes=3, dropout=0.5, inflated=True).eval()
    first = next(module for module in stream.modules() if isinstance(module, nn.BatchNorm3d))
    assert first.num_features == 2
    volumes: list[Tensor] = []
    stream.get_submodule("backbone").register_forward_pre_hook(lambda module, args: volumes.append(args[0]))
    flow = torch.randn(2, 4, 2, 6, 8)
    order = [2, 0, 3, 1]
    with torch.no_grad():
        logits, permuted = stream(flow, 12, 16), stream(flow[:, order], 12, 16)
    assert logits.shape == (2, 3)
    assert volumes[0].shape == (2, 2, 4, 12, 16)
    for t, c in itertools.product(range(4), range(2)):
        alone = hand_over(flow[:, t : t + 1], 12, 16)[:, c]
        torch.testing.assert_close(volumes[0][:, c, t], alone, atol=1e-4, rtol=0)
    assert torch.equal(volumes[1], volumes[0][:, :, order])
    assert not torch.allclose(logits, permuted, atol=1e-5)


# --- action branch


def test_action_branch_computes_what_its_description_says() -> None:
    """Twice 3×3 convolution, batch normalisation, ReLU; mean over space; linear."""
    torch.manual_seed(0)
    branch = ActionBranch(6, 32, "resnet18", 5, 0.5).eval()
    state = branch.state_dict()
    with torch.no_grad():
        for key, tensor in state.items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("bias", "running_mean", "9.weight")):
                tensor.normal_(std=0.3)
    features = torch.randn(2, 6, 5, 3)
    x = features
    convolutions = [key for key, tensor in state.items() if tensor.ndim == 4]
    assert [tuple(state[key].shape) for key in convolutions] == [(256, 6, 3, 3), (256, 256, 3, 3)]
    for index in (0, 3):
        x = functional.conv2d(x, state[f"layers.{index}.weight"], padding=1)
        mean, variance, weight, bias = (
            state[f"layers.{index + 1}.{key}"].view(-1, 1, 1)
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)
    expected = x.mean(dim=(2, 3)) @ state["layers.9.weight"].T + state["layers.9.bias"]
    with torch.no_grad():
        torch.testing.assert_close(branch(features), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("stride", "side"), [(8, 4), (16, 8), (32, 16), (64, 16)])
def test_small_branch_is_small_net_down_to_a_thirty_second(stride: int, side: int) -> None:
    torch.manual_seed(0)
    network = ActionBranch(6, stride, "small", 5, 0.5).eval().layers
    assert isinstance(network, SmallNet)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 4]
    assert shapes == [(64, 6, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (192, 128, 3, 3)]
    maps: list[Tensor] = []
    network.features.register_forward_hook(lambda module, args, output: maps.append(output))
    with torch.no_grad():
        assert network(torch.randn(2, 6, 16, 16)).shape == (2, 5)
    assert maps[0].shape == (2, 192, side, side)


def test_vgg16_branch_is_the_classifier_of_vgg16() -> None:
    """512 channels, pooled to 7×7: fc6, fc7 and fc8, each with its own dropout before the next."""
    with torch.device("meta"):
        branch = ActionBranch(512, 32, "vgg16", 101, 0.9)
        logits = branch(torch.empty(2, 512, 3, 9))
    assert logits.shape == (2, 101)
    shapes = [tuple(p.shape) for p in branch.parameters() if p.ndim == 2]
    assert shapes == [(4096, 512 * 7 * 7), (4096, 4096), (101, 4096)]
    rates = [module.p for module in branch.modules() if isinstance(module, nn.Dropout)]
    assert rates == pytest.approx([0.9, 0.8])

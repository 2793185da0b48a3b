"""Every motion network by name: the units and the order of its flow, and the inputs that it rejects."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import MOTION_NETWORKS, PAIRWISE, build_motion

STRIDES = {
    "full": (2, 4, 8, 16, 32),
    "tiny": (2, 4, 8),
    "vgg16": (2, 4, 8, 16, 32),
    "resnet50": (2, 4, 8, 16, 32),
    "flownets": (4, 8, 16, 32, 64),
}
"""Of the flows of each network that stacks its frames, finest first."""


def constant(name: str, num_frames: int) -> nn.Module:
    """All weights zero: raw output c of pair t is its bias, 0.1 + 0.2 (2t + c), at every level."""
    with torch.device("meta"):
        network = build_motion(name, num_frames).eval()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.zero_()
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d) and ("conv_pr" in name or "predict_flow" in name):
                assert module.bias is not None
                module.bias.copy_(0.1 + 0.2 * torch.arange(2 * (num_frames - 1)))
    return network


@pytest.mark.parametrize(("height", "width"), [(64, 128), (50, 29)])
@pytest.mark.parametrize("name", list(STRIDES))
def test_raw_output_times_twenty_is_pixels_of_the_input(name: str, height: int, width: int) -> None:
    """u is in columns of the level and v in rows, for each pair in order, at every level and size."""
    network = constant(name, 3)
    with torch.no_grad():
        pyramid = network(torch.randn(1, 3, 3, height, width))
    raw = torch.tensor([[0.1, 0.3], [0.5, 0.7]])
    for flow, stride in zip(pyramid, STRIDES[name], strict=True):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        expected = 20 * raw * torch.tensor([columns / width, rows / height])
        assert flow.shape == (1, 2, 2, rows, columns)
        torch.testing.assert_close(flow, expected.view(1, 2, 2, 1, 1).expand_as(flow))


def test_nano_predicts_pixels_of_its_levels() -> None:
    """Each level doubles the coarser flow and adds its prediction, here the same for 2×2 points."""
    network = build_motion("nano", 3)
    with torch.no_grad():
        for level, value in (("refine4", 0.25), ("refine3", 0.5), ("refine2", -0.125)):
            network.get_parameter(f"{level}.step_gain").zero_()
            network.get_parameter(f"{level}.predict.weight").zero_()
            network.get_parameter(f"{level}.predict.bias").copy_(
                torch.tensor([value, -3 * value]).repeat_interleave(4)
            )
        pyramid = network(torch.rand(1, 3, 3, 16, 32))  # enlarged four times
    u = [0.25, 2 * 0.25 + 0.5, 2 * (2 * 0.25 + 0.5) - 0.125]
    for flow, value, stride in zip(reversed(pyramid), u, (4, 2, 1), strict=True):
        assert flow.shape == (1, 2, 2, 16 // stride, 32 // stride)
        expected = torch.tensor([value, -3 * value]).view(2, 1, 1).expand_as(flow)
        torch.testing.assert_close(flow, expected, atol=1e-5, rtol=1e-5)


def test_nano_keeps_the_pairs_in_order() -> None:
    """A new frame 2 changes the flow of pairs 1 and 2 only."""
    torch.manual_seed(0)
    network = build_motion("nano", 5)
    with torch.no_grad():
        network.get_parameter("refine2.predict.weight").normal_(std=0.2)
        network.get_parameter("refine2.step_gain").fill_(1.0)
        frames = torch.rand(1, 5, 3, 32, 32)
        before = network(frames)[0]
        frames[:, 2] = torch.rand(1, 3, 32, 32)
        changed = (network(frames)[0] - before).abs().amax(dim=(0, 2, 3, 4)) > 1e-4
    assert changed.tolist() == [False, True, True, False]


def test_every_member_is_known_here() -> None:
    assert set(MOTION_NETWORKS) == set(STRIDES) | {"nano", "nano-fine"}


@pytest.mark.parametrize("name", MOTION_NETWORKS)
@pytest.mark.parametrize(
    "shape",
    [(1, 4, 3, 64, 64), (1, 1, 3, 64, 64), (3, 3, 64, 64), (3, 64, 64), (1, 3, 1, 64, 64), (1, 3, 3, 64, 0)],
)
def test_frames_of_another_shape_are_rejected(name: str, shape: tuple[int, ...]) -> None:
    network = build_motion(name, 3)
    frames = torch.rand(shape)
    if name in PAIRWISE and shape == (1, 4, 3, 64, 64):
        assert network(frames)[0].shape[1] == 3
        return
    expected = "(B, T, 3, H, W) with T ≥ 2" if name in PAIRWISE else "(B, 3, 3, H, W)"
    with pytest.raises(UsageError) as caught:
        network(frames)
    assert str(caught.value) == f"got frames of shape {shape}; expected {expected}"

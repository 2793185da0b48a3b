"""Inflation over time: a still video gives the features of its frame, and parameter names stay."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hidden_two_stream.convnets import resnet_pyramid
from hidden_two_stream.recognition.backbones import VGG16, build_backbone, inflate

TEMPORAL_LAYERS = {"small": 4, "resnet18": 17, "resnet50": 17, "vgg16": 13}
"""Convolutions larger than 1×1 from input to pooling: each widens the view by one frame on both sides.

ResNets have the stem, and 2 in each of 8 basic blocks or 1 in each of 16 bottlenecks.
"""

NAMES = list(TEMPORAL_LAYERS)


def flat(name: str) -> nn.Module:
    """Return a 2-D network in evaluation mode with random weights, statistics and biases; VGG16 is narrow."""
    torch.manual_seed(0)
    if name == "vgg16":
        network: nn.Module = VGG16(4, 5, (0.5, 0.4), widths=(6, 8, 8, 10, 12), hidden=16)
    else:
        network = build_backbone(name, 4, 5, 0.5)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var") or ("bn" in key and key.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("bias", "running_mean")):
                tensor.normal_(std=0.1)
            elif name == "vgg16" and tensor.ndim == 4:  # without batch norm, activations must not fade
                tensor.normal_(std=1.2 * (2 / tensor[0].numel()) ** 0.5)
            elif tensor.ndim == 2:
                tensor.normal_(std=(2 / tensor.shape[1]) ** 0.5)
    return network.eval()


@pytest.fixture(scope="module")
def pairs() -> Callable[[str], tuple[nn.Module, nn.Module]]:
    made: dict[str, tuple[nn.Module, nn.Module]] = {}

    def get(name: str) -> tuple[nn.Module, nn.Module]:
        if name not in made:
            network = flat(name)
            made[name] = (network, inflate(copy.deepcopy(network)).eval())
        return made[name]

    return get


def features(network: nn.Module, x: Tensor) -> Tensor:
    """Return the features before the average over space and time."""
    if isinstance(network, VGG16):
        return network.features(x)
    if hasattr(network, "layer1"):
        return resnet_pyramid(network, x)[-1]
    found: Tensor = network.get_submodule("features")(network.get_submodule("bn0")(x))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_still_video_gives_what_its_frame_gives(
    name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]
) -> None:
    """Holds exactly for the frames that the zeros beyond both ends do not reach; time keeps its length."""
    plain, inflated = pairs(name)
    reach = TEMPORAL_LAYERS[name]
    total = 2 * reach + 2
    frames = torch.randn(2, 4, 33, 36)
    with torch.no_grad():
        expected, other = features(plain, frames).split(1)
        found = features(inflated, frames[:1, :, None].expand(-1, -1, total, -1, -1))
    assert found.shape == (*expected.shape[:2], total, *expected.shape[2:])
    scale = expected.abs().max().item()
    assert (expected - other).abs().max() > 0.03 * scale > 0
    for t in (reach, reach + 1):
        torch.testing.assert_close(found[:, :, t], expected, atol=1e-4 * scale, rtol=1e-4)
    for t in (0, total - 1):
        assert (found[:, :, t] - expected).abs().max() > 1e-2 * scale


@pytest.mark.parametrize("name", NAMES)
def test_time_is_averaged_at_the_end(name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]) -> None:
    _, inflated = pairs(name)
    x = torch.randn(2, 4, 5, 33, 40)
    with torch.no_grad():
        logits, maps = inflated(x), features(inflated, x)
        if isinstance(inflated, VGG16):
            expected = inflated.classifier(nn.functional.adaptive_avg_pool2d(maps.mean(dim=2), 7).flatten(1))
        else:
            expected = inflated.get_submodule("fc")(maps.mean(dim=(2, 3, 4)))
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_keep_their_names_and_weights(
    name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]
) -> None:
    """Convolutions become 5-D, and their sum over time equals the 2-D ones; the rest is copied."""
    plain, inflated = pairs(name)
    before, after = plain.state_dict(), inflated.state_dict()
    assert list(before) == list(after)
    deep = 0
    for key, old in before.items():
        new = after[key]
        if old.ndim == 4:
            frames = 3 if old.shape[-1] > 1 else 1
            deep += frames == 3
            assert new.shape == (*old.shape[:2], frames, *old.shape[2:]), key
            for t in range(frames):
                torch.testing.assert_close(new[:, :, t], old / frames)
        else:
            assert torch.equal(new, old), key
    assert deep == TEMPORAL_LAYERS[name]
    assert {key for key, _ in plain.named_parameters()} == {key for key, _ in inflated.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_no_2d_layer_is_left(name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]) -> None:
    flat_kinds = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
    plain, inflated = pairs(name)
    assert any(isinstance(module, flat_kinds) for module in plain.modules())
    assert not any(isinstance(module, flat_kinds) for module in inflated.modules())
    strides = [m.stride[0] for m in inflated.modules() if isinstance(m, nn.Conv3d | nn.MaxPool3d)]
    assert set(strides) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_order_matters_once_weights_are_not_symmetric_in_time(
    name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]
) -> None:
    """Right after inflation, a reversed video gives the same logits; after training it need not."""
    inflated = copy.deepcopy(pairs(name)[1])
    x = torch.randn(2, 4, 5, 33, 33)
    with torch.no_grad():
        forward, backward = inflated(x), inflated(x.flip(2))
        torch.testing.assert_close(forward, backward, atol=1e-4 * forward.abs().max().item(), rtol=1e-4)
        for module in inflated.modules():
            if isinstance(module, nn.Conv3d) and module.kernel_size[0] == 3:
                module.weight *= torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1)
        forward, backward = inflated(x), inflated(x.flip(2))
    assert (forward - backward).abs().max() > 1e-3 * forward.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_only_inflated_convolutions_mix_frames(
    name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]
) -> None:
    """Without their outer weights, frames are independent: poolings and 1×1 convolutions mix none."""
    plain, inflated = pairs(name)
    inflated = copy.deepcopy(inflated)
    x = torch.randn(1, 4, 3, 33, 36)
    with torch.no_grad():
        for module in inflated.modules():
            if isinstance(module, nn.Conv3d) and module.kernel_size[0] == 3:
                module.weight *= torch.tensor([0.0, 3.0, 0.0]).view(3, 1, 1)
        found, expected = features(inflated, x), features(plain, x[0].transpose(0, 1))
    scale = expected.abs().max().item()
    torch.testing.assert_close(found[0].transpose(0, 1), expected, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.parametrize("name", ["small", "resnet18", "vgg16"])
def test_state_dict_round_trip(name: str, pairs: Callable[[str], tuple[nn.Module, nn.Module]]) -> None:
    _, inflated = pairs(name)
    torch.manual_seed(5)
    if name == "vgg16":
        other: nn.Module = VGG16(4, 5, (0.5, 0.4), widths=(6, 8, 8, 10, 12), hidden=16)
    else:
        other = build_backbone(name, 4, 5, 0.5)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(inflated.state_dict())
    other = inflate(other).eval()
    x = torch.randn(1, 4, 4, 33, 33)
    with torch.no_grad():
        assert not torch.equal(other(x), inflated(x))
        other.load_state_dict(inflated.state_dict())
        assert torch.equal(other(x), inflated(x))


def test_inflated_networks_learn() -> None:
    """Every parameter gets a gradient, and running statistics change in training."""
    torch.manual_seed(0)
    network = inflate(build_backbone("small", 2, 3, 0.0)).train()
    before = network.get_buffer("bn0.running_mean").clone()
    network(torch.randn(2, 2, 4, 16, 16) + 1).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key
    assert (network.get_buffer("bn0.running_mean") - before).min() > 0.05

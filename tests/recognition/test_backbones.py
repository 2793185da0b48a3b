"""Backbones have torchvision's parameter names, shapes and arithmetic, and take any input size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.backbones import BACKBONES, VGG16, build_backbone

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}

# A sample of the published parameters of torchvision's models.
PUBLISHED = {
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7), "bn1.running_mean": (64,), "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 3, 3), "layer1.1.bn2.bias": (64,),
        "layer2.0.conv1.weight": (128, 64, 3, 3), "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.running_var": (128,), "layer4.1.conv2.weight": (512, 512, 3, 3),
        "fc.weight": (1000, 512), "fc.bias": (1000,),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.conv3.weight": (256, 64, 1, 1), "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.2.conv1.weight": (64, 256, 1, 1), "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer2.0.downsample.0.weight": (512, 256, 1, 1), "layer3.5.bn3.weight": (1024,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1), "fc.weight": (1000, 2048),
    },
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3), "features.2.bias": (64,), "features.5.weight": (128, 64, 3, 3),
        "features.7.weight": (128, 128, 3, 3), "features.10.weight": (256, 128, 3, 3),
        "features.14.bias": (256,), "features.17.weight": (512, 256, 3, 3), "features.21.bias": (512,),
        "features.24.weight": (512, 512, 3, 3), "features.28.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088), "classifier.3.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,),
    },
}  # fmt: skip
ABSENT = {
    "resnet18": ("layer1.0.downsample.0.weight", "layer2.1.downsample.0.weight", "layer1.2.conv1.weight"),
    "resnet50": ("layer1.1.downsample.0.weight", "layer3.6.conv1.weight", "layer1.0.conv1.bias"),
    "vgg16": ("features.1.weight", "features.4.weight", "features.30.weight", "classifier.2.weight"),
}  # fmt: skip


def meta_backbone(
    name: str, in_channels: int = 3, num_classes: int = 1000, dropout: float = 0.5
) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, in_channels, num_classes, dropout)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def backbone_with_statistics(name: str, in_channels: int, num_classes: int = 7) -> nn.Module:
    """Return a backbone in evaluation mode whose statistics and affine weights all affect the output."""
    torch.manual_seed(0)
    network = build_backbone(name, in_channels, num_classes, 0.5).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value in (module.weight, module.running_var):
                    assert value is not None
                    value.uniform_(0.5, 1.5)
                for value in (module.bias, module.running_mean):
                    assert value is not None
                    value.normal_(std=0.2)
            elif isinstance(module, nn.Linear):
                module.bias.normal_()
    return network


# --- torchvision's parameters


@pytest.mark.parametrize(
    ("name", "in_channels", "num_classes", "count"),
    [
        ("resnet18", 3, 1000, 11_689_512),
        ("resnet50", 3, 1000, 25_557_032),
        ("vgg16", 3, 1000, 138_357_544),
    ],
)
def test_published_parameter_counts(name: str, in_channels: int, num_classes: int, count: int) -> None:
    assert parameter_count(meta_backbone(name, in_channels, num_classes)) == count


def test_vgg16_temporal_stream_has_134_7_million() -> None:
    assert round(parameter_count(meta_backbone("vgg16", 20, 101)) / 1e6, 1) == 134.7


def test_small_has_less_than_half_a_million() -> None:
    assert parameter_count(meta_backbone("small", 20, 101)) < 0.5e6


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    state = meta_backbone(name).state_dict()
    for key, shape in PUBLISHED[name].items():
        assert state[key].shape == shape, key
    for key in ABSENT[name]:
        assert key not in state, key


def resnet_keys(name: str) -> set[str]:
    """Return all parameter names of a published ResNet checkpoint."""
    layers, norms = ["conv1"], ["bn1"]
    convolutions = 2 if name == "resnet18" else 3
    for stage, depth in enumerate(DEPTHS[name], start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            layers += [f"{prefix}.conv{i}" for i in range(1, convolutions + 1)]
            norms += [f"{prefix}.bn{i}" for i in range(1, convolutions + 1)]
            if block == 0 and (stage > 1 or name == "resnet50"):
                layers.append(f"{prefix}.downsample.0")
                norms.append(f"{prefix}.downsample.1")
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = {f"{layer}.weight" for layer in layers} | {f"{norm}.{key}" for norm in norms for key in statistics}
    return keys | {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_no_name_is_missing_or_added(name: str) -> None:
    assert set(meta_backbone(name).state_dict()) == resnet_keys(name)


def test_vgg16_is_configuration_d() -> None:
    """Each layer has the type and index of the published checkpoint."""
    network = meta_backbone("vgg16", 20, 101)
    assert isinstance(network, VGG16)
    pools = {4, 9, 16, 23, 30}
    convolutions = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    assert len(network.features) == 31
    for index, layer in enumerate(network.features):
        kind = nn.MaxPool2d if index in pools else nn.Conv2d if index in convolutions else nn.ReLU
        assert isinstance(layer, kind), index
    head = [type(layer) for layer in network.classifier]
    assert head == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert set(network.state_dict()) == {
        f"{part}.{index}.{key}"
        for part, indices in (("features", convolutions), ("classifier", (0, 3, 6)))
        for index in indices
        for key in ("weight", "bias")
    }


def dropouts(network: nn.Module) -> list[float]:
    return [module.p for module in network.modules() if isinstance(module, nn.Dropout)]


def test_dropout() -> None:
    assert dropouts(meta_backbone("vgg16", 20, 101, dropout=0.9)) == pytest.approx([0.9, 0.8])
    assert dropouts(meta_backbone("vgg16", dropout=0.0)) == [0, 0]
    for name in ("small", "resnet18", "resnet50"):
        assert dropouts(meta_backbone(name, dropout=0.3)) == [0.3]


# --- strides


def shapes_at(network: nn.Module, layers: list[str], x: Tensor) -> list[tuple[int, ...]]:
    seen: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: seen.update({layer: tuple(output.shape[1:])})
        )
    network(x)
    return [seen[layer] for layer in layers]


@pytest.mark.parametrize(("name", "expansion"), [("resnet18", 1), ("resnet50", 4)])
def test_resnet_sizes_at_224(name: str, expansion: int) -> None:
    layers = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    shapes = shapes_at(meta_backbone(name), layers, torch.empty(2, 3, 224, 224, device="meta"))
    assert shapes == [
        (64, 112, 112),
        (64 * expansion, 56, 56),
        (128 * expansion, 28, 28),
        (256 * expansion, 14, 14),
        (512 * expansion, 7, 7),
    ]


def test_bottleneck_strides_at_its_3x3() -> None:
    network = meta_backbone("resnet50")
    for stage in (2, 3, 4):
        strides = []
        for layer in ("conv1", "conv2", "conv3", "downsample.0"):
            module = network.get_submodule(f"layer{stage}.0.{layer}")
            assert isinstance(module, nn.Conv2d)
            strides.append(module.stride)
        assert strides == [(1, 1), (2, 2), (1, 1), (2, 2)]


def test_vgg16_sizes_at_224() -> None:
    layers = [f"features.{index}" for index in (2, 4, 9, 16, 23, 30)]
    shapes = shapes_at(meta_backbone("vgg16", 20, 101), layers, torch.empty(1, 20, 224, 224, device="meta"))
    assert shapes == [
        (64, 224, 224), (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7),
    ]  # fmt: skip


# --- arithmetic


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{key}"].view(-1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def resnet_logits(name: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Compute logits in evaluation mode from a checkpoint alone, by its parameter names."""
    x = norm(state, "bn1", functional.conv2d(x, state["conv1.weight"], stride=2, padding=3)).clamp(min=0)
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    strided = 1 if name == "resnet18" else 2  # which convolution of a block takes the stride
    for stage, depth in enumerate(DEPTHS[name], start=1):
        for block in range(depth):
            prefix, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if f"{prefix}.downsample.0.weight" in state:
                shortcut = functional.conv2d(x, state[f"{prefix}.downsample.0.weight"], stride=stride)
                shortcut = norm(state, f"{prefix}.downsample.1", shortcut)
            last = 2 if name == "resnet18" else 3
            for i in range(1, last + 1):
                weight = state[f"{prefix}.conv{i}.weight"]
                step = stride if i == strided else 1
                x = functional.conv2d(x, weight, stride=step, padding=weight.shape[-1] // 2)
                x = norm(state, f"{prefix}.bn{i}", x)
                x = x.clamp(min=0) if i < last else (x + shortcut).clamp(min=0)
    return x.flatten(2).mean(dim=2) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_agrees_with_its_checkpoint(name: str) -> None:
    network = backbone_with_statistics(name, 4)
    x = torch.randn(2, 4, 45, 33)
    with torch.no_grad():
        torch.testing.assert_close(
            network(x), resnet_logits(name, network.state_dict(), x), atol=1e-4, rtol=1e-3
        )


def test_vgg16_agrees_with_its_checkpoint() -> None:
    """Covers the convolutions only; the classifier with its 120 M weights is tested layer by layer."""
    with torch.device("meta"):
        network = VGG16(2, 5, (0.9, 0.8))
    features = network.features.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in features.parameters():
            parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
        x = expected = torch.randn(1, 2, 32, 40, generator=generator)
        for index in range(31):
            if f"{index}.weight" in features.state_dict():
                state = features.state_dict()
                expected = functional.conv2d(
                    expected, state[f"{index}.weight"], state[f"{index}.bias"], padding=1
                )
                expected = expected.clamp(min=0)
            elif index in (4, 9, 16, 23, 30):
                expected = functional.max_pool2d(expected, 2)
        torch.testing.assert_close(features(x), expected)
    assert expected.shape == (1, 512, 1, 1)


def test_dropout_works_in_training_only() -> None:
    for name in ("small", "resnet18"):
        network = backbone_with_statistics(name, 2)
        x = torch.randn(3, 2, 33, 33)
        with torch.no_grad():
            assert torch.equal(network(x), network(x))
            for module in network.modules():
                module.train(isinstance(module, nn.Dropout))
            assert not torch.equal(network(x), network(x))


def test_small_is_invariant_to_the_scale_of_its_input() -> None:
    """Batch normalization of the input makes frames in −0.5…0.5 and flow in −128…127 equivalent."""
    torch.manual_seed(0)
    network = build_backbone("small", 4, 5, 0.0).train()
    x = torch.randn(6, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(100 * x + 30), network(x), atol=1e-3, rtol=1e-3)


# --- any size, any channels


@pytest.mark.parametrize("name", ["small", "resnet18", "resnet50"])
@pytest.mark.parametrize(("height", "width"), [(17, 33), (1, 1), (50, 31)])
def test_odd_sizes(name: str, height: int, width: int) -> None:
    network = meta_backbone(name, 20, 6).eval()
    assert network(torch.empty(3, 20, height, width, device="meta")).shape == (3, 6)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 70), (225, 340)])
def test_vgg16_pools_other_sizes_to_seven(height: int, width: int) -> None:
    assert meta_backbone("vgg16", 20, 6)(torch.empty(2, 20, height, width, device="meta")).shape == (2, 6)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_values_at_odd_sizes_are_finite_and_clips_do_not_mix(name: str) -> None:
    network = backbone_with_statistics(name, 6)
    x = torch.randn(2, 6, 37, 23)
    with torch.no_grad():
        together = network(x)
        assert together.isfinite().all()
        torch.testing.assert_close(
            torch.cat([network(x[:1]), network(x[1:])]), together, atol=1e-4, rtol=1e-4
        )


def test_unknown_name_lists_the_known_ones() -> None:
    assert set(BACKBONES) == {"small", "resnet18", "resnet50", "vgg16"}
    with pytest.raises(UsageError, match=r"'resnet9000'.*small, resnet18, resnet50, vgg16"):
        build_backbone("resnet9000", 3, 2, 0.5)

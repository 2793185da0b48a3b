"""VGG16- and ResNet50-MotionNet and FlowNetS against functional re-implementations over their state dicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.motion.networks.build import MOTION_NETWORKS, build_motion
from hidden_two_stream.recognition.backbones import build_backbone

State = dict[str, Tensor]

STRIDES = {
    "full": (2, 4, 8, 16, 32),
    "tiny": (2, 4, 8),
    "nano": (4, 8, 16),
    "nano-fine": (4, 8, 16),
    "vgg16": (2, 4, 8, 16, 32),
    "resnet50": (2, 4, 8, 16, 32),
    "flownets": (4, 8, 16, 32, 64),
}
"""Of the flows of each network, finest first; of nano, from 128 px on. Each total stride is the last."""

NAMES = ("vgg16", "resnet50", "flownets")


def on_meta(name: str, num_frames: int = 11) -> nn.Module:
    with torch.device("meta"):
        return build_motion(name, num_frames).eval()


def lively(name: str, num_frames: int = 2) -> nn.Module:
    """On the CPU, in evaluation mode, with random biases and statistics, so that each of them matters."""
    torch.manual_seed(0)
    network = build_motion(name, num_frames).eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("bias", "running_mean")):
                tensor.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def networks() -> Iterator[Callable[[str], nn.Module]]:
    made: dict[str, nn.Module] = {}

    def get(name: str) -> nn.Module:
        if name not in made:
            made[name] = lively(name)
        return made[name]

    yield get
    made.clear()


# --- a second implementation


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.conv2d(
        x, weight, state.get(f"{name}.bias"), stride=stride, padding=weight.shape[-1] // 2
    )


def deconv(state: State, name: str, x: Tensor) -> Tensor:
    return functional.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{key}"].view(-1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def vgg16_encoder(state: State, x: Tensor) -> dict[int, Tensor]:
    """Level k is 2^(k−1) times coarser than the input."""
    features = {}
    index = 0
    for level, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for _ in range(depth):
            x = conv(state, f"encoder.{index}", x).clamp(min=0)
            index += 2
        features[level] = x
        x = functional.max_pool2d(x, 2)
        index += 1
    return features | {6: x}


def resnet50_encoder(state: State, x: Tensor) -> dict[int, Tensor]:
    x = batch_norm(state, "encoder.bn1", conv(state, "encoder.conv1", x, 2)).clamp(min=0)
    features = {2: x}
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            name, stride = f"encoder.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if block == 0:
                shortcut = batch_norm(
                    state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride)
                )
            x = batch_norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", x)).clamp(min=0)
            x = batch_norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", x, stride)).clamp(min=0)
            x = batch_norm(state, f"{name}.bn3", conv(state, f"{name}.conv3", x))
            x = (x + shortcut).clamp(min=0)
        features[stage + 2] = x
    return features


def motionnet_decoder(state: State, features: dict[int, Tensor]) -> list[Tensor]:
    """MotionNet's decoder: deconv{k} takes the previous smooth_conv, which is linear."""
    x = features[6]
    raw = [conv(state, "decoder.conv_pr6", x)]
    for k in (5, 4, 3, 2):
        upsampled = deconv(state, f"decoder.upsample_flow{k + 1}to{k}", raw[0])
        x = leaky(deconv(state, f"decoder.deconv{k}.0", x))
        x = torch.cat([features[level] for level in features if level == k] + [x, upsampled], dim=1)
        x = conv(state, f"decoder.smooth_conv{k}", x)
        raw.insert(0, conv(state, f"decoder.conv_pr{k}", x))
    return raw


def flownets(state: State, x: Tensor) -> list[Tensor]:
    """arXiv 1504.06852, figures 2 and 3: each deconvolution takes the whole previous concatenation."""
    blocks = {}
    for block in range(1, 7):
        x = leaky(conv(state, f"conv{block}.0", x, 2))
        if block > 2:
            x = leaky(conv(state, f"conv{block}_1.0", x))
        blocks[block] = x
    raw = [conv(state, "predict_flow6", x)]
    for k in (5, 4, 3, 2):
        upsampled = deconv(state, f"upsample_flow{k + 1}to{k}", raw[0])
        x = torch.cat((blocks[k], leaky(deconv(state, f"deconv{k}.0", x)), upsampled), dim=1)
        raw.insert(0, conv(state, f"predict_flow{k}", x))
    return raw


def by_hand(name: str, state: State, frames: Tensor) -> list[Tensor]:
    """Pad with edge pixels, run, × 20 / stride, cut at full resolution, resize to ⌈side / stride⌉."""
    height, width = frames.shape[-2:]
    total = STRIDES[name][-1]
    rows = [min(row, height - 1) for row in range(math.ceil(height / total) * total)]
    columns = [min(column, width - 1) for column in range(math.ceil(width / total) * total)]
    x = frames[..., rows, :][..., columns].reshape(len(frames), -1, len(rows), len(columns))
    if name == "flownets":
        raw = flownets(state, x)
    else:
        encoder = vgg16_encoder if name == "vgg16" else resnet50_encoder
        raw = motionnet_decoder(state, encoder(state, x))
    flows = []
    for stride, level in zip(STRIDES[name], raw, strict=True):
        level = level * 20 / stride
        grid = (math.ceil(height / stride), math.ceil(width / stride))
        if (len(rows), len(columns)) != (height, width):
            whole = functional.interpolate(
                level * stride, scale_factor=stride, mode="bilinear", align_corners=False
            )[..., :height, :width]
            level = functional.interpolate(whole, size=grid, mode="bilinear", align_corners=False)
        flow = torch.stack((level[:, 0::2], level[:, 1::2]), dim=2)
        if (len(rows), len(columns)) != (height, width):
            flow = flow * torch.tensor([grid[1] / width, grid[0] / height]).view(2, 1, 1)
        flows.append(flow)
    return flows


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 70)])
@pytest.mark.parametrize("name", NAMES)
def test_networks_compute_what_their_description_says(
    name: str, height: int, width: int, networks: Callable[[str], nn.Module]
) -> None:
    network = networks(name)
    frames = torch.randn(2, 2, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = network(frames), by_hand(name, network.state_dict(), frames)
    assert len(found) == len(expected) == 5
    for flow, other in zip(found, expected, strict=True):
        assert flow.shape == other.shape
        scale = other.abs().max().item()
        assert other.std() > 1e-3 * scale > 0
        torch.testing.assert_close(flow, other, atol=1e-4 * scale, rtol=1e-4)


def test_several_pairs_come_in_order() -> None:
    """Four frames stacked: frames and colors in, pairs and u, v out."""
    network = lively("flownets", 4)
    frames = torch.randn(1, 4, 3, 64, 64)
    with torch.no_grad():
        found, expected = network(frames), by_hand("flownets", network.state_dict(), frames)
    assert found[0].shape == (1, 3, 2, 16, 16)
    for flow, other in zip(found, expected, strict=True):
        torch.testing.assert_close(flow, other, atol=1e-4 * other.abs().max().item(), rtol=1e-4)


# --- sizes


def decoder_parameters(skips: tuple[int, int, int, int], coarsest: int, flow: int) -> int:
    """Levels 5 to 2 with 512, 256, 128, 64 channels. Deconvolutions have no trained bias."""
    total = (9 * coarsest + 1) * flow
    for previous, width, skip in zip((coarsest, 512, 256, 128), (512, 256, 128, 64), skips, strict=True):
        total += 16 * previous * width + 16 * flow * flow
        total += (9 * (skip + width + flow) + 1) * width + (9 * width + 1) * flow
    return total


def vgg16_parameters(frames: int, flow: int) -> int:
    widths = (3 * frames, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    encoder = sum((9 * inputs + 1) * outputs for inputs, outputs in pairwise(widths))
    return encoder + decoder_parameters((512, 512, 256, 128), 512, flow)


def resnet50_parameters(frames: int, flow: int) -> int:
    encoder = 49 * 3 * frames * 64 + 2 * 64
    inputs = 64
    for depth, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        outputs = 4 * width
        for block in range(depth):
            encoder += inputs * width + 9 * width * width + width * outputs
            encoder += 2 * (width + width + outputs)
            if block == 0:
                encoder += inputs * outputs + 2 * outputs
            inputs = outputs
    return encoder + decoder_parameters((1024, 512, 256, 64), 2048, flow)


def flownets_parameters(frames: int, flow: int) -> dict[str, int]:
    convolutions = [
        (7, 3 * frames, 64), (5, 64, 128), (5, 128, 256), (3, 256, 256), (3, 256, 512), (3, 512, 512),
        (3, 512, 512), (3, 512, 512), (3, 512, 1024), (3, 1024, 1024),
    ]  # fmt: skip
    joined = (1024, 512 + 512 + flow, 512 + 256 + flow, 256 + 128 + flow, 128 + 64 + flow)
    deconvolutions = list(zip(joined, (512, 256, 128, 64), strict=False))
    return {
        "convolutions": sum((k * k * inputs + 1) * outputs for k, inputs, outputs in convolutions),
        "deconvolutions": sum((16 * inputs + 0) * outputs for inputs, outputs in deconvolutions),
        "deconvolution biases": sum(outputs for _, outputs in deconvolutions),
        "predictions": sum(9 * inputs * flow for inputs in joined),
        "prediction biases": 5 * flow,
        "upsampling": 4 * 16 * flow * flow,
    }


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("num_frames", [2, 11])
def test_parameter_counts_by_arithmetic(num_frames: int) -> None:
    flow = 2 * (num_frames - 1)
    assert parameter_count(on_meta("vgg16", num_frames)) == vgg16_parameters(num_frames, flow)
    assert parameter_count(on_meta("resnet50", num_frames)) == resnet50_parameters(num_frames, flow)
    expected = sum(flownets_parameters(num_frames, flow).values())
    assert parameter_count(on_meta("flownets", num_frames)) == expected


def test_encoders_have_the_published_sizes() -> None:
    """torchvision: VGG16's convolutions have 14,714,688 parameters, ResNet-50 without its head 23,508,032.

    The published counts are for 3 input channels instead of 33.
    """
    for name, published, kernel in (
        ("vgg16", 14_714_688, 3),
        ("resnet50", 25_557_032 - 2048 * 1000 - 1000, 7),
    ):
        encoder = on_meta(name).get_submodule("encoder")
        assert parameter_count(encoder) == published + 30 * 64 * kernel * kernel


def test_flownets_has_the_published_38_676_504() -> None:
    """The published count includes the biases of the flow upsampling, and not those of the predictions.

    Ours trains the ten biases of the predictions and keeps the eight of the upsampling fixed.
    """
    network = on_meta("flownets", 2)
    upsampling = sum(b.numel() for name, b in network.named_buffers() if name.startswith("upsample"))
    predictions = sum(
        p.numel() for name, p in network.named_parameters() if "predict_flow" in name and "bias" in name
    )
    assert (upsampling, predictions) == (8, 10)
    assert parameter_count(network) + upsampling - predictions == 38_676_504


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_encoders_take_a_backbones_weights_by_key(backbone: str) -> None:
    encoder = on_meta(backbone, 11).get_submodule("encoder")
    with torch.device("meta"):
        state = build_backbone(backbone, 33, 5, 0.5).state_dict()
    found = {key: value.shape for key, value in encoder.state_dict().items()}
    prefix = "features." if backbone == "vgg16" else ""
    wanted = {
        key.removeprefix(prefix): value.shape
        for key, value in state.items()
        if key.startswith(prefix) and not key.startswith(("fc.", "classifier."))
    }
    assert found == wanted


# --- what is trained


def test_fixed_biases() -> None:
    for name in NAMES:
        network = on_meta(name, 3)
        trained = {key for key, _ in network.named_parameters()}
        biases = {
            f"{key}.bias" for key, module in network.named_modules() if isinstance(module, nn.ConvTranspose2d)
        }
        fixed = {key for key in biases if name != "flownets" or key.startswith("upsample_flow")}
        assert len(biases) == 8
        assert len(fixed) == (4 if name == "flownets" else 8)
        assert biases & trained == biases - fixed
        assert biases <= set(network.state_dict())
        assert {key.replace("bias", "weight") for key in biases} <= trained


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_over_all_levels_reaches_every_parameter(
    name: str, networks: Callable[[str], nn.Module]
) -> None:
    network = networks(name)
    loss = torch.stack([flow.square().mean() for flow in network(torch.randn(1, 2, 3, 64, 64))]).sum()
    parameters = dict(network.named_parameters())
    for key, gradient in zip(
        parameters, torch.autograd.grad(loss, list(parameters.values()), allow_unused=True), strict=True
    ):
        assert gradient is not None, key
        assert gradient.abs().max() > 0, key
    assert not any(buffer.requires_grad for buffer in network.buffers())


@pytest.mark.parametrize("name", list(MOTION_NETWORKS))
def test_gradient_of_the_coarsest_level_reaches_the_first_convolution(
    name: str, networks: Callable[[str], nn.Module]
) -> None:
    network = networks(name)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    finest = {"flownets": "predict_flow2", "nano": "refine2.predict"}.get(name.partition("-")[0], "conv_pr2")
    predictions = [p for key, p in network.named_parameters() if f"{finest}.weight" in key]
    assert len(predictions) == 1
    coarsest = network(torch.randn(1, 2, 3, 64, 64))[-1]
    gradients = torch.autograd.grad(
        coarsest.square().sum(), (first.weight, predictions[0]), allow_unused=True
    )
    assert gradients[0] is not None
    assert gradients[0].isfinite().all()
    assert (gradients[0].flatten(1).abs().amax(dim=1) > 0).float().mean() > 0.9
    assert gradients[1] is None


# --- interface


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (65, 64), (100, 50), (240, 321)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size(name: str, height: int, width: int) -> None:
    pyramid = on_meta(name, 3)(torch.empty(2, 3, 3, height, width, device="meta"))
    assert [flow.shape for flow in pyramid] == [
        (2, 2, 2, math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES[name]
    ]


@pytest.mark.parametrize("num_frames", [2, 3, 11])
@pytest.mark.parametrize("name", list(MOTION_NETWORKS))
def test_action_features_have_the_channels_that_are_announced(name: str, num_frames: int) -> None:
    network = on_meta(name, num_frames)
    channels = {
        "full": 1024, "tiny": 128, "nano": 48 * (num_frames - 1), "nano-fine": 48 * (num_frames - 1),
        "vgg16": 512, "resnet50": 2048, "flownets": 1024,
    }[name]  # fmt: skip
    features = network.features(torch.empty(2, num_frames, 3, 130, 195, device="meta"))
    action = network.action_features(features)
    total = STRIDES[name][-1]
    finer = 2 if name in ("nano", "nano-fine") else 1  # the branch reads the hidden state of the finest level
    assert finer * network.action_stride == total
    assert network.action_channels == channels
    assert network.total_stride == total
    assert network.num_frames == num_frames
    assert action.shape == (2, channels, finer * math.ceil(130 / total), finer * math.ceil(195 / total))


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_features_then_flow(name: str, networks: Callable[[str], nn.Module]) -> None:
    network = networks(name)
    frames = torch.randn(1, 2, 3, 40, 64)
    with torch.no_grad():
        features = network.features(frames)
        for flow, other in zip(network.flow(features, frames), network(frames), strict=True):
            assert torch.equal(flow, other)
        action = network.action_features(features)
    sizes = [feature.shape[-1] for feature in features]
    padded = 64
    assert sizes == [padded // 2**k for k in (range(1, 7) if name == "flownets" else range(6))]
    torch.testing.assert_close(action, features[-1])
    if name == "vgg16":
        assert [feature.shape[1] for feature in features] == [64, 128, 256, 512, 512, 512]
        torch.testing.assert_close(features[5], functional.max_pool2d(features[4], 2))
    if name == "resnet50":
        assert [feature.shape[1] for feature in features] == [0, 64, 256, 512, 1024, 2048]


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_a_batch_do_not_mix(name: str, networks: Callable[[str], nn.Module]) -> None:
    network = networks(name)
    frames = torch.rand(2, 2, 3, 64, 64)
    with torch.no_grad():
        together, alone = network(frames), network(frames[1:])
    for flow, other in zip(together, alone, strict=True):
        torch.testing.assert_close(flow[1:], other, atol=1e-4 * other.abs().max().item(), rtol=1e-4)

"""MotionNet and Tiny-MotionNet: sizes, layers, units and order of channels, against the published table."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.motion.networks.frames import pad_frames, trim_pyramid
from hidden_two_stream.motion.networks.motionnet import Deconv, MotionNet, msra_init
from hidden_two_stream.motion.networks.tiny import TinyMotionNet

STRIDES = {"full": (2, 4, 8, 16, 32), "tiny": (2, 4, 8), "nano": (4, 8, 16)}
"""Of the flows of each network, finest first; nano enlarges what is below 128 or 64 px."""

TABLE = [
    # layer, in channels, out channels, kernel, stride, size at 224 (published definition)
    ("conv1", 33, 64, 3, 1, 224), ("conv1_1", 64, 64, 3, 1, 224),
    ("conv2", 64, 128, 3, 2, 112), ("conv2_1", 128, 128, 3, 1, 112),
    ("conv3", 128, 256, 3, 2, 56), ("conv3_1", 256, 256, 3, 1, 56),
    ("conv4", 256, 512, 3, 2, 28), ("conv4_1", 512, 512, 3, 1, 28),
    ("conv5", 512, 512, 3, 2, 14), ("conv5_1", 512, 512, 3, 1, 14),
    ("conv6", 512, 1024, 3, 2, 7), ("conv6_1", 1024, 1024, 3, 1, 7), ("conv_pr6", 1024, 20, 3, 1, 7),
    ("deconv5", 1024, 512, 4, 2, 14), ("upsample_flow6to5", 20, 20, 4, 2, 14),
    ("smooth_conv5", 512 + 512 + 20, 512, 3, 1, 14), ("conv_pr5", 512, 20, 3, 1, 14),
    ("deconv4", 512, 256, 4, 2, 28), ("upsample_flow5to4", 20, 20, 4, 2, 28),
    ("smooth_conv4", 512 + 256 + 20, 256, 3, 1, 28), ("conv_pr4", 256, 20, 3, 1, 28),
    ("deconv3", 256, 128, 4, 2, 56), ("upsample_flow4to3", 20, 20, 4, 2, 56),
    ("smooth_conv3", 256 + 128 + 20, 128, 3, 1, 56), ("conv_pr3", 128, 20, 3, 1, 56),
    ("deconv2", 128, 64, 4, 2, 112), ("upsample_flow3to2", 20, 20, 4, 2, 112),
    ("smooth_conv2", 128 + 64 + 20, 64, 3, 1, 112), ("conv_pr2", 64, 20, 3, 1, 112),
]  # fmt: skip

TINY_TABLE = [
    ("conv1", 33, 64, 7, 1, 224), ("conv2", 64, 128, 5, 2, 112),
    ("conv3", 128, 256, 3, 2, 56), ("conv4", 256, 128, 3, 2, 28), ("conv_pr4", 128, 20, 3, 1, 28),
    ("deconv3", 128, 128, 4, 2, 56), ("upsample_flow4to3", 20, 20, 4, 2, 56),
    ("smooth_conv3", 256 + 128 + 20, 128, 3, 1, 56), ("conv_pr3", 128, 20, 3, 1, 56),
    ("deconv2", 128, 64, 4, 2, 112), ("upsample_flow3to2", 20, 20, 4, 2, 112),
    ("smooth_conv2", 128 + 64 + 20, 64, 3, 1, 112), ("conv_pr2", 64, 20, 3, 1, 112),
]  # fmt: skip


def on_meta(name: str, num_frames: int = 11) -> nn.Module:
    with torch.device("meta"):
        return build_motion(name, num_frames)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(name: str, num_frames: int = 2) -> nn.Module:
    """On the CPU, with random values for trained and fixed biases, so that each of them matters."""
    torch.manual_seed(0)
    network = build_motion(name, num_frames)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("bias"):
                tensor.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def full() -> nn.Module:
    return small("full")


# --- sizes


def test_parameter_counts() -> None:
    assert round(parameter_count(on_meta("full")) / 1e6, 2) == 42.32
    assert round(parameter_count(on_meta("tiny")) / 1e6, 2) == 1.95
    assert parameter_count(on_meta("nano")) <= 1.5e6
    # By the table: weights of all layers, biases of the convolutions.
    for name, table in (("full", TABLE), ("tiny", TINY_TABLE)):
        expected = sum(
            inputs * outputs * kernel**2 + ("deconv" not in layer and "upsample" not in layer) * outputs
            for layer, inputs, outputs, kernel, _, _ in table
        )
        assert parameter_count(on_meta(name)) == expected


def test_nano_takes_less_than_a_gigamac() -> None:
    network = on_meta("nano")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 11, 3, 224, 224, device="meta"))
    assert 0 < counter.get_total_flops() / 2 <= 1e9


@pytest.mark.parametrize(("name", "table"), [("full", TABLE), ("tiny", TINY_TABLE)])
def test_layers_at_224(name: str, table: list[tuple[str, int, int, int, int, int]]) -> None:
    network = on_meta(name)
    seen: dict[str, torch.Size] = {}
    for layer, *_ in table:
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: seen.update({layer: output.shape})
        )
    pyramid = network(torch.empty(2, 11, 3, 224, 224, device="meta"))
    for layer, inputs, outputs, kernel, stride, size in table:
        assert seen[layer] == (2, outputs, size, size), layer
        convolutions = [
            module
            for module in network.get_submodule(layer).modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        ]
        assert len(convolutions) == 1, layer
        assert convolutions[0].in_channels == inputs, layer
        assert convolutions[0].kernel_size == (kernel, kernel), layer
        assert convolutions[0].stride == (stride, stride), layer
    layers = sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in network.modules())
    assert layers == len(table)
    assert [flow.shape for flow in pyramid] == [
        (2, 10, 2, 224 // stride, 224 // stride) for stride in STRIDES[name]
    ]


@pytest.mark.parametrize("name", ["full", "tiny"])
@pytest.mark.parametrize("num_frames", [2, 3, 5])
def test_channels_follow_the_number_of_frames(name: str, num_frames: int) -> None:
    """The two-frame variant has 6 channels in and 2 out."""
    network = on_meta(name, num_frames)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 3 * num_frames
    finest = network.get_submodule("conv_pr2")
    assert isinstance(finest, nn.Conv2d)
    assert finest.out_channels == 2 * (num_frames - 1)
    assert network(torch.empty(1, num_frames, 3, 64, 32, device="meta"))[0].shape == (
        1, num_frames - 1, 2, 32, 16,
    )  # fmt: skip


# --- values


def conv(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1, active: bool = True) -> Tensor:
    """The convolution `name`; blocks with an activation have it at index 0."""
    key = f"{name}.0" if active else name
    weight = state[f"{key}.weight"]
    x = functional.conv2d(x, weight, state[f"{key}.bias"], stride, weight.shape[-1] // 2)
    return torch.where(x > 0, x, 0.1 * x) if active else x


def deconv(state: dict[str, Tensor], name: str, x: Tensor, active: bool) -> Tensor:
    key = f"{name}.0" if active else name
    x = functional.conv_transpose2d(x, state[f"{key}.weight"], state[f"{key}.bias"], stride=2, padding=1)
    return torch.where(x > 0, x, 0.1 * x) if active else x


def decode(
    state: dict[str, Tensor], skips: dict[int, Tensor], x: Tensor, raw: Tensor, levels: tuple[int, ...]
) -> list[Tensor]:
    """The decoder of the published definition: raw flows, finest first."""
    flows = [raw]
    for level in levels:
        upsampled = deconv(state, f"upsample_flow{level + 1}to{level}", flows[0], active=False)
        joined = torch.cat((skips[level], deconv(state, f"deconv{level}", x, active=True), upsampled), dim=1)
        x = conv(state, f"smooth_conv{level}", joined, active=False)
        flows.insert(0, conv(state, f"conv_pr{level}", x, active=False))
    return flows


def table_full(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    skips = {}
    for block in range(1, 7):
        x = conv(state, f"conv{block}", x, stride=1 if block == 1 else 2)
        x = skips[block] = conv(state, f"conv{block}_1", x)
    return decode(state, skips, x, conv(state, "conv_pr6", x, active=False), (5, 4, 3, 2))


def table_tiny(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    skips = {}
    for block in range(1, 5):
        x = skips[block] = conv(state, f"conv{block}", x, stride=1 if block == 1 else 2)
    return decode(state, skips, x, conv(state, "conv_pr4", x, active=False), (3, 2))


def by_the_table(name: str, network: nn.Module, frames: Tensor) -> list[Tensor]:
    channels = torch.cat([frames[:, t, c : c + 1] for t in range(frames.shape[1]) for c in range(3)], dim=1)
    raw = (table_full if name == "full" else table_tiny)(network.state_dict(), channels)
    factors = (10, 5, 2.5, 1.25, 0.625)
    flows = []
    for level, factor in zip(raw, factors, strict=False):
        pairs = [level[:, 2 * pair : 2 * pair + 2] for pair in range(level.shape[1] // 2)]
        flows.append(factor * torch.stack(pairs, dim=1))
    return flows


def assert_all_close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for flow, other in zip(found, expected, strict=True):
        torch.testing.assert_close(flow, other, atol=1e-4, rtol=1e-4)


def test_full_computes_what_the_table_says(full: nn.Module) -> None:
    """The order of the concatenation, activations, linear smooth_conv and units all matter here."""
    frames = torch.randn(2, 2, 3, 32, 64)
    with torch.no_grad():
        assert_all_close(full(frames), by_the_table("full", full, frames))


@pytest.mark.parametrize("num_frames", [2, 4])
def test_tiny_computes_what_the_table_says(num_frames: int) -> None:
    network = small("tiny", num_frames)
    frames = torch.randn(2, num_frames, 3, 24, 16)
    with torch.no_grad():
        assert_all_close(network(frames), by_the_table("tiny", network, frames))


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_smooth_conv_has_no_activation(name: str, full: nn.Module) -> None:
    """Its output is exactly its convolution, with negative values of about the size of the positive ones."""
    network = full if name == "full" else small("tiny")
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    layer = network.get_submodule("smooth_conv2")
    following = network.get_submodule("conv_pr2")
    handles = [
        layer.register_forward_hook(lambda module, args, output: seen.update(layer=(args[0], output))),
        following.register_forward_hook(lambda module, args, output: seen.update(next=(args[0], output))),
    ]
    with torch.no_grad():
        network(torch.randn(1, 2, 3, 32, 32))
    for handle in handles:
        handle.remove()
    assert isinstance(layer, nn.Conv2d)
    linear = functional.conv2d(seen["layer"][0], layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(seen["next"][0], linear)
    positive, negative = linear.clamp(min=0).norm(), linear.clamp(max=0).norm()
    assert 0.3 < negative / positive < 3


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_raw_output_times_twenty_is_pixels_of_the_input(name: str, full: nn.Module) -> None:
    """A raw output of 1 is 10, 5, 2.5 … pixels of the levels."""
    network = full if name == "full" else small("tiny")
    saved = {key: value.clone() for key, value in network.state_dict().items()}
    outputs = [module for key, module in network.named_modules() if key.startswith("conv_pr")]
    with torch.no_grad():
        for module in outputs:
            assert isinstance(module, nn.Conv2d)
            assert module.bias is not None
            module.weight.zero_()
            module.bias.copy_(torch.tensor([1.0, -2.0]))
        pyramid = network(torch.randn(1, 2, 3, 32, 32))
    network.load_state_dict(saved)
    for flow, factor in zip(pyramid, (10, 5, 2.5, 1.25, 0.625), strict=False):
        assert flow.unique().tolist() == [-2 * factor, factor]
        assert (flow[:, :, 0] == factor).all()


def test_pairs_are_time_major_and_u_comes_before_v() -> None:
    network = small("tiny", 4)
    with torch.no_grad():
        finest = network.get_submodule("conv_pr2")
        assert isinstance(finest, nn.Conv2d)
        assert finest.bias is not None
        finest.weight.zero_()
        finest.bias.copy_(torch.tensor([0.1, 0.2, 1.1, 1.2, 2.1, 2.2]))
        flow = network(torch.randn(1, 4, 3, 16, 16))[0]
    expected = 10 * torch.tensor([[0.1, 0.2], [1.1, 1.2], [2.1, 2.2]])
    torch.testing.assert_close(flow[0, :, :, 3, 3], expected)


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_input_channels_are_time_major_rgb(name: str, full: nn.Module) -> None:
    """Channel 3t + c of the first convolution is color c of frame t."""
    network = full if name == "full" else small("tiny", 2)
    seen: list[Tensor] = []
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    handle = first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    frames = torch.arange(6.0).view(1, 2, 3, 1, 1).expand(1, 2, 3, 32, 32)
    with torch.no_grad():
        network(frames)
    handle.remove()
    assert seen[0][0, :, 5, 5].tolist() == [0, 1, 2, 3, 4, 5]


def test_initial_weights_are_he_by_fan_in() -> None:
    torch.manual_seed(0)
    network = TinyMotionNet(3)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] ** 2
            # The flow predictors have a tenth, so that the first flows are near zero.
            std = math.sqrt(2 / fan_in) * (0.1 if name.startswith("conv_pr") else 1)
            assert module.weight.std().item() == pytest.approx(std, rel=0.1), name
            assert module.bias is not None
            assert module.bias.abs().max() == 0


# --- trained and fixed parameters


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_deconvolutions_have_a_bias_that_is_never_trained(name: str) -> None:
    network = on_meta(name)
    biases = {
        f"{key}.bias" for key, module in network.named_modules() if isinstance(module, nn.ConvTranspose2d)
    }
    assert len(biases) == {"full": 8, "tiny": 4}[name]
    assert biases <= set(network.state_dict())
    assert not biases & {key for key, _ in network.named_parameters()}
    assert {f"{key[:-4]}weight" for key in biases} <= {key for key, _ in network.named_parameters()}


def test_a_training_step_moves_all_weights_and_no_deconvolution_bias() -> None:
    torch.manual_seed(0)
    network = TinyMotionNet(2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    sum(flow.square().mean() for flow in network(torch.randn(2, 2, 3, 16, 16))).backward()
    optimizer.step()
    for key, value in network.state_dict().items():
        held = key.endswith("bias") and ("deconv" in key or "upsample" in key)
        assert torch.equal(value, before[key]) == held, key
        if held:
            assert value.abs().max() == 0


# --- any size


@pytest.mark.parametrize("name", ["full", "tiny", "nano"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (31, 64), (100, 50), (240, 321)])
def test_flows_of_any_size_are_rounded_up(name: str, height: int, width: int) -> None:
    pyramid = on_meta(name, 3)(torch.empty(2, 3, 3, height, width, device="meta"))
    side = min(height, width)
    finer = 1 if name != "nano" or side >= 128 else 2 if side >= 64 else 4
    assert [flow.shape for flow in pyramid] == [
        (2, 2, 2, math.ceil(height * finer / stride), math.ceil(width * finer / stride))
        for stride in STRIDES[name]
    ]


@pytest.mark.parametrize(("height", "width"), [(19, 45), (32, 33), (5, 16), (1, 1)])
@pytest.mark.parametrize("name", ["full", "tiny", "nano"])
def test_padding_repeats_the_edge_and_keeps_the_origin(
    name: str, height: int, width: int, full: nn.Module
) -> None:
    """Equals repeating the last row and column by hand and cropping the full-size flow by hand."""
    if name == "nano":  # nano enlarges smaller images before it pads them
        height, width = height + 128, width + 128
    network = full if name == "full" else small(name)
    total = STRIDES[name][-1]
    frames = torch.rand(1, 2, 3, height, width)
    rows = [min(row, height - 1) for row in range(math.ceil(height / total) * total)]
    columns = [min(column, width - 1) for column in range(math.ceil(width / total) * total)]
    with torch.no_grad():
        found = network(frames)
        whole = network(frames[..., rows, :][..., columns])
    for flow, other, stride in zip(found, whole, STRIDES[name], strict=True):
        full_size = functional.interpolate(other[0] * stride, scale_factor=stride, mode="bilinear")
        grid = (math.ceil(height / stride), math.ceil(width / stride))
        cut = functional.interpolate(full_size[..., :height, :width], size=grid, mode="bilinear")
        scale = torch.tensor([grid[1] / width, grid[0] / height]).view(2, 1, 1)
        torch.testing.assert_close(flow[0], cut * scale)


@pytest.mark.parametrize(("height", "width"), [(17, 33), (19, 45), (64, 65), (5, 16)])
def test_flow_of_any_size_keeps_its_speed_when_it_is_resized(height: int, width: int) -> None:
    frames = torch.zeros(1, 2, 3, height, width)
    padded = pad_frames(frames, 16)
    pixels = torch.tensor([2.0, -1.0]).view(1, 1, 2, 1, 1)
    pyramid = [
        (pixels / stride).expand(1, 1, 2, padded.shape[-2] // stride, padded.shape[-1] // stride)
        for stride in (4, 8, 16)
    ]
    for flow in trim_pyramid(pyramid, (height, width), padded.shape[-2:]):
        torch.testing.assert_close(resize_flow(flow, height, width), pixels.expand(1, 1, 2, height, width))


def test_padding_values() -> None:
    frames = torch.rand(2, 3, 3, 5, 7)
    padded = pad_frames(frames, 4)
    assert padded.shape == (2, 3, 3, 8, 8)
    assert torch.equal(padded[..., :5, :7], frames)
    assert torch.equal(padded[..., 5:, :7], frames[..., 4:, :].expand(2, 3, 3, 3, 7))
    assert torch.equal(padded[..., :5, 7], frames[..., 6])
    fitting = torch.rand(1, 2, 3, 8, 4)
    assert pad_frames(fitting, 4) is fitting


@pytest.mark.parametrize("name", ["full", "tiny", "nano"])
def test_clips_of_a_batch_do_not_mix(name: str, full: nn.Module) -> None:
    network = full if name == "full" else small(name)
    frames = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        together = network(frames)
        alone = [network(frames[i : i + 1]) for i in range(2)]
    for level, flow in enumerate(together):
        separate = torch.cat([pyramid[level] for pyramid in alone])
        torch.testing.assert_close(flow, separate, atol=1e-4, rtol=1e-4)


# --- by name


def test_build_by_name() -> None:
    assert isinstance(on_meta("full"), MotionNet)
    assert isinstance(on_meta("tiny"), TinyMotionNet)
    with pytest.raises(UsageError, match=r"'huge'.*full, tiny, nano"):
        build_motion("huge")
    for num_frames in (1, 0, -3):
        with pytest.raises(UsageError, match=f"at least 2 frames, got {num_frames}"):
            build_motion("nano", num_frames)


def test_random_weights_follow_the_rule_of_he() -> None:
    """The variance is 2 / fan-in; of the 16 taps of a transposed convolution, four meet in a pixel."""
    torch.manual_seed(0)
    layer, transposed = nn.Conv2d(64, 64, 3), Deconv(128, 128)
    for module in (layer, transposed):
        msra_init(module)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert transposed.weight.std().item() == pytest.approx(math.sqrt(2 / (4 * 128)), rel=0.02)
    for module in (layer, transposed):
        assert module.bias is not None
        assert module.bias.abs().max() == 0

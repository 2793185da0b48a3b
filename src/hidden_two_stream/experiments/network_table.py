"""Sizes of the networks: parameters, multiply-accumulates, and layer shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = ["Layer", "Network", "NetworkTable", "measure_networks"]

_MOTION: dict[str, tuple[str, str, int]] = {
    "full": ("MotionNet", "full", 11),
    "full-2": ("MotionNet, two frames", "full", 2),
    "tiny": ("Tiny-MotionNet", "tiny", 11),
    "tiny-2": ("Tiny-MotionNet, two frames", "tiny", 2),
    "nano": ("Nano-MotionNet", "nano", 11),
    "nano-fine": ("Nano-MotionNet, finest level three times", "nano-fine", 11),
    "vgg16": ("VGG16-MotionNet", "vgg16", 11),
    "resnet50": ("ResNet50-MotionNet", "resnet50", 11),
    "flownets": ("FlowNetS", "flownets", 2),
    "flownets-11": ("FlowNetS, eleven frames", "flownets", 11),
}
_STREAMS = {
    "spatial": "spatial stream",
    "temporal": "stacked temporal stream",
    "inflated": "inflated temporal stream",
    "branched": "action branch on MotionNet's encoder",
}
_BACKBONES = ("small", "resnet18", "resnet50", "vgg16")
_LEARNED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
_NUM_CLASSES = 101
_NUM_FRAMES = 11


@dataclass(frozen=True)
class Layer:
    """One convolution or linear layer.

    Attributes:
        name: path of the layer in the network.
        type: name of the layer's class.
        in_channels: channels or features of the input.
        out_channels: channels or features of the output.
        parameters: number of trained values.
        output: shape of the output without the batch axis.
        kernel: side of the kernel along each axis; None for a linear layer.
        stride: stride along each axis; None for a linear layer.
    """

    name: str
    type: str
    in_channels: int
    out_channels: int
    parameters: int
    output: tuple[int, ...]
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; a linear layer has no "kernel" and no "stride"."""
        shape: dict[str, Any] = {"in_channels": self.in_channels, "out_channels": self.out_channels}
        if self.kernel is not None and self.stride is not None:
            shape |= {"kernel": list(self.kernel), "stride": list(self.stride)}
        counts = {"parameters": self.parameters, "output": list(self.output)}
        return {"name": self.name, "type": self.type, **shape, **counts}


@dataclass(frozen=True)
class Network:
    """The size of one network for a clip of a given size.

    Attributes:
        name: key of the network, for example "full" or "temporal-vgg16".
        title: name of the network in words.
        num_frames: frames of the clip.
        parameters: number of trained values.
        fixed_biases: number of biases that are buffers and stay untrained.
        macs: multiply-accumulates of the convolutions and linear layers for one clip.
        layers: the layers, in the order of the forward pass.
        padded_size: side that a motion network pads the clip to, px; None for a stream.
        flow: (T−1, 2, h, w) of each pyramid level of a motion network, finest first; None for a stream.
    """

    name: str
    title: str
    num_frames: int
    parameters: int
    fixed_biases: int
    macs: int
    layers: tuple[Layer, ...]
    padded_size: int | None = None
    flow: tuple[tuple[int, ...], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; a stream has no "padded_size" and no "flow"."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["layers"] = [layer.to_dict() for layer in self.layers]
        if self.flow is None:
            del found["padded_size"], found["flow"]
        else:
            found["flow"] = [list(level) for level in self.flow]
        return found


@dataclass(frozen=True)
class NetworkTable:
    """The sizes of several networks for a clip of the same size.

    Attributes:
        size: side of the input, px.
        num_classes: number of classes of the streams.
        networks: the networks, in the order asked for.
    """

    size: int
    num_classes: int
    networks: tuple[Network, ...]

    @property
    def input(self) -> str:
        """The input in words."""
        return f"{self.size}×{self.size} px, one clip"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "input": self.input,
            "size": self.size,
            "num_classes": self.num_classes,
            "models": [network.to_dict() for network in self.networks],
        }


def measure_networks(names: Sequence[str] = (), size: int = 224) -> NetworkTable:
    """Measure networks on the meta device, without memory for weights and without arithmetic.

    Args:
        names: motion networks such as "full", and streams such as "temporal-vgg16"; none means all.
        size: side of the input, px; a multiple of 32.

    Raises:
        UsageError: a name is unknown, or the size is not a multiple of 32.
    """
    known: dict[str, Callable[[int], Network]] = {name: partial(_motion_network, name) for name in _MOTION}
    known |= {f"{kind}-{b}": partial(_stream, kind, b) for kind in _STREAMS for b in _BACKBONES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"unknown network {', '.join(unknown)}; choose from {', '.join(known)}")
    if size < 32 or size % 32:
        raise UsageError(f"the input size is {size}; expected a multiple of 32 px")
    return NetworkTable(size, _NUM_CLASSES, tuple(known[name](size) for name in names or known))


def _motion_network(name: str, size: int) -> Network:
    title, network, num_frames = _MOTION[name]
    with torch.device("meta"):
        module = build_motion(network, num_frames)
        frames = torch.empty(1, num_frames, 3, size, size)
    levels, measured = _measure(module, partial(module, frames), name, title, num_frames)
    stride = int(module.total_stride)  # type: ignore[arg-type]
    flow = tuple(tuple(level.shape[1:]) for level in levels)
    return dataclasses.replace(measured, padded_size=size + -size % stride, flow=flow)


def _stream(kind: str, backbone: str, size: int) -> Network:
    stream = "spatial" if kind == "spatial" else "temporal"
    form: Any = kind if kind in ("inflated", "branched") else "stacked"
    with torch.device("meta"):
        model = HiddenTwoStream("full", backbone, _NUM_CLASSES, temporal=form, streams=(stream,))
        inputs: tuple[Any, ...]
        if kind == "spatial":
            inputs = (torch.empty(1, _NUM_FRAMES, 3, size, size),)
        elif kind == "branched":
            inputs = (torch.empty(1, 1024, size // 32, size // 32),)  # features of MotionNet's encoder
        else:
            inputs = (torch.empty(1, _NUM_FRAMES - 1, 2, size // 2, size // 2), size, size)
    part = model.get_submodule(f"{stream}_stream")
    title = f"{_STREAMS[kind]}, {backbone}"
    return _measure(part, partial(part, *inputs), f"{kind}-{backbone}", title, _NUM_FRAMES)[1]


def _measure(
    module: nn.Module, run: Callable[[], Any], name: str, title: str, num_frames: int
) -> tuple[Any, Network]:
    """Return the output of one forward pass, and the sizes measured during it."""
    layers: list[Layer] = []

    def record(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda layer, _, output: layers.append(_layer(_short_name(module, path), layer, output))

    hooks = [
        layer.register_forward_hook(record(path))
        for path, layer in module.named_modules()
        if isinstance(layer, _LEARNED)
    ]
    module.eval()  # in training mode, batch normalization rejects a single pixel
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = run()
    for hook in hooks:
        hook.remove()
    return output, Network(
        name=name,
        title=title,
        num_frames=num_frames,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        fixed_biases=sum(b.numel() for path, b in module.named_buffers() if path.endswith("bias")),
        macs=counter.get_total_flops() // 2,
        layers=tuple(layers),
    )


def _short_name(module: nn.Module, path: str) -> str:
    """Return the path of a layer, without the ".0" of a convolution in a block with its activation."""
    parent = path.rpartition(".")[0]
    block = module.get_submodule(parent) if parent else module
    wrapped = isinstance(block, nn.Sequential) and isinstance(block[-1], nn.LeakyReLU) and len(block) == 2
    return parent if wrapped else path


def _layer(name: str, layer: nn.Module, output: Tensor) -> Layer:
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    kind, shape = type(layer).__name__, tuple(output.shape[1:])
    if isinstance(layer, nn.Linear):
        return Layer(name, kind, layer.in_features, layer.out_features, parameters, shape)
    assert isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d)
    kernel, stride = tuple(layer.kernel_size), tuple(layer.stride)
    return Layer(name, kind, layer.in_channels, layer.out_channels, parameters, shape, kernel, stride)

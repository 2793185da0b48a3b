"""`hts bench --models`: parameters, multiply-accumulates and layer shapes of every network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = ["bench_models", "bench_models_text"]

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
_BACKBONES = ("small", "resnet18", "resnet50", "vgg16")
_LEARNED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
_CLASSES = 101


def bench_models(names: list[str], size: int = 224) -> dict[str, Any]:
    """Measure networks on the meta device: no memory for weights, no arithmetic.

    Args:
        names: keys of the motion networks and streams to show; none: all.
        size: side of the input, px.

    Returns:
        "input" and "models", JSON-ready; multiply-accumulates are those of convolutions and linear layers
        for one clip.

    Raises:
        UsageError: a name or the size is unknown.
    """
    known: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda title=title, network=network, frames=frames: _motion(title, network, frames, size)  # type: ignore[misc]
        for name, (title, network, frames) in _MOTION.items()
    }
    for kind in ("spatial", "temporal", "inflated", "branched"):
        known |= {
            f"{kind}-{backbone}": lambda kind=kind, backbone=backbone: _stream(kind, backbone, size)  # type: ignore[misc]
            for backbone in _BACKBONES
        }
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"unknown network {', '.join(unknown)}; choose some of {', '.join(known)}")
    if size < 32 or size % 32:
        raise UsageError(f"the input size is {size}; expected a multiple of 32 px")
    models = [{"name": name, **known[name]()} for name in names or known]
    return {"input": f"{size}×{size} px, one clip", "size": size, "num_classes": _CLASSES, "models": models}


def _motion(title: str, network: str, num_frames: int, size: int) -> dict[str, Any]:
    with torch.device("meta"):
        module = build_motion(network, num_frames)
    return _measured(title, module, lambda frames: module(frames), num_frames, size)


def _stream(kind: str, backbone: str, size: int) -> dict[str, Any]:
    stream = "spatial" if kind == "spatial" else "temporal"
    form: Any = kind if kind in ("inflated", "branched") else "stacked"
    with torch.device("meta"):
        model = HiddenTwoStream("full", backbone, _CLASSES, temporal=form, streams=(stream,))
    part = model.get_submodule(f"{stream}_stream")
    titles = {
        "spatial": f"spatial stream, {backbone}",
        "temporal": f"stacked temporal stream, {backbone}",
        "inflated": f"inflated temporal stream, {backbone}",
        "branched": f"action branch on MotionNet's encoder, {backbone}",
    }
    if kind == "spatial":
        return _measured(titles[kind], part, part, 11, size)
    if kind == "branched":
        features = (1, 1024, size // 32, size // 32)
        return _measured(titles[kind], part, lambda _: part(torch.empty(features, device="meta")), 11, size)
    flow = (1, 10, 2, size // 2, size // 2)
    return _measured(
        titles[kind], part, lambda _: part(torch.empty(flow, device="meta"), size, size), 11, size
    )


def _measured(
    title: str, module: nn.Module, run: Callable[[Tensor], Any], num_frames: int, size: int
) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []

    def seen(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda layer, _, output: layers.append(_layer(_short(module, name), layer, output))

    hooks = [
        layer.register_forward_hook(seen(name))
        for name, layer in module.named_modules()
        if isinstance(layer, _LEARNED)
    ]
    frames = torch.empty(1, num_frames, 3, size, size, device="meta")
    module.eval()  # batch normalisation refuses to learn from a single pixel
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = run(frames)
    for hook in hooks:
        hook.remove()
    trained = sum(parameter.numel() for parameter in module.parameters())
    fixed = sum(b.numel() for name, b in module.named_buffers() if name.endswith("bias"))
    result: dict[str, Any] = {
        "title": title,
        "num_frames": num_frames,
        "parameters": trained,
        "fixed_biases": fixed,
        "macs": counter.get_total_flops() // 2,
        "layers": layers,
    }
    if isinstance(output, list):
        stride = int(module.total_stride)  # type: ignore[arg-type]
        result["padded_size"] = size + -size % stride
        result["flow"] = [list(flow.shape[1:]) for flow in output]
    return result


def _short(module: nn.Module, name: str) -> str:
    """The name without the ".0" of a convolution that is wrapped with its activation alone."""
    parent = name.rpartition(".")[0]
    block = module.get_submodule(parent) if parent else module
    wrapped = isinstance(block, nn.Sequential) and isinstance(block[-1], nn.LeakyReLU) and len(block) == 2
    return parent if wrapped else name


def _layer(name: str, layer: nn.Module, output: Tensor) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "type": type(layer).__name__}
    if isinstance(layer, nn.Linear):
        described |= {"in_channels": layer.in_features, "out_channels": layer.out_features}
    elif isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
        described |= {
            "in_channels": layer.in_channels,
            "out_channels": layer.out_channels,
            "kernel": list(layer.kernel_size),
            "stride": list(layer.stride),
        }
    described["parameters"] = sum(parameter.numel() for parameter in layer.parameters())
    described["output"] = list(output.shape[1:])
    return described


def bench_models_text(result: dict[str, Any], layers: bool) -> str:
    """The result for people; with every layer if asked for."""
    lines = [f"{result['input']}, {result['num_classes']} classes"]
    width = max(len(model["name"]) for model in result["models"])
    for model in result["models"]:
        size = f"{model['parameters'] / 1e6:7.2f} M parameters {model['macs'] / 1e9:7.2f} GMAC"
        padded = model.get("padded_size", result["size"])
        note = "" if padded == result["size"] else f", padded to {padded}×{padded} px"
        lines.append(f"{model['name']:<{width}} {size}  {model['title']}{note}")
        if layers:
            lines += [f"    {_layer_text(layer)}" for layer in model["layers"]]
            lines += [f"    flow {_sides(flow)}" for flow in model.get("flow", [])]
    return "\n".join(lines)


def _layer_text(layer: dict[str, Any]) -> str:
    kernel = f"{_sides(layer['kernel'])} / {layer['stride'][-1]}" if "kernel" in layer else "linear"
    channels = f"{layer['in_channels']} → {layer['out_channels']}"
    return f"{layer['name']:<24} {kernel:<12} {channels:<14} {_sides(layer['output'])}"


def _sides(shape: list[int]) -> str:
    return "×".join(str(side) for side in shape)

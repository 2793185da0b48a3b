"""Maps the layers of the authors' Caffe networks to the parameters of `HiddenTwoStream`.

Source of layer names, their order and constants: the published network definitions in
bryanyzhu/Hidden-Two-Stream, `deploy.prototxt` for MotionNet alone and `stack_motionnet_vgg16_deploy.prototxt`
for MotionNet and VGG16.

Convention: Caffe orders colors B, G, R; this package orders them R, G, B. The input channels of conv1 are
frames × colors, so the conversion reverses them within each frame. The input of VGG16 is flow, (u, v) of each
frame pair, in the same order here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import torch
from torch import Tensor

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.types import FloatArray
from hidden_two_stream.weights.caffemodel import Layer

__all__ = [
    "CaffeNetworks",
    "bgr_to_rgb",
    "constant_warnings",
    "convert_layers",
    "find_networks",
    "ignored_layers",
]

_LEVELS = (5, 4, 3, 2)
_TAPS = np.array([0.25, 0.75, 0.75, 0.25], np.float32)

MOTION_LAYERS = {
    **{f"conv{block}{half}": f"conv{block}{half}.0" for block in range(1, 7) for half in ("", "_1")},
    **{f"conv_pr{level}": f"conv_pr{level}" for level in (6, *_LEVELS)},
    **{f"smooth_conv{level}": f"smooth_conv{level}" for level in _LEVELS},
    **{f"deconv{level}": f"deconv{level}.0" for level in _LEVELS},
    **{f"upsample_flow{level + 1}to{level}": f"upsample_flow{level + 1}to{level}" for level in _LEVELS},
}
"""Layers of MotionNet → modules of `motion_net`."""

_VGG16_CONVOLUTIONS = [
    (block, place) for block, depth in enumerate((2, 2, 3, 3, 3), start=1) for place in range(1, depth + 1)
]
TEMPORAL_LAYERS = {
    # Each convolution is followed by a ReLU, each block by a pooling.
    **{
        f"conv{block}_{place}_vgg16": f"features.{2 * index + block - 1}"
        for index, (block, place) in enumerate(_VGG16_CONVOLUTIONS)
    },
    **{f"fc{6 + index}_vgg16": f"classifier.{3 * index}" for index in range(3)},
}
"""Layers of VGG16 → modules of `temporal_stream.backbone`."""

CONSTANT_LAYERS: dict[str, tuple[FloatArray, ...]] = {
    name: tuple(np.asarray(value, np.float32) for value in values)
    for name, values in {
        "predict_flow2_scale20": (20.0,),
        "boudary_1": (20.0,),
        "boudary_3": (-1.0, 40.0),
        "boudary_5": (-1.0, 20.0),
        "predict_flow2_bias20": (20.0,),
        "predict_flow2_scale255": (6.375,),
        "predict_flow2_scale_upsample": (np.outer(_TAPS, _TAPS),),
        "predict_flow2_bias128": (-128.0,),
    }.items()
}
"""Constant layers between MotionNet and VGG16; "boudary" is the published spelling."""

_MOST_NAMED = 8  # problems that one error names


@dataclass(frozen=True)
class CaffeNetworks:
    """The networks of a caffemodel.

    Attributes:
        stacked: whether the file holds MotionNet and VGG16; if not, MotionNet alone.
        num_frames: frames per clip, from the input channels of conv1.
        num_classes: outputs of fc8; 0 for MotionNet alone.
    """

    stacked: bool
    num_frames: int
    num_classes: int

    @property
    def modules(self) -> dict[str, str]:
        """Names of Caffe's layers → names of modules of `HiddenTwoStream`."""
        modules = {layer: f"motion_net.{module}" for layer, module in MOTION_LAYERS.items()}
        if self.stacked:
            backbone = "temporal_stream.backbone"
            modules |= {layer: f"{backbone}.{module}" for layer, module in TEMPORAL_LAYERS.items()}
        return modules


def find_networks(layers: Sequence[Layer], origin: str) -> CaffeNetworks:
    """Return the networks that layers belong to, with the sizes that the layers' shapes tell.

    Args:
        layers: all layers of a caffemodel.
        origin: name of the file, for errors.

    Raises:
        CheckpointError: no layer belongs to MotionNet or VGG16.
    """
    shapes = {layer.name: layer.blobs[0].shape for layer in layers if layer.blobs}
    if not shapes.keys() & (MOTION_LAYERS.keys() | TEMPORAL_LAYERS.keys()):
        named = f"its layers with weights are {_first_few(sorted(shapes))}"
        found = named if shapes else "it has no layers with weights"
        raise CheckpointError(f"{origin} has no layers of MotionNet: {found}; expected conv1, conv1_1, …")
    channels = shapes.get("conv1", ())[1:2]
    rows = shapes.get("fc8_vgg16", ())[-2:-1]
    stacked = any(name in TEMPORAL_LAYERS for name in shapes)
    # A missing or impossible size becomes the paper's; `convert_layers` then reports the wrong layer.
    num_frames = channels[0] // 3 if channels and channels[0] % 3 == 0 and channels[0] >= 6 else 11
    num_classes = rows[0] if rows and rows[0] > 0 else 101
    return CaffeNetworks(stacked, num_frames, num_classes if stacked else 0)


def convert_layers(
    layers: Sequence[Layer], modules: Mapping[str, str], shapes: Mapping[str, Sequence[int]], origin: str
) -> dict[str, Tensor]:
    """Read the weights of all layers in `modules`.

    Args:
        layers: all layers of an open caffemodel.
        modules: names of Caffe's layers → names of modules, from `CaffeNetworks.modules`.
        shapes: shapes of the state dict, by name ("<module>.weight", "<module>.bias").
        origin: name of the file, for errors.

    Returns:
        State dict, float32; each tensor owns its memory. A deconvolution without bias gets zeros.

    Raises:
        CheckpointError: layers are missing, occur twice or have other shapes, or weights are not finite.
    """
    found = {layer.name: layer.blobs for layer in layers if layer.blobs}
    names = [layer.name for layer in layers if layer.blobs]
    problems = [f"{name} occurs twice" for name in modules if names.count(name) > 1]
    for name, module in modules.items():
        expected = [tuple(shapes[f"{module}.{part}"]) for part in ("weight", "bias")]
        problems += _problems(name, [blob.shape for blob in found.get(name, ())], expected)
    if problems:
        raise CheckpointError(
            f"{origin} does not match the published definition: {_first_few(problems, '; ')}; "
            "give the file of MotionNet, or of MotionNet and VGG16 stacked"
        )
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors[f"{module}.bias"] = torch.zeros(tuple(shapes[f"{module}.bias"]))
        for part, blob in zip(("weight", "bias"), found[name], strict=False):
            array = blob.read().reshape(tuple(shapes[f"{module}.{part}"]))
            if not (np.isfinite(array.min()) and np.isfinite(array.max())):
                raise CheckpointError(
                    f"{origin} has NaN or infinite values in the {part} of {name}; download it again"
                )
            tensors[f"{module}.{part}"] = torch.from_numpy(array)
    first = f"{modules['conv1']}.weight"
    tensors[first] = bgr_to_rgb(tensors[first])
    return tensors


def constant_warnings(layers: Sequence[Layer]) -> list[str]:
    """Return one sentence for each constant layer whose values differ from the published definition."""
    none = np.zeros((), np.float32)  # the neutral value of an array that was not published, such as a bias
    return [
        f"{layer.name} holds {_range(values)}, not {_range(constant)} as published; "
        "the imported network computes with the published value, and its results differ"
        for layer in layers
        if layer.name in CONSTANT_LAYERS
        for blob, constant in zip(layer.blobs, chain(CONSTANT_LAYERS[layer.name], repeat(none)), strict=False)
        if not _same(values := blob.read(), constant)
    ]


def ignored_layers(layers: Sequence[Layer], modules: Mapping[str, str]) -> list[str]:
    """Return the names of layers with arrays that are neither in `modules` nor known constants."""
    known = modules.keys() | CONSTANT_LAYERS.keys()
    return [layer.name for layer in layers if layer.blobs and layer.name not in known]


def bgr_to_rgb(weight: Tensor) -> Tensor:
    """Reverse the colors of each frame in the filters of a first layer, (out, 3T, k, k)."""
    rgb: Tensor = weight.unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    return rgb


def _problems(name: str, found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]) -> list[str]:
    """Describe what is wrong with the shapes of a layer's weight and bias; an empty list if they fit."""
    if not found:
        return [f"{name} is missing"]
    fewest = 1 if name.startswith(("deconv", "upsample_flow")) else 2
    if not fewest <= len(found) <= 2:
        return [f"{name} has {len(found)} arrays, expected weight and bias"]
    return [
        f"{part} of {name} has shape {shape}, expected {wanted}"
        for part, shape, wanted in zip(("weight", "bias"), found, expected, strict=False)
        if _without_leading_ones(shape, len(wanted)) != wanted
    ]


def _without_leading_ones(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Drop leading axes of old files, which have four: (1, 1, 1, out) for a bias, (1, 1, out, in) for fc6."""
    while len(shape) > axes and shape[0] == 1:
        shape = shape[1:]
    return shape


def _same(values: FloatArray, constant: FloatArray) -> bool:
    """Return whether all channels of `values` hold `constant`, a number or a 4×4 kernel."""
    if values.size == 0 or values.shape[values.ndim - constant.ndim :] != constant.shape:
        return False
    return bool(np.allclose(values, constant, rtol=1e-4, atol=1e-6))


def _first_few(items: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return separator.join(items[:_MOST_NAMED]) + more


def _range(values: FloatArray) -> str:
    if values.size == 0:
        return "nothing"
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"

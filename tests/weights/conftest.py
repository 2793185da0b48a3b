"""A writer of binary caffemodels, independent of the reader, which follows Caffe's serializer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pytest

from hidden_two_stream.motion.networks.motionnet import MotionNet
from hidden_two_stream.recognition.backbones import VGG16
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.caffe_layers import CaffeNetworks

Arrays = Mapping[str, Sequence[np.ndarray]]
Form = Literal["new", "old", "unpacked", "doubles"]


def varint(value: int) -> bytes:
    value %= 2**64
    digits = []
    while value >= 0x80:
        digits.append(value % 0x80 + 0x80)
        value //= 0x80
    return bytes([*digits, value])


def tag(number: int, wire_type: int) -> bytes:
    return varint(number * 8 + wire_type)


def in_bytes(number: int, *parts: bytes) -> list[bytes]:
    return [tag(number, 2), varint(sum(len(part) for part in parts)), *parts]


def blob_parts(array: np.ndarray, form: Form) -> list[bytes]:
    """Return a BlobProto. "old" has four sizes instead of a shape, "unpacked" a tag before each number."""
    numbers = np.ascontiguousarray(array, "<f8" if form == "doubles" else "<f4")
    if form == "unpacked":
        dims = b"".join(tag(1, 0) + varint(side) for side in array.shape)
        data = b"".join(tag(5, 5) + struct.pack("<f", number) for number in numbers.ravel())
        return [*in_bytes(7, dims), data]
    if form == "old":
        sizes = (1,) * (4 - array.ndim) + array.shape
        head = [b"".join(tag(index, 0) + varint(side) for index, side in enumerate(sizes, start=1))]
    else:
        head = in_bytes(7, *in_bytes(1, b"".join(varint(side) for side in array.shape)))
    return [*head, *in_bytes(8 if form == "doubles" else 5, memoryview(numbers).cast("B"))]  # type: ignore[list-item]


def write_model(file: BinaryIO, layers: Arrays, form: Form = "new") -> None:
    """Write a NetParameter with one layer per name, and other fields in between."""
    file.write(b"".join(in_bytes(1, b"net")))
    number, name_number, blobs_number = (2, 4, 6) if form == "old" else (100, 1, 7)
    for name, arrays in layers.items():
        parts = in_bytes(name_number, name.encode())
        parts += [tag(5, 0), varint(4)] if form == "old" else in_bytes(2, b"Convolution")
        parts += in_bytes(3, b"below")
        for array in arrays:
            parts += in_bytes(blobs_number, *blob_parts(array, form))
        parts += [tag(1001 if form == "old" else 10, 5), struct.pack("<f", 1.0)]
        for part in in_bytes(number, *parts):
            file.write(part)


@pytest.fixture
def write_caffemodel(tmp_path: Path) -> Callable[..., Path]:
    """Return a function of (layers, form="new", name="net.caffemodel") that gives the path of the file."""

    def write(layers: Arrays, form: Form = "new", name: str = "net.caffemodel") -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            write_model(file, layers, form)
        return path

    return write


WIDTHS = (4, 6, 8, 10, 12, 14)
VGG16_WIDTHS, HIDDEN = (4, 6, 8, 10, 12), 16


@pytest.fixture
def small_model() -> HiddenTwoStream:
    """Return the reference's two networks with few channels, four frames and five classes."""
    model = HiddenTwoStream("nano", "small", 5, 4, streams=("temporal",), border="reference")
    model.motion_net = MotionNet(4, WIDTHS)
    model.temporal_stream.backbone = VGG16(6, 5, (0.9, 0.8), VGG16_WIDTHS, HIDDEN)
    return model.eval()


@pytest.fixture
def small_layers(small_model: HiddenTwoStream) -> dict[str, list[np.ndarray]]:
    """Return random weights for `small_model`, by Caffe's names, in Caffe's shapes."""
    return random_layers({name: tuple(tensor.shape) for name, tensor in small_model.state_dict().items()})


@pytest.fixture
def make_layers() -> Callable[..., dict[str, list[np.ndarray]]]:
    """Return a function from the shapes of a state dict to random weights by Caffe's names."""
    return random_layers


def random_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[np.ndarray]]:
    """Return weights that keep the size of activations, nonzero biases, and the constants in between."""
    stacked = any(name.startswith("temporal_stream") for name in shapes)
    generator = np.random.default_rng(0)
    layers: dict[str, list[np.ndarray]] = {}
    for name, module in CaffeNetworks(stacked, 0, 0).modules.items():
        weight, bias = shapes[f"{module}.weight"], shapes[f"{module}.bias"]
        # A deconvolution of stride 2 sums a quarter of its 4×4 taps over its inputs, the first axis.
        fan_in = 4 * weight[0] if name.startswith(("deconv", "upsample")) else int(np.prod(weight[1:]))
        scale = np.float32(np.sqrt(2 / fan_in))
        layers[name] = [
            generator.standard_normal(weight, np.float32) * scale,
            generator.standard_normal(bias, np.float32) * np.float32(0.1),
        ]
    # Flow of a few pixels, of which a small part is beyond ±20.
    layers["conv_pr2"] = [array * np.float32(0.4) for array in layers["conv_pr2"]]
    if stacked:
        channels = shapes["temporal_stream.backbone.features.0.weight"][1]
        for name, values in CONSTANTS.items():
            layers[name] = [np.full(channels, value, np.float32) for value in values]
        taps = np.float32([0.25, 0.75, 0.75, 0.25])
        layers["predict_flow2_scale_upsample"] = [np.tile(np.outer(taps, taps), (channels, 1, 1, 1))]
    return layers


# Copied from the published network definition, independent of the package.
CONSTANTS = {
    "predict_flow2_scale20": (20,),
    "boudary_1": (20,),
    "boudary_3": (-1, 40),
    "boudary_5": (-1, 20),
    "predict_flow2_bias20": (20,),
    "predict_flow2_scale255": (6.375,),
    "predict_flow2_bias128": (-128,),
}

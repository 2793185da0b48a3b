"""The layer mapping: every weight is converted, colors are reversed, and mismatches are reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights.caffe_layers import (
    CaffeNetworks,
    constant_warnings,
    convert_layers,
    find_networks,
    ignored_layers,
)
from hidden_two_stream.weights.caffemodel import open_caffemodel

Layers = dict[str, list[np.ndarray]]
Write = Callable[..., Path]


def import_into(model: HiddenTwoStream, path: Path) -> CaffeNetworks:
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    with open_caffemodel(path) as layers:
        networks = find_networks(layers, "file")
        model.load_state_dict(convert_layers(layers, networks.modules, shapes, "file"))
    return networks


def rejection(model: HiddenTwoStream, path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        import_into(model, path)
    return str(caught.value)


@pytest.mark.parametrize("streams", [("temporal",), ()])
def test_every_weight_and_buffer_of_the_full_networks_is_mapped(streams: tuple[str, ...]) -> None:
    with torch.device("meta"):
        model = HiddenTwoStream("full", "vgg16", 101, streams=streams)
    modules = CaffeNetworks(bool(streams), 11, 101).modules
    parts = [f"{module}.{part}" for module in modules.values() for part in ("weight", "bias")]
    assert sorted(parts) == sorted(model.state_dict())
    assert len(modules) == (45 if streams else 29)


@pytest.mark.parametrize("form", ["new", "old"])
def test_weights_are_converted_by_name(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write, form: str
) -> None:
    assert import_into(small_model, write_caffemodel(small_layers, form)) == CaffeNetworks(True, 4, 5)
    state = small_model.state_dict()
    for name, module in {
        "conv1_1": "motion_net.conv1_1.0",
        "conv6_1": "motion_net.conv6_1.0",
        "conv_pr6": "motion_net.conv_pr6",
        "deconv5": "motion_net.deconv5.0",
        "deconv2": "motion_net.deconv2.0",
        "upsample_flow3to2": "motion_net.upsample_flow3to2",
        "smooth_conv4": "motion_net.smooth_conv4",
        "conv_pr2": "motion_net.conv_pr2",
        "conv1_1_vgg16": "temporal_stream.backbone.features.0",
        "conv2_1_vgg16": "temporal_stream.backbone.features.5",
        "conv3_3_vgg16": "temporal_stream.backbone.features.14",
        "conv5_3_vgg16": "temporal_stream.backbone.features.28",
        "fc6_vgg16": "temporal_stream.backbone.classifier.0",
        "fc8_vgg16": "temporal_stream.backbone.classifier.6",
    }.items():
        for array, part in zip(small_layers[name], ("weight", "bias"), strict=True):
            np.testing.assert_array_equal(state[f"{module}.{part}"].numpy(), array, err_msg=name)


def test_conv1_sees_red_where_caffe_saw_it(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    weight = np.zeros_like(small_layers["conv1"][0])
    weight[0, 3 + 2] = 1  # B, G, R of the first frame, then B, G, R: red of the second
    weight[1, 6 + 0] = 1  # blue of the third
    small_layers["conv1"] = [weight, np.zeros_like(small_layers["conv1"][1])]
    import_into(small_model, write_caffemodel(small_layers))
    frames = torch.zeros(1, 4, 3, 32, 32)
    frames[0, 1, 0], frames[0, 2, 2] = 5, 7  # red of the second frame, blue of the third
    features = small_model.motion_net.conv1(frames.flatten(1, 2))
    # Each filter sums its nine taps; at the center all of them are inside the frame.
    assert features[0, :2, 16, 16].tolist() == [45, 63]


def test_a_deconvolution_without_bias_gets_zeros(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    small_model.motion_net.deconv4[0].bias.fill_(9)
    del small_layers["deconv4"][1], small_layers["upsample_flow6to5"][1]
    import_into(small_model, write_caffemodel(small_layers))
    assert small_model.motion_net.deconv4[0].bias.tolist() == [0] * 8
    assert small_model.motion_net.upsample_flow6to5.bias.tolist() == [0] * 6


def test_motionnet_alone(small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write) -> None:
    motion = {name: arrays for name, arrays in small_layers.items() if "vgg16" not in name}
    with open_caffemodel(write_caffemodel(motion)) as layers:
        assert find_networks(layers, "file") == CaffeNetworks(False, 4, 0)


def test_an_impossible_number_of_input_channels_becomes_the_papers(write_caffemodel: Write) -> None:
    for channels, num_frames in ((6, 2), (33, 11), (3, 11), (7, 11)):
        weight = np.zeros((64, channels, 3, 3), np.float32)
        with open_caffemodel(write_caffemodel({"conv1": [weight]})) as layers:
            assert find_networks(layers, "file").num_frames == num_frames


def change(layers: Layers, name: str) -> None:
    """Break `layers` in one of the ways tested below."""
    weight, bias = layers["conv3"]
    broken: dict[str, Callable[[], Any]] = {
        "missing": lambda: layers.pop("conv3"),
        "no blobs": lambda: layers.update(conv3=[]),
        "no bias": lambda: layers.update(conv3=[weight]),
        "three": lambda: layers.update(conv3=[weight, bias, bias]),
        "shape": lambda: layers.update(conv3=[weight[:, :5], bias]),
        "transposed": lambda: layers.update(fc7_vgg16=[layers["fc6_vgg16"][0].T, layers["fc7_vgg16"][1]]),
        "nan": lambda: layers.update(conv3=[weight, np.full_like(bias, np.nan)]),
        "inf": lambda: layers.update(
            conv3=[np.append(weight.ravel()[1:], np.float32(-np.inf)).reshape(weight.shape), bias]
        ),
        "one frame": lambda: layers.update(conv1=[layers["conv1"][0][:, :3], layers["conv1"][1]]),
        "fc8": lambda: layers.pop("fc8_vgg16"),
    }
    broken[name]()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "conv3 is missing"),
        ("no blobs", "conv3 is missing"),
        ("no bias", "conv3 has 1 arrays, expected weight and bias"),
        ("three", "conv3 has 3 arrays, expected weight and bias"),
        ("shape", "weight of conv3 has shape (8, 5, 3, 3), expected (8, 6, 3, 3)"),
        ("transposed", "weight of fc7_vgg16 has shape (588, 16), expected (16, 16)"),
        ("nan", "NaN or infinite values in the bias of conv3"),
        ("inf", "NaN or infinite values in the weight of conv3"),
        ("one frame", "weight of conv1 has shape (4, 3, 3, 3), expected (4, 12, 3, 3)"),
        ("fc8", "fc8_vgg16 is missing"),
    ],
)
def test_mismatches_are_reported(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write, how: str, message: str
) -> None:
    change(small_layers, how)
    text = rejection(small_model, write_caffemodel(small_layers))
    assert text.startswith("file")
    assert message in text


def test_all_mismatches_are_in_one_error(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    change(small_layers, "shape")
    few = {name: arrays for name, arrays in small_layers.items() if not name.startswith(("conv4", "fc"))}
    few.pop("deconv2")
    text = rejection(small_model, write_caffemodel(few))
    for part in (
        "weight of conv3",
        "conv4 is",
        "conv4_1 is",
        "deconv2 is",
        "conv4_3_vgg16 is",
        "fc6_vgg16 is",
    ):
        assert part in text, part
    assert "; and 2 more" in text  # ten problems, eight of them named
    assert "conv1 is" not in text


def test_vgg16_without_motionnet_is_rejected(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    alone = {name: arrays for name, arrays in small_layers.items() if name.endswith("_vgg16")}
    text = rejection(small_model, write_caffemodel(alone))
    assert "conv1 is missing; conv1_1 is missing" in text
    assert "and 21 more" in text  # 29 layers of MotionNet


def test_other_networks_are_rejected(small_model: HiddenTwoStream, write_caffemodel: Write) -> None:
    other = {f"res{index}": [np.zeros(2, np.float32)] for index in range(10)}
    text = rejection(small_model, write_caffemodel(other))
    assert "has no layers of MotionNet: its layers with weights are res0, res1, " in text
    assert "res7, and 2 more" in text
    assert "it has no layers with weights" in rejection(small_model, write_caffemodel({"data": []}))


def test_a_layer_that_occurs_twice_is_rejected(
    small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    path = write_caffemodel(small_layers)
    again = write_caffemodel({"conv2": small_layers["conv2"]}, name="again")
    path.write_bytes(path.read_bytes() + again.read_bytes())
    assert "conv2 occurs twice" in rejection(small_model, path)


def test_published_constants_give_no_warning(small_layers: Layers, write_caffemodel: Write) -> None:
    for form in ("new", "old"):
        with open_caffemodel(write_caffemodel(small_layers, form)) as layers:
            assert constant_warnings(layers) == []


@pytest.mark.parametrize(
    ("name", "index", "holds"),
    [
        ("predict_flow2_scale20", 0, "holds 21, not 20 as published"),
        ("boudary_1", 0, "holds 21, not 20"),
        ("boudary_3", 0, "holds 0, not -1"),
        ("boudary_3", 1, "holds 41, not 40"),
        ("boudary_5", 1, "holds 21, not 20"),
        ("predict_flow2_bias20", 0, "holds 21, not 20"),
        ("predict_flow2_scale255", 0, "holds 7.375, not 6.375"),
        ("predict_flow2_scale_upsample", 0, "holds 1.0625 to 1.5625, not 0.0625 to 0.5625"),
        ("predict_flow2_bias128", 0, "holds -127, not -128"),
    ],
)
def test_other_constants_give_a_warning(
    small_layers: Layers, write_caffemodel: Write, name: str, index: int, holds: str
) -> None:
    small_layers[name][index] = small_layers[name][index] + 1
    with open_caffemodel(write_caffemodel(small_layers)) as layers:
        (warning,) = constant_warnings(layers)
    assert warning.startswith(name)
    assert holds in warning


def test_one_channel_that_differs_is_enough_for_a_warning(
    small_layers: Layers, write_caffemodel: Write
) -> None:
    small_layers["predict_flow2_bias128"][0][3] = 0
    small_layers["predict_flow2_scale20"].append(
        np.float32([0, 0, 0, 0, 0, 5])
    )  # a bias that was not published
    small_layers["predict_flow2_scale_upsample"] = [np.ones((6, 1, 2, 2), np.float32)]
    small_layers["boudary_1"] = [np.zeros(0, np.float32)]
    with open_caffemodel(write_caffemodel(small_layers)) as layers:
        warnings = "\n".join(constant_warnings(layers))
    assert "predict_flow2_bias128 holds -128 to 0" in warnings
    assert "predict_flow2_scale20 holds 0 to 5, not 0" in warnings
    assert "predict_flow2_scale_upsample holds 1, not" in warnings
    assert "boudary_1 holds nothing" in warnings


def test_other_layers_with_arrays_are_listed(small_layers: Layers, write_caffemodel: Write) -> None:
    small_layers |= {
        "FlowScale6_0": [np.float32([0.625])],
        "action_loss": [],
        "FlowDeltas2_9": [np.ones((2, 1, 3, 3))],
    }
    with open_caffemodel(write_caffemodel(small_layers)) as layers:
        modules = find_networks(layers, "file").modules
        assert ignored_layers(layers, modules) == ["FlowScale6_0", "FlowDeltas2_9"]

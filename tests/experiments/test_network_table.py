"""`hts bench --networks`: the published table, and counts by arithmetic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hidden_two_stream.cli.bench import networks_text
from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments.network_table import measure_networks

TABLE = [
    # layer, in channels, out channels, kernel, stride, output at 224 (published definition of MotionNet)
    ("conv1", 33, 64, 3, 1, 224), ("conv1_1", 64, 64, 3, 1, 224),
    ("conv2", 64, 128, 3, 2, 112), ("conv2_1", 128, 128, 3, 1, 112),
    ("conv3", 128, 256, 3, 2, 56), ("conv3_1", 256, 256, 3, 1, 56),
    ("conv4", 256, 512, 3, 2, 28), ("conv4_1", 512, 512, 3, 1, 28),
    ("conv5", 512, 512, 3, 2, 14), ("conv5_1", 512, 512, 3, 1, 14),
    ("conv6", 512, 1024, 3, 2, 7), ("conv6_1", 1024, 1024, 3, 1, 7),
    ("conv_pr6", 1024, 20, 3, 1, 7),
    ("upsample_flow6to5", 20, 20, 4, 2, 14), ("deconv5", 1024, 512, 4, 2, 14),
    ("smooth_conv5", 1044, 512, 3, 1, 14), ("conv_pr5", 512, 20, 3, 1, 14),
    ("upsample_flow5to4", 20, 20, 4, 2, 28), ("deconv4", 512, 256, 4, 2, 28),
    ("smooth_conv4", 788, 256, 3, 1, 28), ("conv_pr4", 256, 20, 3, 1, 28),
    ("upsample_flow4to3", 20, 20, 4, 2, 56), ("deconv3", 256, 128, 4, 2, 56),
    ("smooth_conv3", 404, 128, 3, 1, 56), ("conv_pr3", 128, 20, 3, 1, 56),
    ("upsample_flow3to2", 20, 20, 4, 2, 112), ("deconv2", 128, 64, 4, 2, 112),
    ("smooth_conv2", 212, 64, 3, 1, 112), ("conv_pr2", 64, 20, 3, 1, 112),
]  # fmt: skip

TINY_TABLE = [
    ("conv1", 33, 64, 7, 1, 224), ("conv2", 64, 128, 5, 2, 112),
    ("conv3", 128, 256, 3, 2, 56), ("conv4", 256, 128, 3, 2, 28), ("conv_pr4", 128, 20, 3, 1, 28),
    ("upsample_flow4to3", 20, 20, 4, 2, 56), ("deconv3", 128, 128, 4, 2, 56),
    ("smooth_conv3", 404, 128, 3, 1, 56), ("conv_pr3", 128, 20, 3, 1, 56),
    ("upsample_flow3to2", 20, 20, 4, 2, 112), ("deconv2", 128, 64, 4, 2, 112),
    ("smooth_conv2", 212, 64, 3, 1, 112), ("conv_pr2", 64, 20, 3, 1, 112),
]  # fmt: skip

MOTION = {
    "full",
    "full-2",
    "tiny",
    "tiny-2",
    "nano",
    "nano-fine",
    "vgg16",
    "resnet50",
    "flownets",
    "flownets-11",
}
BACKBONES = ("small", "resnet18", "resnet50", "vgg16")


def one(name: str, size: int = 224) -> dict[str, Any]:
    (network,) = measure_networks([name], size).networks
    assert network.name == name
    return network.to_dict()


def is_deconvolution(layer: str) -> bool:
    return layer.startswith(("deconv", "upsample"))


def macs(table: list[tuple[str, int, int, int, int, int]]) -> int:
    """k² · inputs · outputs for each output pixel of a convolution, each input pixel of a deconvolution."""
    total = 0
    for layer, inputs, outputs, kernel, _, size in table:
        side = size // 2 if is_deconvolution(layer) else size
        total += kernel * kernel * inputs * outputs * side * side
    return total


@pytest.mark.parametrize(("name", "table"), [("full", TABLE), ("tiny", TINY_TABLE)])
def test_layers_and_counts_are_those_of_the_table(
    name: str, table: list[tuple[str, int, int, int, int, int]]
) -> None:
    model = one(name)
    found = {layer["name"]: layer for layer in model["layers"]}
    assert [layer["name"] for layer in model["layers"]] == [layer for layer, *_ in table]
    for layer, inputs, outputs, kernel, stride, size in table:
        deconvolution = is_deconvolution(layer)
        assert found[layer]["type"] in (("ConvTranspose2d", "Deconv") if deconvolution else ("Conv2d",))
        assert found[layer] == {
            "name": layer,
            "type": found[layer]["type"],
            "in_channels": inputs,
            "out_channels": outputs,
            "kernel": [kernel, kernel],
            "stride": [stride, stride],
            "parameters": kernel * kernel * inputs * outputs + (0 if deconvolution else outputs),
            "output": [outputs, size, size],
        }
    assert model["num_frames"] == 11
    assert model["parameters"] == sum(layer["parameters"] for layer in model["layers"])
    assert model["fixed_biases"] == sum(row[2] for row in table if is_deconvolution(row[0]))
    assert model["macs"] == macs(table)
    sides = (112, 56, 28, 14, 7) if name == "full" else (112, 56, 28)
    assert model["flow"] == [[10, 2, side, side] for side in sides]


def test_published_sizes() -> None:
    assert round(one("full")["parameters"] / 1e6, 2) == 42.32
    assert round(one("tiny")["parameters"] / 1e6, 2) == 1.95
    assert one("nano")["parameters"] < 0.1e6
    assert one("nano")["macs"] < 1e9
    fine = one("nano-fine")
    assert fine["parameters"] == one("nano")["parameters"]
    finest = (224 // 8) ** 2 * 24 * (9 * 24 + 8 + 4)  # look, predict and log_share, for each of ten pairs
    assert fine["macs"] - one("nano")["macs"] == 2 * 10 * finest
    # VGG16's temporal stream at 101 classes; MACs of its 13 convolutions and 3 linear layers by hand.
    vgg16 = one("temporal-vgg16")
    assert round(vgg16["parameters"] / 1e6, 1) == 134.7
    convolutions = (
        (20, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56),
        (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 28), (512, 512, 14), (512, 512, 14),
        (512, 512, 14),
    )  # fmt: skip
    expected = sum(9 * inputs * outputs * side * side for inputs, outputs, side in convolutions)
    assert vgg16["macs"] == expected + 25088 * 4096 + 4096 * 4096 + 4096 * 101


def test_two_frames_have_six_channels_in_and_two_out() -> None:
    model = one("full-2", 64)
    assert model["num_frames"] == 2
    assert model["layers"][0]["in_channels"] == 6
    assert [layer["out_channels"] for layer in model["layers"] if "conv_pr" in layer["name"]] == [2] * 5
    assert model["flow"] == [[1, 2, side, side] for side in (32, 16, 8, 4, 2)]
    assert [flow[1:] for flow in one("flownets", 64)["flow"]] == [
        [2, side, side] for side in (16, 8, 4, 2, 1)
    ]


def test_inflated_and_branched_streams() -> None:
    """Small: 3 × the 3×3 weights, ten times the frames; a branch: four of them on 7×7, one linear."""
    flat, inflated = one("temporal-small"), one("inflated-small")
    widths = ((32, 32, 112), (32, 64, 56), (64, 128, 28), (128, 192, 28))
    first = {"flat": 9 * 20 * 32, "inflated": 27 * 2 * 32}
    rest = sum(9 * inputs * outputs for inputs, outputs, _ in widths[1:])
    norms = 2 * (32 + 64 + 128 + 192)
    head = 192 * 101 + 101
    assert flat["parameters"] == 2 * 20 + first["flat"] + rest + norms + head
    assert inflated["parameters"] == 2 * 2 + first["inflated"] + 3 * rest + norms + head
    by_pixel = sum(9 * inputs * outputs * side * side for inputs, outputs, side in widths[1:])
    assert flat["macs"] == first["flat"] * 112**2 + by_pixel + 192 * 101
    assert inflated["macs"] == 10 * (first["inflated"] * 112**2 + 3 * by_pixel) + 192 * 101
    branch = one("branched-small")
    weights = 9 * (1024 * 64 + 64 * 64 + 64 * 128 + 128 * 192)
    norms = 2 * (1024 + 64 + 64 + 128 + 192)
    assert branch["parameters"] == weights + norms + head
    assert branch["macs"] == weights * 49 + 192 * 101


def test_all_networks_without_a_name() -> None:
    table = measure_networks(size=32)
    result = table.to_dict()
    streams = {f"{kind}-{b}" for kind in ("spatial", "temporal", "inflated", "branched") for b in BACKBONES}
    assert {model["name"] for model in result["models"]} == MOTION | streams
    assert result["num_classes"] == 101
    for model in result["models"]:
        assert model["parameters"] > 0
        assert model["macs"] > 0
        assert ("flow" in model) == (model["name"] in MOTION)
        if model["name"] not in MOTION:
            assert model["layers"][-1]["output"] == [101]
            assert model["layers"][-1]["type"] == "Linear"
            assert {"kernel", "stride"}.isdisjoint(model["layers"][-1])
    lines = networks_text(table, layers=False).splitlines()
    assert len(lines) == 1 + len(result["models"])


@pytest.mark.parametrize("size", [0, 31, 33, 100, -32])
def test_a_size_that_does_not_fit(size: int) -> None:
    with pytest.raises(UsageError, match=f"size is {size}; expected a multiple of 32"):
        measure_networks(["tiny"], size)


def test_unknown_networks_are_named_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"huge, giant; choose from full, .*branched-vgg16"):
        measure_networks(["huge", "tiny", "giant"])
    assert main(["bench", "--networks", "huge"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "huge" in err


def test_json_and_text_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--networks", "tiny", "nano", "--size", "64", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    table = measure_networks(["tiny", "nano"], 64)
    assert result == table.to_dict()
    assert [model["name"] for model in result["models"]] == ["tiny", "nano"]
    assert main(["bench", "--networks", "tiny", "nano", "--size", "64"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == networks_text(table, layers=True)
    lines = text.splitlines()
    assert "64×64" in lines[0]
    assert lines[1].split()[:6] == [
        "tiny",
        "1.95",
        "M",
        "parameters",
        f"{macs(TINY_TABLE) / 1e9 * (64 / 224) ** 2:.2f}",
        "GMAC",
    ]
    assert lines[2].split() == ["conv1", "7×7", "/", "1", "33", "→", "64", "64×64×64"]
    assert lines[3].split() == ["conv2", "5×5", "/", "2", "64", "→", "128", "128×32×32"]
    assert sum(line.split() == ["flow", "10×2×32×32"] for line in lines) == 2  # nano's too, at half the size
    assert sum(line.startswith("nano") for line in lines) == 1

"""Imported weights agree with OpenCV, which runs the reference's graph from the same caffemodel.

The graph is that of the authors' `stack_motionnet_vgg16_deploy.prototxt`. OpenCV has no Bias layer. A Scale
layer of weight 1 with a bias does the same, so these files hold such layers (…_cv) beside the published ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hidden_two_stream as hts
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.weights import caffe_layers
from hidden_two_stream.weights.caffe_layers import convert_layers, find_networks
from hidden_two_stream.weights.caffemodel import open_caffemodel

Layers = dict[str, list[np.ndarray]]
Write = Callable[..., Path]
SIZE = 224  # VGG16's fc6 reads 7×7 in Caffe, without pooling
TOLERANCE = 1e-3  # of the output's range: two engines, float32


@pytest.fixture(scope="module")
def cv2() -> ModuleType:
    """Return OpenCV with its Caffe importer, which OpenCV 5 does not have."""
    module = pytest.importorskip("cv2")
    if not hasattr(module.dnn, "readNetFromCaffe"):
        reason = f"OpenCV {module.__version__} cannot read Caffe models; OpenCV 4 can"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    loaded: ModuleType = module
    return loaded


def layer(name: str, kind: str, bottoms: Sequence[str], top: str, parameters: str = "") -> str:
    below = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {below} top: "{top}" {parameters} }}\n'


def convolution(
    name: str, bottom: str, outputs: int, slope: float | None, stride: int = 1, top: str = ""
) -> str:
    """Return a 3×3 convolution, with a leaky ReLU of `slope` behind it unless that is None."""
    top = top or name
    size = f"num_output: {outputs} pad: 1 kernel_size: 3 stride: {stride}"
    return layer(name, "Convolution", [bottom], top, f"convolution_param {{ {size} }}") + relu(top, slope)


def deconvolution(name: str, bottom: str, outputs: int, slope: float | None, more: str = "") -> str:
    size = f"num_output: {outputs} pad: 1 kernel_size: 4 stride: 2 {more}"
    return layer(name, "Deconvolution", [bottom], name, f"convolution_param {{ {size} }}") + relu(name, slope)


def relu(blob: str, slope: float | None) -> str:
    if slope is None:
        return ""
    return layer(f"relu_{blob}", "ReLU", [blob], blob, f"relu_param {{ negative_slope: {slope} }}")


def motionnet_graph(layers: Layers) -> str:
    """Return the graph of MotionNet from "data" to "predict_flow2", with the channels of the weights."""
    outputs = {name: len(arrays[-1]) for name, arrays in layers.items()}
    channels = layers["conv1"][0].shape[1]
    text = f'input: "data" input_dim: 1 input_dim: {channels} input_dim: {SIZE} input_dim: {SIZE}\n'
    bottom = "data"
    for block in range(1, 7):
        text += convolution(f"conv{block}", bottom, outputs[f"conv{block}"], 0.1, 1 if block == 1 else 2)
        bottom = f"conv{block}_1"
        text += convolution(bottom, f"conv{block}", outputs[bottom], 0.1)
    text += convolution("conv_pr6", bottom, outputs["conv_pr6"], None, top="predict_flow6")
    for level in (5, 4, 3, 2):
        upsampled = f"upsample_flow{level + 1}to{level}"
        text += deconvolution(f"deconv{level}", bottom, outputs[f"deconv{level}"], 0.1)
        text += deconvolution(upsampled, f"predict_flow{level + 1}", outputs[upsampled], None)
        text += layer(f"cat{level}", "Concat", [f"conv{level}_1", f"deconv{level}", upsampled], f"cat{level}")
        bottom = f"smooth_conv{level}"
        text += convolution(bottom, f"cat{level}", outputs[bottom], None)
        text += convolution(f"conv_pr{level}", bottom, outputs["conv_pr6"], None, top=f"predict_flow{level}")
    return text


def temporal_graph(layers: Layers) -> str:
    """Return the graph from "predict_flow2" over clamping and upsampling to "fc8_vgg16"."""
    channels = len(layers["conv_pr2"][1])
    text, bottom = "", "predict_flow2"
    for name in (
        *("predict_flow2_scale20", "boudary_1_cv", "relu", "boudary_3", "relu", "boudary_5"),
        *("predict_flow2_bias20_cv", "predict_flow2_scale255", "upsample", "predict_flow2_bias128_cv"),
    ):
        if name == "relu":
            text += relu(bottom, 0)
        elif name == "upsample":
            name = "predict_flow2_scale_upsample"
            text += deconvolution(name, bottom, channels, None, f"group: {channels} bias_term: false")
        else:
            bias = "true" if len(layers[name]) == 2 else "false"
            text += layer(name, "Scale", [bottom], name, f"scale_param {{ bias_term: {bias} }}")
        bottom = bottom if name == "relu" else name
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for place in range(1, depth + 1):
            name = f"conv{block}_{place}_vgg16"
            text += convolution(name, bottom, len(layers[name][1]), 0)
            bottom = name
        text += layer(
            f"pool{block}", "Pooling", [bottom], f"pool{block}", "pooling_param { kernel_size: 2 stride: 2 }"
        )
        bottom = f"pool{block}"
    for number in (6, 7, 8):
        name = f"fc{number}_vgg16"
        size = f"inner_product_param {{ num_output: {len(layers[name][1])} }}"
        text += layer(name, "InnerProduct", [bottom], name, size) + relu(name, None if number == 8 else 0)
        bottom = name
    return text


def with_opencv_layers(layers: Layers) -> Layers:
    """Return the layers with copies of the Bias layers that OpenCV can run."""
    biases = {
        f"{name}_cv": [np.ones_like(layers[name][0]), layers[name][0]]
        for name in ("boudary_1", "predict_flow2_bias20", "predict_flow2_bias128")
    }
    return layers | biases


class Reference:
    """The reference's graph in OpenCV, from `frames` (1, T, 3, H, W) to raw flow and logits."""

    def __init__(self, cv2: ModuleType, layers: Layers, caffemodel: Path) -> None:
        graph = caffemodel.with_suffix(".prototxt")
        graph.write_text(motionnet_graph(layers) + temporal_graph(layers))
        self.net = cv2.dnn.readNetFromCaffe(str(graph), str(caffemodel))

    def __call__(self, frames: Tensor) -> tuple[np.ndarray, np.ndarray]:
        bgr = frames.numpy()[:, :, ::-1]
        self.net.setInput(np.ascontiguousarray(bgr.reshape(1, -1, SIZE, SIZE)))
        raw, logits = self.net.forward(["predict_flow2", "fc8_vgg16"])
        return raw, logits


def random_frames(num_frames: int) -> Tensor:
    """Return color noise, normalized as `frames` are: (pixel − mean) / 255, R, G, B."""
    pixels = np.random.default_rng(1).integers(0, 256, (num_frames, 3, SIZE, SIZE))
    mean = np.array([123, 117, 104]).reshape(3, 1, 1)
    return torch.from_numpy(((pixels - mean) / 255).astype(np.float32))[None]


def deviation(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference as a fraction of the reference's range."""
    return float(np.abs(ours - reference).max() / np.ptp(reference))


@torch.inference_mode()
def deviations(model: HiddenTwoStream, frames: Tensor, reference: Reference) -> tuple[float, float]:
    """Return the deviations of the finest flow and of the logits.

    Raw flow × 20 is px of the input, and × 20 / 2 is px of its own grid.
    """
    raw, logits = reference(frames)
    clamped = float((np.abs(raw * 20) > 20).mean())
    assert 0.001 < clamped < 0.3, f"{clamped:.2%} of the flow beyond 20 px: the clamp is not tested"
    flow = model.motion(frames)[0].flatten(1, 2).numpy()
    return deviation(flow, raw * 20 / 2), deviation(model.temporal(frames).numpy(), logits)


def load_into(model: HiddenTwoStream, path: Path) -> HiddenTwoStream:
    with open_caffemodel(path) as layers:
        modules = find_networks(layers, "file").modules
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        model.load_state_dict(convert_layers(layers, modules, shapes, "file"))
    return model


@pytest.fixture
def small_reference(cv2: ModuleType, small_layers: Layers, write_caffemodel: Write) -> tuple[Reference, Path]:
    path = write_caffemodel(with_opencv_layers(small_layers))
    return Reference(cv2, small_layers | with_opencv_layers(small_layers), path), path


def test_small_networks_agree(small_model: HiddenTwoStream, small_reference: tuple[Reference, Path]) -> None:
    reference, path = small_reference
    flow, logits = deviations(load_into(small_model, path), random_frames(4), reference)
    assert flow < TOLERANCE
    assert logits < TOLERANCE


def test_files_of_the_older_format_agree(
    cv2: ModuleType, small_model: HiddenTwoStream, small_layers: Layers, write_caffemodel: Write
) -> None:
    layers = with_opencv_layers(small_layers)
    reference = Reference(cv2, layers, write_caffemodel(layers))
    old = write_caffemodel(layers, "old", name="old.caffemodel")
    assert max(deviations(load_into(small_model, old), random_frames(4), reference)) < TOLERANCE


class _LastAxisFirst(nn.Module):
    """Flattens in another order: height, width, channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]


@pytest.mark.parametrize("mistake", ["colors", "border", "flatten", "limit", "upside"])
def test_mistakes_are_detected(
    small_model: HiddenTwoStream,
    small_reference: tuple[Reference, Path],
    monkeypatch: pytest.MonkeyPatch,
    mistake: str,
) -> None:
    reference, path = small_reference
    if mistake == "colors":
        monkeypatch.setattr(caffe_layers, "bgr_to_rgb", lambda weight: weight)
    model = load_into(small_model, path)
    if mistake == "border":
        model.temporal_stream.border = "edge"
    elif mistake == "flatten":
        model.temporal_stream.backbone.avgpool = _LastAxisFirst()
    elif mistake == "limit":
        monkeypatch.setattr("hidden_two_stream.recognition.hand_over.hand_over.__defaults__", (200.0, "edge"))
    elif mistake == "upside":
        model.motion_net.deconv5[0].weight.data = model.motion_net.deconv5[0].weight.flip(2)
    flow, logits = deviations(model, random_frames(4), reference)
    print(f"{mistake}: flow {flow:.1e}, logits {logits:.1e}")
    assert logits > 3 * TOLERANCE
    assert (flow > 3 * TOLERANCE) == (mistake in ("colors", "upside"))


# Prints the output of the command, then the peak memory of this process (kB, Linux).
_MEASURED = """
import sys
from pathlib import Path
from hidden_two_stream.cli.main import main
code = main(sys.argv[1:])
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
print(*(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_the_published_networks_agree(
    cv2: ModuleType, make_layers: Callable[..., Layers], write_caffemodel: Write, tmp_path: Path
) -> None:
    """At full size, the command imports 708 MB in under a minute and in less than 2 GB of memory."""
    with torch.device("meta"):
        empty = HiddenTwoStream("full", "vgg16", 101, streams=("temporal",))
    layers = with_opencv_layers(make_layers({name: t.shape for name, t in empty.state_dict().items()}))
    source = write_caffemodel(layers, name="ucf101_split1_vgg16_hidden.caffemodel")
    reference = Reference(cv2, layers, source)
    del layers
    labels = tmp_path / "classInd.txt"
    labels.write_text("".join(f"{number} Action{number}\n" for number in range(101, 0, -1)))
    begin = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", _MEASURED, "import-caffe", str(source), "-o", str(tmp_path / "run"),
         "--labels", str(labels), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    try:
        recognizer = hts.load(tmp_path / "run")
    finally:  # pytest keeps its folders; these are 1.4 GB
        source.unlink()
        (tmp_path / "run" / "model.safetensors").unlink(missing_ok=True)
    flow, logits = deviations(recognizer.model, random_frames(11), reference)
    print(f"{seconds:.1f} s, {run.stderr.strip()} kB, flow {flow:.1e}, logits {logits:.1e}")
    assert result["warnings"] == []
    assert result["ignored"] == ["boudary_1_cv", "predict_flow2_bias20_cv", "predict_flow2_bias128_cv"]
    assert recognizer.classes == tuple(f"Action{number}" for number in range(1, 102))
    assert recognizer.trained_streams == ("temporal",)
    assert flow < TOLERANCE
    assert logits < TOLERANCE
    assert seconds < 60
    assert all(int(kilobytes) * 1024 < 2e9 for kilobytes in run.stderr.split())

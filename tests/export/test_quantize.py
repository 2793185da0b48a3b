"""INT8: fewer bytes, the same labels, and floating point where motion is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import DataError
from hidden_two_stream.export.export import Export, export_model
from hidden_two_stream.export.quantize import QUANTIZED
from hidden_two_stream.inference.onnx_recognizer import INPUT, load_onnx
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

from .runs import CLASSES, make_clips, make_run

ABSENT = "the extra 'export' is not installed"
onnx = pytest.importorskip("onnx", reason=ABSENT)
pytest.importorskip("onnxscript", reason=ABSENT)
pytest.importorskip("onnxruntime", reason=ABSENT)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of the run, three videos of each, under the labels that the run gives them."""
    folder = tmp_path_factory.mktemp("videos")
    recognizer = Recognizer(*make_run("tiny", "stacked", calibration=None))
    for seed in range(12):
        frames = generate_clip(("left", "up", "grow")[seed % 3], seed, num_frames=5, size=40).frames
        place = folder / recognizer.predict(frames, "center").best
        place.mkdir(exist_ok=True)
        write_video(place / f"{seed}.mp4", frames, 25)
    return folder


@pytest.fixture(scope="module")
def exported(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    recognizer = Recognizer(*make_run("tiny", "stacked", calibration=None))
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    return export_model(recognizer, path, data=videos, num_windows=2, int8=True)


def test_it_has_fewer_bytes_and_the_accuracy(exported: Export) -> None:
    found = exported.int8
    assert found is not None
    # Tiny's transposed convolutions, a sixth of its weights, are not quantized.
    assert found.bytes_after == exported.num_bytes <= 0.4 * found.bytes_before
    assert found.num_videos > 0
    # The videos have the labels that the run gave to their uncompressed frames.
    assert found.accuracy_before >= 0.5
    assert abs(found.accuracy_after - found.accuracy_before) <= found.num_labels_changed / found.num_videos
    assert min(found.ms_before, found.ms_after) > 0
    assert "INT8: accuracy " in str(exported)


@pytest.mark.slow
def test_nano_has_a_third_of_the_bytes(videos: Path, tmp_path: Path) -> None:
    made = Recognizer(*make_run("nano", "sequence", calibration=None))
    found = export_model(made, tmp_path / "model.onnx", data=videos, num_windows=2, int8=True).int8
    assert found is not None
    assert found.bytes_after <= found.bytes_before / 3


def test_scores_stay_near_those_of_the_run(exported: Export) -> None:
    model, info = make_run("tiny", "stacked", calibration=None)
    clips = make_clips(8)
    recognizer = load_onnx(exported.path)
    (found,) = recognizer.session.run(["scores"], {INPUT: clips})
    with torch.inference_mode():
        logits = model(model.preprocess(torch.from_numpy(clips).permute(0, 1, 4, 2, 3)))
    expected = Recognizer(model, info).fuse({name: values.numpy() for name, values in logits.items()})
    difference = float(np.abs(found - expected).max())
    assert 1e-6 < difference < 0.15  # it is quantized, and not broken


def test_only_products_with_weights_are_quantized(exported: Export) -> None:
    model = onnx.load(exported.path)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    users = {
        node.op_type
        for node in model.graph.node
        if any(makers.get(name) == "DequantizeLinear" for name in node.input)
    }
    assert "Conv" in users
    assert not {"Add", "Mul", "Div", "Sub", "Softmax", "GridSample"} & users
    weights = {part.data_type for part in model.graph.initializer}
    assert onnx.TensorProto.INT8 in weights
    assert QUANTIZED == ("Conv", "Gemm", "MatMul")
    (entry,) = model.metadata_props
    assert '"precision": "int8"' in entry.value


def test_labels_that_the_run_does_not_know_are_refused(videos: Path, tmp_path: Path) -> None:
    unknown = tmp_path / "videos" / "unknown"
    unknown.mkdir(parents=True)
    (unknown / "0.mp4").write_bytes(next(videos.rglob("*.mp4")).read_bytes())
    recognizer = Recognizer(*make_run("tiny", "stacked", calibration=None))
    with pytest.raises(DataError, match="unknown"):
        export_model(recognizer, tmp_path / "model.onnx", data=tmp_path / "videos", int8=True)
    assert not (tmp_path / "model.onnx").exists()
    assert "unknown" not in CLASSES

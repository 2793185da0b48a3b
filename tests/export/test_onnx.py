"""ONNX files: the run's scores at any batch, nothing of this machine inside, and no PyTorch to use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hidden_two_stream.checkpoint import DESCRIPTION_KEY, save_run
from hidden_two_stream.errors import CheckpointError, MissingDependencyError, UsageError
from hidden_two_stream.export import export, onnx_file
from hidden_two_stream.export.export import Export, export_model
from hidden_two_stream.inference.onnx_recognizer import INPUT, OnnxRecognizer, load_onnx
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.stream import StreamSettings
from hidden_two_stream.recognition.prototypes import Prototypes
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.writer import write_video

from .runs import CALIBRATION, CLASSES, make_clips, make_run

ABSENT = "the extra 'export' is not installed"
onnx = pytest.importorskip("onnx", reason=ABSENT)
pytest.importorskip("onnxscript", reason=ABSENT)
pytest.importorskip("onnxruntime", reason=ABSENT)

Hts = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano run of the form "sequence", both streams, calibrated."""
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, *make_run())
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Export:
    return export_model(run, run / "model.onnx", num_windows=4)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 48×40 px."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    frames = generate_clip("grow", 1, num_frames=20, size=48).frames[:, :40]
    write_video(path, frames, 25)
    return path


# -- the graph


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_nano_has_the_scores_and_the_flow_of_pytorch(run: Path, exported: Export, batch: int) -> None:
    assert_same(load(run), load_onnx(exported.path), make_clips(batch), score=1e-5, flow_px=1e-4)


def assert_same(
    expected: Recognizer, found: OnnxRecognizer, clips: RawClip, score: float, flow_px: float
) -> None:
    """Compare scores and flow of the networks themselves with those of a graph."""
    model, streams = expected.model, expected.trained_streams
    outputs = [part.name for part in found.session.get_outputs()]
    results = dict(zip(outputs, found.session.run(outputs, {INPUT: clips}), strict=True))
    temperatures = expected.calibration.temperatures if expected.calibration else {}
    with torch.inference_mode():
        frames = model.preprocess(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))
        raw = {name: getattr(model, name)(frames).numpy() for name in streams}
        flow = model.motion(frames)[0].numpy() if "temporal" in streams else None
    logits = {name: values / temperatures.get(name, 1.0) for name, values in raw.items()}
    np.testing.assert_allclose(results["scores"], expected.fuse(logits), rtol=0, atol=score)
    for name in streams:
        ours, theirs = (softmax(values) for values in (results[f"{name}_logits"], logits[name]))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=score)
    if flow is not None:
        assert float(np.abs(flow).max()) > 0.05
        np.testing.assert_allclose(results["flow"], flow, rtol=0, atol=flow_px)


def softmax(logits: Any) -> Any:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def test_batch_is_a_symbol_and_the_rest_is_fixed(exported: Export) -> None:
    graph = onnx.load(exported.path).graph
    shapes = {
        part.name: [axis.dim_param or axis.dim_value for axis in part.type.tensor_type.shape.dim]
        for part in (*graph.input, *graph.output)
    }
    assert shapes.pop(INPUT) == ["batch", 3, 32, 32, 3]
    assert {name: shape[0] for name, shape in shapes.items()} == dict.fromkeys(exported.outputs, "batch")
    assert shapes["scores"] == ["batch", len(CLASSES)]
    assert shapes["flow"] == ["batch", 2, 2, 32, 32]
    onnx.checker.check_model(onnx.load(exported.path), full_check=True)


def test_nothing_of_this_machine_is_in_the_file(run: Path, exported: Export) -> None:
    content = exported.path.read_bytes()
    here = [str(place) for place in (run, Path.home(), Path.cwd(), sys.prefix)]
    places = (*here, "/home/someone", "runs/secret", "site-packages", "hidden_two_stream/")
    assert [place for place in places if place.encode() in content] == []
    for node in onnx.load(exported.path).graph.node:
        assert (node.doc_string, list(node.metadata_props)) == ("", [])


def test_the_description_says_what_a_host_needs(run: Path, exported: Export) -> None:
    (entry,) = onnx.load(exported.path).metadata_props
    described = json.loads(entry.value)
    assert entry.key == DESCRIPTION_KEY
    assert described["classes"] == list(CLASSES)
    assert described["export"] == {
        "input": "frames",
        "layout": "batch, frame, row, column, color (red, green, blue), uint8",
        "num_frames": 3,
        "size": 32,
        "resize": 36,
        "frame_stride": 1,
        "fps": 0.0,
        "outputs": list(exported.outputs),
        "threshold": 0.25,
        "least_similarity": None,
        "precision": "float32",
    }
    ours, theirs = load(run).info, load_onnx(exported.path).info
    assert theirs.recipe == ours.recipe
    assert theirs.metadata.calibration == ours.metadata.calibration
    assert theirs.metadata.data == "labels.csv"
    assert theirs.metadata.warm_start == {"motion": "first"}
    assert theirs.metadata.motion_init == {"file": "nano.safetensors", "sha256": "0" * 64}


def test_what_was_compared_is_said(exported: Export) -> None:
    assert exported.windows == "generated clips, because the run's own videos are not there"
    assert exported.parity.num_windows == 4
    assert exported.parity.num_labels_changed == 0
    assert 0 < exported.parity.score < 1e-5
    assert "4 windows: scores within " in str(exported)
    assert exported.num_bytes == exported.path.stat().st_size


SLOW = [
    *[("nano", temporal, ("temporal",)) for temporal in ("branched", "stacked", "inflated")],
    *[("tiny", temporal, ("spatial", "temporal")) for temporal in ("sequence", "branched", "inflated")],
    ("nano-fine", "sequence", ("temporal",)),
    ("flownets", "stacked", ("temporal",)),
]


@pytest.mark.parametrize(
    ("motion", "temporal", "streams"),
    [
        ("tiny", "stacked", ("spatial", "temporal")),
        ("nano", "sequence", ("spatial",)),
        *(pytest.param(*networks, marks=pytest.mark.slow) for networks in SLOW),
    ],
)
def test_other_networks_agree(tmp_path: Path, motion: str, temporal: str, streams: tuple[str, ...]) -> None:
    made = make_run(motion, temporal, streams, size=64 if motion == "flownets" else 32)
    recognizer = Recognizer(*made)
    found = export_model(recognizer, tmp_path / "model.onnx", num_windows=2)
    clips = make_clips(3, size=64 if motion == "flownets" else 32)
    limits = (1e-5, 1e-4) if motion.startswith("nano") else (1e-3, 1e-2)
    assert_same(recognizer, load_onnx(found.path), clips, *limits)


@pytest.mark.slow
def test_the_paper_s_networks_agree(tmp_path: Path) -> None:
    """MotionNet, and VGG16 in both streams, for 11 frames of 224×224 px: 1.2 GB."""
    made = make_run("full", "stacked", num_frames=11, size=224, backbone="vgg16", hand_over="reference")
    recognizer = Recognizer(*made)
    found = export_model(recognizer, tmp_path / "model.onnx", num_windows=1)
    clips = make_clips(2, num_frames=11, size=224)
    assert_same(recognizer, load_onnx(found.path), clips, score=1e-3, flow_px=1e-2)


def test_an_export_with_other_scores_is_refused(
    run: Path, tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose fused scores are off by more than 0.001 is not written."""
    model = onnx.load(exported.path)
    floats = [part for part in model.graph.initializer if part.data_type == onnx.TensorProto.FLOAT]
    bias = next(part for part in floats if list(part.dims) == [len(CLASSES)])
    values = onnx.numpy_helper.to_array(bias) + np.array([0.05, 0, 0, 0, 0], np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    monkeypatch.setattr(onnx_file, "trace", lambda *_: None)
    monkeypatch.setattr(onnx_file, "onnx_model", lambda *_: model)
    with pytest.raises(CheckpointError, match=r"differ from PyTorch's by 0\.0\d+; expected at most 0\.001"):
        export_model(run, tmp_path / "model.onnx", num_windows=2)
    assert list(tmp_path.iterdir()) == []


# -- without PyTorch


@pytest.mark.parametrize("protocol", ["center", "10x1", "3x5", "2x10"])
def test_predictions_are_those_of_the_run(run: Path, exported: Export, video: Path, protocol: str) -> None:
    ours, theirs = (loaded.predict(video, protocol) for loaded in (load_onnx(exported.path), load(run)))
    assert (ours.label, ours.threshold, ours.num_frames, ours.warnings, ours.protocol) == (
        theirs.label, theirs.threshold, theirs.num_frames, theirs.warnings, theirs.protocol,
    )  # fmt: skip
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)
    for name, scores in theirs.streams.items():
        np.testing.assert_allclose(ours.streams[name], scores, rtol=0, atol=1e-5)


def test_real_recordings_have_the_scores_of_the_run(run: Path, exported: Export, data_root: Path) -> None:
    paths = sorted((data_root / "weizmann10").glob("*/denis_*.mp4"))[:3]
    assert len(paths) == 3
    for path in paths:
        ours, theirs = (loaded.predict(path, "3x1") for loaded in (load_onnx(exported.path), load(run)))
        assert ours.num_frames == theirs.num_frames > 20
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)


def test_short_videos_arrays_and_undecoded_frames_too(
    run: Path, exported: Export, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hidden_two_stream.inference import scoring

    frames = generate_clip("left", 3, num_frames=2, size=50).frames
    ours, theirs = (loaded.predict(frames) for loaded in (load_onnx(exported.path), load(run)))
    assert ours.warnings == theirs.warnings != ()
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)
    expected = load_onnx(exported.path).predict(video)
    monkeypatch.setattr(scoring, "KEPT_BYTES", 1)
    np.testing.assert_array_equal(load_onnx(exported.path).predict(video).scores, expected.scores)


def test_what_is_of_no_known_class_is_that_of_the_run(run: Path, exported: Export, video: Path) -> None:
    """The limit lies in the middle of the windows' similarities: some are known, and some are not."""
    recognizer, session = load(run), load_onnx(exported.path).session
    settings = SegmentSettings(leave=0, shortest_seconds=0, smoothing_seconds=0, hop_seconds=0.04)

    def loaded(least: float) -> tuple[OnnxRecognizer, Recognizer]:
        prototypes = Prototypes(("spatial", "temporal"), np.eye(5, 10).tolist(), least)
        metadata = replace(recognizer.info.metadata, calibration=replace(CALIBRATION, prototypes=prototypes))
        info = replace(recognizer.info, metadata=metadata)
        return OnnxRecognizer(session, info), Recognizer(recognizer.model, info)

    ours, theirs = loaded(-1.0)
    similar = [window.similarity for window in theirs.windows(video, 0.04)]
    assert [window.similarity for window in ours.windows(video, 0.04)] == pytest.approx(similar, abs=1e-4)
    whole = list(map(str, theirs.segment(video, settings)))
    middle = float(np.median(np.array(similar, float))) + 1e-3
    ours, theirs = loaded(middle)
    parts = list(map(str, theirs.segment(video, settings)))
    assert list(map(str, ours.segment(video, settings))) == parts != whole
    assert ours.predict(video).label == theirs.predict(video).label


def test_windows_features_and_segments_are_those_of_the_run(run: Path, exported: Export, video: Path) -> None:
    ours, theirs = load_onnx(exported.path), load(run)
    pairs = list(zip(ours.windows(video, 0.1), theirs.windows(video, 0.1), strict=True))
    assert len(pairs) == 8
    for found, expected in pairs:
        assert (found.start_seconds, found.end_seconds) == (expected.start_seconds, expected.end_seconds)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
    for mine, other in zip(ours.features(video), theirs.features(video), strict=True):
        for name, vector in other.embeddings.items():
            np.testing.assert_allclose(mine.embeddings[name], vector, rtol=1e-3, atol=1e-4)
    assert [(part.label, part.start_seconds) for part in ours.segment(video)] == [
        (part.label, part.start_seconds) for part in theirs.segment(video)
    ]


def test_live_decisions_are_those_of_the_run(run: Path, exported: Export, video: Path) -> None:
    settings = StreamSettings(all_frames=True, smooth_seconds=0.1)
    ours, theirs = (
        list(loaded.stream(str(video), settings=settings)) for loaded in (load_onnx(exported.path), load(run))
    )
    assert [(found.frame, found.label, found.threshold) for found in ours] == [
        (found.frame, found.label, found.threshold) for found in theirs
    ]
    assert len(ours) == 18
    np.testing.assert_allclose(
        [found.scores for found in ours], [found.scores for found in theirs], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("command", ["predict", "stream"])
def test_the_commands_do_not_import_pytorch(exported: Export, video: Path, command: str) -> None:
    code = (
        "import sys; from hidden_two_stream.cli.main import main\n"
        f"code = main([{command!r}, {str(exported.path)!r}, {str(video)!r}])\n"
        "sys.exit(code or ('torch was imported' if 'torch' in sys.modules else 0))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_the_command_prints_what_the_run_prints(run: Path, exported: Export, video: Path, hts: Hts) -> None:
    code, output, errors = hts("predict", exported.path, video)
    assert (code, output) == hts("predict", run, video)[:2], errors


# -- what is refused


def test_wrong_arguments_are_refused(run: Path, tmp_path: Path, hts: Hts) -> None:
    for arguments, message in (
        (("-o", tmp_path / "a.pt"), "expected a name that ends with .onnx"),
        (("--format", "pt2", "-o", tmp_path / "a.onnx"), "expected a name that ends with .pt2"),
        (("--windows", "0"), "the number of windows to compare is 0; expected 1 or more"),
        (("--int8",), "INT8 needs labeled videos"),
        (("--int8", "--format", "pt2"), "INT8 is for format onnx, not pt2"),
    ):
        code, output, errors = hts("export", run, *arguments)
        assert (code, output) == (2, "")
        assert message in errors
        assert errors.count("\n") == 1


def test_a_run_without_streams_is_refused(tmp_path: Path) -> None:
    made = make_run()
    info = export.RunInfo(made[1].recipe, CLASSES, type(made[1].metadata)(stages=("motion",)))
    with pytest.raises(CheckpointError, match="no trained stream"):
        export_model(Recognizer(made[0], info), tmp_path / "model.onnx")


def test_files_that_are_no_export_are_refused(
    exported: Export, tmp_path: Path, video: Path, hts: Hts
) -> None:
    names = ("text", "empty", "foreign", "other")
    text, empty, foreign, other = (tmp_path / f"{name}.onnx" for name in names)
    text.write_text("not a model")
    empty.write_bytes(b"")
    model = onnx.load(exported.path)
    described = json.loads(model.metadata_props[0].value)
    described["classes"] = described["classes"][:3]
    onnx_file.describe(model, described)
    onnx.save(model, other)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    for path, message, expected in (
        (text, "cannot be used by ONNX Runtime", 1),
        (empty, "cannot be used by ONNX Runtime", 1),
        (foreign, "was not written by `hts export`: it has no description", 1),
        (other, "does not fit its own description: spatial_logits has the shape [5]; expected [3]", 1),
        (tmp_path / "absent.onnx", "no file at", 2),
    ):
        code, _, errors = hts("predict", path, video)
        assert code == expected, errors
        assert message in errors
        assert errors.count("\n") == 1


def test_an_export_is_for_the_cpu_and_not_for_other_commands(exported: Export, video: Path, hts: Hts) -> None:
    code, _, errors = hts("predict", exported.path, video, "--device", "cuda")
    assert (code, errors) == (2, "hts: --device is cuda, but ONNX files run on the cpu; leave it out\n")
    code, _, errors = hts("features", exported.path, video, "-o", "features.npz")
    assert code == 1
    assert "is an exported model, not a run" in errors
    with pytest.raises(UsageError, match="threads is -1"):
        load_onnx(exported.path, threads=-1)


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_libraries_are_named(
    run: Path, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf'needs {library}; .*"hidden-two-stream\[export\]"'):
        export_model(run, tmp_path / "model.onnx")
    if library == "onnxruntime":
        with pytest.raises(
            MissingDependencyError, match=r'need ONNX Runtime; .*"hidden-two-stream\[export\]"'
        ):
            load_onnx(exported.path)

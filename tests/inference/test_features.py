"""Embeddings of windows, and the files that hold those of many videos."""

from __future__ import annotations

import importlib
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import CheckpointError, MissingDependencyError, OutputError, UsageError
from hidden_two_stream.inference.feature_files import FORMAT_VERSION, FeatureWriter, check_features_path
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import WindowFeatures

CLASSES = ("fall", "sit", "walk")


def recognizer_of(temporal: str = "sequence", **metadata: Any) -> Recognizer:
    torch.manual_seed(4)
    recipe = Recipe(
        model=ModelConfig("nano", "small", 5, temporal=temporal),  # type: ignore[arg-type]
        input=InputConfig(size=32, resize=32),
    )
    return Recognizer(build_model(recipe, 3), RunInfo(recipe, CLASSES, RunMetadata(**metadata)))


def last_layer(recognizer: Recognizer, stream: str) -> nn.Linear:
    modules = recognizer.model.get_submodule(f"{stream}_stream").modules()
    return [layer for layer in modules if isinstance(layer, nn.Linear)][-1]


# -- windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporal", ["stacked", "inflated", "branched", "sequence"])
def test_a_linear_probe_gives_the_scores_of_the_windows(temporal: str) -> None:
    """The same windows at the same times; the last layer and a softmax make embeddings to their scores."""
    recognizer = recognizer_of(temporal)
    layers = {name: last_layer(recognizer, name) for name in ("spatial", "temporal")}
    for layer in layers.values():
        nn.init.normal_(layer.weight)
    frames = generate_clip("grow", 3, num_frames=40, size=40).frames
    windows = list(recognizer.windows(frames, 0.1))
    features = list(recognizer.features(frames, 0.1))
    assert len(features) == len(windows) > 10
    for window, found in zip(windows, features, strict=True):
        assert (found.start_seconds, found.end_seconds) == (window.start_seconds, window.end_seconds)
        assert list(found.embeddings) == list(window.streams) == ["spatial", "temporal"]
        for name, layer in layers.items():
            vector = found.embeddings[name]
            assert (vector.shape, vector.dtype) == ((layer.in_features,), np.float32)
            logits = layer.weight.detach().numpy() @ vector + layer.bias.detach().numpy()
            scores = np.exp(logits - logits.max())
            np.testing.assert_allclose(scores / scores.sum(), window.streams[name], atol=1e-5)


def test_calibration_does_not_change_embeddings() -> None:
    frames = generate_clip("grow", 3, num_frames=5, size=32).frames
    plain, calibrated = (
        recognizer_of(calibration=found) for found in (None, Calibration({"spatial": 2.0, "temporal": 3.0}))
    )
    (before,), (after,) = plain.windows(frames), calibrated.windows(frames)
    assert not np.array_equal(before.scores, after.scores)
    (one,), (other,) = plain.features(frames), calibrated.features(frames)
    for name in ("spatial", "temporal"):
        np.testing.assert_array_equal(one.embeddings[name], other.embeddings[name])


def test_only_trained_streams_have_embeddings() -> None:
    frames = generate_clip("grow", 3, num_frames=5, size=32).frames
    (window,) = recognizer_of(stages=("motion", "temporal")).features(frames)
    assert list(window.embeddings) == ["temporal"]
    with pytest.raises(CheckpointError, match="no trained stream"):
        recognizer_of(stages=("motion",)).features(frames)


@pytest.mark.parametrize("hop", [0, -1, float("nan"), float("inf"), "1"])
def test_hops_are_checked_at_the_call(hop: Any) -> None:
    with pytest.raises(UsageError, match=r"hop_seconds is .*; expected a positive number"):
        recognizer_of().features(np.zeros((5, 32, 32, 3), np.uint8), hop)


def test_memory_does_not_grow_with_the_video() -> None:
    recognizer, peaks = recognizer_of(), []
    for length in (100, 600):
        clip = np.broadcast_to(np.zeros((1, 32, 32, 3), np.uint8), (length, 32, 32, 3))
        tracemalloc.start()
        number = sum(1 for _ in recognizer.features(clip, 0.2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert number == pytest.approx(length / 5, abs=1)
    assert peaks[1] < 1.1 * peaks[0] + 50_000


# -- files -----------------------------------------------------------------------------------------


def window(number: int, **sizes: int) -> WindowFeatures:
    rng = np.random.default_rng(number)
    vectors = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    return WindowFeatures(number / 10, number / 10 + 0.44, vectors)


ROWS = [
    (video, window(number, spatial=3, temporal=5))
    for number, video in enumerate(("b.mp4", "b.mp4", "ä/größe 1.mp4", "odd\udcff.mp4"))
]


def written(path: Path, rows: list[tuple[str, WindowFeatures]]) -> Path:
    with FeatureWriter(path) as writer:
        for video, row in rows:
            writer.add(video, row)
        writer.finish()
        assert writer.num_rows == len(rows)
    return path


def require_pyarrow() -> Any:
    """The module; without it the test is skipped, except under CI, where nothing may go untested."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        reason = f"pyarrow cannot be imported: {error}; install the extra parquet"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def test_npz(tmp_path: Path) -> None:
    path = written(tmp_path / "new" / "f.npz", ROWS)
    with np.load(path, allow_pickle=False) as data:
        found = dict(data)
    assert list(found) == [
        "format_version", "videos", "video_index", "start_seconds", "end_seconds", "spatial", "temporal",
    ]  # fmt: skip
    assert found["format_version"] == FORMAT_VERSION
    assert found["videos"][found["video_index"]].tolist() == [video for video, _ in ROWS]
    for name in ("start_seconds", "end_seconds"):
        assert found[name].tolist() == [getattr(row, name) for _, row in ROWS]
    for name, size in (("spatial", 3), ("temporal", 5)):
        assert (found[name].dtype, found[name].shape) == (np.float32, (4, size))
        np.testing.assert_array_equal(found[name], [row.embeddings[name] for _, row in ROWS])
    assert [item.name for item in path.parent.iterdir()] == ["f.npz"]


def test_parquet(tmp_path: Path) -> None:
    parquet = require_pyarrow()
    table = parquet.read_table(written(tmp_path / "f.parquet", ROWS))
    assert table.column_names == ["video", "start_seconds", "end_seconds", "spatial", "temporal"]
    assert table.schema.metadata[b"format_version"] == str(FORMAT_VERSION).encode()
    assert table["video"].to_pylist() == ["b.mp4", "b.mp4", "ä/größe 1.mp4", "odd\\udcff.mp4"]
    assert table["start_seconds"].to_pylist() == [row.start_seconds for _, row in ROWS]
    for name in ("spatial", "temporal"):
        assert str(table.schema.field(name).type).startswith("fixed_size_list<")
        np.testing.assert_array_equal(
            np.array(table[name].to_pylist(), np.float32), [row.embeddings[name] for _, row in ROWS]
        )


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_many_rows_come_in_order(tmp_path: Path, suffix: str) -> None:
    """More than one block."""
    rows = [(f"{number // 3000}", window(number, temporal=2)) for number in range(9000)]
    if suffix == ".parquet":
        table = require_pyarrow().read_table(written(tmp_path / "f.parquet", rows))
        videos, starts = table["video"].to_pylist(), table["start_seconds"].to_pylist()
        vectors = np.array(table["temporal"].to_pylist(), np.float32)
    else:
        data = np.load(written(tmp_path / "f.npz", rows))
        videos, starts = data["videos"][data["video_index"]].tolist(), data["start_seconds"].tolist()
        vectors = data["temporal"]
    assert videos == [video for video, _ in rows]
    assert starts == [row.start_seconds for _, row in rows]
    np.testing.assert_array_equal(vectors, [row.embeddings["temporal"] for _, row in rows])


def test_without_windows_or_without_finish_nothing_is_written(tmp_path: Path) -> None:
    written(tmp_path / "f.npz", [])
    with FeatureWriter(tmp_path / "f.npz") as writer:
        writer.add(*ROWS[0])
        assert writer.sizes == {"spatial": 3, "temporal": 5}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["f", "f.csv", "f.npy"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name a file \.npz or \.parquet"):
        check_features_path(tmp_path / name)


def test_parquet_without_its_library_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hidden-two-stream\[parquet\]', or name"):
        check_features_path(tmp_path / "f.parquet")
    check_features_path(tmp_path / "f.npz")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Full())
    with (
        FeatureWriter(tmp_path / "f.npz") as writer,
        pytest.raises(OutputError, match="No space left on device; expected a writable folder"),
    ):
        writer.add(*ROWS[0])

"""Exports a trained run, and refuses to write a file that does not give the run's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hidden_two_stream.checkpoint import RunInfo
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import divide
from hidden_two_stream.errors import CheckpointError, DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import check_known
from hidden_two_stream.export import onnx_file, quantize
from hidden_two_stream.export.description import description
from hidden_two_stream.export.graph import ExportGraph
from hidden_two_stream.export.parity import (
    LARGEST_SCORE_DIFFERENCE,
    Clip,
    Parity,
    generated_clips,
    parity,
    windows_of,
)
from hidden_two_stream.inference.onnx_recognizer import INPUT, open_session
from hidden_two_stream.inference.predictor import Recognizer, load

__all__ = ["FORMATS", "Export", "Format", "export_model"]

Format = Literal["onnx", "pt2"]

FORMATS: Mapping[str, str] = {"onnx": ".onnx", "pt2": ".pt2"}
"""Format → suffix of its file."""

_CALIBRATION_CLIPS = 64
_TESTED_VIDEOS = 192  # of the test part, for accuracy before and after; one window of each


@dataclass(frozen=True)
class Export:
    """What was written, and how far it is from the run.

    Attributes:
        path: the file.
        format: "onnx" or "pt2".
        num_bytes: size of the file.
        outputs: names of the outputs of the graph.
        windows: where the compared windows come from, in words.
        parity: differences to PyTorch, before any quantization.
        int8: what quantization changed; None: not asked for.
    """

    path: Path
    format: str
    num_bytes: int
    outputs: tuple[str, ...]
    windows: str
    parity: Parity
    int8: quantize.Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"path": str(self.path), "outputs": list(self.outputs)}

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.num_bytes / 1e6:.2f} MB, outputs {', '.join(self.outputs)}",
            f"same as PyTorch on {self.parity} ({self.windows})",
        ]
        return "\n".join(lines if self.int8 is None else [*lines, str(self.int8)])


def export_model(
    run: str | Path | Recognizer,
    out: str | Path,
    format: Format = "onnx",
    *,
    data: str | Path | None = None,
    num_windows: int = 16,
    int8: bool = False,
    on_trace: Callable[[], None] = lambda: None,
) -> Export:
    """Export a trained run as one graph from frames to scores, and compare it with the run.

    The graph takes `frames` (batch, T, H, W, 3) uint8 RGB, with the run's number and size of frames and any
    batch. For its outputs see `export.graph.ExportGraph`. The file holds classes, recipe and calibration, so
    that `hts predict` and `load_onnx` need nothing else.

    Args:
        run: a run folder, a checkpoint file, or a loaded recognizer.
        out: the file to write, with the suffix of its format.
        format: "onnx", or "pt2" for a program of `torch.export`.
        data: labeled videos, whose windows are compared; None: those that the run was trained and tested
            on, or generated clips where they cannot be found.
        num_windows: windows to compare, at least 1.
        int8: quantize the ONNX file; `data` is needed.
        on_trace: called before the network is traced, which takes longest.

    Raises:
        UsageError: an argument is wrong.
        CheckpointError: the run cannot be exported, or the exported scores differ by more than
            `LARGEST_SCORE_DIFFERENCE`. Nothing is written then.
        DataError: the data has no readable videos.
        MissingDependencyError: a library is not installed.
        OutputError: the file cannot be written.
    """
    path = Path(out)
    _check(path, format, data, num_windows, int8)
    recognizer = run if isinstance(run, Recognizer) else load(run)
    _require_exportable(recognizer)
    info = recognizer.info
    if format == "onnx":
        onnx_file.require_libraries()
    parts = _Parts.of(info, data, num_windows)
    windows = list(windows_of(parts.test, info.recipe, num_windows))
    if not windows:
        raise DataError(f"no readable video in {parts.name}; name labeled videos with --data")
    on_trace()
    graph = ExportGraph(recognizer.model, info).eval()
    program = onnx_file.trace(graph, info.recipe)
    described = description(info, graph.outputs, "float32")
    comparison = None
    if format == "pt2":
        found = parity(recognizer, windows, _program_runner(program, graph.outputs))
        _require_same(found)
        onnx_file.write_program(program, described, path)
    else:
        model = onnx_file.onnx_model(program, graph, info.recipe, described)
        found = parity(recognizer, windows, _session_runner(model, graph.outputs))
        _require_same(found)
        if int8:
            model, comparison = _int8(model, info, parts, description(info, graph.outputs, "int8"))
        onnx_file.write_onnx(model, path)
    return Export(path, format, path.stat().st_size, graph.outputs, parts.name, found, comparison)


def _check(path: Path, format: str, data: object, num_windows: int, int8: bool) -> None:
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if path.suffix.lower() != FORMATS[format]:
        raise UsageError(f"the file is {str(path)!r}; expected a name that ends with {FORMATS[format]}")
    if num_windows < 1:
        raise UsageError(f"the number of windows to compare is {num_windows}; expected 1 or more")
    if int8 and format != "onnx":
        raise UsageError(f"INT8 is for format onnx, not {format}; leave one out")
    if int8 and data is None:
        raise UsageError("INT8 needs labeled videos, to measure ranges and accuracy; name them with --data")


def _require_exportable(recognizer: Recognizer) -> None:
    require_trained(recognizer.trained_streams, recognizer.name)
    if not recognizer.info.recipe.input.size:
        raise CheckpointError("the description of this run has input.size 0; expected the size that it used")
    device = next(recognizer.model.parameters()).device
    if device.type != "cpu":
        raise UsageError(f"the model to export is on {device}; load it with device='cpu'")


def _require_same(found: Parity) -> None:
    if not found.score <= LARGEST_SCORE_DIFFERENCE:  # also if it is NaN
        raise CheckpointError(
            f"the exported scores differ from PyTorch's by {found.score:.2g}; expected at most "
            f"{LARGEST_SCORE_DIFFERENCE:g}; nothing was written"
        )


@dataclass(frozen=True)
class _Parts:
    """Clips to compare and to calibrate with.

    Attributes:
        test: clips that are compared.
        train: clips on which activations are measured.
        name: where they come from, in words.
    """

    test: Sequence[Clip]
    train: Sequence[Clip]
    name: str

    @classmethod
    def of(cls, info: RunInfo, data: str | Path | None, number: int) -> _Parts:
        """Return the parts of the named data, of the run's own data, or of generated clips."""
        known = info.metadata
        if data is None:
            try:
                index = read_dataset_index(known.data, min_classes=1)
            except HiddenTwoStreamError:
                clips = generated_clips(info.recipe, number)
                return cls(clips, clips, "generated clips, because the run's own videos are not there")
            clips = [Clip.of(sample) for sample in index.samples]
            return cls(clips, clips, "the run's own videos")
        index = read_dataset_index(data, min_classes=1)
        check_known({sample.label for sample in index.samples}, info.classes)
        try:
            split = divide(index, known.held_out, known.test_fraction, known.seed)
            test, train = split.test or index.samples, split.train or index.samples
            name = f"test part of the data, {split.rule}"
        except DataError:
            test = train = index.samples
            name = "all videos of the data"
        return cls([Clip.of(sample) for sample in test], [Clip.of(sample) for sample in train], name)


def _session_runner(model: Any, outputs: Sequence[str]) -> Any:
    session = open_session(model.SerializeToString())

    def run(clips: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.floating]]:
        return dict(zip(outputs, session.run(list(outputs), {INPUT: clips}), strict=True))

    return run


def _program_runner(program: torch.export.ExportedProgram, outputs: Sequence[str]) -> Any:
    module = program.module()

    @torch.inference_mode()
    def run(clips: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.floating]]:
        found = module(torch.from_numpy(clips))
        return {name: values.numpy() for name, values in zip(outputs, found, strict=True)}

    return run


def _int8(
    model: Any, info: RunInfo, parts: _Parts, described: Mapping[str, Any]
) -> tuple[Any, quantize.Comparison]:
    """Return the INT8 model, and what it changed on the test part.

    Raises:
        DataError: a part has no readable video.
    """
    measured = [_array(clip) for clip in windows_of(parts.train, info.recipe, _CALIBRATION_CLIPS)]
    clips, labels = [], []
    for clip in parts.test[:_TESTED_VIDEOS]:
        for window in windows_of([clip], info.recipe, 1):
            clips.append(_array(window))
            labels.append(info.classes.index(clip.label))
    if not (measured and clips):
        raise DataError("no readable video to measure the ranges and the accuracy of INT8 on")
    small = quantize.quantized(model, measured)
    onnx_file.describe(small, described)
    before, after = model.SerializeToString(), small.SerializeToString()
    return small, quantize.compare(before, after, clips, labels)


def _array(window: torch.Tensor) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(window.permute(0, 2, 3, 1).numpy())

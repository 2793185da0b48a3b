"""INT8: weights and activations of an ONNX model as whole numbers, with scales measured on real clips.

Only convolutions and matrix products are quantized. They hold the weights and most of the time; the rest of
nano is a measurement of motion, which 8 bits destroy.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.export.onnx_file import clean, require_library
from hidden_two_stream.inference.onnx_recognizer import INPUT, open_session

__all__ = ["QUANTIZED", "Comparison", "compare", "quantized"]

QUANTIZED = ("Conv", "Gemm", "MatMul")
"""Operators that run in INT8."""

_REPEATS = 20

_Clips = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Comparison:
    """A model before and after quantization.

    Attributes:
        num_videos: labeled videos of the test.
        accuracy_before, accuracy_after: share of them with the right label, 0…1.
        num_labels_changed: videos that got another label.
        ms_before, ms_after: time of a single window on this machine, one thread, ms.
        bytes_before, bytes_after: size of the file.
    """

    num_videos: int
    accuracy_before: float
    accuracy_after: float
    num_labels_changed: int
    ms_before: float
    ms_after: float
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        return (
            f"INT8: accuracy {self.accuracy_before:.1%} → {self.accuracy_after:.1%}, "
            f"{self.num_labels_changed} of {self.num_videos} labels changed; "
            f"{self.ms_before:.1f} → {self.ms_after:.1f} ms a window; "
            f"{self.bytes_before / 1e6:.2f} → {self.bytes_after / 1e6:.2f} MB"
        )


class _Reader:
    """Hands calibration clips to ONNX Runtime, one at a time."""

    def __init__(self, clips: Iterable[_Clips]) -> None:
        self._clips = iter(clips)

    def get_next(self) -> dict[str, _Clips] | None:
        clip = next(self._clips, None)
        return None if clip is None else {INPUT: clip[None]}


def quantized(model: Any, clips: Sequence[_Clips]) -> Any:
    """Return an INT8 version of an ONNX model: static, per channel.

    Args:
        model: the ONNX model.
        clips: clips (T, H, W, 3) uint8 on which the ranges of activations are measured.

    Raises:
        MissingDependencyError: a library is not installed.
    """
    onnx = require_library("onnx")
    quantization = require_library("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        quantization.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            result,
            _Reader(clips),
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QInt8,
        )
        found = onnx.load(result)
    clean(found)
    return found


def compare(
    before: bytes,
    after: bytes,
    clips: Sequence[_Clips],
    labels: Sequence[int],
) -> Comparison:
    """Return accuracy, speed and size of a model before and after quantization.

    Args:
        before, after: the two ONNX models.
        clips: a window (T, H, W, 3) uint8 of each video.
        labels: class number of each video.
    """
    sessions = [open_session(model, threads=1) for model in (before, after)]
    best = [np.array([_best(session, clip) for clip in clips]) for session in sessions]
    right = [float((found == np.array(labels)).mean()) for found in best]
    times = _milliseconds(sessions, clips[0][None])
    return Comparison(
        len(clips),
        right[0],
        right[1],
        int((best[0] != best[1]).sum()),
        times[0],
        times[1],
        len(before),
        len(after),
    )


def _best(session: Any, clip: _Clips) -> int:
    (scores,) = session.run(["scores"], {INPUT: clip[None]})
    return int(scores.argmax())


def _milliseconds(sessions: Sequence[Any], clip: _Clips) -> list[float]:
    """Return the median time of each session; they take turns, so that a busy machine is equally busy."""
    times: list[list[float]] = [[] for _ in sessions]
    for turn in range(_REPEATS + 1):
        for session, spent in zip(sessions, times, strict=True):
            begun = time.perf_counter()
            session.run(None, {INPUT: clip})
            if turn:
                spent.append(1000 * (time.perf_counter() - begun))
    return [float(np.median(spent)) for spent in times]

"""The model that is served: its recognizer, and what clients may know about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from hidden_two_stream._version import __version__
from hidden_two_stream.checkpoint import MODEL_FILE
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.environment import collector_paused
from hidden_two_stream.files import file_sha256
from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX, OnnxRecognizer, load_onnx
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import Protocol, run_protocol

__all__ = ["ServedModel", "open_model"]

_VERSION_DIGITS = 12


@dataclass(frozen=True)
class ServedModel:
    """A recognizer and how it is used.

    Attributes:
        name: name of the run's folder, or of the file.
        version: start of the SHA-256 of its weights.
        recognizer: what predicts.
        protocol: the test protocol.
        notes: warnings of each prediction, for example that the protocol was changed.
    """

    name: str
    version: str
    recognizer: Recognizer | OnnxRecognizer
    protocol: Protocol
    notes: tuple[str, ...]

    @property
    def is_exported(self) -> bool:
        """Whether it is an ONNX file."""
        return isinstance(self.recognizer, OnnxRecognizer)

    def to_dict(self) -> dict[str, Any]:
        """Return what clients may know, ready for JSON: no paths, and nothing about the training videos."""
        info = self.recognizer.info
        networks, frames = info.recipe.model, info.recipe.input
        calibration = info.metadata.calibration
        return {
            "name": self.name,
            "version": self.version,
            "package_version": __version__,
            "labels": list(info.classes),
            "streams": list(self.recognizer.trained_streams),
            "networks": {
                "motion": networks.motion,
                "temporal": networks.temporal,
                "backbone": PurePath(networks.encoder_name or networks.backbone).name,
                "frames_per_clip": networks.num_frames,
                "frame_size_px": frames.size,
                "sampled_fps": frames.fps or None,
            },
            "protocol": self.protocol.name,
            "is_calibrated": calibration is not None,
            "threshold": None if calibration is None else calibration.threshold,
            "num_training_videos": info.metadata.num_training_videos or None,
            "data_license": info.metadata.data_license or None,
        }


def open_model(run: str | Path, protocol: str, device: str) -> ServedModel:
    """Return the model of a run folder, a checkpoint file or an exported .onnx file.

    Raises:
        UsageError: there is nothing at `run`, no such device, or the protocol is wrong.
        CheckpointError: it is damaged, or no stream was trained.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    path = Path(run)
    recognizer: Recognizer | OnnxRecognizer
    with collector_paused():
        recognizer = load_onnx(path) if path.suffix.lower() == ONNX_SUFFIX else load(path, device)
    require_trained(recognizer.trained_streams, repr(str(run)))
    notes: list[str] = []
    chosen = run_protocol(protocol, recognizer.info.recipe, notes.append)
    file = path / MODEL_FILE if path.is_dir() else path
    version = file_sha256(file)[:_VERSION_DIGITS]
    return ServedModel(path.resolve().name, version, recognizer, chosen, tuple(notes))

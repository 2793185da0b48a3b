"""Run folders and checkpoints: weights as safetensors, with their description as JSON metadata.

Prediction needs only `model.safetensors`. A run folder also holds `config.json`, a readable copy of the
description, and the files of the training: the plan, the metrics, and the list of unreadable videos.
"""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import CheckpointError, TrainingError, UsageError
from hidden_two_stream.files import parse_description, parse_json, read_limited, write_json
from hidden_two_stream.recognition.calibration import Calibration

if TYPE_CHECKING:
    import torch

    from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = [
    "CONFIG_FILE",
    "DESCRIPTION_KEY",
    "FORMAT_VERSION",
    "FRAME_LABELS_KEY",
    "METRICS_FILE",
    "MODEL_FILE",
    "PLAN_FILE",
    "RESULTS_FILE",
    "UNREADABLE_FILE",
    "RunInfo",
    "RunMetadata",
    "baseline_of",
    "build_model",
    "checkpoint_file",
    "load_run",
    "place_weights",
    "read_config",
    "read_description",
    "read_info",
    "read_metrics",
    "run_info",
    "save_run",
]

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
PLAN_FILE = "plan.json"
"""In the folder of a run, or of several runs: the settings with which --resume continues."""
RESULTS_FILE = "results.json"
UNREADABLE_FILE = "unreadable.txt"
FRAME_LABELS_KEY = "frame_labels"
"""In the description of a checkpoint that labels frames, see `inference.annotator`."""

DESCRIPTION_KEY = "hidden_two_stream"
"""In the metadata of a checkpoint or an exported model: its description, as JSON."""


@dataclass(frozen=True)
class RunMetadata:
    """The origin of the weights of a run.

    Attributes:
        stages: the training stages behind the weights, including those of warm starts.
        data: the dataset: an absolute path, or its name.
        data_license: license of the data, as the user gave it; None: not given.
        split: description of how the data was divided into training and test videos.
        test_fraction: part of each class held back for the test if the data has no split of its own.
        held_out: "column=value" of the videos held back for the test instead.
        num_training_videos: readable training videos.
        min_fps, max_fps: lowest and highest rate of the training videos, in frames per second after sampling
            at `input.fps`; None: unknown.
        seed: seed of everything random.
        precision: numeric precision of training, as Lightning Fabric names it.
        warm_start: the source run of each part: "motion", "spatial", "temporal".
        motion_init: file, SHA-256 and provenance of the weights that MotionNet began with; None: random, or
            from a warm start.
        temporal_init: the same of the weights that the temporal stream began with.
        motion_teacher: file, SHA-256 and provenance of the network that MotionNet was distilled from, if any.
        versions: versions of the libraries that can change a result.
        imported_from: name and SHA-256 of the file that the weights were converted from, if any.
        calibration: temperatures and threshold from held-back training videos; None: not calibrated.
    """

    stages: tuple[str, ...] = STAGE_NAMES
    data: str = ""
    split: str = ""
    test_fraction: float = 0.25
    held_out: str | None = None
    num_training_videos: int = 0
    min_fps: float | None = None
    max_fps: float | None = None
    seed: int = 0
    precision: str = ""
    warm_start: Mapping[str, str] = field(default_factory=dict)
    motion_init: Mapping[str, Any] | None = None
    temporal_init: Mapping[str, Any] | None = None
    motion_teacher: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    imported_from: Mapping[str, str] | None = None
    calibration: Calibration | None = None
    data_license: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `from_dict` reads it."""
        return asdict(self) | {"stages": list(self.stages)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunMetadata:
        """Return the metadata that `to_dict` wrote, in this version or an earlier one.

        Raises:
            ValueError: a stage is unknown, or a value has another type or is out of range.
        """
        known = {_EARLIER_NAMES.get(key, key): value for key, value in data.items()}
        if "source" in known:  # earlier version, weights converted from a Caffe file
            known["imported_from"] = {"file": known["source"], "sha256": known.get("sha256", "")}
        values = {item.name: known[item.name] for item in fields(cls) if item.name in known}
        stages = values.get("stages", STAGE_NAMES)
        if not isinstance(stages, list | tuple):
            raise ValueError(f"its stages are {stages!r}; expected a list")
        if values.get("calibration") is not None:
            values["calibration"] = Calibration.from_dict(values["calibration"])
        metadata = cls(**values | {"stages": tuple(stages)})
        unknown = [name for name in metadata.stages if name not in STAGE_NAMES]
        if unknown:
            raise ValueError(
                f"its stages are {list(metadata.stages)}; known stages are {', '.join(STAGE_NAMES)}"
            )
        for name, kind in _METADATA_TYPES.items():
            if not isinstance(getattr(metadata, name), kind):
                raise ValueError(f"its {name} is {str(getattr(metadata, name))[:60]!r}")
        return metadata


_EARLIER_NAMES = {"taken": "warm_start"}

_METADATA_TYPES: dict[str, Any] = {
    "data": str,
    "data_license": str | None,
    "split": str,
    "test_fraction": float | int,
    "held_out": str | None,
    "num_training_videos": int,
    "min_fps": float | int | None,
    "max_fps": float | int | None,
    "seed": int,
    "precision": str,
    "warm_start": Mapping,
    "motion_init": Mapping | None,
    "temporal_init": Mapping | None,
    "motion_teacher": Mapping | None,
    "versions": Mapping,
    "imported_from": Mapping | None,
    "calibration": Calibration | None,
}


@dataclass(frozen=True)
class RunInfo:
    """The description of a checkpoint.

    Attributes:
        recipe: networks, preprocessing (with the input size filled in), training and fusion.
        classes: class names, in the order of the logits.
        metadata: origin of the weights.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    metadata: RunMetadata = field(default_factory=RunMetadata)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with the format version."""
        return {
            "format_version": FORMAT_VERSION,
            "classes": list(self.classes),
            "recipe": self.recipe.to_dict(),
            "provenance": self.metadata.to_dict(),
        }


def build_model(recipe: Recipe, num_classes: int) -> HiddenTwoStream:
    """Return the model of a recipe, with random weights.

    Raises:
        UsageError: the networks do not fit each other, or an image encoder is not filled in or cannot be
            built.
        MissingDependencyError: the library of an image encoder is not installed.
    """
    from hidden_two_stream.recognition.image_encoder import EncoderConfig
    from hidden_two_stream.recognition.model import HiddenTwoStream

    model = recipe.model
    encoder = None
    if model.encoder_name is not None and "spatial" in model.streams:
        encoder = EncoderConfig.from_json(model.encoder)
    return HiddenTwoStream(
        model.motion,
        model.temporal_backbone,
        num_classes,
        model.num_frames,
        temporal=model.temporal,
        streams=model.streams,
        motion_frames=model.motion_frames,
        temporal_dropout=model.temporal_dropout,
        spatial_dropout=model.spatial_dropout,
        border=model.hand_over,
        normalize_contrast=recipe.input.normalize_contrast,
        encoder=encoder,
    )


def save_run(folder: Path, model: torch.nn.Module, info: RunInfo, **extra: str) -> None:
    """Write `model.safetensors` and `config.json` into `folder`.

    Args:
        folder: the run folder; it must exist.
        model: the model.
        info: its description.
        extra: further entries of the description.

    Raises:
        TrainingError: a weight is not finite.
        OutputError: the folder is not writable or the disk is full.
    """
    from hidden_two_stream.tensors import not_finite, write_tensors

    description, weights = info.to_dict() | extra, model.state_dict()
    broken = not_finite(weights)
    if broken:
        raise TrainingError(
            f"cannot save the model: {broken[0]}{_more(broken, 1)} not finite; train again with a lower "
            "learning rate"
        )
    metadata = {DESCRIPTION_KEY: json.dumps(description)}
    if (folder / MODEL_FILE).exists():  # the old run stays whole if the weights cannot be written
        write_tensors(folder / MODEL_FILE, weights, metadata)
        write_json(folder / CONFIG_FILE, description)
    else:  # a folder without weights is no run yet, so an interrupted command can be given again
        write_json(folder / CONFIG_FILE, description)
        write_tensors(folder / MODEL_FILE, weights, metadata)


def load_run(source: str | Path) -> tuple[HiddenTwoStream, RunInfo]:
    """Return the model and description of a run folder or a checkpoint file.

    The model is on the CPU, in evaluation mode.

    Raises:
        UsageError: there is nothing at `source`.
        CheckpointError: the file is not a checkpoint of a run, is damaged, or has another format version.
        MissingDependencyError: the library of its image encoder is not installed.
    """
    file, tensors, data, info = read_description(source)
    _require_clip_labels(data, file)
    from hidden_two_stream.tensors import shapes_only

    try:
        with shapes_only():  # the loaded weights replace the parameters: no second copy
            model = build_model(info.recipe, len(info.classes))
    except UsageError as error:
        raise CheckpointError(f"{str(file)!r} cannot be rebuilt: {error}") from error
    place_weights(model, tensors, file)
    return model.eval(), info


def read_info(source: str | Path) -> RunInfo:
    """Return the description of a run folder or a checkpoint file, without its weights or PyTorch.

    Raises:
        UsageError, CheckpointError: as `load_run`.
    """
    from hidden_two_stream.tensor_files import read_metadata

    file = checkpoint_file(source)
    data = _description(read_metadata(file), file)
    _require_clip_labels(data, file)
    return run_info(data, file)


def _require_clip_labels(data: Mapping[str, Any], file: Path) -> None:
    """Raise a CheckpointError unless the JSON description is that of a run that labels clips."""
    baseline = baseline_of(data)
    if baseline is not None:
        nearest = baseline.startswith("nearest-")
        loader = "nearest_runs.load_nearest" if nearest else "baselines.load_baseline"
        raise CheckpointError(
            f"{str(file)!r} is a baseline of hts compare ({baseline}), without hidden motion; load it "
            f"with hidden_two_stream.experiments.{loader}"
        )
    if FRAME_LABELS_KEY in data:
        raise CheckpointError(
            f"{str(file)!r} labels frames, not clips; use hts annotate, or hidden_two_stream.load_annotator"
        )


def read_description(
    source: str | Path,
) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any], RunInfo]:
    """Return path, tensors, JSON description and `RunInfo` of a run folder or checkpoint file.

    Raises:
        UsageError, CheckpointError: as `load_run`.
    """
    from hidden_two_stream.tensors import read_tensors

    file = checkpoint_file(source)
    tensors, metadata = read_tensors(file)
    data = _description(metadata, file)
    return file, tensors, data, run_info(data, file)


def _description(metadata: Mapping[str, str], file: Path) -> dict[str, Any]:
    if DESCRIPTION_KEY not in metadata:
        raise CheckpointError(f"{str(file)!r} is not a checkpoint of this package: it has no description")
    return parse_description(metadata[DESCRIPTION_KEY], file, FORMAT_VERSION)


def read_config(folder: Path) -> RunInfo:
    """Return the description of the run in a folder, without reading its weights.

    Raises:
        CheckpointError: the folder holds no description, or a damaged one.
    """
    file = folder / CONFIG_FILE
    try:
        text = read_limited(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read the description of a run from {str(file)!r}: {error}") from error
    return run_info(parse_description(text, file, FORMAT_VERSION), file)


def baseline_of(data: Mapping[str, Any]) -> str | None:
    """Return the input of a baseline of `hts compare`; None for other checkpoints.

    Args:
        data: the JSON description of a checkpoint, of this version or an earlier one.
    """
    recipe = data.get("recipe")
    model = recipe.get("model") if isinstance(recipe, Mapping) else None
    earlier = model.get("temporal_input", "motion") if isinstance(model, Mapping) else "motion"
    found = data.get("baseline", earlier)
    return None if found == "motion" else str(found)


def place_weights(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Replace the weights of `model` by `tensors`, without copying them.

    Args:
        model: the model; it can be on the meta device.
        tensors: all weights and buffers by name.
        file: the file that the tensors come from, for errors.

    Raises:
        CheckpointError: names, shapes or types differ, or a weight is not finite.
    """
    from hidden_two_stream.tensors import mismatches, not_finite

    expected = model.state_dict()
    wrong = mismatches(expected, tensors)
    if wrong:
        raise CheckpointError(f"{str(file)!r} does not fit its own description: {'; '.join(wrong[:3])}")
    other = [name for name, tensor in tensors.items() if tensor.dtype != expected[name].dtype]
    if other:
        kinds = [str(each[other[0]].dtype).removeprefix("torch.") for each in (tensors, expected)]
        raise CheckpointError(
            f"{str(file)!r} has weights of another type: {other[0]}{_more(other, 1)} {kinds[0]}; expected "
            f"{kinds[1]}; convert the weights and save them again"
        )
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"{str(file)!r} cannot be used: {broken[0]}{_more(broken, 1)} not finite; train again, or use "
            "another checkpoint"
        )
    model.load_state_dict(tensors, assign=True)


def _more(names: Sequence[str], shown: int) -> str:
    """Return the end of a list of names that shows only the first ones, with the verb behind it."""
    return f" and {len(names) - shown} more are" if len(names) > shown else " is"


def checkpoint_file(source: object) -> Path:
    """Return the checkpoint file of a run folder, or the file itself, without reading it.

    Raises:
        UsageError, CheckpointError: there is none at `source`.
    """
    if not (isinstance(source, str | Path) and str(source)):
        raise UsageError(
            f"got the run {source!r}; expected a folder made by `hts train`, or its {MODEL_FILE}"
        )
    path = Path(source)
    is_folder = os.path.isdir(path)  # the methods of `Path` raise errors about very long names
    file = path / MODEL_FILE if is_folder else path
    if path.suffix in (".onnx", ".pt2") and os.path.isfile(path):
        raise CheckpointError(
            f"{str(path)!r} is an exported model, not a run; use an .onnx file with hts predict, hts "
            "stream or hidden_two_stream.load_onnx"
        )
    if not os.path.exists(path):
        raise UsageError(
            f"no run at {str(source)!r}: there is no such folder or file; give a folder made by `hts train`, "
            f"its {MODEL_FILE}, or a model of the hub as USER/NAME"
        )
    if not file.is_file():
        advice = "expected a folder made by `hts train`"
        if (path / PLAN_FILE).exists():
            advice = f"continue its training with: hts train --resume --out {shlex.quote(str(path))}"
        raise CheckpointError(f"{str(path)!r} holds no {MODEL_FILE}; {advice}")
    return file


def run_info(data: Mapping[str, Any], file: Path) -> RunInfo:
    """Return the `RunInfo` of a JSON description.

    Args:
        data: the description, with the expected format version.
        file: where it was found, for errors.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        recipe = recipe_from_dict(data["recipe"], "recipe")
        classes, provenance = _class_names(data["classes"]), data["provenance"]
        if recipe.model.streams and not classes:
            raise ValueError("it has no classes")
        if not isinstance(provenance, Mapping):
            raise ValueError(f"its provenance is {provenance!r}")
        metadata = RunMetadata.from_dict(provenance)
        prototypes = None if metadata.calibration is None else metadata.calibration.prototypes
        if prototypes is not None and len(prototypes.vectors) != len(classes):
            raise ValueError(f"it has {len(prototypes.vectors)} prototypes of {len(classes)} classes")
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"the description in {str(file)!r} is damaged: {error}") from error
    cleaned = tuple(map(clean_text, classes))  # earlier versions kept "é" as a folder spelled it
    return RunInfo(recipe, cleaned if len(set(cleaned)) == len(classes) else classes, metadata)


def _class_names(classes: object) -> tuple[str, ...]:
    """Return the class names of a description.

    Raises:
        ValueError: they are not a list of different names.
    """
    if not isinstance(classes, list):
        raise ValueError(f"its classes are {str(classes)[:60]!r}; expected a list of names")
    wrong = [name for name in classes if not isinstance(name, str) or not name.strip()]
    if wrong:
        raise ValueError(f"its classes include {str(wrong[0])[:60]!r}; expected names")
    twice = [name for name, number in Counter(classes).items() if number > 1]
    if twice:
        raise ValueError(f"its classes include {twice[0]!r} twice; expected different names")
    return tuple(classes)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return all logged lines of a run, up to the first one that is incomplete, as of a killed run.

    Each has a stage and a step; all other values are numbers, or None where one was not finite.

    Raises:
        CheckpointError: the log is too large, or cannot be read.
    """
    lines: list[dict[str, Any]] = []
    path = folder / METRICS_FILE
    try:
        text = read_limited(path, errors="replace") if path.exists() else ""
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}; delete it to go without") from error
    for line in text.splitlines():
        try:
            numbers = parse_json(line)
        except ValueError:
            break
        if not _is_logged(numbers):
            break
        lines.append(numbers)
    return lines


def _is_logged(line: object) -> bool:
    """Whether the data of a line are what `training.log` writes."""
    return (
        isinstance(line, dict)
        and type(line.get("step")) is int
        and isinstance(line.get("stage"), str)
        and all(type(value) in (int, float, type(None)) for key, value in line.items() if key != "stage")
    )

"""One file that prediction needs nothing beside: weights as safetensors, their description as metadata.

A run folder holds `model.safetensors`; `config.json` beside it repeats the description for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import write_json
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import mismatches, parse_description, read_tensors, write_tensors

__all__ = [
    "FORMAT_VERSION",
    "METRICS_FILE",
    "MODEL_FILE",
    "PLAN_FILE",
    "UNREADABLE_FILE",
    "RunInfo",
    "build_model",
    "load_run",
    "read_metrics",
    "save_run",
]

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
UNREADABLE_FILE = "unreadable.txt"
PLAN_FILE = "plan.json"
"""In the folder of a run, or of several: what was set out to do, so that it can be gone on with."""


@dataclass(frozen=True)
class RunInfo:
    """What a checkpoint says beside its weights.

    Attributes:
        recipe: networks, preprocessing (with the input size filled in), training and fusion.
        classes: class names, in the order of the logits.
        provenance: data, split, seed, stages trained, library versions.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, with the format version."""
        return {
            "format_version": FORMAT_VERSION,
            "classes": list(self.classes),
            "recipe": self.recipe.to_dict(),
            "provenance": dict(self.provenance),
        }


def build_model(recipe: Recipe, num_classes: int) -> HiddenTwoStream:
    """A fresh model as the recipe describes it."""
    model = recipe.model
    return HiddenTwoStream(
        model.motion,
        model.backbone,
        num_classes,
        model.num_frames,
        temporal=model.temporal,
        streams=model.streams,
        motion_frames=model.motion_frames,
        temporal_dropout=model.temporal_dropout,
        spatial_dropout=model.spatial_dropout,
        border=model.hand_over,
        temporal_input=model.temporal_input,
    )


def save_run(folder: Path, model: HiddenTwoStream, info: RunInfo) -> None:
    """Write `model.safetensors` and `config.json` into `folder`.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    description = info.to_dict()
    write_tensors(folder / MODEL_FILE, model.state_dict(), {"hidden_two_stream": json.dumps(description)})
    write_json(folder / CONFIG_FILE, description)


def load_run(source: str | Path) -> tuple[HiddenTwoStream, RunInfo]:
    """Read a run folder or a checkpoint file; the model is on the CPU, in evaluation mode.

    Raises:
        UsageError: there is nothing at `source`.
        CheckpointError: it is not a checkpoint, is damaged, or of another format version.
    """
    path = Path(source)
    file = path / MODEL_FILE if path.is_dir() else path
    if not path.exists():
        raise UsageError(f"no run at {str(source)!r}; give a folder made by `hts train`, or its {MODEL_FILE}")
    if not file.is_file():
        raise CheckpointError(
            f"{str(path)!r} holds no {MODEL_FILE}; if its training was "
            f"interrupted, go on with: hts train --resume --out {path}"
        )
    tensors, metadata = read_tensors(file)
    info = _read_info(metadata, file)
    try:
        with torch.device("meta"):  # weights are put in place: no random ones, no second copy
            model = build_model(info.recipe, len(info.classes))
    except UsageError as error:
        raise CheckpointError(f"{str(file)!r} cannot be rebuilt: {error}") from error
    wrong = mismatches(model.state_dict(), tensors)
    if wrong:
        raise CheckpointError(f"{str(file)!r} does not fit its own description: {'; '.join(wrong[:3])}")
    model.load_state_dict(tensors, assign=True)
    return model.eval(), info


def _read_info(metadata: Mapping[str, str], file: Path) -> RunInfo:
    if "hidden_two_stream" not in metadata:
        raise CheckpointError(f"{str(file)!r} is no checkpoint of this package: its metadata does not say so")
    data = parse_description(metadata["hidden_two_stream"], file, FORMAT_VERSION)
    try:
        recipe = recipe_from_dict(data["recipe"], "recipe")
        classes, provenance = tuple(data["classes"]), data["provenance"]
        if not (classes or not recipe.model.streams) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"its classes are {classes}")
        if not isinstance(provenance, dict):
            raise ValueError(f"its provenance is {provenance!r}")
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"the description in {str(file)!r} is damaged: {error}") from error
    return RunInfo(recipe, classes, provenance)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All logged lines of a run; an incomplete last line (after a kill) is left out."""
    lines = []
    path = folder / METRICS_FILE
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines

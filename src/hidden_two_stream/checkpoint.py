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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hidden_two_stream.config import Recipe, recipe_from_dict
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import write_json, written_whole
from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = [
    "FORMAT_VERSION",
    "RunInfo",
    "build_model",
    "load_run",
    "read_tensors",
    "save_run",
    "write_tensors",
]

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


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
    wrong = _mismatches(model.state_dict(), tensors)
    if wrong:
        raise CheckpointError(f"{str(file)!r} does not fit its own description: {'; '.join(wrong[:3])}")
    model.load_state_dict(tensors, assign=True)
    return model.eval(), info


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors as safetensors, whole or not at all.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as part:
        try:
            save_file(plain, part, dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: it is not one, or it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} is not a whole safetensors file: {error}") from error


def _read_info(metadata: Mapping[str, str], file: Path) -> RunInfo:
    if "hidden_two_stream" not in metadata:
        raise CheckpointError(f"{str(file)!r} is no checkpoint of this package: its metadata does not say so")
    data = _described(metadata["hidden_two_stream"], file)
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{str(file)!r} has format version {version}, this package reads {FORMAT_VERSION}; "
            "use the version of hidden-two-stream that wrote it"
        )
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


def _described(text: str, file: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the description in {str(file)!r} is damaged: {error}") from error
    return data if isinstance(data, dict) else {}


def _mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if expected[name].shape != found[name].shape:
            wrong.append(f"{name} has shape {tuple(found[name].shape)}, not {tuple(expected[name].shape)}")
    return sorted(wrong)

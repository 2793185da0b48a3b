"""Runs from what was taught in the exported page.

The page saves a project as one safetensors file: the embeddings of the clips, the last layer that was fitted
to them, its calibration, and the checkpoint of the network below.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidden_two_stream.checkpoint import CONFIG_FILE, RunInfo, RunMetadata, load_run, save_run
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import file_sha256, is_temporary, make_folder, parse_description
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.tensors import not_finite, read_tensors

__all__ = ["PROJECT_KEY", "import_web"]

PROJECT_KEY = "hidden_two_stream_project"
"""In the metadata of a project file: its description, as JSON."""

_FORMAT_VERSION = 1
_TENSORS = ("weight", "bias", "embeddings", "base")
_MOST_FPS = 1000.0


def import_web(file: str | Path, out: str | Path) -> Recognizer:
    """Write a run that recognizes what was taught in the page, and return its recognizer.

    Args:
        file: a project that the page saved.
        out: the run folder to write; it must not hold a run already.

    Raises:
        UsageError: there is no such file, or `out` holds a run.
        CheckpointError: the file is no project, or is damaged.
        OutputError: the folder cannot be written.
    """
    source, folder = Path(file), Path(out)
    if not os.path.isfile(source):
        raise UsageError(f"no project at {str(file)!r}; give a .safetensors file that the page saved")
    if folder.exists() and (not folder.is_dir() or _holds_something(folder)):
        raise UsageError(f"{str(out)!r} is not an empty folder; name a new one")
    tensors, metadata = read_tensors(source)
    if PROJECT_KEY not in metadata or not set(_TENSORS) <= set(tensors):
        raise CheckpointError(
            f"{str(source)!r} is no project of the page: expected a file from its button 'Save the project'"
        )
    project = parse_description(metadata[PROJECT_KEY], source, _FORMAT_VERSION)
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(f"{str(source)!r} is damaged: {broken[0]} is not finite; save it again")
    model, base = _base(tensors["base"], source)
    info = _info(project, base, source)
    stream = info.recipe.model.streams[0]
    _replace_last_layer(model, stream, tensors["weight"], tensors["bias"], len(info.classes), source)
    save_run(make_folder(folder), model, info)
    return Recognizer(model.eval(), info)


def _holds_something(folder: Path) -> bool:
    """Return whether a folder holds more than an import can leave that was interrupted."""
    names = (path.name for path in folder.iterdir())
    return any(name != CONFIG_FILE and not is_temporary(name) for name in names)


def _base(packed: Tensor, source: Path) -> tuple[Any, RunInfo]:
    """Return the network that the project was taught with, and its description."""
    if packed.dtype != torch.uint8 or packed.ndim != 1:
        raise CheckpointError(f"{str(source)!r} is damaged: its network is no file; save it again")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "base.safetensors"
        file.write_bytes(packed.numpy().tobytes())
        try:
            return load_run(file)
        except (CheckpointError, UsageError) as error:
            reason = str(error).replace(str(file), "its network")
            raise CheckpointError(f"{str(source)!r} is damaged: {reason}") from error


def _info(project: Mapping[str, Any], base: RunInfo, source: Path) -> RunInfo:
    """Return the description of the run."""
    try:
        classes = tuple(map(clean_text, _texts(project["classes"])))
        if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
            raise ValueError(f"its classes are {list(classes)}; expected two or more different names")
        stream, fps, clips = project["stream"], project["fps"], project["clips"]
        if (stream,) != base.recipe.model.streams:
            raise ValueError(
                f"its stream is {stream!r}; that of its network is {base.recipe.model.streams[0]!r}"
            )
        if not _is_number(fps) or not 0 <= fps <= _MOST_FPS:
            raise ValueError(f"its fps is {fps!r}; expected 0 to {_MOST_FPS:g}")
        if not isinstance(project["mirror"], bool):
            raise ValueError(f"its mirror is {project['mirror']!r}; expected true or false")
        rates = [clip["fps"] for clip in clips]
        if not all(_is_number(rate) and 0 < rate <= _MOST_FPS for rate in rates):
            raise ValueError("the rate of a clip is out of range")
        calibration = _calibration(project["calibration"], len(classes))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the description in {str(source)!r} is damaged: {error}") from error
    settings = replace(base.recipe.input, fps=float(fps), flip=project["mirror"])
    before = base.metadata
    sampled = [min(rate, fps) if fps else rate for rate in rates]
    metadata = RunMetadata(
        stages=(stream,),
        data=f"{len(clips)} clips, taught in the browser",
        split="leave one clip out",
        num_training_videos=len(clips),
        min_fps=min(sampled, default=None),
        max_fps=max(sampled, default=None),
        motion_init=before.motion_init,
        temporal_init=before.temporal_init,
        imported_from={"file": source.name, "sha256": file_sha256(source)},
        calibration=calibration,
    )
    return RunInfo(replace(base.recipe, input=settings), classes, metadata)


def _calibration(data: Any, classes: int) -> Calibration | None:
    if data is None:
        return None
    errors: dict[str, Any] = {name: {} for name in ("ece_before", "ece_after", "nll_before", "nll_after")}
    found = Calibration.from_dict({**errors, **data})
    if found.prototypes is not None and len(found.prototypes.vectors) != classes:
        raise ValueError(f"it has {len(found.prototypes.vectors)} prototypes of {classes} classes")
    return found


def _replace_last_layer(
    model: Any, stream: str, weight: Tensor, bias: Tensor, classes: int, source: Path
) -> None:
    """Put the taught layer in place of the last linear layer of a stream.

    Raises:
        CheckpointError: it does not fit.
    """
    part = model.get_submodule(f"{stream}_stream")
    name, old = [(name, layer) for name, layer in part.named_modules() if isinstance(layer, nn.Linear)][-1]
    if weight.shape != (classes, old.in_features) or bias.shape != (classes,):
        raise CheckpointError(
            f"{str(source)!r} is damaged: its last layer has the shapes {tuple(weight.shape)} and "
            f"{tuple(bias.shape)}; expected {(classes, old.in_features)} and {(classes,)}"
        )
    new = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        new.weight.copy_(weight)
        new.bias.copy_(bias)
    above, _, own = name.rpartition(".")
    setattr(part.get_submodule(above), own, new)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"its classes are {str(values)[:60]!r}")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value

"""What of a run may leave this machine: a description and scores without paths, names of files or people.

Both are built anew from fields that are known to be public. `audit` then searches everything for what must
not leave, in case a field holds it all the same.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import RunInfo, RunMetadata
from hidden_two_stream.config.schema import ENCODER_PREFIX, Recipe
from hidden_two_stream.data.record import TrainingRecord
from hidden_two_stream.errors import UsageError
from hidden_two_stream.weights.hub_names import hub_name
from hidden_two_stream.weights.motion import shipped_motion_weights
from hidden_two_stream.weights.temporal import shipped_temporal_weights

__all__ = ["OWN_DATA", "audit", "benchmark_name", "private_words", "public_info", "public_results"]

OWN_DATA = "videos of the author's own"
_OWN_FILE = "own file"
_BENCHMARKS = {
    "ucf101": "UCF101", "hmdb51": "HMDB51", "thumos14": "THUMOS14", "activitynet": "ActivityNet",
    "kinetics": "Kinetics",
}  # fmt: skip
_ORIGIN_FIELDS = ("sha256", "network", "num_frames", "num_classes")
_PATH = re.compile(
    r"(?<![\w:/.~-])(?:/[\w.@-][\w.@ -]*){2,}|(?<!\w)[A-Za-z]:[\\/]+[\w.-]+|(?<!\w)~/[\w.-]+|file://"
)
_CLIP_FIGURES = (
    "protocol", "num_test_videos", "num_unreadable", "num_trained_on", "chance", "accuracy",
    "accuracy_interval_95", "mean_class_accuracy", "per_class", "confusion", "calibration",
)  # fmt: skip
_FRAME_FIGURES = (
    "num_videos", "num_frames", "num_unlabeled_frames", "accuracy", "majority_accuracy", "kappa", "macro_f1",
    "mean_average_precision", "macro_bout_f1", "detection_map", "per_behavior",
)  # fmt: skip
_SHORTEST_WORD = 4
_TELLING = re.compile(r"[^A-Za-z]")
"""Names of letters alone, such as a machine called "video", can be words of the card."""


def public_info(info: RunInfo, data_name: str | None = None) -> RunInfo:
    """Return the description of a run as it is published.

    Args:
        info: the description.
        data_name: what to call the dataset; None: the name of a benchmark, or `OWN_DATA`.
    """
    return RunInfo(_public_recipe(info.recipe), info.classes, _public_metadata(info.metadata, data_name))


def benchmark_name(data: str) -> str | None:
    """Return the name of a dataset that is given by name, such as "UCF101, split 1"; None: own videos."""
    kind, *rest = data.split(":")
    if kind not in _BENCHMARKS or not rest:
        return None
    split = rest[-1] if len(rest) > 1 and rest[-1].isdecimal() else None
    return _BENCHMARKS[kind] + (f", split {split}" if split else "")


def public_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of `results.json` that are published: numbers by class, and no name of a video."""
    found = {name: results[name] for name in _CLIP_FIGURES if name in results}
    for part in ("test", "cross_fitted"):
        figures = results.get(part)
        if isinstance(figures, Mapping):
            found[part] = {name: figures[name] for name in _FRAME_FIGURES if name in figures}
    for name in ("behaviors", "exclusive", "thresholds", "temperature"):
        if name in results and ("test" in results or "cross_fitted" in results):
            found[name] = results[name]
    return found


def audit(texts: Mapping[str, str], words: Iterable[str], given: Iterable[str]) -> None:
    """Check that no text holds a path or a word that must not leave this machine.

    Args:
        texts: each text that is published, by the name of its file.
        words: what must not be in them, such as the name of this machine.
        given: texts that the author chose to publish, such as class names; what is part of them may be there.

    Raises:
        UsageError: a text holds one of them.
    """
    allowed = [text for text in given if text.strip()]
    for file, text in texts.items():
        found = [match[0].strip() for match in _PATH.finditer(text)]
        found += [word for word in words if _holds(text, word)]
        word = next((each for each in found if not any(each in one for one in allowed)), None)
        if word is not None:
            raise UsageError(
                f"{file} would publish {word!r}: nothing is pushed; take it out of the run's description, "
                "such as the license of its data"
            )


def private_words(info: RunInfo, record: TrainingRecord | None, folder: Path) -> set[str]:
    """Return what must not leave: paths of data and runs, names of videos, home folder and host name."""
    metadata = info.metadata
    places = [metadata.data, str(folder.resolve()), os.path.expanduser("~"), str(Path.cwd())]
    places += [place for place in metadata.warm_start.values() if hub_name(place) is None]
    words = {place for place in places if len(Path(place).parts) > 2}
    if record is not None:
        samples = (*record.train, *record.test)
        words |= {sample.name for sample in samples} | {Path(sample.name).name for sample in samples}
        words |= {record.folder} if len(Path(record.folder).parts) > 2 else set()
    words |= {platform.node()}
    return {word for word in words if len(word) >= _SHORTEST_WORD and _TELLING.search(word)}


def _holds(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _public_recipe(recipe: Recipe) -> Recipe:
    model, shipped = recipe.model, {"none", "shipped", *shipped_motion_weights()}
    encoder = model.encoder_name
    if encoder is not None and (hub_name(encoder) is None or os.path.lexists(encoder)):
        model = replace(model, backbone=f"{ENCODER_PREFIX}own-encoder")
    return replace(
        recipe,
        model=model,
        init=recipe.init if recipe.init in ("none", "imagenet") else _OWN_FILE,
        motion_init=recipe.motion_init if recipe.motion_init in shipped else _OWN_FILE,
        temporal_init=recipe.temporal_init if recipe.temporal_init in shipped else _OWN_FILE,
        motion_teacher=recipe.motion_teacher if recipe.motion_teacher in shipped else _OWN_FILE,
    )


def _public_metadata(metadata: RunMetadata, data_name: str | None) -> RunMetadata:
    return replace(
        metadata,
        data=data_name or benchmark_name(metadata.data) or OWN_DATA,
        split=_public_split(metadata),
        held_out=None,
        warm_start={
            part: place if hub_name(place) is not None else "another run"
            for part, place in metadata.warm_start.items()
        },
        motion_init=_public_origin(metadata.motion_init),
        temporal_init=_public_origin(metadata.temporal_init),
        motion_teacher=_public_origin(metadata.motion_teacher),
        imported_from=None
        if metadata.imported_from is None
        else {"file": "a Caffe model", "sha256": str(metadata.imported_from.get("sha256", ""))},
    )


def _public_split(metadata: RunMetadata) -> str:
    """Return how the data was divided, without the value that was held out: it can name a person."""
    parts = metadata.split.split("; ")
    column = (metadata.held_out or "").partition("=")[0]
    for number, part in enumerate(parts):
        if part.startswith("held out: "):
            parts[number] = f"held out: one {column or 'group'}"
    if metadata.held_out and not metadata.split:
        parts = [f"held out: one {column}"]
    return _PATH.sub("…", "; ".join(parts))


def _public_origin(origin: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return where weights began, without the name of a file of the author's own."""
    if origin is None:
        return None
    file = str(origin.get("file", ""))
    names = (*shipped_motion_weights(), *shipped_temporal_weights())
    shipped = origin.get("source") == "shipped" or file in {f"{name}.safetensors" for name in names}
    kept = {name: origin[name] for name in _ORIGIN_FIELDS if isinstance(origin.get(name), str | int)}
    return ({"source": "shipped", "file": Path(file).name} if shipped else {"source": _OWN_FILE}) | kept

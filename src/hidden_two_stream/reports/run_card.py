"""A run's card: all that its folder says about it, whatever kind of run it is."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hidden_two_stream.checkpoint import (
    FRAME_LABELS_KEY,
    MODEL_FILE,
    PLAN_FILE,
    RESULTS_FILE,
    UNREADABLE_FILE,
    RunInfo,
    RunMetadata,
    baseline_of,
    read_description,
    read_metrics,
)
from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import trained_streams
from hidden_two_stream.data.record import read_record
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import read_json
from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.curves import run_curves
from hidden_two_stream.reports.data import Curve
from hidden_two_stream.reports.run_results import read_results, stage_seconds
from hidden_two_stream.reports.run_speed import Speed, measure_speed
from hidden_two_stream.weights.hub import find_run

__all__ = ["PartSize", "RunCard", "inspect"]

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_PARTS = {"motion_net": "MotionNet", "spatial_stream": "spatial stream", "temporal_stream": "temporal stream"}


@dataclass(frozen=True)
class PartSize:
    """The size of one part of the networks: trained numbers, and bytes with the statistics beside them."""

    parameters: int
    num_bytes: int


@dataclass(frozen=True)
class RunCard:
    """What a run folder says about a run.

    Attributes:
        path: the folder or checkpoint file, or "user/name@commit" of the hub.
        kind: what it is, in words: "clips", "frame labels", "motion network", "baseline of hts compare: …" or
            "unfinished training".
        classes: class names, or behaviors; empty: unknown.
        streams: the trained streams.
        recipe: networks, input and training.
        metadata: origin of the weights: data, split, rates, seed, versions, calibration.
        num_train, num_test: videos of training and test; None: unknown.
        results: figures of `results.json`; empty: there are none.
        parts: size of each part of the networks.
        files: bytes of each file of the folder.
        curves: training curves.
        seconds: training time of each stage.
        speed: speed on this machine; None: not measured.
        notes: what is missing or damaged.
    """

    path: str
    kind: str
    classes: tuple[str, ...]
    streams: tuple[str, ...]
    recipe: Recipe
    metadata: RunMetadata
    num_train: int | None = None
    num_test: int | None = None
    results: Mapping[str, Any] = field(default_factory=dict, repr=False)
    parts: Mapping[str, PartSize] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    curves: Sequence[Curve] = field(default=(), repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict)
    speed: Speed | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "path": self.path,
            "kind": self.kind,
            "classes": list(self.classes),
            "streams": list(self.streams),
            "recipe": self.recipe.to_dict(),
            "provenance": self.metadata.to_dict(),
            "num_train": self.num_train,
            "num_test": self.num_test,
            "results": dict(self.results),
            "parts": {name: vars(part) for name, part in self.parts.items()},
            "files": dict(self.files),
            "curves": [
                {
                    "stage": curve.stage,
                    "name": curve.name,
                    "steps": list(curve.steps),
                    "values": _finite(curve),
                }
                for curve in self.curves
            ],
            "seconds": dict(self.seconds),
            "speed": None if self.speed is None else vars(self.speed),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from hidden_two_stream.reports.card_text import card_text

        return card_text(self)


def inspect(run: str | Path, *, speed: bool = False, device: str = "cpu") -> RunCard:
    """Return the card of a run, finished or not.

    Args:
        run: a folder made by `hts train`, `hts train-frames` or `hts compare`, a checkpoint file, or a name
            on the hub, as for `inference.predictor.load`.
        speed: measure how fast it is here, which takes some seconds.
        device: where to measure.

    Raises:
        UsageError: there is nothing at `run`, it is no run, or it holds several runs.
        CheckpointError: the checkpoint is damaged or has another format version.
    """
    found = find_run(run)
    path = found.path
    if os.path.isdir(path) and not (path / MODEL_FILE).exists():
        return _unfinished(path)
    file, tensors, data, info = read_description(path)
    folder = path if path.is_dir() else file.parent
    notes: list[str] = []
    results = read_results(folder, notes) if path.is_dir() else {}
    built = info.recipe.model.streams
    kind = _kind(data, info)
    card = RunCard(
        path=found.source,
        kind=kind,
        classes=info.classes,
        streams=tuple(name for name in trained_streams(info.metadata.stages) if name in built),
        recipe=info.recipe,
        metadata=info.metadata,
        results=results,
        parts=_parts(tensors),
        files=_files(folder) if path.is_dir() else {file.name: file.stat().st_size},
        curves=run_curves(folder) if path.is_dir() else (),
        seconds=stage_seconds(results),
    )
    card = _with_record(card, path, notes)
    if speed:
        try:
            card = replace(card, speed=measure_speed(path, kind, device))
        except CheckpointError as error:
            notes.append(f"no speed: {error}")
        if card.speed is None and kind.startswith("baseline"):
            notes.append("no speed: that of a baseline is in the table of hts compare")
    return replace(card, notes=(*notes, *_unreadable(folder)))


def _kind(data: Mapping[str, Any], info: RunInfo) -> str:
    baseline = baseline_of(data)
    if baseline is not None:
        return f"baseline of hts compare: {baseline}"
    if FRAME_LABELS_KEY in data:
        return "frame labels"
    if not trained_streams(info.metadata.stages) or not info.recipe.model.streams:
        return "motion network"
    return "clips"


def _unfinished(folder: Path) -> RunCard:
    """Return the card of a folder without a model: its plan, and how far its training has come."""
    if not any((folder / name).exists() for name in (PLAN_FILE, RESULTS_FILE)):
        raise UsageError(
            f"{str(folder)!r} is no run: it holds neither {MODEL_FILE} nor {PLAN_FILE}; give a folder made "
            "by hts train, hts train-frames or hts compare"
        )
    runs = sorted(path.parent for depth in range(1, 5) for path in folder.glob(f"{'*/' * depth}{MODEL_FILE}"))
    if runs:
        raise UsageError(
            f"{str(folder)!r} holds {number_of(len(runs), 'run')}; inspect one of them, such as "
            f"{str(runs[0])!r}"
        )
    try:
        plan = read_json(folder / PLAN_FILE)
        recipe = recipe_from_dict(plan["recipe"], "recipe")
        metadata = RunMetadata.from_dict(
            {name: plan[name] for name in _PLANNED if name in plan} | {"stages": []}
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{str(folder / PLAN_FILE)!r} is damaged: {error}") from error
    lines = read_metrics(folder)
    reached = "before its first step"
    if lines:
        stage, step = lines[-1]["stage"], lines[-1]["step"]
        reached = f"in stage {stage}, step {step} or later"
    return RunCard(
        path=str(folder),
        kind="unfinished training",
        classes=(),
        streams=(),
        recipe=recipe,
        metadata=metadata,
        files=_files(folder),
        curves=run_curves(folder),
        notes=(
            f"the training stands {reached}; continue it with: hts train --resume --out "
            f"{shlex.quote(str(folder))}",
            *_unreadable(folder),
        ),
    )


_PLANNED = ("data", "test_fraction", "held_out", "seed", "warm_start", "versions", "data_license")
"""Fields that a plan and the metadata of a run share."""


def _with_record(card: RunCard, path: Path, notes: list[str]) -> RunCard:
    """Return the card with the numbers of training and test videos."""
    tested = card.results.get("num_test_videos")
    known = replace(
        card,
        num_train=card.metadata.num_training_videos or None,
        num_test=tested if isinstance(tested, int) else None,
    )
    try:
        record = read_record(path)
    except CheckpointError as error:
        notes.append(str(error))
        return known
    if record is None:
        return known
    return replace(known, num_train=len(record.train), num_test=len(record.test))


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, PartSize]:
    """Return the size of each part, by the first words of its tensors' names."""
    sizes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        part = name.removeprefix("networks.").split(".")[0]
        size = sizes.setdefault(_PARTS.get(part, part.replace("_", " ")), [0, 0])
        size[0] += 0 if name.endswith(_BUFFERS) else tensor.numel()
        size[1] += tensor.nbytes
    return {part: PartSize(*size) for part, size in sizes.items()}


def _files(folder: Path) -> dict[str, int]:
    found = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: path.stat().st_size for path in found}


def _unreadable(folder: Path) -> list[str]:
    path = folder / UNREADABLE_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return [f"{number_of(len(lines), 'unreadable video')}: see {UNREADABLE_FILE}"] if lines else []


def _finite(curve: Curve) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in curve.values]

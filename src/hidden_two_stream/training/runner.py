"""Training runs: from a dataset to a run folder with a tested recognizer and a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.checkpoint import MODEL_FILE, PLAN_FILE, RESULTS_FILE, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.data.splits import Split, divide
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.progress import note
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.fit import FitTask, TrainingResult, decode_samples, fit, resolve_input
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.warm_start import check_initial_weights

__all__ = ["Plan", "check_networks", "make_plan", "resume", "run_plan", "train"]


@dataclass(frozen=True)
class Plan:
    """What a run sets out to do. The run folder keeps it, so that resuming needs nothing else.

    Attributes:
        data: folder, CSV or dataset by name.
        recipe: how to train; the input size is filled in once the data is known.
        stages: the stages to train, in order.
        test_fraction: part of each class held back for the test where the data has no split of its own.
        held_out: "column=value" of the samples held back for the test instead.
        seed: seed of the split and of everything random.
        warm_start: run by the part that it gives: "motion", "spatial", "temporal".
        protocol: test protocol.
        fingerprint: fingerprint of the dataset index; empty before the data is read.
    """

    data: str
    recipe: Recipe
    stages: tuple[str, ...] = STAGE_NAMES
    test_fraction: float = 0.25
    seed: int = 0
    warm_start: Mapping[str, str] = field(default_factory=dict)
    protocol: str = DEFAULT_PROTOCOL
    held_out: str | None = None
    fingerprint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, as `from_dict` reads it."""
        return {**self.__dict__, "recipe": self.recipe.to_dict(), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], origin: str) -> Plan:
        """Return the plan that `to_dict` wrote, in this version or an earlier one.

        Args:
            data: nested plain data.
            origin: names the data in errors.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
            UsageError: the recipe is wrong.
        """
        values = dict(data)
        earlier = {kind: values.pop(f"{kind}_from", None) for kind in ("motion", "spatial", "temporal")}
        values.setdefault("warm_start", {kind: run for kind, run in earlier.items() if run is not None})
        recipe = recipe_from_dict(values.pop("recipe"), origin)
        return cls(recipe=recipe, stages=tuple(values.pop("stages")), **values)


def train(
    data: str | Path,
    out: str | Path,
    recipe: str | Path | Recipe = "nano",
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    stage: str = "all",
    test_fraction: float = 0.25,
    held_out: str | None = None,
    warm_start: Mapping[str, str | Path] | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    seed: int = 0,
    resources: Resources | None = None,
) -> TrainingResult:
    """Train a recognizer, test it, and write a run folder with a report.

    Args:
        data: a folder with one sub-folder of videos per class, a CSV with the columns path,label, or a
            dataset by name, such as "ucf101:ROOT:1".
        out: the run folder; it must not hold a run yet.
        recipe: a recipe, its name, or a YAML file.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        stage: "all", or the only stage to train: "motion", "spatial", "temporal" or "joint".
        test_fraction: part of each class held back for the test where the data has no split of its own.
        held_out: "column=value" of the samples held back for the test instead, such as "subject=3".
        warm_start: run by the part that it gives: "motion", "spatial", or "temporal" (with its MotionNet).
        protocol: test protocol: "center", or "NxM" clips x crops.
        seed: seed of the split and of everything random.
        resources: machine and progress.

    Returns:
        The recognizer, its test result and the seconds of each stage.

    Raises:
        UsageError: an argument is wrong, or `out` holds a run already.
        DataError: the dataset cannot be used.
        CheckpointError: a warm start or weights file is damaged.
        TrainingError: the loss or the gradient is not finite.
        Stopped: interrupted by Ctrl-C; `resume` goes on.
    """
    plan = make_plan(
        data, recipe, overrides, stage=stage, test_fraction=test_fraction, held_out=held_out,
        warm_start=warm_start, protocol=protocol, seed=seed,
    )  # fmt: skip
    return run_plan(Path(out), plan, resources or Resources())[0]


def resume(out: str | Path, resources: Resources | None = None) -> TrainingResult:
    """Go on with an interrupted run, exactly as if it had not stopped.

    Args:
        out: the run folder.
        resources: machine and progress.

    Raises:
        UsageError: there is no run in `out`, or its data has changed.
        CheckpointError: its files are damaged.
        DataError, TrainingError, Stopped: as `train`.
    """
    return run_plan(Path(out), None, resources or Resources())[0]


def make_plan(
    data: str | Path,
    recipe: str | Path | Recipe,
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    stage: str = "all",
    test_fraction: float = 0.25,
    held_out: str | None = None,
    warm_start: Mapping[str, str | Path] | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    seed: int = 0,
) -> Plan:
    """Return the plan of a run; arguments as of `train`.

    Raises:
        UsageError: the recipe, a field, the stage, the protocol or the split of the dataset is unknown, or
            the recipe's networks do not fit each other.
    """
    if stage != "all" and stage not in STAGE_NAMES:
        raise UsageError(f"unknown stage {stage!r}; choose all, {', '.join(STAGE_NAMES)}")
    parse_protocol(protocol)  # a wrong protocol must not show only after the training
    source = absolute_data(data)
    loaded = load_recipe(recipe, overrides)
    check_networks(loaded)
    return Plan(
        data=source,
        recipe=_with_absolute_files(loaded),
        stages=STAGE_NAMES if stage == "all" else (stage,),
        test_fraction=test_fraction,
        seed=seed,
        warm_start={kind: str(Path(run).resolve()) for kind, run in (warm_start or {}).items()},
        protocol=protocol,
        held_out=held_out,
    )


def check_networks(recipe: Recipe) -> None:
    """Build the recipe's networks without memory for weights, before any video is decoded.

    Raises:
        UsageError: the networks do not fit each other.
    """
    with torch.device("meta"):
        build_model(recipe, 2)


def _with_absolute_files(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths in place of relative ones, so that it means the same in any folder."""
    changes: dict[str, Any] = {}
    for name in ("init", "motion_init", "motion_teacher"):
        value = getattr(recipe, name)
        if value not in ("none", "shipped", "imagenet") and Path(value).is_file():
            changes[name] = str(Path(value).resolve())
    return dataclasses.replace(recipe, **changes)


def run_plan(
    folder: Path, plan: Plan | None, resources: Resources, title: str = "Training run"
) -> tuple[TrainingResult, ClipCache]:
    """Train, test and report.

    Args:
        folder: the run folder.
        plan: a new run's; None: go on with the run in `folder`.
        resources: machine and progress.
        title: heading of the report.

    Returns:
        The result, and the decoded videos. Of several processes, the first alone tests and writes.

    Raises:
        as `train` and `resume`.
    """
    fabric = resources.fabric()
    resuming = plan is None
    if fabric.is_global_zero:
        plan = _prepared(folder, plan)
    plan = fabric.broadcast(plan)
    assert plan is not None  # by the first process
    resources = dataclasses.replace(resources, quiet=resources.quiet or not fabric.is_global_zero)
    index = read_dataset_index(plan.data)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    cache = decode_samples(split.train + split.test, plan.recipe, resources, folder)
    task = FitTask(
        split=split,
        cache=cache,
        classes=index.classes,
        recipe=plan.recipe,
        folder=folder,
        seed=plan.seed,
        protocol=plan.protocol,
        stages=plan.stages,
        warm_start=plan.warm_start,
        metadata=RunMetadata(data=plan.data, test_fraction=plan.test_fraction, held_out=plan.held_out),
        resume=resuming,
    )
    result = fit(task, resources, fabric)
    if fabric.is_global_zero:
        write_json(folder / RESULTS_FILE, result.to_dict())
        shown = cache.select(split.test or split.train)
        write_run_report(folder, result.recognizer, result.evaluation, result.seconds, shown, title)
    return result, cache


def _prepared(folder: Path, plan: Plan | None) -> Plan:
    """Open the run folder, read the dataset index, and write down the plan."""
    new = plan is not None
    plan = _opened(folder) if plan is None else plan
    if new and ((folder / PLAN_FILE).exists() or (folder / MODEL_FILE).exists()):
        raise UsageError(
            f"{str(folder)!r} already holds a run; add --resume to go on, or name another folder"
        )
    index = read_dataset_index(plan.data)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    if new:
        if not (plan.warm_start or any(plan.recipe.stage(name).steps for name in plan.stages)):
            raise UsageError(
                "there is nothing to train: the recipe gives no steps to the stages asked for; "
                "give streams with --spatial-from and --temporal-from, or steps"
            )
        check_initial_weights(plan.recipe, index.classes, plan.warm_start)
    make_folder(folder)
    for empty in index.empty:
        note(f"no videos in {empty!r}: it is not a class")
    note(f"{len(index.samples)} videos, {len(index.classes)} classes; {split.rule}")
    return _settled(plan, index, split, folder)


def _opened(folder: Path) -> Plan:
    """The plan of the run that is in `folder`."""
    path = folder / PLAN_FILE
    if not path.exists():
        raise UsageError(f"no run to resume in {str(folder)!r}; check --out")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return Plan.from_dict(saved, f"recipe of {str(path)!r}")
    except (AttributeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; train again into another folder"
        ) from error


def _settled(plan: Plan, index: DatasetIndex, split: Split, folder: Path) -> Plan:
    """Fill in what the data decides and write the plan; of a resumed run, check that its data is the same."""
    found = index.fingerprint()
    if plan.fingerprint:
        if plan.fingerprint != found:
            raise UsageError(
                f"the videos in {plan.data!r} are not those that this run began with; train anew"
            )
        return plan
    recipe = resolve_input(plan.recipe, split.train)
    note(f"the networks see {recipe.input.size}×{recipe.input.size} px (input.size)")
    settled = dataclasses.replace(plan, recipe=recipe, fingerprint=found)
    write_json(folder / PLAN_FILE, settled.to_dict())
    return settled

"""Training runs: from a dataset to a run folder with a tested recognizer and a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import MODEL_FILE, PLAN_FILE, RESULTS_FILE, RunMetadata
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.data.splits import Split, divide
from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError, UsageError
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.progress import kept_on_output_error, note
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.fit import (
    FitTask,
    TrainingResult,
    check_run,
    decode_samples,
    fit,
    resolve_input,
)
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.state import STATE_FILE

__all__ = ["Plan", "make_plan", "resume", "run_plan", "train"]


@dataclass(frozen=True)
class Plan:
    """The settings of a run. Its folder keeps them, so that resuming needs no other arguments.

    Attributes:
        data: folder, CSV or dataset by name.
        recipe: how to train. The input size is filled in when the data is read.
        stages: the stages to train, in order.
        test_fraction: part of each class held back for the test if the data has no split of its own.
        held_out: "column=value" of the samples held back for the test instead.
        seed: seed of the split and of everything random.
        warm_start: the source run of each part: "motion", "spatial", "temporal".
        protocol: test protocol.
        fingerprint: fingerprint of the dataset index; empty until the data is read.
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
        test_fraction: part of each class held back for the test if the data has no split of its own.
        held_out: "column=value" of the samples held back for the test instead, such as "subject=3".
        warm_start: the source run of each part that is not to be trained from scratch: "motion", "spatial",
            or "temporal" (with its MotionNet). Their stages are left out, unless `stage` names one.
        protocol: test protocol: "center", or "NxM" for N clips and M crops.
        seed: seed of the split and of everything random.
        resources: hardware and progress.

    Returns:
        The recognizer, its test result and the seconds of each stage.

    Raises:
        UsageError: an argument is wrong, or `out` holds a run already.
        DataError: the dataset cannot be used.
        CheckpointError: a warm start or weights file is damaged.
        TrainingError: the loss or the gradient is not finite.
        Stopped: interrupted by Ctrl-C; `resume` continues the run.
    """
    plan = make_plan(
        data, recipe, overrides, stage=stage, test_fraction=test_fraction, held_out=held_out,
        warm_start=warm_start, protocol=protocol, seed=seed,
    )  # fmt: skip
    return run_plan(Path(out), plan, resources or Resources())[0]


def resume(out: str | Path, resources: Resources | None = None) -> TrainingResult:
    """Continue an interrupted run. The result is the same as without the interruption.

    Args:
        out: the run folder.
        resources: hardware and progress.

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
    """Return the plan of a run. The arguments are those of `train`.

    Raises:
        UsageError: the recipe, a field, the stage, the protocol or the split of the dataset is unknown.
    """
    if stage != "all" and stage not in STAGE_NAMES:
        raise UsageError(f"unknown stage {stage!r}; choose all, {', '.join(STAGE_NAMES)}")
    parse_protocol(protocol)  # report a wrong protocol before the training, not after it
    source = absolute_data(data)
    loaded = load_recipe(recipe, overrides)
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


def _with_absolute_files(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, which stay valid in any working folder."""
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
        plan: the plan of a new run; None: continue the run in `folder`.
        resources: hardware and progress.
        title: heading of the report.

    Returns:
        The result, and the decoded videos. If several processes train together, only the first one tests and
        writes files.

    Raises:
        UsageError, DataError, CheckpointError, TrainingError, Stopped: as `train` and `resume`.
    """
    fabric = resources.fabric()
    resuming, is_first = plan is None, fabric.is_global_zero
    plan = _shared(fabric, lambda: _prepare(folder, plan, resources.quiet))
    resources = dataclasses.replace(resources, quiet=resources.quiet or not is_first)
    index = read_dataset_index(plan.data)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    cache = decode_samples(split.train + split.test, plan.recipe, resources, folder, report=is_first)
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
    if is_first:
        with kept_on_output_error(lambda: str(result)):
            write_json(folder / RESULTS_FILE, result.to_dict())
            shown = cache.select(split.test or split.train)
            write_run_report(folder, result.recognizer, result.evaluation, result.seconds, shown, title)
    return result, cache


def _shared(fabric: Fabric, prepare: Callable[[], Plan]) -> Plan:
    """Return the plan that the first process prepares, in all processes.

    Raises:
        HiddenTwoStreamError: in the first process, if it cannot prepare the plan.
        SystemExit: in the other processes in this case, so that the error is reported once.
    """
    outcome: Plan | HiddenTwoStreamError | None = None
    if fabric.is_global_zero:
        try:
            outcome = prepare()
        except HiddenTwoStreamError as error:
            outcome = error
    outcome = fabric.broadcast(outcome)
    if isinstance(outcome, Plan):
        return outcome
    assert outcome is not None
    if fabric.is_global_zero:
        raise outcome
    raise SystemExit(outcome.exit_code)


def _prepare(folder: Path, plan: Plan | None, quiet: bool) -> Plan:
    """Check the arguments of a run, make its folder, and write its plan."""
    new = plan is not None
    plan = _read_plan(folder) if plan is None else plan
    if new and ((folder / PLAN_FILE).exists() or (folder / MODEL_FILE).exists()):
        raise UsageError(
            f"{str(folder)!r} already holds a run; add --resume to go on, or name another folder"
        )
    index = read_dataset_index(plan.data)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    if new or not (folder / STATE_FILE).exists():
        check_run(plan.recipe, index.classes, plan.stages, plan.warm_start)
    make_folder(folder)
    for empty in index.empty:
        note(f"no videos in {empty!r}: not counted as a class")
    note(f"{len(index.samples)} videos, {len(index.classes)} classes; {split.rule}", quiet=quiet)
    return _completed(plan, index, split, folder, quiet)


def _read_plan(folder: Path) -> Plan:
    """Return the plan of the run in `folder`."""
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


def _completed(plan: Plan, index: DatasetIndex, split: Split, folder: Path, quiet: bool) -> Plan:
    """Fill in and write a new plan, or check that the data of a resumed run has not changed."""
    found = index.fingerprint()
    if plan.fingerprint:
        if plan.fingerprint != found:
            raise UsageError(
                f"the videos in {plan.data!r} are not those that this run began with; "
                "train again into another folder"
            )
        return plan
    recipe = resolve_input(plan.recipe, split.train)
    note(f"the networks see {recipe.input.size}×{recipe.input.size} px (input.size)", quiet=quiet)
    completed = dataclasses.replace(plan, recipe=recipe, fingerprint=found)
    write_json(folder / PLAN_FILE, completed.to_dict())
    return completed

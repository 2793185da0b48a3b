"""Training runs: from a dataset to a run folder with a tested recognizer and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import (
    MODEL_FILE,
    PLAN_FILE,
    RESULTS_FILE,
    UNREADABLE_FILE,
    RunMetadata,
)
from hidden_two_stream.config.loading import load_recipe, recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.config.validation import require_seed
from hidden_two_stream.data.background import with_background
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.duplicates import find_duplicates, require_separate
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, clean_text, note_facts
from hidden_two_stream.data.splits import divide
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import trained_on
from hidden_two_stream.files import is_temporary, make_folder, read_json, write_json
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.progress import kept_on_output_error, note
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.continuity import (
    decoded_contents,
    file_contents,
    keep_contents,
    note_versions,
)
from hidden_two_stream.training.fit import (
    FitTask,
    TrainingResult,
    check_batches,
    check_run,
    decode_samples,
    fit,
    resolve_input,
    stages_to_train,
)
from hidden_two_stream.training.image_encoder import resolve_encoder
from hidden_two_stream.training.lock import LOCK_FILE, folder_lock
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
        allow_duplicates: test even on videos that are in training too.
        contents: digests of the video files and of what was decoded, see `training.continuity`.
        versions: versions of the libraries that the run began with.
        data_license: license of the data; None: not given.
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
    allow_duplicates: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    data_license: str | None = None

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
            KeyError, TypeError, ValueError: a field is missing, unknown, or has a wrong value.
            UsageError: the recipe is wrong.
        """
        values = dict(data)
        earlier = {kind: values.pop(f"{kind}_from", None) for kind in ("motion", "spatial", "temporal")}
        values.setdefault("warm_start", {kind: run for kind, run in earlier.items() if run is not None})
        unknown = values.keys() - {item.name for item in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"its field {sorted(map(str, unknown))[0]!r} is unknown")
        recipe, stages = recipe_from_dict(values.pop("recipe"), origin), values.pop("stages")
        if not isinstance(stages, list | tuple) or not set(stages) <= set(STAGE_NAMES):
            raise ValueError(f"its stages are {stages!r}; known stages are {', '.join(STAGE_NAMES)}")
        plan = cls(recipe=recipe, stages=tuple(stages), **values)
        for name, kind in _PLAN_TYPES.items():
            if not isinstance(getattr(plan, name), kind):
                raise ValueError(f"its {name} is {str(getattr(plan, name))[:60]!r}")
        try:
            parse_protocol(plan.protocol)
        except UsageError as error:
            raise ValueError(f"its protocol cannot be used: {error}") from None
        return plan


def _is_begun(name: str) -> bool:
    """Return whether a run can leave this file in its folder before it has written its plan."""
    return name in (LOCK_FILE, UNREADABLE_FILE) or is_temporary(name)


_PLAN_TYPES: dict[str, Any] = {
    "data": str,
    "test_fraction": float | int,
    "seed": int,
    "warm_start": Mapping,
    "protocol": str,
    "held_out": str | None,
    "fingerprint": str,
    "contents": Mapping,
    "versions": Mapping,
    "data_license": str | None,
}


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
    allow_duplicates: bool = False,
    data_license: str | None = None,
    resources: Resources | None = None,
) -> TrainingResult:
    """Train a recognizer, test it, and write a run folder with a report.

    Args:
        data: a folder with one sub-folder of videos per class, a CSV with the columns path,label, or a
            dataset by name, such as "ucf101:ROOT:1".
        out: the run folder; it must not hold a run with a saved state yet.
        recipe: a recipe, its name, or a YAML file.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        stage: "all", or the only stage to train: "motion", "spatial", "temporal" or "joint".
        test_fraction: part of each class held back for the test if the data has no split of its own.
        held_out: "column=value" of the samples held back for the test instead, such as "subject=3".
        warm_start: the source run of each part that is not to be trained from scratch: "motion", "spatial",
            or "temporal" (with its MotionNet). Their stages are left out, unless `stage` names one.
        protocol: test protocol: "center", or "NxM" for N clips and M crops.
        seed: seed of the split and of everything random.
        allow_duplicates: test even on videos that are in training too, under another name or as frames.
        data_license: license of the data, kept with the run.
        resources: hardware and progress.

    Returns:
        The recognizer, its test result and the seconds of each stage.

    Raises:
        UsageError: an argument is wrong, `out` holds a run already, or another process trains into it.
        DataError: the dataset cannot be used, or a test video is in training too.
        CheckpointError: a warm start or weights file is damaged.
        TrainingError: the loss or the gradient is not finite.
        Stopped: interrupted by Ctrl-C; `resume` continues the run.
    """
    _require_run_folder(Path(out))
    plan = make_plan(
        data, recipe, overrides, stage=stage, test_fraction=test_fraction, held_out=held_out,
        warm_start=warm_start, protocol=protocol, seed=seed, allow_duplicates=allow_duplicates,
        data_license=data_license,
    )  # fmt: skip
    return run_plan(Path(out), plan, resources or Resources())[0]


def resume(
    out: str | Path, resources: Resources | None = None, *, allow_duplicates: bool = False
) -> TrainingResult:
    """Continue an interrupted run. The result is the same as without the interruption.

    Args:
        out: the run folder.
        resources: hardware and progress.
        allow_duplicates: test even on videos that are in training too, if the run did not begin so.

    Raises:
        UsageError: there is no run in `out`, its data has changed, or another process trains into it.
        CheckpointError: its files are damaged.
        DataError, TrainingError, Stopped: as `train`.
    """
    return run_plan(Path(out), None, resources or Resources(), allow_duplicates=allow_duplicates)[0]


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
    allow_duplicates: bool = False,
    data_license: str | None = None,
) -> Plan:
    """Return the plan of a run. The arguments are those of `train`.

    Raises:
        UsageError: the recipe, a field, the stage, the protocol, the dataset's split or the image encoder is
            unknown, or the license is empty.
        CheckpointError: the download of an image encoder's description fails.
        MissingDependencyError: the library of an image encoder is not installed.
    """
    if stage != "all" and stage not in STAGE_NAMES:
        raise UsageError(f"unknown stage {stage!r}; choose all, {', '.join(STAGE_NAMES)}")
    require_seed(seed)
    if data_license is not None and not str(data_license).strip():
        raise UsageError("the license of the data is empty; give its name or leave it out")
    parse_protocol(protocol)  # report a wrong protocol before the training, not after it
    source = absolute_data(data)
    loaded = load_recipe(recipe, overrides)
    return Plan(
        data=source,
        recipe=_with_absolute_files(resolve_encoder(loaded)),
        stages=STAGE_NAMES if stage == "all" else (stage,),
        test_fraction=test_fraction,
        seed=seed,
        warm_start={kind: str(Path(run).resolve()) for kind, run in (warm_start or {}).items()},
        protocol=protocol,
        held_out=held_out,
        allow_duplicates=allow_duplicates,
        data_license=data_license,
    )


def _with_absolute_files(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, which stay valid in any working folder."""
    changes: dict[str, Any] = {}
    for name in ("init", "motion_init", "temporal_init", "motion_teacher"):
        value = getattr(recipe, name)
        if value not in ("none", "shipped", "imagenet") and Path(value).is_file():
            changes[name] = str(Path(value).resolve())
    return dataclasses.replace(recipe, **changes)


def run_plan(
    folder: Path,
    plan: Plan | None,
    resources: Resources,
    title: str = "Training run",
    *,
    allow_duplicates: bool = False,
) -> tuple[TrainingResult, ClipCache]:
    """Train, test and report.

    Args:
        folder: the run folder.
        plan: the plan of a new run; None: continue the run in `folder`.
        resources: hardware and progress.
        title: heading of the report.
        allow_duplicates: allow them even if the plan does not.

    Returns:
        The result, and the decoded videos. If several processes train together, only the first one tests and
        writes files.

    Raises:
        UsageError, DataError, CheckpointError, TrainingError, Stopped: as `train` and `resume`.
    """
    fabric = resources.fabric()
    with ExitStack() as locks:
        prepared = _shared(fabric, lambda: _prepare(folder, plan, locks, resources.quiet))
        if allow_duplicates:
            prepared = dataclasses.replace(prepared, allow_duplicates=True)
        return _run_prepared(folder, prepared, plan is None, resources, fabric, title)


def _run_prepared(
    folder: Path, plan: Plan, resuming: bool, resources: Resources, fabric: Fabric, title: str
) -> tuple[TrainingResult, ClipCache]:
    """Train, test and report by a plan that is checked and written, in a folder that is locked."""
    is_first = fabric.is_global_zero
    resources = dataclasses.replace(resources, quiet=resources.quiet or not is_first)
    index = _read_index(plan)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    cache = decode_samples(split.train + split.test, plan.recipe, resources, folder, report=is_first)
    shared = require_separate(
        find_duplicates(cache.samples, cache.videos),
        [split],
        allow=plan.allow_duplicates,
        report=is_first,
    )
    keep_contents(folder / PLAN_FILE, decoded_contents(cache), plan.data, write=is_first)
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
        metadata=RunMetadata(
            data=plan.data,
            test_fraction=plan.test_fraction,
            held_out=plan.held_out,
            data_license=plan.data_license,
        ),
        resume=resuming,
    )
    result = fit(task, resources, fabric)
    result = dataclasses.replace(result, evaluation=trained_on(result.evaluation, shared))
    if is_first:
        with kept_on_output_error(lambda: str(result)):
            write_json(folder / RESULTS_FILE, result.to_dict())
            shown = cache.select(split.test or split.train)
            write_run_report(folder, result.recognizer, result.evaluation, result.seconds, shown, title)
    return result, cache


def _read_index(plan: Plan) -> DatasetIndex:
    """Return the samples of a run, with those of the background if the recipe asks for it."""
    group = None if plan.held_out is None else clean_text(plan.held_out).partition("=")[0]
    return with_background(read_dataset_index(plan.data), plan.recipe.background, group, plan.seed)


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


def _prepare(folder: Path, plan: Plan | None, locks: ExitStack, quiet: bool) -> Plan:
    """Check the arguments of a run, make and lock its folder, and write its plan."""
    new = plan is not None
    if folder.is_dir():
        locks.enter_context(folder_lock(folder))
    if new:
        _require_free(folder)
    plan = _read_plan(folder) if plan is None else plan
    index = _read_index(plan)
    split = divide(index, plan.held_out, plan.test_fraction, plan.seed)
    if new or not (folder / STATE_FILE).exists():
        check_run(plan.recipe, index.classes, plan.stages, plan.warm_start)
    if not plan.fingerprint:
        plan = dataclasses.replace(plan, recipe=resolve_input(plan.recipe, split.train))
        check_batches(plan.recipe, stages_to_train(plan.recipe, plan.stages, plan.warm_start))
    if not folder.is_dir():
        locks.enter_context(folder_lock(make_folder(folder)))
        _require_free(folder)  # another process may have been faster
    note_facts(index)
    note(f"{len(index.samples)} videos, {len(index.classes)} classes; {split.rule}", quiet=quiet)
    return _completed(plan, index, folder, quiet)


def _require_run_folder(folder: Path) -> None:
    """Raise an error if a folder holds other files than those of a run, such as the videos themselves."""
    entries = folder.iterdir() if folder.is_dir() else ()
    files = [path.name for path in entries if not _is_begun(path.name)]
    if files and not any((folder / name).exists() for name in (PLAN_FILE, MODEL_FILE)):
        raise UsageError(
            f"{str(folder)!r} holds something other than a run, such as {min(files)!r}; name a new or empty "
            "folder"
        )


def _require_free(folder: Path) -> None:
    """Raise an error if a run in `folder` has got as far as its first saved state.

    A run that ended before, for example because a file was wrong, leaves nothing that a new run could lose.
    """
    if any((folder / name).exists() for name in (STATE_FILE, MODEL_FILE, RESULTS_FILE)):
        raise UsageError(
            f"{str(folder)!r} already holds a run; add --resume to go on, or name another folder"
        )
    if (folder / PLAN_FILE).exists():
        note(f"the run in {str(folder)!r} ended before its first saved state; a new one takes its place")


def _read_plan(folder: Path) -> Plan:
    """Return the plan of the run in `folder`."""
    path = folder / PLAN_FILE
    if not path.exists():
        raise UsageError(f"no run to resume in {str(folder)!r}; check --out")
    try:
        saved = read_json(path)
        return Plan.from_dict(saved, f"recipe of {str(path)!r}")
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; train again into another folder"
        ) from error


def _completed(plan: Plan, index: DatasetIndex, folder: Path, quiet: bool) -> Plan:
    """Fill in and write a new plan, or check that the data of a resumed run has not changed."""
    found = index.fingerprint()
    if plan.fingerprint:
        if plan.fingerprint != found:
            raise UsageError(
                f"the videos in {plan.data!r} are not those that this run began with; "
                "train again into another folder"
            )
        keep_contents(folder / PLAN_FILE, file_contents(index.samples), plan.data)
        note_versions(plan.versions)
        return plan
    size = plan.recipe.input.size
    note(f"the networks see {size}×{size} px (input.size)", quiet=quiet)
    completed = dataclasses.replace(
        plan, fingerprint=found, contents=file_contents(index.samples), versions=versions()
    )
    write_json(folder / PLAN_FILE, completed.to_dict())
    return completed

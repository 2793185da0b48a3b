"""Cross-validation: one run per value of a column (subject, date, source) or per official split.

The folds of a column test each video once, so their test videos are pooled into one accuracy. Official splits
share test videos and are not pooled: papers report the mean of their accuracies.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import PLAN_FILE, RESULTS_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.config.validation import require_seed
from hidden_two_stream.data.background import require_no_background
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.duplicates import find_duplicates, require_separate
from hidden_two_stream.data.samples import note_facts
from hidden_two_stream.errors import CheckpointError, DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, merge, trained_on
from hidden_two_stream.evaluation.calibration import calibration_errors
from hidden_two_stream.experiments.folds import SCORES_FILE, Folds, load_fold, open_folder, read_folds
from hidden_two_stream.files import make_folder, read_json, write_json
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, run_protocol
from hidden_two_stream.progress import kept_on_output_error, note
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.continuity import decoded_contents, keep_contents
from hidden_two_stream.training.fit import (
    FitTask,
    check_batches,
    check_run,
    decode_samples,
    fit,
    resolve_input,
    stages_to_train,
)
from hidden_two_stream.training.image_encoder import resolve_encoder
from hidden_two_stream.training.lock import folder_lock
from hidden_two_stream.training.resources import Resources

__all__ = ["CrossValidation", "FoldResult", "cross_validate"]


@dataclass(frozen=True)
class FoldResult:
    """The test result of one fold.

    Attributes:
        value: the fold's value of the group's column, or its split.
        num_test_videos: videos tested.
        accuracy: accuracy of each stream and fused.
        seconds: training and test time, s.
    """

    value: str
    num_test_videos: int
    accuracy: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class CrossValidation:
    """The results of all folds.

    Attributes:
        group: name of the column, or "split".
        folds: the result of each fold.
        evaluation: the pooled test result of all folds; None for official splits, which share videos.
        protocol: test protocol.
        chance: accuracy of guessing.
        unreadable: names of the unreadable videos.
        seconds: total time, s.
        folder: folder of all runs.
        calibration: what calibration changed on all test videos, see
            `evaluation.calibration.calibration_errors`; None: the folds are not calibrated, or share videos.
    """

    group: str
    folds: tuple[FoldResult, ...]
    evaluation: Evaluation | None
    protocol: str
    chance: float
    unreadable: tuple[str, ...]
    seconds: float
    folder: Path
    calibration: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        means = ", ".join(f"{name} {value:.1%}" for name, value in self.mean_accuracy.items())
        return f"{len(self.folds)} folds by {self.group}, protocol {self.protocol}: mean {means}"

    @property
    def mean_accuracy(self) -> dict[str, float]:
        """Mean accuracy over folds, of each stream and fused."""
        return {name: float(np.mean(values)) for name, values in self._by_name().items()}

    @property
    def std_accuracy(self) -> dict[str, float]:
        """Population standard deviation of accuracy over folds, of each stream and fused."""
        return {name: float(np.std(values)) for name, values in self._by_name().items()}

    def _by_name(self) -> dict[str, list[float]]:
        return {name: [fold.accuracy[name] for fold in self.folds] for name in self.folds[0].accuracy}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures, as `results.json` holds them."""
        common = {
            "protocol": self.protocol,
            "chance": self.chance,
            "num_unreadable": len(self.unreadable),
            "unreadable": list(self.unreadable),
        }
        return {
            **(common if self.evaluation is None else self.evaluation.to_dict()),
            "group": self.group,
            "num_folds": len(self.folds),
            "mean_fold_accuracy": self.mean_accuracy,
            "std_fold_accuracy": self.std_accuracy,
            "folds": [_row(self.group, fold) for fold in self.folds],
            "seconds": {"total": round(self.seconds, 1)},
            **({} if self.calibration is None else {"calibration": {"test": self.calibration}}),
        }


def cross_validate(
    data: str | Path,
    out: str | Path,
    group: str | None = None,
    recipe: str | Path | Recipe = "nano",
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    protocol: str = DEFAULT_PROTOCOL,
    seed: int = 0,
    resume: bool = False,
    allow_duplicates: bool = False,
    resources: Resources | None = None,
) -> CrossValidation:
    """Train and test once per value of a column, which is held out for the test, or once per official split.

    Args:
        data: a CSV with the column `group`, or a dataset by name with a range of splits (`ucf101:ROOT:1..3`).
        out: folder that gets a run folder per fold, results and a report.
        group: name of the column; None for a range of splits.
        recipe: a recipe, its name, or a YAML file.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        protocol: test protocol: "center", or "NxM" for N clips and M crops.
        seed: seed of everything random.
        resume: keep the complete folds in `out`, and go on with the others.
        allow_duplicates: test even on videos that are in training too, under another name or as frames.
        resources: hardware and progress.

    Raises:
        UsageError: an argument is wrong, or `out` holds other runs.
        DataError: the dataset cannot be used, a fold has no readable test video, or a test video is in
            training too.
        CheckpointError, TrainingError, Stopped: as `hidden_two_stream.train`.
    """
    start, folder, resources = time.monotonic(), Path(out), resources or Resources()
    chosen = resolve_encoder(load_recipe(recipe, overrides))
    require_no_background(chosen.background, "cross-validate")
    require_seed(seed)
    protocol = run_protocol(protocol, chosen, note).name
    fabric = resources.single_device("cross-validate")
    _check_group(group)
    folds = read_folds(data, group)
    check_run(chosen, folds.classes)
    chosen = resolve_input(chosen, folds.samples)
    check_batches(chosen, stages_to_train(chosen, STAGE_NAMES, ()))
    status = partial(note, quiet=resources.quiet)
    with open_folder(folder, folds, chosen, seed, protocol, resume):
        note_facts(next(iter(folds.indexes.values())))
        count = f"{len(folds.samples)} videos, {len(folds.classes)} classes"
        status(f"{count}, {len(folds.splits)} folds by {folds.group}")
        cache = decode_samples(folds.samples, chosen, resources, folder)
        duplicates = find_duplicates(cache.samples, cache.videos)
        shared = require_separate(duplicates, folds.splits.values(), allow=allow_duplicates)
        keep_contents(folder / PLAN_FILE, decoded_contents(cache), str(data))
        parts: list[Evaluation] = []
        results: list[FoldResult] = []
        calibrations: list[Calibration | None] = []
        for number, (value, split) in enumerate(folds.splits.items(), start=1):
            fold = make_folder(folds.folder(folder, value))
            title = f"fold {number} of {len(folds.splits)}: {folds.group} {value}"
            task = FitTask(
                split=split,
                cache=cache,
                classes=folds.classes,
                recipe=chosen,
                folder=fold,
                seed=seed,
                protocol=protocol,
                metadata=folds.metadata[value],
                resume=resume,
            )
            if resume and (fold / RESULTS_FILE).exists():
                status(f"{title} is complete")
                evaluation, result = _read_fold(task, folds, value)
            else:
                status(title)
                report_title = None if folds.pooled else f"Split {value} of {data}"
                evaluation, result = _train_fold(task, folds.group, value, report_title, resources, fabric)
            parts.append(evaluation)
            results.append(result)
            calibrations.append(load(fold).calibration)
            status("  " + ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in result.accuracy.items()))
        validation = CrossValidation(
            group=folds.group,
            folds=tuple(results),
            evaluation=trained_on(merge(parts), shared) if folds.pooled else None,
            protocol=parts[0].protocol,
            chance=1 / len(parts[0].classes),
            unreadable=tuple(sample.name for sample, _ in cache.unreadable),
            seconds=time.monotonic() - start,
            folder=folder,
            calibration=calibration_errors(list(zip(parts, calibrations, strict=True)), chosen.fusion)
            if folds.pooled
            else None,
        )
        with kept_on_output_error(lambda: str(validation)):
            write_json(folder / RESULTS_FILE, validation.to_dict())
            _write_report(validation, load(fold), cache.select(split.test))
        return validation


def _check_group(group: str | None) -> None:
    """Raise a UsageError about a column whose name is that of a figure in the same table."""
    figures = ("num_test_videos", "test videos", "accuracy", "seconds", "spatial", "temporal", "fused")
    if group in figures:
        raise UsageError(
            f"the column {group!r} has the name of a figure in the results; rename it in the CSV, "
            f"for example to {f'group_{group}'.replace(' ', '_')!r}"
        )


def _train_fold(
    task: FitTask, group: str, value: str, report_title: str | None, resources: Resources, fabric: Fabric
) -> tuple[Evaluation, FoldResult]:
    """Train and test one fold, save its result and, if a title is given, write a report of the fold."""
    start = time.monotonic()
    with folder_lock(task.folder):
        trained = fit(task, resources, fabric)
    evaluation = trained.evaluation
    if evaluation is None:
        raise DataError(f"no readable test video with {group} {value}")
    seconds = round(time.monotonic() - start, 1)
    result = FoldResult(value, len(evaluation.names), evaluation.accuracy, seconds)
    with kept_on_output_error(lambda: f"{group} {value}: {evaluation}"):
        if report_title is not None:
            shown = task.cache.select(task.split.test)
            write_run_report(
                task.folder, trained.recognizer, evaluation, trained.seconds, shown, report_title
            )
        evaluation.save_scores(task.folder / SCORES_FILE)
        write_json(task.folder / RESULTS_FILE, _row(group, result))
    return evaluation, result


def _row(group: str, fold: FoldResult) -> dict[str, Any]:
    return {
        group: fold.value,
        "num_test_videos": fold.num_test_videos,
        "accuracy": dict(fold.accuracy),
        "seconds": fold.seconds,
    }


def _read_fold(task: FitTask, folds: Folds, value: str) -> tuple[Evaluation, FoldResult]:
    """Return the saved result of a complete fold.

    Raises:
        UsageError: the folder holds another fold, see `load_fold`.
        CheckpointError, DataError: its files are damaged.
    """
    readable = [sample.name for sample in task.cache.select(task.split.test).samples]
    evaluation = load_fold(task.folder, folds, value, task.recipe, task.seed, task.protocol, readable)
    path = task.folder / RESULTS_FILE
    try:
        seconds = float(read_json(path)["seconds"])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; delete its folder to train this fold again"
        ) from error
    return evaluation, FoldResult(value, len(evaluation.names), evaluation.accuracy, seconds)


def _write_report(validation: CrossValidation, recognizer: Recognizer, videos: ClipCache) -> None:
    group = validation.group
    table: list[dict[str, float | str]] = [
        {group: str(fold.value), "test videos": str(fold.num_test_videos), **fold.accuracy}
        for fold in validation.folds
    ]
    table.append({group: "mean", "test videos": "", **validation.mean_accuracy})
    headline = []
    if validation.evaluation is None:
        small = (
            f"mean of {len(validation.folds)} splits, protocol {validation.protocol}, "
            f"chance {validation.chance:.1%}"
        )
        for name, mean in validation.mean_accuracy.items():
            spread = validation.std_accuracy[name]
            headline.append((f"{mean:.1%} ± {spread:.1%}", f"{name} accuracy", small))
    write_run_report(
        validation.folder,
        recognizer,
        validation.evaluation,
        {},
        videos,
        f"Cross-validation by {group}",
        headline=headline,
        folds=table,
    )

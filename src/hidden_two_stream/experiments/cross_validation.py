"""Cross-validation: a fold per group (subject, date, source) or official split, trained and tested apart.

The folds of a group test each video once, so their test videos are pooled into one accuracy. Official splits
share test videos and were never meant to be pooled: the mean of their accuracies is what papers report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores, merge
from hidden_two_stream.experiments.folds import Folds, open_folder, read_folds
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.progress import note
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.fit import FitTask, decode_samples, fit, resolve_input
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import check_networks
from hidden_two_stream.training.warm_start import check_motion_weights

__all__ = ["CrossValidation", "FoldResult", "cross_validate"]

SCORES_FILE = "scores.npz"


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
        group: the column, or "split".
        folds: the result of each fold.
        evaluation: the pooled test result of all folds; None for official splits, which share videos.
        protocol: test protocol.
        chance: accuracy of guessing.
        unreadable: names of videos that could not be read.
        seconds: time in all, s.
        folder: folder of all runs.
    """

    group: str
    folds: tuple[FoldResult, ...]
    evaluation: Evaluation | None
    protocol: str
    chance: float
    unreadable: tuple[str, ...]
    seconds: float
    folder: Path

    @property
    def mean_accuracy(self) -> dict[str, float]:
        """Mean of the folds' accuracies, of each stream and fused."""
        return {name: float(np.mean(values)) for name, values in self._by_name().items()}

    @property
    def std_accuracy(self) -> dict[str, float]:
        """Population standard deviation of the folds' accuracies, of each stream and fused."""
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
    resources: Resources | None = None,
) -> CrossValidation:
    """Train and test once per value of a column, each time on all other samples; or once per official split.

    Args:
        data: a CSV with the column `group`, or a dataset by name with a range of splits (`ucf101:ROOT:1..3`).
        out: folder that gets a run folder per fold, results and a report.
        group: name of the column; None for a range of splits.
        recipe: a recipe, its name, or a YAML file.
        overrides: changes of single fields, such as {"motion.steps": 0}.
        protocol: test protocol: "center", or "NxM" clips x crops.
        seed: seed of everything random.
        resume: keep the folds that are complete, and go on with the others.
        resources: machine and progress.

    Raises:
        UsageError: an argument is wrong, or `out` holds other runs.
        DataError: the dataset cannot be used, or a fold has no readable test video.
        TrainingError, Stopped: as `hidden_two_stream.train`.
    """
    began, folder, resources = time.monotonic(), Path(out), resources or Resources()
    chosen = load_recipe(recipe, overrides)
    parse_protocol(protocol)
    fabric = resources.single_device("cross-validate")
    check_networks(chosen)
    folds = read_folds(data, group)
    check_motion_weights(chosen, {})
    chosen = resolve_input(chosen, folds.samples)
    plan = {
        "data": folds.fingerprint(), "group": folds.group, "recipe": chosen.to_dict(),
        "seed": seed, "protocol": protocol,
    }  # fmt: skip
    open_folder(folder, plan, resume)
    count = f"{len(folds.samples)} videos, {len(folds.classes)} classes"
    note(f"{count}, {len(folds.splits)} folds by {folds.group}")
    cache = decode_samples(folds.samples, chosen, resources, folder)
    parts: list[Evaluation] = []
    results: list[FoldResult] = []
    last: Recognizer | None = None
    for number, (value, split) in enumerate(folds.splits.items(), start=1):
        fold = make_folder(folds.folder(folder, value))
        what = f"fold {number} of {len(folds.splits)}: {folds.group} {value}"
        if resume and (fold / RESULTS_FILE).exists():
            note(f"{what} is complete")
            evaluation, result = load_scores(fold / SCORES_FILE, protocol), _read_fold(fold, folds.group)
        else:
            note(f"{what} is tested")
            start = time.monotonic()
            task = FitTask(
                split, cache, folds.classes, chosen, fold, seed,
                protocol=protocol, metadata=folds.metadata[value], resume=resume,
            )  # fmt: skip
            trained = fit(task, resources, fabric)
            if trained.evaluation is None:
                raise DataError(f"no readable test video with {folds.group} {value}")
            evaluation, last = trained.evaluation, trained.recognizer
            seconds = round(time.monotonic() - start, 1)
            result = FoldResult(value, len(evaluation.names), evaluation.accuracy, seconds)
            if not folds.pooled:
                shown = cache.select(split.test)
                title = f"Split {value} of {data}"
                write_run_report(fold, last, evaluation, trained.seconds, shown, title)
            evaluation.save_scores(fold / SCORES_FILE)
            write_json(fold / RESULTS_FILE, _row(folds.group, result))
        parts.append(evaluation)
        results.append(result)
        note("  " + ", ".join(f"{name} {share:.1%}" for name, share in result.accuracy.items()))
    pooled = merge(parts) if folds.pooled else None
    validation = CrossValidation(
        group=folds.group,
        folds=tuple(results),
        evaluation=pooled,
        protocol=parts[0].protocol,
        chance=1 / len(parts[0].classes),
        unreadable=tuple(sample.name for sample, _ in cache.unreadable),
        seconds=time.monotonic() - began,
        folder=folder,
    )
    write_json(folder / RESULTS_FILE, validation.to_dict())
    _report(validation, last or load(folds.folder(folder, value)), _last_tests(folds, cache))
    return validation


def _last_tests(folds: Folds, cache: ClipCache) -> ClipCache:
    return cache.select(tuple(folds.splits.values())[-1].test)


def _row(group: str, fold: FoldResult) -> dict[str, Any]:
    return {
        group: fold.value,
        "num_test_videos": fold.num_test_videos,
        "accuracy": dict(fold.accuracy),
        "seconds": fold.seconds,
    }


def _read_fold(fold: Path, group: str) -> FoldResult:
    row: dict[str, Any] = json.loads((fold / RESULTS_FILE).read_text(encoding="utf-8"))
    return FoldResult(row[group], row["num_test_videos"], row["accuracy"], row["seconds"])


def _report(validation: CrossValidation, recognizer: Recognizer, videos: ClipCache) -> None:
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

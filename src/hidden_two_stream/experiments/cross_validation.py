"""`hts cross-validate`: a fold per group (subject, date, source) or official split, trained and tested apart.

The folds of groups test every video once, so their test videos are pooled into one accuracy. Official splits
share test videos and were never meant to be pooled: the mean of their accuracies is what papers report.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores, merge
from hidden_two_stream.experiments.folds import open_folder, read_folds
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.progress import note, number_of
from hidden_two_stream.reports.run import write_run_report
from hidden_two_stream.training.fit import (
    Fitted,
    Resources,
    decode_samples,
    fit,
    require_motion,
    resolve_input,
)
from hidden_two_stream.training.runner import RESULTS_FILE

__all__ = ["cross_validate_command", "cross_validation_text"]

SCORES_FILE = "scores.npz"


def cross_validate_command(
    data: str,
    group: str | None,
    folder: Path,
    recipe: Recipe,
    resources: Resources,
    protocol: str,
    resume: bool,
) -> dict[str, Any]:
    """Train and test once per value of a column, each time on all others; or once per official split.

    Args:
        data: CSV with the column `group`, or a data set by name with a range of splits (`ucf101:ROOT:1..3`).
        group: name of the column; None for a range of splits.
        folder: gets one run folder per fold, results and report.
        recipe: how to train.
        resources: seed and machine.
        protocol: of the tests.
        resume: keep the folds that are complete, go on with the others.

    Returns:
        What `results.json` holds: figures per fold, their mean and (population) standard deviation; of groups
        also accuracies of all test videos pooled.
    """
    began = time.monotonic()
    parse_protocol(protocol)
    if resources.devices != "1":
        raise UsageError("cross-validate trains on one device; leave out --devices")
    fabric = resources.fabric()
    folds = read_folds(data, group)
    require_motion(recipe, {})
    recipe = resolve_input(recipe, folds.samples)
    plan = {
        "data": folds.fingerprint(), "group": folds.group, "recipe": recipe.to_dict(),
        "seed": resources.seed, "protocol": protocol,
    }  # fmt: skip
    open_folder(folder, plan, resume)
    count = f"{len(folds.samples)} videos, {len(folds.classes)} classes"
    note(f"{count}, {len(folds.splits)} folds by {folds.group}")
    store = decode_samples(folds.samples, recipe, resources, folder)
    parts: list[Evaluation] = []
    rows: list[dict[str, Any]] = []
    last: Fitted | None = None
    for number, (value, split) in enumerate(folds.splits.items(), start=1):
        fold = make_folder(folds.folder(folder, value))
        what = f"fold {number} of {len(folds.splits)}: {folds.group} {value}"
        if resume and (fold / RESULTS_FILE).exists():
            note(f"{what} is complete")
            evaluation, row = load_scores(fold / SCORES_FILE, protocol), _read_json(fold / RESULTS_FILE)
        else:
            note(f"{what} is tested")
            start = time.monotonic()
            last = fit(
                split, store, folds.classes, recipe, fold, resources, fabric,
                protocol=protocol, resume=resume, provenance=folds.sources[value],
            )  # fmt: skip
            if last.evaluation is None:
                raise DataError(f"no readable test video with {folds.group} {value}")
            evaluation = last.evaluation
            row = {
                folds.group: value,
                "num_test_videos": len(evaluation.names),
                "accuracy": evaluation.accuracy(),
                "seconds": round(time.monotonic() - start, 1),
            }
            if not folds.pooled:
                write_run_report(
                    fold,
                    last.recognizer,
                    last.evaluation,
                    last.seconds,
                    store.select(split.test),
                    f"Split {value} of {data}",
                )
            evaluation.save_scores(fold / SCORES_FILE)
            write_json(fold / RESULTS_FILE, row)
        parts.append(evaluation)
        rows.append(row)
        note("  " + ", ".join(f"{name} {value:.1%}" for name, value in row["accuracy"].items()))
    pooled = merge(parts) if folds.pooled else None
    facts = _facts(parts[0], store) if pooled is None else pooled.to_dict()
    results = _results(facts, rows, folds.group, time.monotonic() - began)
    write_json(folder / RESULTS_FILE, results)
    recognizer = load(folds.folder(folder, value)) if last is None else last.recognizer
    _report(folder, Fitted(recognizer, pooled, {}), store.select(split.test), results)
    return results


def cross_validation_text(results: dict[str, Any]) -> str:
    """The result for people."""
    group = results["group"]
    tested = f", {results['num_test_videos']} test videos" if "num_test_videos" in results else ""
    lines = [f"{results['num_folds']} folds by {group}{tested}, "
             f"protocol {results['protocol']}, chance {results['chance']:.1%}"]  # fmt: skip
    for row in results["folds"]:
        figures = ", ".join(f"{name} {value:.1%}" for name, value in row["accuracy"].items())
        tested = number_of(row["num_test_videos"], "video")
        lines.append(f"  {group} {row[group]}: {figures}  ({tested}, {row['seconds']:.0f} s)")
    for name, mean in results["mean_fold_accuracy"].items():
        spread = results["std_fold_accuracy"][name]
        if "accuracy" in results:
            pooled = f"{results['accuracy'][name]:.1%} of all videos; mean of folds"
        else:
            pooled = f"mean of {results['num_folds']} splits"
        lines.append(f"{name:<9} {pooled} {mean:.1%} ± {spread:.1%}")
    if results["num_unreadable"]:
        lines.append(f"{number_of(results['num_unreadable'], 'unreadable video')} not counted")
    return "\n".join(lines)


def _facts(evaluation: Evaluation, store: ClipCache) -> dict[str, Any]:
    """What holds for all folds where their test videos are not pooled."""
    return {
        "protocol": evaluation.protocol,
        "chance": 1 / len(evaluation.classes),
        "num_unreadable": len(store.unreadable),
        "unreadable": [sample.name for sample, _ in store.unreadable],
    }


def _results(facts: dict[str, Any], rows: list[dict[str, Any]], group: str, seconds: float) -> dict[str, Any]:
    by_name = {name: [row["accuracy"][name] for row in rows] for name in rows[0]["accuracy"]}
    return {
        **facts,
        "group": group,
        "num_folds": len(rows),
        "mean_fold_accuracy": {name: float(np.mean(values)) for name, values in by_name.items()},
        "std_fold_accuracy": {name: float(np.std(values)) for name, values in by_name.items()},
        "folds": rows,
        "seconds": {"total": round(seconds, 1)},
    }


def _report(folder: Path, fitted: Fitted, videos: Any, results: dict[str, Any]) -> None:
    group = results["group"]
    table: list[dict[str, float | str]] = [
        {group: str(row[group]), "test videos": str(row["num_test_videos"]), **row["accuracy"]}
        for row in results["folds"]
    ]
    table.append({group: "mean", "test videos": "", **results["mean_fold_accuracy"]})
    headline = []
    if fitted.evaluation is None:
        small = (
            f"mean of {results['num_folds']} splits, protocol {results['protocol']}, "
            f"chance {results['chance']:.1%}"
        )
        for name, mean in results["mean_fold_accuracy"].items():
            spread = results["std_fold_accuracy"][name]
            headline.append((f"{mean:.1%} ± {spread:.1%}", f"{name} accuracy", small))
    title = f"Cross-validation by {group}"
    write_run_report(
        folder,
        fitted.recognizer,
        fitted.evaluation,
        fitted.seconds,
        videos,
        title,
        headline=headline,
        folds=table,
    )


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data

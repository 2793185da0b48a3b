"""`hts cross-validate`: one fold per group (subject, date, source), trained and tested apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.commands.console import note
from hidden_two_stream.commands.fit import Fitted, Resources, decode_samples, fit, resolve_input
from hidden_two_stream.commands.reporting import write_run_report
from hidden_two_stream.commands.train import PLAN_FILE, RESULTS_FILE, fingerprint
from hidden_two_stream.config import Recipe
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation import Evaluation, load_scores, merge
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.video.listing import group_values, hold_out, read_listing

__all__ = ["cross_validate_command", "cross_validation_text"]

SCORES_FILE = "scores.npz"


def cross_validate_command(
    data: str, group: str, folder: Path, recipe: Recipe, resources: Resources, protocol: str, resume: bool
) -> dict[str, Any]:
    """Train and test once per value of a column, each time on all others.

    Args:
        data: CSV with the column `group`.
        group: name of the column.
        folder: gets one run folder per fold, results and report.
        recipe: how to train.
        resources: seed and machine.
        protocol: of the tests.
        resume: keep the folds that are complete, go on with the others.

    Returns:
        What `results.json` holds: accuracies of all test videos pooled, and per fold.
    """
    began = time.monotonic()
    parse_protocol(protocol)
    if resources.devices != "1":
        raise UsageError("cross-validate trains on one device; leave out --devices")
    fabric = resources.fabric()
    listing = read_listing(data)
    values = group_values(listing, group)
    recipe = resolve_input(recipe, listing.samples)
    plan = {
        "data": fingerprint(listing), "group": group, "recipe": recipe.to_dict(),
        "seed": resources.seed, "protocol": protocol,
    }  # fmt: skip
    _open_folder(folder, plan, resume)
    note(f"{len(listing.samples)} videos, {len(listing.classes)} classes, {len(values)} folds by {group}")
    store = decode_samples(listing.samples, recipe, resources, folder)
    parts: list[Evaluation] = []
    rows: list[dict[str, Any]] = []
    last: Fitted | None = None
    for number, value in enumerate(values, start=1):
        split, fold = hold_out(listing, group, value), make_folder(folder / f"fold_{_file_name(value)}")
        start = time.monotonic()
        if resume and (fold / RESULTS_FILE).exists():
            note(f"fold {number} of {len(values)}: {group} {value} is complete")
            evaluation, row = load_scores(fold / SCORES_FILE, protocol), _read_json(fold / RESULTS_FILE)
        else:
            note(f"fold {number} of {len(values)}: test on {group} {value}")
            last = fit(
                split,
                store,
                listing.classes,
                recipe,
                fold,
                resources,
                fabric,
                protocol=protocol,
                resume=resume,
            )
            if last.evaluation is None:
                raise DataError(f"no readable test video with {group} {value}")
            evaluation = last.evaluation
            row = {
                group: value,
                "num_test_videos": len(evaluation.names),
                "accuracy": evaluation.accuracy(),
                "seconds": round(time.monotonic() - start, 1),
            }
            evaluation.save_scores(fold / SCORES_FILE)
            write_json(fold / RESULTS_FILE, row)
        parts.append(evaluation)
        rows.append(row)
        note("  " + ", ".join(f"{name} {value:.1%}" for name, value in row["accuracy"].items()))
    pooled = merge(parts)
    results = _results(pooled, rows, group, time.monotonic() - began)
    write_json(folder / RESULTS_FILE, results)
    if last is None:
        last = Fitted(load(folder / f"fold_{_file_name(values[-1])}"), None, {})
    _report(folder, Fitted(last.recognizer, pooled, {}), store.select(split.test), results)
    return results


def cross_validation_text(results: dict[str, Any]) -> str:
    """The result for people."""
    group = results["group"]
    lines = [f"{results['num_folds']} folds by {group}, {results['num_test_videos']} test videos, "
             f"protocol {results['protocol']}, chance {results['chance']:.1%}"]  # fmt: skip
    for row in results["folds"]:
        figures = ", ".join(f"{name} {value:.1%}" for name, value in row["accuracy"].items())
        lines.append(
            f"  {group} {row[group]}: {figures}  ({row['num_test_videos']} videos, {row['seconds']:.0f} s)"
        )
    for name, value in results["accuracy"].items():
        mean, spread = results["mean_fold_accuracy"][name], results["std_fold_accuracy"][name]
        lines.append(f"{name:<9} {value:.1%} of all videos; mean of folds {mean:.1%} ± {spread:.1%}")
    return "\n".join(lines)


def _open_folder(folder: Path, plan: dict[str, Any], resume: bool) -> None:
    path = folder / PLAN_FILE
    if path.exists() and not resume:
        raise UsageError(
            f"{str(folder)!r} already holds folds; add --resume to go on, or name another folder"
        )
    if resume:
        if not path.exists():
            raise UsageError(f"nothing to resume in {str(folder)!r}; check --out")
        if _read_json(path) != json.loads(json.dumps(plan)):
            raise UsageError(f"{str(folder)!r} began with other data, recipe or seed; name another folder")
    make_folder(folder)
    write_json(path, plan)


def _results(pooled: Evaluation, rows: list[dict[str, Any]], group: str, seconds: float) -> dict[str, Any]:
    by_name = {name: [row["accuracy"][name] for row in rows] for name in rows[0]["accuracy"]}
    return {
        **pooled.to_dict(),
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
    write_run_report(folder, fitted, videos, f"Cross-validation by {group}", folds=table)


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _file_name(value: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in value)

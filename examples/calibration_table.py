"""Print what calibration changes on the test videos of complete cross-validations.

    python examples/calibration_table.py NAME=FOLDER[,FOLDER...] [NAME=FOLDER...]

Each FOLDER is one of `hts cross-validate`, and several of one NAME are seeds: figures are their means. "Rule"
is whether the fused accuracy is at most half the width of its 95% interval below that of the better stream.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from hidden_two_stream.errors import DataError, HiddenTwoStreamError
from hidden_two_stream.files import read_json
from hidden_two_stream.progress import number_of


def read(folder: Path) -> Mapping[str, Any]:
    """Return the results of one cross-validation."""
    path = folder / "results.json"
    try:
        results: Mapping[str, Any] = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read: {error}; is the cross-validation complete?"
        ) from error
    if "calibration" not in results:
        raise DataError(f"{str(path)!r} has no calibration; its recipe, or its version, calibrates nothing")
    return results


def row(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the row of one data set."""
    tests = [run["calibration"]["test"] for run in runs]
    accuracy = {key: mean(run["accuracy"][key] for run in runs) for key in runs[0]["accuracy"]}
    better = max(value for key, value in accuracy.items() if key != "fused")
    low, high = (mean(run["accuracy_interval_95"]["fused"][end] for run in runs) for end in (0, 1))
    errors = {
        key: [mean(test[when][key] for test in tests) for when in ("ece_before", "ece_after")]
        for key in ("spatial", "temporal", "fused")
        if key in accuracy
    }
    holds = accuracy["fused"] >= better - (high - low) / 2
    cells = [f"{accuracy[key]:.1%}" if key in accuracy else "–" for key in ("spatial", "temporal")]
    cells += [
        f"{mean(test['fused_accuracy_before'] for test in tests):.1%}",
        f"{accuracy['fused']:.1%} [{low:.1%}, {high:.1%}]",
        "holds" if holds else "broken",
    ]
    cells += [
        f"{errors[key][0]:.3f} → {errors[key][1]:.3f}" if key in errors else "–"
        for key in ("spatial", "temporal", "fused")
    ]
    count = f"{number_of(runs[0]['num_test_videos'], 'clip')}, {number_of(len(runs), 'seed')}"
    return f"| {name}, {count} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER[,FOLDER...]")
    arguments = parser.parse_args()
    print(
        "| data | spatial | temporal | fused, fixed weights | fused, calibrated [95%] | rule "
        "| ECE of spatial | of temporal | of fused |"
    )
    print("|---|---:|---:|---:|---:|---|---:|---:|---:|")
    for text in arguments.runs:
        name, equals, folders = text.partition("=")
        if not equals:
            parser.error(f"got {text!r}; expected NAME=FOLDER")
        print(row(name, [read(Path(folder)) for folder in folders.split(",")]), flush=True)


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"calibration_table: {error}")

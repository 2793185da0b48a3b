"""The figures in the results of a run, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.evaluation.accuracy import wilson_interval
from hidden_two_stream.files import read_json

__all__ = ["read_results", "stage_seconds"]


def read_results(folder: Path, notes: list[str]) -> dict[str, Any]:
    """Return the figures of a run; empty if there are none, or damaged ones.

    Args:
        folder: the run folder.
        notes: gets a line about what is missing or damaged.
    """
    path = folder / RESULTS_FILE
    if not path.exists():
        notes.append(f"no {RESULTS_FILE}: the run was not tested here")
        return {}
    try:
        found = read_json(path)
        _check_results(found)
    except (OSError, TypeError, ValueError) as error:
        notes.append(f"{RESULTS_FILE} is damaged: {error}")
        return {}
    accuracy, count = found.get("accuracy"), found.get("num_test_videos")
    if accuracy and count and "accuracy_interval_95" not in found:  # of one fold of hts cross-validate
        found["accuracy_interval_95"] = {
            name: wilson_interval(value, count) for name, value in accuracy.items()
        }
    return dict(found)


def _check_results(found: Any) -> None:
    """Check the figures that the card shows.

    Raises:
        TypeError, ValueError: one of them is missing or is no number.
    """
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    accuracy, intervals = found.get("accuracy", {}), found.get("accuracy_interval_95", {})
    if not (isinstance(accuracy, dict) and isinstance(intervals, dict)):
        raise ValueError("its accuracies are no JSON objects")
    for name, value in accuracy.items():
        low, high = intervals.get(name, (0.0, 1.0))
        numbers: list[object] = [value, low, high, found.get("chance", 0.5)]
        numbers += [found.get("num_test_videos", 0), found.get("num_trained_on") or 0]
        for number in numbers:
            if type(number) not in (int, float):
                raise ValueError(f"its accuracy of {name} has {str(number)[:60]!r}; expected a number")
    for part in ("test", "cross_fitted"):
        figures = found.get(part)
        if isinstance(figures, dict) and "macro_f1" in figures:
            for name in ("accuracy", "macro_f1", "macro_bout_f1", "num_videos"):
                if type(figures.get(name)) not in (int, float):
                    raise ValueError(f"its {name} is {str(figures.get(name))[:60]!r}; expected a number")


def stage_seconds(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the training time of each stage; that of a fold is one number."""
    found = results.get("seconds", {})
    pairs = found.items() if isinstance(found, Mapping) else [("all stages", found)]
    return {str(name): float(seconds) for name, seconds in pairs if isinstance(seconds, int | float)}

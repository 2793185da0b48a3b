"""What `hts compare` found as JSON, and back: all that the table and the plot are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.comparison import (
    Comparison,
    MethodResult,
    Right,
    accuracy_interval,
    class_accuracy,
    paired_difference,
)

__all__ = ["comparison_from_json", "comparison_json"]

_FORMAT_VERSION = 1
_PLAIN = {"data": str, "group": (str, type(None)), "protocol": str, "machine": str, "num_unreadable": int}
_LISTS = ("seeds", "folds", "classes", "truth")


# -- JSON ------------------------------------------------------------------------------------------


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """All of a comparison and what follows from it, JSON-ready: accuracies in 0..1, times in seconds.

    "right_alone" and "right_fused" have a text per seed with a digit per test video, 1 where it is right.
    """
    c = comparison
    best = max(c.methods, key=lambda method: method.accuracy)
    return {
        "format_version": _FORMAT_VERSION,
        **{name: getattr(c, name) for name in _PLAIN},
        **{name: list(getattr(c, name)) for name in _LISTS},
        "recipe": dict(c.recipe),
        "best": best.name,
        "methods": [_method_json(c, method, best) for method in c.methods],
    }


def _method_json(comparison: Comparison, method: MethodResult, best: MethodResult) -> dict[str, Any]:
    difference = paired_difference(method.final, best.final)
    found: dict[str, Any] = {"name": method.name, "kind": method.kind}
    for name, right in (("alone", method.alone), ("fused", method.fused)):
        mean, low, high = (None,) * 3 if right is None else accuracy_interval(right)
        found[f"accuracy_{name}"] = mean
        found[f"accuracy_{name}_interval_95"] = None if right is None else [low, high]
    return {
        **found,
        "against_best": {
            "difference": difference.mean,
            "interval_95": [difference.low, difference.high],
            "num_decisive": difference.num_decisive,
            "verdict": difference.verdict,
        },
        "per_class": {name: value for name, (value, _) in class_accuracy(comparison, method.final).items()},
        "seconds_per_clip": {
            "decoding": method.decode_ms / 1000,
            "motion": method.motion_ms / 1000,
            "recognition": method.recognition_ms / 1000,
            "whole": method.whole_ms / 1000,
        },
        "bytes_stored": method.bytes_stored,
        "seconds_extracted": method.seconds_extracted,
        "right_alone": _digits(method.alone),
        "right_fused": None if method.fused is None else _digits(method.fused),
    }


def comparison_from_json(found: Any) -> Comparison:
    """What `comparison_json` was given; derived figures are computed again, not read.

    Raises:
        DataError: it is something else, or the parts don't fit each other.
    """
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != _FORMAT_VERSION:
        raise DataError(
            f"these results have format version {version!r}; expected {_FORMAT_VERSION}: give the "
            "results.json of `hts compare`, made by this version"
        )
    try:
        plain: dict[str, Any] = {name: _typed(found, name, kind) for name, kind in _PLAIN.items()}
        lists: dict[str, Any] = {name: tuple(_typed(found, name, list)) for name in _LISTS}
        return Comparison(
            **plain,
            **lists,
            methods=tuple(_method_from_json(method) for method in _typed(found, "methods", list)),
            recipe=_typed(found, "recipe", dict),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"these are no results of `hts compare`: {told}; compare again") from error


def _method_from_json(found: Mapping[str, Any]) -> MethodResult:
    seconds, fused = found["seconds_per_clip"], _typed(found, "right_fused", (list, type(None)))
    return MethodResult(
        name=str(found["name"]),
        kind=found["kind"],
        alone=_from_digits(_typed(found, "right_alone", list)),
        fused=None if fused is None else _from_digits(fused),
        decode_ms=1000 * float(seconds["decoding"]),
        motion_ms=1000 * float(seconds["motion"]),
        recognition_ms=1000 * float(seconds["recognition"]),
        bytes_stored=int(found["bytes_stored"]),
        seconds_extracted=float(found["seconds_extracted"]),
    )


def _typed(found: Mapping[str, Any], name: str, kind: Any) -> Any:
    if not isinstance(found[name], kind):
        raise TypeError(f"{name} is {str(found[name])[:40]!r}")
    return found[name]


def _digits(right: Right) -> list[str]:
    return ["".join("1" if one else "0" for one in row) for row in right]


def _from_digits(rows: Sequence[str]) -> Right:
    if any(set(row) - {"0", "1"} for row in rows) or len({len(row) for row in rows}) != 1:
        raise ValueError("expected rows of 0 and 1 of one length")
    return np.array([[digit == "1" for digit in row] for row in rows])

"""`hts fuse`: late fusion of score files, with weights that are given or searched on other videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation.accuracy import wilson_interval
from hidden_two_stream.evaluation.fusion_search import search_weights
from hidden_two_stream.evaluation.score_files import Scores, read_scores
from hidden_two_stream.evaluation.score_labels import LabelList, class_order, match, read_classes, read_labels
from hidden_two_stream.recognition.fusion import FUSIONS, fuse

__all__ = ["fuse_command", "fusion_text"]

_Values = npt.NDArray[np.floating]
_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Table:
    """Streams brought to the same rows and columns: `values` (N, classes) each, `truth` (N,)."""

    values: tuple[_Values, ...]
    truth: _Numbers

    def of(self, rows: npt.NDArray[np.bool_]) -> _Table:
        return _Table(tuple(values[rows] for values in self.values), self.truth[rows])

    def accuracy(self, scores: _Values) -> float:
        return float((scores.argmax(axis=1) == self.truth).mean())


def fuse_command(
    sources: Sequence[str],
    labels: Path,
    *,
    weights: Sequence[float] | None = None,
    method: str = "l1",
    search: Path | None = None,
    classes: Path | None = None,
) -> dict[str, Any]:
    """Fuse score files and compare with the truth.

    Rows with names find their video by name; rows without are in the order of the list. Columns with class
    names go by these; without, by `classes`, else as `labels.class_order` says.

    Args:
        sources: score files, FILE or FILE:STREAM.
        labels: list of the videos and their classes; the accuracy is over these.
        weights: one per stream; None: all equal, or searched.
        method: "l1" (the reference's), "softmax" or "product".
        search: list of validation videos, a part of `labels`. The weights that are best on these are used for
            the others, and the accuracy is that of the others.
        classes: file with the order of the classes.

    Returns:
        What `--json` prints; accuracies are fractions, "streams" in the order of the files.

    Raises:
        UsageError: a file that isn't there, or options that don't fit each other or the files.
        DataError: a damaged file, or files that don't fit each other.
        MissingDependencyError: as `read_scores`.
    """
    if method not in FUSIONS:
        raise UsageError(f"unknown fusion {method!r}; choose one of {', '.join(FUSIONS)}")
    if search is not None and weights is not None:
        raise UsageError("--search finds the weights; leave out --weights, or leave out --search")
    streams = [scores for source in sources for scores in read_scores(source)]
    named = [scores.source for scores in streams]
    if weights is not None and len(weights) != len(streams):
        raise UsageError(
            f"{len(weights)} weights for {len(streams)} streams ({', '.join(named)}); give one each"
        )
    known = None if classes is None else read_classes(classes)
    listing = read_labels(labels, known)
    table, unlisted = _align(streams, listing, None if known is None else tuple(known.values()))
    chosen = [1.0] * len(streams) if weights is None else list(weights)
    searched: dict[str, Any] = {"searched_on": None}
    if search is not None:
        held = _validation(search, listing, known)
        validation, table = table.of(held), table.of(~held)
        chosen = search_weights(validation.values, validation.truth, method)
        found = validation.accuracy(fuse(validation.values, chosen, method))
        searched = {"searched_on": int(held.sum()), "validation_accuracy": found}
    protocols = [scores.protocol for scores in streams]
    return {
        **_figures(table, chosen, method),
        "method": method,
        "weights": chosen,
        "streams": named,
        "num_classes": table.values[0].shape[1],
        "protocol": protocols[0] if len(set(protocols)) == 1 else None,
        "protocols": protocols,
        "unlisted_rows": unlisted,
        **searched,
    }


def fusion_text(result: dict[str, Any]) -> str:
    """The result for people."""
    weights = " : ".join(f"{weight:g}" for weight in result["weights"])
    lines = [
        f"{result['num_videos']} videos, {result['num_classes']} classes, {result['method']} fusion, "
        f"weights {weights}, protocol {result['protocol'] or 'not known'}"
    ]
    if result["searched_on"] is not None:
        lines.append(f"weights searched on {result['searched_on']} other videos, "
                     f"fused accuracy there {result['validation_accuracy']:.2%}")  # fmt: skip
    names = [*result["streams"], "fused"]
    accuracy, interval = result["accuracy"], result["accuracy_interval_95"]
    width = max(len(name) for name in names)
    for name, value, (low, high) in zip(
        names,
        [*accuracy["streams"], accuracy["fused"]],
        [*interval["streams"], interval["fused"]],
        strict=True,
    ):
        lines.append(f"  {name:<{width}} {value:7.2%}  (95 %: {low:.2%} to {high:.2%})")
    for name, protocol in zip(names, result["protocols"], strict=False):
        if result["protocol"] is None and protocol is not None:
            lines.append(f"  {name} is of protocol {protocol}")
    lines += [
        f"{count} videos of {name} are not in the list and not counted"
        for name, count in zip(names, result["unlisted_rows"], strict=False)
        if count
    ]
    return "\n".join(lines)


def _figures(table: _Table, weights: Sequence[float], method: str) -> dict[str, Any]:
    count = len(table.truth)
    alone = [table.accuracy(values) for values in table.values]
    fused = table.accuracy(fuse(table.values, weights, method))
    return {
        "num_videos": count,
        "accuracy": {"streams": alone, "fused": fused},
        "accuracy_interval_95": {
            "streams": [wilson_interval(value, count) for value in alone],
            "fused": wilson_interval(fused, count),
        },
    }


# -- rows and columns ------------------------------------------------------------------------------


def _align(
    streams: Sequence[Scores], listing: LabelList, classes: tuple[str, ...] | None
) -> tuple[_Table, list[int]]:
    """All streams with a row per listed video and columns in one order; how many rows are left over."""
    # Columns without names are in the order of --classes or of the list, whatever another file's order is.
    nameless = [scores for scores in streams if scores.classes is None]
    order = classes if nameless else streams[0].classes
    if order is None:
        expected = len(set(listing.labels))
        for scores in nameless:
            _check_columns(scores, expected, listing.source)
        order = class_order(listing.labels, listing.source)
    numbers = {label: number for number, label in enumerate(order)}
    strange = next((label for label in listing.labels if label not in numbers), None)
    if strange is not None:
        raise DataError(
            f"{listing.source} has a class {strange!r} that the scores lack; they have {_few(order)}; "
            "labels that are numbers need --classes FILE with lines of number and name"
        )
    values, unlisted = [], []
    for scores in streams:
        columns = _columns(scores, order, listing.source)
        rows = _rows(scores, listing)
        values.append(scores.values[rows][:, columns])
        unlisted.append(len(scores.values) - len(rows))
    return _Table(tuple(values), np.array([numbers[label] for label in listing.labels])), unlisted


def _columns(scores: Scores, order: tuple[str, ...], source: str) -> list[int]:
    _check_columns(scores, len(order), source)
    if scores.classes is None:
        return list(range(len(order)))
    places = {label: column for column, label in enumerate(scores.classes)}
    other = next((label for label in order if label not in places), None)
    if other is not None:
        raise DataError(f"{scores.source} has no class {other!r}; it has {_few(scores.classes)}")
    return [places[label] for label in order]


def _check_columns(scores: Scores, expected: int, source: str) -> None:
    columns = scores.values.shape[1]
    if columns != expected:
        raise DataError(
            f"{scores.source} has {columns} columns but {source}, or another file, has {expected} classes; "
            "if the list lacks some classes, name all with --classes FILE"
        )


def _rows(scores: Scores, listing: LabelList) -> list[int]:
    if scores.names is None:
        if len(scores.values) != len(listing.names):
            raise DataError(
                f"{scores.source} has {len(scores.values)} rows without names but {listing.source} lists "
                f"{len(listing.names)} videos; give the list that the rows follow"
            )
        return list(range(len(listing.names)))
    rows = match(listing.names, scores.names, scores.source)
    if scores.truth is not None:
        for name, label, row in zip(listing.names, listing.labels, rows, strict=True):
            if scores.truth[row] != label:
                raise DataError(
                    f"{name!r} is {label!r} in {listing.source} but {scores.truth[row]!r} in {scores.source}"
                )
    return rows


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _validation(path: Path, listing: LabelList, known: dict[str, str] | None) -> npt.NDArray[np.bool_]:
    """Which of the listed videos are for the search; at least one is left for the test."""
    wanted = read_labels(path, known)
    places = match(wanted.names, listing.names, listing.source)
    for name, label, place in zip(wanted.names, wanted.labels, places, strict=True):
        if listing.labels[place] != label:
            raise DataError(
                f"{name!r} is {label!r} in {wanted.source} but {listing.labels[place]!r} in {listing.source}"
            )
    held = np.zeros(len(listing.names), np.bool_)
    held[places] = True
    if held.all():
        raise UsageError(
            f"{str(path)!r} lists every video of {listing.source!r}: no test video is left; "
            "weights must not be searched on the videos that the accuracy is of"
        )
    return held

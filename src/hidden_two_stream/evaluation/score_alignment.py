"""Brings score files to the rows of one list of videos and the columns of one order of classes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.label_lists import LabelList
from hidden_two_stream.evaluation.score_files import Scores
from hidden_two_stream.video.finding import video_stem

__all__ = ["AlignedScores", "align_scores", "infer_class_order", "match_label_lists", "match_videos"]

_NAMED = 8  # classes that one message names
_Path = tuple[str, ...]
_Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class AlignedScores:
    """Scores of several streams for the same videos and classes.

    Attributes:
        values: (N, classes) per stream.
        truth: (N,) class numbers.
    """

    values: tuple[_Values, ...]
    truth: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.bool_]) -> AlignedScores:
        """Return the scores of some videos; `rows` is (N,)."""
        return AlignedScores(tuple(values[rows] for values in self.values), self.truth[rows])

    def accuracy(self, scores: _Values) -> float:
        """Return the fraction of videos whose highest score, of (N, classes), is at the true class."""
        return float((scores.argmax(axis=1) == self.truth).mean())


def align_scores(
    streams: Sequence[Scores], labels: LabelList, classes: tuple[str, ...] | None = None
) -> tuple[AlignedScores, list[int]]:
    """Give all streams one row per listed video and the same order of columns.

    Rows with names belong to the video of that name (`match_videos`). Rows without names follow the list.
    Columns with class names are sorted by these. Columns without names follow `classes`, or else the order of
    `infer_class_order`, whatever the order of the other streams is.

    Args:
        streams: scores as read from their files.
        labels: the videos and their classes.
        classes: order of the columns without names; None: inferred from `labels`.

    Returns:
        The aligned scores, and for each stream the number of its rows that are not in the list.

    Raises:
        DataError: rows, columns or classes differ from the list or between the streams.
    """
    nameless = [scores for scores in streams if scores.classes is None]
    order = classes if nameless else streams[0].classes
    if order is None:
        expected = len(set(labels.labels))
        for scores in nameless:
            _check_columns(scores, expected, labels.source)
        order = infer_class_order(labels.labels, labels.source)
    numbers = {label: number for number, label in enumerate(order)}
    unknown = next((label for label in labels.labels if label not in numbers), None)
    if unknown is not None:
        raise DataError(
            f"{labels.source} has a class {unknown!r} that the scores lack; they have {_first_few(order)}; "
            "if labels are numbers, give their names with --classes FILE, a number and a name per line"
        )
    values, unlisted = [], []
    for scores in streams:
        columns = _columns(scores, order, labels.source)
        rows = _rows(scores, labels)
        values.append(scores.values[rows][:, columns])
        unlisted.append(len(scores.values) - len(rows))
    truth = np.array([numbers[label] for label in labels.labels])
    return AlignedScores(tuple(values), truth), unlisted


# -- columns ---------------------------------------------------------------------------------------


def infer_class_order(labels: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the order of score columns without names, as far as a list of labels tells it.

    Numbers are in numeric order. Names are in alphabetical order, either with capitals before small letters
    or ignoring case. Where these two orders differ, a list with its videos class by class decides. (UCF101
    ignores case: Hammering comes before HammerThrow.)

    Args:
        labels: the class of each video.
        source: of the list, for messages.

    Raises:
        DataError: the list does not determine the order.
    """
    found = dict.fromkeys(labels)
    if all(label.isdecimal() and label.isascii() for label in found):
        # In numeric order, without the cost of whole numbers of any length.
        return tuple(sorted(found, key=lambda label: (len(label.lstrip("0")), label.lstrip("0"))))
    orders = [sorted(found), sorted(found, key=lambda label: (label.casefold(), label))]
    blocks = [label for label, _ in itertools.groupby(labels)]
    if blocks in orders:
        return tuple(blocks)
    if orders[0] != orders[1] or len(blocks) == len(found):
        raise DataError(
            f"{source} does not determine which column of the scores is which class; "
            "give the order of the classes with --classes FILE, one class per line"
        )
    return tuple(orders[0])


def _columns(scores: Scores, order: tuple[str, ...], source: str) -> list[int]:
    _check_columns(scores, len(order), source)
    if scores.classes is None:
        return list(range(len(order)))
    places = {label: column for column, label in enumerate(scores.classes)}
    missing = next((label for label in order if label not in places), None)
    if missing is not None:
        raise DataError(f"{scores.source} has no class {missing!r}; it has {_first_few(scores.classes)}")
    return [places[label] for label in order]


def _check_columns(scores: Scores, expected: int, source: str) -> None:
    columns = scores.values.shape[1]
    if columns != expected:
        raise DataError(
            f"{scores.source} has {columns} columns but {source}, or another file, has {expected} classes; "
            "if the list lacks some classes, name all of them with --classes FILE"
        )


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


# -- rows ------------------------------------------------------------------------------------------


def match_videos(wanted: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Return the index in `names` of each video in `wanted`.

    Four rules say whether two paths mean the same video; the first rule that finds a video decides: equal
    paths; one path is the end of the other; the same without the suffix of a video file; equal file names.

    Args:
        wanted: paths of the videos to find.
        names: paths to search.
        source: of `names`, for messages.

    Raises:
        DataError: a video is not found, or is found several times.
    """
    index = _PathIndex(names)
    found: dict[int, str] = {}
    missing: list[str] = []
    for name in wanted:
        rows = index.find(name)
        if not rows:
            missing.append(name)
            continue
        if len(rows) > 1:
            raise DataError(
                f"{source}: {name!r} could be {names[rows[0]]!r} or {names[rows[1]]!r}; list more of its path"
            )
        if rows[0] in found:
            raise DataError(f"{source}: {names[rows[0]]!r} could be {found[rows[0]]!r} or {name!r}; "
                            "list more of their paths")  # fmt: skip
        found[rows[0]] = name
    if missing:
        raise DataError(
            f"{source} lacks {len(missing)} of {len(wanted)} listed videos, first {missing[0]!r}; remove "
            "them from the list, or score all videos with hts evaluate --split all"
        )
    return list(found)


def match_label_lists(wanted: LabelList, searched: LabelList) -> list[int]:
    """Return the index in `searched` of each video in `wanted`, which must have the same class there.

    Raises:
        DataError: as `match_videos`, or the two lists give a video different classes.
    """
    rows = match_videos(wanted.names, searched.names, searched.source)
    for name, label, row in zip(wanted.names, wanted.labels, rows, strict=True):
        if searched.labels[row] != label:
            raise DataError(
                f"{name!r} is {label!r} in {wanted.source} but {searched.labels[row]!r} in "
                f"{searched.source}; correct one of them"
            )
    return rows


def _rows(scores: Scores, labels: LabelList) -> list[int]:
    if scores.names is None:
        if len(scores.values) != len(labels.names):
            raise DataError(
                f"{scores.source} has {len(scores.values)} rows without names but {labels.source} lists "
                f"{len(labels.names)} videos; give the list that the rows follow"
            )
        return list(range(len(labels.names)))
    if scores.truth is None:
        return match_videos(labels.names, scores.names, scores.source)
    return match_label_lists(labels, LabelList(scores.source, scores.names, scores.truth))


class _PathIndex:
    """Finds paths by the rules of `match_videos`, in a time that does not grow with their number."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact: dict[_Path, list[int]] = {}
        self._ends: dict[_Path, list[int]] = {}
        self._stemmed: dict[_Path, list[int]] = {}
        self._stemmed_ends: dict[_Path, list[int]] = {}
        for row, name in enumerate(names):
            path = _parts(name)
            for whole, ends, parts in (
                (self._exact, self._ends, path),
                (self._stemmed, self._stemmed_ends, _without_suffix(path)),
            ):
                whole.setdefault(parts, []).append(row)
                for start in range(len(parts)):
                    ends.setdefault(parts[start:], []).append(row)

    def find(self, name: str) -> list[int]:
        """Return the rows that the strictest rule finds, or enough of them to see that there are several."""
        path = _parts(name)
        stemmed = _without_suffix(path)
        return (
            self._exact.get(path)
            or _one_ends_other(path, self._exact, self._ends)
            or _one_ends_other(stemmed, self._stemmed, self._stemmed_ends)
            or self._stemmed_ends.get(stemmed[-1:], [])
        )


def _one_ends_other(
    path: _Path, exact: Mapping[_Path, list[int]], ends: Mapping[_Path, list[int]]
) -> list[int]:
    """Return rows whose paths end with `path`, and rows whose paths are an end of it."""
    rows = ends.get(path, [])[:2]
    for start in range(1, len(path)):
        rows = rows + exact.get(path[start:], [])[:2]
    return sorted(rows)


def _without_suffix(path: _Path) -> _Path:
    return (*path[:-1], video_stem(path[-1]))


def _parts(name: str) -> _Path:
    return PurePosixPath(clean_text(name).replace("\\", "/")).parts or (name,)

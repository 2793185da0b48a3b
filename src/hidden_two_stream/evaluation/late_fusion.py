"""Late fusion of score files, with weights that are given or searched on validation videos."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.evaluation.accuracy import wilson_interval
from hidden_two_stream.evaluation.label_lists import LabelList, read_class_list, read_label_list
from hidden_two_stream.evaluation.score_alignment import align_scores, match_label_lists
from hidden_two_stream.evaluation.score_files import read_scores
from hidden_two_stream.recognition.fusion import FUSION_TERMS, check_fusion, fuse

__all__ = ["FusedStream", "FusionResult", "fuse_score_files", "search_weights"]

_STEPS_PER_UNIT, _STEPS = 10, 40  # the grid of weights: 0, 0.1 ... 4
_SEARCHED_AT_ONCE = 1 << 16  # scores
_Point = tuple[int, ...]


@dataclass(frozen=True)
class FusedStream:
    """One stream of a late fusion.

    Attributes:
        source: FILE:STREAM, where the scores are from.
        weight: weight in the fusion.
        accuracy: accuracy of this stream alone, 0…1.
        interval_95: 95% interval of the accuracy.
        protocol: name of the test protocol; None: the file does not say.
        unlisted_rows: videos of the file that are not in the list, and not counted.
    """

    source: str
    weight: float
    accuracy: float
    interval_95: tuple[float, float]
    protocol: str | None
    unlisted_rows: int


@dataclass(frozen=True)
class FusionResult:
    """Accuracy of several streams and of their late fusion.

    Attributes:
        streams: each stream alone, in the order of the files.
        accuracy: accuracy of the fused scores, 0…1.
        interval_95: 95% interval of the accuracy.
        method: fusion method.
        num_videos: videos that the accuracies are of.
        num_classes: number of classes.
        searched_on: validation videos of the search for weights; None: there was no search.
        validation_accuracy: fused accuracy on these; None: there was no search.
    """

    streams: tuple[FusedStream, ...]
    accuracy: float
    interval_95: tuple[float, float]
    method: str
    num_videos: int
    num_classes: int
    searched_on: int | None = None
    validation_accuracy: float | None = None

    @property
    def protocol(self) -> str | None:
        """The test protocol that all streams share; None if they differ or their files do not say."""
        protocols = {stream.protocol for stream in self.streams}
        return protocols.pop() if len(protocols) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures; accuracies are fractions, lists are in the order of the streams."""
        searched = {} if self.searched_on is None else {"validation_accuracy": self.validation_accuracy}
        return {
            "num_videos": self.num_videos,
            "accuracy": {"streams": [stream.accuracy for stream in self.streams], "fused": self.accuracy},
            "accuracy_interval_95": {
                "streams": [stream.interval_95 for stream in self.streams],
                "fused": self.interval_95,
            },
            "method": self.method,
            "weights": [stream.weight for stream in self.streams],
            "streams": [stream.source for stream in self.streams],
            "num_classes": self.num_classes,
            "protocol": self.protocol,
            "protocols": [stream.protocol for stream in self.streams],
            "unlisted_rows": [stream.unlisted_rows for stream in self.streams],
            "searched_on": self.searched_on,
            **searched,
        }


def fuse_score_files(
    sources: Sequence[str | Path],
    labels: str | Path,
    *,
    weights: Sequence[float] | None = None,
    method: str = "l1",
    search: str | Path | None = None,
    classes: str | Path | None = None,
) -> FusionResult:
    """Fuse the scores of several files and compare them with the true classes.

    `score_alignment.align_scores` says which row is which video, and which column is which class.

    Args:
        sources: score files, FILE or FILE:STREAM, as `score_files.read_scores` takes them.
        labels: list of the test videos and their classes, as `label_lists.read_label_list` takes it.
        weights: one per stream; None: all equal, or searched.
        method: "l1" (the reference's), "softmax" or "product".
        search: list of validation videos, a part of `labels`. The fusion uses the weights that are best on
            these videos, and the accuracies are those of the other videos.
        classes: file with the order of columns without names, as `label_lists.read_class_list` takes it.

    Raises:
        UsageError: a file does not exist, or the arguments contradict each other or the files.
        DataError: a file is damaged, or the files contradict each other.
        MissingDependencyError: scipy, which reads .mat files, is not installed.
    """
    check_fusion(method)
    if search is not None and weights is not None:
        raise UsageError("got weights and a list to search them on; leave out --weights or --search")
    streams = [scores for source in sources for scores in read_scores(str(source))]
    if weights is not None and len(weights) != len(streams):
        named = ", ".join(scores.source for scores in streams)
        raise UsageError(f"{len(weights)} weights for {len(streams)} streams ({named}); give one each")
    known = None if classes is None else read_class_list(Path(classes))
    videos = read_label_list(Path(labels), known)
    test, unlisted = align_scores(streams, videos, None if known is None else tuple(known.values()))
    chosen = [1.0] * len(streams) if weights is None else list(weights)
    searched_on = validation_accuracy = None
    if search is not None:
        held = _validation_rows(Path(search), videos, known)
        validation, test = test.select(held), test.select(~held)
        chosen = search_weights(validation.values, validation.truth, method)
        searched_on = int(held.sum())
        validation_accuracy = validation.accuracy(fuse(validation.values, chosen, method))
    count = len(test.truth)
    fused = test.accuracy(fuse(test.values, chosen, method))
    parts = []
    for scores, values, weight, rows in zip(streams, test.values, chosen, unlisted, strict=True):
        alone = test.accuracy(values)
        interval = wilson_interval(alone, count)
        parts.append(FusedStream(scores.source, weight, alone, interval, scores.protocol, rows))
    return FusionResult(
        streams=tuple(parts),
        accuracy=fused,
        interval_95=wilson_interval(fused, count),
        method=method,
        num_videos=count,
        num_classes=test.values[0].shape[1],
        searched_on=searched_on,
        validation_accuracy=validation_accuracy,
    )


def _validation_rows(path: Path, videos: LabelList, known: dict[str, str] | None) -> npt.NDArray[np.bool_]:
    """Mark the listed videos, (N,), that the search uses; at least one is left for the test."""
    held = np.zeros(len(videos.names), np.bool_)
    held[match_label_lists(read_label_list(path, known), videos)] = True
    if held.all():
        raise UsageError(
            f"{str(path)!r} lists every video of {videos.source!r}: no test video is left; "
            "leave out of it the videos that the accuracy is measured on"
        )
    return held


# -- search ----------------------------------------------------------------------------------------


def search_weights(
    values: Sequence[npt.NDArray[np.floating]], truth: npt.NDArray[np.int64], method: str
) -> list[float]:
    """Return the weights with the best fused accuracy.

    The first stream has weight 1; each other stream tries 0, 0.1 ... 4. Where several points of this grid are
    best, neighboring ones form plateaus. The search takes the plateau nearest to equal weights, and on it the
    point nearest to the plateau's mean, then to equal weights.

    Args:
        values: scores of two or three streams, (N, classes) each.
        truth: (N,) class numbers.
        method: "l1", "softmax" or "product".

    Raises:
        UsageError: there are fewer or more streams.
    """
    if not 2 <= len(values) <= 3:
        raise UsageError(
            f"the search takes two or three streams, not {len(values)}; give --weights instead of --search"
        )
    terms = [FUSION_TERMS[method](scores) for scores in values]
    right: dict[_Point, int] = {}
    rows = max(1, _SEARCHED_AT_ONCE // terms[0].shape[1])
    for point in itertools.product(range(_STEPS + 1), repeat=len(values) - 1):
        right[point] = 0
        for start in range(0, len(truth), rows):  # in parts that fit into the processor's cache
            mixed = terms[0][start : start + rows].copy()
            for steps, term in zip(point, terms[1:], strict=True):
                mixed += steps / _STEPS_PER_UNIT * term[start : start + rows]
            right[point] += int((mixed.argmax(axis=1) == truth[start : start + rows]).sum())
    best = max(right.values())
    chosen = _plateau_center({point for point, count in right.items() if count == best})
    return [1.0, *(steps / _STEPS_PER_UNIT for steps in chosen)]


def _plateau_center(points: set[_Point]) -> _Point:
    """Return the center of the plateau that is nearest to equal weights."""

    def distance_to_equal(point: _Point) -> int:
        return sum((steps - _STEPS_PER_UNIT) ** 2 for steps in point)

    start = min(points, key=lambda point: (distance_to_equal(point), point))
    plateau, frontier = {start}, [start]
    while frontier:
        point = frontier.pop()
        for axis, step in itertools.product(range(len(point)), (-1, 1)):
            neighbor = (*point[:axis], point[axis] + step, *point[axis + 1 :])
            if neighbor in points and neighbor not in plateau:
                plateau.add(neighbor)
                frontier.append(neighbor)
    # In whole numbers (coordinates times the size of the plateau), so that ties are exact.
    size, total = len(plateau), [sum(axis) for axis in zip(*plateau, strict=True)]

    def distance_to_mean(point: _Point) -> int:
        return sum((steps * size - whole) ** 2 for steps, whole in zip(point, total, strict=True))

    return min(plateau, key=lambda point: (distance_to_mean(point), distance_to_equal(point), point))

"""Average precision of segments, and how far their boundaries are off.

Two published ways to compute average precision differ in details, and `AP_METHODS` has both:

- "activitynet" (ActivityNet's `eval_detection.py`): from the highest score down, a segment takes the truth of
  its class in its video that it overlaps most, of those that are free and reach the tIoU. Precision is
  interpolated at every recall, as in PASCAL VOC 2010: the area under the monotone envelope of the curve.
- "thumos14" (`TH14eventdetpr.m` of the THUMOS14 kit): each truth, in its order, takes the free segment that
  overlaps it most, if the tIoU is above the threshold. Precision is interpolated at 11 recalls, as in PASCAL
  VOC 2007.

Each truth is matched at most once. A segment without a match is an error, unless it lies in time that is to
be ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import Segment

__all__ = [
    "AP_METHODS",
    "TIOUS",
    "Interval",
    "LabeledVideo",
    "average_precision",
    "boundary_errors",
    "mean_average_precision",
    "mostly_ignored",
    "overlap_seconds",
    "temporal_iou",
]

TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Smallest overlaps, as intersection over union in time, that tests report."""

Interval = tuple[float, float]
"""[start, end) in seconds."""


@dataclass(frozen=True)
class LabeledVideo:
    """The truth about a video, and what was found in it.

    Attributes:
        name: path or URL.
        seconds: its length.
        truth: labeled segments; they may overlap.
        found: segments with scores.
        ignored: intervals in which what was found is neither right nor wrong, such as THUMOS14's "Ambiguous".
    """

    name: str
    seconds: float
    truth: tuple[Segment, ...]
    found: tuple[Segment, ...]
    ignored: tuple[Interval, ...] = ()


def temporal_iou(first: Segment, second: Segment) -> float:
    """Return the intersection of two segments divided by their union, 0…1."""
    common = overlap_seconds((first.start_seconds, first.end_seconds), [_interval(second)])
    union = first.seconds + second.seconds - common
    return common / union if union > 0 else 0.0


def overlap_seconds(interval: Interval, others: Sequence[Interval]) -> float:
    """Return how many seconds of an interval lie in others, which don't overlap each other."""
    start, end = interval
    return sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in others)


def _interval(segment: Segment) -> Interval:
    return segment.start_seconds, segment.end_seconds


# -- matching --------------------------------------------------------------------------------------

_Match = list[int | None]
"""For each found segment, the number of its truth; None: it has none."""


def _match_by_score(found: Sequence[Segment], truth: Sequence[Segment], tiou: float) -> _Match:
    match: _Match = [None] * len(found)
    free = set(range(len(truth)))
    for index in sorted(range(len(found)), key=lambda index: -_score(found[index])):
        overlaps = {number: temporal_iou(found[index], truth[number]) for number in free}
        best = max(overlaps, key=lambda number: (overlaps[number], -number), default=None)
        if best is not None and overlaps[best] >= tiou:
            match[index] = best
            free.remove(best)
    return match


def _match_by_truth(found: Sequence[Segment], truth: Sequence[Segment], tiou: float) -> _Match:
    match: _Match = [None] * len(found)
    by_score = sorted(range(len(found)), key=lambda index: -_score(found[index]))
    for number, segment in enumerate(truth):
        free = [index for index in by_score if match[index] is None]
        best = max(free, key=lambda index: temporal_iou(found[index], segment), default=None)
        if best is not None and temporal_iou(found[best], segment) > tiou:
            match[best] = number
    return match


def _score(segment: Segment) -> float:
    return 1.0 if segment.score is None else segment.score


# -- average precision -----------------------------------------------------------------------------

_Curve = npt.NDArray[np.float64]


def _area(recall: _Curve, precision: _Curve) -> float:
    """Return the area under the curve in which precision never grows with recall."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _eleven_points(recall: _Curve, precision: _Curve) -> float:
    """Return the mean of the best precision at recalls of at least 0, 0.1, …, 1."""
    levels = np.arange(11) / 10
    return float(np.mean([precision[recall >= level - 1e-12].max(initial=0.0) for level in levels]))


def mostly_ignored(segment: Segment, ignored: Sequence[Interval]) -> bool:
    """Return whether at least half of a segment lies in time that is to be ignored."""
    common = overlap_seconds(_interval(segment), ignored)
    return common > 0 and common >= 0.5 * segment.seconds


def _touches_ignored(segment: Segment, ignored: Sequence[Interval]) -> bool:
    return overlap_seconds(_interval(segment), ignored) > 0


@dataclass(frozen=True)
class _Method:
    match: Callable[[Sequence[Segment], Sequence[Segment], float], _Match]
    interpolate: Callable[[_Curve, _Curve], float]
    is_ignored: Callable[[Segment, Sequence[Interval]], bool]


AP_METHODS = {
    "activitynet": _Method(_match_by_score, _area, mostly_ignored),
    "thumos14": _Method(_match_by_truth, _eleven_points, _touches_ignored),
}
"""The ways to compute average precision, by name.

A segment without a match is ignored if at least half of it lies in ignored time ("activitynet", where this
rule is ours), or any part of it ("thumos14").
"""


def average_precision(
    videos: Sequence[LabeledVideo], label: str, tiou: float, method: str = "activitynet"
) -> float:
    """Return the average precision of one class, 0…1.

    Args:
        videos: truth and segments.
        label: the class.
        tiou: smallest overlap of a match, 0…1.
        method: a key of `AP_METHODS`.

    Raises:
        UsageError: the method is unknown, or no video has a truth of this class.
    """
    chosen = _method(method)
    hits: list[tuple[float, bool]] = []
    number = 0
    for video in videos:
        truth = [segment for segment in video.truth if segment.label == label]
        found = [segment for segment in video.found if segment.label == label]
        number += len(truth)
        for segment, partner in zip(found, chosen.match(found, truth, tiou), strict=True):
            if partner is not None or not chosen.is_ignored(segment, video.ignored):
                hits.append((_score(segment), partner is not None))
    if not number:
        raise UsageError(f"no video has a segment of class {label!r}; expected one, to compute its precision")
    hits.sort(key=lambda hit: (-hit[0], not hit[1]))
    if not any(is_hit for _, is_hit in hits):
        return 0.0
    right = np.cumsum([is_hit for _, is_hit in hits])
    return chosen.interpolate(right / number, right / np.arange(1, len(hits) + 1))


def mean_average_precision(
    videos: Sequence[LabeledVideo], tiou: float, method: str = "activitynet"
) -> tuple[float, dict[str, float]]:
    """Return the mean over the classes of the truth, and the average precision of each class.

    Segments of other classes do not count: the published evaluations do it so.

    Raises:
        UsageError: the method is unknown, or there is no truth.
    """
    labels = sorted({segment.label for video in videos for segment in video.truth})
    if not labels:
        raise UsageError("no video has a labeled segment; expected at least one, to compute precision")
    each = {label: average_precision(videos, label, tiou, method) for label in labels}
    return float(np.mean(list(each.values()))), each


def _method(name: str) -> _Method:
    if name not in AP_METHODS:
        raise UsageError(f"unknown way {name!r} to compute precision; choose one of {', '.join(AP_METHODS)}")
    return AP_METHODS[name]


# -- boundaries ------------------------------------------------------------------------------------


def boundary_errors(videos: Sequence[LabeledVideo], tiou: float = 0.5) -> tuple[list[float], list[float]]:
    """Return how late the starts and the ends of matched segments are, in seconds; negative: early.

    Args:
        videos: truth and segments.
        tiou: smallest overlap of a match; segments are matched as by "activitynet".
    """
    starts: list[float] = []
    ends: list[float] = []
    for video in videos:
        for label in dict.fromkeys(segment.label for segment in video.truth):
            truth = [segment for segment in video.truth if segment.label == label]
            found = [segment for segment in video.found if segment.label == label]
            for segment, number in zip(found, _match_by_score(found, truth, tiou), strict=True):
                if number is not None:
                    starts.append(segment.start_seconds - truth[number].start_seconds)
                    ends.append(segment.end_seconds - truth[number].end_seconds)
    return starts, ends

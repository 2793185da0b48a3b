"""Labels over time: which share of the time is right, in which order, and in how many pieces.

Times are compared exactly, not frame by frame: the figures are those of frames at a very high rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hidden_two_stream.evaluation.temporal import (
    LabeledVideo,
    mostly_ignored,
    temporal_iou,
)
from hidden_two_stream.types import Segment

__all__ = ["OVERLAPS", "TimeAccuracy", "edit_score", "segmental_f1", "time_accuracy"]

OVERLAPS = (0.1, 0.25, 0.5)
"""Smallest overlaps of segmental F1@10, F1@25 and F1@50."""


@dataclass(frozen=True)
class TimeAccuracy:
    """Shares of the time of all videos that are labeled rightly, without ignored time.

    Attributes:
        frame_accuracy: of all time, where "nothing" is right where nothing is labeled.
        labeled_accuracy: of the time that has a label; None: there is none.
        macro_f1: mean F1 over classes that are in the truth or were found, without "nothing".
        f1: of each class.
    """

    frame_accuracy: float
    labeled_accuracy: float | None
    macro_f1: float
    f1: dict[str, float]


def time_accuracy(videos: Sequence[LabeledVideo]) -> TimeAccuracy:
    """Return how much of the time is labeled rightly.

    Where the truth has several labels at once, each of them is right.
    """
    total = right = labeled = labeled_right = 0.0
    hits: dict[str, float] = {}
    sizes: dict[str, float] = {}  # seconds in the truth plus seconds that were found
    for video in videos:
        for seconds, truth, found in _stretches(video):
            is_right = found <= truth if found else not truth
            total += seconds
            right += seconds * is_right
            labeled += seconds * bool(truth)
            labeled_right += seconds * (is_right and bool(truth))
            for label in truth & found:
                hits[label] = hits.get(label, 0.0) + seconds
            for label in (*truth, *found):
                sizes[label] = sizes.get(label, 0.0) + seconds
    f1 = {label: 2 * hits.get(label, 0.0) / sizes[label] for label in sorted(sizes)}
    return TimeAccuracy(
        frame_accuracy=right / total if total else 0.0,
        labeled_accuracy=labeled_right / labeled if labeled else None,
        macro_f1=float(np.mean(list(f1.values()))) if f1 else 0.0,
        f1=f1,
    )


def _stretches(video: LabeledVideo) -> Iterator[tuple[float, set[str], set[str]]]:
    """Yield (seconds, true labels, found labels) of the stretches in which neither changes."""
    segments = (*video.truth, *video.found)
    edges = {0.0, video.seconds}
    edges |= {edge for segment in segments for edge in (segment.start_seconds, segment.end_seconds)}
    edges |= {edge for interval in video.ignored for edge in interval}
    inside = sorted(edge for edge in edges if 0 <= edge <= video.seconds)
    for start, end in pairwise(inside):
        middle = 0.5 * (start + end)
        if not any(begin <= middle < stop for begin, stop in video.ignored):
            yield end - start, _labels_at(video.truth, middle), _labels_at(video.found, middle)


def _labels_at(segments: Sequence[Segment], seconds: float) -> set[str]:
    return {s.label for s in segments if s.start_seconds <= seconds < s.end_seconds}


def edit_score(videos: Sequence[LabeledVideo]) -> float:
    """Return the mean over videos of 1 − edit distance of the sequences of labels / the longer length.

    "Nothing" is no label (Lea et al., CVPR 2017, with the background left out). What was found mostly in
    ignored time is left out.
    """
    scores = []
    for video in videos:
        truth = [segment.label for segment in _in_order(video.truth)]
        found = [segment.label for segment in _counted(video)]
        longer = max(len(truth), len(found))
        scores.append(1 - _edit_distance(truth, found) / longer if longer else 1.0)
    return float(np.mean(scores)) if scores else 0.0


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda segment: (segment.start_seconds, segment.end_seconds))


def _counted(video: LabeledVideo) -> list[Segment]:
    """Return the found segments, in order, without those that lie mostly in ignored time."""
    return [segment for segment in _in_order(video.found) if not mostly_ignored(segment, video.ignored)]


def _edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and replacements that turn one sequence into the other."""
    row = list(range(len(second) + 1))
    for number, label in enumerate(first, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(second, start=1):
            cost = min(row[place] + 1, row[place - 1] + 1, diagonal + (label != other))
            diagonal, row[place] = row[place], cost
    return row[-1]


def segmental_f1(videos: Sequence[LabeledVideo], overlap: float) -> float:
    """Return the F1 of segments that overlap a truth of their class by at least `overlap`, 0…1.

    As in Lea et al. (CVPR 2017): in order of time, a segment is right if the truth that it overlaps most, in
    intersection over union, is overlapped enough and was not matched before.
    """
    right = wrong = missed = 0
    for video in videos:
        truth = _in_order(video.truth)
        matched: set[int] = set()
        found = _counted(video)
        for segment in found:
            overlaps = [
                temporal_iou(segment, other) if other.label == segment.label else 0.0 for other in truth
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= overlap and best not in matched:
                matched.add(best)
        right += len(matched)
        wrong += len(found) - len(matched)
        missed += len(truth) - len(matched)
    total = 2 * right + wrong + missed
    return 2 * right / total if total else 1.0

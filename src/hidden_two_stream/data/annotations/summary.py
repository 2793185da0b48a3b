"""What a label file holds, in numbers: bouts of each label, how long they last, and unlabeled time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hidden_two_stream.data.annotations.model import Annotations

__all__ = ["LabelSummary", "VideoSummary", "summarize"]


@dataclass(frozen=True)
class LabelSummary:
    """The bouts of one label in a video.

    Attributes:
        bouts: number of segments that take time.
        points: number of events that take no time.
        seconds: how long all bouts take together; bouts of several subjects count each.
        shortest_seconds, median_seconds, longest_seconds: of the bouts; None without bouts.
    """

    bouts: int
    points: int
    seconds: float
    shortest_seconds: float | None
    median_seconds: float | None
    longest_seconds: float | None


@dataclass(frozen=True)
class VideoSummary:
    """The labels of one video in numbers.

    Attributes:
        video: its name.
        labels: all labels in order, also those without a segment.
        subjects: who does something.
        duration_seconds, fps, num_frames: of the video, None where unknown.
        unlabeled_seconds: how long nobody looked; None: unknown.
        says_what_is_labeled: whether the file says which time somebody looked at.
        notes: what the file holds that isn't read.
    """

    video: str
    labels: dict[str, LabelSummary]
    subjects: tuple[str, ...]
    duration_seconds: float | None
    fps: float | None
    num_frames: int | None
    unlabeled_seconds: float | None
    says_what_is_labeled: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def summarize(item: Annotations) -> VideoSummary:
    """Return the numbers of one video."""
    unlabeled = item.unlabeled_seconds() if item.labeled is not None else None
    assert unlabeled is None or math.isfinite(unlabeled)
    return VideoSummary(
        item.video,
        {label: _label(item, label) for label in item.labels},
        item.subject_names,
        item.duration_seconds,
        item.fps,
        item.num_frames,
        unlabeled,
        item.labeled is not None,
        item.notes,
    )


def _label(item: Annotations, label: str) -> LabelSummary:
    segments = [segment for segment in item.segments if segment.label == label]
    lengths = [segment.seconds for segment in segments if not segment.is_point]
    return LabelSummary(
        len(lengths),
        len(segments) - len(lengths),
        math.fsum(lengths),
        min(lengths, default=None),
        median(lengths) if lengths else None,
        max(lengths, default=None),
    )

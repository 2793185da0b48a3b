"""The labels of one video over time, and how they are collected from a file and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError
from hidden_two_stream.types import Segment

__all__ = ["Annotations", "Intervals", "SegmentCollector", "merged", "video_id"]

Intervals = tuple[tuple[float, float], ...]
"""Sorted, separate intervals [start, end) in seconds; an end may be `math.inf`: the end of the video."""

_TOUCHING = 1e-6  # s: times of different files that mean the same instant
_EDGE = 2e-3  # s: files round times and lengths, so an end may lie this much past the end of the video


@dataclass(frozen=True)
class Annotations:
    """The labels of one video over time.

    Attributes:
        video: name or path of the video, as the file gives it.
        segments: sorted by start, then by end, then by the order of `labels`.
        labels: all labels that may occur, in the order of the file.
        subjects: who does it, one text per segment, "" for nobody in particular; () if nobody is named.
        labeled: the intervals that somebody looked at, where no segment means background; None: the file
            doesn't say, so all of the video counts as looked at.
        duration_seconds: length of the video; None: unknown.
        fps: frames per second of the video; None: unknown.
        notes: what the file holds that isn't here, one line each.
    """

    video: str
    segments: tuple[Segment, ...]
    labels: tuple[str, ...]
    subjects: tuple[str, ...] = ()
    labeled: Intervals | None = None
    duration_seconds: float | None = None
    fps: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, video: str, segments: Iterable[Segment], labels: Sequence[str] = ()) -> Annotations:
        """Return the annotations of segments in any order, such as those of a recognizer.

        Args:
            video: name or path of the video.
            segments: what happens when.
            labels: labels in the order wanted; others are appended as they occur.

        Raises:
            DataError: a segment ends before it starts, or two of one label overlap.
        """
        collector = SegmentCollector(video, video, list(labels))
        for number, segment in enumerate(segments):
            times = (segment.start_seconds, segment.end_seconds)
            collector.add(*times, segment.label, where=f"segment {number}", score=segment.score)
        return collector.result()

    @property
    def num_frames(self) -> int | None:
        """Number of frames; None if the length or the rate is unknown."""
        if self.duration_seconds is None or self.fps is None:
            return None
        return round(self.duration_seconds * self.fps)

    @property
    def subject_names(self) -> tuple[str, ...]:
        """The different subjects in the order of their first segments, without ""."""
        return tuple(dict.fromkeys(filter(None, self.subjects)))

    def with_subjects(self) -> list[tuple[Segment, str]]:
        """Return each segment with its subject, "" for nobody in particular."""
        return list(zip(self.segments, self.subjects or [""] * len(self.segments), strict=True))

    def of_subject(self, subject: str) -> Annotations:
        """Return the annotations of one subject alone; "" for the segments of nobody in particular."""
        kept = tuple(segment for segment, name in self.with_subjects() if name == subject)
        return replace(self, segments=kept, subjects=(subject,) * len(kept) if subject else ())

    def unlabeled_seconds(self) -> float | None:
        """How long nobody looked at the video; None if its length is unknown and matters."""
        if self.labeled is None:
            return 0.0
        end = self.duration_seconds
        if end is None:
            if not self.labeled or self.labeled[-1][1] != math.inf:
                return None
            end = self.labeled[-1][0]
        return end - sum(min(stop, end) - start for start, stop in self.labeled if start < end)


def merged(intervals: Iterable[tuple[float, float]]) -> Intervals:
    """Return the union of intervals, sorted; those that touch become one."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1] + _TOUCHING:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def video_id(video: str) -> str:
    """Return the name of a video without folders and suffix, as research datasets name videos."""
    name = video.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and suffix.isalnum() and not suffix.isdigit() else name


@dataclass
class SegmentCollector:
    """Collects the segments of one video, each with its place in the file, and checks them.

    Attributes:
        source: the file, for messages.
        video: name of the video.
        labels: the labels that the file declares, in order; others are appended as they occur.
        notes: what the file holds that isn't read.
        fps, duration_seconds: of the video, where known.
        labeled: see `Annotations`.
        closed: whether `labels` are all that may occur.
    """

    source: str
    video: str
    labels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fps: float | None = None
    duration_seconds: float | None = None
    labeled: Iterable[tuple[float, float]] | None = None
    closed: bool = False
    _found: list[tuple[Segment, str, str]] = field(default_factory=list, init=False)

    def add(
        self,
        start: float,
        end: float,
        label: str,
        *,
        where: str,
        subject: str = "",
        score: float | None = None,
    ) -> None:
        """Take a segment.

        Args:
            start, end: seconds; equal for a point.
            label: what happens.
            where: its place in the file, such as "line 3".
            subject: who does it.
            score: see `Segment`.

        Raises:
            DataError: a time is negative or not finite, the end lies before the start, or the label is empty
                or unknown.
        """
        label = clean_text(label.strip())
        if not label:
            raise DataError(f"{self.source}, {where}: the label is empty; expected the name of a behavior")
        for name, value in (("start", start), ("end", end)):
            if not (math.isfinite(value) and value >= 0):
                raise DataError(
                    f"{self.source}, {where}: the {name} of {shown(label)} is {value:g} s; expected a time "
                    "from 0 on, the start of the video"
                )
        if end < start:
            raise DataError(
                f"{self.source}, {where}: {shown(label)} ends at {end:g} s, before it starts at {start:g} s"
            )
        if score is not None and not math.isfinite(score):
            raise DataError(f"{self.source}, {where}: the score is {score}; expected a number")
        if self.closed and label not in self.labels:
            raise DataError(
                f"{self.source}, {where}: unknown label {shown(label)}; expected one of {listed(self.labels)}"
            )
        self.know(label)
        self._found.append((Segment(start, end, label, score), clean_text(subject.strip()), where))

    def know(self, label: str) -> None:
        """Give a label its place in the order, unless it has one, or no others may occur."""
        label = clean_text(label.strip())
        if label and label not in self.labels and not self.closed:
            self.labels.append(label)

    def result(self) -> Annotations:
        """Return the annotations.

        Raises:
            DataError: two segments of one label and one subject overlap, or one lies past the video's end.
        """
        order = {label: number for number, label in enumerate(self.labels)}
        found = sorted(
            self._found,
            key=lambda row: (row[0].start_seconds, row[0].end_seconds, order[row[0].label], row[1]),
        )
        self._check_ends(found)
        self._check_overlap(found)
        subjects = tuple(subject for _, subject, _ in found)
        return Annotations(
            self.video,
            tuple(segment for segment, _, _ in found),
            tuple(self.labels),
            subjects if any(subjects) else (),
            None if self.labeled is None else merged(self.labeled),
            self.duration_seconds,
            self.fps,
            tuple(dict.fromkeys(self.notes)),
        )

    def _check_ends(self, found: Sequence[tuple[Segment, str, str]]) -> None:
        if self.duration_seconds is None:
            return
        for segment, _, where in found:
            if segment.end_seconds > self.duration_seconds + max(_EDGE, 1 / self.fps if self.fps else 0):
                raise DataError(
                    f"{self.source}, {where}: {shown(segment.label)} ends at {segment.end_seconds:g} s, "
                    f"past the end of {shown(self.video)} at {self.duration_seconds:g} s; is it the right "
                    "video and frame rate?"
                )

    def _check_overlap(self, found: Sequence[tuple[Segment, str, str]]) -> None:
        last: dict[tuple[str, str], tuple[Segment, str]] = {}
        for segment, subject, where in found:
            key = (segment.label, subject)
            before, before_where = last.get(key, (None, ""))
            if before is not None and segment.start_seconds < before.end_seconds - _TOUCHING:
                who = f" of {shown(subject)}" if subject else ""
                raise DataError(
                    f"{self.source}, {where}: {shown(segment.label)}{who} from {segment.start_seconds:g} s "
                    f"overlaps {shown(segment.label)} until {before.end_seconds:g} s ({before_where}); "
                    "expected one at a time of a label and a subject"
                )
            if before is None or segment.end_seconds >= before.end_seconds:
                last[key] = (segment, where)

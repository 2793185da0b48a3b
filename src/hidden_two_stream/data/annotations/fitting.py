"""What a format cannot hold of some annotations: refused, or left out on request, and always named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hidden_two_stream.data.annotations.format import Format, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_of, frame_range
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Segment

__all__ = ["Fitted", "fit"]

_SAME = 1e-6  # s
_BREAKS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass
class Fitted:
    """Annotations as a format can hold them.

    Attributes:
        annotations: what is to be written.
        losses: what is left out or changed, one line each; without leave, a file with losses isn't written.
        notes: what is rounded or not in the file, but loses nothing.
    """

    annotations: Annotations
    losses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fit(item: Annotations, target: Format, options: WriteOptions) -> Fitted:
    """Return `item` as the format can hold it, and what is lost.

    Raises:
        UsageError: the format can't hold the annotations in any way: labels overlap, a score is missing, or a
            rate is needed and unknown.
    """
    _check_texts(item, target)
    fitted = Fitted(item)
    for step in (_fit_scores, _fit_subjects, _fit_points, _fit_labeled, _fit_times):
        step(fitted, target, options)
    _check_overlap(fitted.annotations, target)
    _note_labels(fitted, target)
    return fitted


def _check_texts(item: Annotations, target: Format) -> None:
    if target.name == "json":
        return
    for text in (item.video, *item.labels, *item.subject_names):
        if _BREAKS.search(text):
            raise UsageError(
                f"the name {shown(text)} holds a line break, a tab or a control character, which the format "
                f"{target.name} can't hold; write json, or rename it"
            )


def _fit_scores(fitted: Fitted, target: Format, options: WriteOptions) -> None:  # noqa: ARG001
    item = fitted.annotations
    missing = sum(segment.score is None for segment in item.segments)
    if target.holds.scores == "only" and missing:
        raise UsageError(
            f"there is no score for {number_of(missing, 'segment')} of {shown(item.video)}; the format "
            f"{target.name} is for predictions, which have one each"
        )
    if target.holds.scores == "no" and missing < len(item.segments):
        fitted.losses.append(f"the scores of {number_of(len(item.segments) - missing, 'segment')}")
        _replace(fitted, [(replace(segment, score=None), who) for segment, who in item.with_subjects()])


def _fit_subjects(fitted: Fitted, target: Format, options: WriteOptions) -> None:  # noqa: ARG001
    item = fitted.annotations
    if target.holds.subjects or not item.subject_names:
        return
    fitted.losses.append(f"who does it: {', '.join(item.subject_names)}")
    _replace(fitted, [(segment, "") for segment in item.segments])
    _join_overlapping(fitted)


def _fit_points(fitted: Fitted, target: Format, options: WriteOptions) -> None:
    item = fitted.annotations
    count = sum(segment.is_point for segment in item.segments)
    if target.holds.points or not count:
        return
    fps = options.fps or item.fps
    if fps is None:
        raise UsageError(
            f"{number_of(count, 'point')} of {shown(item.video)} would become bouts of one frame, since the "
            f"format {target.name} can't hold points; give the frame rate with --fps (fps=…)"
        )
    fitted.losses.append(f"{number_of(count, 'point')}: written as bouts of one frame ({1 / fps:.3g} s)")

    def bout(segment: Segment) -> Segment:
        frame = frame_of(segment.start_seconds, fps)
        return replace(segment, start_seconds=frame / fps, end_seconds=(frame + 1) / fps)

    _replace(fitted, [(bout(s) if s.is_point else s, who) for s, who in item.with_subjects()])
    _join_overlapping(fitted)


def _fit_labeled(fitted: Fitted, target: Format, options: WriteOptions) -> None:
    item = fitted.annotations
    if target.holds.unlabeled or item.labeled is None:
        return
    end = math.inf if item.duration_seconds is None else item.duration_seconds
    fps = options.fps or item.fps
    if options.num_frames is not None and fps is not None:
        end = options.num_frames / fps
    covers = len(item.labeled) == 1 and item.labeled[0][0] <= _SAME and item.labeled[0][1] >= end - _SAME
    if covers:
        return
    becomes = "counts as background there" if target.holds.rows else "isn't told apart from background"
    fitted.losses.append(f"which time is not labeled: it {becomes}")
    fitted.annotations = replace(item, labeled=None)


def _fit_times(fitted: Fitted, target: Format, options: WriteOptions) -> None:
    """Leave out segments that rounding makes empty, and count those that touch after it."""
    item, step = fitted.annotations, target.holds.step
    if not step or not item.segments:
        return
    rounded = _rounding(item, target, options)
    spans = [rounded(segment) for segment in item.segments]
    short = [
        first >= stop and not segment.is_point
        for (first, stop), segment in zip(spans, item.segments, strict=True)
    ]
    if any(short):
        shortest = f"a {step}" if isinstance(step, str) else f"{step:g} s"
        fitted.losses.append(f"{number_of(sum(short), 'segment')} shorter than {shortest}")
    shifts = [
        max(abs(first - segment.start_seconds), abs(stop - segment.end_seconds))
        for (first, stop), segment in zip(spans, item.segments, strict=True)
        if not segment.is_point
    ]
    shift = max(shifts, default=0.0)
    if shift > _SAME:
        unit = f"{step}s" if isinstance(step, str) else f"{step:g} s"
        fitted.notes.append(f"times are rounded to {unit}, by up to {shift:.2g} s")
    rows = [row for row, is_short in zip(item.with_subjects(), short, strict=True) if not is_short]
    _replace(fitted, rows)
    if target.holds.rows:
        touching = _count_touching(rows, rounded)
        if touching:
            fitted.losses.append(f"{number_of(touching, 'edge')} between bouts of one label that touch")


def _rounding(
    item: Annotations, target: Format, options: WriteOptions
) -> Callable[[Segment], tuple[float, float]]:
    """Return a function that gives the rounded times of a segment."""
    step = target.holds.step
    if step == "frame":
        fps = options.need_fps(item, target.name)

        def to_frames(segment: Segment) -> tuple[float, float]:
            first, stop = frame_range(segment.start_seconds, segment.end_seconds, fps)
            return first / fps, stop / fps

        return to_frames
    if step == "second":
        # A label at a whole second stands for half a second before and after it.
        return lambda s: (math.ceil(s.start_seconds) - 0.5, math.ceil(s.end_seconds) - 0.5)
    assert not isinstance(step, str)

    def to_steps(segment: Segment) -> tuple[float, float]:
        return round(segment.start_seconds / step) * step, round(segment.end_seconds / step) * step

    return to_steps


def _count_touching(
    rows: Sequence[tuple[Segment, str]], rounded: Callable[[Segment], tuple[float, float]]
) -> int:
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for segment, who in rows:
        groups.setdefault((segment.label, who), []).append(rounded(segment))
    return sum(
        after[0] <= before[1] + _SAME
        for spans in groups.values()
        for before, after in pairwise(sorted(spans))
    )


def _replace(fitted: Fitted, rows: Sequence[tuple[Segment, str]]) -> None:
    """Put other segments in place, in the order of `Annotations`."""
    item = fitted.annotations
    order = {label: number for number, label in enumerate(item.labels)}
    rows = sorted(rows, key=lambda row: (row[0].start_seconds, row[0].end_seconds, order[row[0].label]))
    subjects = tuple(who for _, who in rows)
    segments = tuple(segment for segment, _ in rows)
    fitted.annotations = replace(item, segments=segments, subjects=subjects if any(subjects) else ())


def _join_overlapping(fitted: Fitted) -> None:
    """Make one bout of those of one label and subject that overlap, and name it; touching ones stay."""
    groups: dict[tuple[str, str], list[Segment]] = {}
    for segment, who in fitted.annotations.with_subjects():
        groups.setdefault((segment.label, who), []).append(segment)
    rows, joined = [], 0
    for (_, who), segments in groups.items():
        kept: list[Segment] = []
        for segment in segments:
            if kept and segment.start_seconds < kept[-1].end_seconds - _SAME:
                end = max(kept[-1].end_seconds, segment.end_seconds)
                kept[-1] = replace(kept[-1], end_seconds=end)
                joined += 1
            else:
                kept.append(segment)
        rows += [(segment, who) for segment in kept]
    if joined:
        fitted.losses.append(f"{number_of(joined, 'bout')} that overlap others of the same label")
    _replace(fitted, rows)


def _check_overlap(item: Annotations, target: Format) -> None:
    if target.holds.overlap:
        return
    for before, after in pairwise(item.segments):
        if after.start_seconds < before.end_seconds - _SAME:
            raise UsageError(
                f"{shown(before.label)} and {shown(after.label)} of {shown(item.video)} overlap at "
                f"{after.start_seconds:g} s; the format {target.name} holds one label at a time: write "
                "another format"
            )


def _note_labels(fitted: Fitted, target: Format) -> None:
    used = {segment.label for segment in fitted.annotations.segments}
    unused = [label for label in fitted.annotations.labels if label not in used]
    if unused and not target.holds.labels:
        fitted.notes.append(f"labels without a segment are not in the file: {', '.join(unused)}")

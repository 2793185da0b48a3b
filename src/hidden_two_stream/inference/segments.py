"""From the scores of windows to labeled segments, in constant memory.

Each step is a generator over the one before it: `time_line` gives each instant the scores of the windows that
cover it, `smoothed` averages them over time, and `find_segments` turns them into segments by hysteresis,
bridges short gaps and drops what is too short.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hidden_two_stream.inference.segment_settings import SegmentRule
from hidden_two_stream.types import Segment, WindowPrediction

__all__ = ["TimedScores", "find_segments", "known_windows", "smoothed", "time_line", "watched"]

Scores = npt.NDArray[np.float64]


# -- scores over time ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TimedScores:
    """The scores of a short interval [start_seconds, end_seconds), between which nothing changes.

    Attributes:
        start_seconds, end_seconds: the interval, s.
        scores: (classes,) float64, which sum to 1.
        smooth: (classes,) the scores averaged over time; those of `scores` before `smoothed`.
    """

    start_seconds: float
    end_seconds: float
    scores: Scores
    smooth: Scores

    @property
    def seconds(self) -> float:
        """Length of the interval."""
        return self.end_seconds - self.start_seconds

    @property
    def middle(self) -> float:
        """Middle of the interval."""
        return 0.5 * (self.start_seconds + self.end_seconds)


def known_windows(
    windows: Iterable[WindowPrediction], least_similarity: float | None
) -> Iterator[WindowPrediction]:
    """Yield windows; the scores of one whose logits are less similar than this are 0: it shows nothing known.

    Args:
        windows: as `Recognizer.windows` yields them.
        least_similarity: the limit; None: all windows stay as they are.
    """
    for window in windows:
        similarity = window.similarity
        if least_similarity is None or similarity is None or similarity >= least_similarity:
            yield window
        else:
            yield replace(window, scores=np.zeros_like(window.scores))


def time_line(windows: Iterable[WindowPrediction], triangular: bool = True) -> Iterator[TimedScores]:
    """Yield scores that cover a video without gaps: at each instant, the mean of the windows there.

    An instant that no window covers, because the windows are shorter than their hop, has the scores of the
    nearest window. Only windows that overlap are held in memory.

    Args:
        windows: in the order of their starts.
        triangular: weight a window by how near the instant is to its middle, from 1 down to 0 at its ends;
            else all windows weigh the same.

    Yields:
        Intervals in order, each beginning where the one before it ends.
    """
    held: list[WindowPrediction] = []
    reached = 0.0
    for window in windows:
        start = window.start_seconds
        if not held:
            reached = start
        yield from _pieces(held, reached, start, window, triangular)
        reached = max(reached, start)
        last = held[-1:]
        held = [other for other in held if other.end_seconds > start] or last
        held.append(window)
    if held:
        end = max(window.end_seconds for window in held)
        yield from _pieces(held, reached, end, held[-1], triangular)


def _pieces(
    held: Sequence[WindowPrediction], start: float, end: float, following: WindowPrediction, triangular: bool
) -> Iterator[TimedScores]:
    """Yield the pieces of [start, end); `following` is the window that comes after it."""
    edges = {edge for window in held for edge in (window.start_seconds, window.end_seconds)}
    covered = max((window.end_seconds for window in held), default=start)
    if covered < end:  # no window covers the time from there on: half of it is nearer to each side
        edges.add(0.5 * (covered + end))
    inner = sorted(edge for edge in edges if start < edge < end)
    for begin, stop in zip((start, *inner), (*inner, end), strict=True):
        if stop <= begin:
            continue
        middle = 0.5 * (begin + stop)
        there = [w for w in held if w.start_seconds <= begin and w.end_seconds >= stop]
        if not there:
            there = [following if middle > 0.5 * (covered + end) else max(held, key=_end)]
        weights = np.array([_weight(w, middle) if triangular and len(there) > 1 else 1.0 for w in there])
        scores = np.asarray(weights @ np.stack([w.scores for w in there]) / weights.sum(), np.float64)
        yield TimedScores(begin, stop, scores, scores)


def _end(window: WindowPrediction) -> float:
    return window.end_seconds


def _weight(window: WindowPrediction, seconds: float) -> float:
    half = 0.5 * (window.end_seconds - window.start_seconds)
    return 1 - abs(seconds - window.start_seconds - half) / half


def smoothed(pieces: Iterable[TimedScores], seconds: float) -> Iterator[TimedScores]:
    """Yield the pieces with `smooth`, the mean of the scores over `seconds` around each piece's middle.

    At the ends of the video, the mean is over the part that there is. Memory holds the pieces of twice
    `seconds`.

    Args:
        pieces: without gaps, in order, as `time_line` yields them.
        seconds: length of the moving average; 0: `smooth` is `scores`.
    """
    around: deque[TimedScores] = deque()
    waiting: deque[TimedScores] = deque()

    def ready(end: float) -> Iterator[TimedScores]:
        while waiting and waiting[0].middle + 0.5 * seconds <= end:
            piece = waiting.popleft()
            low, high = piece.middle - 0.5 * seconds, piece.middle + 0.5 * seconds
            while around[0].end_seconds <= low:
                around.popleft()
            yield replace(piece, smooth=_mean_between(around, low, high) if seconds else piece.scores)

    for piece in pieces:
        around.append(piece)
        waiting.append(piece)
        yield from ready(piece.end_seconds)
    yield from ready(math.inf)


def _mean_between(pieces: Iterable[TimedScores], low: float, high: float) -> Scores:
    total, length = np.zeros(()), 0.0
    for piece in pieces:
        part = min(piece.end_seconds, high) - max(piece.start_seconds, low)
        if part > 0:
            total = total + part * piece.scores
            length += part
    return np.asarray(total / length, np.float64)


# -- segments --------------------------------------------------------------------------------------


@dataclass
class _Draft:
    """A segment in the making; `total` is the integral of its class's score over `covered` seconds."""

    label: int
    start: float
    end: float
    total: float = 0.0
    covered: float = 0.0

    def add(self, piece: TimedScores) -> None:
        self.end = piece.end_seconds
        self.total += piece.seconds * float(piece.scores[self.label])
        self.covered += piece.seconds

    def join(self, later: _Draft) -> None:
        self.end = later.end
        self.total += later.total
        self.covered += later.covered


def find_segments(pieces: Iterable[TimedScores], rule: SegmentRule) -> Iterator[Segment]:
    """Yield the segments of a time line, one label at a time, as soon as they are certain.

    A segment is a stretch in which the smoothed score of one class stays at `leave` or above and reaches
    `enter`. It begins where that class becomes the best one, on its way to `enter`. It ends early where
    another class, or the background, is best and reaches `enter`. The score of a segment is the mean of its
    class's scores, before smoothing, over the time in which the class was found: bridged gaps do not count.

    Args:
        pieces: as `smoothed` yields them.
        rule: when segments begin and end.
    """
    bridged = _bridged(_hysteresis(pieces, rule), rule.bridge_seconds)
    long = (draft for draft in bridged if draft.end - draft.start >= rule.shortest_seconds - 1e-9)
    # Once more: what was too short may have lain between two segments of one class.
    for draft in _bridged(long, rule.bridge_seconds):
        score = min(1.0, draft.total / draft.covered)
        yield Segment(draft.start, draft.end, rule.classes[draft.label], score)


def _hysteresis(pieces: Iterable[TimedScores], rule: SegmentRule) -> Iterator[_Draft]:
    current: _Draft | None = None
    rising: _Draft | None = None  # the best class since it reached `leave`; it may yet reach `enter`
    for piece in pieces:
        best = int(np.argmax(piece.smooth))
        if current is not None:
            beaten = best != current.label and piece.smooth[best] >= rule.enter
            if beaten or piece.smooth[current.label] < rule.leave:
                yield current
                current = None
            else:
                current.add(piece)
                continue
        if best == rule.background or piece.smooth[best] < rule.leave:
            rising = None
            continue
        if rising is None or rising.label != best:
            rising = _Draft(best, piece.start_seconds, piece.start_seconds)
        rising.add(piece)
        if piece.smooth[best] >= rule.enter:
            current, rising = rising, None
    if current is not None:
        yield current


def _bridged(drafts: Iterable[_Draft], seconds: float) -> Iterator[_Draft]:
    """Yield the drafts; those of one class with less than `seconds` between them become one."""
    before: _Draft | None = None
    for draft in drafts:
        if before is not None and draft.label == before.label and draft.start - before.end < seconds:
            before.join(draft)
            continue
        if before is not None:
            yield before
        before = draft
    if before is not None:
        yield before


def watched(
    pieces: Iterable[TimedScores], on_scores: Callable[[TimedScores], None] | None
) -> Iterator[TimedScores]:
    """Yield the pieces, and hand each one to `on_scores` before that."""
    for piece in pieces:
        if on_scores is not None:
            on_scores(piece)
        yield piece

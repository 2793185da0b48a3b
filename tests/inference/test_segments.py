"""From windows to segments: checked on a dense time grid, by hand, and on videos of any length."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.segment_settings import LONGEST_SMOOTHING_SECONDS, SegmentSettings
from hidden_two_stream.inference.segments import (
    TimedScores,
    find_segments,
    smoothed,
    time_line,
    watched,
)
from hidden_two_stream.recognition.calibration import fit_threshold
from hidden_two_stream.types import Segment, WindowPrediction

CLASSES = ("sit", "walk", "background")


def window(start: float, end: float, *scores: float) -> WindowPrediction:
    classes = CLASSES[: len(scores)]
    return WindowPrediction(start, end, classes, np.array(scores, np.float32), {})


def random_windows(
    seed: int, count: int = 60, hop: float = 0.2, length: float = 0.64
) -> list[WindowPrediction]:
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.uniform(0.5 * hop, 1.5 * hop, count)) - hop * 0.5
    starts -= starts[0]
    found = []
    for start in starts:
        scores = rng.dirichlet(np.ones(3))
        found.append(window(float(start), float(start + length * rng.uniform(0.9, 1.1)), *scores))
    return found


# -- the time line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("triangular", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_each_instant_has_the_mean_of_the_windows_that_cover_it(seed: int, triangular: bool) -> None:
    windows = random_windows(seed)
    pieces = list(time_line(windows, triangular))
    assert pieces[0].start_seconds == 0
    assert pieces[-1].end_seconds == max(w.end_seconds for w in windows)
    for before, after in itertools.pairwise(pieces):
        assert before.end_seconds == after.start_seconds
    for piece in pieces:
        t = piece.middle
        total, weights = np.zeros(3), 0.0
        for w in windows:
            if w.start_seconds <= t < w.end_seconds:
                half = (w.end_seconds - w.start_seconds) / 2
                weight = 1 - abs(t - (w.start_seconds + half)) / half if triangular else 1.0
                total += weight * w.scores
                weights += weight
        np.testing.assert_allclose(piece.scores, total / weights, atol=1e-7)
        assert piece.scores.sum() == pytest.approx(1)


def test_time_between_windows_belongs_to_the_nearest_one() -> None:
    windows = [window(0, 1, 1, 0), window(3, 4, 0, 1), window(6, 7, 1, 0)]
    found = [(p.start_seconds, p.end_seconds, float(p.scores[0])) for p in time_line(windows)]
    assert found == [(0, 1, 1), (1, 2, 1), (2, 3, 0), (3, 4, 0), (4, 5, 0), (5, 6, 1), (6, 7, 1)]


def test_a_video_of_one_window() -> None:
    (piece,) = time_line([window(0, 0.44, 0.3, 0.7)])
    assert (piece.start_seconds, piece.end_seconds) == (0, 0.44)
    np.testing.assert_allclose(piece.scores, [0.3, 0.7], rtol=1e-6)


def test_no_window_gives_nothing() -> None:
    assert list(time_line([])) == []


# -- smoothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.1, 0.6, 5.0, 100.0])
def test_smoothing_is_the_integral_over_the_time_around(seconds: float) -> None:
    pieces = list(time_line(random_windows(4)))
    end = pieces[-1].end_seconds
    step = 1e-4
    times = np.arange(0, end, step) + step / 2
    edges = np.array([p.end_seconds for p in pieces])
    dense = np.stack([p.scores for p in pieces])[np.searchsorted(edges, times, side="right")]
    for piece, smooth in zip(pieces, smoothed(pieces, seconds), strict=True):
        near = np.abs(times - piece.middle) <= seconds / 2
        np.testing.assert_allclose(smooth.smooth, dense[near].mean(axis=0), atol=3e-3)
        assert smooth.scores is piece.scores


def test_no_smoothing_leaves_the_scores() -> None:
    pieces = list(time_line(random_windows(5)))
    for before, after in zip(pieces, smoothed(pieces, 0), strict=True):
        assert np.array_equal(after.smooth, before.scores)


# -- hysteresis ------------------------------------------------------------------------------------


def pieces_of(rows: Iterable[Sequence[float]], seconds: float = 1.0) -> Iterator[TimedScores]:
    """One piece of `seconds` for each row of scores."""
    for number, row in enumerate(rows):
        scores = np.array(row, np.float64)
        yield TimedScores(number * seconds, (number + 1) * seconds, scores, scores)


def segments(rows: Iterable[Sequence[float]], **changes: object) -> list[Segment]:
    base: dict[str, object] = {"bridge_seconds": 0.0, "shortest_seconds": 0.0, "enter": 0.6, "leave": 0.4}
    rows = list(rows)
    settings = SegmentSettings(**(base | changes))  # type: ignore[arg-type]
    return list(find_segments(pieces_of(rows), settings.rule(CLASSES[: len(rows[0])])))


def spans(found: Sequence[Segment]) -> list[tuple[float, float, str]]:
    return [(s.start_seconds, s.end_seconds, s.label) for s in found]


def sit(score: float) -> tuple[float, float]:
    return score, 0.0


def test_a_segment_reaches_enter_and_extends_while_it_is_at_leave() -> None:
    found = segments(map(sit, (0.39, 0.4, 0.59, 0.6, 0.5, 0.4, 0.39, 0.5, 0.59)))
    assert spans(found) == [(1, 6, "sit")]
    assert found[0].score == pytest.approx((0.4 + 0.59 + 0.6 + 0.5 + 0.4) / 5)


def test_a_segment_begins_where_its_class_becomes_the_best() -> None:
    rows = [(0.45, 0.5), (0.5, 0.45), (0.55, 0.4), (0.6, 0.4)]
    assert spans(segments(rows)) == [(1, 4, "sit")]
    rows = [(0.5, 0.4, 0), (0.45, 0, 0.5), (0.5, 0.4, 0), (0.7, 0, 0)]  # the background between
    assert spans(segments(rows)) == [(2, 4, "sit")]


def test_a_segment_does_not_reach_back_into_the_one_before() -> None:
    rows = [(0.5, 0.45), (0.6, 0.4), (0.3, 0.5), (0.2, 0.6)]
    assert spans(segments(rows)) == [(0, 2, "sit"), (2, 4, "walk")]


def test_a_segment_may_reach_the_end() -> None:
    assert spans(segments(map(sit, (0.0, 0.7, 0.7)))) == [(1, 3, "sit")]


def test_another_class_ends_a_segment_only_when_it_enters() -> None:
    rows = [(0.9, 0.1), (0.45, 0.55), (0.4, 0.6), (0.1, 0.9)]
    assert spans(segments(rows)) == [(0, 2, "sit"), (2, 4, "walk")]


def test_the_background_is_never_a_segment_and_ends_one() -> None:
    rows = [(0.8, 0, 0.2), (0.45, 0, 0.55), (0.4, 0, 0.6), (0, 0, 1), (0, 0.7, 0.3)]
    assert spans(segments(rows)) == [(0, 2, "sit"), (4, 5, "walk")]
    named = segments([(0.1, 0.9), (0.9, 0.1)], background="walk")
    assert spans(named) == [(1, 2, "sit")]


def test_short_gaps_are_bridged_and_do_not_count_for_the_score() -> None:
    scores = (0.8, 0.1, 0.6, 0.1, 0.1, 0.7)
    found = segments(map(sit, scores), bridge_seconds=1.5)
    assert spans(found) == [(0, 3, "sit"), (5, 6, "sit")]
    assert found[0].score == pytest.approx(0.7)
    assert spans(segments(map(sit, scores), bridge_seconds=1.0)) == [
        (0, 1, "sit"),
        (2, 3, "sit"),
        (5, 6, "sit"),
    ]


def test_a_gap_that_holds_another_class_is_not_bridged() -> None:
    rows = [(0.9, 0), (0, 0.9), (0.9, 0)]
    assert [s.label for s in segments(rows, bridge_seconds=5)] == ["sit", "walk", "sit"]


def test_short_segments_are_dropped_and_what_they_parted_is_joined() -> None:
    rows = [(0.9, 0)] * 3 + [(0, 0.9)] + [(0.9, 0)] * 3
    assert spans(segments(rows, bridge_seconds=1.5, shortest_seconds=2)) == [(0, 7, "sit")]
    assert spans(segments(rows, shortest_seconds=2)) == [(0, 3, "sit"), (4, 7, "sit")]
    assert segments(rows, shortest_seconds=4) == []
    assert spans(segments([(0.9, 0)] * 4, shortest_seconds=4)) == [(0, 4, "sit")]


def slow_labels(rows: np.ndarray, enter: float, leave: float) -> list[int | None]:
    """The label of each piece, from the definition alone."""
    labels: list[int | None] = []
    current = None
    bests = [max(range(len(row)), key=lambda k: (row[k], -k)) for row in rows]
    for row in rows:
        best = max(range(len(row)), key=lambda k: (row[k], -k))
        keeps = current is not None and row[current] >= leave and not (best != current and row[best] >= enter)
        if not keeps:
            current = best if row[best] >= enter and best != 2 else None
        labels.append(current)
    for number in range(len(rows) - 2, -1, -1):  # back to where the class became the best
        after = labels[number + 1]
        starts = labels[number] is None and after is not None and bests[number] == after
        if starts and rows[number][after] >= leave:
            labels[number] = after
    return labels


@pytest.mark.parametrize("seed", range(5))
def test_segments_equal_those_of_a_slow_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.ones(3) * 0.5, 200)
    labels = slow_labels(rows, 0.55, 0.35)
    expected = []
    for label, group in itertools.groupby(range(len(rows)), key=lambda i: labels[i]):
        run = list(group)
        if label is not None:
            mean = float(np.mean([rows[i][label] for i in run]))
            expected.append((run[0], run[-1] + 1, CLASSES[label], mean))
    found = segments(rows.tolist(), enter=0.55, leave=0.35)
    assert len(expected) > 20
    assert spans(found) == [item[:3] for item in expected]
    for segment, (*_, mean) in zip(found, expected, strict=True):
        assert segment.score == pytest.approx(mean)


# -- in constant memory ----------------------------------------------------------------------------


def endless(count: int) -> Iterator[WindowPrediction]:
    """Three seconds of each class in turn, three of background between."""
    for number in range(count):
        kind = number // 15 % 4
        scores = [(0.8, 0.1, 0.1), (0.15, 0.1, 0.75), (0.1, 0.8, 0.1), (0.15, 0.1, 0.75)][kind]
        yield window(number * 0.2, number * 0.2 + 0.64, *scores)


def peak_bytes(count: int) -> tuple[int, int]:
    """Peak memory while the segments of `count` windows are found, and their number."""
    rule = SegmentSettings().rule(CLASSES)
    tracemalloc.start()
    number = sum(1 for _ in find_segments(smoothed(time_line(endless(count)), 0.6), rule))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, number


def test_memory_does_not_grow_with_the_video() -> None:
    minute, few = peak_bytes(300)
    hour, many = peak_bytes(6000)
    assert (few, many) == (10, 200)
    assert hour < 1.1 * minute + 4096


def test_segments_come_while_the_video_runs() -> None:
    seen = 0

    def counted() -> Iterator[WindowPrediction]:
        nonlocal seen
        for w in endless(10_000):
            seen += 1
            yield w

    rule = SegmentSettings().rule(CLASSES)
    first = next(find_segments(smoothed(time_line(counted()), 0.6), rule))
    assert first.label == "sit"
    assert seen < 100


def test_a_repeated_video_gives_repeated_segments() -> None:
    rule = SegmentSettings(enter=0.47, leave=0.29).rule(CLASSES)
    found = list(find_segments(smoothed(time_line(endless(600)), 0.6), rule))
    assert len(found) == 20
    for before, after in zip(found[:-2], found[2:], strict=True):  # every twelve seconds
        assert after.label == before.label
        is_first = before is found[0]  # no background comes before it
        assert after.start_seconds - before.start_seconds == pytest.approx(12, abs=0.4 if is_first else 1e-9)
        assert after.end_seconds - before.end_seconds == pytest.approx(12, abs=1e-9)
        assert after.score == pytest.approx(before.score, abs=0.02 if is_first else 1e-9)


def test_pieces_are_seen_on_their_way() -> None:
    seen: list[TimedScores] = []
    pieces = list(time_line(random_windows(1)))
    assert list(watched(pieces, seen.append)) == pieces == seen
    assert list(watched(pieces, None)) == pieces


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_seconds": 0}, "hop_seconds is 0"),
        ({"hop_seconds": -1}, "hop_seconds is -1; expected a number of seconds of at least 0"),
        ({"hop_seconds": math.nan}, "hop_seconds is nan"),
        ({"hop_seconds": None}, "hop_seconds is None"),
        ({"hop_seconds": True}, "hop_seconds is True"),
        ({"smoothing_seconds": 601}, "smoothing_seconds is 601; expected a number of seconds from 0 to 600"),
        ({"enter": 1.5}, "enter is 1.5; expected a score from 0 to 1"),
        ({"enter": "0.5"}, "enter is '0.5'"),
        ({"leave": -0.1}, "leave is -0.1"),
        ({"enter": 0.4, "leave": 0.5}, "leave is 0.5, above enter, 0.4"),
        ({"bridge_seconds": math.inf}, "bridge_seconds is inf"),
        ({"shortest_seconds": -2}, "shortest_seconds is -2"),
        ({"background": 3}, "background is 3; expected the name of a class"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=r".+") as caught:
        SegmentSettings(**changes)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_the_rule_of_a_run() -> None:
    assert SegmentSettings().rule(("a", "b")).background is None
    rule = SegmentSettings().rule(CLASSES, threshold=0.25)
    assert (rule.enter, rule.background) == (0.25, 2)
    assert rule.leave == pytest.approx(0.15)
    assert SegmentSettings(enter=0.9).rule(CLASSES, threshold=0.25).enter == 0.9
    assert SegmentSettings(background="sit").rule(CLASSES).background == 0
    with pytest.raises(UsageError, match="background class is 'fly'; expected one of sit, walk, background"):
        SegmentSettings(background="fly").rule(CLASSES)
    with pytest.raises(UsageError, match=r"leave is 0\.4, above enter, which is 0.25 for this run"):
        SegmentSettings(leave=0.4).rule(CLASSES, threshold=0.25)


def test_the_longest_smoothing_is_allowed() -> None:
    assert SegmentSettings(smoothing_seconds=LONGEST_SMOOTHING_SECONDS).smoothing_seconds == 600


# -- what is known and what is not -----------------------------------------------------------------


def test_the_threshold_of_a_run_loses_no_more_than_its_share_and_rejects_the_rest() -> None:
    """One-window videos, with the threshold that `fit_threshold` promises at most 5% of for known classes."""
    rng = np.random.default_rng(0)

    def scores(count: int, sharpness: float, labels: np.ndarray | None = None) -> np.ndarray:
        logits = rng.normal(0, 1, (count, 8))
        if labels is not None:
            logits[np.arange(count), labels] += sharpness
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def found_in(rows: np.ndarray, threshold: float) -> list[Segment | None]:
        rule = SegmentSettings().rule([str(number) for number in range(8)], threshold)
        found = []
        for row in rows:
            one = WindowPrediction(0, 1, rule.classes, row.astype(np.float32), {})
            pieces = smoothed(time_line([one]), 0.6)
            found.append(next(find_segments(pieces, rule), None))
        return found

    lost, rejected = [], []
    for _ in range(20):
        labels = rng.integers(0, 8, 100)
        threshold = fit_threshold(scores(100, 5.0, labels), labels)
        assert threshold is not None
        labels = rng.integers(0, 8, 100)
        known = scores(100, 5.0, labels)
        right = known.argmax(axis=1) == labels
        lost += [segment is None for segment in found_in(known[right], threshold)]
        unknown = scores(100, 0.0)
        segments_of = found_in(unknown, threshold)
        assert [segment is None for segment in segments_of] == (unknown.max(axis=1) < threshold).tolist()
        rejected += [segment is None for segment in segments_of]
    assert 0.02 < np.mean(lost) < 0.07  # 5% are promised; 2,000 draws are within a point of it
    assert np.mean(rejected) > 0.8

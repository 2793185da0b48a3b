"""One row of labels per frame: against a slow version, at any frame rate, and back to segments."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from hidden_two_stream.data.annotations.frame_labels import (
    FrameLabels,
    frame_labels,
    frame_of,
    frame_range,
    runs,
)
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.types import Segment

NAMES = ("walk", "sit", "wave")


def slow(
    segments: list[Segment], times: np.ndarray, labeled: tuple[tuple[float, float], ...] | None
) -> np.ndarray:
    """The definition, frame by frame: start ≤ time < end; a point is in the last frame that began."""
    rows = []
    for count, time in enumerate(times):
        after = times[count + 1] if count + 1 < len(times) else math.inf
        seen = labeled is None or any(start <= time < end for start, end in labeled)
        row = [0 if seen else -1] * len(NAMES)
        for segment in segments:
            inside = segment.start_seconds <= time < segment.end_seconds
            if segment.is_point:
                inside = time <= segment.start_seconds < after
            if inside:
                row[NAMES.index(segment.label)] = 1
        rows.append(row)
    return np.array(rows, np.int8)


@pytest.mark.parametrize("seed", range(20))
def test_rows_equal_the_definition_at_irregular_times(seed: int) -> None:
    random_ = random.Random(seed)
    times = np.cumsum([random_.uniform(0.05, 0.56) for _ in range(60)])
    times -= times[0]
    segments = []
    while len(segments) < 8:
        start = random_.uniform(0, times[-1])
        end = start + random_.choice([0.0, random_.uniform(0.01, 4)])
        if min(abs(times - start)) < 1e-3 or min(abs(times - end)) < 1e-3:
            continue  # too near to a frame to tell the definition from its rounding
        segments.append(Segment(start, end, random_.choice(NAMES)))
    labeled = None if seed % 2 else ((0.0, 3.3), (5.0, 9.1))
    found = frame_labels(segments, times, NAMES, labeled)
    np.testing.assert_array_equal(found.values, slow(segments, times, labeled))


def test_the_edges_are_start_included_and_end_excluded() -> None:
    found = frame_labels([Segment(1.0, 3.0, "walk")], np.arange(250) / 25, ["walk"])
    assert np.flatnonzero(found.values[:, 0]).tolist() == list(range(25, 75))


def test_a_point_marks_the_frame_on_screen() -> None:
    times = np.arange(250) / 25
    for seconds, frame in [(8.2, 205), (8.21, 205), (8.239, 205), (8.24, 206), (0.0, 0), (99.0, 249)]:
        found = frame_labels([Segment(seconds, seconds, "clap")], times, ["clap"])
        assert np.flatnonzero(found.values[:, 0]).tolist() == [frame], seconds


def test_several_may_happen_and_nobody_looked_is_not_background() -> None:
    segments = [Segment(0, 2, "walk"), Segment(1, 3, "wave"), Segment(8, 9, "sit")]
    found = frame_labels(segments, np.arange(10), NAMES, ((0.0, 5.0),))
    assert found.values[1].tolist() == [1, 0, 1]
    assert found.values[4].tolist() == [0, 0, 0]
    assert found.values[6].tolist() == [-1, -1, -1]
    assert found.values[8].tolist() == [-1, 1, -1]  # a label outside of what was looked at still counts
    open_end = frame_labels([], np.arange(4), NAMES, ((2.0, math.inf),))
    assert open_end.values[:, 0].tolist() == [-1, -1, 0, 0]


@pytest.mark.parametrize("fps", [9.0, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 59.94, 120.0, 240.0])
def test_times_that_a_file_rounds_to_milliseconds_give_the_same_frames(fps: float) -> None:
    """First frames whose times round up would be lost without the tolerance."""
    times = np.arange(2000) / fps
    for first in range(0, 1900, 7):
        segment = Segment(round(first / fps, 3), round((first + 5) / fps, 3), "walk")
        values = frame_labels([segment], times, ["walk"]).values[:, 0]
        assert np.flatnonzero(values).tolist() == list(range(first, first + 5))
        assert frame_range(segment.start_seconds, segment.end_seconds, fps) == (first, first + 5)
        assert frame_of(segment.start_seconds, fps) == first


def test_the_tolerance_is_less_than_a_frame_at_high_rates() -> None:
    times = np.arange(100) / 5000
    found = frame_labels([Segment(10 / 5000, 11 / 5000, "walk")], times, ["walk"])
    assert np.flatnonzero(found.values).tolist() == [10]


def test_ranges_agree_with_rows() -> None:
    random_ = random.Random(1)
    for _ in range(500):
        fps = random_.choice([9.0, 25.0, 59.94])
        start = random_.uniform(0, 9)
        end = start + random_.choice([0.0, random_.uniform(0, 1)])
        found = frame_labels([Segment(start, end, "walk")], np.arange(1000) / fps, ["walk"]).values[:, 0]
        first, stop = frame_range(start, end, fps)
        assert np.flatnonzero(found).tolist() == list(range(first, stop))


@pytest.mark.parametrize("seed", range(10))
def test_segments_of_rows_give_the_rows_again(seed: int) -> None:
    random_ = np.random.default_rng(seed)
    values = random_.integers(0, 2, (200, 3)).astype(np.int8)
    values[random_.integers(0, 200) :] = -1
    times = np.cumsum(random_.uniform(0.02, 0.2, 200))
    times -= times[0]
    labels = FrameLabels(values, NAMES)
    again = frame_labels(labels.to_segments(times), times, NAMES, labels.labeled(times))
    np.testing.assert_array_equal(again.values, values)
    even = frame_labels(labels.to_segments(fps=30), np.arange(200) / 30, NAMES, labels.labeled(fps=30))
    np.testing.assert_array_equal(even.values, values)


def test_segments_end_with_the_first_frame_without_them() -> None:
    labels = FrameLabels(np.array([[0], [1], [1], [0], [1]], np.int8), ("walk",))
    assert labels.to_segments(fps=25) == [Segment(0.04, 0.12, "walk"), Segment(0.16, 0.2, "walk")]
    irregular = [0.0, 0.1, 0.3, 0.6, 1.0]
    assert labels.to_segments(irregular) == [
        Segment(0.1, 0.6, "walk"),
        Segment(1.0, 1.4, "walk"),
    ]


def test_rows_become_annotations_with_what_was_looked_at() -> None:
    labels = FrameLabels(np.array([[0, 1], [1, 1], [1, 0], [-1, -1]], np.int8), ("walk", "sit"))
    item = labels.to_annotations("a.mp4", fps=2)
    assert item.segments == (Segment(0, 1, "sit"), Segment(0.5, 1.5, "walk"))
    assert (item.labels, item.labeled, item.num_frames) == (("walk", "sit"), ((0.0, 1.5),), 4)
    irregular = labels.to_annotations("a.mp4", [0.0, 1.0, 3.0, 6.0])
    assert irregular.segments == (Segment(0, 3, "sit"), Segment(1, 6, "walk"))
    assert (irregular.labeled, irregular.duration_seconds, irregular.fps) == (((0.0, 6.0),), 9.0, None)


def test_segments_of_a_recognizer_become_annotations() -> None:
    item = Annotations.of("a.mp4", [Segment(3, 4, "sit", 0.5), Segment(1, 2, "walk", 0.9)], ["run"])
    assert item.segments == (Segment(1, 2, "walk", 0.9), Segment(3, 4, "sit", 0.5))
    assert item.labels == ("run", "sit", "walk")
    with pytest.raises(DataError, match=r"a\.mp4, segment 1: 'walk' from 1 s overlaps"):
        Annotations.of("a.mp4", [Segment(0, 2, "walk"), Segment(1, 3, "walk")])


def test_runs_of_nothing_and_of_everything() -> None:
    assert runs(np.zeros(0, bool)) == []
    assert runs(np.ones(3, bool)) == [(0, 3)]
    assert runs(np.array([True, False, True])) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: frame_labels([Segment(0, 1, "run")], [0, 1], NAMES), "unknown label 'run'"),
        (lambda: frame_labels([], [0, 1], ("a", "a")), "named twice"),
        (lambda: frame_labels([], [0, 0], NAMES), "don't increase"),
        (lambda: frame_labels([], [0, math.nan], NAMES), "don't increase"),
        (lambda: FrameLabels(np.zeros((3, 2), np.int8), NAMES), "3 behaviors"),
        (lambda: FrameLabels(np.full((3, 3), 2, np.int8), NAMES), "above 1"),
        (lambda: FrameLabels(np.zeros((3, 3), np.int8), NAMES).to_segments(), "either"),
        (lambda: FrameLabels(np.zeros((3, 3), np.int8), NAMES).to_segments([0, 1], fps=3), "either"),
        (lambda: FrameLabels(np.zeros((3, 3), np.int8), NAMES).to_segments([0, 1]), "one row per frame"),
        (lambda: FrameLabels(np.zeros((3, 3), np.int8), NAMES).to_segments(fps=0), "above 0"),
    ],
)
def test_wrong_arguments_are_refused(call: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()  # type: ignore[operator]

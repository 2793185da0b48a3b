"""Figures of segments, against cases worked out by hand and a slow second version."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.evaluation.temporal import (
    LabeledVideo,
    average_precision,
    boundary_errors,
    mean_average_precision,
    overlap_seconds,
    temporal_iou,
)
from hidden_two_stream.evaluation.temporal_labels import edit_score, segmental_f1, time_accuracy
from hidden_two_stream.types import Segment


def seg(start: float, end: float, label: str = "a", score: float | None = None) -> Segment:
    return Segment(start, end, label, score)


def video(
    truth: list[Segment],
    found: list[Segment],
    ignored: tuple[tuple[float, float], ...] = (),
    seconds: float = 100.0,
    name: str = "v",
) -> LabeledVideo:
    return LabeledVideo(name, seconds, tuple(truth), tuple(found), ignored)


# -- overlap ---------------------------------------------------------------------------------------


def test_overlap() -> None:
    assert temporal_iou(seg(0, 4), seg(1, 3)) == 0.5
    assert temporal_iou(seg(0, 4), seg(2, 6)) == pytest.approx(2 / 6)
    assert temporal_iou(seg(0, 4), seg(4, 6)) == 0
    assert temporal_iou(seg(0, 4), seg(0, 4)) == 1
    assert temporal_iou(seg(1, 1), seg(1, 1)) == 0  # an event without length
    assert overlap_seconds((2, 6), [(0, 3), (5, 9)]) == 2


# -- average precision by hand ---------------------------------------------------------------------


def three_of_four() -> LabeledVideo:
    """Four truths; by score: right, wrong, right, right."""
    truth = [seg(0, 10), seg(20, 30), seg(40, 50), seg(60, 70)]
    found = [seg(40, 50, score=0.5), seg(0, 10, score=0.9), seg(80, 90, score=0.8), seg(20, 30, score=0.7)]
    return video(truth, found)


def test_precision_by_hand() -> None:
    # Precision 1, 1/2, 2/3, 3/4 at recall 1/4, 1/4, 2/4, 3/4: the envelope is 1, 3/4, 3/4.
    assert average_precision([three_of_four()], "a", 0.5) == pytest.approx((1 + 0.75 + 0.75) / 4)
    # At the recalls 0, 0.1, 0.2: 1; at 0.3 … 0.7: 3/4; at 0.8, 0.9, 1: 0.
    assert average_precision([three_of_four()], "a", 0.5, "thumos14") == pytest.approx((3 + 5 * 0.75) / 11)


def test_a_truth_is_matched_once_and_the_second_segment_is_wrong() -> None:
    twice = video([seg(0, 10)], [seg(0, 9, score=0.9), seg(0, 10, score=0.8)])
    assert average_precision([twice], "a", 0.5) == 1  # the higher score comes first
    late = video(
        [seg(0, 10), seg(20, 30)], [seg(0, 9, score=0.9), seg(0, 10, score=0.8), seg(20, 30, score=0.7)]
    )
    assert average_precision([late], "a", 0.5) == pytest.approx((1 + 2 / 3) / 2)


def test_a_segment_takes_the_next_best_truth_if_the_best_is_taken() -> None:
    truth = [seg(0, 10), seg(2, 14)]
    found = [seg(0, 10, score=0.9), seg(0, 12, score=0.8)]  # 10/12 with the first, 10/14 with the second
    assert average_precision([video(truth, found)], "a", 0.5) == 1


def test_the_threshold_is_reached_or_exceeded() -> None:
    half = [video([seg(0, 4)], [seg(1, 3, score=1)])]  # tIoU 0.5
    assert average_precision(half, "a", 0.5) == 1
    assert average_precision(half, "a", 0.51) == 0
    assert average_precision(half, "a", 0.5, "thumos14") == 0
    assert average_precision(half, "a", 0.49, "thumos14") == 1


def test_other_videos_and_classes_do_not_match() -> None:
    videos = [video([seg(0, 10)], [seg(0, 10, "b", 1.0)]), video([seg(20, 30, "b")], [seg(0, 10, "a", 1.0)])]
    mean, each = mean_average_precision(videos, 0.5)
    assert (mean, each) == (0, {"a": 0, "b": 0})


def test_classes_without_truth_do_not_count() -> None:
    one = [video([seg(0, 10)], [seg(0, 10, score=0.5), seg(0, 10, "b", 0.9)])]
    assert mean_average_precision(one, 0.5) == (1, {"a": 1})
    with pytest.raises(UsageError, match="no video has a segment of class 'b'"):
        average_precision(one, "b", 0.5)
    with pytest.raises(UsageError, match="no video has a labeled segment"):
        mean_average_precision([video([], [])], 0.5)
    with pytest.raises(UsageError, match="choose one of activitynet, thumos14"):
        average_precision(one, "a", 0.5, "voc")


def test_ignored_time_is_neither_right_nor_wrong() -> None:
    truth, found = [seg(0, 10)], [seg(20, 30, score=0.9), seg(0, 10, score=0.8)]
    assert average_precision([video(truth, found)], "a", 0.5) == 0.5
    assert average_precision([video(truth, found, ((25, 40),))], "a", 0.5) == 1  # half of it
    assert average_precision([video(truth, found, ((26, 40),))], "a", 0.5) == 0.5
    assert average_precision([video(truth, found, ((29, 40),))], "a", 0.5, "thumos14") == 1  # any part
    assert average_precision([video(truth, found, ((0, 10),))], "a", 0.5) == 0.5  # a match stays one


# -- average precision against a second version ----------------------------------------------------


def slow_activitynet(videos: list[LabeledVideo], label: str, tiou: float) -> float:
    """Precision at each rank, step by step; the area by the definition of interpolated precision."""
    pool = sorted(
        ((s.score or 0.0, n, s) for n, v in enumerate(videos) for s in v.found if s.label == label),
        key=lambda item: -item[0],
    )
    free = {(n, k): s for n, v in enumerate(videos) for k, s in enumerate(v.truth) if s.label == label}
    number, points, right = len(free), [], 0
    for rank, (_, n, s) in enumerate(pool, start=1):
        best, most = None, tiou
        for key, truth in free.items():
            if key[0] != n:
                continue
            common = min(s.end_seconds, truth.end_seconds) - max(s.start_seconds, truth.start_seconds)
            union = max(s.end_seconds, truth.end_seconds) - min(s.start_seconds, truth.start_seconds)
            if common > 0 and common / union >= most:
                best, most = key, common / union
        if best is not None:
            del free[best]
            right += 1
        points.append((right / number, right / rank))
    area = 0.0
    for step in range(1, number + 1):
        area += max((p for r, p in points if r >= step / number - 1e-12), default=0.0) / number
    return area


def random_videos(seed: int) -> list[LabeledVideo]:
    rng = np.random.default_rng(seed)
    videos = []
    for number in range(4):
        starts = np.sort(rng.uniform(0, 90, 12))
        truth = [seg(t, t + rng.uniform(1, 6), str(rng.choice(["a", "b"]))) for t in starts]
        found = [
            seg(
                max(0.0, s.start_seconds + rng.normal(0, 1)),
                s.end_seconds + abs(rng.normal(0, 1)),
                s.label,
                float(rng.random()),
            )
            for s in truth
            if rng.random() < 0.8
        ]
        found += [
            seg(t, t + 3, str(rng.choice(["a", "b"])), float(rng.random())) for t in rng.uniform(0, 90, 6)
        ]
        videos.append(video(truth, found, name=str(number)))
    return videos


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tiou", [0.3, 0.5, 0.7])
def test_precision_equals_a_slow_version(seed: int, tiou: float) -> None:
    videos = random_videos(seed)
    for label in "ab":
        expected = slow_activitynet(videos, label, tiou)
        assert 0 < expected < 1
        assert average_precision(videos, label, tiou) == pytest.approx(expected)


# -- boundaries ------------------------------------------------------------------------------------


def test_boundaries_of_matched_segments() -> None:
    one = video(
        [seg(0, 10), seg(20, 30), seg(40, 44, "b")], [seg(1, 9.5, score=0.9), seg(60, 70, score=0.8),
        seg(39.5, 45, "b", 0.7)],
    )  # fmt: skip
    starts, ends = boundary_errors([one])
    assert (starts, ends) == ([1, -0.5], [-0.5, 1])
    assert boundary_errors([one], 0.9) == ([], [])


# -- labels over time ------------------------------------------------------------------------------


def dense(videos: list[LabeledVideo], step: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Labels at every step: the truth's last one there is, and the found one; ignored steps left out."""
    rows = []
    for v in videos:
        for t in np.arange(step / 2, v.seconds, step):
            if any(a <= t < b for a, b in v.ignored):
                continue
            at = [
                [s.label for s in part if s.start_seconds <= t < s.end_seconds] for part in (v.truth, v.found)
            ]
            rows.append(tuple(part[0] if part else "" for part in at))
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


def disjoint_videos(seed: int) -> list[LabeledVideo]:
    rng = np.random.default_rng(seed)

    def some() -> list[Segment]:
        edges = np.sort(np.round(rng.choice(3000, 20, replace=False) / 100, 2))
        return [seg(a, b, str(rng.choice(["a", "b", "c"])), 0.5) for a, b in edges.reshape(-1, 2).tolist()]

    return [video(some(), some(), ((3.0, 4.0), (8.0, 9.5)), seconds=31.0) for _ in range(2)]


@pytest.mark.parametrize("seed", range(3))
def test_time_accuracy_is_that_of_many_frames(seed: int) -> None:
    videos = disjoint_videos(seed)
    truth, found = dense(videos)
    result = time_accuracy(videos)
    assert result.frame_accuracy == pytest.approx((truth == found).mean(), abs=1e-9)
    assert result.labeled_accuracy == pytest.approx((truth == found)[truth != ""].mean(), abs=1e-9)
    f1 = []
    for label in "abc":
        right = ((truth == label) & (found == label)).sum()
        f1.append(2 * right / ((truth == label).sum() + (found == label).sum()))
        assert result.f1[label] == pytest.approx(f1[-1], abs=1e-9)
    assert result.macro_f1 == pytest.approx(np.mean(f1))


def test_several_labels_at_once_are_each_right() -> None:
    both = video([seg(0, 4), seg(2, 6, "b")], [seg(0, 3), seg(3, 8, "b")], seconds=10)
    result = time_accuracy([both])
    assert result.frame_accuracy == pytest.approx(0.8)  # wrong from 6 to 8
    assert result.f1 == {"a": pytest.approx(2 * 3 / 7), "b": pytest.approx(2 * 3 / 9)}


def test_videos_without_labels() -> None:
    nothing = time_accuracy([video([], [], seconds=5)])
    assert (nothing.frame_accuracy, nothing.labeled_accuracy, nothing.macro_f1) == (1, None, 0)
    assert edit_score([video([], [])]) == 1
    assert segmental_f1([video([], [])], 0.5) == 1
    assert segmental_f1([video([], [seg(0, 1, "a", 1.0)])], 0.5) == 0


def slow_distance(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        slow_distance(first[1:], second) + 1,
        slow_distance(first, second[1:]) + 1,
        slow_distance(first[1:], second[1:]) + (first[0] != second[0]),
    )


def spelled(word: str) -> list[Segment]:
    return [seg(n, n + 1, letter, 1.0) for n, letter in enumerate(word)]


@pytest.mark.parametrize(
    ("first", "second"), [*itertools.combinations(["kitten", "sitting", "ab", "ba", "", "aab"], 2)]
)
def test_edit_score(first: str, second: str) -> None:
    expected = 1 - slow_distance(first, second) / max(len(first), len(second))
    assert edit_score([video(spelled(first), spelled(second))]) == pytest.approx(expected)
    assert edit_score([video(spelled(first), spelled(first)), video(spelled(first), spelled(second))]) == (
        pytest.approx((1 + expected) / 2)
    )


def test_segmental_f1_by_hand() -> None:
    # a: 0.8 of the first truth; b: 2/6 of the second; the third a is over what was matched already.
    one = video([seg(0, 10), seg(10, 14, "b")], [seg(0, 8), seg(8, 9), seg(12, 16, "b")])
    assert segmental_f1([one], 0.5) == pytest.approx(2 * 1 / (2 * 1 + 2 + 1))
    assert segmental_f1([one], 0.25) == pytest.approx(2 * 2 / (2 * 2 + 1 + 0))
    assert segmental_f1([one, one], 0.25) == segmental_f1([one], 0.25)


def test_what_lies_in_ignored_time_does_not_count() -> None:
    one = video([seg(0, 10)], [seg(0, 10), seg(20, 22)], ((21, 40),))
    assert segmental_f1([one], 0.5) == 1
    assert edit_score([one]) == 1

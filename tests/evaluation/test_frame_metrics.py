"""Metrics of frame labels against hand-computed cases and slow versions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.evaluation.frame_metrics import (
    LabeledFrames,
    average_precision,
    bout_counts,
    evaluate_frames,
)


def labels(*columns: str) -> npt.NDArray[np.int8]:
    """Columns of "1", "0" and "?" (nobody looked) as (T, K)."""
    codes = {"1": 1, "0": 0, "?": -1}
    return np.array([[codes[letter] for letter in column] for column in columns], np.int8).T


def frames(truth: npt.NDArray[np.int8], values: npt.NDArray[np.int8]) -> LabeledFrames:
    return LabeledFrames(truth, values, values.astype(float))


def test_a_case_by_hand() -> None:
    truth = labels("11110000?", "00000110?")
    found = labels("01110001?".replace("?", "1"), "000011001")
    result = evaluate_frames(("a", "b"), [frames(truth, found)])
    assert (result.num_frames, result.num_unlabeled) == (8, 1)
    np.testing.assert_allclose(result.precision, [3 / 4, 1 / 2])
    np.testing.assert_allclose(result.recall, [3 / 4, 1 / 2])
    np.testing.assert_allclose(result.f1, [3 / 4, 1 / 2])
    assert result.macro_f1 == pytest.approx(5 / 8)
    assert result.accuracy == pytest.approx(4 / 8)  # frames 1, 2, 3 and 5
    assert result.majority == pytest.approx(4 / 8)
    assert result.confusion is not None
    assert result.confusion.tolist() == [[0, 1, 1], [1, 3, 0], [1, 0, 1]]
    assert result.confusion.sum() == 8


def test_behaviors_that_do_not_occur_do_not_count_in_the_mean() -> None:
    truth, found = labels("1100", "0000"), labels("1100", "0010")
    result = evaluate_frames(("a", "b"), [frames(truth, found)])
    assert result.macro_f1 == 1
    assert result.f1[1] == 0
    assert np.isnan(result.average_precision[1])
    assert result.to_dict()["per_behavior"]["b"]["average_precision"] is None


def test_several_at_once_have_no_confusion() -> None:
    truth = labels("1100", "0110")
    result = evaluate_frames(("a", "b"), [frames(truth, truth)])
    assert result.confusion is None
    assert result.accuracy == result.kappa == result.macro_bout_f1 == 1


def slow_average_precision(scores: list[float], positive: list[bool]) -> float:
    """Precision after each threshold, weighted by the recall that it gains."""
    total, result, before = sum(positive), 0.0, 0.0
    for limit in sorted(set(scores), reverse=True):
        taken = [flag for score, flag in zip(scores, positive, strict=True) if score >= limit]
        recall = sum(taken) / total
        result += (recall - before) * sum(taken) / len(taken)
        before = recall
    return result


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_against_a_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 8, 40) / 8, rng.random(40) < 0.3
    expected = slow_average_precision(scores.tolist(), positive.tolist())
    assert average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_kappa_against_a_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (60, 2)).astype(np.int8)
    found = np.where(rng.random((60, 2)) < 0.7, truth, 1 - truth).astype(np.int8)
    rows, columns = [tuple(row) for row in truth.tolist()], [tuple(row) for row in found.tolist()]
    observed = sum(one == other for one, other in zip(rows, columns, strict=True)) / 60
    expected = sum(rows.count(kind) / 60 * columns.count(kind) / 60 for kind in set(rows) | set(columns))
    result = evaluate_frames(("a", "b"), [frames(truth, found)])
    assert result.kappa == pytest.approx((observed - expected) / (1 - expected), abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "found", "counts"),
    [
        ("0111100", "0111100", (1, 1, 1)),
        ("0111100", "0011000", (1, 1, 1)),  # intersection 2, union 4: half
        ("0111110", "0011000", (0, 1, 1)),  # 2 of 5
        ("1110111", "1111111", (0, 1, 2)),  # 3 of 7 each
        ("11110111", "11101111", (2, 2, 2)),
        ("0000000", "0110000", (0, 1, 0)),
        ("?????00", "1110000", (0, 0, 0)),  # nobody looked
        ("1111111", "0000000", (0, 0, 1)),
    ],
)
def test_bouts_by_hand(truth: str, found: str, counts: tuple[int, int, int]) -> None:
    assert bout_counts(labels(truth)[:, 0], labels(found)[:, 0]) == counts


def test_a_bout_matches_one_other_at_most() -> None:
    """Two predicted halves of a true bout: each has half of it."""
    assert bout_counts(labels("1111")[:, 0], labels("1101")[:, 0]) == (1, 2, 1)
    assert bout_counts(labels("11111")[:, 0], labels("11011")[:, 0]) == (0, 2, 1)
    assert bout_counts(labels("110011")[:, 0], labels("111111")[:, 0]) == (0, 1, 2)


def test_detection_by_hand() -> None:
    """Two true bouts; found: one exactly, with a low score, and a wrong one that scores higher."""
    truth = np.array([[0, 1, 1, 0, 0, 0, 1, 1, 0, 0]], np.int8).T
    values = np.array([[0, 1, 1, 0, 1, 0, 0, 0, 0, 0]], np.int8).T
    scores = np.array([[0, 0.6, 0.6, 0, 0.9, 0, 0, 0, 0, 0]]).T
    found = evaluate_frames(["a"], [LabeledFrames(truth, values, scores)])
    assert found.detection_map == {tiou: pytest.approx(0.25) for tiou in (0.3, 0.4, 0.5, 0.6, 0.7)}
    unlabeled = truth.copy()
    unlabeled[4] = -1  # nobody looked there, so the wrong bout is no error
    ignored = evaluate_frames(["a"], [LabeledFrames(unlabeled, values, scores)])
    assert ignored.detection_map[0.5] == pytest.approx(0.5)
    assert ignored.to_dict()["detection_map"]["0.5"] == pytest.approx(0.5)


def test_detection_depends_on_the_overlap() -> None:
    truth = np.array([[1, 1, 1, 1, 0, 0]], np.int8).T
    values = np.array([[0, 0, 1, 1, 0, 0]], np.int8).T
    found = evaluate_frames(["a"], [frames(truth, values)]).detection_map
    assert found == {0.3: 1.0, 0.4: 1.0, 0.5: 1.0, 0.6: 0.0, 0.7: 0.0}

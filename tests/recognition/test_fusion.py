"""Late fusion agrees with loops written from its definition."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.fusion import FUSIONS, fuse, l1_normalize, log_softmax, softmax

Rows = list[list[float]]


def slow_l1(logits: Rows) -> Rows:
    result = []
    for row in logits:
        positive = [value if value > 0 else 0.0 for value in row]
        total = sum(positive)
        result.append([value / total if total > 0 else 1 / len(row) for value in positive])
    return result


def slow_softmax(logits: Rows) -> Rows:
    result = []
    for row in logits:
        powers = [math.exp(value) for value in row]
        result.append([power / sum(powers) for power in powers])
    return result


SLOW = {"l1": slow_l1, "softmax": slow_softmax, "product": slow_softmax}


def example(seed: int, rows: int = 9, classes: int = 7) -> npt.NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(scale=3, size=(rows, classes))
    logits[0] = -np.abs(logits[0])
    return logits


def test_known_values() -> None:
    np.testing.assert_allclose(l1_normalize(np.array([[3.0, -5.0, 1.0]])), [[0.75, 0, 0.25]])
    np.testing.assert_allclose(softmax(np.log([[2.0, 5.0, 1.0]])), [[0.25, 0.625, 0.125]], rtol=1e-6)


@pytest.mark.parametrize("method", ["l1", "softmax", "product"])
def test_each_method_agrees_with_loops(method: str) -> None:
    for seed in range(3):
        logits = example(seed)
        scores = FUSIONS[method](logits)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, SLOW[method](logits.tolist()), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("method", ["l1", "softmax"])
@pytest.mark.parametrize("weights", [(1, 1.5), (1.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_fusion_is_the_weighted_mean(method: str, weights: tuple[float, float]) -> None:
    spatial, temporal = example(1), example(2)
    fused = fuse([spatial, temporal], weights, method)
    shares = [np.array(SLOW[method](logits.tolist())) for logits in (spatial, temporal)]
    expected = (weights[0] * shares[0] + weights[1] * shares[1]) / (weights[0] + weights[1])
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fused.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("weights", [(1, 2), (1.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_product_is_the_geometric_mean(weights: tuple[float, float]) -> None:
    spatial, temporal = example(1), example(2)
    fused = fuse([spatial, temporal], weights, "product")
    expected = []
    for one, other in zip(slow_softmax(spatial.tolist()), slow_softmax(temporal.tolist()), strict=True):
        powers = (weights[0] / sum(weights), weights[1] / sum(weights))
        products = [a ** powers[0] * b ** powers[1] for a, b in zip(one, other, strict=True)]
        expected.append([product / sum(products) for product in products])
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=1e-7)


def test_a_uniform_stream_leaves_the_product_to_the_other() -> None:
    """A confident stream can veto a class in the product, but not in the mean of probabilities."""
    temporal = example(3)
    order = fuse([np.zeros_like(temporal), temporal], [1, 2], "product").argsort(axis=1)
    np.testing.assert_array_equal(order, temporal.argsort(axis=1))
    against = np.log([[0.001, 0.4995, 0.4995]]), np.log([[0.5, 0.3, 0.2]])
    assert fuse(against, [1, 1], "product").argmax() == 1
    assert fuse([against[0], np.log([[0.8, 0.12, 0.08]])], [1, 1], "softmax").argmax() == 0
    assert fuse([against[0], np.log([[0.8, 0.12, 0.08]])], [1, 1], "product").argmax() == 1


def test_one_and_three_streams() -> None:
    a, b, c = (example(seed) for seed in range(3))
    np.testing.assert_allclose(fuse([a], [7], "l1"), l1_normalize(a), rtol=1e-6)
    three = fuse([a, b, c], [1, 2, 5], "softmax")
    np.testing.assert_allclose(three, (softmax(a) + 2 * softmax(b) + 5 * softmax(c)) / 8, rtol=1e-5)


def test_softmax_is_the_default() -> None:
    a, b = example(1), example(2)
    np.testing.assert_array_equal(fuse([a, b], [1, 1]), fuse([a, b], [1, 1], "softmax"))
    assert np.abs(fuse([a, b], [1, 1]) - fuse([a, b], [1, 1], "l1")).max() > 0.01


@pytest.mark.parametrize("row", [[-3.0, -1.0, -2.0, -9.0], [0.0, 0.0, 0.0, 0.0], [0.0, -4.0, 0.0, -1.0]])
def test_a_row_without_positive_scores_is_uniform(row: list[float]) -> None:
    assert l1_normalize(np.array([row])).tolist() == [[0.25] * 4]


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4, -1e4]], dtype=np.float32)
    expected = [[1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0], [1 / 3] * 3]
    np.testing.assert_allclose(softmax(logits), expected, rtol=1e-6)
    logs = [[-math.log1p(math.exp(-1)), -math.log1p(math.e), -2e4], [-math.log(3)] * 3]
    np.testing.assert_allclose(log_softmax(logits), logs, rtol=1e-4)


def test_a_strong_stream_wins_over_a_weak_one_by_weight() -> None:
    spatial, temporal = np.array([[2.0, 1.0]]), np.array([[1.0, 2.0]])
    assert fuse([spatial, temporal], [1, 1.5]).argmax() == 1
    assert fuse([spatial, temporal], [1.5, 1]).argmax() == 0


def test_inputs_are_not_modified() -> None:
    logits = example(4)
    before = logits.copy()
    for method in FUSIONS:
        fuse([logits, logits], [1, 2], method)
    np.testing.assert_array_equal(logits, before)


def test_inconsistent_arguments_are_rejected() -> None:
    a = example(0)
    with pytest.raises(UsageError, match=r"'max'.*softmax, l1, product"):
        fuse([a], [1], "max")
    with pytest.raises(UsageError, match="2 score arrays but 1 weights"):
        fuse([a, a], [1])
    with pytest.raises(UsageError, match="0 score arrays"):
        fuse([], [])
    with pytest.raises(UsageError, match=r"got fusion weights \(2, -1\); expected .*not negative"):
        fuse([a, a], (2, -1))
    with pytest.raises(UsageError, match="not all zero"):
        fuse([a, a], (0, 0))


def test_unusable_scores_are_rejected() -> None:
    with pytest.raises(UsageError, match="different shapes"):
        fuse([np.ones((2, 3)), np.ones((1, 3))], (1, 1))
    with pytest.raises(UsageError, match="finite"):
        fuse([np.ones((1, 2)), np.array([[np.nan, 1.0]])], (1, 1))
    with pytest.raises(UsageError, match="finite"):
        fuse([np.ones((1, 2))], (float("nan"),))

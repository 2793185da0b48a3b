"""Temperatures against a known one, a slow search and exact cases; the threshold against counting."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.recognition.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    Calibration,
    degenerate,
    fit_temperature,
    fit_threshold,
    fused_scores,
    log_likelihood_loss,
    with_temperature,
)
from hidden_two_stream.recognition.fusion import softmax

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def drawn(temperature: float, num_clips: int, classes: int = 5, seed: int = 0) -> tuple[Floats, Labels]:
    """Logits whose softmax at this temperature is the probability with which the label was drawn."""
    rng = np.random.default_rng(seed)
    true = rng.normal(scale=2.0, size=(num_clips, classes))
    noise = rng.gumbel(size=true.shape)  # the maximum with Gumbel noise is a draw from the softmax
    return true * temperature, (true + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature, 20_000)) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_temperature_is_better(seed: int) -> None:
    """Against a search on a grid, with the targets written out clip by clip."""
    logits, labels = drawn(3.0, 12, 3, seed)
    targets = [[(12 / 13) * (c == label) + 1 / 39 for c in range(3)] for label in labels.tolist()]

    def loss(temperature: float) -> float:
        scores = np.exp(logits / temperature)
        scores /= scores.sum(axis=1, keepdims=True)
        return float(-(np.array(targets) * np.log(scores)).sum(axis=1).mean())

    found = fit_temperature(logits, labels)
    assert loss(found) <= min(loss(t) for t in np.geomspace(0.05, 100, 4001)) + 1e-9


def test_a_stream_at_chance_becomes_flat() -> None:
    """Overconfident logits without any relation to the labels, and logits that are wrong throughout."""
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(scale=6.0, size=(400, 2)), rng.integers(0, 2, 400)
    assert softmax(logits).max(axis=1).mean() > 0.9
    flat = softmax(logits / fit_temperature(logits, labels)).max(axis=1).mean()
    assert flat < 0.55
    wrong = -5 * np.eye(2)[np.arange(20) % 2]
    assert fit_temperature(wrong, np.arange(20) % 2) == HIGHEST_TEMPERATURE


def test_a_few_clips_that_are_all_right_do_not_make_a_stream_certain() -> None:
    labels = np.arange(8) % 2
    logits = 3 * np.eye(2)[labels]
    scores = softmax(logits / fit_temperature(logits, labels))
    # The optimum gives each clip its target: 8/9 and a half of the remaining ninth.
    np.testing.assert_allclose(scores.max(axis=1), 8 / 9 + 1 / 18, atol=1e-5)
    tiny = 0.01 * np.eye(2)[labels]
    assert fit_temperature(tiny, labels) == LOWEST_TEMPERATURE


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([0, 1, 0, 1], "4 held-back clips; expected at least 5"), ([1] * 9, "all 9 .* of one class")],
)
def test_degenerate_clips_are_named(labels: list[int], reason: str) -> None:
    numbers = np.array(labels)
    found = degenerate(numbers)
    assert found is not None
    assert re.search(reason, found)
    assert fit_temperature(np.random.default_rng(0).normal(size=(len(labels), 2)), numbers) == 1.0


def test_logits_without_a_difference_keep_their_temperature() -> None:
    assert fit_temperature(np.full((9, 3), 7.0), np.arange(9) % 3) == 1.0


@pytest.mark.parametrize("method", ["product", "softmax"])
@pytest.mark.parametrize("streams", [("spatial",), ("temporal",), ("spatial", "temporal")])
def test_fused_scores_are_those_of_the_formula(method: str, streams: tuple[str, ...]) -> None:
    rng = np.random.default_rng(2)
    logits = {name: rng.normal(size=(7, 4)).astype(np.float32) for name in streams}
    fusion = FusionConfig(method, 1.0, 3.0)  # type: ignore[arg-type]
    weights = {"spatial": 1.0, "temporal": 3.0}
    total = sum(weights[name] for name in streams)
    shares = {name: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for name, z in logits.items()}
    if method == "product":
        mixed = np.prod([shares[name] ** (weights[name] / total) for name in streams], axis=0)
    else:
        mixed = np.sum([shares[name] * weights[name] / total for name in streams], axis=0)
    expected = mixed ** (1 / 2.5)
    expected /= expected.sum(axis=1, keepdims=True)
    found = fused_scores(logits, fusion, Calibration({}, 2.5))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_temperature_keeps_scores_finite() -> None:
    certain = np.array([[1.0, 0.0, 0.0]], np.float32)
    for temperature in (LOWEST_TEMPERATURE, 1.0, HIGHEST_TEMPERATURE):
        scores = with_temperature(certain, temperature)
        assert np.isfinite(scores).all()
        assert scores.sum() == pytest.approx(1)
    assert np.isfinite(log_likelihood_loss(certain, np.array([1])))


def test_the_threshold_keeps_its_promise() -> None:
    """Of new clips that are labeled correctly, 5% or fewer fall below, on average over many draws."""
    rng = np.random.default_rng(3)
    below = []
    for _ in range(400):
        highest = rng.beta(4, 2, size=60) / 2 + 0.5  # held-back clips, all right
        scores = np.stack([highest, 1 - highest], axis=1)
        threshold = fit_threshold(scores, np.zeros(60, int))
        assert threshold is not None
        below.append((rng.beta(4, 2, size=2000) / 2 + 0.5 < threshold).mean())
    assert 0.03 < np.mean(below) <= 0.052


def test_the_threshold_counts_correct_clips_alone() -> None:
    highest = np.linspace(0.6, 0.98, 20)
    scores = np.stack([highest, 1 - highest], axis=1)
    labels = np.zeros(20, int)
    assert fit_threshold(scores, labels) == 0.6
    labels[0] = 1  # now the lowest is wrong, and 19 are right
    assert fit_threshold(scores, labels) == pytest.approx(0.62)
    labels[1] = 1
    assert fit_threshold(scores, labels) is None


def test_a_calibration_survives_being_written() -> None:
    errors = {"spatial": 0.1, "fused": 0.2}
    whole = Calibration({"spatial": 2.0}, 0.5, 0.25, 40, errors, errors, {"fused": 3.0}, {"fused": 1.0})
    assert Calibration.from_dict(json.loads(json.dumps(asdict(whole)))) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"temperatures": {"spatial": 0.0}}, {"temperatures": {"spatial": float("nan")}},
        {"temperatures": {"audio": 1.0}}, {"temperatures": {"spatial": "2"}}, {"temperatures": [1.0]},
        {"temperatures": {"spatial": True}}, {"temperatures": {"spatial": 1e9}},
        {"fused_temperature": -1.0}, {"fused_temperature": None}, {"threshold": 1.5}, {"threshold": "x"},
        {"num_clips": -1}, {"num_clips": 1.5}, {"ece_after": {"fused": 2.0}},
        {"nll_before": {"fused": float("inf")}}, {"more": 1},
    ],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="its calibration"):
        Calibration.from_dict(asdict(Calibration({"spatial": 2.0})) | change)

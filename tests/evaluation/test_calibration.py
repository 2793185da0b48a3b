"""The calibration error against a slow version, and the fit of a run's calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.evaluation.calibration import (
    calibration_errors,
    expected_calibration_error,
    fit_calibration,
)
from hidden_two_stream.recognition.calibration import Calibration, fused_scores


def slow_error(scores: npt.NDArray[np.floating], labels: list[int], bins: int) -> float:
    """Bin by bin, clip by clip, as in the paper."""
    error = 0.0
    for number in range(bins):
        inside = [
            (max(row), int(np.argmax(row)) == label)
            for row, label in zip(scores.tolist(), labels, strict=True)
            if number / bins < max(row) <= (number + 1) / bins
        ]
        if inside:
            confidence = sum(score for score, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(labels) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("bins", [1, 2, 15])
@pytest.mark.parametrize("classes", [2, 5])
def test_against_a_slow_version(bins: int, classes: int) -> None:
    rng = np.random.default_rng(bins)
    scores, labels = rng.dirichlet(np.full(classes, 0.5), size=300), rng.integers(0, classes, 300)
    found = expected_calibration_error(scores, labels, bins)
    assert found == pytest.approx(slow_error(scores, labels.tolist(), bins), abs=1e-12)


def test_exact_cases() -> None:
    certain = np.eye(2)[[0, 0, 0, 0]]
    assert expected_calibration_error(certain, np.array([0, 0, 0, 1])) == pytest.approx(0.25)
    assert expected_calibration_error(certain, np.array([0, 0, 0, 0])) == 0
    even = np.full((4, 2), 0.5)
    assert expected_calibration_error(even, np.array([0, 0, 1, 1])) == 0


def streams(num: int, seed: int) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.int64]]:
    """An overconfident spatial stream at chance, and a temporal stream that knows something, 2 classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    spatial = rng.normal(scale=4.0, size=(num, 2))
    temporal = rng.normal(size=(num, 2)) + 1.2 * np.eye(2)[labels]
    return {"spatial": spatial.astype(np.float32), "temporal": temporal.astype(np.float32)}, labels


@pytest.mark.parametrize("method", ["product", "softmax"])
def test_a_stream_at_chance_no_longer_pulls_the_other_down(method: str) -> None:
    fusion = FusionConfig(method, 1.0, 1.0)  # type: ignore[arg-type]
    held, labels = streams(200, 0)
    calibration = fit_calibration(held, labels, fusion)
    assert calibration is not None
    assert calibration.num_clips == 200
    new, truth = streams(4000, 1)
    alone = (new["temporal"].argmax(axis=1) == truth).mean()
    before = (fused_scores(new, fusion).argmax(axis=1) == truth).mean()
    divided = {
        name: (values / calibration.temperature(name)).astype(np.float32) for name, values in new.items()
    }
    scores = fused_scores(divided, fusion, calibration)
    after = (scores.argmax(axis=1) == truth).mean()
    assert before < alone - 0.05
    assert after > alone - 0.01
    assert (
        expected_calibration_error(scores, truth)
        < 0.06
        < expected_calibration_error(fused_scores(new, fusion), truth)
    )
    assert calibration.ece_after["fused"] < calibration.ece_before["fused"]
    assert calibration.nll_after["spatial"] == pytest.approx(np.log(2), abs=0.01)
    assert calibration.nll_before["spatial"] > 1
    assert calibration.threshold is not None
    assert 0.5 <= calibration.threshold < scores.max()


def test_too_few_clips_give_no_calibration() -> None:
    held, labels = streams(4, 0)
    assert fit_calibration(held, labels, FusionConfig()) is None


def evaluated(logits: dict[str, npt.NDArray[np.float32]], truth: npt.NDArray[np.int64]) -> Evaluation:
    names = tuple(map(str, range(len(truth))))
    fused = fused_scores(logits, FusionConfig())
    return Evaluation(("a", "b"), names, truth, logits, fused, "10x1")


def test_errors_of_several_runs_are_those_of_all_their_videos() -> None:
    """One run with temperatures, one without; the stored logits are already divided."""
    fusion = FusionConfig()
    (raw, truth), (plain, other) = streams(90, 3), streams(30, 4)
    calibration = Calibration({"spatial": 5.0, "temporal": 0.5}, 1.5)
    divided = {
        name: (values / calibration.temperature(name)).astype(np.float32) for name, values in raw.items()
    }
    found = calibration_errors(
        [(evaluated(divided, truth), calibration), (evaluated(plain, other), None)], fusion
    )
    assert found is not None
    labels = np.concatenate((truth, other))
    before = np.concatenate((fused_scores(raw, fusion), fused_scores(plain, fusion)))
    after = np.concatenate((fused_scores(divided, fusion, calibration), fused_scores(plain, fusion)))
    assert found["ece_before"]["fused"] == pytest.approx(slow_error(before, labels.tolist(), 15), abs=1e-6)
    assert found["ece_after"]["fused"] == pytest.approx(slow_error(after, labels.tolist(), 15), abs=1e-6)
    assert found["fused_accuracy_before"] == (before.argmax(axis=1) == labels).mean()
    assert set(found["ece_before"]) == {"spatial", "temporal", "fused"}
    assert calibration_errors([(evaluated(plain, other), None)], fusion) is None

"""Calibration error, and the fit of a run's calibration on held-back clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.calibration import (
    Calibration,
    degenerate,
    fit_temperature,
    fit_threshold,
    fused_scores,
    log_likelihood_loss,
)
from hidden_two_stream.recognition.fusion import FUSIONS
from hidden_two_stream.types import FloatArray

__all__ = ["calibration_figures", "expected_calibration_error", "fit_calibration"]


def expected_calibration_error(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> float:
    """Return the mean distance between the highest score and the accuracy, 0…1.

    Clips are sorted into `bins` bins of equal width by their highest score. Each bin's distance is weighted
    by its number of clips (Guo et al., arXiv 1706.04599, equation 3). With few clips the error is above 0
    even for perfect scores.

    Args:
        scores: (N, classes), rows sum to 1.
        labels: (N,) class numbers.
        bins: number of bins. Bin b holds the scores in (b / bins, (b + 1) / bins].
    """
    highest = np.asarray(scores, np.float64).max(axis=1)
    correct = scores.argmax(axis=1) == labels
    numbers = np.clip(np.ceil(highest * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(numbers, weights=correct - highest, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def fit_calibration(
    logits: Mapping[str, FloatArray], labels: npt.NDArray[np.integer], fusion: FusionConfig
) -> Calibration | None:
    """Return the calibration fitted on held-back clips.

    Args:
        logits: (N, classes) of each stream, without a temperature.
        labels: (N,) class numbers.
        fusion: method and weights of the fusion.

    Returns:
        The calibration; None if the clips are too few or of a single class, see
        `recognition.calibration.degenerate`.
    """
    if degenerate(labels):
        return None
    temperatures = {name: fit_temperature(values, labels) for name, values in logits.items()}
    calibrated = _divided(logits, temperatures)
    mixed = fused_scores(calibrated, fusion)
    fused_temperature = 1.0  # the scores of a single stream are calibrated already
    if len(logits) > 1:
        fused_temperature = fit_temperature(np.log(np.maximum(mixed, np.finfo(np.float32).tiny)), labels)
    before = _scores(logits, fusion, None)
    after = _scores(calibrated, fusion, Calibration(temperatures, fused_temperature))
    return Calibration(
        temperatures,
        fused_temperature,
        fit_threshold(after["fused"], labels),
        len(labels),
        {name: expected_calibration_error(values, labels) for name, values in before.items()},
        {name: expected_calibration_error(values, labels) for name, values in after.items()},
        {name: log_likelihood_loss(values, labels) for name, values in before.items()},
        {name: log_likelihood_loss(values, labels) for name, values in after.items()},
    )


def calibration_figures(recognizer: Recognizer, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Return the calibration of a run as JSON-ready data; None for a run without one.

    With a test result, "test" holds the expected calibration error on the test videos, without
    ("ece_before") and with the temperatures ("ece_after"), of each stream and fused.

    Args:
        recognizer: the run.
        evaluation: its test result; None: it was not tested.
    """
    calibration = recognizer.calibration
    if calibration is None:
        return None
    figures = asdict(calibration)
    if evaluation is not None:
        figures["test"] = _errors(evaluation, recognizer.info.recipe.fusion, calibration)
    return figures


def _errors(
    evaluation: Evaluation, fusion: FusionConfig, calibration: Calibration
) -> dict[str, dict[str, float]]:
    """Return the errors of "test" in `calibration_figures`. The evaluation has calibrated logits."""
    inverse = {name: 1 / calibration.temperature(name) for name in evaluation.logits}
    before = _scores(_divided(evaluation.logits, inverse), fusion, None)
    after = _scores(evaluation.logits, fusion, calibration)
    truth = evaluation.truth
    return {
        "ece_before": {name: expected_calibration_error(values, truth) for name, values in before.items()},
        "ece_after": {name: expected_calibration_error(values, truth) for name, values in after.items()},
    }


def _divided(logits: Mapping[str, FloatArray], divisors: Mapping[str, float]) -> dict[str, FloatArray]:
    return {name: (values / divisors[name]).astype(np.float32) for name, values in logits.items()}


def _scores(
    logits: Mapping[str, FloatArray], fusion: FusionConfig, calibration: Calibration | None
) -> dict[str, FloatArray]:
    """Return the scores of each stream, and "fused" with the fused temperature of a calibration."""
    alone = {name: FUSIONS[fusion.method](values) for name, values in logits.items()}
    return {**alone, "fused": fused_scores(logits, fusion, calibration)}

"""Calibration error, and the fit of a run's calibration on held-back clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from hidden_two_stream.recognition.prototypes import fit_prototypes
from hidden_two_stream.types import FloatArray

__all__ = ["calibration_errors", "calibration_figures", "expected_calibration_error", "fit_calibration"]


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
        fit_prototypes(calibrated, labels, after["fused"].argmax(axis=1)),
    )


def calibration_figures(recognizer: Recognizer, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Return the calibration of a run as JSON-ready data; None for a run without one.

    With a test result, "test" holds what `calibration_errors` returns.

    Args:
        recognizer: the run.
        evaluation: its test result; None: it was not tested.
    """
    calibration = recognizer.calibration
    if calibration is None:
        return None
    figures = asdict(replace(calibration, prototypes=None))
    figures["least_similarity"] = None if calibration.prototypes is None else calibration.prototypes.least
    del figures["prototypes"]
    if evaluation is not None:
        figures["test"] = calibration_errors([(evaluation, calibration)], recognizer.info.recipe.fusion)
    return figures


def calibration_errors(
    parts: Sequence[tuple[Evaluation, Calibration | None]], fusion: FusionConfig
) -> dict[str, Any] | None:
    """Return what calibration changed on test videos, as JSON-ready data; None if nothing is calibrated.

    Args:
        parts: test results, each with the calibration that its logits were divided by. Their videos are
            pooled. None: that run was not calibrated, and its scores are the same before and after.
        fusion: method and weights of the fusion.

    Returns:
        "ece_before" and "ece_after": the expected calibration error without and with the temperatures, of
        each stream and "fused". "fused_accuracy_before": accuracy of the fused scores without temperatures.
    """
    if not any(calibration for _, calibration in parts):
        return None
    pairs = [_before_and_after(evaluation, calibration, fusion) for evaluation, calibration in parts]
    truth = np.concatenate([evaluation.truth for evaluation, _ in parts])
    names = list(pairs[0][0])
    before, after = (
        {name: np.concatenate([pair[place][name] for pair in pairs]) for name in names} for place in (0, 1)
    )
    return {
        "ece_before": {name: expected_calibration_error(before[name], truth) for name in names},
        "ece_after": {name: expected_calibration_error(after[name], truth) for name in names},
        "fused_accuracy_before": float((before["fused"].argmax(axis=1) == truth).mean()),
    }


def _before_and_after(
    evaluation: Evaluation, calibration: Calibration | None, fusion: FusionConfig
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return the scores without and with the temperatures. The evaluation has calibrated logits."""
    after = _scores(evaluation.logits, fusion, calibration)
    if calibration is None:
        return after, after
    inverse = {name: 1 / calibration.temperature(name) for name in evaluation.logits}
    return _scores(_divided(evaluation.logits, inverse), fusion, None), after


def _divided(logits: Mapping[str, FloatArray], divisors: Mapping[str, float]) -> dict[str, FloatArray]:
    return {name: (values / divisors[name]).astype(np.float32) for name, values in logits.items()}


def _scores(
    logits: Mapping[str, FloatArray], fusion: FusionConfig, calibration: Calibration | None
) -> dict[str, FloatArray]:
    """Return the scores of each stream, and "fused" with the fused temperature of a calibration."""
    alone = {name: FUSIONS[fusion.method](values) for name, values in logits.items()}
    return {**alone, "fused": fused_scores(logits, fusion, calibration)}

"""Calibration: temperatures that make scores mean what they say, and the score below which no class fits.

A network's scores are usually too high: of the clips with a score of 0.9, fewer than 90% are right.
Temperature scaling (Guo et al., arXiv 1706.04599) divides the logits by one number T, which is fitted on
clips that the network was not trained on. It never changes which class of a stream is best. A stream at
chance gets a large T, so its scores become flat, and the product of the streams no longer listens to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.config.stages import STREAMS
from hidden_two_stream.recognition.fusion import fuse, softmax
from hidden_two_stream.recognition.prototypes import Prototypes, conformal_limit
from hidden_two_stream.types import FloatArray

__all__ = [
    "FEWEST_CLIPS",
    "HIGHEST_TEMPERATURE",
    "LOWEST_TEMPERATURE",
    "Calibration",
    "degenerate",
    "fit_temperature",
    "fit_threshold",
    "fused_scores",
    "log_likelihood_loss",
    "with_temperature",
]

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 100.0
FEWEST_CLIPS = 5
"""Held-back clips that a fit needs; with fewer, temperatures stay 1."""

_HALVINGS = 60
_SMALLEST_SCORE = 1e-38  # scores are float32: a smaller one is 0, whose logarithm is not finite

_Floats = npt.NDArray[np.floating]
_Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Calibration:
    """What was fitted on clips that were held back from training.

    The errors are those of the held-back clips, by stream and "fused". They are measured on the clips of the
    fit, which flatters the figures "after" a little.

    Attributes:
        temperatures: divisor of the logits of each stream.
        fused_temperature: temperature of the fused scores, see `with_temperature`.
        threshold: the fused score below which no class fits; None: too few clips for one.
        prototypes: what the classes' logits look like; None: too few clips. Where there are prototypes, they
            decide which clips are of no class, and not the threshold: they notice far more.
        num_clips: number of held-back clips.
        ece_before, ece_after: expected calibration error without and with the temperatures, 0…1.
        nll_before, nll_after: mean negative log likelihood without and with the temperatures, nats.
    """

    temperatures: Mapping[str, float]
    fused_temperature: float = 1.0
    threshold: float | None = None
    num_clips: int = 0
    ece_before: Mapping[str, float] = field(default_factory=dict)
    ece_after: Mapping[str, float] = field(default_factory=dict)
    nll_before: Mapping[str, float] = field(default_factory=dict)
    nll_after: Mapping[str, float] = field(default_factory=dict)
    prototypes: Prototypes | None = None

    def temperature(self, stream: str) -> float:
        """Return the temperature of a stream; 1 for a stream that was not calibrated."""
        return self.temperatures.get(stream, 1.0)

    @classmethod
    def from_dict(cls, data: object) -> Calibration:
        """Return the calibration that `dataclasses.asdict` made plain.

        Raises:
            ValueError: a field is missing or unknown, a stream is unknown, or a number is out of range.
        """
        names = set(cls.__dataclass_fields__)
        if not isinstance(data, Mapping) or set(data) | {"prototypes"} != names:  # older runs have none
            raise ValueError(f"its calibration is {str(data)[:60]!r}; expected {', '.join(sorted(names))}")
        prototypes = data.get("prototypes")
        if prototypes is not None:
            prototypes = Prototypes.from_dict(prototypes, STREAMS)
        calibration = cls(**{**data, "prototypes": prototypes})
        count, threshold = calibration.num_clips, calibration.threshold
        if type(count) is not int or count < 0:
            raise ValueError(f"its calibration has num_clips {str(count)[:60]!r}; expected a whole number")
        _require_numbers("temperatures", calibration.temperatures, STREAMS, LOWEST_TEMPERATURE)
        fused = {"fused": calibration.fused_temperature}
        _require_numbers("fused_temperature", fused, ("fused",), LOWEST_TEMPERATURE)
        if threshold is not None:
            _require_numbers("threshold", {"fused": threshold}, ("fused",), 0.0, 1.0)
        for name in ("ece_before", "ece_after", "nll_before", "nll_after"):
            most = 1.0 if name.startswith("ece") else math.inf
            _require_numbers(name, getattr(calibration, name), (*STREAMS, "fused"), 0.0, most)
        return calibration


def _require_numbers(
    what: str, values: object, known: tuple[str, ...], least: float, most: float | None = None
) -> None:
    """Raise a ValueError unless `values` maps known names to finite numbers in a range."""
    most = HIGHEST_TEMPERATURE if most is None else most
    if not isinstance(values, Mapping) or not set(values) <= set(known):
        raise ValueError(f"its calibration has {what} {str(values)[:60]!r}; known are {', '.join(known)}")
    for name, value in values.items():
        if type(value) not in (int, float) or not (math.isfinite(value) and least <= value <= most):
            raise ValueError(
                f"its calibration has {what} {value!r} of {name!r}; expected {least:g} to {most:g}"
            )


def degenerate(labels: _Labels) -> str | None:
    """Return why nothing can be fitted on clips of these classes; None: it can."""
    if len(labels) < FEWEST_CLIPS:
        return f"{len(labels)} held-back clips; expected at least {FEWEST_CLIPS}"
    if len(np.unique(labels)) < 2:
        return f"all {len(labels)} held-back clips are of one class; expected two or more"
    return None


def fit_temperature(logits: _Floats, labels: _Labels) -> float:
    """Return the temperature T with the smallest mean negative log likelihood of `softmax(logits / T)`.

    The likelihood is convex in 1/T, so its slope is bisected. As in Platt scaling (Platt 1999), a share of
    1/(N+1) of each target is spread over all classes: one clip more might have been of any class. Without
    this, a handful of clips that are all right would ask for T = 0.

    Args:
        logits: (N, classes) of clips that the network was not trained on.
        labels: (N,) class numbers.

    Returns:
        T, limited to 0.05…100; 1 where nothing can be fitted, see `degenerate`.
    """
    values = np.asarray(logits, np.float64)
    values = values - values.max(axis=1, keepdims=True)
    if degenerate(labels) or not values.any():
        return 1.0
    count, classes = values.shape
    targets = np.full((count, classes), 1 / ((count + 1) * classes))
    targets[np.arange(count), labels] += count / (count + 1)

    def slope(sharpness: float) -> float:
        scores = np.exp(sharpness * values)
        scores /= scores.sum(axis=1, keepdims=True)
        return float(((scores - targets) * values).sum(axis=1).mean())

    if slope(1 / HIGHEST_TEMPERATURE) >= 0:
        return HIGHEST_TEMPERATURE
    if slope(1 / LOWEST_TEMPERATURE) <= 0:
        return LOWEST_TEMPERATURE
    low, high = math.log(1 / HIGHEST_TEMPERATURE), math.log(1 / LOWEST_TEMPERATURE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def with_temperature(scores: FloatArray, temperature: float) -> FloatArray:
    """Return scores (…, classes) that sum to 1 with a temperature applied to their logarithms.

    For scores that are a softmax, this divides the logits by the temperature.
    """
    return softmax(np.log(np.maximum(scores, _SMALLEST_SCORE, dtype=np.float64)) / temperature)


def fused_scores(
    logits: Mapping[str, FloatArray], fusion: FusionConfig, calibration: Calibration | None = None
) -> FloatArray:
    """Return the fused scores (…, classes) of the streams, each row sums to 1.

    Args:
        logits: (…, classes) of each stream, divided by its temperature if there is a calibration.
        fusion: method and weights.
        calibration: its fused temperature is applied; None: there is none.
    """
    weights = {"spatial": fusion.spatial_weight, "temporal": fusion.temporal_weight}
    fused = fuse(list(logits.values()), [weights[name] for name in logits], fusion.method)
    return fused if calibration is None else with_temperature(fused, calibration.fused_temperature)


def log_likelihood_loss(scores: _Floats, labels: _Labels) -> float:
    """Return the mean negative log likelihood of the classes (N,) under scores (N, classes), nats."""
    chosen = np.asarray(scores, np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _SMALLEST_SCORE)).mean())


def fit_threshold(scores: _Floats, labels: _Labels) -> float | None:
    """Return the score that at most 5% of the clips with the correct label will fall below.

    A new clip that is labeled correctly falls below it with a probability of at most 0.05, whatever the
    scores' distribution, if it is drawn as these clips were, see `conformal_limit`.

    Args:
        scores: (N, classes) fused scores.
        labels: (N,) class numbers.

    Returns:
        The threshold; None with fewer than 19 correct clips, which cannot keep such a promise.
    """
    return conformal_limit(scores.max(axis=1)[scores.argmax(axis=1) == labels])

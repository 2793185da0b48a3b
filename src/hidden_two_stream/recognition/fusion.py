"""Late fusion of the two streams' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import FloatArray

__all__ = ["FUSIONS", "fuse", "l1_normalize", "softmax"]

Scores = npt.NDArray[np.floating]


def l1_normalize(logits: Scores) -> FloatArray:
    """Negative scores clipped to 0, then each row divided by its sum (the reference's rule).

    `logits` (N, classes) → (N, classes); a row without positive scores becomes uniform.
    """
    positive = np.maximum(np.asarray(logits, dtype=np.float64), 0)
    total = positive.sum(axis=-1, keepdims=True)
    uniform = 1 / positive.shape[-1]
    shares = np.where(total > 0, positive / np.where(total > 0, total, 1), uniform)
    return np.asarray(shares, np.float32)


def softmax(logits: Scores) -> FloatArray:
    """Softmax over the last axis, (N, classes) → (N, classes)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


FUSIONS: dict[str, Callable[[Scores], FloatArray]] = {"softmax": softmax, "l1": l1_normalize}


def fuse(logits: Sequence[Scores], weights: Sequence[float], method: str = "softmax") -> FloatArray:
    """Weighted mean of the streams' normalised scores; the reference: l1, spatial + 1.5 × temporal.

    Args:
        logits: one (N, classes) array per stream.
        weights: one per stream, not negative, not all zero.
        method: "softmax" or "l1".

    Returns:
        (N, classes) scores; each row sums to 1.

    Raises:
        UsageError: the numbers of streams and weights differ, shapes differ, a weight is negative, a score is
            not finite, or the method is unknown.
    """
    if method not in FUSIONS:
        raise UsageError(f"unknown fusion {method!r}; choose one of {', '.join(FUSIONS)}")
    if len(logits) != len(weights) or not logits:
        raise UsageError(f"{len(logits)} score arrays but {len(weights)} weights; give one weight per stream")
    if not (np.isfinite(weights).all() and min(weights) >= 0 and sum(weights) > 0):
        raise UsageError(f"fusion weights must be finite, not negative, not all zero; got {tuple(weights)}")
    if len({np.shape(scores) for scores in logits}) > 1:
        raise UsageError(f"score arrays have different shapes: {[np.shape(scores) for scores in logits]}")
    if not all(np.isfinite(scores).all() for scores in logits):
        raise UsageError("scores must be finite numbers; some are NaN or infinite")
    normalize = FUSIONS[method]
    largest = max(weights)
    shares = [weight / largest for weight in weights]  # first, as huge weights would overflow
    mixed = sum(share * normalize(scores) for share, scores in zip(shares, logits, strict=True))
    return np.asarray(mixed / sum(shares), dtype=np.float32)

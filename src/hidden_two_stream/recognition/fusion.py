"""Late fusion of the two streams' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import FloatArray

__all__ = ["FUSIONS", "SUMMANDS", "fuse", "l1_normalize", "log_softmax", "softmax"]

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


def log_softmax(logits: Scores) -> FloatArray:
    """Logarithm of the softmax over the last axis, (N, classes) → (N, classes)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


FUSIONS: dict[str, Callable[[Scores], FloatArray]] = {
    "softmax": softmax,
    "l1": l1_normalize,
    "product": softmax,
}
"""What a stream alone says by each method: rows sum to 1."""

SUMMANDS = FUSIONS | {"product": log_softmax}
"""What is averaged over streams."""


def fuse(logits: Sequence[Scores], weights: Sequence[float], method: str = "softmax") -> FloatArray:
    """Late fusion: weighted mean of the streams' scores; the reference: l1, spatial + 1.5 × temporal.

    "softmax" and "l1" average probabilities, arithmetically. "product" is their geometric mean, the product
    rule for classifiers that see different things (Kittler et al., PAMI 1998): a stream that excludes a class
    is heard, and one that knows nothing changes nothing.

    Args:
        logits: one (N, classes) array per stream.
        weights: one per stream, not negative, not all zero.
        method: "softmax", "l1" or "product".

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
    summand = SUMMANDS[method]
    largest = max(weights)
    shares = [weight / largest for weight in weights]  # first, as huge weights would overflow
    weighted = [share * summand(scores) for share, scores in zip(shares, logits, strict=True)]
    mixed = np.sum(weighted, axis=0) / sum(shares)
    return softmax(mixed) if method == "product" else np.asarray(mixed, dtype=np.float32)

"""Late fusion of the streams' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import FloatArray

__all__ = ["FUSIONS", "FUSION_TERMS", "check_fusion", "fuse", "l1_normalize", "log_softmax", "softmax"]

_Logits = npt.NDArray[np.floating]


def l1_normalize(logits: _Logits) -> FloatArray:
    """Clip negative scores to 0, then divide each row by its sum.

    This is the reference's rule.

    Args:
        logits: (N, classes).

    Returns:
        (N, classes); a row without positive scores becomes uniform.
    """
    positive = np.maximum(np.asarray(logits, dtype=np.float64), 0)
    total = positive.sum(axis=-1, keepdims=True)
    uniform = 1 / positive.shape[-1]
    shares = np.where(total > 0, positive / np.where(total > 0, total, 1), uniform)
    return np.asarray(shares, np.float32)


def softmax(logits: _Logits) -> FloatArray:
    """Return the softmax over the last axis, (N, classes) to (N, classes)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


def log_softmax(logits: _Logits) -> FloatArray:
    """Return the logarithm of the softmax over the last axis, (N, classes) to (N, classes)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


FUSIONS: dict[str, Callable[[_Logits], FloatArray]] = {
    "softmax": softmax,
    "l1": l1_normalize,
    "product": softmax,
}
"""Fusion method → the scores of one stream alone, from its logits: each row sums to 1."""

FUSION_TERMS = FUSIONS | {"product": log_softmax}
"""Fusion method → the term that `fuse` averages over the streams."""


def check_fusion(method: str) -> None:
    """Reject unknown names of fusion methods.

    Raises:
        UsageError: `method` is not in `FUSIONS`.
    """
    if method not in FUSIONS:
        raise UsageError(f"unknown fusion {method!r}; choose one of {', '.join(FUSIONS)}")


def fuse(logits: Sequence[_Logits], weights: Sequence[float], method: str = "softmax") -> FloatArray:
    """Return the late fusion: the weighted mean of the streams' scores.

    "softmax" and "l1" are arithmetic means of probabilities. "product" is their geometric mean: the product
    rule for classifiers with independent inputs (Kittler et al., PAMI 1998). With it, a stream can rule out a
    class, and a stream with uniform scores changes nothing.

    The reference uses "l1" with weight 1 for the spatial stream and 1.5 for the temporal stream.

    Args:
        logits: one (N, classes) array per stream.
        weights: one per stream, not negative, not all zero.
        method: "softmax", "l1" or "product".

    Returns:
        (N, classes) scores; each row sums to 1.

    Raises:
        UsageError: the method is unknown, the numbers of arrays and weights differ, a weight is negative or
            not finite, all weights are zero, shapes differ, or a score is not finite.
    """
    check_fusion(method)
    if len(logits) != len(weights) or not logits:
        raise UsageError(f"{len(logits)} score arrays but {len(weights)} weights; give one weight per stream")
    if not (np.isfinite(weights).all() and min(weights) >= 0 and sum(weights) > 0):
        raise UsageError(f"got fusion weights {tuple(weights)}; expected finite, not negative, not all zero")
    if len({np.shape(scores) for scores in logits}) > 1:
        raise UsageError(
            f"score arrays have different shapes, {[np.shape(scores) for scores in logits]}; "
            "give one row per video and one column per class in each"
        )
    if not all(np.isfinite(scores).all() for scores in logits):
        raise UsageError("some scores are NaN or infinite; expected finite numbers")
    term = FUSION_TERMS[method]
    largest = max(weights)
    shares = [weight / largest for weight in weights]  # first, because huge weights would overflow
    weighted = [share * term(scores) for share, scores in zip(shares, logits, strict=True)]
    mixed = np.sum(weighted, axis=0) / sum(shares)
    return softmax(mixed) if method == "product" else np.asarray(mixed, dtype=np.float32)

"""Combines the logits of a video's windows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hidden_two_stream.inference.windows import ScoredWindow
from hidden_two_stream.types import FloatArray

__all__ = ["mean_logits"]


def mean_logits(windows: Iterable[ScoredWindow]) -> dict[str, FloatArray]:
    """Return the mean logits (classes,) float32 of each stream over all windows, before any softmax.

    Averaging before the softmax is the reference's test protocol. Without windows the result is empty.
    """
    rows: dict[str, list[npt.NDArray[np.float64]]] = {}
    for window in windows:
        for name, logits in window.logits.items():
            rows.setdefault(name, []).append(logits)
    return {name: np.mean(row, axis=0).astype(np.float32) for name, row in rows.items()}

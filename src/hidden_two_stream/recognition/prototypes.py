"""Clips of no known class: do the logits look like those of the class that they name?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hidden_two_stream.types import FloatArray

__all__ = ["MISSED_SHARE", "MOST_CLASSES", "Prototypes", "conformal_limit", "fit_prototypes"]

MISSED_SHARE = 0.05
"""Share of the correctly labeled clips that may fall below a limit."""

MOST_CLASSES = 500
"""With more classes there are no prototypes: they would take more room than the networks."""

_DIGITS = 4  # of the numbers in a checkpoint's description

_Floats = npt.NDArray[np.floating]
_Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Prototypes:
    """What the logits of each class's clips look like, and how like them a clip's logits must be.

    A clip of no known class may have a high score, because scores only compare the known classes. Its logits
    are another mixture, though. As with the mean activation vectors of OpenMax (Bendale and Boult, CVPR
    2016), they are compared with the mean of the class that they name; here by the cosine, and with a limit
    from clips that were held back.

    Attributes:
        streams: the streams, in the order of the vectors.
        vectors: (classes, streams · classes), unit length: the mean of the logits of each class's held-back
            clips, divided by the streams' temperatures, less their mean over the classes.
        least: the cosine, −1…1, below which no class fits.
    """

    streams: tuple[str, ...]
    vectors: Sequence[Sequence[float]] = field(repr=False)
    least: float

    def similarity(self, logits: Mapping[str, FloatArray], best: npt.NDArray[np.integer] | int) -> FloatArray:
        """Return the cosine (…) between logits and the prototype of a class.

        Args:
            logits: (…, classes) of each stream, divided by its temperature.
            best: (…,) class numbers.
        """
        chosen = np.asarray(self.vectors, np.float64)[best]
        vectors = _vectors(logits, self.streams)
        return np.asarray((_unit(vectors) * chosen).sum(axis=-1), np.float32)

    @classmethod
    def from_dict(cls, data: object, known: Sequence[str]) -> Prototypes:
        """Return the prototypes that `dataclasses.asdict` made plain.

        Args:
            data: the plain form.
            known: names that streams may have.

        Raises:
            ValueError: a field is missing or unknown, or a value is out of range.
        """
        if not isinstance(data, Mapping) or set(data) != set(cls.__dataclass_fields__):
            raise ValueError(f"its prototypes are {str(data)[:60]!r}; expected streams, vectors and least")
        streams, least = data["streams"], data["least"]
        if not isinstance(streams, list | tuple) or not streams or not set(streams) <= set(known):
            raise ValueError(
                f"its prototypes have the streams {str(streams)[:60]!r}; known are {', '.join(known)}"
            )
        if type(least) not in (int, float) or not -1 <= least <= 1:
            raise ValueError(f"its prototypes have the limit {str(least)[:60]!r}; expected -1 to 1")
        try:
            vectors = np.array(data["vectors"], np.float64)
        except (TypeError, ValueError):
            vectors = np.zeros(0)
        if vectors.ndim != 2 or vectors.shape[1] != len(streams) * len(vectors):
            raise ValueError("its prototypes have vectors of another size than their classes")
        if not (np.abs(np.linalg.norm(vectors, axis=1) - 1) < 0.01).all():
            raise ValueError("its prototypes have vectors that are not of unit length")
        return cls(tuple(streams), tuple(map(tuple, vectors.tolist())), float(least))


def fit_prototypes(logits: Mapping[str, FloatArray], labels: _Labels, best: _Labels) -> Prototypes | None:
    """Return the prototypes of held-back clips.

    A clip that is labeled correctly is compared with the mean of its class's other clips, so that the limit
    is one for new clips.

    Args:
        logits: (N, classes) of each stream, divided by its temperature.
        labels: (N,) class numbers.
        best: (N,) class numbers that the fused scores name.

    Returns:
        The prototypes; None if a class has fewer than two clips, if fewer than 19 clips are labeled
        correctly, or if there are more than `MOST_CLASSES` classes.
    """
    streams = tuple(sorted(logits))
    classes = logits[streams[0]].shape[1]
    counts = np.bincount(labels, minlength=classes)
    if classes > MOST_CLASSES or (counts < 2).any():
        return None
    vectors = _vectors(logits, streams)
    sums = np.stack([vectors[labels == number].sum(axis=0) for number in range(classes)])
    if not (np.linalg.norm(sums, axis=1) > 0).all():
        return None
    similar = (_unit(vectors) * _unit(sums[labels] - vectors)).sum(axis=1)
    least = conformal_limit(similar[best == labels])
    if least is None:
        return None
    rounded = np.round(_unit(sums), _DIGITS)
    return Prototypes(streams, tuple(map(tuple, rounded.tolist())), max(-1.0, least))


def conformal_limit(values: _Floats) -> float | None:
    """Return the value that at most 5% of new values, drawn as these were, will fall below.

    It is the k-th smallest of n values, k = ⌊0.05 · (n + 1)⌋ (split conformal prediction: Papadopoulos et
    al., ECML 2002); None with fewer than 19, which cannot keep such a promise.
    """
    rank = math.floor(MISSED_SHARE * (len(values) + 1) + 1e-9)
    return float(np.sort(values)[rank - 1]) if rank >= 1 else None


def _vectors(logits: Mapping[str, FloatArray], streams: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (…, streams · classes) logits, each stream's less their mean."""
    parts = [np.asarray(logits[name], np.float64) for name in streams]
    return np.concatenate([values - values.mean(axis=-1, keepdims=True) for values in parts], axis=-1)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))

"""The weights of a late fusion that are best on validation videos."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.fusion import FUSION_TERMS

__all__ = ["search_weights"]

_STEPS_PER_UNIT, _STEPS = 10, 40  # the grid: 0, 0.1 ... 4
_Point = tuple[int, ...]


def search_weights(
    values: Sequence[npt.NDArray[np.floating]], truth: npt.NDArray[np.int64], method: str
) -> list[float]:
    """The weights with the best accuracy: 1 for the first stream, 0, 0.1 ... 4 for each other one.

    Where several are best, neighbours on the grid form plateaus. Of the plateau that comes nearest to equal
    weights the point in the middle is taken: the one nearest to the plateau's mean, then to equal weights.

    Args:
        values: two or three streams, (N, classes) each.
        truth: (N,) class numbers.
        method: "l1", "softmax" or "product".

    Raises:
        UsageError: there are fewer or more streams.
    """
    if not 2 <= len(values) <= 3:
        raise UsageError(f"--search takes two or three streams, not {len(values)}; give --weights instead")
    shares = [FUSION_TERMS[method](scores) for scores in values]
    right: dict[_Point, int] = {}
    for point in itertools.product(range(_STEPS + 1), repeat=len(values) - 1):
        mixed = shares[0].copy()
        for steps, share in zip(point, shares[1:], strict=True):
            mixed += steps / _STEPS_PER_UNIT * share
        right[point] = int((mixed.argmax(axis=1) == truth).sum())
    best = max(right.values())
    chosen = _middle({point for point, count in right.items() if count == best})
    return [1.0, *(steps / _STEPS_PER_UNIT for steps in chosen)]


def _middle(points: set[_Point]) -> _Point:
    """The middle of the plateau that is nearest to equal weights."""

    def away(point: _Point) -> int:
        return sum((steps - _STEPS_PER_UNIT) ** 2 for steps in point)

    start = min(points, key=lambda point: (away(point), point))
    plateau, edge = {start}, [start]
    while edge:
        point = edge.pop()
        for axis, step in itertools.product(range(len(point)), (-1, 1)):
            neighbour = (*point[:axis], point[axis] + step, *point[axis + 1 :])
            if neighbour in points and neighbour not in plateau:
                plateau.add(neighbour)
                edge.append(neighbour)
    # In whole numbers (coordinates times the size of the plateau), so that ties are ties.
    size, total = len(plateau), [sum(axis) for axis in zip(*plateau, strict=True)]

    def off(point: _Point) -> int:
        return sum((steps * size - whole) ** 2 for steps, whole in zip(point, total, strict=True))

    return min(plateau, key=lambda point: (off(point), away(point), point))

"""Divides training videos into parts that are held back in turn; no recording or group is in two parts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from hidden_two_stream.data.samples import Sample

__all__ = ["held_back_parts"]


def held_back_parts(
    samples: Sequence[Sample], num_parts: int, seed: int, column: str | None = None
) -> list[tuple[Sample, ...]]:
    """Return disjoint parts of the samples, each with about the same number of each class.

    Clips that were cut from one file stay together. With a column, so do the samples of each of its values:
    the groups that a run will meet are others than those of its training.

    A part leaves samples of each of its classes outside. Where it would not, the groups with the class are
    in no part, so fewer samples than all may be held back.

    Args:
        samples: the training samples.
        num_parts: number of parts, at least 2; fewer are returned if there are fewer groups.
        seed: of the order in which groups of the same size are dealt out.
        column: column of the dataset whose values are groups; None: every recording is a group. A column with
            a single value in `samples` counts as None.
    """
    groups = _groups(samples, column)
    if column is not None and len(groups) < 2:
        groups = _groups(samples, None)
    random.Random(f"held back/{seed}").shuffle(groups)
    groups.sort(key=len, reverse=True)
    num_parts = min(num_parts, len(groups))
    parts: list[list[list[Sample]]] = [[] for _ in range(num_parts)]
    counts = [Counter[str]() for _ in range(num_parts)]
    for group in groups:
        labels = Counter(sample.label for sample in group)

        def crowding(part: int, labels: Counter[str] = labels) -> tuple[int, int, int]:
            same = sum(number * counts[part][label] for label, number in labels.items())
            return same, counts[part].total(), part

        chosen = min(range(num_parts), key=crowding)
        parts[chosen].append(group)
        counts[chosen].update(labels)
    total = Counter(sample.label for sample in samples)
    kept = [_leaving_every_class(part, total) for part in parts]
    return [part for part in kept if part]


def _groups(samples: Sequence[Sample], column: str | None) -> list[list[Sample]]:
    """Return the samples in groups: those that share a file or a value of the column, directly or not."""
    parent = list(range(len(samples)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, sample in enumerate(samples):
        keys = [("path", sample.path)]
        if column is not None:
            keys.append(("column", sample.columns.get(column, "")))
        for key in keys:
            parent[root(index)] = root(first.setdefault(key, index))
    found: dict[int, list[Sample]] = {}
    for index, sample in enumerate(samples):
        found.setdefault(root(index), []).append(sample)
    return list(found.values())


def _leaving_every_class(part: list[list[Sample]], total: Counter[str]) -> tuple[Sample, ...]:
    """Return the samples of a part without the groups that hold a class of which no sample is outside."""
    held = Counter(sample.label for group in part for sample in group)
    whole = {label for label, number in held.items() if number == total[label]}
    return tuple(s for group in part if not whole & {sample.label for sample in group} for s in group)

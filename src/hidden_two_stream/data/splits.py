"""Divides a dataset into training and test: by its own split, by a random draw, or by a held-out group."""

from __future__ import annotations

import random
import re
from collections.abc import Container
from dataclasses import dataclass, replace

from hidden_two_stream.data.samples import DatasetIndex, Sample, clean_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.progress import number_of

__all__ = ["Split", "divide", "draw_per_class", "group_values", "hold_out", "own_split", "split_dataset"]


@dataclass(frozen=True)
class Split:
    """The division of a dataset.

    Attributes:
        train: samples for training.
        test: samples for the test.
        rule: how the two were divided, in words for a person.
        val: samples of the dataset's own split that are in neither.
    """

    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    rule: str
    val: tuple[Sample, ...] = ()


def own_split(dataset: DatasetIndex) -> Split | None:
    """Return the dataset's own split; None if it has none.

    The test part is "test". Samples in "val" are left for the user, except where no sample is in "test":
    then "val" is the test part.

    Raises:
        DataError: some samples have a split and others don't.
    """
    parts: dict[str | None, list[Sample]] = {}
    for sample in dataset.samples:
        parts.setdefault(sample.split, []).append(sample)
    if not parts.keys() - {None}:
        return None
    if None in parts:
        missing = parts[None][0].name
        raise DataError(f"{dataset.source}: {missing!r} has no split while others have; fill in all or none")
    rule, val = "the data set's own split", parts.get("val", [])
    if dataset.test_split == "val":
        rule, val = f"{rule}, with val as the test part because none is named test", []
    elif val:
        rule += f", val left out ({number_of(len(val), 'video')})"
    train, test = parts.get("train", ()), parts.get(dataset.test_split, ())
    return Split(tuple(train), tuple(test), rule, tuple(val))


def split_dataset(dataset: DatasetIndex, test_fraction: float = 0.25, seed: int = 0) -> Split:
    """Divide by the dataset's own split if it has one, else by a random draw within each class.

    Args:
        dataset: the samples.
        test_fraction: share of each class to draw for the test. At least one sample of each class is drawn
            and at least one is left for training. 0 draws none: all samples are for training.
        seed: of the draw.

    Raises:
        UsageError: the fraction is out of range.
        DataError: a class has only one sample, some samples have a split and others don't, or a class has no
            training sample.
    """
    own = own_split(dataset)
    if own is not None:
        return _all_classes_trained(dataset, own)
    if not 0 <= test_fraction < 1:
        raise UsageError(f"test fraction is {test_fraction}; expected at least 0 and below 1")
    if test_fraction == 0:
        return Split(dataset.samples, (), "no test samples: all are used for training")
    drawn: set[int] = set()
    for label in dataset.classes:
        members = [index for index, sample in enumerate(dataset.samples) if sample.label == label]
        if len(members) == 1:
            raise DataError(
                f"class {label!r} has only one video, which cannot be both in training and in the test; "
                "add videos, or pass --test-fraction 0 to train on all videos without a test"
            )
        count = min(max(1, round(test_fraction * len(members))), len(members) - 1)
        drawn.update(random.Random(f"{seed}/{label}").sample(members, count))
    train = tuple(sample for index, sample in enumerate(dataset.samples) if index not in drawn)
    test = tuple(sample for index, sample in enumerate(dataset.samples) if index in drawn)
    return Split(train, test, f"stratified draw, {test_fraction:g} of each class for test, seed {seed}")


def group_values(dataset: DatasetIndex, column: str) -> tuple[str, ...]:
    """The distinct values of a CSV column, in natural order (2 before 10).

    Raises:
        DataError: the column is missing, empty for a sample, or has only one value.
    """
    column = clean_text(column)
    for sample in dataset.samples:
        if not sample.columns.get(column, "").strip():
            known = (
                f"columns are {', '.join(sample.columns)}" if sample.columns else "a folder has no columns"
            )
            raise DataError(f"{dataset.source}: {sample.name!r} has no {column!r}; {known}")
    values = {sample.columns[column] for sample in dataset.samples}
    if len(values) < 2:
        raise DataError(f"{dataset.source}: column {column!r} has only one value; folds need at least two")
    return tuple(sorted(values, key=lambda value: (_natural_key(value), value)))


def _natural_key(text: str) -> list[str | tuple[int, str]]:
    parts = enumerate(re.split(r"([0-9]+)", text))
    # A number is compared by its length first: `int` refuses thousands of digits.
    return [(len(number := part.lstrip("0")), number) if i % 2 else part for i, part in parts]


def hold_out(dataset: DatasetIndex, column: str, value: str) -> Split:
    """Hold out the samples whose `column` is `value` for the test; all others are for training.

    Raises:
        DataError: no sample has that value, or a class is left without training samples.
    """
    train = tuple(sample for sample in dataset.samples if sample.columns.get(column) != value)
    test = tuple(sample for sample in dataset.samples if sample.columns.get(column) == value)
    if not test:
        raise DataError(f"{dataset.source}: no sample has {column} {value!r}")
    return _all_classes_trained(dataset, Split(train, test, f"held out: {column} {value}"))


def draw_per_class(split: Split, count: int, seed: int, readable: Container[str]) -> Split:
    """Keep at most `count` training samples of each class, drawn with the seed; the test part stays.

    With one seed, the samples of a smaller count are among those of a larger one.

    Args:
        split: the division to draw from.
        count: number of samples, at least 1.
        seed: of the draw. A class is drawn alike whatever other classes there are.
        readable: names of the samples to draw from.

    Raises:
        UsageError: the count is less than 1.
    """
    if count < 1:
        raise UsageError(f"got {count} clips of each class; expected at least 1")
    members: dict[str, list[str]] = {}
    for sample in split.train:
        if sample.name in readable:
            members.setdefault(sample.label, []).append(sample.name)
    drawn = {
        name
        for label, names in members.items()
        for name in random.Random(f"{seed}/{label}").sample(names, len(names))[:count]
    }
    train = tuple(sample for sample in split.train if sample.name in drawn)
    rule = f"{split.rule}; at most {number_of(count, 'training video')} of each class, drawn with seed {seed}"
    return replace(split, train=train, rule=rule)


def divide(dataset: DatasetIndex, held_out: str | None, test_fraction: float, seed: int) -> Split:
    """Divide as `hold_out` if a group is held out, else as `split_dataset`.

    Args:
        dataset: the samples.
        held_out: the group, as "COLUMN=VALUE"; None: no group.
        test_fraction, seed: as for `split_dataset`.

    Raises:
        UsageError: `held_out` does not have that form.
        DataError: as `hold_out` and `split_dataset`.
    """
    if held_out is None:
        return split_dataset(dataset, test_fraction, seed)
    column, equals, value = clean_text(held_out).partition("=")
    if not (column and equals and value):
        raise UsageError(f"cannot hold out {held_out!r}; expected COLUMN=VALUE, for example subject=3")
    known = group_values(dataset, column)
    if value not in known:
        raise DataError(f"{dataset.source}: no sample has {column} {value!r}; there are {', '.join(known)}")
    return hold_out(dataset, column, value)


def _all_classes_trained(dataset: DatasetIndex, split: Split) -> Split:
    """Return `split`, or raise a DataError that names the classes without training samples."""
    trained = {sample.label for sample in split.train}
    untrained = [label for label in dataset.classes if label not in trained]
    if untrained:
        raise DataError(f"{dataset.source}: no training video of {untrained} ({split.rule}); add some")
    return split

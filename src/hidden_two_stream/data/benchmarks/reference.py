"""Data sets by name, such as `ucf101:ROOT:1`, `hmdb51:ROOT:1..3`, `thumos14:ROOT` or `tsn:TRAIN.txt`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from hidden_two_stream.errors import UsageError

__all__ = ["NAMES", "NUM_SPLITS", "Reference", "parse_reference", "parse_splits"]

NAMES = ("ucf101", "hmdb51", "thumos14", "activitynet", "kinetics", "tsn")
NUM_SPLITS = {"ucf101": 3, "hmdb51": 3}


@dataclass(frozen=True)
class Reference:
    """A data set by name.

    Attributes:
        name: one of `NAMES`.
        paths: its folder or file; of "tsn" the list for training and, if given, the one for the test.
        splits: numbers of the official splits that are meant; empty for data sets that have one division.
    """

    name: str
    paths: tuple[str, ...]
    splits: tuple[int, ...] = ()

    @property
    def root(self) -> Path:
        """The folder or file, of "tsn" the list for training."""
        return Path(self.paths[0])

    def absolute(self) -> Reference:
        """The same from any working folder."""
        return replace(self, paths=tuple(str(Path(path).resolve()) for path in self.paths))

    def of_split(self, number: int) -> Reference:
        """One of the splits."""
        return replace(self, splits=(number,))

    def __str__(self) -> str:
        numbers = {0: "", 1: ":{0}"}.get(len(self.splits), ":{0}..{1}")
        return ":".join((self.name, *self.paths)) + numbers.format(*self.splits[:1], *self.splits[-1:])


def parse_reference(data: str | Path) -> Reference | None:
    r"""What a DATA argument names, or None where it is a path.

    The name ends at the first colon, and a split number or range begins at the last one; so a folder may hold
    colons, as in `ucf101:C:\data:2`. Without a number, split 1 is meant.

    Raises:
        UsageError: no folder is named, or there is no such split.
    """
    name, colon, rest = str(data).partition(":")
    name = name.lower()
    if not colon or name not in NAMES:
        return None
    if not rest.strip(":"):
        raise UsageError(f"{str(data)!r} names no folder; expected {_pattern(name)}")
    if name == "tsn":
        paths = _split_paths(rest)
        if len(paths) > 2 or not all(paths):
            raise UsageError(f"{str(data)!r} names {len(paths)} lists; expected {_pattern(name)}")
        return Reference(name, paths)
    if name not in NUM_SPLITS:
        return Reference(name, (rest,))
    root, _, number = rest.rpartition(":")
    if root and re.fullmatch(r"-?\d+(\.\.-?\d+)?", number):
        return Reference(name, (root,), parse_splits(number, name))
    return Reference(name, (rest,), (1,))


def parse_splits(text: str, name: str) -> tuple[int, ...]:
    """Split numbers: "2" gives (2,), "1..3" gives (1, 2, 3).

    Raises:
        UsageError: that is no number or range, or the data set has no such split.
    """
    most = NUM_SPLITS.get(name, 0)
    if not most:
        raise UsageError(f"got split {text!r} of {name}, which has one division only; leave it out")
    first, _, last = text.partition("..")
    try:
        numbers = tuple(range(int(first), int(last or first) + 1))
    except ValueError:
        numbers = ()
    if not numbers or numbers[0] < 1 or numbers[-1] > most:
        raise UsageError(f"got split {text!r} of {name}; expected a number from 1 to {most}, or 1..{most}")
    return numbers


def _pattern(name: str) -> str:
    if name == "tsn":
        return "tsn:TRAIN.txt or tsn:TRAIN.txt:TEST.txt"
    return f"{name}:ROOT:SPLIT" if name in NUM_SPLITS else f"{name}:ROOT"


def _split_paths(text: str) -> tuple[str, ...]:
    """Paths between colons; the colon behind a drive's letter belongs to its path."""
    paths: list[str] = []
    for part in text.split(":"):
        if paths and re.fullmatch("[A-Za-z]", paths[-1]) and part[:1] in ("/", "\\"):
            paths[-1] += f":{part}"
        else:
            paths.append(part)
    return tuple(paths)

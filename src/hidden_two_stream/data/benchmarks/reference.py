"""Datasets by name, such as `ucf101:ROOT:1`, `hmdb51:ROOT:1..3`, `thumos14:ROOT` or `tsn:TRAIN.txt`."""

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
    """A dataset by name.

    Attributes:
        name: one of `NAMES`.
        paths: its folder or file; for "tsn" the training list and optionally the test list.
        splits: numbers of the chosen official splits; empty for datasets with only one division.
    """

    name: str
    paths: tuple[str, ...]
    splits: tuple[int, ...] = ()

    @property
    def root(self) -> Path:
        """The folder or file; for "tsn" the training list."""
        return Path(self.paths[0])

    def absolute(self) -> Reference:
        """The same reference with absolute paths."""
        return replace(self, paths=tuple(str(Path(path).resolve()) for path in self.paths))

    def of_split(self, number: int) -> Reference:
        """The reference to a single split."""
        return replace(self, splits=(number,))

    def __str__(self) -> str:
        numbers = {0: "", 1: ":{0}"}.get(len(self.splits), ":{0}..{1}")
        return ":".join((self.name, *self.paths)) + numbers.format(*self.splits[:1], *self.splits[-1:])


def parse_reference(data: str | Path) -> Reference | None:
    r"""Parse a DATA argument; return None if it is a path rather than a dataset by name.

    The name ends at the first colon, and a split number or range begins after the last one. A folder can
    therefore contain colons, as in `ucf101:C:\data:2`. The default is split 1.

    Raises:
        UsageError: the folder is missing, or there is no such split.
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
    """Parse split numbers: "2" gives (2,), "1..3" gives (1, 2, 3).

    Raises:
        UsageError: `text` is not a number or range, or dataset `name` has no such split.
    """
    most = NUM_SPLITS.get(name, 0)
    if not most:
        raise UsageError(f"got split {text!r} of {name}, which has only one division; leave the split out")
    first, _, last = text.partition("..")
    try:
        start, end = int(first), int(last or first)
    except ValueError:
        start, end = 0, 0
    if not 1 <= start <= end <= most:
        raise UsageError(f"got split {text!r} of {name}; expected a number from 1 to {most}, or 1..{most}")
    return tuple(range(start, end + 1))


def _pattern(name: str) -> str:
    if name == "tsn":
        return "tsn:TRAIN.txt or tsn:TRAIN.txt:TEST.txt"
    return f"{name}:ROOT:SPLIT" if name in NUM_SPLITS else f"{name}:ROOT"


def _split_paths(text: str) -> tuple[str, ...]:
    """Paths separated by colons; a colon after a drive letter belongs to the path."""
    paths: list[str] = []
    for part in text.split(":"):
        if paths and re.fullmatch("[A-Za-z]", paths[-1]) and part[:1] in ("/", "\\"):
            paths[-1] += f":{part}"
        else:
            paths.append(part)
    return tuple(paths)

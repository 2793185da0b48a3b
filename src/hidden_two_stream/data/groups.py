"""Columns of a list of videos that group clips which are alike, such as those of one person.

A random draw puts clips of one person into training and test, and the accuracy then flatters. So the
commands point to a column that could be held out instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex
from hidden_two_stream.errors import HiddenTwoStreamError

__all__ = ["Groups", "find_groups", "grouping_columns"]

_OWN_COLUMNS = ("path", "label", "split", "start_seconds", "end_seconds")
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Groups:
    """A list of videos with columns of groups.

    Attributes:
        data: the CSV, as commands take it.
        columns: the values of each column.
        is_other: whether the list is not what was named, but lies in the folder that was.
    """

    data: str
    columns: Mapping[str, tuple[str, ...]]
    is_other: bool

    def __str__(self) -> str:
        """One line that says how to test on a group."""
        named = [
            f"{column} ({len(values)} values: {', '.join(values[:_NUM_SHOWN])}"
            f"{', …' if len(values) > _NUM_SHOWN else ''})"
            for column, values in self.columns.items()
        ]
        column, values = next(iter(self.columns.items()))
        data = f"--data {self.data} " if self.is_other else ""
        return (
            f"{self.data} groups the videos by {', '.join(named)}; for a test on a group that training does "
            f"not see, train with {data}--hold-out {column}={values[0]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"columns": {name: list(values) for name, values in self.columns.items()}}


def grouping_columns(index: DatasetIndex) -> dict[str, tuple[str, ...]]:
    """Return the columns that can be held out value by value, with their values in the order of the list.

    Every sample has a value, every value has at least two samples, and without those of one value samples of
    every class are left. A column of frame counts or names is none.
    """
    names = dict.fromkeys(name for sample in index.samples for name in sample.columns)
    found = {}
    for name in names:
        values = Counter(sample.columns.get(name, "") for sample in index.samples)
        if name in _OWN_COLUMNS or len(values) < 2 or "" in values or min(values.values()) < 2:
            continue
        pairs = {(sample.label, sample.columns[name]) for sample in index.samples}
        if min(Counter(label for label, _ in pairs).values()) > 1:  # no class is that of one value alone
            found[name] = tuple(values)
    return found


def find_groups(index: DatasetIndex) -> Groups | None:
    """Return the groups of a dataset's list, or of a list of the same videos in its folder; None: none.

    A dataset with a split of its own has no groups to hold out.
    """
    if any(sample.split for sample in index.samples):
        return None
    columns = grouping_columns(index)
    if columns:
        return Groups(index.source, columns, is_other=False)
    paths = {sample.path for sample in index.samples}
    root = Path(index.left_out.root)
    for file in map(Path, index.left_out.files):
        if file.suffix.lower() != ".csv" or file.parent != root:
            continue
        try:
            listed = read_dataset_index(file)
        except HiddenTwoStreamError:
            continue  # some other table
        columns = grouping_columns(listed)
        if columns and any(sample.path in paths for sample in listed.samples):
            return Groups(str(file), columns, is_other=True)
    return None

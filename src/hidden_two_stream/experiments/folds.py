"""What is trained and tested apart: a fold per value of a column, per official split, or one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import PLAN_FILE
from hidden_two_stream.data.benchmarks.reference import NUM_SPLITS, Reference, parse_reference
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import Split, group_values, hold_out, split_dataset
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.training.runner import fingerprint

__all__ = ["Folds", "open_folder", "read_folds", "read_one_split"]


@dataclass(frozen=True)
class Folds:
    """What is trained and tested apart.

    Attributes:
        group: the column, or "split".
        pooled: each video is tested in one fold only.
        listings: of each fold, by its value; the same one for groups.
        splits: training and test samples of each fold.
        sources: for the record, the data and the held-out group of each fold.
    """

    group: str
    pooled: bool
    listings: Mapping[str, DatasetIndex]
    splits: Mapping[str, Split]
    sources: Mapping[str, Mapping[str, Any]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the same in all folds."""
        return next(iter(self.listings.values())).classes

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of all folds, each once."""
        return tuple({s.name: s for listing in self.listings.values() for s in listing.samples}.values())

    def fingerprint(self) -> str:
        """Tells one list of samples from another."""
        return " ".join(dict.fromkeys(fingerprint(listing) for listing in self.listings.values()))

    def folder(self, root: Path, value: str) -> Path:
        """Run folder of one fold."""
        return root / f"{'fold' if self.pooled else 'split'}_{_file_name(value)}"


def read_one_split(data: str, test_fraction: float, seed: int) -> Folds:
    """The listing's own training and test parts, or a random share of each class to test.

    Raises:
        UsageError, DataError: as `read_dataset_index` and `split_dataset`.
    """
    reference = parse_reference(data)
    source = data if reference is None else str(reference.absolute())
    listing = read_dataset_index(source)
    split = split_dataset(listing, test_fraction, seed)
    return Folds(
        "split",
        True,
        {"test": listing},
        {"test": split},
        {"test": {"data": absolute_data(source), "held_out": None}},
    )


def read_folds(data: str, group: str | None) -> Folds:
    """One fold per value of the column `group` of a CSV, or per split of a range such as `ucf101:ROOT:1..3`.

    Raises:
        UsageError, DataError: there is neither, or the listing cannot be read.
    """
    reference = parse_reference(data)
    if reference is not None:
        if group is not None:
            raise UsageError(f"--group {group} goes with a CSV; of {reference.name} give a range of splits")
        return _read_splits(reference.absolute())
    if group is None:
        raise UsageError(f"{data!r} needs --group COLUMN, the column to leave one out of, such as subject")
    listing = read_dataset_index(data)
    values = group_values(listing, group)
    return Folds(
        group,
        True,
        dict.fromkeys(values, listing),
        {value: hold_out(listing, group, value) for value in values},
        {value: {"data": absolute_data(data), "held_out": f"{group}={value}"} for value in values},
    )


def _read_splits(reference: Reference) -> Folds:
    if len(reference.splits) < 2:
        known = ", ".join(f"{name}:ROOT:1..{count}" for name, count in NUM_SPLITS.items())
        raise UsageError(f"'{reference}' names no range of splits; expected {known}, or a CSV with --group")
    parts = {str(number): reference.of_split(number) for number in reference.splits}
    listings = {value: read_dataset_index(str(part)) for value, part in parts.items()}
    if len({listing.classes for listing in listings.values()}) > 1:
        raise DataError(f"the splits of '{reference}' have different classes; get its lists again")
    return Folds(
        "split",
        False,
        listings,
        {value: split_dataset(listing) for value, listing in listings.items()},
        {value: {"data": str(part), "held_out": None} for value, part in parts.items()},
    )


def open_folder(folder: Path, plan: Mapping[str, Any], resume: bool) -> None:
    """Make the folder of several runs, which are all by one plan; to resume, it must be there, of the same.

    Raises:
        UsageError: it holds other runs already, or none to resume.
        OutputError: it cannot be written.
    """
    path = folder / PLAN_FILE
    if path.exists() and not resume:
        raise UsageError(f"{str(folder)!r} already holds runs; add --resume to go on, or name another folder")
    if resume:
        if not path.exists():
            raise UsageError(f"nothing to resume in {str(folder)!r}; check --out")
        known, wanted = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(plan))
        others = [name for name, value in wanted.items() if known.get(name) != value]
        if others:
            raise UsageError(
                f"{str(folder)!r} began with another {', '.join(others)}; give what it began with, or name "
                "another folder"
            )
    make_folder(folder)
    write_json(path, plan)


def _file_name(value: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in value)

"""Folds: one training and test each per value of a column, per official split, or for one split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import PLAN_FILE, RunMetadata
from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.benchmarks.reference import NUM_SPLITS, Reference, parse_reference
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import Split, group_values, hold_out, split_dataset
from hidden_two_stream.errors import CheckpointError, DataError, UsageError
from hidden_two_stream.files import make_folder, write_json

__all__ = ["SCORES_FILE", "Folds", "open_folder", "read_folds", "read_one_split"]

SCORES_FILE = "scores.npz"
"""In the run folder of each fold: the scores of its test videos."""


@dataclass(frozen=True)
class Folds:
    """The folds of a dataset, each trained and tested in a run of its own.

    Attributes:
        group: the column, or "split".
        pooled: whether the test videos of all folds can be pooled, because none is in two folds.
        indexes: dataset index of each fold, by the fold's value; the same index for all folds of a column.
        splits: training and test samples of each fold.
        metadata: data and held-out group of each fold, which are saved with its run.
    """

    group: str
    pooled: bool
    indexes: Mapping[str, DatasetIndex]
    splits: Mapping[str, Split]
    metadata: Mapping[str, RunMetadata]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the same in all folds."""
        return next(iter(self.indexes.values())).classes

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of all folds, each once."""
        used = {s.name for split in self.splits.values() for s in split.train + split.test}
        found = {s.name: s for index in self.indexes.values() for s in index.samples if s.name in used}
        return tuple(found.values())

    def fingerprint(self) -> str:
        """Return a text that identifies these samples by names, labels and splits."""
        return " ".join(dict.fromkeys(index.fingerprint() for index in self.indexes.values()))

    def folder(self, root: Path, value: str) -> Path:
        """Return the run folder of one fold."""
        return root / f"{'fold' if self.pooled else 'split'}_{_file_name(value)}"


def read_one_split(data: str | Path, test_fraction: float, seed: int) -> Folds:
    """Return one fold: the data's own split, or a random part of each class held back for the test.

    Raises:
        UsageError, DataError: as `read_dataset_index` and `split_dataset`.
    """
    source = absolute_data(data)
    index = read_dataset_index(source if parse_reference(data) else data)
    split = split_dataset(index, test_fraction, seed)
    metadata = RunMetadata(data=source, test_fraction=test_fraction)
    return Folds("split", True, {"test": index}, {"test": split}, {"test": metadata})


def read_folds(data: str | Path, group: str | None) -> Folds:
    """Return one fold per value of the column `group` of a CSV, or per split such as `ucf101:ROOT:1..3`.

    Raises:
        UsageError, DataError: `data` has neither, or the dataset index cannot be read.
    """
    reference = parse_reference(data)
    if reference is not None:
        if group is not None:
            raise UsageError(
                f"--group {group} is for a CSV; for {reference.name}, leave it out and give a range of splits"
            )
        return _read_splits(reference.absolute())
    if group is None:
        raise UsageError(
            f"{str(data)!r} needs --group COLUMN, whose values are held out in turn, such as --group subject"
        )
    index = read_dataset_index(data)
    values = group_values(index, group)
    return Folds(
        group,
        True,
        dict.fromkeys(values, index),
        {value: hold_out(index, group, value) for value in values},
        {value: RunMetadata(data=absolute_data(data), held_out=f"{group}={value}") for value in values},
    )


def _read_splits(reference: Reference) -> Folds:
    if len(reference.splits) < 2:
        known = ", ".join(f"{name}:ROOT:1..{count}" for name, count in NUM_SPLITS.items())
        raise UsageError(f"'{reference}' names no range of splits; expected {known}, or a CSV with --group")
    parts = {str(number): reference.of_split(number) for number in reference.splits}
    indexes = {value: read_dataset_index(str(part)) for value, part in parts.items()}
    if len({index.classes for index in indexes.values()}) > 1:
        raise DataError(f"the splits of '{reference}' have different classes; get its lists again")
    return Folds(
        "split",
        False,
        indexes,
        {value: split_dataset(index) for value, index in indexes.items()},
        {value: RunMetadata(data=str(part)) for value, part in parts.items()},
    )


def open_folder(folder: Path, folds: Folds, recipe: Recipe, seed: int, protocol: str, resume: bool) -> None:
    """Make the folder of the runs of all folds, and write their plan. To resume, the plan must be the same.

    Args:
        folder: the folder.
        folds: the folds.
        recipe: the recipe, with the input size filled in.
        seed: seed of everything random.
        protocol: test protocol.
        resume: whether the folder must hold runs, or must not.

    Raises:
        UsageError: the folder already holds runs, or none to resume, or runs with another plan.
        OutputError: the folder cannot be written.
    """
    plan: dict[str, Any] = {
        "data": folds.fingerprint(),
        "group": folds.group,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "protocol": protocol,
    }
    path = folder / PLAN_FILE
    if path.exists() and not resume:
        raise UsageError(f"{str(folder)!r} already holds runs; add --resume to go on, or name another folder")
    if resume:
        if not path.exists():
            raise UsageError(f"nothing to resume in {str(folder)!r}; check --out")
        different = _differences(path, json.loads(json.dumps(plan)))
        if different:
            raise UsageError(
                f"{str(folder)!r} began with another {', '.join(different)}; give the same again, or name "
                "another folder"
            )
    make_folder(folder)
    write_json(path, plan)


def _differences(path: Path, plan: dict[str, Any]) -> list[str]:
    """Return the fields in which `plan` differs from the plan in a file.

    Raises:
        CheckpointError: the file is damaged.
    """
    origin = f"recipe of {str(path)!r}"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["recipe"] = recipe_from_dict(saved["recipe"], origin)  # may be of an earlier version
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is damaged: {error}; name another folder") from error
    plan["recipe"] = recipe_from_dict(plan["recipe"], origin)
    return [name for name, value in plan.items() if saved.get(name) != value]


def _file_name(value: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in value)

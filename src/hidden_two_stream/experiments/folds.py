"""Folds: one training and test each per value of a column, per official split, or for one split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import MODEL_FILE, PLAN_FILE, RunMetadata, read_config
from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.benchmarks.reference import NUM_SPLITS, Reference, parse_reference
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample, below_common_folder
from hidden_two_stream.data.splits import Split, group_values, hold_out, split_dataset
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import CheckpointError, DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, load_scores
from hidden_two_stream.files import folder_name, folder_names, make_folder, read_json, write_json
from hidden_two_stream.training.continuity import file_contents, keep_contents, note_versions
from hidden_two_stream.training.lock import folder_lock
from hidden_two_stream.training.state import STATE_FILE

__all__ = ["SCORES_FILE", "Folds", "load_fold", "open_folder", "read_folds", "read_one_split"]

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

    def first(self, count: int | None) -> Folds:
        """Return the first `count` folds; None: all.

        Raises:
            UsageError: there are not so many.
        """
        if count is None:
            return self
        if not 1 <= count <= len(self.splits):
            raise UsageError(f"got {count} folds; expected 1 to {len(self.splits)}, for the data has so many")
        values = tuple(self.splits)[:count]
        return replace(
            self,
            indexes={value: self.indexes[value] for value in values},
            splits={value: self.splits[value] for value in values},
            metadata={value: self.metadata[value] for value in values},
        )

    def fingerprint(self) -> str:
        """Return a text that identifies these samples by names, labels and splits."""
        return " ".join(dict.fromkeys(index.fingerprint() for index in self.indexes.values()))

    def tests(self) -> dict[str, str]:
        """Return a text for each fold that identifies its test videos by their names."""
        return {value: _fingerprint(split.test) for value, split in self.splits.items()}

    def folder(self, root: Path, value: str, run: str = "") -> Path:
        """Return the run folder of one fold.

        Values such as "S/1" and "S_1" have different folders, where earlier versions had one for both; that
        one stays the folder of the value that it holds.

        Args:
            root: folder of all folds.
            value: the fold's value.
            run: name of the run within the folder of the fold; "": the fold has one run.
        """
        found = root / self._names[value] / run
        earlier = root / folder_name(value, self._prefix) / run
        if earlier == found or found.exists():
            return found
        held_out = self.metadata[value].held_out
        return earlier if held_out is not None and _held_out(earlier) == held_out else found

    @property
    def _prefix(self) -> str:
        return "fold_" if self.pooled else "split_"

    @cached_property
    def _names(self) -> dict[str, str]:
        return folder_names(self.splits, self._prefix)


def _fingerprint(samples: tuple[Sample, ...]) -> str:
    names = "\n".join(below_common_folder([sample.name for sample in samples]))
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _held_out(folder: Path) -> str | None:
    """Return what the run in a folder held out for its test; None: nothing, or there is no such run."""
    try:
        return read_config(folder).metadata.held_out
    except CheckpointError:
        return None


def load_fold(
    folder: Path, folds: Folds, value: str, recipe: Recipe, seed: int, protocol: str, readable: Sequence[str]
) -> Evaluation:
    """Return the test result of a complete fold, checked to be the fold that is asked for.

    Args:
        folder: the run folder of the fold.
        folds: all folds.
        value: the fold's value.
        recipe: recipe of the run.
        seed: seed of the run.
        protocol: test protocol.
        readable: names of the fold's readable test videos.

    Raises:
        UsageError: the folder holds another fold, or one of another recipe, seed or data.
        CheckpointError, DataError: its files are damaged.
    """
    with folder_lock(folder):  # it also deletes what a killed process left after the scores
        saved, result = read_config(folder), load_scores(folder / SCORES_FILE, protocol)
    wanted = folds.metadata[value].held_out
    all_names = [sample.name for sample in folds.splits[value].test]
    same_videos = _same_names(result.names, readable) or _same_names(
        (*result.names, *result.unreadable), all_names
    )
    same = {
        f"held-out videos ({saved.metadata.held_out}, not {wanted})": saved.metadata.held_out == wanted,
        f"seed ({saved.metadata.seed}, not {seed})": saved.metadata.seed == seed,
        "recipe": saved.recipe == recipe,
        "classes": saved.classes == folds.classes == result.classes,
        "test videos": same_videos,
    }
    if not all(same.values()):
        different = ", ".join(name for name, equal in same.items() if not equal)
        raise UsageError(
            f"{str(folder)!r} holds a run with other {different}; expected {folds.group} {value!r}; "
            "name another folder, or delete this one to train it again"
        )
    return result


def _same_names(found: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether two lists name the same videos, in any order, also where the dataset was moved."""
    return sorted(below_common_folder(found)) == sorted(below_common_folder(expected))


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


@contextmanager
def open_folder(
    folder: Path,
    folds: Folds,
    recipe: Recipe,
    seed: int,
    protocol: str,
    resume: bool,
    clips: int | None = None,
) -> Iterator[None]:
    """Make and lock the folder of the runs of all folds, and write their plan.

    To resume, the plan must be the same. A folder in which no run has saved anything yet counts as empty.

    Args:
        folder: the folder.
        folds: the folds.
        recipe: the recipe, with the input size filled in.
        seed: seed of everything random.
        protocol: test protocol.
        resume: whether the folder must hold runs, or must not.
        clips: the largest number of training clips of each class; None: all clips.

    Raises:
        UsageError: the folder already holds runs, or none to resume, or runs with another plan; the videos
            have changed; or another process trains into the folder.
        OutputError: the folder cannot be written.
    """
    path = folder / PLAN_FILE
    if resume and not path.exists():
        raise UsageError(f"nothing to resume in {str(folder)!r}; check --out")
    with folder_lock(make_folder(folder)):
        plan: dict[str, Any] = {
            "data": folds.fingerprint(),
            "group": folds.group,
            "folds": folds.tests(),
            "recipe": recipe.to_dict(),
            "seed": seed,
            "protocol": protocol,
            "clips": clips,
        }
        _write_plan(path, folds, plan, resume)
        yield


def _write_plan(path: Path, folds: Folds, plan: dict[str, Any], resume: bool) -> None:
    """Write a new plan, or check that it is the one to resume."""
    folder = path.parent
    files = file_contents(folds.samples)
    if resume:
        saved, different = _differences(path, json.loads(json.dumps(plan)))
        if different:
            raise UsageError(
                f"{str(folder)!r} began with another {', '.join(different)}; give the same again, or name "
                "another folder"
            )
        keep_contents(path, files, next(iter(folds.metadata.values())).data)
        note_versions(saved.get("versions", {}))
        return
    begun = path.exists() and any(
        next(folder.rglob(name), None) for name in (STATE_FILE, MODEL_FILE, SCORES_FILE)
    )
    if begun:
        raise UsageError(f"{str(folder)!r} already holds runs; add --resume to go on, or name another folder")
    write_json(path, plan | {"contents": files, "versions": versions()})


def _differences(path: Path, plan: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the plan in a file, and the fields in which `plan` differs from it.

    Raises:
        CheckpointError: the file is damaged.
    """
    origin = f"recipe of {str(path)!r}"
    try:
        saved = read_json(path)
        if not isinstance(saved.get("versions", {}), dict):
            raise ValueError(f"its versions are {str(saved['versions'])[:60]!r}")
        saved["recipe"] = recipe_from_dict(saved["recipe"], origin)  # may be of an earlier version
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is damaged: {error}; name another folder") from error
    plan["recipe"] = recipe_from_dict(plan["recipe"], origin)
    saved.setdefault("folds", plan["folds"])  # earlier versions did not save them
    words = {"clips": "number of clips"}
    return saved, [words.get(name, name) for name, value in plan.items() if saved.get(name) != value]

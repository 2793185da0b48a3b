"""Data sets as lists of samples: a folder per class, a CSV, or by name; division into training and test."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.data.benchmarks.reading import read_benchmark
from hidden_two_stream.data.benchmarks.reference import NAMES, parse_reference
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.video.finding import VIDEO_SUFFIXES, find_videos, is_frame_folder, is_url

__all__ = [
    "DatasetIndex",
    "Sample",
    "Split",
    "absolute_data",
    "divide",
    "group_values",
    "hold_out",
    "read_dataset_index",
    "split_listing",
    "unreadable_lines",
]

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")


@dataclass(frozen=True)
class Split:
    """Training and test samples, and how they were told apart (for the record)."""

    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    rule: str


def read_dataset_index(data: str | Path, min_classes: int = 2) -> DatasetIndex:
    """Read a data set: a folder with one sub-folder per class, a CSV with columns `path,label`, or by name.

    The folder may also hold `train/` and `test/` (or `val/`) with the class folders inside. The CSV may have
    the columns split, start_seconds, end_seconds, and any others; its paths are relative to its own folder.
    Names are `ucf101:ROOT:SPLIT`, `hmdb51:ROOT:SPLIT`, `thumos14:ROOT`, `activitynet:ROOT`, `kinetics:ROOT`
    and `tsn:TRAIN.txt:TEST.txt`; their videos are in the listing whether or not they are there.

    `min_classes` is 2 for training and comparison; a test, or a look at the data, may do with 1.

    Raises:
        UsageError: there is nothing at `data`, or several splits are named.
        DataError: the listing is broken, or has fewer than `min_classes` classes.
    """
    reference = parse_reference(data)
    listing = _read_path(data) if reference is None else read_benchmark(reference)
    if not listing.samples:
        raise DataError(f"the lists of {str(data)!r} name no video for training or test")
    if len(listing.classes) < min_classes:
        raise DataError(
            f"{str(data)!r} has only one class, {listing.classes[0]!r}; a recogniser needs at least two"
        )
    return listing


def absolute_data(data: str | Path) -> str:
    """The same data set from any working folder: of a path the absolute one, of a name with absolute paths.

    Raises:
        UsageError: a name without folder, or a split that is not there.
    """
    reference = parse_reference(data)
    return str(Path(data).resolve()) if reference is None else str(reference.absolute())


def _read_path(data: str | Path) -> DatasetIndex:
    path = Path(data)
    if path.is_dir():
        try:
            samples = _read_folder(path)
        except OSError as error:
            raise DataError(f"cannot read {str(error.filename or data)!r}: {error.strerror}") from error
    elif path.is_file():
        samples = _read_csv(path)
    else:
        raise UsageError(
            f"no data at {str(data)!r}; give a folder with one sub-folder per class, or a CSV, or a data set "
            f"by name ({', '.join(NAMES)}), such as ucf101:ROOT:1"
        )
    if not samples:
        flat = path.is_dir() and any(entry.suffix.lower() in VIDEO_SUFFIXES for entry in path.iterdir())
        found = "videos lie directly in" if flat else "no videos in"
        raise DataError(f"{found} {str(data)!r}; expected one sub-folder of videos per class, or a CSV")
    return DatasetIndex(str(data), tuple(samples), _empty_folders(path, samples))


def _read_folder(root: Path) -> list[Sample]:
    folders = _folders_in(root)
    splits = [folder for folder in folders if folder.name.lower() in TRAIN_NAMES + TEST_NAMES]
    if not any(folder.name.lower() in TRAIN_NAMES for folder in splits):
        return [Sample(str(path), folder.name) for folder in folders for path in _videos_of(folder)]
    for folder in folders:
        if folder not in splits and _videos_of(folder):
            raise DataError(f"{str(folder)!r} holds videos and lies beside a folder for training; move it")
    return [
        Sample(str(path), label.name, split=_split_name(folder.name))
        for folder in splits
        for label in _folders_in(folder)
        for path in _videos_of(label)
    ]


def _empty_folders(root: Path, samples: Sequence[Sample]) -> tuple[str, ...]:
    if not root.is_dir():
        return ()
    known = {sample.label for sample in samples} | set(TRAIN_NAMES + TEST_NAMES)
    return tuple(str(folder) for folder in _folders_in(root) if folder.name not in known)


def _folders_in(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name[0] != "."]


def _videos_of(folder: Path) -> list[Path]:
    """Video files below a class folder, and its sub-folders of frame images."""
    frame_folders = [entry for entry in _folders_in(folder) if is_frame_folder(entry)]
    return sorted(find_videos(folder) + frame_folders)


def _split_name(text: str) -> str | None:
    lowered = text.strip().lower()
    if not lowered:
        return None
    if lowered in TRAIN_NAMES:
        return "train"
    if lowered in TEST_NAMES:
        return "test"
    raise DataError(f"unknown split {text!r}; expected train, test or val")


def _read_csv(path: Path) -> list[Sample]:
    samples: list[Sample] = []
    lines: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
                raise DataError(f"{path}: two columns have one name; the first line is {reader.fieldnames}")
            if missing:
                raise DataError(
                    f"{path}: no column {sorted(missing)}; the first line must name path and label"
                )
            for row in reader:
                sample = _sample_of(row, path, reader.line_num)
                if sample.name in lines:
                    first = lines[sample.name]
                    raise DataError(
                        f"{path}: {sample.name!r} is listed twice, in lines {first} and {reader.line_num}"
                    )
                lines[sample.name] = reader.line_num
                samples.append(sample)
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV in UTF-8: {error}") from error
    return samples


def _sample_of(row: dict[str, str], listing: Path, line: int) -> Sample:
    try:
        if None in row or None in row.values():
            raise DataError("the number of values differs from that of the columns")
        row = {column: text.strip() for column, text in row.items()}
        if not row["path"] or not row["label"]:
            raise DataError("path or label is empty")
        start, end = (_seconds(row, column) for column in ("start_seconds", "end_seconds"))
        if end is not None and end <= (start or 0):
            raise DataError(f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
        path = row["path"] if is_url(row["path"]) else str(listing.parent / row["path"])
        return Sample(path, row["label"], _split_name(row.get("split", "")), start, end, row)
    except DataError as error:
        raise DataError(f"{listing}, line {line}: {error}") from error


def _seconds(row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise DataError(f"{column} is {text!r}; expected seconds, 0 or more")
    return value


def split_listing(listing: DatasetIndex, test_fraction: float = 0.25, seed: int = 0) -> Split:
    """Divide by the data set's own split if it has one, else by a seeded draw, stratified by class.

    The draw takes `test_fraction` of each class, at least one sample, and leaves at least one for training;
    0 takes none: everything trains and nothing is tested.

    Raises:
        UsageError: the fraction is out of range.
        DataError: a class has one sample only, samples lack a split that others have, or a class has no
            training sample.
    """
    given = [sample.split for sample in listing.samples]
    if any(given):
        if not all(given):
            missing = listing.samples[given.index(None)].name
            raise DataError(
                f"{listing.source}: {missing!r} has no split while others have; fill in all or none"
            )
        train = tuple(sample for sample in listing.samples if sample.split == "train")
        test = tuple(sample for sample in listing.samples if sample.split == "test")
        return _checked(listing, Split(train, test, "the data set's own split"))
    if not 0 <= test_fraction < 1:
        raise UsageError(f"test fraction is {test_fraction}; expected at least 0 and below 1")
    if test_fraction == 0:
        return Split(listing.samples, (), "no test samples: all are used for training")
    drawn: set[int] = set()
    for label in listing.classes:
        members = [index for index, sample in enumerate(listing.samples) if sample.label == label]
        if len(members) == 1:
            raise DataError(
                f"class {label!r} has one video only, which cannot be both for training and test; "
                "add videos, or pass --test-fraction 0 to train on all of them without a test"
            )
        count = min(max(1, round(test_fraction * len(members))), len(members) - 1)
        drawn.update(random.Random(f"{seed}/{label}").sample(members, count))
    train = tuple(sample for index, sample in enumerate(listing.samples) if index not in drawn)
    test = tuple(sample for index, sample in enumerate(listing.samples) if index in drawn)
    return Split(train, test, f"stratified draw, {test_fraction:g} of each class for test, seed {seed}")


def group_values(listing: DatasetIndex, column: str) -> tuple[str, ...]:
    """The distinct values of a CSV column, sorted naturally (2 before 10).

    Raises:
        DataError: the column is missing, empty somewhere, or has one value only.
    """
    for sample in listing.samples:
        if not sample.columns.get(column, "").strip():
            known = (
                f"columns are {', '.join(sample.columns)}" if sample.columns else "a folder has no columns"
            )
            raise DataError(f"{listing.source}: {sample.name!r} has no {column!r}; {known}")
    values = {sample.columns[column] for sample in listing.samples}
    if len(values) < 2:
        raise DataError(f"{listing.source}: column {column!r} has one value only; folds need at least two")
    return tuple(sorted(values, key=lambda value: (_natural_key(value), value)))


def _natural_key(text: str) -> list[str | int]:
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", text))]


def hold_out(listing: DatasetIndex, column: str, value: str) -> Split:
    """Test on the samples whose `column` is `value`, train on all others.

    Raises:
        DataError: nothing is held out, or a class is left without training samples.
    """
    train = tuple(sample for sample in listing.samples if sample.columns.get(column) != value)
    test = tuple(sample for sample in listing.samples if sample.columns.get(column) == value)
    if not test:
        raise DataError(f"{listing.source}: no sample has {column} {value!r}")
    return _checked(listing, Split(train, test, f"held out: {column} {value}"))


def divide(listing: DatasetIndex, held_out: str | None, test_fraction: float, seed: int) -> Split:
    """By a held-out group "column=value" where one is named, else as `split_listing`.

    Raises:
        UsageError: `held_out` is not of that form.
        DataError: as `hold_out` and `split_listing`.
    """
    if held_out is None:
        return split_listing(listing, test_fraction, seed)
    column, equals, value = held_out.partition("=")
    if not (column and equals and value):
        raise UsageError(f"cannot hold out {held_out!r}; expected COLUMN=VALUE, for example subject=3")
    known = group_values(listing, column)
    if value not in known:
        raise DataError(f"{listing.source}: no sample has {column} {value!r}; there are {', '.join(known)}")
    return hold_out(listing, column, value)


def _checked(listing: DatasetIndex, split: Split) -> Split:
    trained = {sample.label for sample in split.train}
    untrained = [label for label in listing.classes if label not in trained]
    if untrained:
        raise DataError(f"{listing.source}: no training video of {untrained} ({split.rule}); add some")
    return split


def unreadable_lines(failed: Sequence[tuple[Sample, HiddenTwoStreamError]]) -> list[str]:
    """One line per unreadable sample: its name and the reason."""
    return [f"{sample.name}: {getattr(error, 'reason', error)}" for sample, error in failed]

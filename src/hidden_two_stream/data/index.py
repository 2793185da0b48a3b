"""Reads dataset indexes: a folder with one sub-folder per class, a CSV, or a research dataset by name."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.benchmarks.reading import read_benchmark
from hidden_two_stream.data.benchmarks.reference import NAMES, parse_reference
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import VIDEO_SUFFIXES, find_videos, is_frame_folder, is_url

__all__ = ["absolute_data", "read_dataset_index"]

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")


def read_dataset_index(data: str | Path, min_classes: int = 2) -> DatasetIndex:
    """Read the index of a dataset: all of its samples, without opening any video.

    Args:
        data: a folder with one sub-folder per class, or with `train/` and `test/` (or `val/`) that hold the
            class folders; a CSV with the columns path and label, and optionally split, start_seconds,
            end_seconds and any others, with paths relative to the CSV's folder; or a dataset by name:
            `ucf101:ROOT:SPLIT`, `hmdb51:ROOT:SPLIT`, `thumos14:ROOT`, `activitynet:ROOT`, `kinetics:ROOT` or
            `tsn:TRAIN.txt:TEST.txt`. A dataset by name has all listed videos, even missing ones.
        min_classes: 2 for training and comparison; 1 is enough to test or check.

    Raises:
        UsageError: there is nothing at `data`, or it names several splits.
        DataError: the index is broken, or has fewer than `min_classes` classes.
    """
    reference = parse_reference(data)
    dataset = _read_path(data) if reference is None else read_benchmark(reference)
    if not dataset.samples:
        raise DataError(f"the lists of {str(data)!r} name no video for training or test")
    if len(dataset.classes) < min_classes:
        raise DataError(
            f"{str(data)!r} has only one class, {dataset.classes[0]!r}; a recognizer needs at least two"
        )
    return dataset


def absolute_data(data: str | Path) -> str:
    """`data` with absolute paths, so that it names the same dataset from any working folder.

    Raises:
        UsageError: a dataset by name has no folder, or no such split.
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
            f"no data at {str(data)!r}; give a folder with one sub-folder per class, or a CSV, or a dataset "
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
            raise DataError(f"{str(folder)!r} holds videos but lies beside a training folder; move it")
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
    """Video files anywhere below a class folder, and frame folders directly in it."""
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
                raise DataError(
                    f"{path}: two columns have the same name; the first line is {reader.fieldnames}"
                )
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


def _sample_of(row: dict[str, str], csv_path: Path, line: int) -> Sample:
    try:
        if None in row or None in row.values():
            raise DataError("the number of values differs from the number of columns")
        row = {column: text.strip() for column, text in row.items()}
        if not row["path"] or not row["label"]:
            raise DataError("path or label is empty")
        start, end = (_seconds(row, column) for column in ("start_seconds", "end_seconds"))
        if end is not None and end <= (start or 0):
            raise DataError(f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
        path = row["path"] if is_url(row["path"]) else str(csv_path.parent / row["path"])
        return Sample(path, row["label"], _split_name(row.get("split", "")), start, end, row)
    except DataError as error:
        raise DataError(f"{csv_path}, line {line}: {error}") from error


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

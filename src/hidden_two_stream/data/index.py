"""Reads dataset indexes: a folder with one sub-folder per class, a CSV, or a research dataset by name."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from hidden_two_stream.data.benchmarks.reading import read_benchmark
from hidden_two_stream.data.benchmarks.reference import NAMES, parse_reference
from hidden_two_stream.data.packed import read_packed
from hidden_two_stream.data.samples import SPLITS, DatasetIndex, LeftOut, Sample, clean_text
from hidden_two_stream.data.text_files import Table, open_table
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import is_hidden, is_url, is_video, scan_videos
from hidden_two_stream.video.shards.addresses import INDEX_NAME, find_index

__all__ = ["absolute_data", "read_dataset_index", "require_data"]

_SPLIT_NAMES = {name: split for split, names in SPLITS.items() for name in names}
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def read_dataset_index(data: str | Path, min_classes: int = 2) -> DatasetIndex:
    """Read the index of a dataset: all of its samples, without opening any video.

    Args:
        data: a folder with one sub-folder per class, or with `train/`, `val/` and `test/` that hold the
            class folders; a CSV with the columns path and label, and optionally split, start_seconds,
            end_seconds and any others, with paths relative to the CSV's folder; or a dataset by name:
            `ucf101:ROOT:SPLIT`, `hmdb51:ROOT:SPLIT`, `thumos14:ROOT`, `activitynet:ROOT`, `kinetics:ROOT` or
            `tsn:TRAIN.txt:TEST.txt`. A dataset by name has all listed videos, even missing ones. Or shards
            that `data.packing.pack` wrote: their folder, its `shards.json`, or the URL of either.
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
    if reference is not None:
        return str(reference.absolute())
    index = _packed_index(data)
    if index is not None and is_url(index):
        return index
    return str(Path(data if index is None else os.path.dirname(index)).resolve())


def _packed_index(data: str | Path) -> str | None:
    """Return the path or URL of the index of packed data; None: the data is not packed.

    Raises:
        DataError: as `find_index`.
    """
    text = str(data)
    index = find_index(text)
    return f"{text.rstrip('/')}/{INDEX_NAME}" if index is None and is_url(text) else index


def require_data(data: str | Path) -> None:
    """Check that there is something at `data`, without reading it.

    Raises:
        UsageError: there is nothing.
    """
    if parse_reference(data) is None and not Path(data).exists():
        raise _no_data(data)


def _no_data(data: str | Path) -> UsageError:
    return UsageError(
        f"no data at {str(data)!r}; give a folder with one sub-folder per class, or a CSV, or a dataset "
        f"by name ({', '.join(NAMES)}), such as ucf101:ROOT:1"
    )


def _read_path(data: str | Path) -> DatasetIndex:
    index = _packed_index(data)
    if index is not None:
        return read_packed(index, str(data))
    path = Path(data)
    if path.is_dir():
        try:
            dataset = _read_folder(path, str(data))
        except OSError as error:
            raise DataError(f"cannot read {str(error.filename or data)!r}: {error.strerror}") from error
    elif path.is_file() and is_video(path.name):
        raise DataError(
            f"{str(data)!r} is a video; expected a folder with one sub-folder of videos per class, or a CSV "
            "that lists videos and labels"
        )
    elif path.is_file():
        dataset = DatasetIndex(str(data), tuple(_read_csv(path)))
    else:
        raise _no_data(data)
    if not dataset.samples:
        flat = path.is_dir() and any(is_video(entry.name) for entry in path.iterdir())
        found = "videos lie directly in" if flat else "no videos in"
        held = f", which holds {dataset.left_out}" if dataset.left_out.files and not flat else ""
        if path.is_file():
            raise DataError(f"{str(data)!r} lists no videos: it has only its first line")
        raise DataError(f"{found} {str(data)!r}{held}; expected one sub-folder of videos per class, or a CSV")
    return dataset


# -- folders ---------------------------------------------------------------------------------------


@dataclass
class _FolderReader:
    """Collects the samples of class folders, and what is left out."""

    root: Path
    samples: list[Sample] = field(default_factory=list)
    without_videos: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    num_hidden: int = 0

    def folders_in(self, folder: Path) -> list[Path]:
        """The shown folders directly in `folder`; its files are left out."""
        entries = sorted(folder.iterdir())
        shown = [entry for entry in entries if not is_hidden(entry.name)]
        self.num_hidden += len(entries) - len(shown)
        self.left_out += [entry for entry in shown if not entry.is_dir()]
        return [entry for entry in shown if entry.is_dir()]

    def read_class(self, folder: Path, split: str | None = None) -> None:
        """Take the videos below a class folder."""
        found = scan_videos(folder)
        self.samples += [Sample(str(path), folder.name, split) for path in found.videos]
        self.left_out += found.left_out
        self.num_hidden += found.num_hidden
        if not found.videos:
            self.without_videos.append(folder)

    def dataset(self, source: str) -> DatasetIndex:
        """Return the index of all samples."""
        known = {sample.label for sample in self.samples}
        empty = tuple(str(path) for path in self.without_videos if clean_text(path.name) not in known)
        files = tuple(map(str, sorted(self.left_out)))
        return DatasetIndex(
            source, tuple(self.samples), empty, left_out=LeftOut(str(self.root), files, self.num_hidden)
        )


def _read_folder(root: Path, source: str) -> DatasetIndex:
    reader = _FolderReader(root)
    folders = reader.folders_in(root)
    splits = {folder: _SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    if "train" not in splits.values() and not _are_only_splits(splits):
        for folder in folders:
            reader.read_class(folder)
        return reader.dataset(source)
    for folder, split in splits.items():
        if split is None:
            if scan_videos(folder).videos:
                raise DataError(f"{str(folder)!r} holds videos but lies beside a training folder; move it")
            reader.read_class(folder)
            continue
        for label in reader.folders_in(folder):
            reader.read_class(label, split)
    return reader.dataset(source)


def _are_only_splits(splits: dict[Path, str | None]) -> bool:
    """Whether all folders are named as parts of a split, and hold their videos in class folders."""
    if not splits or not all(splits.values()):
        return False
    return all(path.parent != folder for folder in splits for path in scan_videos(folder).videos)


# -- CSV -------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> list[Sample]:
    table = open_table(path, ("path", "label"), ("split", "start_seconds", "end_seconds"))
    samples: list[Sample] = []
    lines: dict[str, int] = {}
    for line, row in table.rows():
        try:
            sample = _sample_of(row, table)
        except DataError as error:
            raise DataError(f"{path}, line {line}: {error}") from error
        first = lines.setdefault(sample.name, line)
        if first != line:
            raise DataError(f"{path}: {sample.name!r} is listed twice, in lines {first} and {line}")
        samples.append(sample)
    return samples


def _sample_of(row: dict[str, str], table: Table) -> Sample:
    if not row["path"] or not row["label"]:
        raise DataError("path or label is empty")
    row = {name: value if name == "path" else clean_text(value) for name, value in row.items()}
    start, end = (_seconds(row, column, table) for column in ("start_seconds", "end_seconds"))
    if end is not None and end <= (start or 0):
        raise DataError(f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
    path = row["path"] if is_url(row["path"]) else _listed_path(row["path"], table.path.parent)
    return Sample(path, row["label"], _split_name(row.get("split", "")), start, end, row)


def _listed_path(text: str, folder: Path) -> str:
    """The path of a video that a CSV in `folder` lists, as this system writes it.

    A list made on Windows has backslashes, and one made on macOS may write accents apart from their letters.
    The path as it is written comes first; if nothing is there, one of the other spellings is taken.
    """
    has_drive = _WINDOWS_ROOT.match(text) is not None
    is_plain = text.isascii() and "\\" not in text and not has_drive
    if os.name == "nt" or is_plain or os.path.exists(folder / text):
        return str(folder / text)
    if has_drive:
        raise DataError(
            f"the path {text!r} begins with a drive or server of Windows; write paths relative to the CSV's "
            "folder, such as walk/001.mp4"
        )
    slashed = text.replace("\\", "/")
    spellings = (slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")))
    return str(folder / next((text for text in spellings if os.path.exists(folder / text)), slashed))


def _split_name(text: str) -> str | None:
    lowered = text.lower()
    if lowered and lowered not in _SPLIT_NAMES:
        raise DataError(f"unknown split {text!r}; expected train, test or val")
    return _SPLIT_NAMES.get(lowered)


def _seconds(row: dict[str, str], column: str, table: Table) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        # Spreadsheets that separate values by semicolons write decimal commas.
        value = float(text.replace(",", ".") if table.delimiter == ";" else text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise DataError(f"{column} is {text!r}; expected seconds, 0 or more")
    return value

"""THUMOS14: a file per class with the segments of all videos, and results of temporal detection."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile, number, whole_number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector, merged, video_id
from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.errors import DataError, OutputError, UsageError
from hidden_two_stream.files import atomic_folder, holds_nothing, write_text

__all__ = [
    "is_thumos14",
    "is_thumos14_results",
    "read_thumos14",
    "read_thumos14_results",
    "write_thumos14",
    "write_thumos14_results",
]

_CLASS_LIST = "detclasslist.txt"
_AMBIGUOUS = "Ambiguous"
_CLASS_FILE = re.compile(r"(.+)_(val|test)")


def is_thumos14(file: LabelFile) -> bool:
    """Whether this is a folder with files such as walk_val.txt, or one of these files."""
    if file.path.is_dir():
        return any(_CLASS_FILE.fullmatch(path.stem) for path in file.path.glob("*.txt"))
    first = next(filter(None, map(str.split, file.lines)), [])
    return _CLASS_FILE.fullmatch(file.stem) is not None and len(first) == 3


def read_thumos14(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the files of all classes in a folder, or the file of one class.

    Intervals in `Ambiguous_….txt` are not labeled. The rest of the videos is: the dataset counts time without
    a label as background.
    """
    folder = file.path if file.path.is_dir() else file.path.parent
    paths = sorted(folder.glob("*.txt")) if file.path.is_dir() else [file.path]
    names = list(_class_numbers(folder).values())
    videos: dict[str, SegmentCollector] = {}
    ambiguous: dict[str, list[tuple[float, float]]] = {}
    for path in paths:
        match = _CLASS_FILE.fullmatch(path.stem)
        if match is None:
            continue
        label = match[1]
        if names and label not in (*names, _AMBIGUOUS):
            raise DataError(f"{path}: unknown class {shown(label)}; {_CLASS_LIST} has {listed(names)}")
        rows = LabelFile(path)
        for line, cells in _rows(rows, 3):
            start, end = (number(cell, rows, f"line {line}") for cell in cells[1:])
            video = videos.setdefault(cells[0], options.collector(file, cells[0], names))
            if label == _AMBIGUOUS:
                ambiguous.setdefault(cells[0], []).append((start, end))
            else:
                video.add(start, end, label, where=f"{path.name}, line {line}")
    for name, intervals in ambiguous.items():
        videos[name].labeled = _outside(intervals)
    return [collector.result() for collector in videos.values()]


def _rows(file: LabelFile, width: int) -> list[tuple[int, list[str]]]:
    found = []
    for line, text in enumerate(file.lines, start=1):
        cells = text.split()
        if cells and len(cells) != width:
            raise DataError(f"{file}, line {line}: {text[:60]!r}; expected {width} values")
        found += [(line, cells)] * bool(cells)
    return found


def _outside(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The time that no interval covers, up to the end of the video."""
    edges = [0.0, *(time for pair in merged(intervals) for time in pair), math.inf]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if start < end]


def _class_numbers(folder: Path) -> dict[int, str]:
    """Names of classes by number, from the list in a folder; {} without one."""
    path = folder / _CLASS_LIST
    if not path.is_file():
        return {}
    file = LabelFile(path)
    rows = _rows(file, 2)
    return {whole_number(cells[0], file, f"line {line}", "class number"): cells[1] for line, cells in rows}


def write_thumos14(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a folder with a file per class, the list of classes, and what is ambiguous.

    Raises:
        OutputError: there are files in the folder.
        UsageError: the name of a video or a class has spaces or separators of folders.
    """
    labels = list(dict.fromkeys(label for item in annotations for label in item.labels))
    _check_words([*labels, *(video_id(item.video) for item in annotations)])
    if not holds_nothing(path):
        raise OutputError(f"the folder {str(path)!r} is not empty; expected a new one")
    rows: dict[str, list[str]] = {label: [] for label in labels}
    for item in annotations:
        name = video_id(item.video)
        for segment in item.segments:
            rows[segment.label].append(f"{name}  {segment.start_seconds!r} {segment.end_seconds!r}")
        gaps = _gaps(item)
        if gaps:
            rows.setdefault(_AMBIGUOUS, []).extend(f"{name}  {start!r} {end!r}" for start, end in gaps)
    with atomic_folder(path) as folder:
        for label, lines in rows.items():
            write_text(folder / f"{label}_val.txt", "".join(f"{line}\n" for line in lines))
        _write_class_list(folder, labels)


def _gaps(item: Annotations) -> list[tuple[float, float]]:
    """The intervals that are not labeled; one that lasts to an unknown end is left out."""
    end = math.inf if item.duration_seconds is None else item.duration_seconds
    edges = [0.0, *(min(time, end) for pair in item.labeled or ((0.0, end),) for time in pair), end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, stop) for start, stop in pairs if start < stop < math.inf]


def _check_words(names: Sequence[str]) -> None:
    for name in names:
        if re.search(r"[\s/\\]", name) or name == _AMBIGUOUS:
            raise UsageError(
                f"the name {shown(name)} cannot be written for THUMOS14: it holds a space or a slash"
            )


def _write_class_list(folder: Path, labels: Sequence[str]) -> None:
    write_text(folder / _CLASS_LIST, "".join(f"{n} {name}\n" for n, name in enumerate(labels, start=1)))


def is_thumos14_results(file: LabelFile) -> bool:
    """Whether lines hold video, start, end, class number and score."""
    lines = [line for line in file.lines[:50] if line.strip()]
    row = re.compile(r"\S+\s+[\d.]+\s+[\d.]+\s+\d+\s+[-+\d.eE]+\s*")
    return bool(lines) and all(map(row.fullmatch, lines))


def read_thumos14_results(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read scored segments; `detclasslist.txt` beside the file names the classes."""
    numbers = _class_numbers(file.path.parent)
    videos: dict[str, SegmentCollector] = {}
    for line, (name, start, end, label, score) in _rows(file, 5):
        where = f"line {line}"
        key = whole_number(label, file, where, "class number")
        if numbers and key not in numbers:
            raise DataError(f"{file}, {where}: unknown class {key}; {_CLASS_LIST} has {len(numbers)} classes")
        video = videos.setdefault(name, options.collector(file, name, list(numbers.values())))
        if not numbers:
            video.notes.append(f"classes have numbers, since there is no {_CLASS_LIST} beside the file")
        begin, stop = (number(text, file, where) for text in (start, end))
        name = numbers.get(key, str(key))
        video.add(begin, stop, name, where=where, score=number(score, file, where, "score"))
    return [collector.result() for collector in videos.values()]


def write_thumos14_results(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write scored segments with the class numbers of `detclasslist.txt`, which is written if it is missing.

    Raises:
        UsageError: the list has no number for a label.
    """
    labels = list(dict.fromkeys(label for item in annotations for label in item.labels))
    _check_words([*labels, *(video_id(item.video) for item in annotations)])
    known = {name: number for number, name in _class_numbers(path.parent).items()}
    if not known:
        _write_class_list(path.parent, labels)
        known = {name: number for number, name in enumerate(labels, start=1)}
    lines = []
    for item in annotations:
        for segment in item.segments:
            if segment.label not in known:
                raise UsageError(
                    f"{path.parent / _CLASS_LIST} has no number for {shown(segment.label)}; add it"
                )
            times = f"{segment.start_seconds!r} {segment.end_seconds!r}"
            lines.append(f"{video_id(item.video)} {times} {known[segment.label]} {segment.score!r}\n")
    write_text(path, "".join(lines))

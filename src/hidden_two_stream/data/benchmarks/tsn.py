"""Reads lists of Temporal Segment Networks: "path frames label" or "path label" in each line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.benchmarks.catalog import Catalog, broken, read_lines, unique
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError, UsageError

__all__ = ["read_tsn"]

_CLASS_FILES = ("classInd.txt", "classes.txt", "class_list.txt", "labels.txt", "label_map.txt")
MOST_CLASSES = 100_000
"""Class numbers name as many classes as the highest of them says, used or not."""

_LINE = "'path frames label' or 'path label'"


def read_tsn(lists: Sequence[Path]) -> Catalog:
    """Read a training list and optionally a test list; without a test list, samples have no part.

    Paths are relative to the list's folder and name video files or frame folders. Class numbers start at 0 or
    1, whichever is the lowest number in the lists. Class names are read from classInd.txt, classes.txt,
    class_list.txt, labels.txt or label_map.txt beside the first list, with "1 Name" or only "Name" in each
    line. Without such a file, the names are class_000, class_001, and so on. The column `frames` of a sample
    holds its listed number of frames. A list may leave the frames out, in all of its lines.

    Raises:
        UsageError: a list does not exist.
        DataError: a line is broken, or a class number is out of range.
    """
    for path in lists:
        if not path.is_file():
            raise UsageError(f"no list at {str(path)!r}; expected a file of lines {_LINE}")
    parts = ("train", "test") if len(lists) > 1 else (None,)
    rows = [(part, path, *row) for part, path in zip(parts, lists, strict=True) for row in _read_rows(path)]
    if not rows:
        raise DataError(f"{lists[0]} is empty; expected lines {_LINE}")
    base = min(label for *_, label in rows)
    if base > 1:
        raise DataError(f"{lists[0]}: the lowest class number is {base}; expected classes from 0 or 1 on")
    highest = max(label for *_, label in rows)
    if highest > MOST_CLASSES:
        raise DataError(f"{lists[0]}: class number {highest}; expected at most {MOST_CLASSES:,} classes")
    named = _class_names(lists[0].parent)
    source, classes = named or ("", _numbered(highest + 1 - base))
    samples = []
    for part, path, number, name, frames, label in rows:
        if label - base >= len(classes):
            known = f"a class from {base} to {len(classes) - 1 + base}, as {source} has {len(classes)}"
            raise broken(path, number, f"class {label}", known)
        columns = {} if frames is None else {"frames": frames}
        samples.append(Sample(str(path.parent / name), classes[label - base], part, columns=columns))
    files = [*map(str, lists), *([source] if source else [])]
    folders = dict.fromkeys(str(path.parent) for path in lists)
    return Catalog(classes, unique(samples, lists[0]), tuple(files), tuple(folders))


def _read_rows(path: Path) -> list[tuple[int, str, str | None, int]]:
    """Line number, path, listed number of frames, and class number of each line; a path can hold spaces."""
    rows: list[tuple[int, str, str | None, int]] = []
    for number, line in read_lines(path):
        found = re.fullmatch(r"(\S.*?)(?:\s+(\d{1,9}))?\s+(\d{1,9})", line)
        if found is None:
            raise broken(path, number, line, f"{_LINE}, where frames and label are whole numbers")
        if rows and (found[2] is None) != (rows[0][2] is None):
            raise broken(path, number, line, f"the form of the lines before it: {_LINE}")
        rows.append((number, found[1], found[2], int(found[3])))
    return rows


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class_{number:03d}" for number in range(count))


def _class_names(folder: Path) -> tuple[str, tuple[str, ...]] | None:
    """The file of class names in a folder, and the names in the order of their numbers; None: no file."""
    path = next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    lines = read_lines(path)
    names = [line for _, line in lines]
    numbered = [re.fullmatch(r"(\d{1,9})\s+(\S.*)", name) for name in names]
    if all(numbered):
        pairs = sorted((int(match[1]), match[2]) for match in numbered if match)
        if [number for number, _ in pairs] != list(range(pairs[0][0], pairs[0][0] + len(pairs))):
            raise DataError(f"{path}: the class numbers have a gap or repeat; expected each once")
        names = [name for _, name in pairs]
    twice = next((line for line in lines if names.count(line[1]) > 1), None)
    if twice is not None:
        raise broken(path, *twice, "each class once")
    return str(path), tuple(names)

"""Lists of labelled videos for score files: the truth, the order of the classes, and whose row is whose."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import VIDEO_SUFFIXES

__all__ = ["LabelList", "class_order", "match", "read_classes", "read_labels"]


@dataclass(frozen=True)
class LabelList:
    """Videos with their classes, in the order of a file.

    Attributes:
        source: the file.
        names: paths of the videos, as written there.
        labels: class names.
    """

    source: str
    names: tuple[str, ...]
    labels: tuple[str, ...]


def read_labels(path: Path, classes: Mapping[str, str] | None = None) -> LabelList:
    """Read a list of labelled videos.

    A .csv has the columns path and label. Any other file has one video a line: "CLASS/video.avi", where the
    folder is the class, as in UCF101's test lists, or "path label", as in its training lists.

    Args:
        path: the file.
        classes: what labels stand for, see `read_classes`; labels that are not in it stay as they are.

    Raises:
        UsageError: there is no such file.
        DataError: the file cannot be read, is empty, names a video twice, or a line has no class.
    """
    if not path.is_file():
        raise UsageError(f"no list of labelled videos at {str(path)!r}; check the path")
    if path.suffix.lower() == ".csv":
        rows = [(sample.name, sample.label) for sample in read_dataset_index(path, min_classes=1).samples]
    else:
        rows = _read_lines(path)
    names = tuple(name for name, _ in rows)
    if not names:
        raise DataError(f"{str(path)!r} lists no videos; expected one a line, such as CLASS/video.avi")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{str(path)!r} lists {twice!r} twice; leave one out")
    known = classes or {}
    return LabelList(str(path), names, tuple(known.get(label, label) for _, label in rows))


def _read_lines(path: Path) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    labelled: set[bool] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        words = line.rsplit(maxsplit=1)
        given = len(words) == 2 and not _is_video(line)
        name, label = (words[0], words[1]) if given else (line, PurePosixPath(_slashed(line)).parent.name)
        if not label:
            raise DataError(
                f"{path}, line {number}: {line!r} has no class; expected CLASS/video or path label"
            )
        labelled.add(given)
        if len(labelled) > 1:
            raise DataError(f"{path}, line {number}: {line!r} is not of the same form as the lines before it")
        rows.append((name, label))
    return rows


def read_classes(path: Path) -> dict[str, str]:
    """Read the order of the classes: a name a line, or a number and a name, as in UCF101's classInd.txt.

    Returns:
        What a label may be (the number, else the name itself) and the class it stands for, in order.

    Raises:
        UsageError: there is no such file.
        DataError: it names fewer than two classes, or one twice.
    """
    if not path.is_file():
        raise UsageError(f"no list of classes at {str(path)!r}; check the path")
    lines = [line for line in _lines(path) if line]
    pairs = [line.split(maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[0].isdecimal() for pair in pairs):
        rows = sorted(((number, name) for number, name in pairs), key=lambda row: int(row[0]))
    else:
        rows = [(line, line) for line in lines]
    classes = dict(rows)
    if len(rows) < 2 or len(set(classes.values())) < len(rows):
        raise DataError(
            f"{str(path)!r} names {len(rows)} classes; expected two or more, each once, one a line"
        )
    return classes


def class_order(labels: Sequence[str], source: str) -> tuple[str, ...]:
    """The classes of a list in the order that score columns without names have.

    Numbers go by value. Names go by the alphabet, with capitals before small letters or with no difference
    between them; where these two differ, a list that runs through the classes one by one says which it is.
    (UCF101's numbering makes no difference: Hammering comes before HammerThrow.)

    Raises:
        DataError: the order cannot be told.
    """
    found = dict.fromkeys(labels)
    if all(label.isdecimal() for label in found):
        return tuple(sorted(found, key=int))
    orders = [sorted(found), sorted(found, key=lambda label: (label.casefold(), label))]
    blocks = [label for label, _ in itertools.groupby(labels)]
    if blocks in orders:
        return tuple(blocks)
    if orders[0] != orders[1] or len(blocks) == len(found):
        raise DataError(
            f"{source}: which column of the scores is which class cannot be told from this list; "
            "name their order with --classes FILE, one class a line"
        )
    return tuple(orders[0])


def match(wanted: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """The place in `names` of each video in `wanted`.

    Videos are the same if their paths are; else if one path is the end of the other, with or without the
    suffix of a video file; else if the names of their files are. The first rule that finds any decides.

    Args:
        wanted: paths of a list.
        names: paths to search.
        source: of `names`, for messages.

    Raises:
        DataError: a video is not found, or there are several that it could be.
    """
    places: dict[str, list[int]] = {}
    paths = [_parts(name) for name in names]
    for index, path in enumerate(paths):
        places.setdefault(_stem(path[-1]), []).append(index)
    found: dict[int, str] = {}
    missing: list[str] = []
    for name in wanted:
        parts = _parts(name)
        rows = _alike(parts, paths, places.get(_stem(parts[-1]), []))
        if not rows:
            missing.append(name)
            continue
        if len(rows) > 1:
            raise DataError(
                f"{source}: {name!r} could be {names[rows[0]]!r} or {names[rows[1]]!r}; list more of its path"
            )
        if rows[0] in found:
            raise DataError(f"{source}: {names[rows[0]]!r} could be {found[rows[0]]!r} or {name!r}; "
                            "list more of their paths")  # fmt: skip
        found[rows[0]] = name
    if missing:
        raise DataError(
            f"{source} lacks {len(missing)} of {len(wanted)} listed videos, first {missing[0]!r}; list the "
            "others alone, or test all with hts evaluate --split all"
        )
    return list(found)


def _alike(parts: tuple[str, ...], paths: Sequence[tuple[str, ...]], rows: list[int]) -> list[int]:
    """Those of `rows`, which have the same file name but for a suffix, that the first fitting rule takes."""
    stemmed = (*parts[:-1], _stem(parts[-1]))
    rules = (
        lambda path: path == parts,
        lambda path: _ends_alike(path, parts),
        lambda path: _ends_alike((*path[:-1], _stem(path[-1])), stemmed),
    )
    for rule in rules:
        found = [row for row in rows if rule(paths[row])]
        if found:
            return found
    return rows


def _ends_alike(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(_slashed(name)).parts or (name,)


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _is_video(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def _stem(file: str) -> str:
    return PurePosixPath(file).stem if _is_video(file) else file


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not text in UTF-8: {error}") from error

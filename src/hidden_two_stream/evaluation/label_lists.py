"""Lists of labeled videos and lists of classes, as score files come with them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.data.text_files import read_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import is_video

__all__ = ["LabelList", "read_class_list", "read_label_list"]

_MOST_DIGITS = 9  # of the number of a class


@dataclass(frozen=True)
class LabelList:
    """Videos with their classes, in the order of a file.

    Attributes:
        source: path of the file, for messages.
        names: paths of the N videos, as the file spells them.
        labels: class names of the N videos, as `clean_text` returns them.
    """

    source: str
    names: tuple[str, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(map(clean_text, self.labels)))


def read_label_list(path: Path, classes: Mapping[str, str] | None = None) -> LabelList:
    """Read a list of labeled videos.

    A .csv or .tsv file has the columns path and label. Any other file has one video per line, in one of two
    forms: "CLASS/video.avi", where the folder is the class, as in UCF101's test lists, or "path label", as in
    its training lists.

    Args:
        path: the file.
        classes: label → class name, from `read_class_list`; other labels stay as they are.

    Raises:
        UsageError: the file does not exist.
        DataError: the file is unreadable or empty, names a video twice, or has a line without a class.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no list of labeled videos at {str(path)!r}; check the path")
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = [(sample.name, sample.label) for sample in read_dataset_index(path, min_classes=1).samples]
    else:
        rows = _read_lines(path)
    names = tuple(name for name, _ in rows)
    if not names:
        raise DataError(f"{str(path)!r} lists no videos; expected one per line, such as CLASS/video.avi")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        more = f", and {len(repeated) - 1} other videos" if len(repeated) > 1 else ""
        raise DataError(f"{str(path)!r} lists {repeated[0]!r} twice{more}; list each video once")
    known = classes or {}
    return LabelList(str(path), names, tuple(known.get(label, label) for _, label in rows))


def _read_lines(path: Path) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    forms: set[bool] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        words = line.rsplit(maxsplit=1)
        has_label = len(words) == 2 and not is_video(line)
        folder = PurePosixPath(line.replace("\\", "/")).parent.name
        name, label = (words[0], words[1]) if has_label else (line, folder)
        if not label:
            raise DataError(
                f"{path}, line {number}: {line!r} has no class; expected CLASS/video or path label"
            )
        forms.add(has_label)
        if len(forms) > 1:
            raise DataError(
                f"{path}, line {number}: {line!r} has another form than the lines before it; expected "
                "CLASS/video in all lines, or path label in all lines"
            )
        rows.append((name, label))
    return rows


def read_class_list(path: Path) -> dict[str, str]:
    """Read the order of the classes of score columns.

    The file has one class name per line, or a number and a name, as in UCF101's classInd.txt.

    Returns:
        Label → class name, in the order of the classes. The label is the number, or the name where the file
        has no numbers.

    Raises:
        UsageError: the file does not exist.
        DataError: the file names fewer than two classes, or a class twice.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no list of classes at {str(path)!r}; check the path")
    lines = [clean_text(line) for line in _lines(path) if line]
    pairs = [line.split(maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[0].isdecimal() for pair in pairs):
        longest = max((number for number, _ in pairs), key=len, default="")
        if len(longest) > _MOST_DIGITS:
            raise DataError(
                f"{str(path)!r} has a class number of {len(longest)} digits; expected at most {_MOST_DIGITS}"
            )
        rows = sorted(((number, name) for number, name in pairs), key=lambda row: int(row[0]))
    else:
        rows = [(line, line) for line in lines]
    classes = dict(rows)
    expected = "expected two or more, each once, one per line"
    if len(rows) < 2:
        raise DataError(f"{str(path)!r} names {len(rows)} classes; {expected}")
    for what, texts in (("number", [label for label, _ in rows]), ("class", [name for _, name in rows])):
        text, count = Counter(texts).most_common(1)[0]
        if count > 1:
            raise DataError(f"{str(path)!r} has the {what} {text!r} {count} times; {expected}")
    return classes


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).split("\n")]

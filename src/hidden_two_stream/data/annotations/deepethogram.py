"""DeepEthogram's labels: a row per frame, first the column `background`, then the behaviors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, collect_frames, to_frames
from hidden_two_stream.data.annotations.frame_labels import FrameLabels
from hidden_two_stream.data.annotations.frame_table import open_frame_table
from hidden_two_stream.data.annotations.label_file import LabelFile
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text
from hidden_two_stream.progress import number_of

__all__ = ["is_deepethogram", "read_deepethogram", "write_deepethogram"]

BACKGROUND = "background"
_VALUES = {"0": 0, "1": 1, "-1": -1, "0.0": 0, "1.0": 1, "-1.0": -1}
_NAME = re.compile(r"_(labels|predictions)(_[^/\\]*)?$")


def is_deepethogram(file: LabelFile) -> bool:
    """Whether the columns are an index without name, `background`, and behaviors."""
    return re.match(r"(\"\")?,\"?background\"?(,|$)", file.lines[0]) is not None


def read_deepethogram(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a row per frame. -1 means that nobody looked; the background is where nothing else happens."""
    table = open_frame_table(file)
    names = table.names
    if names[:1] != (BACKGROUND,):
        raise DataError(
            f"{file}: the first column after the index is {' '.join(names[:1])!r}; expected {BACKGROUND!r}"
        )
    rows: list[list[int]] = []
    mixed = unsaid = 0
    for line, cells in table.rows():
        values = [_value(file, line, name, cell) for name, cell in zip(names, cells, strict=True)]
        if values[0] == 1 and 1 in values[1:]:
            raise DataError(
                f"{file}, line {line}: both background and {shown(names[values.index(1, 1)])} are 1; "
                "background means that no behavior happens"
            )
        mixed += -1 in values and set(values) != {-1}
        unsaid += set(values) == {0}
        rows.append(values[1:])
    labels = FrameLabels(np.array(rows, np.int8).reshape(len(rows), len(names) - 1), names[1:])
    notes = [f"not labeled, since there is -1 beside 0 or 1: {number_of(mixed, 'frame')}"] * bool(mixed)
    notes += [f"background, though its column is 0 as well: {number_of(unsaid, 'frame')}"] * bool(unsaid)
    video = _NAME.sub("", file.stem)
    return [collect_frames(file, labels, video, options, notes=notes)]


def _value(file: LabelFile, line: int, name: str, text: str) -> int:
    if text not in _VALUES:
        raise DataError(
            f"{file}, line {line}: {shown(name)} is {shown(text)}; expected 0, 1, or -1 for not labeled"
        )
    return _VALUES[text]


def write_deepethogram(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a row per frame."""
    (item,) = annotations
    labels = to_frames(item, options, "deepethogram")
    values = labels.values
    empty = (values == -1).any(axis=1) & ~(values == 1).any(axis=1)
    background = np.where(empty, -1, ~(values == 1).any(axis=1))
    rows: list[Sequence[object]] = [["", BACKGROUND, *labels.names]]
    rows += [
        [frame, first, *rest]
        for frame, (first, rest) in enumerate(zip(background.tolist(), values.tolist(), strict=True))
    ]
    write_text(path, csv_text(rows))

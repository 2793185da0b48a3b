"""SimBA's targets_inserted: a row per frame, columns of features, then a column of 0 and 1 per classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hidden_two_stream.data.annotations.deepethogram import is_deepethogram
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, collect_frames, to_frames
from hidden_two_stream.data.annotations.frame_labels import FrameLabels
from hidden_two_stream.data.annotations.frame_table import open_frame_table
from hidden_two_stream.data.annotations.label_file import LabelFile, csv_values, frame_rate
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.data.text_files import open_table
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = ["is_simba", "read_simba", "write_simba"]

_BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


def is_simba(file: LabelFile) -> bool:
    """Whether there is an index without name, and the last column of the first row is 0 or 1."""
    first, second = csv_values(file, 1), csv_values(file, 2)
    return (
        len(first) > 1
        and first[0] == ""
        and len(second) == len(first)
        and second[-1] in _BITS
        and not is_deepethogram(file)
    )


def read_simba(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the columns of classifiers: the last ones that hold only 0 and 1, or those of `options.labels`.

    The rate is that of `logs/video_info.csv` of the project, unless it is given.
    """
    table = open_frame_table(file)
    names, rows = table.names, list(table.rows())
    chosen = _classifiers(file, names, [cells for _, cells in rows], options)
    values = np.zeros((len(rows), len(chosen)), np.int8)
    for count, (line, cells) in enumerate(rows):
        for column, name in enumerate(chosen):
            text = cells[names.index(name)]
            if text not in _BITS:
                raise DataError(f"{file}, line {line}: {shown(name)} is {shown(text)}; expected 0 or 1")
            values[count, column] = _BITS[text]
    if options.fps is None:
        options = replace(options, fps=_project_fps(file))
    features = len(names) - len(chosen)
    notes = [f"{features} columns of features are not read"] * bool(features)
    return [collect_frames(file, FrameLabels(values, tuple(chosen)), file.stem, options, notes=notes)]


def _classifiers(
    file: LabelFile, names: Sequence[str], rows: Sequence[Sequence[str]], options: ReadOptions
) -> list[str]:
    if options.labels is not None:
        missing = [name for name in options.labels if name not in names]
        if missing:
            raise DataError(f"{file}: no column {shown(missing[0])}; the file has {listed(names)}")
        return list(options.labels)
    chosen: list[str] = []
    for column in reversed(range(len(names))):
        # Features are decimals, such as 1.0, even if they happen to be whole.
        if not {cells[column] for cells in rows} <= {"0", "1"}:
            break
        chosen.insert(0, names[column])
    if not chosen:
        raise DataError(
            f"{file}: the last column, {shown(names[-1] if names else '')}, doesn't hold 0 and 1 alone; "
            "name the columns of the classifiers with --label NAME (labels=…)"
        )
    return chosen


def _project_fps(file: LabelFile) -> float | None:
    """The rate that a project's logs/video_info.csv gives for this video."""
    log = file.path.resolve().parent.parent.parent / "logs" / "video_info.csv"
    if not log.is_file():
        return None
    for line, row in open_table(log, ("video", "fps")).rows():
        if row["video"] == file.stem:
            return frame_rate(row["fps"], log, f"line {line}")
    return None


def write_simba(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write the index and the columns of classifiers, without features."""
    (item,) = annotations
    labels = to_frames(item, options, "simba")
    rows: list[Sequence[object]] = [["", *labels.names]]
    rows += [[frame, *row] for frame, row in enumerate(labels.values.tolist())]
    write_text(path, csv_text(rows))

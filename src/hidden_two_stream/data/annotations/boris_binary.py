"""Binary tables of BORIS: 0 and 1 for each behavior at a fixed interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hidden_two_stream.data.annotations.boris_tables import delimiter_of
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, to_frames
from hidden_two_stream.data.annotations.frame_labels import FrameLabels
from hidden_two_stream.data.annotations.label_file import LabelFile, csv_rows, csv_values, number
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = ["is_binary", "read_binary", "write_binary"]

_DECIMALS = 3


def is_binary(file: LabelFile) -> bool:
    """Whether the file is a binary table: a column `time`, then behaviors."""
    return re.match(r"\"?time\"?[\t,]", file.lines[0], re.IGNORECASE) is not None and bool(
        re.match(r"[\d.]+([\t,][01])+$", file.lines[1].strip() if len(file.lines) > 1 else "")
    )


def read_binary(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read 0 and 1 at fixed times; a value holds until the next time."""
    mark = "\t" if "\t" in file.lines[0] else ","
    names = [name.strip() for name in csv_values(file, 1, mark)]
    times, values = [], []
    for line, row in csv_rows(file, file.lines[1:], first=2, delimiter=mark):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(names) or not set(cells[1:]) <= {"0", "1"}:
            raise DataError(
                f"{file}, line {line}: {mark.join(row)[:60]!r}; expected a time and {len(names) - 1} times 0 "
                "or 1"
            )
        times.append(number(cells[0], file, f"line {line}"))
        values.append([int(cell) for cell in cells[1:]])
    if len(times) < 2 or (np.diff(times) <= 0).any() or times[0] != 0:
        raise DataError(f"{file}: the times don't increase from 0; expected at least two")
    labels = FrameLabels(np.array(values, np.int8), tuple(names[1:]))
    collector = options.collector(file, file.stem, names[1:])
    collector.labeled = labels.labeled(times)
    end = times[-1] + (times[-1] - times[-2])
    collector.duration_seconds = collector.duration_seconds or end
    collector.notes.append(f"sampled every {end / len(times):.4g} s, so edges are that inexact")
    for segment in labels.to_segments(times):
        collector.add(segment.start_seconds, segment.end_seconds, segment.label, where="its rows")
    return [collector.result()]


def write_binary(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a row per frame, so that no time lies between two frames."""
    (item,) = annotations
    fps = options.need_fps(item, "boris-binary")
    labels = to_frames(item, options, "boris-binary")
    rows: list[list[object]] = [["time", *labels.names]]
    rows += [[f"{k / fps:.{_DECIMALS}f}", *row] for k, row in enumerate(labels.values.tolist())]
    write_text(path, csv_text(rows, delimiter_of(path)))

"""ELAN's tab-delimited export: columns that the user chose, with or without a line of their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.data.annotations.clock import clock_seconds
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = ["is_elan_tab", "read_elan_tab", "write_elan_tab"]

_HEADER = (
    "Tier", "Participant", "Begin Time - msec", "End Time - msec", "Duration - msec", "Annotation",
)  # fmt: skip
_UNITS = ("msec", "ss.msec", "hh:mm:ss.ms")


@dataclass(frozen=True)
class _Columns:
    """Numbers of the columns, and whether times are whole milliseconds."""

    begin: int
    end: int
    value: int
    participant: int | None
    in_milliseconds: bool


def is_elan_tab(file: LabelFile) -> bool:
    """Whether the first line names ELAN's columns, or every line has begin and end times and a text."""
    rows = _rows(file)
    if not rows or len(rows[0][1]) < 3:
        return False
    if _has_header(rows[0][1]):
        return True
    try:
        columns = _guessed_columns(file, rows[:50])
    except DataError:
        return False
    return columns.begin > 0  # a tier stands before it, unlike in Audacity's labels


def read_elan_tab(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a row per annotation; without a line of names, columns are known by what they hold."""
    rows = _rows(file)
    if not rows:
        return [options.collector(file, file.stem).result()]
    if _has_header(rows[0][1]):
        columns = _named_columns(file, rows[0][1])
        rows = rows[1:]
    else:
        columns = _guessed_columns(file, rows)
    collector = options.collector(file, file.stem)
    for line, cells in rows:
        where = f"line {line}"
        if len(cells) <= max(columns.begin, columns.end, columns.value):
            raise DataError(f"{file}, {where}: {len(cells)} values; expected as many as in the first line")
        start, end = (
            _seconds(cells[column], columns.in_milliseconds) for column in (columns.begin, columns.end)
        )
        if start is None or end is None:
            raise DataError(
                f"{file}, {where}: {shown(cells[columns.begin])} or {shown(cells[columns.end])} is not a "
                "time; expected hh:mm:ss.ms, seconds or milliseconds"
            )
        subject = "" if columns.participant is None else cells[columns.participant]
        if not cells[columns.value].strip():
            collector.notes.append("annotations without a value are not read")
            continue
        collector.add(start, end, cells[columns.value], where=where, subject=subject)
    return [collector.result()]


def _rows(file: LabelFile) -> list[tuple[int, list[str]]]:
    return [
        (line, text.split("\t"))
        for line, text in enumerate(file.lines, start=1)
        if text.strip() and not text.startswith("#")
    ]


def _has_header(cells: Sequence[str]) -> bool:
    return any(cell.startswith("Begin Time") for cell in cells)


def _named_columns(file: LabelFile, names: Sequence[str]) -> _Columns:
    for unit in _UNITS:
        begin, end = f"Begin Time - {unit}", f"End Time - {unit}"
        if begin in names and end in names:
            break
    else:
        raise DataError(
            f"{file}: no columns for begin and end time in {', '.join(_UNITS[:2])} or {_UNITS[2]}; export "
            "with both"
        )
    values = [n for n, name in enumerate(names) if name == "Annotation"]
    # With a column per tier, the tiers' names are the headers, and the value is in one of them.
    if not values:
        raise DataError(f"{file}: no column 'Annotation'; export with one column for all tiers")
    participant = names.index("Participant") if "Participant" in names else None
    return _Columns(names.index(begin), names.index(end), values[0], participant, unit == "msec")


def _guessed_columns(file: LabelFile, rows: Sequence[tuple[int, list[str]]]) -> _Columns:
    """Columns by what they hold: times are begin, end and perhaps duration; the last text is the value.

    The two texts before the times, if there are two, are tier and participant.
    """
    width = min(len(cells) for _, cells in rows)
    kinds = [[_kind(cells[column]) for _, cells in rows] for column in range(width)]
    times = [column for column in range(width) if "" not in kinds[column]]
    texts = [column for column in range(width) if column not in times]
    if len(times) < 2 or not texts or texts[-1] < times[1]:
        raise DataError(
            f"{file}: no columns with begin and end times before a text; export with a line of column names"
        )
    before = [column for column in texts if column < times[0]]
    milliseconds = all(kind == "whole" for column in times[:2] for kind in kinds[column])
    return _Columns(times[0], times[1], texts[-1], before[1] if len(before) > 1 else None, milliseconds)


def _kind(text: str) -> str:
    if clock_seconds(text) is not None:
        return "clock"
    digits = text.strip().replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()):
        return ""
    return "seconds" if "." in text else "whole"


def _seconds(text: str, in_milliseconds: bool) -> float | None:
    kind = _kind(text)
    if kind == "clock":
        return clock_seconds(text)
    return float(text) / (1000 if in_milliseconds else 1) if kind else None


def write_elan_tab(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a row per annotation, in milliseconds, with a line of column names; the tier is the label."""
    (item,) = annotations
    lines = ["\t".join(_HEADER)]  # ELAN quotes nothing
    for segment, subject in item.with_subjects():
        start, end = round(segment.start_seconds * 1000), round(segment.end_seconds * 1000)
        cells = (segment.label, subject, start, end, end - start, segment.label)
        lines.append("\t".join(map(str, cells)))
    write_text(path, "".join(f"{line}\n" for line in lines))

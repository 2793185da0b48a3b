"""Tables that BORIS exports: events, old and new, and aggregated events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hidden_two_stream.data.annotations.boris import NOBODY, Event, pair_events
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_of
from hidden_two_stream.data.annotations.label_file import LabelFile, csv_rows, csv_values, frame_rate, number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = [
    "delimiter_of",
    "is_aggregated",
    "is_tabular",
    "read_aggregated",
    "read_tabular",
    "write_aggregated",
    "write_tabular",
]

_MEDIA_COLUMNS = ("Media file name", "Media file path", "Media file")
_LENGTH_COLUMNS = ("Media duration (s)", "Total length")
_RATE_COLUMNS = ("FPS (frame/s)", "FPS")
_TABULAR = (
    "Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source",
    "Time offset (s)", "Media duration (s)", "FPS", "Subject", "Behavior", "Behavioral category",
    "Behavior type", "Time", "Media file name", "Image index", "Image file path", "Comment",
)  # fmt: skip
_AGGREGATED = (
    "Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)",
    "Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject",
    "Observation duration by subject by observation", "Behavior", "Behavioral category", "Behavior type",
    "Start (s)", "Stop (s)", "Duration (s)", "Media file name", "Image index start", "Image index stop",
    "Image file path start", "Image file path stop", "Comment start", "Comment stop",
)  # fmt: skip
_UNREAD = ("Comment", "Comment start", "Comment stop", "Behavioral category")
_DECIMALS = 3


@dataclass
class _Table:
    """Rows by column, with the line of each, and what a header block says."""

    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    header: dict[str, str] = field(default_factory=dict)


def _table(file: LabelFile, needed: Sequence[str]) -> _Table:
    """Read the table that begins at the first line that names all `needed` columns.

    Raises:
        DataError: there is none, or a row has more values than there are columns.
    """
    found = _Table()
    first, mark, names = 0, ",", [""]
    for count, text in enumerate(file.lines, start=1):
        mark = "\t" if "\t" in text else ","
        names = csv_values(file, count, mark)
        if set(needed) <= set(names):
            first = count
            break
        if len(names) > 1 and names[0]:
            found.header[names[0]] = names[1]
    if not first:
        raise DataError(
            f"{file}: no line names the columns {', '.join(needed)}; expected a table that BORIS exported"
        )
    for line, values in csv_rows(file, file.lines[first:], first + 1, mark):
        if len(values) > len(names):
            raise DataError(
                f"{file}, line {line}: {len(values)} values for {len(names)} columns; export it again"
            )
        if any(values):
            found.rows.append((line, dict(zip(names, values, strict=False))))
    return found


def _first(row: dict[str, str], names: Sequence[str]) -> str:
    return next((row[name] for name in names if row.get(name, "NA") not in ("", "NA")), "")


def _subject(text: str) -> str:
    return "" if text == NOBODY else text


def _observations(
    file: LabelFile, table: _Table, options: ReadOptions
) -> list[tuple[SegmentCollector, list[tuple[str, dict[str, str]]]]]:
    """Return a collector for each observation, with its rows and their places."""
    groups: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in table.rows:
        groups.setdefault(row.get("Observation id", ""), []).append((line, row))
    found = []
    for name, rows in groups.items():
        videos = list(dict.fromkeys(filter(None, (_first(row, _MEDIA_COLUMNS) for _, row in rows))))
        if len(videos) > 1:
            raise DataError(
                f"{file}: the observation {shown(name)} has {len(videos)} media files, {shown(videos[0])} "
                "and others, with times that run on; read the BORIS project (.boris), which has their "
                "lengths"
            )
        observation = name or table.header.get("Observation id", file.stem)
        collector = options.collector(file, videos[0] if videos else observation)
        first_line, first = rows[0]
        where = f"line {first_line}"
        collector.fps = collector.fps or frame_rate(_first(first, _RATE_COLUMNS), file, where)
        if collector.duration_seconds is None and (length := _first(first, _LENGTH_COLUMNS)):
            collector.duration_seconds = number(length, file, where, "length") or None
        offset = _first(first, ["Time offset (s)"]) or table.header.get("Time offset (s)", "")
        if offset and number(offset, file, where, "time offset"):
            collector.notes.append(f"the time offset of {offset} s is not applied")
        unread = [column for column in _UNREAD if any(row.get(column) for _, row in rows)]
        collector.notes += [f"the column {column} is not read" for column in unread]
        found.append((collector, [(f"line {line}", row) for line, row in rows]))
    return found


def _modifiers(row: dict[str, str]) -> str:
    return "|".join(value for name, value in row.items() if name.startswith("Modifier") and value)


# -- events ----------------------------------------------------------------------------------------


def is_tabular(file: LabelFile) -> bool:
    """Whether the file is a table of events, old or new."""
    return any(
        re.match(r"(?=.*\bTime\b)(?=.*\bSubject\b)(?=.*\bBehavior\b)(?!.*Start \(s\))", line)
        for line in file.lines[:200]
    )


def read_tabular(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a table of events with START, STOP and POINT, old or new."""
    table = _table(file, ("Time", "Subject", "Behavior"))
    found = []
    for collector, rows in _observations(file, table, options):
        events = []
        for where, row in rows:
            kind = (row.get("Behavior type") or row.get("Status") or "").upper()
            if kind not in ("START", "STOP", "POINT"):
                raise DataError(f"{file}, {where}: the event is {shown(kind)}; expected START, STOP or POINT")
            seconds = number(row.get("Time"), file, where)
            label, subject = row.get("Behavior", ""), _subject(row.get("Subject", ""))
            events.append(Event(seconds, subject, label, _modifiers(row), kind, where))
            collector.know(label)
        pair_events(events, collector)
        found.append(collector.result())
    return found


def write_tabular(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a new table of events, separated by tabs, or by commas if the suffix is .csv."""
    rows: list[Sequence[object]] = [_TABULAR]
    for item in annotations:
        events = []
        for segment, subject in item.with_subjects():
            if segment.is_point:
                events.append((segment.start_seconds, "POINT", segment.label, subject))
                continue
            events.append((segment.start_seconds, "START", segment.label, subject))
            events.append((segment.end_seconds, "STOP", segment.label, subject))
        for seconds, kind, label, subject in sorted(events, key=lambda event: (event[0], event[1] != "STOP")):
            values = _common(item, options, subject, label)
            values |= {"Behavior type": kind, "Time": f"{seconds:.{_DECIMALS}f}"}
            values |= {"Image index": _image(seconds, item, options)}
            rows.append([values.get(name, "") for name in _TABULAR])
    write_text(path, csv_text(rows, delimiter_of(path)))


def _common(item: Annotations, options: WriteOptions, subject: str, label: str) -> dict[str, object]:
    fps, length = options.fps or item.fps, item.duration_seconds
    return {
        "Observation id": item.video,
        "Observation type": "Media file(s)",
        "Source": f"player #1:{item.video}",
        "Time offset (s)": "0.0",
        "Media duration (s)": "NA" if length is None else f"{length:.{_DECIMALS}f}",
        **dict.fromkeys(_RATE_COLUMNS, "NA" if fps is None else f"{fps:.6g}"),
        "Subject": subject or NOBODY,
        "Behavior": label,
        "Media file name": item.video,
    }


def _image(seconds: float, item: Annotations, options: WriteOptions) -> str:
    fps = options.fps or item.fps
    return "NA" if fps is None else str(frame_of(seconds, fps))


def delimiter_of(path: Path) -> str:
    """Return what separates values in a file that is tab-separated unless its suffix is .csv."""
    return "," if path.suffix.lower() == ".csv" else "\t"


# -- aggregated events -----------------------------------------------------------------------------


def is_aggregated(file: LabelFile) -> bool:
    """Whether the file is a table of aggregated events."""
    return all(name in file.lines[0] for name in ("Behavior", "Start (s)", "Stop (s)"))


def read_aggregated(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a table with a row per bout."""
    table = _table(file, ("Behavior", "Start (s)", "Stop (s)"))
    found = []
    for collector, rows in _observations(file, table, options):
        if any(map(_modifiers, (row for _, row in rows))):
            collector.notes.append("modifiers of behaviors are not read")
        for where, row in rows:
            start = number(row.get("Start (s)"), file, where, "start")
            is_point = row.get("Behavior type", "").upper() == "POINT"
            end = start if is_point else number(row.get("Stop (s)"), file, where, "stop")
            subject = _subject(row.get("Subject", ""))
            collector.add(start, end, row.get("Behavior", ""), where=where, subject=subject)
        found.append(collector.result())
    return found


def write_aggregated(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a row per bout, separated by commas, or by tabs if the suffix is .tsv."""
    rows: list[Sequence[object]] = [_AGGREGATED]
    for item in annotations:
        for segment, subject in item.with_subjects():
            start, end = segment.start_seconds, segment.end_seconds
            values = _common(item, options, subject, segment.label)
            values |= {
                "Behavior type": "POINT" if segment.is_point else "STATE",
                "Start (s)": f"{start:.{_DECIMALS}f}",
                "Stop (s)": f"{end:.{_DECIMALS}f}",
                "Duration (s)": "NA" if segment.is_point else f"{end - start:.{_DECIMALS}f}",
                "Image index start": _image(start, item, options),
                "Image index stop": _image(end, item, options),
            }
            rows.append([values.get(name, "") for name in _AGGREGATED])
    write_text(path, csv_text(rows, "\t" if path.suffix.lower() == ".tsv" else ","))

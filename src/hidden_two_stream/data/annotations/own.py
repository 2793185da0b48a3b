"""This project's own label files: a CSV with a row per segment, and JSON, which holds everything."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_range
from hidden_two_stream.data.annotations.label_file import LabelFile, expect, frame_rate, named, number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.text_files import open_table
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_json, write_text

__all__ = [
    "COLUMNS",
    "csv_text",
    "is_csv",
    "is_json",
    "read_csv",
    "read_json",
    "write_csv",
    "write_json_file",
]

COLUMNS = ("path", "label", "start_seconds", "end_seconds")
_MORE_COLUMNS = ("score", "subject", "start_frame", "end_frame")
_JSON_NAME = "hidden-two-stream labels"
_JSON_VERSION = 1


def csv_text(rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    """Return rows as CSV with line feeds."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


# -- CSV -------------------------------------------------------------------------------------------


def is_csv(file: LabelFile) -> bool:
    """Whether the first line names our columns."""
    first = file.text.lstrip().partition("\n")[0].lower()
    return all(name in first for name in COLUMNS)


def read_csv(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a row per segment; an empty end, or one that equals the start, is a point."""
    file.check_size()
    table = open_table(file.path, COLUMNS, _MORE_COLUMNS)
    videos: dict[str, SegmentCollector] = {}
    unread = [name for name in table.columns if name and name not in (*COLUMNS, *_MORE_COLUMNS)]
    for line, row in table.rows():
        where = f"line {line}"
        if not row["path"]:
            raise DataError(f"{file}, {where}: the path is empty")
        video = videos.setdefault(row["path"], options.collector(file, row["path"]))
        start, end, score = (
            number(text.replace(",", ".") if table.delimiter == ";" else text, file, where, name)
            if (text := row.get(name, ""))
            else None
            for name in ("start_seconds", "end_seconds", "score")
        )
        if start is None:
            raise DataError(f"{file}, {where}: start_seconds is empty; expected seconds, 0 or more")
        end = start if end is None else end
        video.add(start, end, row["label"], where=where, subject=row.get("subject", ""), score=score)
    for video in videos.values():
        video.notes += [f"the columns {', '.join(unread)} are not read"] if unread else []
    return [video.result() for video in videos.values()]


def write_csv(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a row per segment, with frames from 0 (the end excluded) where the rate is known."""
    has_scores = any(segment.score is not None for item in annotations for segment in item.segments)
    has_subjects = any(item.subjects for item in annotations)
    has_frames = all(options.fps or item.fps for item in annotations)
    extra = [*["score"] * has_scores, *["subject"] * has_subjects]
    rows: list[list[object]] = [[*COLUMNS, *extra, *["start_frame", "end_frame"] * has_frames]]
    for item in annotations:
        fps = options.fps or item.fps
        for segment, subject in item.with_subjects():
            start, end = segment.start_seconds, segment.end_seconds
            values: dict[str, object] = {
                "score": "" if segment.score is None else segment.score,
                "subject": subject,
            }
            frames = frame_range(start, end, fps) if has_frames and fps else ()
            rows.append([item.video, segment.label, start, end, *(values[name] for name in extra), *frames])
    write_text(path, csv_text(rows))


# -- JSON ------------------------------------------------------------------------------------------


def is_json(file: LabelFile) -> bool:
    """Whether the file says that it is ours."""
    return isinstance(file.json, dict) and file.json.get("format") == _JSON_NAME


def read_json(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read all that `write_json_file` writes."""
    data = expect(file.json, dict, file, "the file")
    if data.get("version") != _JSON_VERSION:
        raise DataError(
            f"{file} has version {shown(data.get('version'))}; expected {_JSON_VERSION}: update this program"
        )
    return [_video(row, file, options) for row in named(data, "videos", list, file, "the file")]


def _video(row: Any, file: LabelFile, options: ReadOptions) -> Annotations:
    row = expect(row, dict, file, "a video")
    name = named(row, "video", str, file, "a video")
    place = f"the video {shown(name)}"
    labels = [expect(label, str, file, "a label") for label in named(row, "labels", list, file, place)]
    collector = options.collector(file, name, labels)
    collector.fps = collector.fps or frame_rate(row.get("fps"), file, place)
    if row.get("duration_seconds") is not None and collector.duration_seconds is None:
        collector.duration_seconds = number(row["duration_seconds"], file, place, "duration_seconds")
    if row.get("labeled") is not None:
        collector.labeled = [
            (
                number(pair[0], file, "labeled"),
                math.inf if pair[1] is None else number(pair[1], file, "labeled"),
            )
            for pair in (_pair(value, file) for value in named(row, "labeled", list, file, "a video"))
        ]
    for count, value in enumerate(named(row, "segments", list, file, f"the video {shown(name)}")):
        where = f"segment {count} of {shown(name)}"
        segment = expect(value, dict, file, where)
        start, end = (number(segment.get(key), file, where, key) for key in ("start_seconds", "end_seconds"))
        score = segment.get("score")
        collector.add(
            start,
            end,
            named(segment, "label", str, file, where),
            where=where,
            subject=expect(segment.get("subject", ""), str, file, f"the subject of {where}"),
            score=None if score is None else number(score, file, where, "score"),
        )
    return collector.result()


def _pair(value: Any, file: LabelFile) -> list[Any]:
    pair: list[Any] = expect(value, list, file, "an interval of 'labeled'")
    if len(pair) != 2:
        raise DataError(f"{file}: an interval of 'labeled' has {len(pair)} numbers; expected start and end")
    return pair


def write_json_file(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write everything that annotations hold, except notes."""
    videos = []
    for item in annotations:
        segments = []
        for segment, subject in item.with_subjects():
            row: dict[str, object] = {
                "start_seconds": segment.start_seconds,
                "end_seconds": segment.end_seconds,
                "label": segment.label,
            }
            row |= {} if segment.score is None else {"score": segment.score}
            segments.append(row | ({"subject": subject} if subject else {}))
        labeled = item.labeled and [[start, None if end == math.inf else end] for start, end in item.labeled]
        videos.append(
            {
                "video": item.video,
                "fps": options.fps or item.fps,
                "duration_seconds": item.duration_seconds,
                "labels": list(item.labels),
                "labeled": labeled,
                "segments": segments,
            }
        )
    write_json(path, {"format": _JSON_NAME, "version": _JSON_VERSION, "videos": videos})

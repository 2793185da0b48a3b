"""Label files of datasets as tables: EPIC-KITCHENS-100 and AVA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.clock import clock_seconds, clock_text
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile, csv_rows, csv_values, number
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector, video_id
from hidden_two_stream.data.annotations.own import csv_text
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.text_files import open_table
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import write_text

__all__ = ["is_ava", "is_epic", "read_ava", "read_epic", "write_ava", "write_epic"]

_EPIC_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb", "noun")
_EPIC_COLUMNS = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip
_AVA_WIDTH = 8
_AVA_HALF = 0.5  # s: a label stands for this long before and after its second


# -- EPIC-KITCHENS ---------------------------------------------------------------------------------


def is_epic(file: LabelFile) -> bool:
    """Whether the first line names the columns of EPIC-KITCHENS-100."""
    return set(_EPIC_NEEDED) <= set(file.lines[0].split(","))


def read_epic(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a row per action: the label is verb and noun, the subject the participant."""
    file.check_size()
    videos: dict[str, SegmentCollector] = {}
    for line, row in open_table(file.path, _EPIC_NEEDED).rows():
        where = f"line {line}"
        start, end = (clock_seconds(row[name]) for name in ("start_timestamp", "stop_timestamp"))
        if start is None or end is None:
            raise DataError(
                f"{file}, {where}: {shown(row['start_timestamp'])} or {shown(row['stop_timestamp'])} is not "
                "a time; expected hh:mm:ss.ss"
            )
        video = videos.setdefault(row["video_id"], options.collector(file, row["video_id"]))
        label = f"{row['verb']} {row['noun']}"
        video.add(start, end, label, where=where, subject=row.get("participant_id", ""))
    for video in videos.values():
        video.notes.append("class numbers, narrations and further nouns are not read")
    return [video.result() for video in videos.values()]


def write_epic(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a row per action: the first word of a label is the verb; class numbers stay empty."""
    rows: list[Sequence[object]] = [_EPIC_COLUMNS]
    for item in annotations:
        name, fps = video_id(item.video), options.need_fps(item, "epic-kitchens")
        for count, (segment, subject) in enumerate(item.with_subjects()):
            verb, _, noun = segment.label.partition(" ")
            times = [clock_text(t, 2) for t in (segment.start_seconds, segment.end_seconds)]
            # Frames of the dataset: floor(t · fps), at least 1.
            frames = [
                max(math.floor(t * fps + 1e-6), 1) for t in (segment.start_seconds, segment.end_seconds)
            ]
            values = [f"{name}_{count}", subject, name, clock_text(segment.start_seconds), *times, *frames]
            rows.append([*values, segment.label, verb, "", noun, "", [noun], []])
    write_text(path, csv_text(rows))


# -- AVA -------------------------------------------------------------------------------------------


def is_ava(file: LabelFile) -> bool:
    """Whether lines hold a video, a second, four numbers from 0 to 1, an action and a person."""
    cells = csv_values(file, 1)
    try:
        return len(cells) == _AVA_WIDTH and all(0 <= float(cell) <= 1 for cell in cells[2:6])
    except ValueError:
        return False


def read_ava(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read labels at whole seconds, each for half a second before and after; the subject is the person.

    Labels of following seconds become one segment.
    """
    videos: dict[str, dict[tuple[str, str], list[tuple[float, int]]]] = {}
    for line, cells in csv_rows(file, file.lines):
        if not cells:
            continue
        if len(cells) != _AVA_WIDTH:
            raise DataError(f"{file}, line {line}: {len(cells)} values; expected {_AVA_WIDTH}")
        video, second, *_, action, person = cells
        seconds = number(second, file, f"line {line}")
        if seconds != int(seconds):
            raise DataError(f"{file}, line {line}: the time is {shown(second)}; expected a whole second")
        videos.setdefault(video, {}).setdefault((action, person), []).append((seconds, line))
    found = []
    for video, tracks in videos.items():
        collector = options.collector(file, video, sorted({action for action, _ in tracks}, key=_by_number))
        collector.notes.append("boxes are not read")
        for (action, person), times in tracks.items():
            for first, last, line in _joined(times):
                start, end = max(first - _AVA_HALF, 0.0), last + _AVA_HALF
                collector.add(start, end, action, where=f"line {line}", subject=person)
        found.append(collector.result())
    return found


def _by_number(text: str) -> tuple[float, str]:
    return (float(text) if text.isdigit() else math.inf, text)


def _joined(times: Sequence[tuple[float, int]]) -> list[tuple[float, float, int]]:
    """First and last second of each run of seconds, and the line of the first."""
    found: list[tuple[float, float, int]] = []
    for second, line in sorted(times):
        if found and second <= found[-1][1] + 1:
            found[-1] = (found[-1][0], second, found[-1][2])
        else:
            found.append((second, second, line))
    return found


def write_ava(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write the labels at the whole seconds that lie in segments, with a box that is the whole image.

    Raises:
        UsageError: a label is not a number, as AVA's actions are.
    """
    rows: list[Sequence[object]] = []
    for item in annotations:
        for segment, subject in item.with_subjects():
            if not segment.label.isdigit():
                raise UsageError(
                    f"the label {shown(segment.label)} cannot be written for AVA; its actions are numbers"
                )
            first, stop = math.ceil(segment.start_seconds), math.ceil(segment.end_seconds)
            box = ("0.000", "0.000", "1.000", "1.000")
            rows += [
                (video_id(item.video), f"{t:04d}", *box, segment.label, subject) for t in range(first, stop)
            ]
    write_text(path, csv_text(sorted(rows, key=lambda row: (row[0], row[1]))))

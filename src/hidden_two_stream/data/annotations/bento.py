"""Bento annotation files (.annot), also of MARS: bouts by channel and behavior, in frames or seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.frame_labels import frame_range
from hidden_two_stream.data.annotations.label_file import LabelFile, frame_rate, number, whole_number
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = ["is_bento", "read_bento", "write_bento"]

_TITLE = "Bento annotation file"
_NOBODY = "Ch1"
"""The channel of segments of nobody in particular."""

_NUMBER = re.compile("[0-9]{1,9}")
_CHANNEL = re.compile(r"(.+?)-{5,}\s*")
_FIELD = re.compile(
    r"(Movie file\(s\)|Annotation start frame|Annotation stop frame|Annotation framerate):(.*)"
)


def is_bento(file: LabelFile) -> bool:
    """Whether the first line says so."""
    return file.lines[0].strip() == _TITLE


def read_bento(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read all bouts; the subject is the channel, unless it is Ch1.

    Bouts are frames from 1, the end included, unless a number has a decimal point: then they are seconds.
    """
    header = {found[1]: found[2].strip() for line in file.lines if (found := _FIELD.match(line))}
    fps = options.fps or frame_rate(header.get("Annotation framerate"), file, "the header")
    options = replace(options, fps=fps)
    rows = _bouts(file)
    in_seconds = any("." in cell for _, _, _, cells in rows for cell in cells)
    per_second = 1.0 if in_seconds else options.need_fps(file)
    collector = options.collector(file, header.get("Movie file(s)") or file.stem, _behaviors(file))
    first, last = (header.get(f"Annotation {name} frame", "") for name in ("start", "stop"))
    if fps and _NUMBER.fullmatch(first) and _NUMBER.fullmatch(last) and int(last) >= int(first) >= 1:
        collector.labeled = [((int(first) - 1) / fps, int(last) / fps)]
    for line, channel, label, cells in rows:
        where = f"line {line}"
        if in_seconds:
            start, end = (number(cell, file, where) for cell in cells[:2])
        else:
            begin, stop = (whole_number(cell, file, where) for cell in cells[:2])
            if begin < 1 or stop < begin:
                raise DataError(f"{file}, {where}: frames {begin} to {stop}; expected first and last, from 1")
            start, end = (begin - 1) / per_second, stop / per_second
        subject = "" if channel == _NOBODY else channel
        collector.add(start, end, label, where=where, subject=subject)
    return [collector.result()]


def _behaviors(file: LabelFile) -> list[str]:
    """The list of annotations in the header."""
    if "List of annotations:" not in file.lines:
        return []
    names: list[str] = []
    for line in file.lines[file.lines.index("List of annotations:") + 1 :]:
        if not line.strip():
            break
        names.append(line.strip())
    return names


def _bouts(file: LabelFile) -> list[tuple[int, str, str, list[str]]]:
    """Line, channel, behavior, and start, stop and duration as texts, of each bout."""
    channel, label = _NOBODY, ""
    found = []
    for line, text in enumerate(file.lines, start=1):
        if match := _CHANNEL.fullmatch(text):
            channel, label = match[1], ""
        elif text.startswith(">"):
            label = text[1:].strip()
        elif label and re.match(r"\s*[-+.\d]", text):
            cells = text.split()
            if len(cells) < 2:
                raise DataError(f"{file}, line {line}: {text[:60]!r}; expected start, stop and duration")
            found.append((line, channel, label, cells))
    return found


def write_bento(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a channel per subject, in frames."""
    (item,) = annotations
    fps, count = options.need_fps(item, "bento"), options.need_frames(item, "bento")
    channels = {subject: subject or _NOBODY for _, subject in item.with_subjects()} or {"": _NOBODY}
    (start, end), *_ = item.labeled or ((0.0, count / fps),)
    first, stop = frame_range(start, min(end, count / fps), fps)
    lines = [
        _TITLE,
        f"Movie file(s): {item.video}",
        "",
        "Stimulus name: ",
        f"Annotation start frame: {first + 1}",
        f"Annotation stop frame: {stop}",
        f"Annotation framerate: {fps:.6f}",
        "",
        "List of channels:",
        *channels.values(),
        "",
        "List of annotations:",
        *item.labels,
        "",
    ]
    for subject, channel in channels.items():
        lines.append(f"{channel}----------")
        for label in item.labels:
            lines += [f">{label}", "Start\tStop\tDuration"]
            for segment in item.of_subject(subject).segments:
                if segment.label == label:
                    begin, after = frame_range(segment.start_seconds, segment.end_seconds, fps)
                    lines.append(f"{begin + 1}\t{after}\t{after - begin}")
            lines.append("")
        lines.append("")
    write_text(path, "\n".join(lines))

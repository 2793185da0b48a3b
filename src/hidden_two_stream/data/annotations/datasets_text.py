"""Label files of datasets in plain text: MS-TCN's ground truth, and KTH."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions, collect_frames, to_frames
from hidden_two_stream.data.annotations.frame_labels import frame_range
from hidden_two_stream.data.annotations.label_file import LabelFile, whole_number
from hidden_two_stream.data.annotations.model import Annotations, video_id
from hidden_two_stream.data.annotations.quoting import listed, shown
from hidden_two_stream.data.annotations.words import background_words, word_rows
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import write_text

__all__ = [
    "is_kth",
    "is_mstcn",
    "read_kth",
    "read_mstcn",
    "write_kth",
    "write_mstcn",
]

_NUMBER = re.compile("[0-9]{1,9}")
_KTH_NAME = re.compile(r"(person\d+)_([a-z]+)_d\d")
_SPARE_ROWS = 1


# -- MS-TCN ----------------------------------------------------------------------------------------


def is_mstcn(file: LabelFile) -> bool:
    """Whether each line is a word that is no number, and lines repeat."""
    lines = [line.strip() for line in file.lines if line.strip()]
    words = set(lines)
    return 0 < len(words) <= len(lines) // 2 and not any(re.search(r"\t|-->|^\d", w) for w in words)


def read_mstcn(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a word per frame; a mapping beside the file or above it gives the order of the words."""
    words = [line.strip() for line in file.lines]
    while words and not words[-1]:
        words.pop()
    if "" in words:
        raise DataError(f"{file}, line {words.index('') + 1} is empty; expected a word per frame")
    vocabulary, mapping = _mapping(file)
    for line, word in enumerate(words, start=1):
        if vocabulary and word not in vocabulary:
            raise DataError(
                f"{file}, line {line}: unknown word {shown(word)}; {mapping} has {listed(vocabulary)}"
            )
    labels = word_rows(words, vocabulary, background_words(options))
    return [collect_frames(file, labels, file.stem, options, spare=_SPARE_ROWS)]


def _mapping(file: LabelFile) -> tuple[list[str], str]:
    """Words of the only `…mapping.txt` beside the file or one folder above, in order, and its name."""
    for folder in (file.path.parent, file.path.resolve().parent.parent):
        paths = sorted(folder.glob("*mapping.txt"))
        if len(paths) == 1:
            mapping = LabelFile(paths[0])
            rows = [text.split(maxsplit=1) for text in mapping.lines if text.strip()]
            if all(len(row) == 2 and _NUMBER.fullmatch(row[0]) for row in rows):
                return [row[1].strip() for row in sorted(rows, key=lambda row: int(row[0]))], paths[0].name
    return [], ""


def write_mstcn(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write a word per frame, without a mapping."""
    (item,) = annotations
    values = to_frames(item, options, "mstcn").values == 1
    words = np.array([*item.labels, options.background or "background"], dtype=object)
    classes = np.where(values.any(axis=1), np.argmax(values, axis=1) if item.labels else -1, -1)
    write_text(path, "".join(f"{word}\n" for word in words[classes]))


# -- KTH -------------------------------------------------------------------------------------------


def is_kth(file: LabelFile) -> bool:
    """Whether a line is such as `person01_boxing_d1 frames 1-95, 96-185`."""
    return any(re.match(r"person\d+_\w+_d\d\s+(frames\b|\*missing)", line) for line in file.lines)


def read_kth(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read the intervals of each video, which count frames from 1; the action is part of its name."""
    fps = options.need_fps(file)
    found = []
    for line, text in enumerate(file.lines, start=1):
        match = _KTH_NAME.match(text.strip())
        if match is None:
            continue  # a heading
        collector = options.collector(file, match[0], [match[2]])
        if "missing" in text:
            collector.notes.append("the file says that the video is missing")
        spans = re.findall(r"(\d+)\s*-\s*(\d+)", text.partition("frames")[2])
        if not spans and "missing" not in text:
            raise DataError(f"{file}, line {line}: {text.strip()[:60]!r}; expected frames 1-95, 96-185, …")
        for first, last in spans:
            where = f"line {line}"
            begin, stop = (whole_number(text, file, where) for text in (first, last))
            if begin < 1 or stop < begin:
                raise DataError(f"{file}, {where}: frames {begin}-{stop}; expected first-last, from 1")
            collector.add((begin - 1) / fps, stop / fps, match[2], where=where, subject=match[1])
        found.append(collector.result())
    return found


def write_kth(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:
    """Write the intervals of each video.

    Raises:
        UsageError: a video isn't named as in the dataset, or its labels are not the action of its name.
    """
    lines = []
    for item in annotations:
        match = _KTH_NAME.match(video_id(item.video))
        if match is None or {segment.label for segment in item.segments} - {match[2]}:
            raise UsageError(
                f"{shown(item.video)} cannot be written for KTH: its name must be such as "
                "person01_boxing_d1, and its only label the action of the name"
            )
        fps = options.need_fps(item, "kth")
        spans = [frame_range(segment.start_seconds, segment.end_seconds, fps) for segment in item.segments]
        frames = "\t\tframes\t" + ", ".join(f"{first + 1}-{stop}" for first, stop in spans)
        lines.append(match[0] + (frames if spans else "\t\t*missing*") + "\n")
    write_text(path, "".join(lines))

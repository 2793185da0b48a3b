"""Subtitles as labels (WebVTT, SubRip), and Audacity's label tracks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.clock import clock_seconds, clock_text
from hidden_two_stream.data.annotations.format import ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile, number
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import write_text

__all__ = [
    "is_audacity",
    "is_subrip",
    "is_webvtt",
    "read_audacity",
    "read_subrip",
    "read_webvtt",
    "write_audacity",
    "write_subrip",
    "write_webvtt",
]

_ARROW = "-->"
_VOICE = re.compile(r"<v(?:\.[^ >]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
_SUBRIP_TAG = re.compile(r"</?(?:[bius]|font[^>]*)>|\{\\[^}]*\}", re.IGNORECASE)
_FREQUENCIES = "\\"


def is_webvtt(file: LabelFile) -> bool:
    """Whether the first line says WEBVTT."""
    return file.lines[0].startswith("WEBVTT")


def is_subrip(file: LabelFile) -> bool:
    """Whether a line has the arrow between two times."""
    return any(_ARROW in line for line in file.lines[:20])


def read_webvtt(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a segment per cue. A voice, as in `<v Anna>walk`, is the subject; other tags are left out."""
    if not is_webvtt(file):
        raise DataError(f"{file}, line 1: {file.lines[0][:40]!r}; expected WEBVTT")
    return _read_cues(file, options, is_webvtt=True)


def read_subrip(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read a segment per subtitle."""
    return _read_cues(file, options, is_webvtt=False)


def _read_cues(file: LabelFile, options: ReadOptions, *, is_webvtt: bool) -> list[Annotations]:
    collector = options.collector(file, file.stem)
    for line, start, end, text in _cues(file):
        voice = _VOICE.search(text) if is_webvtt else None
        plain = (_TAG if is_webvtt else _SUBRIP_TAG).sub("", text)
        if plain != text and not (voice and _VOICE.sub("", text, count=1) == plain):
            collector.notes.append("markup in texts is not read")
        label = html.unescape(plain) if is_webvtt else plain
        subject = html.unescape(voice[1]) if voice else ""
        collector.add(start, end, " ".join(label.split()), where=f"line {line}", subject=subject)
    return [collector.result()]


def _cues(file: LabelFile) -> Iterator[tuple[int, float, float, str]]:
    """Yield line, start, end and text of each cue; the text goes on to the next empty line."""
    lines = iter(enumerate(file.lines, start=1))
    for line, text in lines:
        if _ARROW not in text:
            continue
        left, _, right = text.partition(_ARROW)
        start, end = clock_seconds(left), clock_seconds((right.split() or [""])[0])  # settings may follow
        if start is None or end is None:
            raise DataError(f"{file}, line {line}: {text[:60]!r}; expected hh:mm:ss.mmm --> hh:mm:ss.mmm")
        words = []
        for _, more in lines:
            if not more.strip():
                break
            words.append(more)
        yield line, start, end, " ".join(words)


def write_webvtt(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a cue per segment; a subject becomes a voice."""
    (item,) = annotations
    cues = [
        f"{count}\n{clock_text(segment.start_seconds)} {_ARROW} {clock_text(segment.end_seconds)}\n"
        + (f"<v {html.escape(subject, quote=False)}>" if subject else "")
        + f"{html.escape(segment.label, quote=False)}\n"
        for count, (segment, subject) in enumerate(item.with_subjects(), start=1)
    ]
    write_text(path, "\n".join(["WEBVTT\n", *cues]))


def write_subrip(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a subtitle per segment."""
    (item,) = annotations
    cues = [
        f"{count}\n{clock_text(segment.start_seconds, mark=',')} {_ARROW} "
        f"{clock_text(segment.end_seconds, mark=',')}\n{segment.label}\n"
        for count, segment in enumerate(item.segments, start=1)
    ]
    write_text(path, "\n".join(cues))


# -- Audacity --------------------------------------------------------------------------------------


def is_audacity(file: LabelFile) -> bool:
    """Whether the lines begin with two numbers and a tab."""
    lines = [line for line in file.lines if line.strip() and not line.startswith(_FREQUENCIES)]
    return bool(lines) and all(re.match(r"\d+[.,]?\d*\t\d+[.,]?\d*\t", line) for line in lines[:50])


def read_audacity(file: LabelFile, options: ReadOptions) -> list[Annotations]:
    """Read start, end and label, separated by tabs; equal times are a point."""
    collector = options.collector(file, file.stem)
    for line, text in enumerate(file.lines, start=1):
        if text.startswith(_FREQUENCIES):
            collector.notes.append("frequency ranges of labels are not read")
            continue
        if not text.strip():
            continue
        cells = text.split("\t", 2)
        if len(cells) != 3:
            raise DataError(f"{file}, line {line}: {text[:60]!r}; expected start, end and label between tabs")
        start, end = (number(cell.replace(",", "."), file, f"line {line}") for cell in cells[:2])
        collector.add(start, end, cells[2], where=f"line {line}")
    return [collector.result()]


def write_audacity(path: Path, annotations: Sequence[Annotations], options: WriteOptions) -> None:  # noqa: ARG001
    """Write a line per segment, in microseconds as Audacity does."""
    (item,) = annotations
    rows = [f"{s.start_seconds:.6f}\t{s.end_seconds:.6f}\t{s.label}\n" for s in item.segments]
    write_text(path, "".join(rows))

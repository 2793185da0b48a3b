"""Writes the segments of videos to a file: a table, JSON, subtitles, or a file for ELAN or BORIS.

`SEGMENT_WRITERS` is the one table of formats: a suffix, and the function that writes such a file.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.annotations.files import write_annotations
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import write_text
from hidden_two_stream.types import Segment
from hidden_two_stream.video.finding import is_url

__all__ = [
    "SEGMENT_WRITERS",
    "SegmentWriter",
    "check_segments_path",
    "segment_dict",
    "write_segments",
]

SegmentsOfVideos = Mapping[str, Sequence[Segment]]
"""The segments of each video, by its path or URL."""


@dataclass(frozen=True)
class SegmentWriter:
    """One format.

    Attributes:
        write: writes the file, and returns notes on what it cannot hold.
        many_videos: whether one file can hold the segments of several videos.
    """

    write: Callable[[Path, SegmentsOfVideos], tuple[str, ...]]
    many_videos: bool


def check_segments_path(path: Path, num_videos: int = 1) -> None:
    """Check that `write_segments` can write to a path, before the segments are computed.

    Args:
        path: the file.
        num_videos: how many videos are to be written.

    Raises:
        UsageError: the suffix is unknown, or the format holds a single video and there are several.
        OutputError: the folder does not exist.
    """
    writer = SEGMENT_WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError(
            f"cannot write segments as {path.name!r}; expected a name that ends in "
            f"{', '.join(SEGMENT_WRITERS)}"
        )
    if num_videos > 1 and not writer.many_videos:
        several = ", ".join(suffix for suffix, other in SEGMENT_WRITERS.items() if other.many_videos)
        raise UsageError(
            f"a {path.suffix} file holds the segments of one video, but there are {num_videos}; give one "
            f"video, or a file that ends in {several}"
        )
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: no folder {str(path.parent)!r}; create it first")


def write_segments(path: str | os.PathLike[str], found: SegmentsOfVideos) -> tuple[str, ...]:
    """Write the segments of videos atomically, in the format of the suffix.

    Args:
        path: the file: .csv (columns path, start_seconds, end_seconds, label, score; `hts train` and `hts
            evaluate` read it), .json, .vtt or .srt (subtitles), .eaf (ELAN), or .boris (a BORIS project).
        found: the segments of each video, by its path or URL.

    Returns:
        Notes on what the format cannot hold, such as scores.

    Raises:
        UsageError, OutputError: as `check_segments_path`; also OutputError if the file cannot be written.
    """
    file = Path(path)
    check_segments_path(file, len(found))
    return SEGMENT_WRITERS[file.suffix.lower()].write(file, found)


def segment_dict(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON-ready data; times in seconds."""
    return {
        "start_seconds": round(segment.start_seconds, 6),
        "end_seconds": round(segment.end_seconds, 6),
        "label": segment.label,
        "score": segment.score,
    }


def _csv_text(file: Path, found: SegmentsOfVideos) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "start_seconds", "end_seconds", "label", "score"])
    for video, segments in found.items():
        for segment in segments:
            values = segment_dict(segment)
            times = [f"{values[name]:.12g}" for name in ("start_seconds", "end_seconds")]
            score = "" if segment.score is None else f"{segment.score:.6g}"
            rows.writerow([_seen_from(file, video), *times, segment.label, score])
    return text.getvalue()


def _seen_from(file: Path, video: str) -> str:
    """Return the path of a video relative to the folder of `file`, as dataset indexes have it."""
    if is_url(video):
        return video
    try:
        return Path(os.path.relpath(video, file.parent)).as_posix()
    except ValueError:  # another drive
        return str(Path(video).resolve())


def _json_text(_file: Path, found: SegmentsOfVideos) -> str:
    videos = [
        {"source": video, "segments": [segment_dict(segment) for segment in segments]}
        for video, segments in found.items()
    ]
    return json.dumps({"videos": videos}, indent=2, ensure_ascii=False) + "\n"


def _vtt_text(_file: Path, found: SegmentsOfVideos) -> str:
    cues = [
        f"{_clock(segment.start_seconds)} --> {_clock(segment.end_seconds)}\n{_cue(segment.label)}\n"
        for segments in found.values()
        for segment in segments
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    """Return hours:minutes:seconds.milliseconds, as WebVTT writes times."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _cue(label: str) -> str:
    line = " ".join(label.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _written(
    text: Callable[[Path, SegmentsOfVideos], str],
) -> Callable[[Path, SegmentsOfVideos], tuple[str, ...]]:
    def write(file: Path, found: SegmentsOfVideos) -> tuple[str, ...]:
        write_text(file, text(file, found))
        return ()

    return write


def _label_file(name: str) -> Callable[[Path, SegmentsOfVideos], tuple[str, ...]]:
    """Return a function that writes a format of `data.annotations`."""

    def write(file: Path, found: SegmentsOfVideos) -> tuple[str, ...]:
        items = [Annotations.of(_seen_from(file, video), segments) for video, segments in found.items()]
        return write_annotations(file, items, name, lossy=True)

    return write


SEGMENT_WRITERS: dict[str, SegmentWriter] = {
    ".csv": SegmentWriter(_written(_csv_text), many_videos=True),
    ".json": SegmentWriter(_written(_json_text), many_videos=True),
    ".vtt": SegmentWriter(_written(_vtt_text), many_videos=False),
    ".srt": SegmentWriter(_label_file("srt"), many_videos=False),
    ".eaf": SegmentWriter(_label_file("elan"), many_videos=False),
    ".boris": SegmentWriter(_label_file("boris"), many_videos=True),
}
"""The writer of each suffix."""

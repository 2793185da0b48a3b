"""Times of recordings that nobody labeled, and that are neither right nor wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.model import merged
from hidden_two_stream.data.text_files import open_table
from hidden_two_stream.errors import DataError
from hidden_two_stream.video.finding import is_url

__all__ = ["Interval", "by_video", "number_elsewhere", "read_ignored"]

Interval = tuple[float, float]
"""[start, end) in seconds."""


def read_ignored(path: Path) -> list[tuple[str, Interval]]:
    """Return the videos and times of a CSV with the columns path, start_seconds and end_seconds.

    Raises:
        DataError: it is missing, or a row is no interval.
    """
    if not path.is_file():
        raise DataError(f"no file at {str(path)!r}; expected a CSV with path, start_seconds and end_seconds")
    table = open_table(path, ("path", "start_seconds", "end_seconds"))
    found = []
    for line, row in table.rows():
        try:
            start, end = (
                float(row[name].replace(",", ".") if table.delimiter == ";" else row[name])
                for name in ("start_seconds", "end_seconds")
            )
        except ValueError:
            start = end = -1.0
        if not 0 <= start < end:
            raise DataError(
                f"{path}, line {line}: {row['start_seconds']!r} to {row['end_seconds']!r} is no interval; "
                "expected a start, 0 or more, and a later end, in seconds"
            )
        video = row["path"]
        found.append((video if is_url(video) else str(path.parent / video), (start, end)))
    return found


def by_video(
    ignored: Sequence[tuple[str, Interval]], videos: Iterable[str]
) -> dict[str, tuple[Interval, ...]]:
    """Return the intervals of each of the videos, in order and apart; those without any are left out."""
    known = {_place(video): video for video in videos}
    found: dict[str, list[Interval]] = {}
    for path, interval in ignored:
        if _place(path) in known:
            found.setdefault(known[_place(path)], []).append(interval)
    return {video: merged(intervals) for video, intervals in found.items()}


def number_elsewhere(ignored: Sequence[tuple[str, Interval]], videos: Iterable[str]) -> int:
    """Return how many intervals lie in other videos."""
    known = {_place(video) for video in videos}
    return sum(_place(path) not in known for path, _ in ignored)


def _place(video: str) -> str:
    return video if is_url(video) else os.path.abspath(video)

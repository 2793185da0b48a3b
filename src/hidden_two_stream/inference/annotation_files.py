"""Writes the labels of frames to files: a row per frame, a row per bout, and other tools' formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.files import write_annotations
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.table import format_named
from hidden_two_stream.files import make_folder, write_text
from hidden_two_stream.inference.frame_scores import FrameScores, runs_of_ones
from hidden_two_stream.types import Segment

__all__ = ["bouts_csv", "frames_csv", "write_labels"]


def frames_csv(folder: Path, scores: FrameScores) -> Path:
    """Write a row per frame: its number, its time, and for each behavior 1 or 0, and the score.

    Returns:
        The file, VIDEO_frames.csv.

    Raises:
        OutputError: it cannot be written.
    """
    header = ["frame", "seconds", *scores.names, *(f"{name} score" for name in scores.names)]
    rows = (
        [number, f"{seconds:.6f}", *map(int, values), *(f"{value:.4f}" for value in row)]
        for number, (seconds, values, row) in enumerate(
            zip(scores.pts_seconds.tolist(), scores.values.tolist(), scores.scores.tolist(), strict=True)
        )
    )
    file = make_folder(folder) / f"{_stem(scores)}_frames.csv"
    write_text(file, _table([header, *rows]))
    return file


def bouts_csv(folder: Path, videos: Sequence[FrameScores]) -> Path:
    """Write a row per bout of all videos, with times, frame numbers (the end is excluded), and scores.

    Returns:
        The file, bouts.csv.

    Raises:
        OutputError: it cannot be written.
    """
    rows: list[list[object]] = [
        ["path", "label", "start_seconds", "end_seconds", "start_frame", "end_frame", "score"]
    ]
    for scores in videos:
        ends = [*scores.pts_seconds.tolist(), scores.end_seconds]
        found = sorted(
            (first, stop, column)
            for column in range(len(scores.names))
            for first, stop in runs_of_ones(scores.values[:, column])
        )
        for first, stop, column in found:
            mean = float(scores.scores[first:stop, column].mean())
            times = f"{ends[first]:.6f}", f"{ends[stop]:.6f}"
            rows.append([scores.source, scores.names[column], *times, first, stop, f"{mean:.4f}"])
    file = make_folder(folder) / "bouts.csv"
    write_text(file, _table(rows))
    return file


def write_labels(folder: Path, scores: FrameScores, name: str) -> tuple[str, ...]:
    """Write the bouts of one video in a label format, without what the format cannot hold.

    Returns:
        Notes about what was rounded or left out.

    Raises:
        OutputError: it cannot be written.
        UsageError: the format cannot hold the labels.
    """
    target = format_named(name)
    count = len(scores.pts_seconds)
    fps = (count - 1) / float(scores.pts_seconds[-1]) if count > 1 else 25.0
    segments = tuple(Segment(bout.start_seconds, bout.end_seconds, bout.label) for bout in scores.bouts())
    found = Annotations(scores.source, segments, scores.names, duration_seconds=count / fps, fps=fps)
    file = make_folder(folder) / f"{_stem(scores)}{'' if target.folder else target.suffixes[0]}"
    return write_annotations(file, [found], name, lossy=True)


def _stem(scores: FrameScores) -> str:
    return Path(scores.source).stem or "video"


def _table(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

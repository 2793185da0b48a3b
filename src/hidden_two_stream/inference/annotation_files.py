"""Writes the labels of frames to files: a row per frame, a row per bout, and other tools' formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.files import write_annotations
from hidden_two_stream.data.annotations.frame_labels import runs
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.table import format_named
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import make_folder, write_text
from hidden_two_stream.inference.frame_scores import FrameScores
from hidden_two_stream.types import Segment
from hidden_two_stream.video.finding import source_stem
from hidden_two_stream.video.times import FALLBACK_FPS

__all__ = ["BOUTS_FILE", "bout_rows", "bouts_csv", "frames_csv", "require_own_files", "write_labels"]

BOUTS_FILE = "bouts.csv"


def require_own_files(folder: Path, sources: Sequence[str], name: str | None = None) -> None:
    """Check that no two videos would write the same file.

    Args:
        folder: the folder of the files.
        sources: the videos.
        name: the label format that is written, too; None: none.

    Raises:
        UsageError: two videos have the same name without folder and suffix, or one has that of `BOUTS_FILE`.
    """
    owners: dict[str, str] = {BOUTS_FILE: "all videos"}
    for source in sources:
        files = [_frames_file(folder, source)]
        files += [] if name is None else [_label_file(folder, source, name)]
        for file in files:
            owner = owners.setdefault(file.name, source)
            if owner != source:
                raise UsageError(
                    f"{source!r} and {owner!r} would both write {file.name!r}; write them to two folders"
                )


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
    file = _frames_file(make_folder(folder), scores.source)
    write_text(file, _table([header, *rows]))
    return file


def bout_rows(scores: FrameScores) -> list[list[object]]:
    """Return the rows of a video in `BOUTS_FILE`. The end is excluded, in seconds and in frames."""
    ends = [*scores.pts_seconds.tolist(), scores.end_seconds]
    found = sorted(
        (first, stop, column)
        for column in range(len(scores.names))
        for first, stop in runs(scores.values[:, column] == 1)
    )
    return [
        [
            scores.source,
            scores.names[column],
            f"{ends[first]:.6f}",
            f"{ends[stop]:.6f}",
            first,
            stop,
            f"{scores.scores[first:stop, column].mean():.4f}",
        ]
        for first, stop, column in found
    ]


def bouts_csv(folder: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write the rows of all videos, see `bout_rows`.

    Returns:
        The file, `BOUTS_FILE`.

    Raises:
        OutputError: it cannot be written.
    """
    header = ["path", "label", "start_seconds", "end_seconds", "start_frame", "end_frame", "score"]
    file = make_folder(folder) / BOUTS_FILE
    write_text(file, _table([header, *rows]))
    return file


def write_labels(folder: Path, scores: FrameScores, name: str) -> tuple[str, ...]:
    """Write the bouts of one video in a label format, without what the format cannot hold.

    Returns:
        Notes about what was rounded or left out.

    Raises:
        OutputError: it cannot be written.
        UsageError: the format cannot hold the labels.
    """
    count = len(scores.pts_seconds)
    fps = (count - 1) / float(scores.pts_seconds[-1]) if count > 1 else FALLBACK_FPS
    segments = tuple(Segment(bout.start_seconds, bout.end_seconds, bout.label) for bout in scores.bouts())
    found = Annotations(scores.source, segments, scores.names, duration_seconds=count / fps, fps=fps)
    file = _label_file(make_folder(folder), scores.source, name)
    return write_annotations(file, [found], name, lossy=True)


def _frames_file(folder: Path, source: str) -> Path:
    return folder / f"{source_stem(source)}_frames.csv"


def _label_file(folder: Path, source: str, name: str) -> Path:
    target = format_named(name)
    return folder / f"{source_stem(source)}{'' if target.folder else target.suffixes[0]}"


def _table(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

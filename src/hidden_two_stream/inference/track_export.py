"""Writes what is followed through a video: a CSV table, and an overlay video."""

from __future__ import annotations

import csv
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.inference.tracker import Box, Point, TrackedFrame, track
from hidden_two_stream.types import Image
from hidden_two_stream.video.finding import is_video, source_stem
from hidden_two_stream.video.times import FALLBACK_FPS
from hidden_two_stream.video.writer import write_video

__all__ = ["BOX_COLUMNS", "POINT_COLUMNS", "TrackExport", "default_track_path", "draw_track", "export_track"]

POINT_COLUMNS = ("frame", "seconds", "point", "x", "y", "visible", "error_px")
"""Columns of the CSV of points: one row per frame and point."""

BOX_COLUMNS = ("frame", "seconds", "x", "y", "w", "h", "visible", "error_px")
"""Columns of the CSV of a box: one row per frame."""

_COLORS = ((255, 64, 64), (64, 255, 64), (64, 160, 255), (255, 224, 32), (255, 64, 255), (32, 255, 255))
_TRAIL_FRAMES = 25
_NOWHERE = (math.nan,) * 4


@dataclass(frozen=True)
class TrackExport:
    """The result of `export_track`.

    Attributes:
        source: path, URL or frame folder of the video.
        output: the CSV file.
        overlay: the overlay video; None: none was asked for.
        num_frames: frames from the start to the end.
        short_side: shorter side of the frames that MotionNet saw, px.
        lost_seconds: for each point, or for the box, the time of the first frame without it; None: it was
            followed to the end.
        warnings: what is wrong with the video, for example that decoding stopped early.
    """

    source: str
    output: str
    overlay: str | None
    num_frames: int
    short_side: int
    lost_seconds: tuple[float | None, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "source": self.source,
            "output": self.output,
            "overlay": self.overlay,
            "num_frames": self.num_frames,
            "short_side": self.short_side,
            "lost_seconds": list(self.lost_seconds),
            "warnings": list(self.warnings),
        }


def default_track_path(source: str) -> Path:
    """Return the path of the CSV of `source`: NAME.track.csv in the current folder."""
    return Path(f"{source_stem(source)}.track.csv")


def export_track(
    estimator: MotionEstimator,
    source: str | Path,
    out: str | Path | None = None,
    overlay: str | Path | None = None,
    *,
    points: Sequence[Point] = (),
    box: Box | None = None,
    start_seconds: float = 0.0,
    short_side: int | None = None,
) -> TrackExport:
    """Follow points or a box through a video, and write their places.

    The CSV has the columns `POINT_COLUMNS` or `BOX_COLUMNS`. `visible` is 1 or 0. Once a point or the box is
    lost, its places and errors are empty.

    Args:
        estimator: `motion_estimator("nano")`, or `Recognizer.motion_estimator` of a trained run.
        source: a video file, a URL, or a folder of frames.
        out: the CSV file; None: `default_track_path(source)`.
        overlay: a video file for the frames with the points and their recent paths, or the box; None: none.
        points, box, start_seconds, short_side: see `inference.tracker.track`.

    Raises:
        UsageError: as `track`; also if the overlay is no video file, or a file would be overwritten that is
            read or written.
        VideoError: the video cannot be read.
        OutputError: the output cannot be written.
    """
    table = default_track_path(str(source)) if out is None else Path(out)
    _check_outputs(table, None if overlay is None else Path(overlay), Path(source))
    warnings: list[str] = []
    frames = track(
        estimator, source, points=points, box=box, start_seconds=start_seconds, short_side=short_side,
        on_warning=warnings.append,
    )  # fmt: skip
    lost: list[float | None] = [None] * (len(points) or 1)
    with atomic_write(table, make_parents=True) as part, part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(POINT_COLUMNS if box is None else BOX_COLUMNS)
        written = _Written(frames, rows, table, lost)
        if overlay is None:
            deque(written, maxlen=0)
        else:
            write_video(overlay, _drawn(written), frames.fps or FALLBACK_FPS)
    shown = None if overlay is None else str(overlay)
    side = frames.short_side
    return TrackExport(str(source), str(table), shown, written.number, side, tuple(lost), tuple(warnings))


def _check_outputs(table: Path, overlay: Path | None, source: Path) -> None:
    for path in filter(None, (table, overlay)):
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{str(path)!r} is the video itself; name another file")
    if is_video(table.name):
        raise UsageError(f"{str(table)!r} is named as a video; name a .csv for the places, or use --overlay")
    if overlay is not None and not is_video(overlay.name):
        raise UsageError(f"cannot write the overlay {str(overlay)!r}; name a video such as track.mp4")


class _Written:
    """Passes frames on, writes their rows, and notes in `lost` when something was lost."""

    def __init__(
        self, frames: Iterator[TrackedFrame], rows: Any, table: Path, lost: list[float | None]
    ) -> None:
        self.number = 0
        self._frames, self._rows, self._table, self._lost = frames, rows, table, lost

    def __iter__(self) -> Iterator[TrackedFrame]:
        for frame in self._frames:
            self.number += 1
            for place, visible in enumerate(frame.visible):
                if not visible and self._lost[place] is None:
                    self._lost[place] = frame.pts_seconds
            try:
                self._rows.writerows(_rows(frame))
            except OSError as error:  # here, because the overlay's writer would name its own file
                raise OutputError(
                    f"cannot write {str(self._table)!r}: {error.strerror or error}; expected free disk "
                    "space; choose another path"
                ) from error
            yield frame


def _rows(frame: TrackedFrame) -> Iterator[list[str]]:
    """Yield the rows of one frame."""
    for number, visible in enumerate(frame.visible):
        place: Sequence[float] = (
            (number, *frame.points[number]) if len(frame.points) else frame.box or _NOWHERE
        )
        numbers = [*place, int(visible), frame.errors_px[number]]
        yield [str(frame.index), f"{frame.pts_seconds:.6f}", *map(_cell, numbers)]


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if math.isfinite(value) else ""


# -- overlay ---------------------------------------------------------------------------------------


def _drawn(frames: Iterable[TrackedFrame]) -> Iterator[Image]:
    """Yield the frames with what is followed."""
    recent: deque[TrackedFrame] = deque(maxlen=_TRAIL_FRAMES)
    for frame in frames:
        recent.append(frame)
        yield draw_track(recent)


def draw_track(recent: Sequence[TrackedFrame]) -> Image:
    """Return the image of the last frame with crosses for points and their paths, or an outline of the box.

    Args:
        recent: neighboring frames of one track, at least one; the paths begin in the first.
    """
    now = recent[-1]
    image = now.image.copy()
    thick = max(1, min(image.shape[:2]) // 240)
    if now.box is not None:
        x, y, w, h = now.box
        left, top, right, bottom = x, y, x + w - 1, y + h - 1
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        _polyline(image, corners, _COLORS[0], thick)
    for number in np.flatnonzero(now.visible) if len(now.points) else ():
        color = _COLORS[number % len(_COLORS)]
        _polyline(image, [frame.points[number] for frame in recent], color, thick)
        (x, y), arm = now.points[number], 3 * thick
        for dx, dy in ((arm, 0), (0, arm)):
            _polyline(image, [(x - dx, y - dy), (x + dx, y + dy)], color, thick)
    return image


def _polyline(image: Image, places: Sequence[Any], color: tuple[int, int, int], thick: int) -> None:
    """Draw straight lines between places, in place; parts outside the image are left out."""
    for (x0, y0), (x1, y1) in pairwise(places):
        steps = np.linspace(0, 1, int(max(abs(x1 - x0), abs(y1 - y0))) + 2)
        columns = np.rint(x0 + (x1 - x0) * steps).astype(int)
        rows = np.rint(y0 + (y1 - y0) * steps).astype(int)
        for dy in range(thick):
            for dx in range(thick):
                down, across = rows + dy - thick // 2, columns + dx - thick // 2
                inside = (down >= 0) & (down < image.shape[0]) & (across >= 0) & (across < image.shape[1])
                image[down[inside], across[inside]] = color

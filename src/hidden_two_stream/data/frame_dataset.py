"""Recordings with labels over time, to learn the labels of each frame from.

Three forms of data:

- a CSV with the columns path,labels: a video and its label file in any format of `data.annotations`;
- a CSV with the columns path,label,start_seconds,end_seconds: a row per segment;
- a folder in DeepEthogram's layout: a sub-folder for each video, with the video and its `…_labels.csv`.

A column `split` (train, test) divides the recordings; other columns, such as subject, group them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.annotations.files import read_annotations
from hidden_two_stream.data.annotations.frame_labels import frame_labels
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.data.annotations.table import FORMATS, detect_format
from hidden_two_stream.data.ignored import Interval, by_video, number_elsewhere, read_ignored
from hidden_two_stream.data.samples import SPLITS, clean_text
from hidden_two_stream.data.text_files import open_table, read_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.types import Segment
from hidden_two_stream.video.finding import is_video
from hidden_two_stream.video.times import FALLBACK_FPS

__all__ = ["FrameDataset", "Recording", "Unlabeled", "read_frame_dataset"]

Unlabeled = Literal["file", "background", "unknown"]
"""What it means where no segment is: what the label file says, nothing happens, or nobody looked."""

_SEGMENT_COLUMNS = ("path", "label", "start_seconds", "end_seconds")
_LABEL_ENDING = "_labels.csv"


@dataclass(frozen=True)
class Recording:
    """A video and where its labels are.

    Attributes:
        path: the video.
        labels: its label file; None: `segments` holds the labels.
        segments: the labels, if they are not in a file of their own.
        split: "train" or "test"; None: not divided.
        columns: further columns, such as subject.
        ignored: times at which it is unknown what happens, unless a behavior is labeled there.
    """

    path: str
    labels: str | None = None
    segments: tuple[Segment, ...] = field(default=(), repr=False)
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[Interval, ...] = field(default=(), repr=False)

    def annotations(self, num_frames: int, fps: float | None) -> tuple[Annotations, bool]:
        """Return the labels, and whether their times are numbers of frames, divided by `fps`.

        Args:
            num_frames: frames of the video, to check the labels against.
            fps: rate of the video; None: unknown.

        Raises:
            DataError: the label file is broken, or is not about this video.
        """
        if self.labels is None:
            names = tuple(dict.fromkeys(segment.label for segment in self.segments))
            return Annotations(self.path, self.segments, names), False
        found = detect_format(self.labels)
        counts = found.counts_frames
        rate = (fps or FALLBACK_FPS) if counts else None
        videos = read_annotations(
            self.labels, found.name, fps=rate, num_frames=num_frames if counts else None, video=None
        )
        if len(videos) == 1:
            return videos[0], counts
        fitting = [one for one in videos if Path(one.video).stem == Path(self.path).stem]
        if len(fitting) != 1:
            known = ", ".join(one.video for one in videos[:5])
            raise DataError(f"{self.labels!r} has labels of {known}, not of {self.path!r}")
        return fitting[0], counts

    def frame_labels(
        self,
        names: Sequence[str],
        pts_seconds: npt.NDArray[np.float64],
        fps: float | None,
        unlabeled: Unlabeled,
    ) -> npt.NDArray[np.int8]:
        """Return the labels of all frames, (T, K): 1 it happens, 0 it does not, −1 nobody looked.

        Args:
            names: the behaviors of the columns; others are left out.
            pts_seconds: (T,) times of the frames.
            fps: rate of the video; None: unknown.
            unlabeled: what it means where no segment is.

        Raises:
            DataError: the label file is broken, or a segment lies past the end of the video.
        """
        found, counts = self.annotations(len(pts_seconds), fps)
        times = np.arange(len(pts_seconds)) / (fps or FALLBACK_FPS) if counts else pts_seconds
        end = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / FALLBACK_FPS)
        for segment in found.segments:
            if segment.start_seconds > end + 0.01:
                raise DataError(
                    f"{self.labels or self.path!r}: {segment.label!r} starts at {segment.start_seconds:g} s, "
                    f"past the end of {self.path!r} at {end:.3f} s"
                )
        labeled = found.labeled
        if unlabeled == "background":
            labeled = None
        elif unlabeled == "unknown" or self.labels is None:
            labeled = ()
        chosen = [segment for segment in found.segments if segment.label in names]
        values = frame_labels(chosen, times, names, labeled).values
        if labeled is not None:  # where one behavior is labeled, somebody looked
            values[(values == 1).any(axis=1)[:, None] & (values < 0)] = 0
        for start, stop in self.ignored:
            inside = (pts_seconds >= start) & (pts_seconds < stop)
            values[inside & ~(values == 1).any(axis=1)] = -1
        return values


@dataclass(frozen=True)
class FrameDataset:
    """Recordings with labels over time.

    Attributes:
        source: the CSV or folder.
        recordings: all recordings.
        names: the behaviors.
        unused: intervals to ignore that lie in other videos.
    """

    source: str
    recordings: tuple[Recording, ...]
    names: tuple[str, ...]
    unused: int = 0


def read_frame_dataset(
    data: str | Path, names: Sequence[str] | None = None, ignore: str | Path | None = None
) -> FrameDataset:
    """Read the list of recordings, and which behaviors their labels know.

    Args:
        data: one of the three forms above.
        names: the behaviors to learn, in the order wanted; None: all.
        ignore: a CSV with the columns path, start_seconds and end_seconds: times at which it is unknown what
            happens, unless a behavior is labeled there.

    Raises:
        UsageError: there is nothing at `data`.
        DataError: it has none of the forms, names a file that is missing, or has no such behavior.
    """
    path = Path(data)
    if os.path.isdir(path):
        recordings = _deepethogram(path)
    elif os.path.isfile(path):
        recordings = _table(path)
    else:
        raise UsageError(f"nothing found at {str(data)!r}; expected a CSV or a folder")
    known = _names(recordings, str(data))
    chosen = known if names is None else tuple(map(clean_text, names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise DataError(f"{str(data)!r} has no behavior {unknown[0]!r}; it has {', '.join(known)}")
    if not chosen:
        raise DataError(f"{str(data)!r} has no labels at all")
    if ignore is None:
        return FrameDataset(str(data), tuple(recordings), chosen)
    listed, paths = read_ignored(Path(ignore)), [recording.path for recording in recordings]
    ignored = by_video(listed, paths)
    marked = tuple(replace(one, ignored=ignored.get(one.path, ())) for one in recordings)
    return FrameDataset(str(data), marked, chosen, number_elsewhere(listed, paths))


def _names(recordings: Sequence[Recording], source: str) -> tuple[str, ...]:
    """Return all behaviors, in the order in which they occur; errors name the list, `source`, too."""
    found: dict[str, None] = {}
    for recording in recordings:
        if recording.labels is None:
            found |= dict.fromkeys(segment.label for segment in recording.segments)
            continue
        try:
            form = detect_format(recording.labels)
            rate = FALLBACK_FPS if form.counts_frames else None
            for one in read_annotations(recording.labels, form.name, fps=rate):
                found |= dict.fromkeys(one.labels)
        except (DataError, UsageError) as error:
            raise type(error)(f"{source}: the labels of {recording.path!r}: {error}") from error
    return tuple(found)


def _deepethogram(folder: Path) -> list[Recording]:
    """Return the recordings of a folder in DeepEthogram's layout."""
    found = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        videos = sorted(path for path in inner.iterdir() if is_video(path.name))
        labels = [inner / f"{video.stem}{_LABEL_ENDING}" for video in videos]
        pairs = [(video, file) for video, file in zip(videos, labels, strict=True) if file.is_file()]
        if len(pairs) > 1:
            raise DataError(f"{str(inner)!r} has {len(pairs)} labeled videos; expected one in each folder")
        found += [Recording(str(video), str(file)) for video, file in pairs]
    if not found:
        raise DataError(
            f"{str(folder)!r} has no sub-folder with a video and its {_LABEL_ENDING!r} file; give such a "
            "folder, or a CSV with the columns path,labels or path,label,start_seconds,end_seconds"
        )
    return found


def _table(path: Path) -> list[Recording]:
    """Return the recordings of a CSV."""
    first = read_text(path, "a CSV").lstrip().partition("\n")[0].lower()
    if "labels" in first:
        return _label_files(path)
    return _segments(path)


def _label_files(path: Path) -> list[Recording]:
    """Return the recordings of a CSV that names label files."""
    table, found = open_table(path, ("path", "labels"), ("split",)), []
    for line, row in table.rows():
        places = {}
        for column in ("path", "labels"):
            if not row[column]:
                raise DataError(f"{path}, line {line}: {column} is empty")
            places[column] = _beside(path, row[column])
            if not os.path.exists(places[column]):  # `Path.exists` raises an error about a very long name
                raise DataError(f"{path}, line {line}: there is no {row[column]!r}")
        rest = {name: value for name, value in row.items() if name not in ("path", "labels", "split")}
        split = _split(row.get("split", ""), path, line)
        found.append(Recording(places["path"], places["labels"], (), split, rest))
    if not found:
        raise DataError(f"{path} names no videos")
    _require_once(found, path)
    return found


def _segments(path: Path) -> list[Recording]:
    """Return the recordings of a CSV with a row per segment."""
    table = open_table(path, _SEGMENT_COLUMNS, ("split",))
    segments: dict[str, list[Segment]] = {}
    facts: dict[str, tuple[str | None, Mapping[str, str]]] = {}
    for one in read_annotations(path, FORMATS["csv"].name):
        segments[_beside(path, one.video)] = list(one.segments)
    for line, row in table.rows():
        place = _beside(path, row["path"])
        if not os.path.exists(place):
            raise DataError(f"{path}, line {line}: there is no {row['path']!r}")
        rest = {name: value for name, value in row.items() if name not in (*_SEGMENT_COLUMNS, "split")}
        split = _split(row.get("split", ""), path, line)
        if place in facts and facts[place][0] != split:
            raise DataError(f"{path}, line {line}: {row['path']!r} is in two splits")
        facts.setdefault(place, (split, rest))
    return [
        Recording(place, None, tuple(segments[place]), split, rest) for place, (split, rest) in facts.items()
    ]


def _beside(table: Path, name: str) -> str:
    """Return a path that a table names, relative to the table's folder."""
    return str(table.parent / name)


def _split(text: str, path: Path, line: int) -> str | None:
    """Return the split that a table names."""
    if not text.strip():
        return None
    for name, words in SPLITS.items():
        if text.strip().lower() in words:
            return name
    raise DataError(f"{path}, line {line}: the split is {text!r}; expected train, val or test")


def _require_once(recordings: Sequence[Recording], path: Path) -> None:
    seen: set[str] = set()
    for recording in recordings:
        if recording.path in seen:
            raise DataError(f"{path} names {recording.path!r} twice; give each video one label file")
        seen.add(recording.path)

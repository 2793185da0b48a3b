"""What a label format is: its names, what it can hold, how to read and to write it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hidden_two_stream.data.annotations.frame_labels import FrameLabels, frame_labels
from hidden_two_stream.data.annotations.label_file import LabelFile
from hidden_two_stream.data.annotations.model import Annotations, SegmentCollector
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.progress import number_of

__all__ = ["Format", "Holds", "ReadOptions", "WriteOptions", "collect_frames", "to_frames"]

_MOST_FRAMES = 50_000_000  # 19 days at 30 frames per second


@dataclass(frozen=True)
class ReadOptions:
    """What a file may not say itself.

    Attributes:
        fps: frames per second.
        num_frames: frames of the video.
        video: name of the video.
        base: number that the file gives the first frame, where a format leaves this open.
        background: words for "nothing of interest" in formats with one word per frame.
        labels: the labels that the file may hold, in order; None: any.
    """

    fps: float | None = None
    num_frames: int | None = None
    video: str | None = None
    base: int = 1
    background: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None

    def need_fps(self, file: LabelFile, advice: str = "") -> float:
        """Return the rate.

        Raises:
            UsageError: it is not given.
        """
        if self.fps is None:
            raise UsageError(
                f"{file} counts frames and doesn't say how many make a second; give the frame rate of the "
                f"video with --fps (fps=…){advice}"
            )
        return self.fps

    def collector(self, file: LabelFile, video: str, labels: Sequence[str] = ()) -> SegmentCollector:
        """Return an empty collector for one video of a file."""
        known = [clean_text(label) for label in (labels if self.labels is None else self.labels)]
        collector = SegmentCollector(str(file), self.video or video, known, closed=self.labels is not None)
        collector.fps = self.fps
        if self.num_frames is not None and self.fps is not None:
            collector.duration_seconds = self.num_frames / self.fps
        return collector


@dataclass(frozen=True)
class WriteOptions:
    """How to write a file.

    Attributes:
        fps: frames per second of all videos; None: what their annotations say.
        num_frames: frames of the video; None: what its annotations say.
        base: as `ReadOptions.base`.
        background: the word for "nothing of interest" in formats with one word per frame.
    """

    fps: float | None = None
    num_frames: int | None = None
    base: int = 1
    background: str | None = None

    def need_fps(self, annotations: Annotations, format_name: str) -> float:
        """Return the rate of a video.

        Raises:
            UsageError: it is unknown.
        """
        fps = self.fps or annotations.fps
        if fps is None:
            raise UsageError(
                f"the format {format_name} counts frames, and the frame rate of {shown(annotations.video)} "
                "is unknown; give it with --fps (fps=…)"
            )
        return fps

    def need_frames(self, annotations: Annotations, format_name: str) -> int:
        """Return the number of frames of a video.

        Raises:
            UsageError: it is unknown.
        """
        count = self.num_frames
        if count is None and annotations.duration_seconds is not None:
            count = round(annotations.duration_seconds * self.need_fps(annotations, format_name))
        if count is None:
            raise UsageError(
                f"the format {format_name} has a row for each frame, and the length of "
                f"{shown(annotations.video)} is unknown; give it with --frames (num_frames=…)"
            )
        if not 0 < count <= _MOST_FRAMES:
            raise UsageError(f"the number of frames is {count}; expected 1 to {_MOST_FRAMES:,}")
        return count


@dataclass(frozen=True)
class Holds:
    """What a format can hold beside one label at a time.

    Attributes:
        points: events that take no time; else they become bouts of one frame.
        overlap: different labels at the same time.
        subjects: who does it.
        scores: "no", "yes", or "only": each segment must have one.
        unlabeled: which parts nobody looked at.
        videos: several videos in one file.
        rows: it has a row per frame, or states that change: bouts of one label that touch become one.
        labels: labels without a segment.
        ids: videos have names without folders and suffix.
        step: seconds to which times are rounded; "frame": to frames; "second": to labels at whole
            seconds; 0: not rounded.
    """

    points: bool = False
    overlap: bool = True
    subjects: bool = False
    scores: str = "no"
    unlabeled: bool = False
    videos: bool = False
    rows: bool = False
    labels: bool = False
    ids: bool = False
    step: float | str = 0.001


Reader = Callable[[LabelFile, ReadOptions], list[Annotations]]
Writer = Callable[[Path, Sequence[Annotations], WriteOptions], None]


@dataclass(frozen=True)
class Format:
    """A label format.

    Attributes:
        name: its name on the command line.
        title: the tool or dataset that it belongs to.
        suffixes: of its files, in lower case.
        recognize: whether a file with such a suffix is of this format.
        read, write: the reader and the writer.
        holds: what it can hold.
        fps: the frame rate that files of this format always have; None: it differs.
        uses: options that have a meaning only for some formats: "base", "background".
        folder: a folder of files, not one file.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognize: Callable[[LabelFile], bool]
    read: Reader
    write: Writer
    holds: Holds
    fps: float | None = None
    uses: frozenset[str] = frozenset()
    folder: bool = False

    @property
    def counts_frames(self) -> bool:
        """Whether its times are numbers of frames."""
        return self.holds.step == "frame"


def collect_frames(
    file: LabelFile,
    labels: FrameLabels,
    video: str,
    options: ReadOptions,
    *,
    advice: str = "",
    spare: int = 0,
    notes: Sequence[str] = (),
) -> Annotations:
    """Return the annotations of a file with one row per frame.

    Args:
        file: the file, for messages.
        labels: its rows.
        video: name of the video.
        options: `fps` is needed; with `num_frames`, there must be as many rows.
        advice: what to add to the message about a missing rate.
        spare: rows that may be missing or too many; the last row is repeated, or rows are cut.
        notes: what the file holds beside the rows.

    Raises:
        DataError: the number of rows is not that of the frames.
        UsageError: the rate is unknown.
    """
    fps, rows = options.need_fps(file, advice), len(labels.values)
    notes = list(notes)
    if not all(name.strip() for name in labels.names):
        raise DataError(f"{file}: a label is empty; expected the name of a behavior")
    if options.num_frames is not None and rows != options.num_frames:
        difference = rows - options.num_frames
        found, wanted = number_of(rows, "row"), number_of(options.num_frames, "frame")
        amount = f"{abs(difference)} too {'many' if difference > 0 else 'few'}"
        message = f"{found} of labels for {wanted}: {amount}"
        if abs(difference) > spare or not rows:
            raise DataError(f"{file}: {message}; expected one row per frame")
        notes.append(message + (", cut off" if difference > 0 else ", the last row is repeated"))
        kept = labels.values[[*range(min(rows, options.num_frames)), *[-1] * -difference]]
        labels = replace(labels, values=kept)
    item = labels.to_annotations(video, fps=fps)
    collector = replace(options, num_frames=None).collector(file, video, labels.names)
    collector.duration_seconds, collector.labeled = item.duration_seconds, item.labeled
    collector.notes += notes
    for segment in item.segments:
        collector.add(segment.start_seconds, segment.end_seconds, segment.label, where="its rows")
    return collector.result()


def to_frames(annotations: Annotations, options: WriteOptions, format_name: str) -> FrameLabels:
    """Return one row per frame of a video, for formats that are written so.

    Raises:
        UsageError: the rate or the length is unknown, or a segment lies past the end.
    """
    fps = options.need_fps(annotations, format_name)
    count = options.need_frames(annotations, format_name)
    last = max((segment.end_seconds for segment in annotations.segments), default=0.0)
    if math.floor(last * fps - 1e-3) > count:
        raise UsageError(
            f"a segment of {shown(annotations.video)} ends at {last:g} s, past its last frame: {count} "
            f"frames at {fps:g} per second are {count / fps:g} s; is the frame rate right?"
        )
    times = np.arange(count) / fps
    return frame_labels(annotations.segments, times, annotations.labels, annotations.labeled)

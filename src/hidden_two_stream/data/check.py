"""Checks a dataset before training: decodes every video and counts classes, lengths, sizes and rates."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, open_clip_cache
from hidden_two_stream.data.clip_motion import MEASURED_SIDE, ClipMotion, measured_frames
from hidden_two_stream.data.duplicates import Duplicates, find_duplicates
from hidden_two_stream.data.groups import Groups, find_groups
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import (
    SPLITS,
    DatasetIndex,
    LeftOut,
    Sample,
    look_alike_lines,
    unreadable_lines,
)
from hidden_two_stream.data.unusual import class_balance, other_rates, rate_counts, unusual_lengths
from hidden_two_stream.progress import with_progress

__all__ = ["ClassCount", "DatasetCheck", "Spread", "check_dataset"]

_MOST_SIZES = 10
_KEPT_BYTES = 512 << 20  # frames for the measuring of motion; where they need more, videos are decoded twice


@dataclass(frozen=True)
class ClassCount:
    """Videos of one class: all of them, and the readable ones."""

    videos: int
    readable: int


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some values."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class DatasetCheck:
    """Facts about a dataset, found by decoding all of it.

    Attributes:
        data: what was checked.
        num_videos: samples in the dataset's index.
        num_readable: those that can be read.
        classes: counts of each class.
        empty_folders: folders that could be classes but hold no video.
        splits: number of samples of "train", "val" and "test", and of "none" for samples without a split.
        num_frames: decoded frames of a video; None: no video is readable.
        seconds: how long a video or its labeled part is shown; None: no rate is known.
        num_shorter_than_a_clip: videos with fewer frames than a clip.
        sizes: number of videos of each size, as "WIDTHxHEIGHT", the most frequent sizes first.
        fps: mean frames per second; None: no rate is known.
        unreadable: names of unreadable samples, with reasons.
        warnings: what is wrong with readable samples, and with the dataset.
        duplicates: groups of samples that show the same frames.
        left_out: files of the dataset's folder that are neither videos nor their frames.
        rates: number of videos of each frame rate, the most frequent first.
        other_rates: samples whose rate is not that of most videos, with their rates.
        short, long: samples that are very short or long, with their lengths; see `data.unusual`.
        motion: how much moves in each readable sample; empty: it was not measured.
        groups: columns that group the samples, of the dataset's list or of one in its folder; None: none.
    """

    data: str
    num_videos: int
    num_readable: int
    classes: Mapping[str, ClassCount]
    empty_folders: tuple[str, ...]
    splits: Mapping[str, int]
    num_frames: Spread | None
    seconds: Spread | None
    num_shorter_than_a_clip: int
    sizes: Mapping[str, int]
    fps: Spread | None
    unreadable: tuple[str, ...]
    warnings: tuple[str, ...]
    duplicates: tuple[Duplicates, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    rates: Mapping[str, int] = field(default_factory=dict)
    other_rates: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    motion: tuple[ClipMotion, ...] = ()
    groups: Groups | None = None

    @property
    def still(self) -> tuple[str, ...]:
        """Samples in which nothing moves."""
        return tuple(clip.name for clip in self.motion if clip.nothing_moves)

    @property
    def everything_moves(self) -> tuple[str, ...]:
        """Samples in which most of the frame moves, as with a moving camera."""
        return tuple(clip.name for clip in self.motion if clip.everything_moves)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form: the attributes by name."""
        return asdict(dataclasses.replace(self, duplicates=())) | {
            "duplicates": [group.to_dict() for group in self.duplicates],
            "left_out": self.left_out.to_dict(),
            "still": list(self.still),
            "everything_moves": list(self.everything_moves),
            "groups": None if self.groups is None else self.groups.to_dict(),
        }


def check_dataset(
    data: str,
    workers: int = 0,
    num_frames: int = 11,
    quiet: bool = False,
    measure: Callable[[Sample, DecodedVideo], ClipMotion] | None = None,
) -> DatasetCheck:
    """Decode all videos of a dataset and return facts about it.

    Args:
        data: a folder, a CSV, or a dataset by name, as for `read_dataset_index`.
        workers: processes that decode; 0 decodes in this one.
        num_frames: frames of a clip. In a shorter video the last frame repeats.
        quiet: show no progress.
        measure: measures the motion of a sample: `inference.clip_motion.motion_measure`; None: none is
            measured.

    Raises:
        UsageError, DataError: as `read_dataset_index`.
    """
    dataset = read_dataset_index(data, min_classes=1)
    cache = with_progress(
        "decode",
        len(dataset.samples),
        quiet,
        lambda progress: open_clip_cache(
            dataset.samples,
            MEASURED_SIDE,
            budget_bytes=_KEPT_BYTES if measure else 0,
            workers=workers,
            progress=progress,
            choose=measured_frames if measure else None,
            trust_index=False,
        ),
    )
    readable = Counter(sample.label for sample in cache.samples)
    lengths = [video.num_frames for video in cache.videos]
    short, long = unusual_lengths(cache.samples, cache.videos, num_frames)
    sizes = Counter(video.size for video in cache.videos)
    return DatasetCheck(
        data=data,
        num_videos=len(dataset.samples),
        num_readable=len(cache.samples),
        classes={label: ClassCount(count, readable[label]) for label, count in dataset.counts().items()},
        empty_folders=dataset.empty,
        splits=_split_counts(dataset),
        num_frames=_spread(lengths),
        seconds=_spread([round(video.seconds, 2) for video in cache.videos if video.fps]),
        num_shorter_than_a_clip=sum(length < num_frames for length in lengths),
        sizes={f"{width}x{height}": n for (height, width), n in sizes.most_common(_MOST_SIZES)},
        fps=_spread([round(video.fps, 2) for video in cache.videos if video.fps]),
        unreadable=tuple(unreadable_lines(cache.unreadable)),
        warnings=tuple(_warnings(dataset, cache, readable)),
        duplicates=find_duplicates(cache.samples, cache.videos),
        left_out=dataset.left_out,
        rates=rate_counts(cache.videos),
        other_rates=other_rates(cache.samples, cache.videos),
        short=short,
        long=long,
        motion=() if measure is None else _motion(cache, measure, quiet),
        groups=find_groups(dataset),
    )


def _warnings(dataset: DatasetIndex, cache: ClipCache, readable: Mapping[str, int]) -> list[str]:
    warnings = [
        f"{sample.name}: {video.warning}"
        for sample, video in zip(cache.samples, cache.videos, strict=True)
        if video.warning
    ]
    warnings += look_alike_lines(dataset.classes)
    if dataset.test_split == "val":
        warnings.append("no video is in the split test, so val is the test part")
    if len(dataset.classes) == 1:
        warnings.append(f"{dataset.classes[0]} is the only class; a recognizer needs at least two")
    balance = class_balance({label: readable[label] for label in dataset.classes})
    return [*warnings, balance] if balance else warnings


def _motion(
    cache: ClipCache, measure: Callable[[Sample, DecodedVideo], ClipMotion], quiet: bool
) -> tuple[ClipMotion, ...]:
    """Return the motion of all samples, in order."""

    def work(progress: Callable[[int, int], None]) -> tuple[ClipMotion, ...]:
        found = []
        for sample, video in zip(cache.samples, cache.videos, strict=True):
            found.append(measure(sample, video))
            progress(len(found), len(cache.samples))
        return tuple(found)

    return with_progress("motion", len(cache.samples), quiet, work)


def _split_counts(dataset: DatasetIndex) -> dict[str, int]:
    found = Counter(sample.split or "none" for sample in dataset.samples)
    return {name: found[name] for name in (*SPLITS, "none") if name in found}


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(min(values), statistics.median(values), max(values)) if values else None

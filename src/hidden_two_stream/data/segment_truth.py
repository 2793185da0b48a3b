"""The truth about untrimmed videos: what happens when, from any dataset index with times."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hidden_two_stream.data.benchmarks.reference import parse_reference
from hidden_two_stream.data.benchmarks.untrimmed import thumos14_ambiguous
from hidden_two_stream.data.ignored import Interval, by_video, number_elsewhere, read_ignored
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.data.splits import own_split
from hidden_two_stream.errors import DataError
from hidden_two_stream.types import Segment

__all__ = ["SegmentTruth", "read_segment_truth"]


@dataclass(frozen=True)
class SegmentTruth:
    """The labeled segments of the videos to test on.

    Attributes:
        segments: of each video, by its path, in order of time. The end is infinite for a video that is
            labeled as a whole.
        ignored: of each video, intervals that are neither right nor wrong, apart from each other.
        samples: what the segments were read from.
        rule: which part of the data this is, in words.
        unused: intervals to ignore that lie in other videos.
    """

    segments: Mapping[str, tuple[Segment, ...]]
    ignored: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    rule: str = "all videos"
    unused: int = 0


def read_segment_truth(
    data: str | Path,
    split: str | None = None,
    ignore: str | Path | None = None,
    background: str | None = None,
) -> SegmentTruth:
    """Read the labeled segments of untrimmed videos.

    Ignored are the times that `ignore` lists, the ambiguous ones of THUMOS14, and the segments of other parts
    of the split in the same video.

    Args:
        data: a CSV with the columns path, start_seconds, end_seconds and label, or a dataset by name, such as
            "thumos14:ROOT" or "activitynet:ROOT".
        split: "test", "train", "val" or "all"; None: "test", or "all" for data without a split of its own.
        ignore: a CSV with the columns path, start_seconds and end_seconds.
        background: a class that means "nothing": its samples are no segments.

    Raises:
        UsageError: there is nothing at a path.
        DataError: a file is broken, or the part has no segments.
    """
    index = read_dataset_index(data, min_classes=1)
    part, rule = _part(index, split)
    segments: dict[str, list[Segment]] = {}
    for sample in part:
        found = segments.setdefault(sample.path, [])
        found += [s for s in _segments(sample, index.classes) if s.label != background]
    if not any(segments.values()):
        raise DataError(f"no labeled segments in {str(data)!r} ({rule}); expected some: use --split all")
    chosen = {id(sample) for sample in part}
    others = [s for s in index.samples if id(s) not in chosen and s.label != background]
    ignored = [(s.path, _interval(s)) for s in others]
    reference = parse_reference(data)
    if reference is not None and reference.name == "thumos14":
        ignored += thumos14_ambiguous(reference.root)
    listed = [] if ignore is None else read_ignored(Path(ignore))
    return SegmentTruth(
        {path: tuple(sorted(found, key=_start)) for path, found in segments.items()},
        by_video(ignored + listed, segments),
        tuple(part),
        rule,
        number_elsewhere(listed, segments),
    )


def _part(index: DatasetIndex, split: str | None) -> tuple[Sequence[Sample], str]:
    own = own_split(index)
    if split == "all" or (split is None and own is None):
        return index.samples, "all videos"
    if own is None:
        raise DataError(f"{index.source!r} has no split of its own; leave out --split, or use --split all")
    parts = {
        "test": own.test,
        "train": own.train,
        "val": tuple(sample for sample in index.samples if sample.split == "val"),
    }
    wanted = split or "test"
    return parts[wanted], f"{wanted} part, {own.rule}"


def _start(segment: Segment) -> tuple[float, float]:
    return segment.start_seconds, segment.end_seconds


def _interval(sample: Sample) -> Interval:
    return sample.start_seconds or 0.0, math.inf if sample.end_seconds is None else sample.end_seconds


def _segments(sample: Sample, classes: Collection[str]) -> list[Segment]:
    """Return the segment of a sample, once for each of its labels."""
    others = sample.columns.get("other_labels", "").split(", ")
    start, end = _interval(sample)
    return [Segment(start, end, label) for label in (sample.label, *(o for o in others if o in classes))]

"""Background samples: the time between the labeled segments of a recording, as a class of its own.

Time without a label is background only where the user says so (`background.windows` in the recipe): people
often mark some of what they care about, and leave the rest.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hidden_two_stream.config.schema import BackgroundConfig
from hidden_two_stream.data.samples import DatasetIndex, Sample
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.types import BACKGROUND

__all__ = ["require_no_background", "with_background"]

_OF_A_SEGMENT = frozenset(("label", "other_labels", "start_seconds", "end_seconds"))
"""Columns that say something about one segment."""


def require_no_background(config: BackgroundConfig, command: str) -> None:
    """Reject a background class where a command has no way to make one.

    Raises:
        UsageError: the recipe asks for one.
    """
    if config.windows != "none":
        raise UsageError(
            f"background.windows is {config.windows}, which {command} does not support; set it to none, or "
            "train one run for each fold with hts train --hold-out"
        )


def with_background(
    index: DatasetIndex, config: BackgroundConfig, group: str | None = None, seed: int = 0
) -> DatasetIndex:
    """Return the index with samples of the class "background" from between the segments of recordings.

    A sample is a gap between two segments of one video, shortened by the margin on both sides; training draws
    its windows from it. It belongs to the part of the split, and to the group, of both segments; a gap
    between two parts or groups is not used. Of each part, at most as many gaps are drawn as its largest class
    has samples, so that the background does not outweigh the rest.

    Args:
        index: labeled segments.
        config: margin and shortest gap; with `windows` "none", the index is returned as it is.
        group: column of a group that is held out; None: there is none.
        seed: of the draw.

    Raises:
        DataError: the data has a class "background" of its own, or no gap is long enough.
    """
    if config.windows == "none":
        return index
    if BACKGROUND in index.classes:
        raise DataError(
            f"{index.source}: it has a class {BACKGROUND!r} of its own, and the recipe asks for one from "
            "between the segments; rename the class, or set background.windows=none"
        )
    gaps = [gap for segments in _by_video(index.samples) for gap in _gaps(segments, config, group)]
    if not gaps:
        raise DataError(
            f"{index.source}: no time for the class {BACKGROUND!r}: no two labeled segments of one video are "
            f"{2 * config.margin_seconds + config.shortest_seconds:g} s apart; lower "
            "background.margin_seconds or background.shortest_seconds, or set background.windows=none"
        )
    drawn = _no_more_than_a_class(gaps, index.samples, seed)
    order = (*index.class_order, BACKGROUND) if index.class_order else ()
    return replace(index, samples=(*index.samples, *drawn), class_order=order)


def _by_video(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the segments with an end, video by video, in order of time."""
    videos: dict[str, list[Sample]] = {}
    for sample in samples:
        videos.setdefault(sample.path, []).append(sample)
    return [sorted(found, key=lambda sample: sample.start_seconds or 0.0) for found in videos.values()]


def _gaps(segments: Sequence[Sample], config: BackgroundConfig, group: str | None) -> list[Sample]:
    """Return the gaps between the segments of one video."""
    gaps = []
    last = segments[0]
    for segment in segments[1:]:
        if last.end_seconds is None:  # it lasts to the end of the video
            break
        start = last.end_seconds + config.margin_seconds
        end = (segment.start_seconds or 0.0) - config.margin_seconds
        is_of_one_part = last.split == segment.split and (
            group is None or last.columns.get(group) == segment.columns.get(group)
        )
        if end - start >= config.shortest_seconds - 1e-9 and is_of_one_part:
            shared = {
                name: value
                for name, value in last.columns.items()
                if segment.columns.get(name) == value and name not in _OF_A_SEGMENT
            }
            times = round(start, 6), round(end, 6)
            gaps.append(Sample(segment.path, BACKGROUND, segment.split, *times, shared))
        if segment.end_seconds is None or segment.end_seconds > last.end_seconds:
            last = segment
    return gaps


def _no_more_than_a_class(gaps: Sequence[Sample], samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return as many gaps of each part of the split as its largest class has samples, drawn by the seed."""
    drawn: list[Sample] = []
    for part in dict.fromkeys(gap.split for gap in gaps):
        of_part = [gap for gap in gaps if gap.split == part]
        most = max(Counter(sample.label for sample in samples if sample.split == part).values())
        chosen = random.Random(f"{seed}/{BACKGROUND}/{part}").sample(range(len(of_part)), len(of_part))[:most]
        drawn += [of_part[number] for number in sorted(chosen)]
    return drawn

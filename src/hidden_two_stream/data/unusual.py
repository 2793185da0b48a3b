"""What is unusual about a dataset: clips that are very short or long, other frame rates, unequal classes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.progress import number_of

__all__ = ["class_balance", "named", "other_rates", "rate_counts", "unusual_lengths"]

_MOST_TIMES = 4.0  # longer or shorter than the median by this factor is unusual
_MOST_UNEQUAL = 3.0  # times as many videos in the largest class as in the smallest
_SAME_RATE = 1.02  # 29.97 and 30 are one rate
_NUM_NAMED = 10


def unusual_lengths(
    samples: Sequence[Sample], videos: Sequence[DecodedVideo], num_frames: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the samples that are very short, and those that are very long, each with its length.

    Short are samples with fewer frames than a clip, and those shorter than a quarter of the median; long are
    those of more than four times the median.

    Args:
        samples, videos: the readable samples and their decoded videos.
        num_frames: frames of a clip.
    """
    lengths = [video.seconds for video in videos]
    middle = statistics.median(lengths) if lengths else 0.0
    short, long = [], []
    for sample, video, seconds in zip(samples, videos, lengths, strict=True):
        line = f"{sample.name}: {number_of(video.num_frames, 'frame')}, {seconds:.2f} s"
        if video.num_frames < num_frames or seconds < middle / _MOST_TIMES:
            short.append(line)
        elif seconds > middle * _MOST_TIMES:
            long.append(line)
    return tuple(short), tuple(long)


def rate_counts(videos: Iterable[DecodedVideo]) -> dict[str, int]:
    """Return how many videos have each frame rate, rounded to 0.01 frames per second; "unknown" for none."""
    found = Counter(
        f"{video.fps:.2f}".rstrip("0").rstrip(".") if video.fps else "unknown" for video in videos
    )
    return dict(found.most_common())


def other_rates(samples: Sequence[Sample], videos: Sequence[DecodedVideo]) -> tuple[str, ...]:
    """Return the samples whose frame rate is not that of most videos, each with its rate."""
    rates = Counter(round(video.fps, 2) for video in videos if video.fps)
    if not rates:
        return ()
    usual = rates.most_common(1)[0][0]
    return tuple(
        f"{sample.name}: {video.fps:.4g} frames per second"
        for sample, video in zip(samples, videos, strict=True)
        if video.fps and max(video.fps / usual, usual / video.fps) > _SAME_RATE
    )


def class_balance(readable: Mapping[str, int]) -> str | None:
    """Return a line about classes with few videos; None: the largest has at most three times the smallest.

    Args:
        readable: number of readable videos of each class.
    """
    if len(readable) < 2:
        return None
    most, least = max(readable, key=readable.__getitem__), min(readable, key=readable.__getitem__)
    if readable[most] <= _MOST_UNEQUAL * readable[least]:
        return None
    return (
        f"the classes are unequal: {most} has {number_of(readable[most], 'readable video')}, {least} has "
        f"{readable[least]}; add videos of {least}"
    )


def named(what: str, lines: Sequence[str]) -> list[str]:
    """Return one line for each finding, up to ten, and how many more there are."""
    shown = [f"{what}: {line}" for line in lines[:_NUM_NAMED]]
    if len(lines) > _NUM_NAMED:
        shown.append(f"{what}: {len(lines) - _NUM_NAMED} more (--json names all)")
    return shown

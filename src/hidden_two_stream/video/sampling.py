"""Chooses the frames of clips: pure functions of integers, the same for training and inference.

A clip has `length` frames, `stride` frames apart, and begins at a start frame. In a video of T frames, the
possible starts are 0, …, T − span, where span is the number of frames that a clip covers.

In a video shorter than a clip, indices are clamped to the last frame: it repeats, as in a scene without
motion. Such a video has one start, 0.

Every function raises `UsageError` if a number of frames, clips or draws, a length, a stride or a hop is less
than 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from hidden_two_stream.errors import UsageError

__all__ = [
    "center_start",
    "clip_indices",
    "clip_span",
    "num_starts",
    "segment_starts",
    "spread_starts",
    "uniform_starts",
]


def _require_positive(**values: int) -> None:
    """Raise a UsageError for the first value less than 1."""
    for name, value in values.items():
        if value < 1:
            raise UsageError(f"{name} is {value}; expected a whole number of 1 or more")


def clip_span(length: int, stride: int) -> int:
    """Number of frames from the first to the last frame of a clip: (length − 1) · stride + 1."""
    _require_positive(length=length, stride=stride)
    return (length - 1) * stride + 1


def clip_indices(start: int, length: int, stride: int, num_frames: int) -> tuple[int, ...]:
    """Frame indices of the clip that begins at `start`, (length,), clamped to the last frame.

    Raises:
        UsageError: `start` is not a frame of the video, or another value is less than 1.
    """
    _require_positive(length=length, stride=stride, num_frames=num_frames)
    if not 0 <= start < num_frames:
        raise UsageError(f"start is {start}; expected 0 to {num_frames - 1}, a frame of the video")
    return tuple(min(start + i * stride, num_frames - 1) for i in range(length))


def num_starts(num_frames: int, length: int, stride: int) -> int:
    """Number of start frames whose clip lies within the video; 1 for a video shorter than a clip."""
    _require_positive(num_frames=num_frames)
    return max(1, num_frames - clip_span(length, stride) + 1)


def segment_starts(num_frames: int, length: int, stride: int, draws: Sequence[float]) -> tuple[int, ...]:
    """One random start frame in each of K equal parts of the video.

    This is the sparse sampling of temporal segment networks (Wang et al., arXiv 1608.00859). Of S possible
    starts, part k holds those in [⌊k S / K⌋, ⌊(k + 1) S / K⌋). If this is empty, the start is ⌊k S / K⌋.

    Args:
        num_frames: frames of the video.
        length: frames of a clip.
        stride: distance between two frames of a clip.
        draws: K random numbers in [0, 1), one for each part. With a single draw, uniform over [0, 1), all
            starts of the video are equally likely.

    Raises:
        UsageError: there are no draws, a draw is not in [0, 1), or another value is less than 1.
    """
    _require_positive(segments=len(draws))
    starts, parts = num_starts(num_frames, length, stride), len(draws)
    found = []
    for part, draw in enumerate(draws):
        if not 0.0 <= draw < 1.0:
            raise UsageError(f"draw is {draw}; expected a number of at least 0 and below 1")
        first, stop = part * starts // parts, (part + 1) * starts // parts
        found.append(first + int(draw * (stop - first)))
    return tuple(found)


def center_start(num_frames: int, length: int, stride: int) -> int:
    """Start frame of the clip in the middle of the video; the earlier one if there are two."""
    return (num_starts(num_frames, length, stride) - 1) // 2


def uniform_starts(num_frames: int, length: int, stride: int, count: int) -> tuple[int, ...]:
    """Start frames of `count` clips in the authors' test protocol: i · ⌊starts / count⌋.

    With 25 clips of 11 frames, the step is ⌊(T − 10) / 25⌋, as in the authors' published test script. The
    first clip begins at frame 0, and the last one may end before the video does. If there are fewer starts
    than clips, the step is 0 and all clips begin at frame 0. `spread_starts` reaches the end of the video.
    """
    _require_positive(count=count)
    step = num_starts(num_frames, length, stride) // count
    return tuple(i * step for i in range(count))


def spread_starts(num_frames: int, length: int, stride: int, count: int) -> tuple[int, ...]:
    """Start frames of `count` clips, evenly spaced from the first to the last possible start.

    Positions between two frames are rounded to the nearest frame, halves to the later one. A single clip is
    the one in the middle.
    """
    _require_positive(count=count)
    if count == 1:
        return (center_start(num_frames, length, stride),)
    last = num_starts(num_frames, length, stride) - 1
    return tuple((2 * i * last + count - 1) // (2 * (count - 1)) for i in range(count))

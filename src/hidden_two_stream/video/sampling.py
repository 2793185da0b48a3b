"""Which frames make a clip: pure functions of integers, the same for training and for inference.

A clip is `length` frames, `stride` frames apart, from a start frame on. The clips of a video of T frames
start at 0 ... T - span, where span is what one clip covers.

Rule for videos shorter than a clip: indices are clamped to the last frame, so the last frame repeats, which
is a scene without motion. Such a video has one start, 0.

Every function raises `UsageError` if a number of frames, clips, a length, a stride or a hop is below 1.
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
    "sliding_starts",
    "spread_starts",
    "uniform_starts",
]


def _require_positive(**values: int) -> None:
    """Raise a UsageError that names the first value below 1."""
    for name, value in values.items():
        if value < 1:
            raise UsageError(f"{name} is {value}; expected a whole number of 1 or more")


def clip_span(length: int, stride: int) -> int:
    """Frames from the first to the last frame of a clip, both included: (length - 1) * stride + 1."""
    _require_positive(length=length, stride=stride)
    return (length - 1) * stride + 1


def clip_indices(start: int, length: int, stride: int, num_frames: int) -> tuple[int, ...]:
    """The `length` frame indices of a clip that begins at `start`, clamped to the last frame.

    Raises:
        UsageError: `start` is not a frame of the video, or another value is below 1.
    """
    _require_positive(length=length, stride=stride, num_frames=num_frames)
    if not 0 <= start < num_frames:
        raise UsageError(f"start is {start}; expected 0 to {num_frames - 1}, a frame of the video")
    return tuple(min(start + i * stride, num_frames - 1) for i in range(length))


def num_starts(num_frames: int, length: int, stride: int) -> int:
    """How many start frames give a clip that lies inside the video; 1 for a video shorter than a clip."""
    _require_positive(num_frames=num_frames)
    return max(1, num_frames - clip_span(length, stride) + 1)


def segment_starts(num_frames: int, length: int, stride: int, draws: Sequence[float]) -> tuple[int, ...]:
    """One random start frame from each of K equal parts of the video, K = the number of `draws`.

    Sparse sampling of temporal segment networks (Wang et al., arXiv 1608.00859): part k holds the possible
    starts from floor(k S / K) up to, but not including, floor((k + 1) S / K), of S; a part of a video too
    short to have one of its own gives the first start of the part. The caller makes the draws; one draw makes
    all starts of the video equally likely.

    Raises:
        UsageError: there are no draws, a draw lies outside [0, 1), or another value is below 1.
    """
    _require_positive(segments=len(draws))
    starts, parts = num_starts(num_frames, length, stride), len(draws)
    found = []
    for part, draw in enumerate(draws):
        if not 0.0 <= draw < 1.0:
            raise UsageError(f"draw is {draw}; expected a number from 0 up to, but not including, 1")
        first, stop = part * starts // parts, (part + 1) * starts // parts
        found.append(first + int(draw * (stop - first)))
    return tuple(found)


def center_start(num_frames: int, length: int, stride: int) -> int:
    """The start frame of the clip in the middle; the earlier one of two middles."""
    return (num_starts(num_frames, length, stride) - 1) // 2


def uniform_starts(num_frames: int, length: int, stride: int, count: int) -> tuple[int, ...]:
    """`count` start frames by the test protocol of the reference: i * floor(starts / count).

    With 25 clips of 11 frames the step is floor((T - 10) / 25), as in the authors' published test script.
    The clips begin at frame 0 and the video's end may stay uncovered; where there are fewer starts than
    clips the step is 0 and all clips are the first one. `spread_starts` reaches the end.
    """
    _require_positive(count=count)
    step = num_starts(num_frames, length, stride) // count
    return tuple(i * step for i in range(count))


def spread_starts(num_frames: int, length: int, stride: int, count: int) -> tuple[int, ...]:
    """`count` start frames evenly from the first to the last possible one; one clip is the middle one.

    Positions between two frames go to the nearer one, halves to the later one.
    """
    _require_positive(count=count)
    if count == 1:
        return (center_start(num_frames, length, stride),)
    last = num_starts(num_frames, length, stride) - 1
    return tuple((2 * i * last + count - 1) // (2 * (count - 1)) for i in range(count))


def sliding_starts(num_frames: int, length: int, stride: int, hop: int) -> tuple[int, ...]:
    """Start frames `hop` apart, and the last possible one, so that the windows reach the video's end.

    With stride 1 and `hop` up to `length` every frame lies in a window.
    """
    _require_positive(hop=hop)
    last = num_starts(num_frames, length, stride) - 1
    starts = tuple(range(0, last + 1, hop))
    return starts if starts[-1] == last else (*starts, last)

"""Frames of clips and times of frames: in range, in order, the same each time, and none left out."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hidden_two_stream.types import Frame
from hidden_two_stream.video.sampling import (
    center_start,
    clip_indices,
    clip_span,
    num_starts,
    segment_starts,
    spread_starts,
    uniform_starts,
)
from hidden_two_stream.video.times import FrameClock, at_rate, file_times

frames = st.integers(1, 400)
lengths = st.integers(1, 20)
strides = st.integers(1, 6)
counts = st.integers(1, 40)
draws = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12)
BELOW_ONE = math.nextafter(1.0, 0.0)


def starts_by_trying(num_frames: int, length: int, stride: int) -> list[int]:
    """The starts whose last frame is a frame of the video; a short video has the start 0."""
    fitting = [start for start in range(num_frames) if start + (length - 1) * stride < num_frames]
    return fitting or [0]


@given(frames, lengths, strides, st.integers(0, 399))
def test_indices_step_by_the_stride_and_stop_at_the_last_frame(
    num_frames: int, length: int, stride: int, start: int
) -> None:
    start %= num_frames
    indices = clip_indices(start, length, stride, num_frames)
    assert len(indices) == length
    assert indices[0] == start
    for before, after in itertools.pairwise(indices):
        assert after == (before + stride if before + stride < num_frames else num_frames - 1)


@given(frames, lengths, strides)
def test_the_number_of_starts_is_that_of_trying_all(num_frames: int, length: int, stride: int) -> None:
    possible = starts_by_trying(num_frames, length, stride)
    assert num_starts(num_frames, length, stride) == len(possible)
    indices = clip_indices(0, length, stride, num_frames + clip_span(length, stride))
    assert indices[-1] - indices[0] + 1 == clip_span(length, stride)


@given(frames, lengths, strides, draws)
def test_each_segment_draws_from_its_own_part(
    num_frames: int, length: int, stride: int, numbers: list[float]
) -> None:
    possible = starts_by_trying(num_frames, length, stride)
    found = segment_starts(num_frames, length, stride, numbers)
    assert found == segment_starts(num_frames, length, stride, numbers)
    assert set(found) <= set(possible)
    assert list(found) == sorted(found)
    first = segment_starts(num_frames, length, stride, [0.0] * len(numbers))
    last = segment_starts(num_frames, length, stride, [BELOW_ONE] * len(numbers))
    assert all(low <= start <= high for low, start, high in zip(first, found, last, strict=True))
    if len(possible) >= len(numbers):  # the parts do not overlap, and leave no start out
        ranges = [range(low, high + 1) for low, high in zip(first, last, strict=True)]
        assert [start for part in ranges for start in part] == possible
        assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


@given(frames, lengths, strides)
def test_the_center_leaves_as_many_starts_before_as_after(num_frames: int, length: int, stride: int) -> None:
    possible = starts_by_trying(num_frames, length, stride)
    place = possible.index(center_start(num_frames, length, stride))
    assert len(possible) - 1 - place - place in (0, 1)


@given(frames, lengths, strides, counts)
def test_spread_starts_are_the_nearest_to_equal_distances(
    num_frames: int, length: int, stride: int, count: int
) -> None:
    last = starts_by_trying(num_frames, length, stride)[-1]
    found = spread_starts(num_frames, length, stride, count)
    assert len(found) == count
    if count == 1:
        assert found == (center_start(num_frames, length, stride),)
        return
    for number, start in enumerate(found):
        exact = Fraction(number * last, count - 1)
        assert start == math.floor(exact + Fraction(1, 2))


@given(frames, lengths, st.integers(0, 5))
def test_enough_spread_clips_cover_every_frame(num_frames: int, length: int, more: int) -> None:
    count = 1 + math.ceil(num_starts(num_frames, length, 1) / length) + more
    clips = [
        clip_indices(start, length, 1, num_frames) for start in spread_starts(num_frames, length, 1, count)
    ]
    assert {index for clip in clips for index in clip} == set(range(num_frames))


@given(frames, lengths, strides, counts)
def test_uniform_starts_are_equal_steps_within_the_video(
    num_frames: int, length: int, stride: int, count: int
) -> None:
    possible = starts_by_trying(num_frames, length, stride)
    found = uniform_starts(num_frames, length, stride, count)
    assert len(found) == count
    assert set(found) <= set(possible)
    steps = {after - before for before, after in itertools.pairwise(found)}
    assert len(steps) <= 1
    # One more frame between two starts, and `count` of them would not fit.
    assert count * (max(steps, default=len(possible)) + 1) > len(possible)


# -- times -----------------------------------------------------------------------------------------


@given(
    st.lists(st.none() | st.integers(-(2**40), 2**40), max_size=30),
    st.none() | st.fractions(Fraction(1, 90_000), 1, max_denominator=90_000),
    st.none() | st.floats(1, 240),
)
def test_the_clock_only_goes_forward(
    stamps: list[int | None], time_base: Fraction | None, fps: float | None
) -> None:
    clock = FrameClock(time_base, fps)
    seconds = [clock.seconds(stamp) for stamp in stamps]
    assert seconds[:1] in ([], [0.0])
    assert all(before < after for before, after in itertools.pairwise(seconds))
    present = [stamp for stamp in stamps if stamp is not None and time_base is not None]
    good = len(present) == len(stamps) and present == sorted(set(present))
    assert clock.repaired is not good


@given(st.lists(st.none() | st.integers(0, 10**6), max_size=30), st.none() | st.floats(1, 240))
def test_times_of_a_file_increase_from_zero(stamps: list[int | None], fps: float | None) -> None:
    times = file_times([None if stamp is None else stamp / 1000 for stamp in stamps], fps)
    assert times.shape == (len(stamps),)
    assert times.dtype == np.float64
    assert times[:1].tolist() in ([], [0.0])
    assert (np.diff(times) > 0).all()


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=30),
    st.integers(0, 64),
    st.sampled_from((1, 2, 4, 8, 32)),
)
def test_sampled_frames_are_the_nearest_to_equal_times(gaps: list[int], first: int, fps: int) -> None:
    """In 64ths of a second, where no sum is rounded, against a search among all frames."""
    ticks = np.cumsum([first, *gaps])
    image = np.zeros((1, 1, 3), np.uint8)
    source = [Frame(image, index, float(tick) / 64) for index, tick in enumerate(ticks)]
    found = list(at_rate(source, fps))
    step = 64 // fps
    wanted = np.arange(first, ticks[-1] + step / 4 + 1e-9, step)
    assert [frame.pts_seconds for frame in found] == (wanted / 64).tolist()
    nearest = np.abs(ticks[None] - wanted[:, None]).argmin(axis=1)  # of two, the first
    assert [frame.index for frame in found] == nearest.tolist()

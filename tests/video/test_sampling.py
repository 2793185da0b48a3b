from __future__ import annotations

from collections.abc import Callable

import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.sampling import (
    center_start,
    clip_indices,
    clip_span,
    num_starts,
    segment_starts,
    spread_starts,
    uniform_starts,
)

LENGTHS = (1, 2, 11, 16)
STRIDES = (1, 2, 5)
VIDEOS = (1, 2, 10, 11, 12, 35, 36, 51, 300)


@pytest.mark.parametrize(
    ("length", "stride", "span"), [(1, 1, 1), (1, 9, 1), (11, 1, 11), (11, 2, 21), (2, 5, 6)]
)
def test_span_counts_first_and_last_frame(length: int, stride: int, span: int) -> None:
    assert clip_span(length, stride) == span


@pytest.mark.parametrize(
    ("start", "length", "stride", "num_frames", "expected"),
    [
        (0, 4, 1, 10, (0, 1, 2, 3)),
        (6, 4, 1, 10, (6, 7, 8, 9)),
        (3, 3, 2, 10, (3, 5, 7)),
        (0, 5, 1, 3, (0, 1, 2, 2, 2)),
        (0, 4, 2, 4, (0, 2, 3, 3)),
        (0, 3, 1, 1, (0, 0, 0)),
        (9, 3, 1, 10, (9, 9, 9)),
    ],
)
def test_indices_are_clamped_to_the_last_frame(
    start: int, length: int, stride: int, num_frames: int, expected: tuple[int, ...]
) -> None:
    assert clip_indices(start, length, stride, num_frames) == expected


@pytest.mark.parametrize(
    ("num_frames", "length", "stride", "expected"),
    [
        (11, 11, 1, 1),
        (12, 11, 1, 2),
        (300, 11, 1, 290),
        (5, 11, 1, 1),
        (21, 11, 2, 1),
        (22, 11, 2, 2),
        (7, 1, 1, 7),
    ],
)
def test_num_starts(num_frames: int, length: int, stride: int, expected: int) -> None:
    assert num_starts(num_frames, length, stride) == expected


def test_one_segment_gives_each_start_an_equal_share_of_the_unit_interval() -> None:
    draws = [i / 1000 for i in range(1000)]
    starts = [segment_starts(14, 11, 1, (draw,))[0] for draw in draws]
    assert [starts.count(start) for start in range(4)] == [250, 250, 250, 250]
    assert starts == sorted(starts)


def test_segments_are_equal_parts_of_the_starts() -> None:
    # 20 starts in 3 parts: 0…5, 6…12, 13…19.
    assert segment_starts(30, 11, 1, (0.0, 0.0, 0.0)) == (0, 6, 13)
    assert segment_starts(30, 11, 1, (0.999, 0.999, 0.999)) == (5, 12, 19)
    assert segment_starts(30, 11, 1, (0.5, 0.0, 0.999)) == (3, 6, 19)
    # Two starts for three parts, and a video shorter than a clip.
    assert segment_starts(12, 11, 1, (0.9, 0.9, 0.9)) == (0, 0, 1)
    assert segment_starts(5, 11, 1, (0.9, 0.9, 0.9)) == (0, 0, 0)
    with pytest.raises(UsageError, match="segments is 0"):
        segment_starts(30, 11, 1, ())


def test_one_segment_stays_below_the_count_for_the_largest_draw() -> None:
    below_one = 1.0 - 2**-53
    for num_frames in (*range(1, 600), 2**31 + 10):
        assert segment_starts(num_frames, 11, 1, (below_one,))[0] == max(1, num_frames - 10) - 1


@pytest.mark.parametrize("draw", [-0.1, 1.0, float("nan")])
def test_one_segment_refuses_a_draw_outside_the_unit_interval(draw: float) -> None:
    with pytest.raises(UsageError, match="draw"):
        segment_starts(20, 11, 1, (draw,))[0]


@pytest.mark.parametrize(("num_frames", "expected"), [(5, 0), (11, 0), (12, 0), (13, 1), (14, 1), (31, 10)])
def test_center_start_leaves_as_many_frames_before_as_after(num_frames: int, expected: int) -> None:
    assert center_start(num_frames, 11, 1) == expected


# Steps by hand, 25 clips of 11 frames: floor((T - 10) / 25).
@pytest.mark.parametrize(
    ("num_frames", "step"), [(5, 0), (11, 0), (12, 0), (34, 0), (35, 1), (36, 1), (59, 1), (60, 2), (300, 11)]
)
def test_uniform_starts_follow_the_reference_protocol(num_frames: int, step: int) -> None:
    assert uniform_starts(num_frames, 11, 1, 25) == tuple(range(0, 25 * step, step) if step else [0] * 25)


def test_the_last_uniform_clip_of_35_frames_ends_at_the_last_frame() -> None:
    assert clip_indices(uniform_starts(35, 11, 1, 25)[-1], 11, 1, 35) == tuple(range(24, 35))


@pytest.mark.parametrize(
    ("num_frames", "count", "expected"),
    [
        (11, 3, (0, 0, 0)),
        (12, 3, (0, 1, 1)),  # 0, 0.5, 1: the half goes to the later frame
        (12, 1, (0,)),
        (31, 1, (10,)),
        (31, 2, (0, 20)),
        (31, 5, (0, 5, 10, 15, 20)),
        (31, 4, (0, 7, 13, 20)),  # 0, 6.67, 13.33, 20
        (36, 25, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)),
    ],
)
def test_spread_starts(num_frames: int, count: int, expected: tuple[int, ...]) -> None:
    assert spread_starts(num_frames, 11, 1, count) == expected


@pytest.mark.parametrize("num_frames", VIDEOS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_every_rule_gives_starts_whose_clips_fit(num_frames: int, length: int, stride: int) -> None:
    starts = {
        center_start(num_frames, length, stride),
        *(segment_starts(num_frames, length, stride, (draw,))[0] for draw in (0.0, 0.3, 0.999)),
        *uniform_starts(num_frames, length, stride, 25),
        *spread_starts(num_frames, length, stride, 10),
    }
    fits = num_frames >= (length - 1) * stride + 1
    for start in starts:
        indices = clip_indices(start, length, stride, num_frames)
        assert len(indices) == length
        assert 0 <= min(indices) <= max(indices) < num_frames
        if fits:
            assert indices == tuple(range(start, start + length * stride, stride))
        else:
            assert start == 0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: clip_span(0, 1), "length"),
        (lambda: clip_span(1, 0), "stride"),
        (lambda: clip_indices(0, 11, 1, 0), "num_frames"),
        (lambda: clip_indices(0, 0, 1, 5), "length"),
        (lambda: clip_indices(0, 11, 0, 5), "stride"),
        (lambda: clip_indices(-1, 2, 1, 5), "start"),
        (lambda: clip_indices(5, 2, 1, 5), "start"),
        (lambda: num_starts(0, 11, 1), "num_frames"),
        (lambda: num_starts(5, 11, -1), "stride"),
        (lambda: segment_starts(0, 11, 1, (0.5,))[0], "num_frames"),
        (lambda: center_start(5, 0, 1), "length"),
        (lambda: uniform_starts(5, 11, 1, 0), "count"),
        (lambda: uniform_starts(0, 11, 1, 5), "num_frames"),
        (lambda: spread_starts(5, 11, 1, 0), "count"),
        (lambda: spread_starts(5, 11, 0, 1), "stride"),
    ],
)
def test_values_below_one_are_refused_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is -?\d"):
        call()

"""The motion library: what each class moves, and that its clips repeat."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.motion_library import (
    LIBRARY_CLASSES,
    generate_library,
    generate_library_clip,
)


def test_there_are_many_classes_with_names_of_their_own() -> None:
    assert len(set(LIBRARY_CLASSES)) == len(LIBRARY_CLASSES) >= 64


@pytest.mark.parametrize("label", range(len(LIBRARY_CLASSES)), ids=LIBRARY_CLASSES)
def test_a_clip_is_video_and_repeats(label: int) -> None:
    clip = generate_library_clip(label, 3, num_frames=6, size=48)
    assert clip.shape == (6, 48, 48, 3)
    assert clip.dtype == np.uint8
    assert clip.std() > 1
    np.testing.assert_array_equal(clip, generate_library_clip(label, 3, num_frames=6, size=48))
    assert (clip != generate_library_clip(label, 4, num_frames=6, size=48)).any()


def test_workers_change_nothing() -> None:
    here, labels = generate_library(20, 5, num_frames=4, size=32)
    there, same = generate_library(20, 5, num_frames=4, size=32, workers=2)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(labels, same)


def test_a_longer_library_begins_as_a_shorter_one() -> None:
    few, labels = generate_library(5, 1, num_frames=3, size=32)
    more, longer = generate_library(9, 1, num_frames=3, size=32)
    np.testing.assert_array_equal(few, more[:5])
    np.testing.assert_array_equal(labels, longer[:5])


def test_the_classes_come_equally_often() -> None:
    from hidden_two_stream.synthetic import motion_library

    labels = motion_library._labels(2 * len(LIBRARY_CLASSES) + 7, 3)
    counts = np.bincount(labels, minlength=len(LIBRARY_CLASSES))
    assert set(counts) == {2, 3}


@pytest.mark.parametrize(
    ("label", "seed", "num_frames", "size", "message"),
    [
        (-1, 0, 4, 32, "label -1"),
        (len(LIBRARY_CLASSES), 0, 4, 32, "expected 0 to"),
        (0, -1, 4, 32, "seed -1"),
        (0, 0, 1, 32, "num_frames=1"),
        (0, 0, 4, 31, "size=31"),
    ],
)
def test_wrong_arguments_are_named(label: int, seed: int, num_frames: int, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate_library_clip(label, seed, num_frames=num_frames, size=size)

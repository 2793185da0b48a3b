from __future__ import annotations

import numpy as np
import pytest
import torch

from hidden_two_stream.data.clip_cache import Resize, resized
from hidden_two_stream.errors import UsageError
from hidden_two_stream.video.array_resize import array_resized


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (240, 320, 64),
        (144, 180, 112),
        (48, 64, 64),  # enlarged
        (100, 37, (31, 101)),  # shrunk along one side, enlarged along the other
        (33, 40, (33, 17)),  # one side stays
        (64, 64, 64),  # nothing to do
        (97, 211, (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "extremes"])
def test_its_pixels_are_those_of_pytorch(height: int, width: int, size: Resize, kind: str) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    if kind == "extremes":
        clip = np.where(clip < 128, np.uint8(0), np.uint8(255))
    found, expected = array_resized(clip, size), resized(clip, size).numpy()
    assert (found.shape, found.dtype) == (expected.shape, np.uint8)
    np.testing.assert_array_equal(found, expected)


def test_frames_do_not_depend_on_their_neighbors() -> None:
    clip = np.random.default_rng(1).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(array_resized(clip, 32)[1:2], array_resized(clip[1:2], 32))


def test_a_constant_image_stays_constant() -> None:
    clip = np.full((1, 77, 51, 3), 201, np.uint8)
    assert np.unique(array_resized(clip, (40, 64))).tolist() == [201]


def test_it_refuses_what_pytorch_refuses() -> None:
    clip = np.zeros((1, 8, 8, 3), np.uint8)
    for size in (0, (0, 8), (20_000, 20_000)):
        with pytest.raises(UsageError) as ours:
            array_resized(clip, size)
        with pytest.raises(UsageError) as theirs:
            resized(clip, size)
        assert str(ours.value) == str(theirs.value)
    with pytest.raises(UsageError, match="expected a"):
        array_resized(torch.zeros(1, 8, 8, 3), 4)  # type: ignore[arg-type]

"""The recognizer that comes with the package: its classes, its input, and that its weights are loaded."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.shipped import shipped_recognizer


def test_it_knows_generated_motions_and_sees_motion() -> None:
    recognizer = shipped_recognizer(64)
    assert "walk_toward" in recognizer.info.classes
    assert recognizer.info.recipe.input.size == recognizer.info.recipe.input.resize == 64
    # A smooth texture that moves 1 px to the right in each frame.
    noise = np.random.default_rng(0).random((16, 24)).repeat(8, 0).repeat(8, 1)
    kernel = np.ones(9) / 9
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda line: np.convolve(line, kernel, "same"), axis, noise)
    clip = np.stack([noise[32:96, 64 - step : 128 - step] for step in range(16)])
    frames = (255 * clip[..., None].repeat(3, -1)).astype(np.uint8)
    flow = recognizer.flow(frames)
    width = flow.shape[-1]
    u, v = np.median(flow[:, :, 4:-4, 4:-4], axis=(0, 2, 3)) * 64 / width
    assert u == pytest.approx(1, abs=0.25)
    assert v == pytest.approx(0, abs=0.25)
    prediction = recognizer.predict(frames)
    assert prediction.label in recognizer.info.classes
    assert prediction.scores.sum() == pytest.approx(1, abs=1e-4)


def test_frames_that_are_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="31 px; expected 32 or more"):
        shipped_recognizer(31)

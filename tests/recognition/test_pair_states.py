"""States of pairs that windows share: as computed for whole windows, and each only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.pair_states import PairStates, pairs_of

FRAMES = torch.rand(2, 12, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.4


def built(temporal: str, motion: str = "nano", num_frames: int = 4, **options: Any) -> HiddenTwoStream:
    torch.manual_seed(0)
    form: Any = temporal
    return HiddenTwoStream(motion, "small", 3, num_frames, temporal=form, **options).eval()


class Counted:
    """Gives frames by number, and counts the runs."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        self.runs.append(list(numbers))
        return FRAMES[:, list(numbers)]


@pytest.mark.parametrize(
    ("windows", "runs"),
    [
        ([[0, 1, 2, 3], [2, 3, 4, 5], [7, 8, 9, 10]], [[0, 1, 2, 3, 4, 5], [7, 8, 9, 10]]),
        ([[0, 2, 4, 6], [1, 3, 5, 7], [2, 4, 6, 8]], [[0, 2, 4, 6, 8], [1, 3, 5, 7]]),
        ([[0, 1, 2, 2], [1, 2, 2, 2]], [[0, 1, 2, 2]]),
        ([[0, 0, 0, 0], [3, 4, 4, 5]], [[0, 0], [3, 4, 4, 5]]),
        ([[0, 1, 2, 3], [0, 1, 2, 3]], [[0, 1, 2, 3]]),
    ],
)
@pytest.mark.parametrize("temporal", ["stacked", "branched", "sequence"])
@torch.inference_mode()
def test_windows_are_as_if_computed_alone(
    temporal: str, windows: list[list[int]], runs: list[list[int]]
) -> None:
    model, frames_of = built(temporal), Counted()
    states = PairStates(model, frames_of)
    states.add(pair for window in windows for pair in pairs_of(window))
    assert sorted(frames_of.runs) == runs
    assert states.num_pairs == len({pair for window in windows for pair in pairs_of(window)})
    for window in windows:
        expected = model.temporal(FRAMES[:, window])
        found = model.temporal_of_pairs(states.of(pairs_of(window)), 32, 32)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert expected.std() > 1e-4
    assert sorted(frames_of.runs) == runs


@torch.inference_mode()
def test_single_pairs_are_computed_together() -> None:
    model, frames_of = built("sequence"), Counted()
    calls: list[int] = []
    compute = model.pair_states

    def counted(frames: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(frames))
        return compute(frames)

    model.pair_states = counted  # type: ignore[method-assign]
    states = PairStates(model, frames_of)
    still = [(n, n) for n in range(9)]
    found = states.of(still)[0]
    assert calls == [18]
    for place, pair in enumerate(still):
        expected = compute(FRAMES[:, list(pair)])[0][:, 0]
        torch.testing.assert_close(found[:, place], expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_forgotten_pairs_are_computed_again() -> None:
    frames_of = Counted()
    states = PairStates(built("sequence"), frames_of)
    states.of(pairs_of([0, 1, 2, 3]))
    states.forget(before=2)
    states.of(pairs_of([1, 2, 3]))
    assert frames_of.runs == [[0, 1, 2, 3], [1, 2]]
    states.clear()
    states.of(pairs_of([1, 2, 3]))
    assert frames_of.runs[2:] == [[1, 2, 3]]
    assert states.num_pairs == 6


@pytest.mark.parametrize(
    "model",
    [built("stacked", "tiny"), built("sequence", normalize_contrast=True)],
    ids=["whole clips", "contrast of the window"],
)
def test_windows_that_must_be_seen_whole_are_refused(model: HiddenTwoStream) -> None:
    with pytest.raises(UsageError, match="sees whole windows"):
        PairStates(model, Counted())

"""The states of pairs of frames, each computed once for all windows that hold the pair.

If MotionNet sees each pair of frames by itself, as nano does, windows that overlap have pairs in common. Live
windows, the windows of a test protocol, those of which a stretch stands still, and those whose embeddings are
fitted, all keep the states of their pairs here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = ["Pair", "PairStates", "pairs_of"]

Pair = tuple[int, int]
"""The numbers of two frames."""

_FRAMES = 256  # per forward pass, at most


def pairs_of(numbers: Sequence[int]) -> list[Pair]:
    """Return the pairs of neighboring frames of a window."""
    return list(itertools.pairwise(numbers))


class PairStates:
    """Computes and keeps the states of pairs, see `HiddenTwoStream.pair_states`.

    Args:
        model: its pairs must be independent, see `HiddenTwoStream.pairs_are_independent`.
        frames_of: numbers of n frames → `frames` (B, n, 3, H, W); several crops are a batch.
        joins_runs: compute runs of frames that don't touch, such as those of several videos, in one forward
            pass. It takes one more pair for each run.

    Attributes:
        num_pairs: pairs that were computed so far.

    Raises:
        UsageError: the pairs of the model are not independent.
    """

    def __init__(
        self,
        model: HiddenTwoStream,
        frames_of: Callable[[Sequence[int]], Tensor],
        *,
        joins_runs: bool = False,
    ) -> None:
        if not model.pairs_are_independent:
            raise UsageError("the MotionNet of this model sees whole windows; each must be computed anew")
        self._model = model
        self._frames_of = frames_of
        self._joins_runs = joins_runs
        self._states: dict[Pair, tuple[Tensor, ...]] = {}
        self.num_pairs = 0

    def add(self, pairs: Iterable[Pair]) -> None:
        """Compute the states of the pairs that are not kept yet."""
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self._states]
        single, longer = _batches(_runs(missing), self._joins_runs)
        for runs in single:
            self._add_stacked(runs)
        for runs in longer:
            self._add_joined(runs)
        self.num_pairs += len(missing)

    def _add_stacked(self, runs: Sequence[list[int]]) -> None:
        """Compute runs of equal length as one batch."""
        frames = [self._frames_of(run) for run in runs]
        states = self._model.pair_states(torch.cat(frames))
        for row, run in enumerate(runs):
            batch = slice(row * len(frames[0]), (row + 1) * len(frames[0]))
            for place, pair in enumerate(pairs_of(run)):
                self._states[pair] = tuple(state[batch, place : place + 1] for state in states)

    def _add_joined(self, runs: Sequence[list[int]]) -> None:
        """Compute runs one behind the other; the pairs of the last and first frames of two runs are left."""
        frames = torch.cat([self._frames_of(run) for run in runs], dim=1)
        states = self._model.pair_states(frames)
        first = 0
        for run in runs:
            for place, pair in enumerate(pairs_of(run), first):
                self._states[pair] = tuple(state[:, place : place + 1] for state in states)
            first += len(run)

    def of(self, pairs: Sequence[Pair]) -> tuple[Tensor, ...]:
        """Return the states of a window's pairs, in the order of time: tensors (B, P, …).

        `HiddenTwoStream.temporal_of_pairs` takes them. States that are not kept are computed.
        """
        self.add(pairs)
        kept = [self._states[pair] for pair in pairs]
        return tuple(torch.cat(parts, dim=1) for parts in zip(*kept, strict=True))

    def forget(self, before: int) -> None:
        """Forget the pairs that begin before a frame."""
        for pair in [pair for pair in self._states if pair[0] < before]:
            del self._states[pair]

    def clear(self) -> None:
        """Forget all pairs."""
        self._states.clear()


def _runs(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the pairs as runs of frames: pairs that follow each other share a frame."""
    ending: dict[int, list[int]] = {}  # windows with a stride can take turns
    runs: list[list[int]] = []
    for first, second in pairs:
        run = ending.pop(first, None)
        if run is None:
            run = [first]
            runs.append(run)
        run.append(second)
        ending[second] = run
    return runs


def _batches(
    runs: Sequence[list[int]], joins_runs: bool
) -> tuple[Iterator[list[list[int]]], list[list[list[int]]]]:
    """Return the single pairs, and the longer runs, each as groups that are computed at once."""
    single = [run for run in runs if len(run) == 2]
    stacked = (single[begin : begin + _FRAMES // 2] for begin in range(0, len(single), _FRAMES // 2))
    joined: list[list[list[int]]] = []
    for run in (run for run in runs if len(run) > 2):
        if joined and joins_runs and sum(map(len, joined[-1])) + len(run) <= _FRAMES:
            joined[-1].append(run)
        else:
            joined.append([run])
    return stacked, joined

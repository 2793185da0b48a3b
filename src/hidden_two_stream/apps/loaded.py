"""The recognizers of the worker process: the last few that were used stay in memory."""

from __future__ import annotations

from functools import lru_cache

from hidden_two_stream.inference.predictor import Recognizer, load

__all__ = ["recognizer_of"]


def recognizer_of(run: str, device: str) -> Recognizer:
    """Return the recognizer of a run folder.

    Raises:
        UsageError, CheckpointError: as `inference.predictor.load`.
    """
    return _loaded(run, device)


@lru_cache(maxsize=3)
def _loaded(run: str, device: str) -> Recognizer:
    return load(run, device)

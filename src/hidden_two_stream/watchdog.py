"""Ends a worker process that makes no progress.

A library that hangs inside of one call cannot be interrupted from Python. Only its process can end, which
`parallel.run_in_processes` then replaces.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["STUCK_SECONDS", "ended_when_stuck", "progressed"]

STUCK_SECONDS = 300.0
"""How long one step, such as decoding a frame, may take; a slow disk needs seconds at most."""


class _Watch:
    """A clock that ends the process when it runs out.

    Args:
        seconds: how long a step may take.
        nowhere: an open file, for what Python prints about the end.
    """

    def __init__(self, seconds: float, nowhere: IO[str]) -> None:
        self._seconds = seconds
        self._nowhere = nowhere
        self._due = 0.0

    def set_back(self) -> None:
        """Let the clock begin anew; quick enough for every frame, because a tenth of its time is ignored."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._seconds / 10
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._nowhere)


_running: list[_Watch] = []


@contextmanager
def ended_when_stuck(seconds: float = STUCK_SECONDS) -> Iterator[None]:
    """End this process if, in the block, `progressed` is not called for some time.

    Only for worker processes: nothing is cleaned up, and the exit code is 1.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        watch = _Watch(seconds, nowhere)
        _running.append(watch)
        watch.set_back()
        try:
            yield
        finally:
            _running.pop()
            faulthandler.cancel_dump_traceback_later()


def progressed() -> None:
    """Say that a step is done; without a watch, nothing happens."""
    if _running:
        _running[-1].set_back()

"""A Ctrl-C handler that lets the current step finish."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self

__all__ = ["StopRequest"]


class StopRequest:
    """A context manager: the first Ctrl-C (or SIGTERM) sets `wanted`, and the second interrupts at once.

    A `KeyboardInterrupt` in the middle of an optimizer step would leave weights that belong to no step.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A signal that is ignored, as in a background job, stays ignored. None: set outside Python.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True

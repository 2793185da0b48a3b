"""A handler of Ctrl-C and of signals that end a process, which lets the current step finish."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self

from hidden_two_stream.errors import Terminated

__all__ = ["StopRequest"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class StopRequest:
    """A context manager: the first Ctrl-C, SIGTERM or SIGHUP sets `wanted`; the second interrupts at once.

    A `KeyboardInterrupt` in the middle of an optimizer step would leave weights that belong to no step.

    Attributes:
        wanted: whether one of the signals came.
        signal_number: the first signal that came.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.signal_number = int(signal.SIGINT)
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                # A signal that is ignored, as in a background job, stays ignored. None: set outside Python.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self.wanted and isinstance(error, Terminated):
            error.signal_number = self.signal_number
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.wanted:
            raise Terminated(number)
        self.wanted, self.signal_number = True, number

"""Who computes: threads of this process; worker processes, which Ctrl-C ends without a word."""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from types import FrameType
from typing import Any

import torch

__all__ = ["WorkerPool", "threads"]


class WorkerPool(ProcessPoolExecutor):
    """A `ProcessPoolExecutor` whose processes have one thread each; leaving it drops what still waits.

    They are spawned, not forked: this process may already run threads of torch. Ctrl-C reaches all processes
    of a terminal; this one raises `KeyboardInterrupt`, those in the pool end at once and print nothing, also
    while they still start.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=get_context("spawn"), initializer=_begin)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ProcessPoolExecutor.submit`, which may start a process: Ctrl-C comes behind that."""
        with _interrupt_behind():
            return super().submit(fn, *args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Interrupted while it is waited for, a thread counts as ended in Python 3.11; the exit would hang.
        with _interrupt_behind():
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                # Those that started behind the Ctrl-C have not heard it, and would be waited for.
                for process in tuple((self._processes or {}).values()):
                    process.terminate()
            self.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupt_behind() -> Iterator[None]:
    """Defer Ctrl-C in the main thread; a process that starts in here is deaf to it until `_begin`."""
    deaf = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)  # None: the handler is not Python's
    if deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    missed: list[tuple[int, FrameType | None]] = []
    # The handler: any thread may be the one that the system interrupts. The mask: processes inherit it.
    handler = signal.signal(signal.SIGINT, lambda *interrupt: missed.append(interrupt))
    try:
        with _blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if missed and callable(handler):
        handler(*missed[0])


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Set a new process up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _set_threads(1, 1)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch and OpenCV, where that is installed, compute with so many threads in here."""
    before = (torch.get_num_threads(), 1 if (opencv := _opencv()) is None else opencv.getNumThreads())
    _set_threads(number, number)
    try:
        yield
    finally:
        _set_threads(*before)


def _set_threads(of_torch: int, of_opencv: int) -> None:
    torch.set_num_threads(of_torch)
    if (opencv := _opencv()) is not None:
        opencv.setNumThreads(of_opencv)


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None

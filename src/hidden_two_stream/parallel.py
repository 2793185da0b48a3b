"""Thread limits and an interrupt-safe process pool."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from types import FrameType
from typing import Any

import torch

__all__ = ["WorkerPool", "threads"]


class WorkerPool(ProcessPoolExecutor):
    """A `ProcessPoolExecutor` with single-threaded workers; leaving its context cancels pending tasks.

    Workers are spawned, not forked, because this process may already run threads of torch. Ctrl-C in a
    terminal reaches all of its processes: this one raises `KeyboardInterrupt`; the workers end at once and
    print nothing, even while they are starting.

    Workers do not import the calling script, so a script needs no `if __name__ == "__main__":`. Tasks must be
    functions of importable modules.
    """

    def __init__(self, workers: int) -> None:
        # An interrupt between a semaphore and its finalizer would leak it, and print a warning at exit.
        with _interrupt_deferred():
            super().__init__(workers, mp_context=get_context("spawn"), initializer=_initialize_worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ProcessPoolExecutor.submit`; if it starts a process, Ctrl-C takes effect after that."""
        with _interrupt_deferred(), _main_hidden():
            return super().submit(fn, *args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # In Python 3.11, interrupting the wait for a thread marks it as ended, and the exit would hang.
        with _interrupt_deferred():
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                # Workers that started after the Ctrl-C did not receive it; shutdown would wait for them.
                for process in tuple((self._processes or {}).values()):
                    process.terminate()
            self.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep processes that start in the block from importing the calling script.

    `multiprocessing` finds the script by these two attributes of `__main__`.
    """
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    main.__spec__ = None
    if file is not None:
        del main.__file__
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Defer Ctrl-C in the main thread to the end of the block.

    A process that starts in the block ignores Ctrl-C until it runs `_initialize_worker`.
    """
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)  # None: the handler is not Python's
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    missed: list[tuple[int, FrameType | None]] = []
    # The handler is needed because the system may interrupt any thread; the mask because workers inherit it.
    handler = signal.signal(signal.SIGINT, lambda *interrupt: missed.append(interrupt))
    try:
        with _interrupt_blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if missed and callable(handler):
        handler(*missed[0])


@contextlib.contextmanager
def _interrupt_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _initialize_worker() -> None:
    """Make Ctrl-C end this worker process at once, and limit it to one thread."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # background jobs of a script ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _set_threads(1, 1)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Set the number of threads of torch and, if installed, OpenCV within the block."""
    before = (torch.get_num_threads(), 1 if (opencv := _opencv()) is None else opencv.getNumThreads())
    _set_threads(number, number)
    try:
        yield
    finally:
        _set_threads(*before)


def _set_threads(torch_threads: int, opencv_threads: int) -> None:
    torch.set_num_threads(torch_threads)
    if (opencv := _opencv()) is not None:
        opencv.setNumThreads(opencv_threads)


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None

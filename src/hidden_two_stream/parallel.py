"""Thread limits, an interrupt-safe process pool, and tasks in worker processes that may die."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from types import FrameType
from typing import Any, TypeVar

from hidden_two_stream.errors import WorkerError

__all__ = [
    "LOST_WORKER",
    "WorkerPool",
    "require_semaphores",
    "run_as_completed",
    "run_in_processes",
    "single_thread",
    "threads",
]

Task = TypeVar("Task")
Result = TypeVar("Result")

LOST_WORKER = (
    "its worker process ended without a result: a library crashed or made no progress for minutes, or the "
    "system stopped the process, for example because memory ran out"
)
"""The reason for a task whose worker process died, also when it ran alone."""


def run_in_processes(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    lost: Callable[[Task], Result],
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in the order of the tasks.

    If a worker process dies, the tasks that it may have been at run again one at a time, each in a process of
    its own. So a task that kills its process costs only its own result.

    Args:
        function: a function of an importable module.
        tasks: the tasks. At most 2 · workers of them are taken ahead of the results.
        workers: number of processes; 0 runs the tasks in this process.
        lost: gives the result of a task whose process died, or raises an error that names the task.

    Raises:
        WorkerError: worker processes cannot be started.
    """
    if workers < 1:
        yield from map(function, tasks)
        return
    remaining = iter(tasks)
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    while True:
        with _pool(workers) as pool:
            try:
                while True:
                    for task in itertools.islice(remaining, 2 * workers - len(waiting)):
                        waiting.append((task, _submitted(pool, function, task)))
                    if not waiting:
                        return
                    result = waiting[0][1].result()
                    waiting.popleft()
                    yield result
            except BrokenProcessPool:
                pass
        for task, future in waiting:
            yield _result_alone(function, task, lost) if _is_broken(future) else future.result()
        waiting.clear()


def run_as_completed(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    lost: Callable[[Task], Result],
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with its result as soon as it is there, in any order; else as `run_in_processes`.

    A task that takes long holds no other result back. A process gets its next task when its result was taken,
    so if all processes are killed at once, at most one task of each is lost.
    """
    if workers < 1:
        yield from ((task, function(task)) for task in tasks)
        return
    remaining = iter(tasks)
    running: dict[Future[Result], Task] = {}
    while True:
        with _pool(workers) as pool:
            is_whole = True
            while is_whole:
                for task in itertools.islice(remaining, workers - len(running)):
                    running[_submitted(pool, function, task)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                is_whole = not any(map(_is_broken, done))
                for future in [future for future in done if not _is_broken(future)]:
                    yield running.pop(future), future.result()
        for future, task in running.items():
            yield task, _result_alone(function, task, lost) if _is_broken(future) else future.result()
        running.clear()


def _submitted(pool: WorkerPool, function: Callable[[Task], Result], task: Task) -> Future[Result]:
    """Return the future of a task; that of a broken pool if the pool broke before."""
    try:
        return pool.submit(function, task)
    except BrokenProcessPool as error:
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken


def _is_broken(future: Future[Any]) -> bool:
    return future.cancelled() or isinstance(future.exception(), BrokenProcessPool)


def _result_alone(function: Callable[[Task], Result], task: Task, lost: Callable[[Task], Result]) -> Result:
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "worker processes end as soon as they start; work without them (--workers 0)"
            ) from error
        try:
            result: Result = pool.submit(function, task).result()
        except BrokenProcessPool:
            return lost(task)
        return result


def _pool(workers: int) -> WorkerPool:
    require_semaphores(workers)
    return WorkerPool(workers)


def require_semaphores(workers: int) -> None:
    """Check that the system has room for the semaphores of some worker processes.

    Raises:
        WorkerError: it has not; on Linux, semaphores lie in /dev/shm.
    """
    context = get_context("spawn")
    try:
        with _interrupt_deferred():  # as in `WorkerPool`
            probes = [context.Lock() for _ in range(8 * (workers + 1))]
            del probes
    except OSError as error:
        raise WorkerError(
            f"cannot start worker processes: {error.strerror or error}; work without them (--workers 0), or "
            "give the system a larger /dev/shm"
        ) from error


class WorkerPool(ProcessPoolExecutor):
    """A `ProcessPoolExecutor` with single-threaded workers; leaving its context cancels pending tasks.

    Workers are spawned, not forked, because this process may already run threads of torch. Ctrl-C in a
    terminal reaches all of its processes: this one raises `KeyboardInterrupt`; the workers end at once and
    print nothing, even while they are starting.

    Workers do not import the calling script, so a script needs no `if __name__ == "__main__":`. Tasks must be
    functions of importable modules. Workers also end when this process does, however it ends.
    """

    def __init__(self, workers: int) -> None:
        # An interrupt between a semaphore and its finalizer would leak it, and print a warning at exit.
        with _interrupt_deferred():
            super().__init__(workers, mp_context=get_context("spawn"), initializer=_initialize_worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ProcessPoolExecutor.submit`; if it starts a process, Ctrl-C takes effect after that."""
        with _interrupt_deferred(), _main_hidden():
            return super().submit(fn, *args, **kwargs)

    def end_workers(self) -> None:
        """End the worker processes at once. Tasks that run or wait raise `BrokenProcessPool`."""
        for process in tuple((self._processes or {}).values()):
            process.kill()
        self.shutdown(wait=False, cancel_futures=True)

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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    single_thread()


def _end_with_parent() -> None:
    """End this worker process when the process that started it ends, for example by SIGTERM or SIGKILL.

    A worker waits for tasks at a pipe that its siblings hold open too, so it would wait for ever.
    """
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def single_thread() -> None:
    """Let torch and OpenCV compute with one thread from now on, as workers do."""
    _set_threads(1, 1)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Set the number of threads of torch and, if installed, OpenCV within the block."""
    import torch

    before = (torch.get_num_threads(), 1 if (opencv := _opencv()) is None else opencv.getNumThreads())
    _set_threads(number, number)
    try:
        yield
    finally:
        _set_threads(*before)


def _set_threads(torch_threads: int, opencv_threads: int) -> None:
    import torch

    torch.set_num_threads(torch_threads)
    if (opencv := _opencv()) is not None:
        opencv.setNumThreads(opencv_threads)


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None

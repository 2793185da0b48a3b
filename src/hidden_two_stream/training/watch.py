"""Watches over the processes of one run: if one fails, dies or freezes, all end, and one line says why.

Processes that train together wait for each other in every step, for ever if one of them stops answering.
Therefore each has a thread that writes a heartbeat into a store, which the first process holds. The first
process watches all others, and the others watch the first one. A process that fails leaves its message in
the store, and the first process reports it.

The threads count rounds instead of seconds, so that a run that was suspended as a whole (Ctrl-Z, a closed
laptop) goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Self

from lightning_fabric import Fabric
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from hidden_two_stream.errors import HiddenTwoStreamError, Terminated, TrainingError, unexpected
from hidden_two_stream.progress import note

__all__ = ["FROZEN_SECONDS", "Watch"]

FROZEN_SECONDS = 20
"""A process without a heartbeat for this long counts as frozen."""

_ROUND_SECONDS = 1.0
_STORE_SECONDS = 3600  # the watch counts rounds instead
_GRACE_SECONDS = 3.0  # for the main thread to notice a failure on its own
_LINGER_SECONDS = 8.0  # for the others to read what failed
_LEFT, _FAILURE = "left", "failure"
_ADVICE = "the last saved state is kept; go on with --resume"


class Watch:
    """A context manager around all that the processes of a run do together. One process needs no watch.

    Leaving it raises TrainingError in the first process if another one failed, ended or froze, and SystemExit
    in the others if anything failed, so that an error is reported once. Where the main thread waits for a
    process that does not answer, the watch ends this process with exit code 1.

    Args:
        fabric: a launched Fabric.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world = fabric.global_rank, fabric.world_size
        self._reports_alone = self.rank == 1 or fabric.local_rank == 0
        self._closed = threading.Event()
        self._reporting, self._saying = threading.Lock(), threading.Lock()
        self._rounds = 0
        self._found: str | None = None
        self._first_is_gone = False
        if self.world > 1:
            self._children = _taken_children(fabric)
            self._store, self._first_pid = _shared_store(fabric)

    def __enter__(self) -> Self:
        if self.world > 1:
            for work in (self._exchange, self._watch):
                threading.Thread(target=work, name=f"hts{work.__name__}", daemon=True).start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self.world == 1:
            return
        self._closed.set()
        with self._reporting:
            if error is None:
                self._leave()
            elif self.rank == 0:
                self._leave_first(error)
            else:
                self._leave_other(error)

    # -- the main thread ---------------------------------------------------------------------------

    def _leave(self) -> None:
        """Leave the others; the first process, which holds the store, waits for them."""
        with suppress(RuntimeError):
            self._within_time(self._say_left)
            end = time.monotonic() + _LINGER_SECONDS
            while self.rank == 0 and time.monotonic() < end:
                if all(self._beat(rank) == _LEFT or self._ended(rank) for rank in range(1, self.world)):
                    break
                time.sleep(0.1)

    def _leave_first(self, error: BaseException) -> None:
        """Let the error of the first process pass, or raise that of the process that caused it."""
        cause = self._cause() if _is_foreign(error) else None
        if cause is None:
            self._publish(error)
        else:
            self._store.compare_set(_FAILURE, "", f"1\n{cause}")
        self._leave()
        self._end_children()
        if cause is not None:
            raise TrainingError(f"{cause}; {_ADVICE}") from error

    def _leave_other(self, error: BaseException) -> None:
        """Leave the report of an error to the first process, if there still is one."""

        def leave() -> None:
            if _is_foreign(error):
                time.sleep(_ROUND_SECONDS)
            else:
                self._publish(error)
            self._say_left()
            end = time.monotonic() + _LINGER_SECONDS  # launchers end all processes when one has failed
            while self._beat(0) != _LEFT and time.monotonic() < end:
                time.sleep(0.1)

        try:
            self._within_time(leave)
        except RuntimeError:
            self._report_first("ended")
        raise SystemExit(_exit_code(error)) from error

    def _cause(self) -> str | None:
        """Return why a computation with other processes failed; None: not because of them."""
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end:
            found = self._failure() or self._ended_child()
            if found:
                return found
            time.sleep(0.1)
        return "another process of the run ended"

    # -- the thread ---------------------------------------------------------------------------------

    def _exchange(self) -> None:
        """Send a heartbeat each round, and look for one reason why the run must end."""
        beats: dict[int, tuple[str, int]] = {}
        try:
            while self._found is None and not self._closed.wait(_ROUND_SECONDS):
                self._rounds += 1
                self._say_alive()
                self._found = self._failure() or self._ended_child() or self._frozen(beats)
        except RuntimeError:
            self._first_is_gone = True

    def _watch(self) -> None:
        """End this process if the run must end and the main thread does not notice."""
        seen = waited = 0
        while not self._closed.wait(_ROUND_SECONDS):
            waited = 0 if self._rounds != seen else waited + 1
            seen = self._rounds
            frozen = waited * _ROUND_SECONDS >= FROZEN_SECONDS and self._found is None
            if not (self._found or self._first_is_gone or frozen):
                continue
            if self._closed.wait(_GRACE_SECONDS):
                return
            with self._reporting:
                self._report()
                self._end()

    def _report(self) -> None:
        if self._found is None:
            self._report_first("ended" if self._first_is_gone else "does not answer any more")
        elif self.rank == 0:
            note(f"hts: {self._found}; {_ADVICE}")
        else:
            with suppress(RuntimeError):
                self._within_time(lambda: self._store.compare_set(_FAILURE, "", f"1\n{self._found}"))

    def _frozen(self, beats: dict[int, tuple[str, int]]) -> str | None:
        """Return which process has sent no heartbeat for long; `beats` are the last ones, and their age."""
        for rank in range(1, self.world if self.rank == 0 else 1):
            beat = self._beat(rank)
            before, age = beats.get(rank, ("", 0))
            beats[rank] = (beat, age + 1 if beat == before and beat != _LEFT else 0)
            if beats[rank][1] * _ROUND_SECONDS >= FROZEN_SECONDS:
                return f"process {rank + 1} of {self.world} does not answer any more"
        return None

    def _end(self) -> None:
        """End this process, whose main thread may wait for ever, and the processes that it started."""
        self._end_children()
        if os.getppid() == self._first_pid:  # started by the first process, which is frozen
            with suppress(OSError):
                os.kill(self._first_pid, signal.SIGKILL)
        os._exit(1)

    def _within_time(self, work: Callable[[], object]) -> None:
        """Call `work`, which asks the store.

        Raises:
            RuntimeError: the store is gone, or does not answer for long; its own timeouts do not hold where
                the process that has it is frozen.
        """
        failed: list[RuntimeError] = []

        def call() -> None:
            try:
                work()
            except RuntimeError as error:
                failed.append(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_LINGER_SECONDS + 2)
        if failed or thread.is_alive():
            raise RuntimeError("the store does not answer")

    def _say_alive(self) -> None:
        with self._saying:  # a heartbeat must not follow on the farewell
            if not self._closed.is_set():
                self._store.set(str(self.rank), str(self._rounds))

    def _say_left(self) -> None:
        with self._saying:
            self._store.set(str(self.rank), _LEFT)

    # -- what happened -------------------------------------------------------------------------------

    def _beat(self, rank: int) -> str:
        beat: str = self._store.get(str(rank)).decode()
        return beat

    def _failure(self) -> str | None:
        """Return what another process has reported."""
        text = self._store.get(_FAILURE).decode()
        return text.partition("\n")[2] or None

    def _publish(self, error: BaseException) -> None:
        if isinstance(error, SystemExit):
            return  # of a failure that the first process has reported
        text = unexpected(error) if isinstance(error, Exception) else "interrupted"
        if isinstance(error, HiddenTwoStreamError | KeyboardInterrupt) and str(error):
            text = str(error)
        with suppress(RuntimeError):
            where = f"process {self.rank + 1} of {self.world}: {text}"
            self._store.compare_set(_FAILURE, "", f"{_exit_code(error)}\n{where}")

    def _ended(self, rank: int) -> bool:
        child = self._children.get(rank)
        return child is not None and child.poll() is not None

    def _ended_child(self) -> str | None:
        """Return which of the processes that this one started has ended without a word."""
        for rank, child in self._children.items():
            if self._ended(rank) and self._beat(rank) != _LEFT:
                code = child.returncode
                by = f" by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
                return f"process {rank + 1} of {self.world} ended{by}"
        return None

    def _end_children(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.kill()
                child.wait()

    def _report_first(self, what: str) -> None:
        if self._reports_alone:
            note(f"hts: process 1 of {self.world} {what}; {_ADVICE}")


def _is_foreign(error: BaseException) -> bool:
    """Whether an error may come from a computation with other processes that broke off."""
    signs = ("gloo", "nccl", "connection", "timed out", "peer", "socket", "distributed")
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, HiddenTwoStreamError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 128 + (error.signal_number if isinstance(error, Terminated) else signal.SIGINT)
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1


def _taken_children(fabric: Fabric) -> dict[int, subprocess.Popen[bytes]]:
    """Return the processes that Fabric started here, by rank, and keep Fabric from watching them.

    Fabric's own observer kills everything without a word five seconds after one has ended.
    """
    started = getattr(fabric.strategy.launcher, "procs", [])
    children = {fabric.global_rank + number: child for number, child in enumerate(started, start=1)}
    started.clear()
    return children


def _shared_store(fabric: Fabric) -> tuple[TCPStore, int]:
    """Return the store of the run and the process number of the first process, which holds it."""
    timeout = timedelta(seconds=_STORE_SECONDS)
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    place: tuple[str, int, int] | None = None
    if fabric.is_global_zero:
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        for key in (*map(str, range(fabric.world_size)), _FAILURE):
            store.set(key, "")
        place = (host, store.port, os.getpid())
    place = fabric.broadcast(place)
    assert place is not None
    if not fabric.is_global_zero:
        store = TCPStore(place[0], place[1], is_master=False, timeout=timeout)
    return store, place[2]

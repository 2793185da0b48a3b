"""A worker process, seen from the application: starts, runs a task, can be stopped at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import hidden_two_stream.errors as errors
from hidden_two_stream.errors import HiddenTwoStreamError, WorkerError

__all__ = ["JobFailedError", "JobStoppedError", "WorkerProcess"]

_LOST = (
    "the job ended without a result: a library crashed, or the system stopped it, for example because memory "
    "ran out"
)

_CALM = {"OMP_WAIT_POLICY": "PASSIVE"}
"""PyTorch's threads wait without spinning: the browser takes cores, too. The user's own setting wins."""


class JobFailedError(HiddenTwoStreamError):
    """A task failed; the message is the package's own."""


class JobStoppedError(HiddenTwoStreamError):
    """A task was stopped."""


class WorkerProcess:
    """Runs tasks in a process of its own, which starts with the first one and stays for the next.

    A crash of a decoder costs a task and not the server; stopping a task always works; and the server's own
    process never imports PyTorch. `run` belongs to one thread; `stop` may be called from any.

    Args:
        scratch: folder for temporary files of the process; None: the system's. Whoever deletes it deletes
            what a process left that was ended by force.
        grace_seconds: time between the request to stop and the end by force, s. Training saves its state.
    """

    def __init__(self, scratch: Path | None = None, grace_seconds: float = 20.0) -> None:
        self._scratch, self._grace = scratch, grace_seconds
        self._process: subprocess.Popen[str] | None = None
        self._guard = threading.Lock()
        self._closed = self._stopping = False

    def run(self, task: Mapping[str, Any], on_message: Callable[[Mapping[str, Any]], None]) -> Any:
        """Run a task and return its result.

        Args:
            task: "kind", a key of `apps.worker.TASKS`, and the arguments of its function.
            on_message: gets each {"progress": …}, {"note": …} and {"early": …}.

        Raises:
            JobFailedError: with the package's message.
            JobStoppedError: `stop` was called.
            WorkerError: the process died.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # it has died: the loop finds no line
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            message = json.loads(line)
            if "result" in message:
                return message["result"]
            if "error" in message:
                raise JobFailedError(message["error"])
            if "stopped" in message:
                break
            on_message(message)
        self._forget(process)
        if self._stopping or self._closed:
            raise JobStoppedError("stopped")
        raise WorkerError(_LOST)

    def stop(self) -> None:
        """Ask the running task to stop, and end it by force if it doesn't; the next task starts anew."""
        with self._guard:
            process = self._process
            if process is None or process.poll() is not None:
                return
            self._stopping = True
            process.terminate()
        watch = threading.Timer(self._grace, process.kill)
        watch.daemon = True
        watch.start()

    def close(self) -> None:
        """End the process and wait for it; no task can be run any more."""
        with self._guard:
            self._closed = True
            process = self._process
        if process is None:
            return
        with suppress(OSError):
            process.terminate()
        try:
            process.wait(self._grace)
        except subprocess.TimeoutExpired:
            process.kill()
        self._forget(process)

    def _started(self) -> subprocess.Popen[str]:
        with self._guard:
            if self._closed:
                raise JobStoppedError("stopped")
            if self._process is not None and self._process.poll() is not None:
                _close_pipes(self._process)  # it died between two tasks
                self._process = None
            if self._process is None:
                self._process = _start(self._scratch)
            self._stopping = False
            return self._process

    def _forget(self, process: subprocess.Popen[str]) -> None:
        with self._guard:
            if self._process is process:
                self._process = None
        process.wait()
        _close_pipes(process)


def _close_pipes(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _start(scratch: Path | None) -> subprocess.Popen[str]:
    """Start a worker that Ctrl-C in the terminal does not reach."""
    package = str(Path(errors.__file__).resolve().parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**_CALM, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
        environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    blocked = hasattr(signal, "pthread_sigmask")
    if blocked:  # until it ignores Ctrl-C, it must not print a traceback
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "hidden_two_stream.apps.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
    except OSError as error:
        raise WorkerError(f"cannot start a worker process: {error.strerror or error}") from error
    finally:
        if blocked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

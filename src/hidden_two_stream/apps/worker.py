"""The worker process: does one task after the other, told by lines of JSON on its standard input.

The application starts it as `python -m hidden_two_stream.apps.worker`, see `apps.worker_process`. Answers are
lines of JSON on the standard output: {"progress": …}, {"note": …} and {"early": …} while a task runs, then
{"result": …}, {"error": …} or {"stopped": …}. Whatever libraries print goes to stderr instead.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, TextIO

from hidden_two_stream.apps.early import receiving
from hidden_two_stream.errors import HiddenTwoStreamError, Terminated, unexpected
from hidden_two_stream.progress import listening

__all__ = ["TASKS", "main"]

TASKS: Mapping[str, str] = {
    "probe": "apps.probing:probe_video",
    "label": "apps.labeling:label_video",
    "explain": "apps.explaining:explain_label",
    "preview": "apps.preview:preview_video",
    "train": "apps.training:train_project",
    "page": "apps.pages:export_page",
}
"""Kind of task → module and function. It takes the task's fields as keyword arguments."""

_REPORT_SECONDS = 0.1


class _Channel:
    """Writes answers as lines of JSON. It listens to the package's progress and messages."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: tuple[str, float] = ("", 0.0)

    def send(self, message: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def progressed(self, title: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if self._last[0] == title and now - self._last[1] < _REPORT_SECONDS and done < total:
            return
        self._last = (title, now)
        self.send({"progress": {"title": title, "done": done, "total": total, "note": note}})

    def noted(self, text: str) -> None:
        self.send({"note": text})


def main() -> int:
    """Work until the standard input ends, or until SIGTERM."""
    channel = _Channel(_claimed_stdout())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this process
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    early = receiving(lambda result: channel.send({"early": result}))
    with suppress(Terminated, BrokenPipeError), listening(channel), early:
        while line := lines.get():
            try:
                channel.send(_answer(json.loads(line)))
            except Terminated as stop:
                channel.send({"stopped": str(stop)})
                break
    return 0


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    try:
        module, _, name = TASKS[task.pop("kind")].partition(":")
        function: Callable[..., Any] = getattr(import_module(f"hidden_two_stream.{module}"), name)
        return {"result": function(**task)}
    except HiddenTwoStreamError as error:
        return {"error": " ".join(str(error).split())}
    except Exception as error:
        if sys.flags.dev_mode:
            traceback.print_exc()
        return {"error": unexpected(error)}


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    """Pass on the lines of stdin; when it ends, the server is gone: end too, and let a training save."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")
    with suppress(OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _claimed_stdout() -> TextIO:
    """Return stdout as a stream of its own; what others print to stdout goes to stderr."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated(number, "ended")


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an orderly end waits for PyTorch, and for the thread that reads stdin

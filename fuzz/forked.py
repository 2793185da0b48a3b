"""Runs `hts` commands in forks of a process that has loaded the libraries, so that hundreds can be killed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzz.dying import Fault, arm, limit_file_size
from hidden_two_stream.cli import train
from hidden_two_stream.cli.main import COMMANDS, main

__all__ = ["Ended", "call", "hts", "load_libraries"]

_LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; of one that a signal ended, its number, negative.
        said: what it printed on stderr.
        seconds: how long it took.
    """

    code: int
    said: str
    seconds: float

    @property
    def was_killed(self) -> bool:
        """Whether it ended by the kill that was asked for, and not on its own."""
        return self.code in (-signal.SIGKILL, -signal.SIGXFSZ)


def load_libraries() -> None:
    """Import what commands need; forks have it then."""
    import av  # noqa: F401
    import torch

    import hidden_two_stream.experiments.compare
    import hidden_two_stream.experiments.cross_validation
    import hidden_two_stream.reports.run
    import hidden_two_stream.training.frame_runs
    import hidden_two_stream.training.runner  # noqa: F401

    for name in ("torch.utils.tensorboard", "torch.export", "onnxscript", "onnxruntime", "pyarrow.parquet"):
        with contextlib.suppress(ImportError):
            import_module(name)

    torch.set_num_threads(1)
    original = train.resources

    def eager(arguments: Any) -> Any:
        return dataclasses.replace(original(arguments), save_seconds=0.0)

    for module in COMMANDS.values():  # the state is saved after every step
        if hasattr(module, "resources"):
            module.resources = eager  # type: ignore[attr-defined]


def hts(
    arguments: Sequence[str],
    scratch: Path,
    *,
    fault: Fault | None = None,
    kill_after: float | None = None,
    largest_file: int | None = None,
) -> Ended:
    """Run a command in a process of its own.

    Args:
        arguments: those of `hts`.
        scratch: a folder for what it prints; its working folder.
        fault: where it ends.
        kill_after: seconds after which SIGKILL ends it.
        largest_file: bytes beyond which no file can grow.
    """

    def run() -> int:
        arm(fault or Fault())
        if largest_file is not None:
            limit_file_size(largest_file, deadly=False)
        return main(list(arguments))

    return call(run, scratch, kill_after)


def call(work: Callable[[], int], scratch: Path, kill_after: float | None = None) -> Ended:
    """Run `work` in a fork, and return how that ended."""
    scratch.mkdir(parents=True, exist_ok=True)
    said, begun = scratch / "stderr.txt", time.monotonic()
    process = os.fork()
    if process == 0:
        _child(work, scratch, said)
    ended = _wait(process, begun + (_LONGEST_SECONDS if kill_after is None else kill_after))
    if ended is None:
        os.kill(process, signal.SIGKILL)
        ended = _wait(process, time.monotonic() + _LONGEST_SECONDS)
        assert ended is not None
        if kill_after is None:
            return Ended(-1, f"no end within {_LONGEST_SECONDS:g} s", time.monotonic() - begun)
    code = os.waitstatus_to_exitcode(ended)
    return Ended(code, said.read_text(encoding="utf-8", errors="replace"), time.monotonic() - begun)


def _child(work: Callable[[], int], scratch: Path, said: Path) -> None:
    """Run `work` and end this process; never return."""
    code = 70
    try:
        os.setsid()
        os.chdir(scratch)
        for number, path in ((1, scratch / "stdout.txt"), (2, said)):
            sys.stdout.flush()
            sys.stderr.flush()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except (
        BaseException
    ):  # whatever a command lets pass is a finding, and a fork must not go on as the parent
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(process: int, until: float) -> int | None:
    """Return the wait status of a process; None: it had not ended in time."""
    pause = 0.002
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return status
        left = until - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(0.02, 1.5 * pause)

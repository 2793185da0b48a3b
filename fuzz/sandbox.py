"""Runs variants in worker processes that are replaced when they crash or hang."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

__all__ = ["READY", "Limits", "Result", "Task", "run_tasks"]

READY = "ready"
"""What a worker process answers when a variant is made and is about to be read."""

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 120.0
_TASKS_PER_WORKER = 500


@dataclass(frozen=True)
class Task:
    """One variant: a kind of file, the seed, and its number."""

    kind: str
    seed: int
    number: int


@dataclass(frozen=True)
class Limits:
    """What reading one variant may take.

    Attributes:
        seconds: of computing.
        wall_seconds: until the process counts as hanging; more, because other work may slow the machine down.
        num_bytes: memory beyond that of the process before.
    """

    seconds: float = 10.0
    wall_seconds: float = 60.0
    num_bytes: int = 1 << 30


@dataclass(frozen=True)
class Result:
    """How a variant ended.

    Attributes:
        task: the variant.
        outcome: "read", "refused", or a finding: "unexpected", "unclear", "crash", "hang", "slow", "memory".
        error: the message, if there is one.
        where: line of the package that an exception came from.
        cpu_seconds, peak_bytes: what reading took.
        resident_bytes: memory of the worker process afterwards.
    """

    task: Task
    outcome: str
    error: str = ""
    where: str = ""
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    resident_bytes: int = 0

    @property
    def is_finding(self) -> bool:
        """Whether the package broke its promise."""
        return self.outcome not in ("read", "refused")


class _Worker:
    """A worker process, started at the first task and again after each loss."""

    def __init__(self, originals: Path, scratch: Path, limits: Limits, table: str) -> None:
        self._command = [
            sys.executable, "-m", "fuzz.worker", str(originals), str(scratch), str(4 * limits.num_bytes),
            table,
        ]  # fmt: skip
        self._limits = limits
        self._process: subprocess.Popen[str] | None = None
        self._done = 0

    def run(self, task: Task) -> Result:
        """Return how a variant ended, whatever it does to the process."""
        if self._done >= _TASKS_PER_WORKER:
            self.close()
        process = self._started()
        try:
            # Libraries are loaded before the variant counts; that may take long.
            line = self._answer(process, json.dumps(vars(task)), _START_SECONDS)
            if line == READY:
                line = self._answer(process, "go", self._limits.wall_seconds)
        except TimeoutError as error:
            process.kill()
            self.close()
            return Result(task, "hang", str(error))
        if not line:
            self.close()
            return Result(task, "crash", f"the process ended with code {process.returncode}")
        self._done += 1
        return self._judged(task, json.loads(line))

    def _answer(self, process: subprocess.Popen[str], question: str, seconds: float) -> str:
        """Return the process's answer to a line; "" if it ended.

        Raises:
            TimeoutError: there is none in time.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise TimeoutError(f"no answer within {seconds:g} s")
        return process.stdout.readline().rstrip("\n")

    def _judged(self, task: Task, answer: dict[str, Any]) -> Result:
        found = Result(task, **answer)
        if found.is_finding:
            return found
        if found.cpu_seconds > self._limits.seconds:
            return Result(**{**vars(found), "outcome": "slow"})
        if found.peak_bytes > self._limits.num_bytes:
            return Result(**{**vars(found), "outcome": "memory"})
        return found

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            variables = os.environ | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            self._done = 0
            self._process = subprocess.Popen(
                self._command, cwd=_ROOT, env=variables, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_tasks(
    tasks: Iterable[Task],
    originals: Path,
    scratch: Path,
    workers: int,
    limits: Limits | None = None,
    table: str = "fuzz.kinds",
) -> Iterator[Result]:
    """Yield how each variant ended, in the order of the tasks.

    Args:
        tasks: the variants.
        originals: a folder of whole files for each kind.
        scratch: a folder for the variants.
        workers: number of processes.
        limits: what reading one may take.
        table: the module that has `KINDS`.
    """
    idle: SimpleQueue[_Worker] = SimpleQueue()
    crew = [_Worker(originals, scratch / str(n), limits or Limits(), table) for n in range(workers)]
    for worker in crew:
        idle.put(worker)

    def run(task: Task) -> Result:
        worker = idle.get()
        try:
            return worker.run(task)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(run, tasks)
    finally:
        for worker in crew:
            worker.close()

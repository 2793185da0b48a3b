"""Messages and progress on stderr: a progress bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ProgressLine", "note", "number_of", "with_progress"]

T = TypeVar("T")

_PLAIN_SECONDS = 10.0  # between lines if stderr is not a terminal


class ProgressLine:
    """Shows the progress of one task on stderr. A context manager.

    Args:
        title: name of the task.
        total: number of steps.
        done: steps that are already done.
        quiet: show nothing.
    """

    def __init__(self, title: str, total: int, done: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.first = title, total, done
        self._quiet = quiet
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            columns = (
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(title, total=total, completed=done, note="")
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` steps are done, with a `note` beside them."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if not self._quiet and (now - self._printed >= _PLAIN_SECONDS or done == self.total):
            self._printed = now
            rate = (now - self._began) / max(1, done - self.first)
            left = rate * (self.total - done)
            print(
                f"{self.title:<10} {done}/{self.total}  {left:.0f} s left  {note}",
                file=sys.stderr,
                flush=True,
            )


def note(text: str) -> None:
    """Print one line to stderr."""
    print(text, file=sys.stderr, flush=True)


def number_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as "1 video", "2 videos" or, with a plural given, "3 classes"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def with_progress(title: str, total: int, quiet: bool, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Call `work(progress)` and return its result; `progress(done, total)` shows progress under `title`."""
    with ProgressLine(title, total, quiet=quiet) as line:
        return work(lambda done, _: line.update(done))

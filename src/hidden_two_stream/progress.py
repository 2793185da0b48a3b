"""Messages and progress on stderr: a progress bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from hidden_two_stream.errors import OutputError
from hidden_two_stream.printing import one_line, print_error_line

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "ProgressLine",
    "ProgressListener",
    "kept_on_output_error",
    "lazy_progress",
    "listening",
    "note",
    "number_of",
    "with_progress",
]

T = TypeVar("T")

_PLAIN_SECONDS = 10.0  # between lines if stderr is not a terminal


class ProgressListener(Protocol):
    """Gets what is shown on stderr, for another place such as a page."""

    def progressed(self, title: str, done: int, total: int, note: str) -> None:
        """Take the progress of a task: `done` of its `total` steps, with a note beside them."""

    def noted(self, text: str) -> None:
        """Take a message of one line."""


_listeners: list[ProgressListener] = []


@contextmanager
def listening(listener: ProgressListener) -> Iterator[None]:
    """In the block, hand all progress and messages of this process to a listener too, quiet or not."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class ProgressLine:
    """Shows the progress of one task on stderr. A context manager.

    Args:
        title: name of the task.
        total: number of steps.
        done: steps that are already done.
        quiet: show nothing.
        passing: the task is one of many, each done soon: its bar goes when it is done, and elsewhere it has a
            line only if it takes long.
    """

    def __init__(
        self, title: str, total: int, done: int = 0, quiet: bool = False, passing: bool = False
    ) -> None:
        self.title, self.total, self.first = title, total, done
        self._quiet, self._passing = quiet, passing
        self._bar: Progress | None = None
        if not quiet and sys.stderr is not None and sys.stderr.isatty():
            self._bar = _bar(passing)
            self._task = self._bar.add_task(one_line(title), total=total, completed=done, note="")
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            with suppress(OSError):  # the terminal is gone
                self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` steps are done, with a `note` beside them."""
        for listener in _listeners:
            listener.progressed(self.title, done, self.total, note)
        if self._bar is not None:
            with suppress(OSError):
                self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        last = done == self.total and not self._passing
        if not self._quiet and (now - self._printed >= _PLAIN_SECONDS or last):
            self._printed = now
            rate = (now - self._began) / max(1, done - self.first)
            left = rate * (self.total - done)
            print_error_line(one_line(f"{self.title:<10} {done}/{self.total}  {left:.0f} s left  {note}"))


def _bar(transient: bool) -> Progress:
    """Return a bar whose tasks have the field `note`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=transient,
    )


def note(text: str, *, quiet: bool = False) -> None:
    """Print one line to stderr, unless `quiet`."""
    for listener in _listeners:
        listener.noted(text)
    if not quiet:
        print_error_line(one_line(text))


@contextmanager
def kept_on_output_error(result: Callable[[], str]) -> Iterator[None]:
    """Print a result to stderr if writing it fails in the block: a full disk must not lose what was computed.

    Args:
        result: returns the result as text.

    Raises:
        OutputError: passes from the block.
    """
    try:
        yield
    except OutputError:
        print_error_line(result())
        raise


def number_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as "1 video", "2 videos" or, with a plural given, "3 classes"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def with_progress(title: str, total: int, quiet: bool, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Call `work(progress)` and return its result; `progress(done, total)` shows progress under `title`."""
    with ProgressLine(title, total, quiet=quiet) as line:
        return work(lambda done, _: line.update(done))


@contextmanager
def lazy_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield `progress(done, total)` of a passing task, whose total is known only at the first call."""
    with ExitStack() as stack:
        line: ProgressLine | None = None

        def progress(done: int, total: int) -> None:
            nonlocal line
            if line is None:
                line = stack.enter_context(ProgressLine(title, total, passing=True))
            line.update(done)

        yield progress

"""Speaking to the person at the terminal: notes and progress to stderr, results to stdout."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from hidden_two_stream._version import __version__
from hidden_two_stream.progress import ProgressLine

__all__ = ["machine", "note", "number_of", "print_json", "versions", "with_progress"]

T = TypeVar("T")


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def number_of(number: int, noun: str, plural: str = "") -> str:
    """Such as "1 video", "2 videos", "3 classes"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def with_progress(title: str, total: int, quiet: bool, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Call `work(progress)` with a callback that shows (done, total) under `title`."""
    with ProgressLine(title, total, quiet=quiet) as line:
        return work(lambda done, _: line.update(done))


def versions() -> dict[str, str]:
    """Versions that can change a result."""
    import av
    import torch

    return {
        "hidden_two_stream": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
    }


def machine() -> str:
    """The machine in a few words: system, processor, threads, GPU if any."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    threads = number_of(torch.get_num_threads(), "thread")
    return f"{platform.system()} {platform.machine()}, {_processor()}, {threads}{gpu}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "processor unknown"

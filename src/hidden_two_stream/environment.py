"""The software and hardware that compute a result: library versions, the machine, and quick imports."""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hidden_two_stream._version import __version__
from hidden_two_stream.progress import number_of

__all__ = ["MOST_WORKERS", "THREADS_VARIABLE", "collector_paused", "machine", "thread_limit", "versions"]

THREADS_VARIABLE = "OMP_NUM_THREADS"

MOST_WORKERS = 256
"""Worker processes of a command; no machine has use for more."""


def versions() -> dict[str, str]:
    """Versions of the libraries that can change a result, by name. That of transformers, if it is in use."""
    import av
    import torch

    transformers = sys.modules.get("transformers")
    optional = {} if transformers is None else {"transformers": str(transformers.__version__)}
    return {
        "hidden_two_stream": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        **optional,
    }


def machine() -> str:
    """The machine in a few words: system, processor, threads, and GPU if there is one."""
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


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collection while large libraries are imported in the block.

    An import makes half a million objects that stay. The collector would visit all of them again and again,
    which takes a fifth of the time to a first prediction.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def thread_limit(number: int) -> Iterator[None]:
    """Let torch compute with a number of threads in the block, also if it is imported there only."""
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    variable = os.environ.get(THREADS_VARIABLE)
    os.environ[THREADS_VARIABLE] = str(number)
    if torch is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)
        if variable is None:
            del os.environ[THREADS_VARIABLE]
        else:
            os.environ[THREADS_VARIABLE] = variable

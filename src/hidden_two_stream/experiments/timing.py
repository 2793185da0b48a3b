"""Times of several ways to do the same thing, measured in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["timed"]

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds of the second of two calls of `work`, and its result.

    The first sends to sleep what was timed before: threads of OpenCV, and of OpenMP, wait for their next work
    on a processor for a while, and take it from other libraries.
    """
    work()
    began = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - began), result

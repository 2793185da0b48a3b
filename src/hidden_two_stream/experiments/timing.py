"""Timing of a call after a warm-up run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["timed"]

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Call `work` twice, and return the milliseconds and the result of the second call.

    The warm-up run lets other libraries' threads go idle: after each call, threads of OpenCV and OpenMP wait
    actively for more work, which slows down the next call.
    """
    work()
    start = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - start), result

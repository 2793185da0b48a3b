"""Timing of a call after a warm-up run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["timed"]

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Call `work` twice; return the milliseconds of the second call, and its result.

    The warm-up run lets other libraries' threads go idle: after each call, threads of OpenCV and OpenMP wait
    actively for more work and slow down whatever runs next.
    """
    work()
    began = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - began), result

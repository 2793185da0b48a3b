"""What a task knows before it has ended: the page shows it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["receiving", "show_early"]

_receivers: list[Callable[[Mapping[str, Any]], None]] = []


def show_early(result: Mapping[str, Any]) -> None:
    """Hand out the part of a task's result that is known by now, ready for JSON."""
    for receive in _receivers:
        receive(result)


@contextmanager
def receiving(receive: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """In the block, call a function with what tasks of this process know early."""
    _receivers.append(receive)
    try:
        yield
    finally:
        _receivers.remove(receive)

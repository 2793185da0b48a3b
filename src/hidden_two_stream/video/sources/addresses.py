"""What FFmpeg opens for a file: its name, or a descriptor where the name is not text that FFmpeg takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["open_address"]

_FILE = "file:"


@contextmanager
def open_address(address: str) -> Iterator[str]:
    """Yield an address that FFmpeg can open within the block.

    PyAV takes names in UTF-8 only. A file with another name is opened here, and named by its descriptor.

    Args:
        address: a URL, or "file:" and a path.

    Raises:
        OSError: the file cannot be opened.
        UnicodeError: the address is not UTF-8 and names no local file.
    """
    try:
        address.encode()
    except UnicodeError:
        if not address.startswith(_FILE):
            raise
    else:
        yield address
        return
    descriptor = os.open(address.removeprefix(_FILE), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        yield f"{_FILE}/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)

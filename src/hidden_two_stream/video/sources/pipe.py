"""Named pipes, which can be read once and only while a program writes into them."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["READ_ONCE", "SILENT_PIPE", "open_pipe"]

READ_ONCE = "a pipe can be read only once: write the video to a file first"

SILENT_PIPE = "it is a pipe, and no data came out of it within a second: write the video to a file first"

_WAIT_SECONDS = 0.9


@contextmanager
def open_pipe(path: str) -> Iterator[int | None]:
    """Open a named pipe for reading; give its descriptor, or None if nothing comes out of it in a second.

    Opening it plainly would wait for ever if no program writes into it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        has_data = bool(select.select([descriptor], [], [], _WAIT_SECONDS)[0])
        os.set_blocking(descriptor, True)
        yield descriptor if has_data else None
    finally:
        os.close(descriptor)

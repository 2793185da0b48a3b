"""Ends a process at a chosen moment of a chosen file write, as a kill, a power cut or a full disk would.

Import this module before the rest of the package: it replaces `hidden_two_stream.files.atomic_write` by one
that counts the writes. Without `arm`, nothing else changes. The package itself has no hook for this.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream import files

__all__ = ["MOMENTS", "Fault", "arm", "digest", "limit_file_size"]

MOMENTS = ("begun", "half", "whole", "renamed")
"""Before the first byte, in the middle of the bytes, before the rename, and after it."""

_UNLIMITED = resource.RLIM_INFINITY


@dataclass(frozen=True)
class Fault:
    """Where a process ends.

    Attributes:
        write: number of the atomic write, counted from 0; -1: none.
        moment: one of `MOMENTS`.
        byte: for "half": how many bytes of the file may be written.
        log: a file that gets a line of JSON about each write; None: none.
    """

    write: int = -1
    moment: str = "whole"
    byte: int = 0
    log: Path | None = None


_fault = Fault()
_count = 0
_atomic_write = files.atomic_write


def arm(fault: Fault) -> None:
    """Let this process end as `fault` says; writes are counted from here on."""
    global _fault, _count
    _fault, _count = fault, 0


@contextmanager
def _counted(path: str | os.PathLike[str], *, make_parents: bool = False) -> Iterator[Path]:
    global _count
    number, _count = _count, _count + 1
    moment = _fault.moment if number == _fault.write else ""
    before = digest(Path(path))
    with _atomic_write(path, make_parents=make_parents) as part:
        _log(path, number, "begun", before, 0)
        if moment == "begun":
            _die()
        if moment == "half":
            # The kernel ends the process at the byte that would exceed the limit; nothing can be cleaned up.
            limit_file_size(_fault.byte, deadly=True)
        yield part
        if moment == "half":  # the file was smaller
            _die()
        _log(path, number, "whole", digest(part), part.stat().st_size)
        if moment == "whole":
            _die()
    if moment == "renamed":
        _die()


files.atomic_write = _counted


def _log(path: str | os.PathLike[str], number: int, moment: str, content: str, size: int) -> None:
    if _fault.log is not None:
        line = {"write": number, "path": str(path), "moment": moment, "content": content, "size": size}
        with _fault.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def limit_file_size(num_bytes: int, *, deadly: bool) -> None:
    """Let no file grow beyond `num_bytes`: writing ends the process, or fails with an OSError."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, _UNLIMITED))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

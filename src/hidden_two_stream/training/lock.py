"""The lock of a run folder: one process at a time trains into it.

The lock is one of the operating system on the file `.lock`, which holds the process and host for people to
read. The system releases it when the process ends, however it ends, so a file that a killed process left
behind blocks nobody. The file is deleted when the lock is released.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import delete_temporary, parse_json
from hidden_two_stream.progress import note

__all__ = ["LOCK_FILE", "folder_lock"]

LOCK_FILE = ".lock"

_HELD: dict[Path, tuple[int, int]] = {}
"""The locks of this process: folder → thread, and how many blocks hold it."""
_GUARD = threading.Lock()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder, and delete the temporary files that a killed process left in it.

    A block inside another one of the same thread and folder does nothing.

    Raises:
        UsageError: another process, or another thread of this one, trains into the folder.
        OutputError: the folder is not writable.
    """
    place, thread = folder.resolve(), threading.get_ident()
    with _GUARD:
        owner, depth = _HELD.get(place, (thread, 0))
        if owner != thread:
            raise _in_use(folder, os.getpid(), socket.gethostname())
        descriptor = None if depth else _acquired(folder)
        _HELD[place] = (thread, depth + 1)
    try:
        if not depth:
            delete_temporary(folder)
        yield
    finally:
        with _GUARD:
            if depth:
                _HELD[place] = (thread, depth)
            else:
                del _HELD[place]
                _release(folder, descriptor)


def _acquired(folder: Path) -> int | None:
    """Return the descriptor of the locked file; None if the file system has no locks."""
    path = folder / LOCK_FILE
    while True:
        try:
            # A link in a folder from elsewhere must not lead to a file that is emptied.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise OutputError(
                f"cannot write {str(path)!r}: {error.strerror}; expected a writable folder; "
                "choose another path"
            ) from error
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                os.close(descriptor)
                note(
                    f"{str(folder)!r} cannot be locked ({error.strerror}); let no other process train into it"
                )
                return None
            holder = _holder(descriptor)
            os.close(descriptor)
            raise _in_use(folder, *holder) from None
        if _is_current(descriptor, path):
            break
        os.close(descriptor)  # its last owner deleted the file between our opening and locking it
    with suppress(OSError):  # on a full disk the lock holds all the same, only without a name
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
    return descriptor


def _release(folder: Path, descriptor: int | None) -> None:
    if descriptor is None:
        return
    with suppress(OSError):
        if os.name != "nt":  # Windows cannot delete an open file
            (folder / LOCK_FILE).unlink()
    os.close(descriptor)
    with suppress(OSError):
        if os.name == "nt":  # fails, as it should, if another process has opened the file by now
            (folder / LOCK_FILE).unlink()


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        import msvcrt

        # Windows keeps others from reading locked bytes, so the lock lies behind the text.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        # Unlike the locks of flock, these are not inherited by worker processes, which can outlive a killed
        # run for seconds.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _holder(descriptor: int) -> tuple[int, str]:
    """Return process and host of the lock's owner; it may not have written them yet."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        data = parse_json(os.read(descriptor, 4096).decode())
        return int(data["pid"]), str(data["host"])
    except (KeyError, OSError, OverflowError, TypeError, ValueError):
        return 0, ""


def _in_use(folder: Path, process: int, host: str) -> UsageError:
    who = f"process {process} on {host}" if process else "another process"
    return UsageError(
        f"{who} is training into {str(folder)!r}; wait until it has ended, stop it, or name another folder"
    )

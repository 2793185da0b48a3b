"""Videos on disk while they are worked on: each in a file of its own, counted, and deleted afterwards."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from hidden_two_stream.apps.jobs import QueueFullError
from hidden_two_stream.apps.uploads import TooLargeError
from hidden_two_stream.errors import OutputError

__all__ = ["Storage", "StoredFile"]


class Storage:
    """A temporary folder that only this user can read, with a limit on what it holds.

    The folder is made when it is needed first, so that a service that never starts leaves none.

    Args:
        max_file_bytes: largest file.
        max_bytes: all files at a time.
    """

    def __init__(self, max_file_bytes: int, max_bytes: int) -> None:
        self._max_file_bytes, self._max_bytes = max_file_bytes, max_bytes
        self._stored = 0
        self._guard = threading.Lock()

    @cached_property
    def folder(self) -> Path:
        """The folder.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            return Path(tempfile.mkdtemp(prefix="hts-serve-"))
        except OSError as error:
            raise OutputError(
                f"cannot make a temporary folder: {error.strerror}; set TMPDIR to a folder with free space"
            ) from error

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return self._stored

    @contextmanager
    def file(self) -> Iterator[StoredFile]:
        """Yield a new file, which is deleted when the block is left."""
        path = self.folder / secrets.token_hex(16)
        stored: StoredFile | None = None
        try:
            with _writable(path) as opened:
                stored = StoredFile(path, opened, self)
                yield stored
        finally:
            with suppress(OSError):
                path.unlink()
            if stored is not None:
                self.release(stored.num_bytes)

    def require_room(self, num_bytes: int, stored: int = 0) -> None:
        """Check whether a file may have a size.

        Args:
            num_bytes: the size.
            stored: bytes of the file that are counted already.

        Raises:
            TooLargeError: no file may be so large.
            QueueFullError: there is no room at the moment.
        """
        if num_bytes > self._max_file_bytes:
            raise TooLargeError(
                f"the video is larger than {self._max_file_bytes / 1e6:g} MB; cut it, or make it smaller"
            )
        if self._stored - stored + num_bytes > self._max_bytes:
            raise QueueFullError("other videos take all room for uploads at the moment; try again soon")

    def take(self, num_bytes: int, before: int) -> None:
        """Count further bytes of a file that has `before`.

        Raises:
            TooLargeError, QueueFullError: as `require_room`.
        """
        with self._guard:
            self.require_room(before + num_bytes, before)
            self._stored += num_bytes

    def release(self, num_bytes: int) -> None:
        """Count bytes no more."""
        with self._guard:
            self._stored -= num_bytes

    def close(self) -> None:
        """Delete the folder, if it was made."""
        if "folder" in self.__dict__:
            shutil.rmtree(self.folder, ignore_errors=True)


class StoredFile:
    """A file that is being received.

    Attributes:
        path: where it lies.
        num_bytes: its size so far.
    """

    def __init__(self, path: Path, opened: BinaryIO, storage: Storage) -> None:
        self.path = path
        self.num_bytes = 0
        self._opened, self._storage = opened, storage

    def require_room(self, num_bytes: int) -> None:
        """Check whether the file may have a size.

        Raises:
            TooLargeError, QueueFullError: as `Storage.require_room`.
        """
        self._storage.require_room(num_bytes, self.num_bytes)

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            TooLargeError, QueueFullError: as `Storage.require_room`.
            OutputError: the disk is full.
        """
        self._storage.take(len(chunk), self.num_bytes)
        self.num_bytes += len(chunk)
        try:
            self._opened.write(chunk)
        except OSError as error:
            raise OutputError(f"cannot keep the video: {error.strerror or error}; try again later") from error

    def complete(self) -> Path:
        """Write what is buffered and return the path.

        Raises:
            OutputError: the disk is full.
        """
        try:
            self._opened.close()
        except OSError as error:
            raise OutputError(f"cannot keep the video: {error.strerror or error}; try again later") from error
        return self.path


@contextmanager
def _writable(path: Path) -> Iterator[BinaryIO]:
    try:
        opened = path.open("xb", buffering=1 << 20)
    except OSError as error:
        raise OutputError(f"cannot keep the video: {error.strerror}; try again later") from error
    try:
        yield opened
    finally:
        with suppress(OSError):
            opened.close()

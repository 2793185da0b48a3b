"""Reads shards and their index, on this machine or from an object store, in whole or in part."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from typing import IO, Any

from hidden_two_stream.errors import DataError, StoreError, UsageError, VideoError
from hidden_two_stream.video.finding import is_url

__all__ = ["Window", "file_size", "file_sizes", "open_window", "read_bytes", "read_part"]

_PAUSES_SECONDS = (0.5, 2.0)  # before a store is asked once more


def file_size(path: str) -> int | None:
    """Return the size of a file, bytes; None: there is none.

    Raises:
        DataError: it cannot be looked at.
        StoreError, MissingDependencyError: as `object_store.file_size`.
    """
    if is_url(path):
        from hidden_two_stream import object_store

        try:
            return object_store.file_size(path)
        except UsageError:
            return None
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path!r}: {error.strerror}") from error


def file_sizes(folder: str) -> Mapping[str, int] | None:
    """Return the size of each file in a folder of an object store; None: it cannot be listed, as on the web.

    Raises:
        UsageError, StoreError, MissingDependencyError: as `object_store.list_sizes`.
    """
    from hidden_two_stream import object_store

    if object_store.scheme_of(folder) in ("http", "https"):
        return None
    return {address.rpartition("/")[2]: size for address, size in object_store.list_sizes(folder).items()}


def read_bytes(path: str, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        DataError: it cannot be read, or is larger.
        UsageError, StoreError, MissingDependencyError: as `object_store.open_file`.
    """
    try:
        if is_url(path):
            from hidden_two_stream import object_store

            with object_store.open_file(path) as file, object_store.reading(path):
                content = file.read(limit + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"cannot read {path!r}: {error.strerror or error}") from error
    if len(content) > limit:
        raise DataError(f"{path!r} has more than {limit:,} bytes; pack the data into several folders")
    return content


def read_part(path: str, offset: int, size: int) -> bytes:
    """Return `size` bytes of a file, or fewer where it ends before. A store that fails is asked again.

    Raises:
        OSError: the file cannot be read.
        UsageError, StoreError, MissingDependencyError: as `object_store.read_part`.
    """
    if not is_url(path):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    from hidden_two_stream import object_store

    for pause in _PAUSES_SECONDS:
        try:
            return object_store.read_part(path, offset, size)
        except StoreError:
            time.sleep(pause)
    return object_store.read_part(path, offset, size)


def open_window(path: str, offset: int, size: int, name: str, shown: str) -> Window:
    """Open a part of a file as a file of its own.

    Args:
        path: the file.
        offset, size: the part, bytes.
        name: what the window calls itself; FFmpeg takes a format from its suffix.
        shown: how errors name it.

    Raises:
        OSError: the file cannot be opened.
        UsageError, StoreError, MissingDependencyError: as `object_store.open_file`.
    """
    if is_url(path):
        from hidden_two_stream import object_store

        return Window(object_store.open_file(path), offset, size, name, shown)
    return Window(open(path, "rb"), offset, size, name, shown)


class Window(io.RawIOBase):
    """A part of an open file, as a file that begins at 0 and ends where the part ends.

    Args:
        file: the open file; the window closes it.
        offset, size, name, shown: as for `open_window`.
    """

    def __init__(self, file: IO[bytes], offset: int, size: int, name: str, shown: str) -> None:
        super().__init__()
        self.name = name
        self._file = file
        self._offset = offset
        self._size = size
        self._shown = shown
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place in the window, bytes."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the window, bytes; a place past its end reads as its end."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot go to byte {start + offset} of {self._shown!r}; expected 0 or more")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return the number of bytes; 0 at the end.

        Raises:
            VideoError: the file cannot be read.
            StoreError: as `object_store.reading`.
        """
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._place))
        data = self._read(wanted) if wanted else b""
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        try:
            self._file.seek(self._offset + self._place)
            return self._file.read(size)
        except OSError as error:
            raise VideoError(self._shown, f"its shard cannot be read: {error.strerror or error}") from error
        except Exception as error:  # a store's library has errors of its own
            raise StoreError(self._shown, str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()

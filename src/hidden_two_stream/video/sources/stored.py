"""Files that can be opened again and again, and read at any place: on disk, or packed in a shard."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["PathFile", "StoredFile"]


class StoredFile(Protocol):
    """A regular file.

    Attributes:
        is_packed: whether its bytes are a part of another file, so that FFmpeg cannot open it by a path.
    """

    @property
    def is_packed(self) -> bool:
        """Whether FFmpeg reads it through `open`."""

    @property
    def size(self) -> int:
        """Bytes."""

    def identity(self) -> Hashable:
        """Return what stands for the content."""

    def open(self) -> BinaryIO:
        """Open it for reading, with `seek`.

        Raises:
            OSError, VideoError: it cannot be read.
        """


class PathFile:
    """A file on disk."""

    is_packed = False

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size(self) -> int:
        """Bytes."""
        return self._path.stat().st_size

    def identity(self) -> Hashable:
        """Return the path, with the time and size of its content."""
        facts = self._path.stat()
        return os.fspath(self._path), facts.st_mtime_ns, facts.st_size

    def open(self) -> BinaryIO:
        """Open it for reading."""
        return open(self._path, "rb")

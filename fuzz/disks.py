"""Disks that are too small: a tmpfs of a given size or, where none can be mounted, a limit on files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Disk", "LimitedFiles", "SmallDisk", "Space"]

_PAGE = 4096
_PLENTY = 256 << 20


@dataclass(frozen=True)
class Space:
    """The room that a command has.

    Attributes:
        largest_file: bytes beyond which no file may grow; None: any size.
        grow: gives plenty of room to what comes next.
    """

    largest_file: int | None
    grow: Callable[[], None]


class Disk(Protocol):
    """A way to have too little room."""

    name: str

    def most_bytes(self, whole: Path) -> int:
        """Return the room from which on a command that writes `whole` cannot fail."""

    def small(self, num_bytes: int, place: Path) -> AbstractContextManager[Space]:
        """Give the empty folder `place` so much room in the block."""


class SmallDisk:
    """A tmpfs of a given size. Mounting needs rights that few have."""

    name = "tmpfs"

    @classmethod
    def if_allowed(cls, place: Path) -> SmallDisk | None:
        """Return a disk, or None if this process cannot mount one on the folder `place`."""
        disk = cls()
        try:
            with disk.small(_PAGE, place):
                return disk
        except (OSError, subprocess.CalledProcessError):
            return None

    def most_bytes(self, whole: Path) -> int:
        """Return the size of all files, and of the largest once more, because files are replaced."""
        paths = [whole] if whole.is_file() else [path for path in whole.rglob("*") if path.is_file()]
        sizes = [-(-path.stat().st_size // _PAGE) * _PAGE for path in paths]
        return sum(sizes) + max(sizes)

    @contextmanager
    def small(self, num_bytes: int, place: Path) -> Iterator[Space]:
        """Mount the disk on `place` in the block."""
        _run("mount", "-t", "tmpfs", "-o", f"size={max(_PAGE, num_bytes)}", "tmpfs", str(place))
        try:
            yield Space(None, lambda: _run("mount", "-o", f"remount,size={_PLENTY}", str(place)))
        finally:
            _run("umount", "-l", str(place))


class LimitedFiles:
    """No file may grow beyond a size: the system refuses the byte after it, as a full disk would."""

    name = "RLIMIT_FSIZE"

    def most_bytes(self, whole: Path) -> int:
        """Return the size of the largest file."""
        return max(path.stat().st_size for path in [whole, *whole.rglob("*")] if path.is_file())

    @contextmanager
    def small(self, num_bytes: int, place: Path) -> Iterator[Space]:  # noqa: ARG002 (as every disk)
        """Limit the files of commands in the block; `place` stays as it is."""
        yield Space(num_bytes, lambda: None)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

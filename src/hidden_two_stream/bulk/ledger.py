"""The ledger of a bulk prediction: one line per finished video, appended as it finishes.

The first line says whose results these are. A line that a killed process left incomplete is cut off. The
ledger stays beside the tables that are made from it, so that the same command can go on, or add videos.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hidden_two_stream.errors import DataError, OutputError, UsageError

__all__ = ["Ledger", "ledger_path"]

FORMAT_VERSION = 1
_SYNC_SECONDS = 5.0


def ledger_path(out: Path) -> Path:
    """Return the ledger of a table of results."""
    return out.with_name(f"{out.name}.ledger")


class Ledger:
    """An open ledger, locked for this process. A context manager.

    Args:
        out: the table of results that it belongs to.
        settings: what the results depend on, JSON-ready: the run and the options.

    Raises:
        UsageError: the ledger has other settings, another process uses it, or there is a table without one.
        DataError: it is damaged.
        OutputError: it cannot be written.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.path = ledger_path(out)
        self._lines: dict[str, tuple[int, bool]] = {}
        self._synced = time.monotonic()
        self._header = {"format_version": FORMAT_VERSION, "settings": dict(settings)}
        if not self.path.exists() and out.exists():
            raise UsageError(
                f"{str(out)!r} exists, but {self.path.name} does not: it is not the result of a bulk "
                "prediction that can go on; name another file, or delete it"
            )
        self._file = self._opened()
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of a full disk, which `add` has reported
            self._file.close()

    @property
    def done(self) -> list[str]:
        """The videos with a result, in the order in which they were finished."""
        return [source for source, (_, is_done) in self._lines.items() if is_done]

    @property
    def failed(self) -> list[str]:
        """The videos that failed."""
        return [source for source, (_, is_done) in self._lines.items() if not is_done]

    def __contains__(self, source: str) -> bool:
        return source in self._lines

    def add(self, source: str, row: Mapping[str, Any]) -> None:
        """Add the result of a video.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(source, {"source": source, "row": row}, True)

    def add_failure(self, source: str, reason: str) -> None:
        """Add why a video has no result.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(source, {"source": source, "reason": reason}, False)

    def row(self, source: str) -> dict[str, Any]:
        """Return the result of a video that is done, or the source and reason of one that failed."""
        place, is_done = self._lines[source]
        self._file.seek(place)
        found: dict[str, Any] = json.loads(self._file.readline())
        row: dict[str, Any] = found["row"] if is_done else found
        return row

    # -- the file

    def _opened(self) -> IO[bytes]:
        try:
            file = open(self.path, "a+b")  # noqa: SIM115 - closed with the ledger
        except OSError as error:
            raise self._failure(error) from error
        try:
            _lock(file.fileno())
        except OSError as error:
            file.close()
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise UsageError(
                    f"another process writes to {str(self.path)!r}; wait until it has ended, or name "
                    "another file"
                ) from None
            raise self._failure(error) from error
        return file

    def _read(self) -> None:
        place = 0
        for number, (line, data) in enumerate(self._complete_lines(), 1):
            if number == 1:
                self._require_settings(data)
            elif isinstance(data.get("source"), str) and ("row" in data or "reason" in data):
                self._lines[data["source"]] = (place, "row" in data)
            else:
                raise self._damaged(number)
            place += line
        if not place:
            self._write(self._header)

    def _complete_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the length and the data of each line; cut off an incomplete last one."""
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                return
            try:
                data = json.loads(line)
            except ValueError:
                raise self._damaged(number) from None
            if not isinstance(data, dict):
                raise self._damaged(number)
            place += len(line)
            yield len(line), data

    def _require_settings(self, header: Mapping[str, Any]) -> None:
        found, ours = header.get("settings"), self._header["settings"]
        if header.get("format_version") != FORMAT_VERSION or not isinstance(found, dict):
            raise self._damaged(1)
        assert isinstance(ours, dict)
        for name in {**ours, **found}:
            if found.get(name) != ours.get(name):
                raise UsageError(
                    f"{str(self.path)!r} holds results with {name} {found.get(name)!r}, not "
                    f"{ours.get(name)!r}; repeat its command, or name another file"
                )

    def _append(self, source: str, data: Mapping[str, Any], is_done: bool) -> None:
        self._file.seek(0, os.SEEK_END)
        self._lines.pop(source, None)
        self._lines[source] = (self._file.tell(), is_done)
        self._write(data)

    def _write(self, data: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(data, allow_nan=False).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > _SYNC_SECONDS:  # a power cut costs seconds of work, not all
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {str(self.path)!r}: {error.strerror or error}; expected a writable folder with "
            "free disk space; choose another path"
        )

    def _damaged(self, number: int) -> DataError:
        return DataError(
            f"{str(self.path)!r} is damaged in line {number}; delete it and the table beside it to start anew"
        )


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # behind all lines: locked bytes cannot be read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # worker processes don't inherit it

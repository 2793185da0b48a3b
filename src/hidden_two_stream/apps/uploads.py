"""Uploaded videos: checked while they arrive, kept in a temporary folder, deleted at the end."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from hidden_two_stream.apps.jobs import UnknownError
from hidden_two_stream.apps.names import file_title
from hidden_two_stream.apps.probing import THUMBNAIL
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.apps.worker_process import WorkerProcess
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError

__all__ = ["TooLargeError", "Upload", "UploadStore"]


class TooLargeError(HiddenTwoStreamError):
    """An upload has more bytes than may be."""


@dataclass(frozen=True)
class Upload:
    """An uploaded video.

    Attributes:
        id: its name in addresses.
        path: where it lies.
        name: what its owner calls it.
        num_bytes: its size.
        seconds, width, height: how long and how large it is.
    """

    id: str
    path: Path
    name: str
    num_bytes: int
    seconds: float
    width: int
    height: int

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON, without its path."""
        return {
            "id": self.id,
            "name": self.name,
            "bytes": self.num_bytes,
            "seconds": self.seconds,
            "width": self.width,
            "height": self.height,
        }


class UploadStore:
    """Receives videos and keeps them until they are removed.

    Args:
        folder: a temporary folder.
        settings: limits.
    """

    def __init__(self, folder: Path, settings: AppSettings) -> None:
        self._folder, self._settings = folder, settings
        self._uploads: dict[str, Upload] = {}
        self._arriving: dict[str, int] = {}
        self._prober = WorkerProcess(folder / "scratch", grace_seconds=2.0)
        self._probing = threading.Lock()

    async def receive(self, name: str, declared: str | None, chunks: AsyncIterator[bytes]) -> Upload:
        """Write an upload to disk and look at it. It is not kept in the store; see `keep`.

        Args:
            name: file name, as the browser gives it.
            declared: the header Content-Length, if there is one.
            chunks: the bytes.

        Raises:
            TooLargeError: more bytes are declared, or arrive, than may be.
            JobFailedError: it is no video, or too long; the message is that of the package.
        """
        title = file_title(name)
        if declared is not None and declared.isdecimal():
            self._require_room(title, int(declared), "")
        key = secrets.token_hex(8)
        path = self._folder / key / "video"  # the name says nothing, so the content alone decides
        path.parent.mkdir(parents=True)
        try:
            num_bytes = await self._write(path, title, key, chunks)
            facts = await anyio.to_thread.run_sync(self._probe, path, title)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        finally:
            self._arriving.pop(key, None)
        return Upload(key, path, title, num_bytes, facts["seconds"], facts["width"], facts["height"])

    def keep(self, upload: Upload) -> Upload:
        """Keep a received video until it is removed, or the end."""
        self._uploads[upload.id] = upload
        return upload

    def discard(self, upload: Upload) -> None:
        """Delete the file of a video."""
        self._uploads.pop(upload.id, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)

    def get(self, name: str) -> Upload:
        """Return a kept video.

        Raises:
            UnknownError: there is none of this id.
        """
        if name not in self._uploads:
            raise UnknownError("there is no such video any more; add it again")
        return self._uploads[name]

    def all(self) -> list[Upload]:
        """Return all kept videos."""
        return list(self._uploads.values())

    def close(self) -> None:
        """End the process that looks at videos."""
        self._prober.close()

    async def _write(self, path: Path, title: str, key: str, chunks: AsyncIterator[bytes]) -> int:
        num_bytes = 0
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in chunks:
                num_bytes += len(chunk)
                self._require_room(title, num_bytes, key)
                self._arriving[key] = num_bytes
                await file.write(chunk)
        return num_bytes

    def _require_room(self, title: str, num_bytes: int, key: str) -> None:
        settings = self._settings
        if num_bytes > settings.max_upload_bytes:
            raise TooLargeError(
                f"{title!r} is larger than {settings.max_upload_mb:g} MB; cut it, or start the application "
                "with a larger --max-upload"
            )
        arriving = sum(size for other, size in self._arriving.items() if other != key)
        stored = sum(upload.num_bytes for upload in self._uploads.values()) + arriving
        if stored + num_bytes > settings.max_stored_bytes:
            raise TooLargeError(
                f"there is no room for {title!r}: the page keeps at most {settings.max_stored_mb:g} MB of "
                "videos; remove some"
            )

    def _probe(self, path: Path, title: str) -> dict[str, Any]:
        task = {
            "kind": "probe",
            "path": str(path),
            "name": title,
            "max_seconds": self._settings.max_seconds,
            "thumbnail": str(path.with_name(THUMBNAIL)),
        }
        with self._probing:
            facts = self._prober.run(task, lambda _: None)
        if not isinstance(facts, dict):
            raise UsageError(f"cannot look at {title!r}")
        return facts

"""Writes shards: tar files in WebDataset's layout, `KEY.mp4` and `KEY.json` one after the other."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.shard_entries import PlannedVideo, describe, describe_lost
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import atomic_write, parse_json

__all__ = ["Description", "WrittenVideo", "shard_path", "write_shards"]

_HEADER_BYTES = 512
_FEWEST_FOR_WORKERS = 8

Description = Mapping[str, Any]


@dataclass(frozen=True)
class WrittenVideo:
    """A video in its shard: what is written about it, and the place of its bytes."""

    video: PlannedVideo
    description: Description
    offset: int


def write_shards(
    folder: Path,
    shards: Sequence[Sequence[PlannedVideo]],
    workers: int,
    progress: Callable[[int, int], None],
) -> list[list[WrittenVideo]]:
    """Write the shards that are not there yet, and return the contents of all."""
    from hidden_two_stream.parallel import run_in_processes

    finished = {
        number: found
        for number, videos in enumerate(shards)
        if (found := _read_shard(shard_path(folder, number), videos)) is not None
    }
    waiting = [video for number, videos in enumerate(shards) if number not in finished for video in videos]
    processes = workers if len(waiting) >= _FEWEST_FOR_WORKERS else 0
    written = []
    total = sum(map(len, shards))
    with closing(run_in_processes(describe, waiting, processes, describe_lost)) as descriptions:  # type: ignore[type-var]
        counted = _counted(descriptions, total - len(waiting), total, progress)
        for number, videos in enumerate(shards):
            found = finished.get(number)
            written.append(found or _write_shard(shard_path(folder, number), videos, counted))
    return written


def _counted(
    descriptions: Iterator[dict[str, Any]], done: int, total: int, progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    """Yield descriptions, and show after each how many are done."""
    progress(done, total)
    for number, description in enumerate(descriptions, done + 1):
        yield description
        progress(number, total)


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of a shard."""
    return folder / f"shard-{number:06d}.tar"


def _write_shard(
    path: Path, videos: Sequence[PlannedVideo], descriptions: Iterator[dict[str, Any]]
) -> list[WrittenVideo]:
    """Write a shard atomically.

    Raises:
        DataError: a video changes meanwhile.
        OutputError: the shard cannot be written.
    """
    written = []
    with atomic_write(path) as part, tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        for video in videos:
            description = next(descriptions)
            offset = tar.offset + _HEADER_BYTES
            _add_file(tar, video, description["video"])
            text = json.dumps(description, ensure_ascii=True).encode()
            tar.addfile(_header(f"{video.key}.json", len(text)), io.BytesIO(text))
            written.append(WrittenVideo(video, description, offset))
    return written


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Return a header without time, owner or anything else that differs from machine to machine."""
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header


def _add_file(tar: tarfile.TarFile, video: PlannedVideo, facts: Mapping[str, Any]) -> None:
    try:
        file = open(video.path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise DataError(f"cannot read {video.path!r} any more: {error.strerror}") from error
    with file:
        watched = _Watched(file)
        if facts["size"] == video.size:
            try:
                tar.addfile(_header(f"{video.key}.{video.suffix}", video.size), watched)
            except (tarfile.TarError, OSError) as error:
                if watched.failure is None and getattr(error, "errno", None) is not None:
                    raise  # the shard cannot be written
                raise DataError(f"cannot read all of {video.path!r}: {error}") from error
    if (watched.size, watched.digest.hexdigest()) != (video.size, facts["sha256"]):
        raise DataError(f"{video.path!r} changed while it was packed; pack again when it is complete")


class _Watched(io.RawIOBase):
    """An open file that computes the digest of what is read from it, and remembers a failure."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.size = 0
        self.failure: OSError | None = None
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        try:
            data = self._file.read(size)
        except OSError as error:
            self.failure = error
            raise
        self.digest.update(data)
        self.size += len(data)
        return data


def _read_shard(path: Path, videos: Sequence[PlannedVideo]) -> list[WrittenVideo] | None:
    """Return the contents of a complete shard; None: it is not there.

    Raises:
        UsageError: it holds other videos.
    """
    if not path.exists():
        return None
    written = []
    try:
        with tarfile.open(path, "r:") as tar:
            for video in videos:
                header, about = tar.next(), tar.next()
                if header is None or about is None:
                    raise ValueError("it ends early")
                if header.name != f"{video.key}.{video.suffix}" or header.size != video.size:
                    raise ValueError(f"it holds {header.name!r}")
                text = tar.extractfile(about)
                description = parse_json(text.read().decode() if text is not None else "")
                if description["name"] != video.name:
                    raise ValueError(f"it holds the video {description['name']!r}")
                written.append(WrittenVideo(video, description, header.offset_data))
    except (KeyError, OSError, TypeError, ValueError, tarfile.TarError) as error:
        raise UsageError(
            f"{str(path)!r} is not the shard that belongs there: {error}; delete it and pack again"
        ) from error
    return written

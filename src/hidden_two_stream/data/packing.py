"""Packs a dataset into shards: tar files of the original video files, and an index.

The layout is WebDataset's: `KEY.mp4` and `KEY.json` follow each other in a plain tar file. The same data
gives the same bytes. The index is written last, so a folder that has one is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.clip_cache import default_workers
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.samples import DatasetIndex, Sample, below_common_folder, clean_text, note_facts
from hidden_two_stream.data.shard_entries import (
    PlannedVideo,
    describe,
    describe_lost,
    index_samples,
    unread,
)
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import atomic_write, make_folder, parse_json, read_json, write_json, write_text
from hidden_two_stream.progress import note, number_of, with_progress
from hidden_two_stream.video.finding import VIDEO_SUFFIXES, is_url
from hidden_two_stream.video.shards.addresses import INDEX_NAME, PLAN_NAME, is_packed
from hidden_two_stream.video.shards.index import FORMAT, FORMAT_VERSION

__all__ = ["DEFAULT_SHARD_SIZE", "PackResult", "pack", "shard_bytes"]

DEFAULT_SHARD_SIZE = "1GB"
_LEAST_SHARD_BYTES = 10_000
_MOST_SHARDS = 1_000_000
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}  # fmt: skip
_HEADER_BYTES = 512
_DESCRIPTION_BYTES = 2048  # about
_FEWEST_FOR_WORKERS = 8
_COPIED_BYTES = 1 << 20


@dataclass(frozen=True)
class PackResult:
    """What `pack` wrote.

    Attributes:
        folder: the folder of shards.
        num_samples: samples of the dataset.
        num_videos: packed videos; several samples can be parts of one.
        num_shards: tar files.
        num_bytes: of all shards.
        unreadable: names of the videos that cannot be read or decoded, each with the reason. Their bytes are
            packed all the same, if there are any.
    """

    folder: Path
    num_samples: int
    num_videos: int
    num_shards: int
    num_bytes: int
    unreadable: tuple[str, ...] = ()

    def __str__(self) -> str:
        videos, shards = number_of(self.num_videos, "video"), number_of(self.num_shards, "shard")
        return f"{self.folder}: {videos} in {shards}, {self.num_bytes / 1e6:,.1f} MB"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        return {**vars(self), "folder": str(self.folder), "unreadable": list(self.unreadable)}


def pack(
    data: str | Path,
    out: str | Path,
    shard_size: str | int = DEFAULT_SHARD_SIZE,
    *,
    workers: int | None = None,
    quiet: bool = False,
) -> PackResult:
    """Pack a dataset into shards of the original video files.

    Each video is decoded once, for its frame count and what else training asks of it. A call that was
    interrupted goes on with the first shard that is not complete, if it is repeated with the same arguments.

    Args:
        data: a folder, a CSV or a dataset by name.
        out: a new or empty folder, or one where packing the same data was interrupted.
        shard_size: size at which a shard is full: a number of bytes, or text such as "500MB". A larger video
            has a shard of its own.
        workers: processes that decode; None: one per core, at most 8.
        quiet: show no progress on stderr.

    Returns:
        What was written.

    Raises:
        UsageError: an argument is wrong, or `out` holds something else.
        DataError: the data cannot be read, or is in a form that cannot be packed, or changes meanwhile.
        OutputError: `out` cannot be written.
    """
    limit = shard_bytes(shard_size)
    folder = Path(out)
    index = read_dataset_index(data, min_classes=1)
    note_facts(index)
    _require_outside(folder, data)
    videos = _planned(index)
    shards = _divided(videos, limit)
    _begin(folder, index, videos, limit)
    processes = default_workers() if workers is None else workers
    try:
        descriptions = with_progress(
            "pack",
            len(videos),
            quiet,
            lambda progress: _write_shards(folder, shards, processes, progress),
        )
    except KeyboardInterrupt:
        note(f"complete shards stay in {str(folder)!r}; to go on, run the same command again")
        raise
    missing = [video for video in videos if video.unreadable is not None]
    return _finish(folder, index, shards, descriptions, missing)


def shard_bytes(text: str | int) -> int:
    """Return a size in bytes: 2000000, "2MB", "1.5GB" or "512MiB".

    Raises:
        UsageError: it is no size, or too small.
    """
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?I?B?)\s*", str(text).upper())
    if found is None or found[2] not in _UNITS:
        raise UsageError(f"the shard size is {str(text)!r}; expected a size such as 500MB or 1GB")
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < _LEAST_SHARD_BYTES:
        raise UsageError(f"the shard size is {str(text)!r}; expected at least {_LEAST_SHARD_BYTES:,} bytes")
    return size


def _require_outside(folder: Path, data: str | Path) -> None:
    """Raise a UsageError if shards would be written among the videos, where the next reading finds them."""
    if os.path.isdir(data) and folder.resolve().is_relative_to(Path(data).resolve()):
        raise UsageError(f"{str(folder)!r} lies inside the data, {str(data)!r}; name a folder outside")


# -- the plan --------------------------------------------------------------------------------------


def _planned(index: DatasetIndex) -> list[PlannedVideo]:
    """Return the videos of a dataset in the order of its samples, each once, with its samples.

    Raises:
        DataError: some are not files: URLs, folders of frames, or packed already.
    """
    samples: dict[str, list[tuple[int, Sample]]] = {}
    for number, sample in enumerate(index.samples):
        samples.setdefault(sample.path, []).append((number, sample))
    others = [path for path in samples if is_url(path) or is_packed(path) or os.path.isdir(path)]
    if others:
        kind = "URL" if is_url(others[0]) else "packed video" if is_packed(others[0]) else "folder of frames"
        raise DataError(
            f"{number_of(len(others), 'video')} cannot be packed, such as the {kind} {others[0]!r}; only "
            "video files can: download it, or make a video of the frames"
        )
    names = [clean_text(name) for name in below_common_folder(list(samples))]
    twice = (
        [name for place, name in enumerate(names) if name in names[:place]]
        if len(names) > len(set(names))
        else []
    )
    if twice:
        raise DataError(f"{index.source}: two paths name the video {twice[0]!r}; write its path in one way")
    return [
        _planned_video(path, name, number, tuple(found))
        for number, (name, (path, found)) in enumerate(zip(names, samples.items(), strict=True))
    ]


def _planned_video(
    path: str, name: str, number: int, samples: tuple[tuple[int, Sample], ...]
) -> PlannedVideo:
    suffix = os.path.splitext(name)[1].lower()
    plain = suffix.removeprefix(".") if suffix in VIDEO_SUFFIXES else "video"
    size, reason = 0, None
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            reason = "it is not a regular file"
        size = facts.st_size if reason is None else 0
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    if reason is None and not size:
        reason = "the file is empty (0 bytes)"
    return PlannedVideo(path, name, f"{number:08d}", plain, size, samples, reason)


def _divided(videos: Iterable[PlannedVideo], limit: int) -> list[list[PlannedVideo]]:
    """Return the videos of each shard: a shard is full when the next video would take it above the limit."""
    shards: list[list[PlannedVideo]] = []
    filled = 0
    for video in videos:
        if video.unreadable is not None:
            continue
        needed = 2 * _HEADER_BYTES + video.size + _DESCRIPTION_BYTES
        if not shards or filled + needed > limit:
            shards.append([])
            filled = 0
        shards[-1].append(video)
        filled += needed
    if len(shards) > _MOST_SHARDS:
        raise UsageError(
            f"the shards would be {len(shards):,}; expected at most {_MOST_SHARDS:,}: make them larger"
        )
    return shards


def _begin(folder: Path, index: DatasetIndex, videos: Sequence[PlannedVideo], limit: int) -> None:
    """Make the folder and write its plan, or check that the plan in it is the same.

    Raises:
        UsageError: the folder holds something else.
        OutputError: it cannot be written.
    """
    plan = {"format_version": FORMAT_VERSION, "shard_bytes": limit, "data": _fingerprint(index, videos)}
    path = folder / PLAN_NAME
    if (folder / INDEX_NAME).exists():
        raise UsageError(f"{str(folder)!r} already holds packed videos; name a new or empty folder")
    if path.exists():
        try:
            saved = read_json(path)
        except (OSError, ValueError):
            saved = None
        if saved != plan:
            raise UsageError(
                f"packing into {str(folder)!r} began with other data or another shard size; give the same "
                "again, or delete the folder"
            )
        note(f"going on in {str(folder)!r}")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{str(folder)!r} is not empty; name a new or empty folder")
    write_json(make_folder(folder) / PLAN_NAME, plan)


def _fingerprint(index: DatasetIndex, videos: Iterable[PlannedVideo]) -> str:
    """Return a text that tells this data from other data by names, labels, times, sizes and changes."""
    digest = hashlib.sha256(json.dumps([*index.class_order]).encode())
    for video in videos:
        changed = os.stat(video.path).st_mtime_ns if video.unreadable is None else 0
        labels = [
            [number, s.label, s.split, s.start_seconds, s.end_seconds, dict(s.columns)]
            for number, s in video.samples
        ]
        digest.update(json.dumps([video.name, video.size, changed, labels]).encode())
    return digest.hexdigest()


# -- writing ---------------------------------------------------------------------------------------

Description = Mapping[str, Any]


@dataclass(frozen=True)
class _Written:
    """A video in its shard: what is written about it, and the place of its bytes."""

    video: PlannedVideo
    description: Description
    offset: int


def _write_shards(
    folder: Path,
    shards: Sequence[Sequence[PlannedVideo]],
    workers: int,
    progress: Callable[[int, int], None],
) -> list[list[_Written]]:
    """Write the shards that are not there yet, and return the contents of all."""
    from hidden_two_stream.parallel import run_in_processes

    finished = {
        number: found
        for number, videos in enumerate(shards)
        if (found := _read_shard(_shard_path(folder, number), videos)) is not None
    }
    waiting = [video for number, videos in enumerate(shards) if number not in finished for video in videos]
    processes = workers if len(waiting) >= _FEWEST_FOR_WORKERS else 0
    written, done = [], 0
    with closing(run_in_processes(describe, waiting, processes, describe_lost)) as descriptions:  # type: ignore[type-var]
        for number, videos in enumerate(shards):
            if number in finished:
                written.append(finished[number])
            else:
                written.append(_write_shard(_shard_path(folder, number), videos, descriptions))
            done += len(videos)
            progress(done, done)
    return written


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.tar"


def _write_shard(
    path: Path, videos: Sequence[PlannedVideo], descriptions: Iterator[dict[str, Any]]
) -> list[_Written]:
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
            written.append(_Written(video, description, offset))
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
        watched = _Watched(file, video.path)
        if facts["size"] == video.size:
            try:
                tar.addfile(_header(f"{video.key}.{video.suffix}", video.size), watched)
            except (tarfile.TarError, OSError) as error:
                if watched.failure is None and watched.size == video.size:
                    raise
                raise DataError(f"cannot read all of {video.path!r}: {error}") from error
    if (watched.size, watched.digest.hexdigest()) != (video.size, facts["sha256"]):
        raise DataError(f"{video.path!r} changed while it was packed; pack again when it is complete")


class _Watched(io.RawIOBase):
    """An open file that computes the digest of what is read from it, and remembers a failure."""

    def __init__(self, file: io.BufferedReader, path: str) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.size = 0
        self.failure: OSError | None = None
        self._file = file
        self._path = path

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


def _read_shard(path: Path, videos: Sequence[PlannedVideo]) -> list[_Written] | None:
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
                written.append(_Written(video, description, header.offset_data))
    except (KeyError, OSError, TypeError, ValueError, tarfile.TarError) as error:
        raise UsageError(
            f"{str(path)!r} is not the shard that belongs there: {error}; delete it and pack again"
        ) from error
    return written


# -- the index -------------------------------------------------------------------------------------


def _finish(
    folder: Path,
    index: DatasetIndex,
    shards: Sequence[Sequence[PlannedVideo]],
    written: Sequence[Sequence[_Written]],
    missing: Sequence[PlannedVideo],
) -> PackResult:
    """Write the index, remove the plan, and return what was written."""
    sizes = [_shard_path(folder, number).stat().st_size for number in range(len(shards))]
    shard_entries = [
        {"name": _shard_path(folder, number).name, "size": size} for number, size in enumerate(sizes)
    ]
    placed = [(entry, number) for number, entries in enumerate(written) for entry in entries]
    members = [_member(entry.video, entry.description, number, entry.offset) for entry, number in placed]
    descriptions: list[Description] = [entry.description for entry, _ in placed]
    for video in missing:
        descriptions.append(unread(video, video.unreadable or ""))
        members.append(_member(video, descriptions[-1], None, 0))
    samples = index_samples(descriptions)
    write_text(folder / INDEX_NAME, _index_text(index.class_order, shard_entries, members, samples))
    (folder / PLAN_NAME).unlink(missing_ok=True)
    unreadable = tuple(
        f"{member['name']}: {reason}"
        for member, description in zip(members, descriptions, strict=True)
        for reason in dict.fromkeys(
            entry["unreadable"] for entry in description["samples"] if entry["unreadable"] is not None
        )
    )
    return PackResult(folder, len(samples), len(members), len(sizes), sum(sizes), unreadable)


def _member(video: PlannedVideo, description: Description, shard: int | None, offset: int) -> dict[str, Any]:
    place = {"shard": shard, "key": video.key, "suffix": video.suffix, "offset": offset}
    return {"name": video.name, **place, **description["video"]}


def _index_text(
    class_order: Sequence[str],
    shards: Sequence[Mapping[str, Any]],
    members: Sequence[Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
) -> str:
    """Return the JSON of an index, with one line for each shard, member and sample."""
    lists = {"shards": shards, "members": members, "samples": samples}
    head = [("format", FORMAT), ("format_version", FORMAT_VERSION), ("class_order", list(class_order))]
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head]
    for name, entries in lists.items():
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{" + ",\n".join(parts) + "}\n"

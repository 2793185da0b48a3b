"""Packs a dataset into shards: tar files of the original video files, and an index.

The layout is WebDataset's: `KEY.mp4` and `KEY.json` follow each other in a plain tar file. The same data
gives the same bytes. The index is written last, so a folder that has one is complete.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.clip_cache import default_workers
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.packing_plan import begin_folder, planned_shards, planned_videos
from hidden_two_stream.data.samples import DatasetIndex, note_facts
from hidden_two_stream.data.shard_entries import PlannedVideo, index_samples, unread
from hidden_two_stream.data.shard_files import Description, WrittenVideo, shard_path, write_shards
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import write_text
from hidden_two_stream.progress import note, number_of, with_progress
from hidden_two_stream.video.shards.addresses import INDEX_NAME, PLAN_NAME
from hidden_two_stream.video.shards.entries import FORMAT, FORMAT_VERSION

__all__ = ["DEFAULT_SHARD_SIZE", "PackResult", "pack", "shard_bytes"]

DEFAULT_SHARD_SIZE = "1GB"
_LEAST_SHARD_BYTES = 10_000
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}  # fmt: skip


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
    _require_outside(folder, data)
    videos = planned_videos(index)
    shards = planned_shards(videos, limit)
    begin_folder(folder, index, videos, limit)
    note_facts(index)  # after all refusals
    processes = default_workers() if workers is None else workers
    try:
        descriptions = with_progress(
            "pack",
            sum(map(len, shards)),
            quiet,
            lambda progress: write_shards(folder, shards, processes, progress),
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


def _finish(
    folder: Path,
    index: DatasetIndex,
    shards: Sequence[Sequence[PlannedVideo]],
    written: Sequence[Sequence[WrittenVideo]],
    missing: Sequence[PlannedVideo],
) -> PackResult:
    """Write the index, remove the plan, and return what was written."""
    sizes = [shard_path(folder, number).stat().st_size for number in range(len(shards))]
    shard_entries = [
        {"name": shard_path(folder, number).name, "size": size} for number, size in enumerate(sizes)
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

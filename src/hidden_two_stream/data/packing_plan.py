"""What will be packed: which videos, into which shards; and the folder that remembers it until it is done."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from hidden_two_stream.data.samples import DatasetIndex, Sample, below_common_folder, clean_text
from hidden_two_stream.data.shard_entries import PlannedVideo
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import holds_nothing, make_folder, read_json, write_json
from hidden_two_stream.progress import note, number_of
from hidden_two_stream.video.finding import VIDEO_SUFFIXES, is_url
from hidden_two_stream.video.shards.addresses import INDEX_NAME, PLAN_NAME, is_packed
from hidden_two_stream.video.shards.entries import FORMAT_VERSION

__all__ = ["begin_folder", "planned_shards", "planned_videos"]

_MOST_SHARDS = 1_000_000
_HEADER_BYTES = 512
_DESCRIPTION_BYTES = 2048  # about


def planned_videos(index: DatasetIndex) -> list[PlannedVideo]:
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
    # Absolute, because a CSV can name a video by steps upward, which no name in an index may have.
    names = [clean_text(name) for name in below_common_folder([os.path.abspath(path) for path in samples])]
    twice = [name for name, count in Counter(names).items() if count > 1]
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
    size, changed, reason = 0, 0, None
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            reason = "it is not a regular file"
        size, changed = (facts.st_size, facts.st_mtime_ns) if reason is None else (0, 0)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    if reason is None and not size:
        reason = "the file is empty (0 bytes)"
    return PlannedVideo(path, name, f"{number:08d}", plain, size, samples, reason, changed)


def planned_shards(videos: Iterable[PlannedVideo], limit: int) -> list[list[PlannedVideo]]:
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


def begin_folder(folder: Path, index: DatasetIndex, videos: Sequence[PlannedVideo], limit: int) -> None:
    """Make the folder and write its plan, or check that the plan in it is the same.

    Raises:
        UsageError: the folder holds something else.
        OutputError: it cannot be written.
    """
    plan = {"format_version": FORMAT_VERSION, "shard_bytes": limit, "data": _fingerprint(index, videos)}
    path = folder / PLAN_NAME
    if (folder / INDEX_NAME).exists() and not path.exists():  # else the call was killed before its last step
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
    if not holds_nothing(folder):
        raise UsageError(f"{str(folder)!r} is not empty; name a new or empty folder")
    write_json(make_folder(folder) / PLAN_NAME, plan)


def _fingerprint(index: DatasetIndex, videos: Iterable[PlannedVideo]) -> str:
    """Return a text that tells this data from other data by names, labels, times, sizes and changes."""
    digest = hashlib.sha256(json.dumps([*index.class_order]).encode())
    for video in videos:
        labels = [
            [number, s.label, s.split, s.start_seconds, s.end_seconds, dict(s.columns)]
            for number, s in video.samples
        ]
        digest.update(json.dumps([video.name, video.size, video.changed_ns, labels]).encode())
    return digest.hexdigest()

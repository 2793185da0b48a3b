"""Whether a resumed run goes on with what it began with: the same videos, and the same versions.

`plan.json` records digests of the video files and of what was decoded from them. Names, labels and splits
are compared by the fingerprint of the dataset index (`data.samples`).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import read_json, write_json
from hidden_two_stream.progress import note
from hidden_two_stream.video.finding import is_image, is_url
from hidden_two_stream.video.shards.opening import find_member

__all__ = ["decoded_contents", "file_contents", "keep_contents", "note_versions"]


def file_contents(samples: Iterable[Sample]) -> dict[str, str]:
    """Return a digest of the sizes of all video files and frame images; their contents are not read."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(sample.path for sample in samples):
        for name, size in _sizes(path):
            digest.update(f"{name}\t{size}\n".encode("utf-8", "surrogateescape"))
    return {"files": digest.hexdigest()[:16]}


def _sizes(path: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the size of a video file, or of each file of a frame folder; nothing if missing."""
    packed = find_member(path)
    if packed is not None:
        yield packed[1].name, packed[1].size
        yield packed[1].sha256, packed[1].size
        return
    if is_url(path):
        return
    try:
        if Path(path).is_dir():
            with os.scandir(path) as entries:
                images = [e for e in entries if is_image(e.name)]
                yield from sorted((image.name, image.stat().st_size) for image in images)
        else:
            yield Path(path).name, Path(path).stat().st_size
    except OSError:
        return  # an unreadable video is reported when it is decoded


def decoded_contents(cache: ClipCache) -> dict[str, str]:
    """Return digests of the lengths of decoded videos and, if their frames are in memory, of the pixels."""
    lengths, pixels = hashlib.sha256(), hashlib.sha256()
    in_memory = True
    for video in cache.videos:
        lengths.update(f"{video.num_frames} {video.size}\n".encode())
        if video.frames is None:
            in_memory = False
        elif in_memory:
            pixels.update(f"{zlib.crc32(video.frames.contiguous().numpy().data)}\n".encode())
    found = {"lengths": lengths.hexdigest()[:16]}
    return found | {"pixels": pixels.hexdigest()[:16]} if in_memory else found


def keep_contents(plan: Path, found: Mapping[str, str], data: str, *, write: bool = True) -> None:
    """Compare digests with those in a plan, and add those that the plan does not have yet.

    Args:
        plan: the file of the plan.
        found: digests of `file_contents` or `decoded_contents`.
        data: the dataset, for errors.
        write: whether this process writes files.

    Raises:
        UsageError: a digest differs.
        CheckpointError: the plan is damaged.
    """
    try:
        saved = read_json(plan)
        known = dict(saved.get("contents", {}))
        decoder = dict(saved.get("versions", {})).get("av")
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(plan)!r} is damaged: {error}; train again into another folder"
        ) from error
    changed = [name for name, digest in found.items() if known.get(name, digest) != digest]
    if changed == ["pixels"] and decoder not in (None, versions()["av"]):
        note("this version of av decodes some videos to other pixels than the one that the run began with")
    elif changed:
        raise UsageError(
            f"the videos in {data!r} have changed since this run began: other {', '.join(changed)} under the "
            f"same names (by the digests in {str(plan)!r}); train again into another folder"
        )
    if write and found.keys() - known.keys():
        write_json(plan, saved | {"contents": {**found, **known}})


def note_versions(began_with: Mapping[str, str]) -> None:
    """Name the libraries on stderr that have another version than when the run began.

    Args:
        began_with: versions by name, as in the plan; empty in plans of earlier versions.
    """
    now = versions()
    different = [
        f"{name} {began_with[name]}, now {now[name]}"
        for name in now
        if name in began_with and began_with[name] != now[name]
    ]
    if different:
        note(
            f"this run began with other versions: {'; '.join(different)}; its result can differ from that of "
            "a run without interruption"
        )

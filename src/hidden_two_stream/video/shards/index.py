"""The index of packed videos: where each lies in which shard, and what decoding it has shown.

An index may come from anywhere, so nothing in it is trusted: shards are files beside it with names of one
form, every place lies inside its shard, and no number can make a reader take memory beyond its files.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hidden_two_stream.errors import DataError
from hidden_two_stream.files import parse_json
from hidden_two_stream.video.finding import is_url
from hidden_two_stream.video.shards.addresses import member_address
from hidden_two_stream.video.shards.storage import file_size, file_sizes, read_bytes

__all__ = ["FORMAT", "FORMAT_VERSION", "Member", "Pack", "PartFacts", "PartOfMember", "Shard", "open_pack"]

FORMAT = "hidden-two-stream shards"
FORMAT_VERSION = 1

MAX_INDEX_BYTES = 1 << 30
OUTLINE_BYTES = 16 * 8 * 8

_SHARD_NAME = re.compile(r"shard-[0-9]{6}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file beside the index, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A packed video.

    Attributes:
        name: its path below the folder that was packed, with "/".
        shard: number of its shard; None: the file could not be read when it was packed.
        key: its name in the tar file without suffix.
        suffix: its suffix there, without the dot.
        offset, size: where its bytes lie in the shard.
        sha256: of its bytes, as 64 hexadecimal digits.
        frames: number of decoded frames; None: it cannot be decoded.
        fps: mean frames per second; None: unknown.
        height, width: of its frames as shown, px; 0: it cannot be decoded.
        unreadable: why it cannot be read or decoded; None: it can.
    """

    name: str
    shard: int | None
    key: str
    suffix: str
    offset: int
    size: int
    sha256: str
    frames: int | None
    fps: float | None
    height: int
    width: int
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What decoding a labeled part of a video has shown, as `data.clip_cache.DecodedVideo` holds it.

    Attributes:
        num_frames, first_frame: its frames, and the number of the first of them in the video.
        digest, outline: its content; the outline is (16, 8, 8) gray levels as base64.
        times_repaired: whether time stamps were replaced.
        step: numerator and denominator of the constant time between two frames, s; None: see `times`.
        times: the time of each frame, s; empty: they follow from `step`, or from the frame rate.
        warning: what was wrong; None: nothing.
    """

    num_frames: int
    first_frame: int
    digest: str
    outline: str = field(repr=False)
    times_repaired: bool = False
    step: tuple[int, int] | None = None
    times: tuple[float, ...] = field(default=(), repr=False)
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class PartOfMember:
    """A sample of the packed dataset: a labeled video or a labeled part of one.

    Attributes:
        member: number of its video.
        label, split, start_seconds, end_seconds, columns: as in `data.samples.Sample`.
        facts: what decoding has shown; None: it cannot be decoded.
        unreadable: why not; None: it can.
    """

    member: int
    label: str
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    facts: PartFacts | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class Pack:
    """An index that was read and checked.

    Attributes:
        index: its path or URL.
        shards: the tar files.
        members: the packed videos, in the order of the shards.
        samples: the samples of the dataset, in its order.
        class_order: all classes in the dataset's own order; empty: alphabetically.
    """

    index: str
    shards: tuple[Shard, ...] = field(repr=False)
    members: tuple[Member, ...] = field(repr=False)
    samples: tuple[PartOfMember, ...] = field(repr=False)
    class_order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = {member.name: number for number, member in enumerate(self.members)}
        parts = {(part.member, part.start_seconds, part.end_seconds): part for part in self.samples}
        object.__setattr__(self, "_numbers", names)
        object.__setattr__(self, "_parts", parts)

    def member(self, name: str) -> Member | None:
        """Return the video of a name; None: there is none."""
        numbers: dict[str, int] = self.__dict__["_numbers"]
        number = numbers.get(name)
        return None if number is None else self.members[number]

    def part(self, name: str, start_seconds: float | None, end_seconds: float | None) -> PartOfMember | None:
        """Return a sample by its video and its times; None: it is not one of the dataset's."""
        numbers: dict[str, int] = self.__dict__["_numbers"]
        parts: dict[tuple[int | None, float | None, float | None], PartOfMember] = self.__dict__["_parts"]
        return parts.get((numbers.get(name), start_seconds, end_seconds))

    def addresses(self) -> list[str]:
        """Return the address of each video, in the order of the shards."""
        return [member_address(self.index, member.name) for member in self.members]

    def shard_path(self, number: int) -> str:
        """Return the path or URL of a shard: it lies beside the index."""
        return shard_beside(self.index, self.shards[number].name)

    def require_shards(self) -> None:
        """Check that all shards are there, with the size that they were written with; they are not read.

        Raises:
            DataError: a shard is missing, or has another size; the error names it.
        """
        known = file_sizes(self.index.rpartition("/")[0]) if is_url(self.index) else None
        for number, shard in enumerate(self.shards):
            path = self.shard_path(number)
            found = file_size(path) if known is None else known.get(shard.name)
            if found is None:
                raise DataError(
                    f"the shard {path!r} is missing; copy it beside {self.index!r}, or pack the data again"
                )
            if found != shard.size:
                state = "is truncated" if found < shard.size else "has changed"
                raise DataError(
                    f"the shard {path!r} {state}: it has {found:,} bytes, and its index says {shard.size:,}; "
                    "copy it again, or pack the data again"
                )


def shard_beside(index: str, name: str) -> str:
    """Return the path or URL of a file in the folder of an index."""
    if is_url(index):
        return f"{index.rpartition('/')[0]}/{name}"
    return os.path.join(os.path.dirname(index), name)


def open_pack(index: str) -> Pack:
    """Return the index at a path or URL. It is kept, and read again when its file changes.

    Raises:
        DataError: it is missing, damaged or of another format version.
    """
    stamp = (0, 0)
    if not is_url(index):
        try:
            facts = os.stat(index)
        except OSError as error:
            raise DataError(f"cannot read {index!r}: {error.strerror}") from error
        stamp = (facts.st_mtime_ns, facts.st_size)
    return _open_pack(index, stamp)


@lru_cache(maxsize=4)
def _open_pack(index: str, _stamp: tuple[int, int]) -> Pack:
    data = read_bytes(index, MAX_INDEX_BYTES)
    try:
        return _parsed(index, parse_json(data.decode()))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{index!r} is not an index of shards, or is damaged: {reason}; pack the data again"
        ) from error


def _parsed(index: str, data: Any) -> Pack:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"it has format version {data.get('format_version')!r}, and this package reads {FORMAT_VERSION}"
        )
    shards = tuple(_entries(data["shards"], "shard", _shard))
    members = tuple(_entries(data["members"], "member", lambda entry: _member(entry, shards)))
    if len({member.name for member in members}) < len(members):
        raise ValueError("two members have the same name")
    samples = tuple(_entries(data["samples"], "sample", lambda entry: _sample(entry, members)))
    order = data["class_order"]
    _require(isinstance(order, list) and all(isinstance(label, str) for label in order), "class_order", order)
    return Pack(index, shards, members, samples, tuple(order))


def _entries(entries: Any, kind: str, parse: Any) -> Iterator[Any]:
    """Parse each entry of a list; errors name the entry.

    Raises:
        ValueError: an entry is wrong.
    """
    _require(isinstance(entries, list), f"list of {kind}s", entries)
    for number, entry in enumerate(entries):
        try:
            _require(isinstance(entry, dict), "entry", entry)
            yield parse(entry)
        except KeyError as error:
            raise ValueError(f"its {kind} {number} lacks {error}") from error
        except ValueError as error:
            raise ValueError(f"its {kind} {number}: {error}") from error


def _require(is_right: bool, name: str, value: object) -> None:
    if not is_right:
        raise ValueError(f"{name} is {str(value)[:60]!r}")


def _shard(entry: Mapping[str, Any]) -> Shard:
    name, size = entry["name"], entry["size"]
    _require(isinstance(name, str) and bool(_SHARD_NAME.fullmatch(name)), "name", name)
    _require(_is_whole(size, 1, 1 << 62), "size", size)
    return Shard(name, size)


def _member(entry: Mapping[str, Any], shards: Sequence[Shard]) -> Member:
    name, shard, offset, size = entry["name"], entry["shard"], entry["offset"], entry["size"]
    _require(isinstance(name, str) and _is_relative(name), "name", name)
    for text in ("key", "suffix"):
        _require(isinstance(entry[text], str), text, entry[text])
    _require(isinstance(entry["sha256"], str) and bool(_SHA256.fullmatch(entry["sha256"])), "sha256", "wrong")
    _require(shard is None or _is_whole(shard, 0, len(shards) - 1), "shard", shard)
    most = 0 if shard is None else shards[shard].size
    _require(_is_whole(size, 0, most), "size", size)
    _require(_is_whole(offset, 0, most - size), "offset", offset)
    frames, fps, reason = entry["frames"], entry["fps"], _reason(entry)
    _require(reason is not None if frames is None else _is_whole(frames, 1, size), "frames", frames)
    _require(fps is None or _is_number(fps, 0.0, above=True), "fps", fps)
    for side in ("height", "width"):
        _require(_is_whole(entry[side], 0 if frames is None else 1, 1 << 31), side, entry[side])
    return Member(
        name, shard, entry["key"], entry["suffix"], offset, size, entry["sha256"], frames, fps,
        entry["height"], entry["width"], reason,
    )  # fmt: skip


def _sample(entry: Mapping[str, Any], members: Sequence[Member]) -> PartOfMember:
    number, label, split, columns = entry["member"], entry["label"], entry["split"], entry["columns"]
    _require(_is_whole(number, 0, len(members) - 1), "member", number)
    _require(isinstance(label, str) and bool(label), "label", label)
    _require(split in (None, "train", "val", "test"), "split", split)
    texts = isinstance(columns, dict) and all(isinstance(value, str) for value in columns.values())
    _require(texts, "columns", columns)
    start, end, reason = entry["start_seconds"], entry["end_seconds"], _reason(entry)
    _require(start is None or _is_number(start, 0.0), "start_seconds", start)
    _require(end is None or _is_number(end, start or 0.0, above=True), "end_seconds", end)
    facts = None if reason is not None else _facts(entry["facts"], members[number])
    return PartOfMember(number, label, split, start, end, columns, facts, reason)


def _facts(entry: Any, member: Member) -> PartFacts:
    _require(isinstance(entry, dict) and member.frames is not None, "facts", entry)
    most = member.frames or 0
    count, first = entry["num_frames"], entry["first_frame"]
    _require(_is_whole(count, 1, most), "num_frames", count)
    _require(_is_whole(first, 0, most - count), "first_frame", first)
    digest, outline = entry["digest"], entry["outline"]
    _require(isinstance(digest, str) and bool(_DIGEST.fullmatch(digest)), "digest", digest)
    _require(isinstance(outline, str) and _is_outline(outline), "outline", outline)
    repaired, step, times = entry["times_repaired"], entry["step"], entry["times"]
    _require(isinstance(repaired, bool), "times_repaired", repaired)
    if step is not None:
        in_range = (
            isinstance(step, list) and len(step) == 2 and all(_is_whole(part, 1, 1 << 62) for part in step)
        )
        _require(in_range, "step", step)
        step = (step[0], step[1])
    _require(isinstance(times, list) and len(times) in (0, count), "times", times)
    _require(all(_is_number(time, 0.0) for time in times), "times", times)
    _require(all(a < b for a, b in itertools.pairwise(times)), "times", times)
    warning = entry["warning"]
    _require(warning is None or isinstance(warning, str), "warning", warning)
    return PartFacts(count, first, digest, outline, repaired, step, tuple(times), warning)


def _reason(entry: Mapping[str, Any]) -> str | None:
    reason = entry["unreadable"]
    if reason is None:
        return None
    _require(isinstance(reason, str), "unreadable", reason)
    return str(reason)


def _is_relative(name: str) -> bool:
    """Whether a name is a relative path without steps upward; it is never opened, but it is shown."""
    return bool(name) and "\0" not in name and not name.startswith("/") and ".." not in name.split("/")


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_number(value: object, least: float, *, above: bool = False) -> bool:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        return False
    return value > least if above else value >= least  # type: ignore[operator]


def _is_outline(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == OUTLINE_BYTES
    except (binascii.Error, ValueError):
        return False

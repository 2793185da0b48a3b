"""Reads the JSON of an index, which may come from anywhere, and checks every value of it.

Shards are files beside the index with names of one form, every place lies inside its shard, and no number can
make a reader take memory beyond its files.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hidden_two_stream.video.shards.entries import (
    FORMAT,
    FORMAT_VERSION,
    Member,
    PartFacts,
    PartOfMember,
    Shard,
)

__all__ = ["IndexEntries", "parse_index"]

_OUTLINE_BYTES = 16 * 8 * 8
_SHARD_NAME = re.compile(r"shard-[0-9]{6}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{32}")


class IndexEntries(NamedTuple):
    """The content of an index."""

    shards: tuple[Shard, ...]
    members: tuple[Member, ...]
    samples: tuple[PartOfMember, ...]
    class_order: tuple[str, ...]


def parse_index(data: Any) -> IndexEntries:
    """Return the content of an index from the data of its JSON.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or has a wrong value.
    """
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
    return IndexEntries(shards, members, samples, tuple(order))


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
        return len(base64.b64decode(text, validate=True)) == _OUTLINE_BYTES
    except (binascii.Error, ValueError):
        return False

"""The index of packed videos: where each lies in which shard, and what decoding it has shown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache

from hidden_two_stream.errors import DataError
from hidden_two_stream.files import parse_json
from hidden_two_stream.video.finding import is_url
from hidden_two_stream.video.shards.addresses import member_address
from hidden_two_stream.video.shards.entries import Member, PartOfMember, Shard
from hidden_two_stream.video.shards.parsing import parse_index
from hidden_two_stream.video.shards.storage import file_size, file_sizes, read_bytes

__all__ = ["MAX_INDEX_BYTES", "Pack", "open_pack"]

MAX_INDEX_BYTES = 1 << 30


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
        return Pack(index, *parse_index(parse_json(data.decode())))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{index!r} is not an index of shards, or is damaged: {reason}; pack the data again"
        ) from error

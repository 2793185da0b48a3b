"""Opens a packed video by its address."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Hashable
from typing import BinaryIO, cast

from hidden_two_stream.errors import VideoError
from hidden_two_stream.video.shards.addresses import split_address
from hidden_two_stream.video.shards.entries import Member
from hidden_two_stream.video.shards.index import Pack, open_pack
from hidden_two_stream.video.shards.storage import open_window, read_part

__all__ = ["MemberFile", "find_member", "open_member", "require_intact"]

WHOLE_BYTES = 8 << 20
"""Up to this size, a packed video is read at once and compared with its checksum."""

_PART_BYTES = 8 << 20
_SUFFIX = re.compile(r"[a-z0-9-]{1,10}")


def find_member(source: str) -> tuple[Pack, Member] | None:
    """Return the packed video of an address; None: `source` is no such address.

    Raises:
        DataError: the index cannot be read.
        VideoError: the index has no such video.
    """
    found = split_address(source)
    if found is None:
        return None
    pack = open_pack(found[0])
    member = pack.member(found[1])
    if member is None:
        raise VideoError(source, f"{found[0]!r} lists no such video")
    return pack, member


def open_member(source: str) -> MemberFile | None:
    """Return the packed video of an address, to be opened; None: `source` is no such address.

    Raises:
        DataError: the index cannot be read.
        VideoError: the index has no such video, or its file could not be packed.
    """
    found = find_member(source)
    if found is None:
        return None
    pack, member = found
    if member.shard is None:
        raise VideoError(source, member.unreadable or "it could not be packed")
    return MemberFile(source, pack.shard_path(member.shard), member)


class MemberFile:
    """A packed video as a file: see `video.sources.stored.StoredFile`.

    Args:
        source: its address.
        shard: path or URL of its shard.
        member: its place.
    """

    is_packed = True

    def __init__(self, source: str, shard: str, member: Member) -> None:
        self._source = source
        self._shard = shard
        self._member = member
        self._content: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self._member.size

    def identity(self) -> Hashable:
        """Return what stands for the content."""
        return (self._member.sha256, self._member.size)

    def open(self) -> BinaryIO:
        """Open the video for reading, with `seek`.

        Raises:
            VideoError: the shard cannot be read, or the video has changed in it.
            UsageError, StoreError, MissingDependencyError: as `object_store.open_file`.
        """
        member = self._member
        # The name must lead nowhere: some of FFmpeg's formats open files whose names follow from it.
        suffix = member.suffix if _SUFFIX.fullmatch(member.suffix) else "video"
        name = f"video.{suffix}"
        try:
            if member.size > WHOLE_BYTES:
                return cast(
                    BinaryIO, open_window(self._shard, member.offset, member.size, name, self._source)
                )
            if self._content is None:
                content = read_part(self._shard, member.offset, member.size)
                reason = _difference(member, len(content), hashlib.sha256(content).hexdigest(), self._shard)
                if reason:
                    raise VideoError(self._source, reason)
                self._content = content
        except OSError as error:
            reason = f"its shard {self._shard!r} cannot be read: {error.strerror or error}"
            raise VideoError(self._source, reason) from error
        return _Named(self._content, name)


class _Named(io.BytesIO):
    """Bytes in memory with the name of a file."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def require_intact(source: str) -> None:
    """Compare all bytes of a packed video with its checksum, in little memory.

    Raises:
        VideoError: they differ, or cannot be read.
        DataError, UsageError, StoreError, MissingDependencyError: as `open_member`.
    """
    found = find_member(source)
    if found is None or found[1].shard is None:
        return
    pack, member = found
    shard = pack.shard_path(cast(int, member.shard))
    digest, done = hashlib.sha256(), 0
    try:
        while done < member.size:
            part = read_part(shard, member.offset + done, min(_PART_BYTES, member.size - done))
            if not part:
                break
            digest.update(part)
            done += len(part)
    except OSError as error:
        raise VideoError(source, f"its shard {shard!r} cannot be read: {error.strerror or error}") from error
    reason = _difference(member, done, digest.hexdigest(), shard)
    if reason:
        raise VideoError(source, reason)


def _difference(member: Member, found: int, digest: str, shard: str) -> str | None:
    """Why bytes from a shard are not those of the video; None: they are."""
    if found < member.size:
        return f"its shard {shard!r} is truncated: {found:,} of {member.size:,} bytes are left"
    if digest != member.sha256:
        return f"its bytes in the shard {shard!r} have changed since it was packed: copy the shard again"
    return None

"""What is refused before a decoder sees it: special files, playlists, and images that would lose frames."""

from __future__ import annotations

import itertools
import re
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO

import av

from hidden_two_stream.video.limits import frame_too_large

__all__ = ["OPENED_FORMATS", "PACKED_FORMATS", "PLAYLIST", "refused_content", "special_file"]

_PLAYLIST_FORMATS = frozenset(("concat", "dash", "hls", "imf", "rtsp", "sdp", "webm_dash_manifest"))

OPENED_FORMATS = ",".join(sorted(av.formats_available - _PLAYLIST_FORMATS))
"""Formats of local files that FFmpeg may open: all but lists of other files."""

_FORMATS_BY_NAME = frozenset(("avisynth", "image2", "lavfi", "vapoursynth", "vobsub"))

PACKED_FORMATS = ",".join(sorted(av.formats_available - _PLAYLIST_FORMATS - _FORMATS_BY_NAME))
"""Formats of packed files: of the above, those that do not open a file by its name."""

PLAYLIST = "it is a list of other videos (a playlist), not a video: name the videos themselves"

_PLAYLIST_HEAD = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:ffconcat version|#EXTM3U|\[playlist\]|v=0\r?\n"
    rb"|(?:<\?xml[^>]*>\s*)?<(?:MPD|asx|smil)\b)",
    re.IGNORECASE,
)
_HEAD_BYTES = 1024
_NETPBM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d{1,10})\s+(?:#[^\n]*\n\s*)*(\d{1,10})")
_Y4M = re.compile(rb"YUV4MPEG2 (?:[^\nW][^\n ]* )*W(\d{1,10}) (?:[^\nH][^\n ]* )*H(\d{1,10})")
_SEVERAL_PAGES = (
    "it is a TIFF of several pages, and only the first can be decoded: save each page as an image of its own"
)
_ANIMATED_WEBP = (
    "it is an animated WebP, which FFmpeg cannot decode: convert it to a GIF or a video, or save each of its "
    "frames as an image"
)
_BIG_TIFF = "it is a BigTIFF, which FFmpeg cannot decode: save it as a plain TIFF or a PNG"

_KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a terminal or another device",
    stat.S_ISBLK: "a device",
}


def special_file(mode: int) -> str | None:
    """Why a file of this `st_mode` cannot be read as one; None: it is a regular file or a folder."""
    kind = next((name for is_kind, name in _KINDS.items() if is_kind(mode)), None)
    return kind and f"it is {kind}, not a file: write its data to a file, and name that"


def refused_content(file: BinaryIO) -> str | None:
    """Why the content of an open file is neither a video nor one image; None: it may be."""
    head = file.read(_HEAD_BYTES)
    if _PLAYLIST_HEAD.match(head):
        return PLAYLIST
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and head[20] & 2:
        return _ANIMATED_WEBP
    if head[:4] in (b"II+\0", b"MM\0+"):
        return _BIG_TIFF
    if head[:4] in (b"II*\0", b"MM\0*") and len(list(itertools.islice(_tiff_pages(file), 2))) == 2:
        return _SEVERAL_PAGES
    return _uncompressed_too_large(head)


def _tiff_pages(file: BinaryIO) -> Iterator[int]:
    """Yield the offset of each page of a TIFF, but not of smaller copies of a page such as thumbnails."""
    file.seek(0)
    order = "<" if file.read(4)[:2] == b"II" else ">"
    seen = {0}
    try:
        (offset,) = struct.unpack(order + "I", file.read(4))
        while offset not in seen:
            seen.add(offset)
            file.seek(offset)
            (count,) = struct.unpack(order + "H", file.read(2))
            tags = [struct.unpack(order + "HHI4s", file.read(12)) for _ in range(count)]
            (following,) = struct.unpack(order + "I", file.read(4))
            if not any(_marks_copy(order, *tag) for tag in tags):
                yield offset
            offset = following
    except struct.error:  # a damaged file: the decoder gives the reason
        return


def _marks_copy(order: str, tag: int, kind: int, count: int, value: bytes) -> bool:
    """Whether a tag says that its page is a smaller copy of another one, or a mask for it."""
    if (tag, count) == (254, 1):  # NewSubfileType: bit 0 is a smaller copy, bit 2 is a mask
        (number,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), value)
        return bool(number & 5)
    return False


def _uncompressed_too_large(head: bytes) -> str | None:
    """Check the size in the header of kinds for which FFmpeg does not say that it was too large."""
    if head[:2] == b"BM" and len(head) >= 26:
        width, height = struct.unpack("<2i", head[18:26])
        return frame_too_large(abs(height), abs(width))
    named = _NETPBM.match(head) or _Y4M.match(head)
    return frame_too_large(int(named[2]), int(named[1])) if named else None

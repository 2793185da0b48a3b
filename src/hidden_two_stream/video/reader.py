"""Reads frames from a video file, a URL, a folder of frame images, or an array, all in the same way.

A file in an object store (s3://, gs://, …) is copied to this machine while its reader is open.

Rules for every source:

- Frames are counted and returned in the decoder's output order. Time stamps don't sort or drop frames, and
  the frame count in a file's header is not used: in real recordings both can be wrong.
- Frames are turned and mirrored as the metadata says (a display matrix, or EXIF in images). The sample
  aspect ratio is ignored: a frame has the rows and columns that are stored. If a later frame has another
  size, it is scaled to the first frame's size.
- A video ends at the first frame that cannot be decoded or that the decoder marks as damaged, because the
  decoder invents what follows; `warning` reports this. Damaged frames at the very beginning are kept, since
  recordings that were cut often begin with them; `warning` reports their number. `warning` also reports
  frames that a container or a decoder lost without an error (`hidden_two_stream.video.sources.losses`).
- Of several video tracks, the default one is read, else the largest; never a cover image or a preview.
- 16-bit gray and RGB images that hold 8 to 14 bits are brightened, all frames of a video alike, and `warning`
  says so.
- Frames of more than `limits.MAX_FRAME_PIXELS` are refused before memory is taken for them. Refused are also
  playlists in local files, animated WebP, TIFF of several pages, and special files such as sockets.
- Every frame has a time in seconds. The first frame of the source is at 0, and times increase strictly. In a
  file, the time is the presentation time; `hidden_two_stream.video.times` gives the rule for files where that
  is missing or runs backward, and `warning` and `times_repaired` report such files. Arrays and
  folders of images have no times of their own: frame i is at i / `FALLBACK_FPS`.
- Decoding uses one thread. With more, the pixels of damaged files differ from run to run and the decoder
  misses damage. To use more cores, read several videos in several worker processes.
"""

from __future__ import annotations

import itertools
import math
import operator
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.object_store import copy_file, is_stored, local_path
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Frame, LazyFrame, RawClip, validate_clip
from hidden_two_stream.video.finding import is_url
from hidden_two_stream.video.shards.addresses import is_packed
from hidden_two_stream.video.shards.opening import MemberFile, open_member
from hidden_two_stream.video.sources.array import ArraySource
from hidden_two_stream.video.sources.base import FrameSource
from hidden_two_stream.video.sources.ffmpeg import failure_reason
from hidden_two_stream.video.sources.file import FileSource
from hidden_two_stream.video.sources.folder import FolderSource
from hidden_two_stream.video.sources.pipe import SILENT_PIPE, open_pipe
from hidden_two_stream.video.sources.refused import refused_content, special_file
from hidden_two_stream.video.sources.stored import PathFile

__all__ = ["Source", "VideoInfo", "VideoReader", "probe", "read_video", "source_name"]

_Frame = TypeVar("_Frame", Frame, LazyFrame)

Source = str | os.PathLike[str] | npt.NDArray[Any]
"""A video file, a packed video, a URL, a folder of frame images, or a (T, H, W, 3) uint8 array."""


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video, found by decoding it.

    Attributes:
        num_frames: number of decoded frames.
        height: rows of a frame, as shown.
        width: columns of a frame, as shown.
        fps: mean frames per second; None: unknown.
        warning: what is wrong with the video, for example that it ended early; None: nothing.
    """

    num_frames: int
    height: int
    width: int
    fps: float | None
    warning: str | None


class VideoReader:
    """Reads the frames of one source, in order or at chosen indices. A context manager.

    The constructor decodes the first frame, so an unreadable source fails at once. A reader cannot be passed
    to another process: open it in the process that reads.

    In files where seeking is exact, `frames` and `read` skip to the keyframe before the first wanted frame.
    They then don't notice damage before that keyframe. Indices below `count_frames()` give the same pixels
    with and without seeking.

    Raises:
        UsageError: there is nothing at the path, or the source has the wrong type or shape.
        VideoError: the source cannot be read; the reason is one line.
    """

    def __init__(self, source: Source) -> None:
        self._copy = _copied(source)
        try:
            self._source = _open_source(source) if self._copy is None else _open_copy(source, self._copy)
        except BaseException:
            self._delete_copy()
            raise
        self._passes: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        self._closed = False

    @property
    def fps(self) -> float | None:
        """Mean frames per second; None for arrays, folders, and files without a rate."""
        return self._source.fps

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every frame, as shown."""
        return self._source.size

    @property
    def is_timed(self) -> bool:
        """Whether the frames have presentation times; arrays and folders of images have none."""
        return self._source.is_timed

    @property
    def times_repaired(self) -> bool:
        """Whether missing or backward time stamps were replaced in the part that was decoded so far.

        Always False for arrays and folders of images.
        """
        return self._source.times_repaired

    @property
    def expected_frames(self) -> int | None:
        """Number of frames that the source announces, which can be wrong.

        None: it does not say, or it cannot be read twice, as a stream.
        """
        return self._source.expected_frames

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""
        return self._source.warning

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Iterate over the frames in [start, stop), with their times; `stop` None: to the end.

        Memory does not grow with the length of the video. Indices past the end give no frames.

        Raises:
            UsageError: `start` is negative, `stop` is less than `start`, or the reader is closed.
        """
        if start < 0 or (stop is not None and stop < start):
            raise UsageError(f"frames {start} to {stop} were requested; expected 0 <= start <= stop")
        return self._select(itertools.count(start) if stop is None else range(start, stop))

    def scan(self) -> Iterator[LazyFrame]:
        """Iterate over all frames as `frames` does, but convert an image only when it is asked for.

        Raises:
            UsageError: the reader is closed.
        """
        self._require_open()
        return self._register(self._source.scan())

    def frames_between(self, start_seconds: float, end_seconds: float = math.inf) -> Iterator[Frame]:
        """Iterate over the frames that are shown in [start_seconds, end_seconds).

        The iterator ends where the time stamps prove unusable, perhaps after some frames: if `times_repaired`
        is True then, choose frames by their numbers instead. To find out, it decodes a file in which seeking
        is not exact to its end.

        Raises:
            UsageError: the reader is closed.
        """
        self._require_open()
        return self._register(self._source.between(start_seconds, end_seconds))

    def number_at(self, seconds: float) -> int | None:
        """Return the number of the frame that is on screen at a time; None: the video is over then.

        Raises:
            UsageError: the reader is closed.
        """
        self._require_open()
        return self._source.number_at(seconds)

    def read(self, indices: Sequence[int]) -> RawClip:
        """Return the images at `indices`, (len(indices), H, W, 3) uint8.

        Args:
            indices: frame numbers from 0, in any order; they may repeat.

        Raises:
            UsageError: an index is negative, or the reader is closed.
            VideoError: an index is past the end; the message gives the number of frames.
        """
        places: dict[int, list[int]] = {}
        for place, index in enumerate(map(operator.index, indices)):
            if index < 0:
                raise UsageError(f"frame {index} was requested; expected an index of 0 or more")
            places.setdefault(index, []).append(place)
        clip = np.empty((len(indices), *self.size, 3), np.uint8)
        for frame in self.select(sorted(places)):
            clip[places[frame.index]] = frame.image
        return clip

    def select(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Iterate over the frames at `indices`, in one pass.

        Args:
            indices: frame numbers from 0, ascending, each once.

        Raises:
            UsageError: the indices do not ascend from 0 on, or the reader is closed.
            VideoError: an index is past the end; the message gives the number of frames.
        """
        if any(index <= before for index, before in zip(indices, (-1, *indices), strict=False)):
            raise UsageError("frames were requested out of order; expected ascending indices from 0 on")
        found = -1
        for found, frame in enumerate(self._select(indices)):  # noqa: B007
            yield frame
        if found + 1 < len(indices):
            raise VideoError(self._source.name, self._past_the_end(indices[found + 1]))

    def count_frames(self) -> int:
        """The exact number of frames. Decodes the whole source once per reader, in constant memory."""
        self._require_open()
        return self._source.count()

    def close(self) -> None:
        """Close the source and end the running iterators of `frames`."""
        self._closed = True
        for running in list(self._passes):
            running.close()
        self._source.close()
        self._delete_copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _delete_copy(self) -> None:
        if self._copy is not None:
            self._copy.delete()

    def _select(self, wanted: Iterable[int]) -> Iterator[Frame]:
        self._require_open()
        return self._register(self._source.select(wanted))

    def _register(self, selected: Generator[_Frame, None, None]) -> Iterator[_Frame]:
        """Remember a running iterator, so that `close` can end it."""
        self._passes.add(selected)
        return selected

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError(f"the reader of {self._source.name!r} is closed; open a new VideoReader")

    def _past_the_end(self, index: int) -> str:
        reason = f"frame {index} was requested, but it has {number_of(self.count_frames(), 'frame')}"
        return f"{reason} ({self.warning})" if self.warning else reason


def source_name(source: Source) -> str:
    """How messages name a source: its path or URL, or "array"."""
    return ArraySource.name if isinstance(source, np.ndarray) else os.fspath(source)


def probe(source: Source) -> VideoInfo:
    """Decode a whole source, in constant memory, and return facts about it.

    Raises:
        UsageError, VideoError: as `VideoReader`.
    """
    with VideoReader(source) as reader:
        return VideoInfo(reader.count_frames(), *reader.size, reader.fps, reader.warning)


def read_video(source: Source, max_frames: int | None = None) -> tuple[RawClip, VideoInfo]:
    """Read a whole source, or its first `max_frames` frames, into a (T, H, W, 3) uint8 array.

    In the returned info, `num_frames` is T and `warning` covers the part that was read.

    Raises:
        UsageError, VideoError: as `VideoReader`; also UsageError for `max_frames` below 1.
    """
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"max_frames is {max_frames}; expected 1 or more, or None for all frames")
    with VideoReader(source) as reader:
        clip = np.stack([frame.image for frame in reader.frames(0, max_frames)])
        return clip, VideoInfo(len(clip), *reader.size, reader.fps, reader.warning)


def _open_source(source: Source) -> FrameSource:
    """Open `source` as the kind of source that it is."""
    if isinstance(source, np.ndarray):
        return ArraySource(validate_clip(source))
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"got a video source of type {type(source).__name__}; expected a path, a URL or a "
            "(T, H, W, 3) uint8 array"
        )
    name = os.fspath(source)
    if (packed := open_member(name)) is not None:
        return _open_packed(name, packed)
    if is_stored(name) and (path := local_path(name)) is not None:
        return _open_path(str(path), path)
    if is_url(name):
        return FileSource(name, name, None)
    return _open_path(name, Path(name))


def _open_packed(name: str, packed: MemberFile) -> FileSource:
    with packed.open() as file:
        reason = refused_content(file) if packed.size else "the file is empty (0 bytes)"
    if reason:
        raise VideoError(name, reason)
    return FileSource(name, "", packed)


class _Copy:
    """A copy of a file in a store, in a folder of its own; deleted with the reader at the latest."""

    def __init__(self, address: str) -> None:
        folder = tempfile.mkdtemp(prefix="hts-")
        self.delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder) / "video"
        try:
            copy_file(address, self.path)
        except BaseException:
            self.delete()
            raise


def _copied(source: Source) -> _Copy | None:
    """Copy a video that lies in a store, as seeking there is slow; None: it does not, or is near or packed.

    Raises:
        UsageError, MissingDependencyError, StoreError, OutputError: as `object_store.copy_file`.
    """
    name = "" if isinstance(source, np.ndarray) else str(source)
    is_far = is_stored(name) and local_path(name) is None and not is_packed(name)
    return _Copy(name) if is_far else None


def _open_copy(source: Source, copy: _Copy) -> FrameSource:
    name = source_name(source)
    reason = _refused_file(copy.path)
    if reason:
        raise VideoError(name, reason)
    return FileSource(name, f"file:{copy.path}", PathFile(copy.path))


def _open_path(name: str, path: Path) -> FrameSource:
    if not name or not os.path.lexists(name):
        raise UsageError(
            f"nothing found at {name!r}; expected a video file, a folder of frame images or a URL: "
            "check the path"
        )
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(path)
        if stat.S_ISFIFO(mode):
            return _open_pipe(name)
        reason = special_file(mode) or _refused_file(path)
    except OSError as error:
        if path.is_symlink():
            raise VideoError(
                name, f"it is a link to {os.readlink(name)!r}: {failure_reason(error)}"
            ) from error
        raise VideoError(name, failure_reason(error)) from error
    if reason:
        raise VideoError(name, reason)
    # Without this prefix, FFmpeg reads the part of a file name before a colon as a protocol.
    return FileSource(name, f"file:{name}", PathFile(path))


def _open_pipe(name: str) -> FrameSource:
    with open_pipe(name) as descriptor:
        if descriptor is None:
            raise VideoError(name, SILENT_PIPE)
        return FileSource(name, f"pipe:{descriptor}", None)


def _refused_file(path: Path) -> str | None:
    if not path.stat().st_size:
        return "the file is empty (0 bytes)"
    with open(path, "rb") as file:
        return refused_content(file)

"""Reading frames: a video file, a URL, a folder of frame images and an array are equal citizens.

Rules that hold for every source:

- Frames count and come in the order in which the decoder puts them out. Presentation times are never used to
  sort or to drop frames, and headers are never trusted for the count: real recordings have both wrong.
- Rotation in the metadata is applied. The shape of the pixels (sample aspect ratio) is ignored: a frame has
  the rows and columns that were stored. A later frame of another size is scaled to the first frame's size.
- A video ends at its first frame that cannot be decoded or that the decoder marks as damaged, and `warning`
  says so: what a decoder delivers after damage is made up. Marked frames before any good one are kept, since
  recordings that were cut begin so; `warning` names them.
- Every frame has a time in seconds. The first frame of the source is at 0, and times increase strictly. In a
  file, the time is the presentation time; `hidden_two_stream.video.times` gives the rule for files where that
  is missing or runs backward, and `times_repaired` reports such files. Arrays and folders of images have no
  times of their own: frame i is at i / `FALLBACK_FPS`.
- Decoding uses one thread. More threads make the pixels of damaged files differ from run to run, and hide
  damage from the decoder; several videos are read at a time by several workers instead.
"""

from __future__ import annotations

import itertools
import operator
import os
import re
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.types import Frame, RawClip, validate_clip
from hidden_two_stream.video.decoding import _Array, _frames, _reason, _VideoFile
from hidden_two_stream.video.finding import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    _ImageFolder,
    find_videos,
    is_frame_folder,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Source",
    "VideoInfo",
    "VideoReader",
    "find_videos",
    "is_frame_folder",
    "probe",
    "read_video",
]

Source = str | os.PathLike[str] | npt.NDArray[Any]
"""A video file, a URL, a folder of frame images, or a (T, H, W, 3) uint8 array."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class VideoInfo:
    """What reading a video showed.

    Attributes:
        num_frames: frames that were decoded.
        height: rows of a frame, after rotation.
        width: columns of a frame, after rotation.
        fps: mean frames per second, None where the source does not say.
        warning: why the video ended early or what else is wrong with it; None if all is well.
    """

    num_frames: int
    height: int
    width: int
    fps: float | None
    warning: str | None


class _Backend(Protocol):
    """What each kind of source offers to `VideoReader`."""

    name: str
    fps: float | None
    size: tuple[int, int]

    times_repaired: bool

    @property
    def warning(self) -> str | None: ...

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """The frames of ascending indices; ends where the source ends."""

    def count(self) -> int:
        """The exact number of frames, by decoding all of them."""

    def close(self) -> None: ...


class VideoReader:
    """Frames of one source, in order or at chosen indices. A context manager.

    Open it in the worker that reads: it does not travel between processes.

    The constructor decodes the first frame, so that a source that cannot be read fails at once.

    `frames` and `read` skip ahead to a keyframe where the file is regular enough to do so exactly, and then
    do not see damage that lies before it. Indices below `count_frames()` give the same pixels either way.

    Raises:
        UsageError: there is nothing at the path, or the source is of another type or shape.
        VideoError: the source cannot be read; the reason is one line.
    """

    def __init__(self, source: Source) -> None:
        self._backend = _open_backend(source)
        self._passes: weakref.WeakSet[Generator[Frame, None, None]] = weakref.WeakSet()
        self._closed = False

    @property
    def fps(self) -> float | None:
        """Mean frames per second; None for arrays, folders and files that do not say."""
        return self._backend.fps

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every frame, after rotation."""
        return self._backend.size

    @property
    def times_repaired(self) -> bool:
        """Whether missing or backward time stamps were replaced in the part that was decoded so far.

        Always False for arrays and folders of images.
        """
        return self._backend.times_repaired

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None if nothing was."""
        return self._backend.warning

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """The frames from `start` up to, but not including, `stop` (None: to the end), with their times.

        Memory does not grow with the length of the video. A range past the end gives what there is.

        Raises:
            UsageError: `start` is negative, `stop` lies before it, or the reader is closed.
        """
        if start < 0 or (stop is not None and stop < start):
            raise UsageError(f"frames {start} to {stop} asked for; expected 0 <= start <= stop")
        return self._select(itertools.count(start) if stop is None else range(start, stop))

    def read(self, indices: Sequence[int]) -> RawClip:
        """The frames at `indices`, in any order and with repeats: (len(indices), H, W, 3) uint8.

        Raises:
            UsageError: an index is negative, or the reader is closed.
            VideoError: an index lies past the end; the message says how many frames there are.
        """
        places: dict[int, list[int]] = {}
        for place, index in enumerate(map(operator.index, indices)):
            if index < 0:
                raise UsageError(f"frame {index} asked for; expected an index of 0 or more")
            places.setdefault(index, []).append(place)
        clip = np.empty((len(indices), *self.size, 3), np.uint8)
        wanted = sorted(places)
        found = 0
        for frame in self._select(wanted):
            clip[places[wanted[found]]] = frame.image
            found += 1
        if found < len(wanted):
            raise VideoError(self._backend.name, self._past_the_end(wanted[found]))
        return clip

    def count_frames(self) -> int:
        """The exact number of frames: decodes the whole source, in constant memory, once per reader."""
        self._require_open()
        return self._backend.count()

    def close(self) -> None:
        """Close the source; running iterators of `frames` end."""
        self._closed = True
        for running in list(self._passes):
            running.close()
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _select(self, wanted: Iterable[int]) -> Iterator[Frame]:
        self._require_open()
        selected = self._backend.select(wanted)
        self._passes.add(selected)
        return selected

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError(f"the reader of {self._backend.name!r} is closed; open a new VideoReader")

    def _past_the_end(self, index: int) -> str:
        reason = f"frame {index} was asked for, but it has {_frames(self.count_frames())}"
        return f"{reason} ({self.warning})" if self.warning else reason


def probe(source: Source) -> VideoInfo:
    """Decode all of a source, in constant memory, and say what is in it.

    Raises:
        UsageError, VideoError: as `VideoReader`.
    """
    with VideoReader(source) as reader:
        return VideoInfo(reader.count_frames(), *reader.size, reader.fps, reader.warning)


def read_video(source: Source, max_frames: int | None = None) -> tuple[RawClip, VideoInfo]:
    """Read a whole source, or its first `max_frames` frames, into a (T, H, W, 3) uint8 array.

    `num_frames` of the info is T; `warning` is about what was read.

    Raises:
        UsageError, VideoError: as `VideoReader`; also UsageError for `max_frames` below 1.
    """
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"max_frames is {max_frames}; expected 1 or more, or None for all frames")
    with VideoReader(source) as reader:
        clip = np.stack([frame.image for frame in reader.frames(0, max_frames)])
        return clip, VideoInfo(len(clip), *reader.size, reader.fps, reader.warning)


def _open_backend(source: Source) -> _Backend:
    """Tell what kind of source it is, and open it."""
    if isinstance(source, np.ndarray):
        return _Array(validate_clip(source))
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"a video source of type {type(source).__name__} was given; expected a path, a URL or a "
            "(T, H, W, 3) uint8 array"
        )
    name = os.fspath(source)
    if _URL.match(name):
        return _VideoFile(name, name, local=False)
    path = Path(name)
    try:
        if not name or not path.exists():
            raise UsageError(
                f"nothing found at {name!r}; expected a video file, a folder of frame images or a URL: "
                "check the path"
            )
        if path.is_dir():
            return _ImageFolder(path)
        if path.is_file() and not path.stat().st_size:
            raise VideoError(name, "the file is empty (0 bytes)")
    except OSError as error:
        raise VideoError(name, _reason(error)) from error
    # Without the prefix FFmpeg takes what stands before a colon in a name for a protocol.
    return _VideoFile(name, f"file:{name}", local=path.is_file())

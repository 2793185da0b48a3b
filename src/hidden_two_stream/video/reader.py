"""Reading frames: a video file, a URL, a folder of frame images and an array are equal citizens.

Rules that hold for every source:

- Frames count and come in the order in which the decoder puts them out. Presentation times are never used to
  sort or to drop frames, and headers are never trusted for the count: real recordings have both wrong.
- Rotation in the metadata is applied. The shape of the pixels (sample aspect ratio) is ignored: a frame has
  the rows and columns that were stored. A later frame of another size is scaled to the first frame's size.
- A video ends at its first frame that cannot be decoded or that the decoder marks as damaged, and `warning`
  says so: what a decoder delivers after damage is made up. Marked frames before any good one are kept, since
  recordings that were cut begin so; `warning` names them.
- Decoding uses one thread. More threads make the pixels of damaged files differ from run to run, and hide
  damage from the decoder; several videos are read at a time by several workers instead.
"""

from __future__ import annotations

import io
import itertools
import operator
import os
import re
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.types import RawClip, validate_clip

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

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_Numbered = tuple[int, VideoFrame]
"""A frame and its place in the video, from 0."""
_Decoded = Generator[_Numbered, None, None]

VIDEO_SUFFIXES = frozenset(
    f".{kind}"
    for kind in "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv".split()  # noqa: SIM905
)
IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp"))

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_URL_TIMEOUT_SECONDS = 30.0

# Where a sample of the file is one frame and carries a presentation time that the decoder hands on. AVI has
# no such times, and a packet of MPEG-4 part 2 or VP8 may hold no frame at all.
_SEEKABLE_FORMATS = ("mov", "matroska")
_SEEKABLE_CODECS = ("h264", "hevc", "vp9", "av1", "mjpeg")
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE: no packets of single fields

# Decoding on for fewer frames than this costs no more than opening the file again and seeking.
_SEEK_GAIN = 32


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

    @property
    def warning(self) -> str | None: ...

    def select(self, wanted: Iterable[int]) -> Generator[Image, None, None]:
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
        self._passes: weakref.WeakSet[Generator[Image, None, None]] = weakref.WeakSet()
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
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None if nothing was."""
        return self._backend.warning

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """The frames from `start` up to, but not including, `stop` (None: to the end), (H, W, 3) uint8 each.

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
        for image in self._select(wanted):
            clip[places[wanted[found]]] = image
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

    def _select(self, wanted: Iterable[int]) -> Iterator[Image]:
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
        clip = np.stack(list(reader.frames(0, max_frames)))
        return clip, VideoInfo(len(clip), *reader.size, reader.fps, reader.warning)


def find_videos(folder: Path) -> list[Path]:
    """All video files below `folder`, sorted; hidden files and folders are left out, links are followed.

    Raises:
        UsageError: `folder` is not a folder.
        OSError: a folder in it may not be listed, since its videos must not be missed in silence.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder at {str(folder)!r}; expected a folder that holds videos: check the path")
    return sorted(_walk_videos(folder), key=lambda path: path.as_posix())


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is one video as a folder of images: images directly in it, and no videos below it."""
    folder = Path(path)
    return folder.is_dir() and bool(_frame_images(folder)) and next(_walk_videos(folder), None) is None


def _walk_videos(folder: Path) -> Iterator[Path]:
    visited = set()

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        visited.add(os.path.realpath(parent))
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(parent, name)) not in visited
        ]
        for name in files:
            if name[0] != "." and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES:
                yield Path(parent, name)


def _frame_images(folder: Path) -> list[Path]:
    """The images directly in `folder` in natural order: frame_2 before frame_10."""
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]


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


class _Array:
    """Frames that are decoded already."""

    fps: float | None = None
    warning: str | None = None

    def __init__(self, clip: RawClip) -> None:
        self.name = "array"
        self.size = (clip.shape[1], clip.shape[2])
        self._clip = clip

    def select(self, wanted: Iterable[int]) -> Generator[Image, None, None]:
        for index in wanted:
            if index >= len(self._clip):
                return
            yield self._clip[index]

    def count(self) -> int:
        return len(self._clip)

    def close(self) -> None:
        """Nothing to close."""


class _ImageFolder:
    """One image file per frame."""

    fps: float | None = None

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.warning: str | None = None
        self._paths = _frame_images(folder)
        if next(_walk_videos(folder), None) is not None:
            raise VideoError(folder, "the folder holds videos, so it is not one video: name one of them")
        if not self._paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise VideoError(folder, f"the folder holds neither frame images ({kinds}) nor videos")
        first = _decode_image(self._paths[0])
        self.size = _upright_size(first)
        self._to_rgb = _Converter(self.size)
        self._count = len(self._paths)

    def select(self, wanted: Iterable[int]) -> Generator[Image, None, None]:
        for index in wanted:
            if index >= self._count:
                return
            frame = self._frame(index)
            if frame is None:
                return
            yield self._to_rgb(frame)

    def count(self) -> int:
        for index in range(self._count):
            if self._frame(index) is None:
                break
        return self._count

    def close(self) -> None:
        """Nothing to close: each image is closed once it is read."""

    def _frame(self, index: int) -> VideoFrame | None:
        try:
            return _decode_image(self._paths[index])
        except VideoError as error:
            self._count = index
            self.warning = (
                f"decoding stopped after {_frames(index)}: {self._paths[index].name}: {error.reason}"
            )
            return None


class _VideoFile:
    """A file or stream that FFmpeg opens."""

    def __init__(self, name: str, address: str, *, local: bool) -> None:
        self.name = name
        self.fps: float | None = None
        self._address = address
        self._count: int | None = None
        self._damaged_first = 0
        self._stopped: str | None = None
        self._table: _SeekTable | None = None
        self._table_is_due = local
        # The decoder that opened the source goes on with the first pass: a live stream has no second start.
        self._begun: _Decoded | None = self._decode_all()
        self._first = next(self._begun)
        self.size = _upright_size(self._first[1])
        self._to_rgb = _Converter(self.size)

    @property
    def warning(self) -> str | None:
        if not self._damaged_first:
            return self._stopped
        damaged = f"the decoder marks the first {_frames(self._damaged_first)} as damaged"
        return f"{self._stopped}; {damaged}" if self._stopped else damaged

    def select(self, wanted: Iterable[int]) -> Generator[Image, None, None]:
        reached = -1
        decoded = None
        try:
            for index in wanted:
                if self._count is not None and index >= self._count:
                    return
                key = self._keyframe_before(index) if index - reached > _SEEK_GAIN else 0
                if decoded is None or key - reached > _SEEK_GAIN:
                    if decoded is not None:
                        decoded.close()
                    decoded = self._decode(key)
                frame = next((frame for number, frame in decoded if number == index), None)
                if frame is None:
                    return
                reached = index
                yield self._to_rgb(frame)
        finally:
            if decoded is not None:
                decoded.close()

    def count(self) -> int:
        while self._count is None:
            for _ in self._decode(0):
                pass
        return self._count

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()

    def _keyframe_before(self, index: int) -> int:
        """The keyframe from which to decode frame `index`; 0 where only decoding from the start is exact."""
        if self._table_is_due:
            self._table_is_due = False
            with self._open() as container:
                self._table = _seek_table(container, self._video_stream(container))
        if self._table is None or self._count not in (None, len(self._table.pts)):
            return 0
        return self._table.keyframe_before(index)

    def _decode(self, first: int) -> _Decoded:
        """Frames from `first`, 0 or a keyframe, on; on trouble there, frames from 0 on take over."""
        if first and self._table is not None:
            is_exact = yield from self._decode_from_keyframe(first, self._table)
            if is_exact:
                return
            self._table = None
        yield from self._begin()

    def _decode_from_keyframe(self, first: int, table: _SeekTable) -> Generator[_Numbered, None, bool]:
        """Frames from the keyframe `first` on; returns whether all, to the end, agreed with `table`."""
        number = first
        with self._open() as container:
            stream = self._video_stream(container)
            try:
                container.seek(table.pts[first], stream=stream)
                stream.codec_context.reorder_depth = table.reorder_depth  # seeking may reset it
                for frame in container.decode(stream):
                    if number == first and frame.pts is not None and frame.pts < table.pts[first]:
                        continue
                    if not table.agrees(number, frame) or (number == first and not frame.key_frame):
                        return False
                    yield number, frame
                    number += 1
            except av.FFmpegError:
                return False  # decoding from the start meets the damage again, and reports it
        return number == len(table.pts)

    def _begin(self) -> _Decoded:
        """All frames from the start; the first pass takes over the decoder that the constructor started."""
        begun, self._begun = self._begun, None
        if begun is None:
            yield from self._decode_all()
        else:
            yield self._first
            yield from begun

    def _decode_all(self) -> _Decoded:
        """Every frame in the decoder's order. The one place that ends a video early and that counts."""
        number = 0
        damaged_first = 0
        reason = None
        with self._open() as container:
            stream = self._video_stream(container)
            self.fps = float(stream.average_rate) if stream.average_rate else None
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt and damaged_first < number:
                        reason = "the decoder marks the next frame as damaged"
                        break
                    if frame.is_corrupt:
                        damaged_first += 1
                        self._damaged_first = max(damaged_first, self._damaged_first)
                    yield number, frame
                    number += 1
            except av.FFmpegError as error:
                reason = _reason(error)
        if not number:
            raise VideoError(self.name, reason or "it has a video track, but no frame in it")
        if reason:
            self._stopped = f"decoding stopped after {_frames(number)}: {reason}"
        self._count = number

    def _open(self) -> InputContainer:
        timeout = None if self._address.startswith("file:") else _URL_TIMEOUT_SECONDS
        try:
            return av.open(self._address, "r", metadata_errors="replace", timeout=timeout)
        except UnicodeError as error:
            raise VideoError(self.name, "its name is not valid text; rename the file") from error
        except av.InvalidDataError as error:
            raise VideoError(self.name, "it is not a video, or its beginning is damaged") from error
        except (av.FFmpegError, OSError) as error:
            raise VideoError(self.name, _reason(error)) from error

    def _video_stream(self, container: InputContainer) -> VideoStream:
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # a song's cover is no video
                if getattr(stream, "codec_context", None) is None:
                    raise VideoError(self.name, "there is no decoder for its codec: convert it, to H.264 say")
                stream.codec_context.thread_type = ThreadType.NONE
                stream.codec_context.thread_count = 1
                return stream
        sound = bool(container.streams.audio)
        raise VideoError(self.name, "it holds sound and no video" if sound else "it holds no video")


@dataclass(frozen=True)
class _SeekTable:
    """What is needed to reach a frame from a keyframe, in the order of presentation.

    Attributes:
        pts: presentation time of every frame, ascending.
        keyframes: numbers of the keyframes, ascending; the first is 0.
        reorder_depth: frames that the decoder holds back to put them in order.
    """

    pts: array[int]
    keyframes: array[int]
    reorder_depth: int

    def keyframe_before(self, index: int) -> int:
        if index >= len(self.pts):
            return 0
        return self.keyframes[bisect_right(self.keyframes, index) - 1]

    def agrees(self, number: int, frame: VideoFrame) -> bool:
        return number < len(self.pts) and frame.pts == self.pts[number] and not frame.is_corrupt


def _seek_table(container: InputContainer, stream: VideoStream) -> _SeekTable | None:
    """Pass over the packets, without decoding; None if the file is of a kind where seeking may be inexact."""
    context = stream.codec_context
    formats = container.format.name.split(",")
    if not set(formats) & set(_SEEKABLE_FORMATS) or stream.codec.canonical_name not in _SEEKABLE_CODECS:
        return None
    times, are_keys = array("q"), array("b")
    try:
        for packet in container.demux(stream):
            if packet.pts is None and packet.dts is None and not packet.size:
                continue  # PyAV's mark of the end
            if packet.pts is None or not packet.size or packet.is_corrupt or packet.is_discard:
                return None
            times.append(packet.pts)
            are_keys.append(packet.is_keyframe)
    except av.FFmpegError:
        return None
    order = sorted(range(len(times)), key=times.__getitem__)
    pts = array("q", (times[i] for i in order))
    depth = max((decoded - shown for shown, decoded in enumerate(order)), default=0)
    is_regular = (
        len(set(pts)) == len(pts) > 0
        and order[0] == 0  # frames shown before the first keyframe may be dropped
        and bool(are_keys[0])
        and depth <= context.reorder_depth  # else the decoder drops frames until it has learnt the depth
        and context.field_order in _PROGRESSIVE
    )
    keyframes = array("q", (shown for shown, decoded in enumerate(order) if are_keys[decoded]))
    return _SeekTable(pts, keyframes, context.reorder_depth) if is_regular else None


class _Converter:
    """Decoded frames to upright (H, W, 3) uint8 RGB of one size, the same way on every path."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._height, self._width = size
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame: VideoFrame) -> Image:
        turns = _quarter_turns(frame)
        stored = (self._height, self._width) if turns % 2 else (self._width, self._height)
        rgb = self._reformatter.reformat(frame, *stored, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, turns), dtype=np.uint8)


def _quarter_turns(frame: VideoFrame) -> int:
    """Counterclockwise quarter turns, 0 to 3, that put the frame upright."""
    return round(frame.rotation / 90) % 4


def _upright_size(frame: VideoFrame) -> tuple[int, int]:
    """(height, width) after rotation."""
    return (frame.width, frame.height) if _quarter_turns(frame) % 2 else (frame.height, frame.width)


def _decode_image(path: Path) -> VideoFrame:
    """Decode an image file. It goes through memory, since FFmpeg takes a `%` in a name for a pattern."""
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = ThreadType.NONE
            stream.codec_context.options = {
                "err_detect": "explode"
            }  # else half a JPEG passes for a whole one
            frame = next(container.decode(stream))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, _reason(error)) from error
    except (StopIteration, IndexError) as error:
        raise VideoError(path, "it holds no image") from error
    if frame.is_corrupt:
        raise VideoError(path, "the image is damaged")
    return frame


def _frames(number: int) -> str:
    return "1 frame" if number == 1 else f"{number} frames"


def _reason(error: Exception) -> str:
    """One short line for a person."""
    if isinstance(error, (av.InvalidDataError, av.ExternalError)):
        return "damaged data"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, av.ExitError):
        return f"no answer within {_URL_TIMEOUT_SECONDS:.0f} seconds"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].lower()

"""Back-ends of the reader: an array, and a file or stream that FFmpeg decodes.

The rules they keep are those of `hidden_two_stream.video.reader`, the door to use them through.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hidden_two_stream.errors import VideoError
from hidden_two_stream.types import Frame, RawClip
from hidden_two_stream.video.times import FALLBACK_FPS, FrameClock, stamp_seconds

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_Timed = tuple[int, VideoFrame, float]
"""A frame's number in the video, from 0; the frame; its presentation time, s."""
_Decoded = Generator[_Timed, None, None]

_URL_TIMEOUT_SECONDS = 30.0

# Where a sample of the file is one frame and carries a presentation time that the decoder hands on. AVI has
# no such times, and a packet of MPEG-4 part 2 or VP8 may hold no frame at all.
_SEEKABLE_FORMATS = ("mov", "matroska")
_SEEKABLE_CODECS = ("h264", "hevc", "vp9", "av1", "mjpeg")
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE: no packets of single fields

# Decoding on for fewer frames than this costs no more than opening the file again and seeking.
_SEEK_GAIN = 32


class _Array:
    """Frames that are decoded already."""

    fps: float | None = None
    warning: str | None = None
    times_repaired = False

    def __init__(self, clip: RawClip) -> None:
        self.name = "array"
        self.size = (clip.shape[1], clip.shape[2])
        self._clip = clip

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        for index in wanted:
            if index >= len(self._clip):
                return
            yield Frame(self._clip[index], index, index / FALLBACK_FPS)

    def count(self) -> int:
        return len(self._clip)

    def close(self) -> None:
        """Nothing to close."""


class _VideoFile:
    """A file or stream that FFmpeg opens."""

    def __init__(self, name: str, address: str, *, local: bool) -> None:
        self.name = name
        self.fps: float | None = None
        self.times_repaired = False
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

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
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
                found = next((timed for timed in decoded if timed[0] == index), None)
                if found is None:
                    return
                reached = index
                _, frame, seconds = found
                yield Frame(self._to_rgb(frame), index, seconds)
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
        if self._table is None or self.times_repaired or self._count not in (None, len(self._table.pts)):
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

    def _decode_from_keyframe(self, first: int, table: _SeekTable) -> Generator[_Timed, None, bool]:
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
                    yield number, frame, stamp_seconds(table.pts[number], table.pts[0], table.time_base)
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
            clock = FrameClock(stream.time_base, self.fps)
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt and damaged_first < number:
                        reason = "the decoder marks the next frame as damaged"
                        break
                    if frame.is_corrupt:
                        damaged_first += 1
                        self._damaged_first = max(damaged_first, self._damaged_first)
                    seconds = clock.seconds(frame.pts)
                    self.times_repaired = self.times_repaired or clock.repaired
                    yield number, frame, seconds
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
        pts: presentation time of every frame, ascending, in units of `time_base`.
        time_base: s.
        keyframes: numbers of the keyframes, ascending; the first is 0.
        reorder_depth: frames that the decoder holds back to put them in order.
    """

    pts: array[int]
    time_base: Fraction
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
    time_base = stream.time_base
    if time_base is None:
        return None
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
    return _SeekTable(pts, time_base, keyframes, context.reorder_depth) if is_regular else None


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

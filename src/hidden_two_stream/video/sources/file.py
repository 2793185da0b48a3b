"""A video file or stream that FFmpeg decodes."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Frame
from hidden_two_stream.video.sources.addresses import open_address
from hidden_two_stream.video.sources.ffmpeg import (
    URL_TIMEOUT_SECONDS,
    RGBConverter,
    failure_reason,
    upright_size,
    use_one_thread,
)
from hidden_two_stream.video.sources.seeking import SeekTable, read_seek_table
from hidden_two_stream.video.times import FrameClock

__all__ = ["FileSource"]

_Timed = tuple[int, VideoFrame, float]
"""A frame's number in the video, from 0; the frame; its presentation time, s."""
_Decoded = Generator[_Timed, None, None]

# Decoding on for fewer frames than this costs no more than opening the file again and seeking.
_SEEK_GAIN = 32


class FileSource:
    """The frames of a file or stream.

    Args:
        name: how error messages name it.
        address: what FFmpeg opens, for example "file:a.mp4" or a URL.
        local: whether it is a regular file, in which seeking is cheap.

    Raises:
        VideoError: it cannot be opened, or holds no frame.
    """

    def __init__(self, name: str, address: str, *, local: bool) -> None:
        self.name = name
        self.fps: float | None = None
        self.times_repaired = False
        self._address = address
        self._count: int | None = None
        self._damaged_first = 0
        self._stopped: str | None = None
        self._table: SeekTable | None = None
        self._table_is_due = local
        # The first pass goes on with this decoder: a live stream has no second start.
        self._begun: _Decoded | None = self._decode_all()
        self._first = next(self._begun)
        self.size = upright_size(self._first[1])
        self._to_rgb = RGBConverter(self.size)

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""
        if not self._damaged_first:
            return self._stopped
        damaged = f"the decoder marks the first {number_of(self._damaged_first, 'frame')} as damaged"
        return f"{self._stopped}; {damaged}" if self._stopped else damaged

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end where the video ends."""
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
        """Decode all frames, unless that was done before, and return their exact number."""
        while self._count is None:
            for _ in self._decode(0):
                pass
        return self._count

    def close(self) -> None:
        """Close the decoder that the constructor started; iterators of `select` close their own."""
        if self._begun is not None:
            self._begun.close()

    def _keyframe_before(self, index: int) -> int:
        """Keyframe to decode from for frame `index`; 0 where only decoding from the start is exact."""
        if self._table_is_due:
            self._table_is_due = False
            with self._open() as container:
                self._table = read_seek_table(container, self._video_stream(container))
        if self._table is None or self.times_repaired or self._count not in (None, len(self._table.pts)):
            return 0
        return self._table.keyframe_before(index)

    def _decode(self, first: int) -> _Decoded:
        """Decode from `first`, 0 or a keyframe, on; if that proves inexact, go on with frames from 0 on."""
        if first and self._table is not None:
            is_exact = yield from self._decode_from_keyframe(first, self._table)
            if is_exact:
                return
            self._table = None
        yield from self._begin()

    def _decode_from_keyframe(self, first: int, table: SeekTable) -> Generator[_Timed, None, bool]:
        """Decode from the keyframe `first` on; return whether all frames, to the end, agree with `table`."""
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
                    yield number, frame, table.seconds(number)
                    number += 1
            except av.FFmpegError:
                return False  # decoding from the start meets the damage again, and reports it
        return number == len(table.pts)

    def _begin(self) -> _Decoded:
        """Decode from the start; the first pass takes over the decoder that the constructor started."""
        begun, self._begun = self._begun, None
        if begun is None:
            yield from self._decode_all()
        else:
            yield self._first
            yield from begun

    def _decode_all(self) -> _Decoded:
        """Decode every frame in the decoder's order; end the video at damage, and store the count."""
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
                reason = failure_reason(error)
        if not number:
            raise VideoError(self.name, reason or "it has a video track, but no frame in it")
        if reason:
            self._stopped = f"decoding stopped after {number_of(number, 'frame')}: {reason}"
        self._count = number

    def _open(self) -> InputContainer:
        timeout = None if self._address.startswith("file:") else URL_TIMEOUT_SECONDS
        try:
            with open_address(self._address) as address:
                return av.open(address, "r", metadata_errors="replace", timeout=timeout)
        except UnicodeError as error:
            raise VideoError(self.name, "its name is not valid text; rename the file") from error
        except av.InvalidDataError as error:
            raise VideoError(self.name, "it is not a video, or its beginning is damaged") from error
        except (av.FFmpegError, OSError) as error:
            raise VideoError(self.name, failure_reason(error)) from error

    def _video_stream(self, container: InputContainer) -> VideoStream:
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # the cover image of a song is no video
                if getattr(stream, "codec_context", None) is None:
                    raise VideoError(self.name, "there is no decoder for its codec: convert it, to H.264 say")
                use_one_thread(stream)
                return stream
        sound = bool(container.streams.audio)
        raise VideoError(self.name, "it holds sound and no video" if sound else "it holds no video")

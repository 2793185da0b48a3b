"""A video file or stream that FFmpeg decodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Frame, LazyFrame
from hidden_two_stream.video.limits import animation_too_long, frame_too_large
from hidden_two_stream.video.sources.ffmpeg import RGBConverter, decoding_reason
from hidden_two_stream.video.sources.gray_depth import depth_of, depth_warning, is_deep, used_depth
from hidden_two_stream.video.sources.losses import LossCheck
from hidden_two_stream.video.sources.opening import open_container
from hidden_two_stream.video.sources.pipe import READ_ONCE
from hidden_two_stream.video.sources.seeking import SeekTable, read_seek_table
from hidden_two_stream.video.sources.stored import StoredFile
from hidden_two_stream.video.sources.tracks import choose_track, video_stream
from hidden_two_stream.video.times import FALLBACK_FPS, FrameClock
from hidden_two_stream.watchdog import progressed

__all__ = ["FileSource"]

_Timed = tuple[int, VideoFrame, float]
"""A frame's number in the video, from 0; the frame; its presentation time, s."""
_Decoded = Generator[_Timed, None, None]

_ANIMATIONS = ("gif", "apng")

# Decoding on for fewer frames than this costs no more than opening the file again and seeking.
_SEEK_GAIN = 32


class FileSource:
    """The frames of a file or stream.

    Args:
        name: how error messages name it.
        address: what FFmpeg opens, for example "file:a.mp4", "pipe:3" or a URL; not used for a packed file.
        file: the regular file that this is, in which seeking is cheap; None: it is a stream.

    Raises:
        VideoError: it cannot be opened, or holds no frame.
    """

    is_timed = True

    def __init__(self, name: str, address: str, file: StoredFile | None) -> None:
        self.name = name
        self.fps: float | None = None
        self.times_repaired = False
        self.expected_frames: int | None = None
        self._address = address
        self._file = file
        self._is_opened = False
        self._format = ""
        self._track: int | None = None
        self._count: int | None = None
        self._damaged_first = 0
        self._ending: str | None = None
        self._table: SeekTable | None = None
        self._table_is_due = file is not None
        # The first pass goes on with this decoder: a live stream has no second start.
        self._begun: _Decoded | None = self._decode_all()
        self._first = next(self._begun)
        self._depth = self._used_depth(self._first[1])
        # A stream cannot be read twice, so nobody knows which values follow.
        self._stream_depth = depth_of([self._first[1]]) if file is None else None
        self._to_rgb = RGBConverter(self._first[1], self._depth, is_track=True)
        self.size = self._to_rgb.size
        self._require_short_animation()

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""
        found = [self._ending] if self._ending else []
        if self._damaged_first:
            found.append(f"the decoder marks the first {number_of(self._damaged_first, 'frame')} as damaged")
        if self.times_repaired:
            rate = f"{self.fps or FALLBACK_FPS:.5g} per second"
            found.append(
                f"its time stamps are missing or run backward: frame number / {rate} takes their place"
            )
        if self._depth is not None:
            found.append(depth_warning(self._depth))
        elif self._stream_depth is not None:
            found.append(f"its 16-bit frames begin with {self._stream_depth}-bit values: a stream stays dark")
        return "; ".join(found) or None

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

    def scan(self) -> Generator[LazyFrame, None, None]:
        """Yield all frames, converted when their image is asked for."""
        decoded = self._decode(0)
        try:
            for number, frame, seconds in decoded:
                yield LazyFrame(partial(self._to_rgb, frame), number, seconds)
        finally:
            decoded.close()

    def between(self, start_seconds: float, end_seconds: float) -> Generator[Frame, None, None]:
        """Yield the frames with start_seconds <= time < end_seconds; end if times prove unusable.

        A file whose times are not known to be usable is decoded to its end, to find out: see
        `times_repaired` afterwards.
        """
        table = self._seek_table()
        first = 0 if table is None else table.first_at(start_seconds)
        decoded = self._decode(self._keyframe_before(first))
        reached = -1
        try:
            for number, frame, seconds in decoded:
                if self.times_repaired:
                    return
                if seconds >= end_seconds and (self._table is not None or self._file is None):
                    return
                if number > reached and start_seconds <= seconds < end_seconds:
                    reached = number
                    yield Frame(self._to_rgb(frame), number, seconds)
        finally:
            decoded.close()

    def number_at(self, seconds: float) -> int | None:
        """Number of the frame that is on screen at a time; None: the video is over then."""
        table = self._seek_table()
        if table is None:
            times = [time for _, _, time in self._decode(0)]
        else:
            times = [table.seconds(number) for number in range(len(table.pts))]
        last_step = times[-1] - times[-2] if len(times) > 1 else 1 / (self.fps or FALLBACK_FPS)
        return bisect_right(times, seconds) - 1 if 0 <= seconds < times[-1] + last_step else None

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

    # -- decoding

    def _seek_table(self) -> SeekTable | None:
        if self._table_is_due:
            self._table_is_due = False
            with self._open() as container:
                self._table = read_seek_table(container, self._video_stream(container))
        return self._table

    def _keyframe_before(self, index: int) -> int:
        """Keyframe to decode from for frame `index`; 0 where only decoding from the start is exact."""
        table = self._seek_table()
        if table is None or self.times_repaired or self._count not in (None, len(table.pts)):
            return 0
        return table.keyframe_before(index)

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
                    progressed()
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
            self.expected_frames = None if self._file is None else _announced(container, stream)
            clock = FrameClock(stream.time_base, self.fps)
            losses = LossCheck(container, stream, self._file)
            try:
                for frame in losses.frames(container):
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
                reason = decoding_reason(error, stream)
            lost = None if reason else losses.warning()
        if not number:
            raise VideoError(self.name, reason or "it has a video track, but no frame in it")
        self._ending = f"decoding stopped after {number_of(number, 'frame')}: {reason}" if reason else lost
        self._count = number

    # -- opening

    @contextmanager
    def _open(self) -> Iterator[InputContainer]:
        is_pipe = self._address.startswith("pipe:")
        if is_pipe and self._is_opened:
            raise VideoError(self.name, READ_ONCE)
        self._is_opened = True
        is_url = self._file is None and not is_pipe
        packed = self._file.open() if self._file is not None and self._file.is_packed else None
        with (
            nullcontext() if packed is None else packed,
            open_container(
                self.name, self._address if packed is None else packed, is_url=is_url
            ) as container,
        ):
            self._format = container.format.name
            yield container

    def _video_stream(self, container: InputContainer) -> VideoStream:
        """The track that is read, ready to decode; the choice is made once."""
        if self._track is None:
            open_again = None if self._file is None else self._open
            self._track = choose_track(self.name, container, open_again)
        stream = video_stream(container, self._track)
        reason = frame_too_large(stream.codec_context.height, stream.codec_context.width)
        if reason:
            raise VideoError(self.name, reason)
        return stream

    def _require_short_animation(self) -> None:
        """Count the frames of an animation without decoding; raise a VideoError if they are too many."""
        if self._file is None or self._format not in _ANIMATIONS:
            return
        with self._open() as container:
            packets = container.demux(self._video_stream(container))
            try:
                number = sum(1 for packet in packets if packet.size)
            except av.FFmpegError:
                return  # decoding meets the damage, too, and reports it
        reason = animation_too_long(number, *self.size)
        if reason:
            self.close()
            raise VideoError(self.name, reason)

    # -- brightness

    def _used_depth(self, first: VideoFrame) -> int | None:
        """Bits that 16-bit values use; None: all, or it is a stream."""
        if self._file is None or not is_deep(first):
            return None
        return used_depth(self._file.identity(), self._plain_frames)

    def _plain_frames(self) -> Iterator[VideoFrame]:
        """Decode the file once more, up to the first error, without conversion."""
        with self._open() as container:
            try:
                for frame in container.decode(self._video_stream(container)):
                    progressed()
                    yield frame
            except av.FFmpegError:  # decoding in order meets the damage again, and reports it
                return


def _announced(container: InputContainer, stream: VideoStream) -> int | None:
    """Number of frames that the header gives, or length × rate; None: it says neither."""
    if stream.frames:
        return stream.frames
    if not stream.average_rate:
        return None
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * stream.average_rate)
    return round(container.duration * stream.average_rate / av.time_base) if container.duration else None

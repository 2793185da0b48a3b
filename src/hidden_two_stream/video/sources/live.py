"""Live sources: cameras, network streams, raw frames from a pipe, and videos at their own pace.

A live source goes on after damage: frames that cannot be decoded are left out, and the next good frame is
marked as coming after a gap. Network streams and cameras are opened again when they end, see
`hidden_two_stream.video.newest`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Image
from hidden_two_stream.video.finding import is_url
from hidden_two_stream.video.limits import frame_too_large
from hidden_two_stream.video.reader import Source, VideoReader, source_name
from hidden_two_stream.video.sources.ffmpeg import SIZE_LIMIT, RGBConverter, decoding_reason, failure_reason
from hidden_two_stream.video.sources.opening import open_container
from hidden_two_stream.video.sources.tracks import choose_track, video_stream
from hidden_two_stream.video.times import FrameClock

__all__ = ["STDIN", "LiveFrame", "LiveSource", "live_source"]

STDIN = "-"
"""The source that is raw frames on the standard input."""

STREAM_TIMEOUT_SECONDS = 10.0
_STREAM_OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
_MOST_ERRORS = 250  # packets in a row that cannot be decoded; about ten seconds of video

Wait = Callable[[float], object]
"""Waits for a number of seconds, or less if nobody needs more frames."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """A frame that has arrived.

    Attributes:
        index: number of the frame in the source, from 0, of all that arrived.
        seconds: time in the source; the first frame is at 0.
        after_gap: whether it is not the neighbor of the frame before, for example after a lost connection.
        arrived: when it arrived, on the clock of `time.monotonic`, s.
    """

    index: int
    seconds: float
    after_gap: bool
    make_image: Callable[[], Image] = field(repr=False)
    arrived: float = 0.0

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB. It is converted here, so that dropped frames cost nothing."""
        return self.make_image()


@dataclass(frozen=True)
class LiveSource:
    """A source that can be opened for live frames.

    Attributes:
        name: how messages name it.
        frames: opens it and yields its frames when they are due. A source that has an end returns there; a
            stream that breaks off raises a `VideoError`.
        reconnects: whether it is worth opening again after an error.
    """

    name: str
    frames: Callable[[Wait], Iterator[LiveFrame]] = field(repr=False)
    reconnects: bool


def live_source(
    source: int | Source, *, frame_size: tuple[int, int] | None = None, fps: float | None = None
) -> LiveSource:
    """Return a live source; it is not opened yet.

    Args:
        source: number of a camera; the URL of a stream (RTSP, HTTP, …); a video file, a folder of frames or
            an array, which come at their own pace; or `STDIN`.
        frame_size: (width, height) of the frames, px. Required for `STDIN`; what a camera is asked for.
        fps: frames per second. Required for `STDIN`; what a camera is asked for.

    Raises:
        UsageError: there is nothing at the path, or size and rate are missing or given for a source that has
            its own.
        VideoError: the file cannot be read.
    """
    if isinstance(source, bool):
        raise UsageError(f"the source is {source}; expected the number of a camera, a path or a URL")
    if isinstance(source, int):
        return _camera(source, frame_size, fps)
    if isinstance(source, str) and source == STDIN:
        return _raw_frames(sys.stdin.buffer, frame_size, fps)
    if frame_size is not None or fps is not None:
        raise UsageError(f"{source_name(source)!r} has its own frame size and rate; leave them out")
    if isinstance(source, str) and is_url(source):
        return LiveSource(source, lambda wait: _network_frames(source, wait), reconnects=True)
    reader = VideoReader(source)  # an unreadable source fails here
    if reader.is_timed and isinstance(source, str | os.PathLike) and Path(source).is_file():
        reader.close()
        path = os.fspath(source)
        return LiveSource(path, lambda wait: _file_frames(path, wait), reconnects=False)
    return LiveSource(source_name(source), lambda wait: _read_frames(reader, wait), reconnects=False)


# -- kinds of sources ------------------------------------------------------------------------------


def _camera(number: int, frame_size: tuple[int, int] | None, fps: float | None) -> LiveSource:
    """Return the camera with a number, through FFmpeg's device of this system."""
    if number < 0:
        raise UsageError(f"the camera is {number}; expected 0 or more")
    devices = {"linux": ("v4l2", f"/dev/video{number}"), "darwin": ("avfoundation", f"{number}:none")}
    if sys.platform not in devices:
        raise UsageError(
            "cameras have numbers on Linux and macOS only; send raw frames from another program to the "
            "standard input, see docs/live.md"
        )
    kind, device = devices[sys.platform]
    options = {} if frame_size is None else {"video_size": f"{frame_size[0]}x{frame_size[1]}"}
    if fps is not None or sys.platform == "darwin":  # a rate is obligatory there
        options["framerate"] = f"{30 if fps is None else fps:g}"
    name = f"camera {number}"

    def frames(_wait: Wait) -> Iterator[LiveFrame]:
        try:
            container = av.open(
                device, format=kind, options=SIZE_LIMIT | options, timeout=STREAM_TIMEOUT_SECONDS
            )
        except ValueError as error:  # this build of FFmpeg has no such device
            raise VideoError(name, f"the installed PyAV cannot open cameras ({kind})") from error
        except (av.FFmpegError, OSError) as error:
            raise VideoError(name, f"{device}: {failure_reason(error)}") from error
        with container:
            yield from _decoded(name, container)
        raise VideoError(name, "it gives no more frames")

    return LiveSource(name, frames, reconnects=True)


def _network_frames(url: str, wait: Wait) -> Iterator[LiveFrame]:
    """Yield the frames of a URL: a live stream as they come, a file at its own pace."""
    container = open_container(
        url, url, is_url=True, options=_STREAM_OPTIONS, timeout_seconds=STREAM_TIMEOUT_SECONDS
    )
    with container:
        has_end = container.duration is not None
        frames = _decoded(url, container)
        yield from _paced(frames, wait) if has_end else frames
    if not has_end:
        raise VideoError(url, "the stream ended")


def _file_frames(path: str, wait: Wait) -> Iterator[LiveFrame]:
    with open_container(path, f"file:{path}", is_url=False) as container:
        yield from _paced(_decoded(path, container), wait)


def _read_frames(reader: VideoReader, wait: Wait) -> Iterator[LiveFrame]:
    with reader:
        frames = (
            LiveFrame(frame.index, frame.pts_seconds, False, lambda image=frame.image: image)  # type: ignore[misc]
            for frame in reader.frames()
        )
        yield from _paced(frames, wait)


def _raw_frames(pipe: BinaryIO, frame_size: tuple[int, int] | None, fps: float | None) -> LiveSource:
    """Return the source of raw RGB frames, rows from the top, three bytes a pixel, without a header."""
    if frame_size is None or fps is None:
        raise UsageError("raw frames have neither size nor rate: give --frame-size WIDTHxHEIGHT and --fps")
    width, height = frame_size
    reason = frame_too_large(height, width)
    if min(width, height) < 1 or reason:
        raise UsageError(f"the frame size is {width}x{height}; {reason or 'expected at least 1x1'}")
    if not 0 < fps < float("inf"):
        raise UsageError(f"the rate is {fps:g}; expected a positive number of frames per second")
    rate = fps

    def frames(_wait: Wait) -> Iterator[LiveFrame]:
        size, index = width * height * 3, 0
        while True:
            data = pipe.read(size)
            if len(data) < size:
                break
            image = np.frombuffer(bytearray(data), np.uint8).reshape(height, width, 3)
            yield LiveFrame(index, index / rate, False, lambda image=image: image)  # type: ignore[misc]
            index += 1
        if data or not index:
            raise VideoError(
                "standard input",
                f"it ended after {number_of(index, 'frame')} and {len(data)} bytes; a frame of "
                f"{width}x{height} has {size}",
            )

    return LiveSource("standard input", frames, reconnects=False)


# -- frames ----------------------------------------------------------------------------------------


def _paced(frames: Iterable[LiveFrame], wait: Wait) -> Iterator[LiveFrame]:
    """Yield frames when they are due: as long after the first one as their times say."""
    start: float | None = None
    for frame in frames:
        now = time.monotonic()
        if start is None:
            start = now - frame.seconds
        if frame.seconds > now - start:
            wait(frame.seconds - (now - start))
        yield frame


def _decoded(name: str, container: InputContainer) -> Iterator[LiveFrame]:
    """Yield the decoded frames; after damage, and after a change of size, the next good frame has a gap.

    Raises:
        VideoError: there is no video, nothing can be decoded, or the connection breaks.
    """
    stream = video_stream(container, choose_track(name, container, None))
    clock = FrameClock(stream.time_base, float(stream.average_rate) if stream.average_rate else None)
    to_rgb: RGBConverter | None = None
    index, errors, after_gap, size = 0, 0, False, (0, 0)
    with closing(_good_frames(name, container, stream)) as frames:
        for frame in frames:
            if frame is None:
                errors, after_gap = errors + 1, index > 0
                if errors > _MOST_ERRORS:
                    raise VideoError(name, "damaged data")
                continue
            errors = 0
            reason = frame_too_large(frame.height, frame.width)
            if reason:
                raise VideoError(name, reason)
            after_gap = after_gap or (size != (frame.height, frame.width) and index > 0)
            size = (frame.height, frame.width)
            to_rgb = to_rgb or RGBConverter(frame, None, is_track=True)
            seconds = clock.seconds(frame.pts)
            yield LiveFrame(index, seconds, after_gap, _converted(to_rgb, frame))
            index, after_gap = index + 1, False
    if not index:
        raise VideoError(name, "it has a video track, but no frame in it")


def _converted(to_rgb: RGBConverter, frame: VideoFrame) -> Callable[[], Image]:
    return lambda: to_rgb(frame)


def _good_frames(
    name: str, container: InputContainer, stream: VideoStream
) -> Generator[VideoFrame | None, None, None]:
    """Yield frames in the decoder's order, and None for each packet or frame that is damaged."""
    try:
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.InvalidDataError:
                yield None
                continue
            for frame in decoded:
                yield None if frame.is_corrupt else frame
    except (av.FFmpegError, OSError) as error:
        raise VideoError(name, decoding_reason(error, stream)) from error


def moved(frame: LiveFrame, index: int, seconds: float, after_gap: bool) -> LiveFrame:
    """Return a frame of a later connection as one of the whole source, stamped with the time now."""
    return replace(frame, index=index, seconds=seconds, after_gap=after_gap, arrived=time.monotonic())

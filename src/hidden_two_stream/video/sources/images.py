"""Image files that hold one image each."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import av
from av.video.frame import VideoFrame

from hidden_two_stream.errors import VideoError
from hidden_two_stream.video.limits import MAX_FRAME_PIXELS, frame_too_large
from hidden_two_stream.video.sources.ffmpeg import (
    SIZE_LIMIT,
    decoding_reason,
    failure_reason,
    use_one_thread,
)
from hidden_two_stream.video.sources.refused import refused_content, special_file
from hidden_two_stream.watchdog import progressed

__all__ = ["decode_image"]

_MOST_BYTES = 8 * MAX_FRAME_PIXELS + (1 << 20)
"""Size of an uncompressed image with the most pixels, four values of 16 bits each."""


_NETPBM = re.compile(rb"P[1-6]\s")


def decode_image(path: Path) -> VideoFrame:
    """Decode a file that holds one image.

    It goes through memory, since FFmpeg takes a `%` in a name for a pattern.

    Raises:
        VideoError: it cannot be read, is damaged or too large, or holds several images.
    """
    progressed()
    data = _read(path)
    reason = refused_content(io.BytesIO(data))
    if reason:
        raise VideoError(path, reason)
    try:
        return _decode(path, data)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, failure_reason(error)) from error
    except (StopIteration, IndexError) as error:
        raise VideoError(path, "it holds no image") from error


def _read(path: Path) -> bytes:
    try:
        facts = path.stat()
        reason = special_file(facts.st_mode)
        if reason is None and facts.st_size > _MOST_BYTES:
            reason = f"the file has {facts.st_size / 1e9:.1f} GB, too much for an image"
        if reason:
            raise VideoError(path, reason)
        return path.read_bytes()
    except OSError as error:
        raise VideoError(path, failure_reason(error)) from error


def _decode(path: Path, data: bytes) -> VideoFrame:
    # FFmpeg guesses that a netpbm image is none if there is a space before the first line's end.
    kind = "ppm_pipe" if _NETPBM.match(data) else None
    with av.open(
        io.BytesIO(data), "r", format=kind, metadata_errors="replace", options=SIZE_LIMIT
    ) as container:
        stream = container.streams.video[0]
        if getattr(stream, "codec_context", None) is None:  # JPEG XL, in a build of FFmpeg without it
            raise VideoError(path, "there is no decoder for this kind of image: convert it, to PNG say")
        use_one_thread(stream)
        context = stream.codec_context
        reason = frame_too_large(context.height, context.width)
        if reason:
            raise VideoError(path, reason)
        # Without `err_detect`, half a JPEG decodes as if it were complete. FFmpeg's TIFF decoder notices that
        # anyway, and with it refuses the tags of many sound files, such as OpenCV's.
        strict = {} if container.format.name == "tiff_pipe" else {"err_detect": "explode"}
        context.options = SIZE_LIMIT | strict
        frames = container.decode(stream)
        try:
            frame = next(frames)
        except av.FFmpegError as error:
            raise VideoError(path, decoding_reason(error, stream)) from error
        if frame.is_corrupt:
            raise VideoError(path, "the image is damaged")
        # What follows the first image in a JPEG is a preview, a depth map or the like.
        if container.format.name != "jpeg_pipe" and _has_next(frames):
            raise VideoError(path, "it holds several images: save each of them as an image of its own")
        return frame


def _has_next(frames: Iterator[VideoFrame]) -> bool:
    try:
        return next(frames, None) is not None
    except av.FFmpegError:  # bytes after the image, which other software ignores too
        return False

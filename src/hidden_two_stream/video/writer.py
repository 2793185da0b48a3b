"""Writes RGB frames to a compressed video file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.types import Image

# With macroblock-tree rate control, x264 does not always encode a tiny clip to the same bytes.
_X264 = {"preset": "fast", "mbtree": "0"}

__all__ = ["write_video"]

_ONE_THREAD_PIXELS = 256 * 256
_MAX_SIDE_PX = 16384  # of x264


def write_video(
    path: str | os.PathLike[str], frames: Iterable[Image], fps: float = 25.0, crf: int = 18
) -> None:
    """Write frames as H.264 video (MPEG-4 if FFmpeg has no H.264 encoder), atomically.

    Frames are encoded one at a time, so memory does not grow with the length of the video. If both sides are
    even, the pixel format is yuv420p (color at half resolution); every browser plays such an .mp4 if `crf` is
    above 0. If a side is odd, the pixel format is yuv444p. Missing parent folders are created.

    Args:
        path: the file; its suffix selects the container, for example .mp4.
        frames: RGB images, each (H, W, 3) uint8 and all of one size; or a (T, H, W, 3) uint8 array.
        fps: frames per second, at least 0.001 and below 1000.
        crf: H.264 quality, from 0 (lossless) to 51 (worst).

    Raises:
        UsageError: there are no frames, or a frame, `fps` or `crf` is invalid.
        OutputError: the file cannot be written.
    """
    if not 0.001 <= fps < 1000:
        raise UsageError(f"got fps={fps}; expected a rate of at least 0.001 and below 1000 frames per second")
    if not 0 <= crf <= 51:
        raise UsageError(f"got crf={crf}; expected 0 (lossless) to 51 (worst)")
    images = _checked(frames)
    first = next(images, None)
    if first is None:
        raise UsageError("got no frames to write as a video; expected at least one (H, W, 3) uint8 image")
    with atomic_write(path, make_parents=True) as part, ExitStack() as stack:
        with _encoder_errors(path, first):
            container = stack.enter_context(av.open(str(part), "w"))
            stream = _video_stream(container, first.shape[0], first.shape[1], fps, crf)
        for image in chain((first,), images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            with _encoder_errors(path, first):
                container.mux(stream.encode(frame))
        with _encoder_errors(path, first):
            container.mux(stream.encode(None))
            container.close()


def _checked(frames: Iterable[Image]) -> Iterator[Image]:
    """Yield the frames; raise a UsageError at one that is not an RGB image of the first one's size."""
    expected = "expected (H, W, 3) uint8 RGB images of one size"
    size = None
    for index, image in enumerate(frames):
        if not isinstance(image, np.ndarray):
            raise UsageError(f"got {type(image).__name__} as frame {index}; {expected}")
        if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape or image.dtype != np.uint8:
            raise UsageError(
                f"got an array of shape {image.shape}, type {image.dtype}, as frame {index}; {expected}"
            )
        size = size or image.shape
        if image.shape != size:
            raise UsageError(
                f"got frame {index} of {image.shape[1]} x {image.shape[0]} pixels after "
                f"{size[1]} x {size[0]}; {expected}: resize it"
            )
        yield image


@contextmanager
def _encoder_errors(path: str | os.PathLike[str], image: Image) -> Iterator[None]:
    """Turn FFmpeg's errors into an OutputError; leave the system's to `atomic_write`."""
    try:
        yield
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"cannot write {os.fspath(path)!r}: {reason}; expected a type of file that can hold H.264 video, "
            f"such as .mp4, and images of at most {_MAX_SIDE_PX:,} px a side; these have "
            f"{image.shape[1]} x {image.shape[0]}"
        ) from error


def _video_stream(container: OutputContainer, height: int, width: int, fps: float, crf: int) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    if "libx264" in av.codecs_available:
        stream = container.add_stream("libx264", rate=rate, options=_X264 | {"crf": str(crf)})
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
    else:
        stream = container.add_stream("mpeg4", rate=rate, options={"qmin": "2", "qmax": "4"})
        stream.pix_fmt = "yuv420p"
    stream.width, stream.height = width, height
    # For small images, starting threads takes longer than encoding. 0 lets the encoder choose the number.
    stream.codec_context.thread_count = 1 if height * width <= _ONE_THREAD_PIXELS else 0
    return stream

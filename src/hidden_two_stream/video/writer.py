"""Pictures out: RGB frames, one after the other, into a compressed video file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.stream import VideoStream

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import atomic_write

# Without macroblock-tree rate control: with it, x264 does not always encode a tiny clip to the same bytes.
_X264 = {"preset": "fast", "mbtree": "0"}

__all__ = ["write_video"]

Image = npt.NDArray[np.uint8]

_ONE_THREAD_PIXELS = 256 * 256
_MOST_PIXELS = 16384  # of x264


def write_video(
    path: str | os.PathLike[str], frames: Iterable[Image], fps: float = 25.0, crf: int = 18
) -> None:
    """Write frames as H.264 (MPEG-4 where no H.264 encoder is built in), one at a time.

    Memory does not grow with the number of frames: a generator serves for a video of any length. Even sides
    give yuv420p, colour at half resolution, which every browser plays (from .mp4, with `crf` above 0); an
    odd side gives yuv444p. Missing folders are made. An existing file is replaced only once the new one is
    whole.

    Args:
        path: the file; its suffix names the container, for example .mp4.
        frames: RGB pictures, each (H, W, 3) uint8 and all of one size; also a (T, H, W, 3) array.
        fps: frames per second.
        crf: H.264 quality, 0 (lossless) to 51.

    Raises:
        UsageError: there is no frame, or a frame, `fps` or `crf` is not as above.
        OutputError: the file cannot be written.
    """
    if not 0.001 <= fps < 1000:
        raise UsageError(f"got fps={fps}; expected a rate of at least 0.001 and below 1000 frames per second")
    if not 0 <= crf <= 51:
        raise UsageError(f"got crf={crf}; expected 0 (lossless) to 51 (worst)")
    pictures = _alike(frames)
    first = next(pictures, None)
    if first is None:
        raise UsageError("got no frames to write as a video; expected at least one (H, W, 3) uint8 picture")
    with atomic_write(path, make_parents=True) as part, ExitStack() as stack:
        with _refusal(path, first):
            container = stack.enter_context(av.open(str(part), "w"))
            stream = _video_stream(container, first.shape[0], first.shape[1], fps, crf)
        for picture in chain((first,), pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            with _refusal(path, first):
                container.mux(stream.encode(frame))
        with _refusal(path, first):
            container.mux(stream.encode(None))
            container.close()


def _alike(frames: Iterable[Image]) -> Iterator[Image]:
    """The frames, as long as each is a picture of the first one's size; a UsageError at one that isn't."""
    expected = "expected (H, W, 3) uint8 RGB pictures of one size"
    size = None
    for number, picture in enumerate(frames):
        if not isinstance(picture, np.ndarray):
            raise UsageError(f"got {type(picture).__name__} as frame {number}; {expected}")
        if picture.ndim != 3 or picture.shape[-1] != 3 or 0 in picture.shape or picture.dtype != np.uint8:
            raise UsageError(
                f"got an array of shape {picture.shape}, type {picture.dtype}, as frame {number}; {expected}"
            )
        size = size or picture.shape
        if picture.shape != size:
            raise UsageError(
                f"got frame {number} of {picture.shape[1]} x {picture.shape[0]} pixels after "
                f"{size[1]} x {size[0]}; {expected}: resize it"
            )
        yield picture


@contextmanager
def _refusal(path: str | os.PathLike[str], picture: Image) -> Iterator[None]:
    """What FFmpeg refuses, as an OutputError; what the system refuses is left to `atomic_write`."""
    try:
        yield
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"cannot write {os.fspath(path)!r}: {reason}; expected a type of file that holds H.264 video, "
            f"such as .mp4, and pictures of no more than {_MOST_PIXELS:,} px a side; these have "
            f"{picture.shape[1]} x {picture.shape[0]}"
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
    # For small pictures starting threads takes longer than encoding; 0 leaves their number to the encoder.
    stream.codec_context.thread_count = 1 if height * width <= _ONE_THREAD_PIXELS else 0
    return stream

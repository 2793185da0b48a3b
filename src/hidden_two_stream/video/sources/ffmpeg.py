"""What video files and image files share: decoder settings, upright RGB, reasons of failures."""

from __future__ import annotations

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hidden_two_stream.types import Image
from hidden_two_stream.video.limits import MAX_FRAME_PIXELS, SIZE_REFUSED
from hidden_two_stream.video.sources.gray_depth import brightened
from hidden_two_stream.video.sources.orientation import orientation

__all__ = [
    "SIZE_LIMIT",
    "URL_TIMEOUT_SECONDS",
    "RGBConverter",
    "decoding_reason",
    "failure_reason",
    "use_one_thread",
]

URL_TIMEOUT_SECONDS = 30.0

SIZE_LIMIT = {"max_pixels": str(MAX_FRAME_PIXELS)}
"""Options with which FFmpeg refuses larger frames before it takes memory for them."""


class RGBConverter:
    """Converts decoded frames to upright RGB images of one size.

    Args:
        first: the first frame. Its size as shown is that of all images; frames of another size are scaled.
        depth: bits that 16-bit values use, see `gray_depth`; None: all.
        is_track: whether the frames are those of a track, which has one orientation for an angle.
    """

    def __init__(self, first: VideoFrame, depth: int | None, *, is_track: bool) -> None:
        self._first = orientation(first)
        self._first_angle = first.rotation if is_track else None
        self._depth = depth
        self.size = self._first.size(first.height, first.width)
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame: VideoFrame) -> Image:
        """The image of `frame`, contiguous and writable."""
        shown = self._first if frame.rotation == self._first_angle else orientation(frame)
        height, width = shown.size(*self.size)
        if self._depth is not None:
            frame = brightened(frame, self._depth)
        converted = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1)
        rgb = converted.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(shown.apply(rgb))


def use_one_thread(stream: VideoStream) -> None:
    """Make the decoder of `stream` use one thread; call this before decoding starts."""
    stream.codec_context.thread_type = ThreadType.NONE
    stream.codec_context.thread_count = 1


def decoding_reason(error: Exception, stream: VideoStream) -> str:
    """Why decoding stopped: damage, or a size that was refused before anybody told it."""
    is_size_unknown = not stream.codec_context.width
    if is_size_unknown and isinstance(error, av.ArgumentError):
        return SIZE_REFUSED
    if is_size_unknown and isinstance(error, av.InvalidDataError):
        return f"damaged data, or {SIZE_REFUSED}"
    if isinstance(error, (av.ArgumentError, av.PermissionError)):
        return "damaged data"  # some decoders return -1, which reads as a lack of permission
    return failure_reason(error)


def failure_reason(error: Exception) -> str:
    """Why FFmpeg or the system refused to open or decode, in one short line."""
    if isinstance(error, (av.InvalidDataError, av.ExternalError)):
        return "damaged data"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, av.ExitError):
        return f"no answer within {URL_TIMEOUT_SECONDS:.0f} seconds"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].lower()

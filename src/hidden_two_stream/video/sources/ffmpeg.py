"""What video files and image files share: one decoding thread, upright RGB, reasons of failures."""

from __future__ import annotations

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from hidden_two_stream.types import Image

__all__ = ["URL_TIMEOUT_SECONDS", "RGBConverter", "failure_reason", "upright_size", "use_one_thread"]

URL_TIMEOUT_SECONDS = 30.0


class RGBConverter:
    """Converts decoded frames to upright RGB images of one size.

    Args:
        size: (height, width) of the images; frames of another size are scaled.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._height, self._width = size
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame: VideoFrame) -> Image:
        """The image of `frame`, contiguous and writable."""
        turns = _quarter_turns(frame)
        stored = (self._height, self._width) if turns % 2 else (self._width, self._height)
        rgb = self._reformatter.reformat(frame, *stored, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, turns), dtype=np.uint8)


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """(height, width) after rotation."""
    return (frame.width, frame.height) if _quarter_turns(frame) % 2 else (frame.height, frame.width)


def _quarter_turns(frame: VideoFrame) -> int:
    """Counterclockwise quarter turns, 0 to 3, that put the frame upright."""
    return round(frame.rotation / 90) % 4


def use_one_thread(stream: VideoStream) -> None:
    """Make the decoder of `stream` use one thread; call this before decoding starts."""
    stream.codec_context.thread_type = ThreadType.NONE
    stream.codec_context.thread_count = 1


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

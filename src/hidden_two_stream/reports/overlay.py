"""The video with what happens now written into it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.reports.drawing import class_color, drawable, opencv, put_text, text_size
from hidden_two_stream.types import Frame, Image, Segment
from hidden_two_stream.video.finding import is_video
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.times import at_rate
from hidden_two_stream.video.writer import write_video

__all__ = ["check_overlay_path", "overlay_images", "write_overlay"]

_FALLBACK_FPS = 25.0
_SMALLEST_SIDE = 240
"""Frames with a smaller shorter side are enlarged by a whole factor, so that the text is legible."""


def check_overlay_path(path: str | os.PathLike[str], source: str) -> None:
    """Check that an overlay can be written to a path, before the segments are computed.

    Raises:
        UsageError: it is no video file, or is the source itself.
        MissingDependencyError: OpenCV, which draws the text, is not installed.
    """
    opencv()
    name = os.fspath(path)
    if not is_video(name):
        raise UsageError(f"cannot write an overlay as {name!r}; expected a video file, such as overlay.mp4")
    if os.path.exists(name) and os.path.exists(source) and os.path.samefile(name, source):
        raise UsageError(f"{name!r} is the video itself; name another file for its overlay")


def write_overlay(
    path: str | os.PathLike[str], source: str, segments: Sequence[Segment], classes: Sequence[str]
) -> None:
    """Write a video again with its labels, in constant memory.

    A video with irregular frame times gets its mean rate, so that the labels keep their times.

    Args:
        path: the video file to write.
        source: file, URL or folder of frames; it is read from its beginning.
        segments: what happens when, in order.
        classes: all class names; each has a color of its own.

    Raises:
        UsageError, MissingDependencyError: as `check_overlay_path`.
        VideoError: the video cannot be read.
        OutputError: the file cannot be written.
    """
    check_overlay_path(path, source)
    with VideoReader(source) as reader:
        fps = reader.fps or _FALLBACK_FPS
        frames = at_rate(reader.frames(), fps) if reader.is_timed else reader.frames()
        write_video(path, overlay_images(frames, segments, classes), fps)


def overlay_images(
    frames: Iterable[Frame], segments: Sequence[Segment], classes: Sequence[str]
) -> Iterator[Image]:
    """Yield each frame with the label and score of the segment that it is in, if any."""
    colors = {label: class_color(number) for number, label in enumerate(classes)}
    following = iter(segments)
    segment = next(following, None)
    for frame in frames:
        seconds = frame.pts_seconds + 1e-6
        while segment is not None and segment.end_seconds <= seconds:
            segment = next(following, None)
        image = _enlarged(frame.image)
        if segment is not None and segment.start_seconds <= seconds:
            score = "" if segment.score is None else f" {segment.score:.2f}"
            _draw_label(image, f"{drawable(segment.label)}{score}", colors.get(segment.label, (60, 60, 60)))
        yield image


def _enlarged(image: Image) -> Image:
    """Return a copy with even sides, which every player can show, enlarged if it is small."""
    factor = math.ceil(_SMALLEST_SIDE / min(image.shape[:2]))
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (length - length % 2 for length in large.shape[:2])
    return np.ascontiguousarray(large[:height, :width])


def _draw_label(image: Image, text: str, color: tuple[int, int, int]) -> None:
    """Draw a line of text on a strip of the class's color at the bottom, in place."""
    height, width = image.shape[:2]
    letters = max(9.0, min(height, width) / 22)
    wide, _ = text_size(text, letters)
    letters = min(letters, letters * (width - 2 * letters) / max(wide, 1))
    strip = image[height - round(2.4 * letters) :]
    strip[:] = (0.25 * strip + 0.75 * np.array(color)).astype(np.uint8)
    put_text(image, text, letters, height - 0.7 * letters, letters, (255, 255, 255))

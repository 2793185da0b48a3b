"""How a decoded frame is turned and mirrored for display, from its display matrix or EXIF tag."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import av
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from hidden_two_stream.types import Image

__all__ = ["Orientation", "orientation"]


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to show an image: rows and columns swapped or not, then mirrored or not.

    Attributes:
        transposed: rows become columns.
        flip_rows: then top and bottom change places.
        flip_columns: then left and right change places.
    """

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a height x width image after `apply`; also the size before from that after."""
        return (width, height) if self.transposed else (height, width)

    def apply(self, image: Image) -> Image:
        """The (H, W, 3) image as it is shown; a view."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def orientation(frame: VideoFrame) -> Orientation:
    """Return how `frame` is shown; angles between quarter turns are rounded to the nearest.

    FFmpeg gives every frame of a rotated file, and every image with an EXIF orientation, a display matrix.
    The matrix maps the stored point (x, y) to (a x + c y, b x + d y). The angle alone, `frame.rotation`,
    says nothing about mirrors.
    """
    matrix = _side_data(_tiny_copy(frame)).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, flip_rows=b < 0, flip_columns=c < 0)
    return Orientation(False, flip_rows=d < 0, flip_columns=a < 0)


def _tiny_copy(frame: VideoFrame) -> VideoFrame:
    """A small frame with the side data of `frame`.

    PyAV's frames and their side data refer to each other, so a frame whose side data was read stays in memory
    until Python looks for such circles.
    """
    try:
        return frame.reformat(2, 2, format="gray", interpolation=Interpolation.POINT, threads=1)
    except av.FFmpegError:  # FFmpeg does not scale very long lines to two pixels
        return frame


def _side_data(frame: VideoFrame) -> Mapping[Type, SideData]:
    """The side data of `frame`, without kinds such as EXIF, at which PyAV refuses to give any."""
    for _ in range(8):
        try:
            return _known_side_data(frame)
        except ValueError as error:
            unknown = re.match(r"(\d+) is not a valid Type", str(error))
            if unknown is None:
                raise
            frame = _without_side_data(frame, int(unknown[1]))
    return _known_side_data(frame)


def _known_side_data(frame: VideoFrame) -> Mapping[Type, SideData]:
    found: Any = frame.side_data  # PyAV's annotation names one entry of it
    return cast(Mapping[Type, SideData], found)


def _without_side_data(frame: VideoFrame, kind: int) -> VideoFrame:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    delete = graph.add("sidedata", f"mode=delete:type={kind}")
    sink = graph.add("buffersink")
    source.link_to(delete)
    delete.link_to(sink)
    graph.configure()
    source.push(frame)
    found = sink.pull()
    assert isinstance(found, VideoFrame)
    return found

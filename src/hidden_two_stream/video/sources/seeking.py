"""Which keyframe to seek to for a frame, in files where seeking is exact."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hidden_two_stream.video.times import stamp_seconds
from hidden_two_stream.watchdog import progressed

__all__ = ["SeekTable", "read_seek_table"]

# In these, a sample of the file is one frame and has a presentation time that the decoder hands on. AVI has
# no such times, and a packet of MPEG-4 part 2 or VP8 may hold no frame at all.
_SEEKABLE_FORMATS = ("mov", "matroska")
_SEEKABLE_CODECS = ("h264", "hevc", "vp9", "av1", "mjpeg")
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE: no packets of single fields


@dataclass(frozen=True)
class SeekTable:
    """Time stamps and keyframes of a file, in the order of presentation.

    Attributes:
        pts: presentation time of every frame, ascending, in units of `time_base`.
        time_base: s.
        keyframes: numbers of the keyframes, ascending; the first is 0.
        reorder_depth: frames that the decoder holds back to put them in order.
    """

    pts: array[int]
    time_base: Fraction
    keyframes: array[int]
    reorder_depth: int

    def keyframe_before(self, index: int) -> int:
        """The last keyframe at or before frame `index`; 0 where that lies past the end."""
        if index >= len(self.pts):
            return 0
        return self.keyframes[bisect_right(self.keyframes, index) - 1]

    def first_at(self, seconds: float) -> int:
        """The first frame that is shown at `seconds` or later; the number of frames where none is."""
        return bisect_left(range(len(self.pts)), seconds, key=self.seconds)

    def agrees(self, number: int, frame: VideoFrame) -> bool:
        """Whether `frame` can be frame `number`: its time stamp is right, and it is not damaged."""
        return number < len(self.pts) and frame.pts == self.pts[number] and not frame.is_corrupt

    def seconds(self, number: int) -> float:
        """Presentation time of frame `number`, from the first frame, s."""
        return stamp_seconds(self.pts[number], self.pts[0], self.time_base)


def read_seek_table(container: InputContainer, stream: VideoStream) -> SeekTable | None:
    """Read all packets without decoding; return None for a file in which seeking may be inexact."""
    context = stream.codec_context
    formats = container.format.name.split(",")
    if not set(formats) & set(_SEEKABLE_FORMATS) or stream.codec.canonical_name not in _SEEKABLE_CODECS:
        return None
    times, are_keys = array("q"), array("b")
    try:
        for packet in container.demux(stream):
            progressed()
            if packet.pts is None and packet.dts is None and not packet.size:
                continue  # PyAV's mark of the end
            if packet.pts is None or not packet.size or packet.is_corrupt or packet.is_discard:
                return None
            times.append(packet.pts)
            are_keys.append(packet.is_keyframe)
    except av.FFmpegError:
        return None
    order = sorted(range(len(times)), key=times.__getitem__)
    pts = array("q", (times[i] for i in order))
    depth = max((decoded - shown for shown, decoded in enumerate(order)), default=0)
    is_regular = (
        len(set(pts)) == len(pts) > 0
        and order[0] == 0  # frames shown before the first keyframe may be dropped
        and bool(are_keys[0])
        and depth <= context.reorder_depth  # else the decoder drops frames until it has learned the depth
        and context.field_order in _PROGRESSIVE
    )
    if not is_regular or stream.time_base is None:
        return None
    keyframes = array("q", (shown for shown, decoded in enumerate(order) if are_keys[decoded]))
    return SeekTable(pts, stream.time_base, keyframes, context.reorder_depth)

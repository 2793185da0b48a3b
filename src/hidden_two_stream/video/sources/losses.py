"""What a decoded file lost without an error from the decoder.

FFmpeg steps over damaged parts of some containers and drops packets that some decoders cannot use. Three
comparisons find that: packets with the frames that came out of them; packets with the number that the
container announces, where it is exact; and, where it announces none, the time stamps of a regular recording
with its rate.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from hidden_two_stream.progress import number_of
from hidden_two_stream.video.sources.stored import StoredFile
from hidden_two_stream.watchdog import progressed

__all__ = ["LossCheck"]

# In these, each packet that is not empty gives one frame. VP8 has packets that are never shown; others are
# unknown to us.
_ONE_FRAME_PER_PACKET = frozenset(
    "av1 dnxhd dvvideo ffv1 ffvhuff flv1 gif h263 h264 hevc huffyuv jpeg2000 mjpeg mpeg1video mpeg2video "  # noqa: SIM905
    "mpeg4 msmpeg4v2 msmpeg4v3 png prores rawvideo utvideo v210 vp9 wmv1 wmv2".split()
)
_SKIPPED_BYTES = 16
"""Shorter packets of MPEG-4 part 2 say that the frame before is shown again, and give none."""
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE: no packets of single fields

_REGULAR_PART = 0.9
_GAP_STEPS = 2.5
_ROUNDING_SECONDS = 1.5e-3  # of time stamps in milliseconds
_LATE_SECONDS = 0.5


class LossCheck:
    """Counts what a container gives while its video track is decoded from beginning to end.

    Args:
        container, stream: the open file and its video track.
        file: the file; None: it is a stream.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, file: StoredFile | None) -> None:
        self._formats = set(container.format.name.split(","))
        self._stream = stream
        self._file = file
        self._packets = 0
        self._shown_packets = 0
        self._damaged_packets = 0
        self._num_frames = 0
        self._times = _TimeCheck(stream, _written_end(stream))

    def frames(self, container: InputContainer) -> Iterator[VideoFrame]:
        """Decode all frames, and count."""
        for packet in container.demux(self._stream):
            progressed()
            self._add_packet(packet)
            for frame in packet.decode():
                self._num_frames += 1
                self._times.add(frame.pts)
                yield frame

    def _add_packet(self, packet: Packet[VideoStream]) -> None:
        if not packet.size:
            return
        self._packets += 1
        self._damaged_packets += packet.is_corrupt
        is_small = self._stream.codec.canonical_name == "mpeg4" and packet.size < _SKIPPED_BYTES
        self._shown_packets += not (is_small or packet.is_discard)

    def warning(self) -> str | None:
        """What was lost, after the last packet; None: nothing that could be found."""
        announced = self._announced()
        found = []
        if self._packets < (announced or 0):
            missing = number_of((announced or 0) - self._packets, "frame")
            found.append(f"it announces {announced} frames, but {missing} could not be found")
        context = self._stream.codec_context
        lost = self._shown_packets - self._num_frames
        exact = (
            self._stream.codec.canonical_name in _ONE_FRAME_PER_PACKET and context.field_order in _PROGRESSIVE
        )
        if exact and lost > 0:
            found.append(f"{number_of(lost, 'frame')} of {self._shown_packets} could not be decoded")
        if announced is None:
            found += self._times.warnings()
        if "gif" in self._formats and self._file is not None and not _has_gif_end(self._file):
            found.append("its end is missing")
        if self._damaged_packets and not found:
            found.append(f"its container marks {self._damaged_packets} of {self._packets} packets as damaged")
        return "; ".join(found) or None

    def _announced(self) -> int | None:
        """Number of packets that are not empty, as the index of the file lists them; None: it lists none."""
        if "mov" in self._formats:
            return sum(1 for entry in self._stream.index_entries if entry.size)
        if "avi" in self._formats and self._file is not None:
            empty = _empty_avi_chunks(self._file, self._stream.index)
            return None if empty is None else self._stream.frames - empty
        return None


class _TimeCheck:
    """Finds where frames are missing from a recording whose frames otherwise follow at its rate.

    Args:
        stream: the track; without a rate, no gaps are found.
        end: when the track ends by its header, s; None: unknown.
    """

    def __init__(self, stream: VideoStream, end: float | None) -> None:
        self._base = float(stream.time_base or 0)
        self._step = float(1 / stream.average_rate) if stream.average_rate else 0.0
        self._end = end
        self._first: float | None = None
        self._last: float | None = None
        self._steps = 0
        self._regular = 0
        self._missing = 0
        self._gaps: list[tuple[float, float]] = []

    def add(self, pts: int | None) -> None:
        """Take the time stamp of the next frame."""
        if pts is None:
            return
        last, self._last = self._last, pts * self._base
        if last is None or self._first is None:
            self._first = self._last
            return
        passed = self._last - last
        self._steps += 1
        self._regular += abs(passed - self._step) <= max(0.2 * self._step, _ROUNDING_SECONDS)
        if passed > _GAP_STEPS * self._step:
            self._missing += round(passed / self._step) - 1 if self._step else 0
            self._gaps = [*self._gaps[:1], (last - self._first, self._last - self._first)]

    def warnings(self) -> list[str]:
        """What is missing between the frames and after them."""
        if self._last is None or self._first is None:
            return []
        found = []
        if self._step and self._gaps and self._regular >= _REGULAR_PART * self._steps:
            (start, end), *more = self._gaps
            where = f"from {start:.2f} to {end:.2f} s" + (" and later" if more else "")
            found.append(f"no frames {where}, where its rate asks for {self._missing}")
        if self._end is not None and self._end - self._last > _LATE_SECONDS + self._step:
            found.append(
                f"its header announces {self._end - self._first:.2f} s, but its frames end at "
                f"{self._last + self._step - self._first:.2f} s"
            )
        return found


def _written_end(stream: VideoStream) -> float | None:
    """The end of the track that Matroska writers note, as 00:00:04.800000000, s."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else None


def _has_gif_end(stored: StoredFile) -> bool:
    """Whether a GIF ends as one does: with a semicolon, perhaps followed by zeros."""
    try:
        with stored.open() as file:
            file.seek(-min(1024, stored.size), 2)
            return file.read().rstrip(b"\0").endswith(b";")
    except OSError:
        return True


def _empty_avi_chunks(stored: StoredFile, track: int) -> int | None:
    """Number of empty chunks of a track in the index of an AVI; None where the index is not complete.

    Recorders write an empty chunk for a frame that they dropped, and the header counts it.
    """
    wanted = {b"%02ddc" % track, b"%02ddb" % track}
    try:
        with stored.open() as file:
            if file.read(4) != b"RIFF":
                return None
            size, kind = struct.unpack("<I4s", file.read(8))
            end = 8 + size
            if kind != b"AVI " or stored.size >= 1 << 30:  # larger files have several indexes
                return None
            while file.tell() + 8 <= end and len(header := file.read(8)) == 8:
                name, length = struct.unpack("<4sI", header)
                if name == b"idx1":
                    index = file.read(length)
                    entries = struct.iter_unpack("<4sIII", index[: len(index) // 16 * 16])
                    return sum(1 for chunk, _, _, bytes_ in entries if chunk in wanted and not bytes_)
                file.seek(length + length % 2, 1)
    except (OSError, struct.error):
        return None
    return 0

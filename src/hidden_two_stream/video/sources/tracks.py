"""Which video track of a file is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from hidden_two_stream.errors import VideoError
from hidden_two_stream.video.sources.ffmpeg import SIZE_LIMIT, use_one_thread

__all__ = ["choose_track", "video_stream"]

_PREVIEW = Disposition.timed_thumbnails | Disposition.still_image


def choose_track(
    name: str,
    container: InputContainer,
    open_again: Callable[[], AbstractContextManager[InputContainer]] | None,
) -> int:
    """Return the index of the video track to read.

    Cover images are never read, and a track of one frame only if there is no other. Of the rest the track
    that is marked as the default is read, else the one with the most pixels, then with the most frames.

    Args:
        name: how error messages name the file.
        container: the open file.
        open_again: opens it a second time, to count frames where the header does not; None: impossible.

    Raises:
        VideoError: there is no video track, or no decoder for any of them.
    """
    tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    tracks = [track for track in tracks if not track.disposition & _PREVIEW] or tracks
    if not tracks:
        sound = bool(container.streams.audio)
        raise VideoError(name, "it holds sound and no video" if sound else "it holds no video")
    readable = [track for track in tracks if getattr(track, "codec_context", None) is not None]
    if not readable:
        raise VideoError(name, "there is no decoder for its codec: convert it, to H.264 say")
    if len(readable) == 1:
        return readable[0].index
    counts = {track.index: track.frames for track in readable}
    if not all(counts.values()) and open_again is not None:
        with open_again() as other:
            counts = _count_packets(other, counts)

    def rank(track: VideoStream) -> tuple[bool, bool, int, int]:
        pixels = track.codec_context.width * track.codec_context.height
        is_default = bool(track.disposition & Disposition.default)
        return counts[track.index] != 1, is_default, pixels, counts[track.index]

    return max(readable, key=rank).index


def video_stream(container: InputContainer, index: int) -> VideoStream:
    """Return track `index` of a file, set to use one thread and to refuse frames that are too large."""
    stream = container.streams[index]
    assert isinstance(stream, VideoStream)
    use_one_thread(stream)
    stream.codec_context.options = SIZE_LIMIT
    return stream


def _count_packets(container: InputContainer, tracks: dict[int, int]) -> dict[int, int]:
    """Number of packets of each track, read without decoding."""
    counts = Counter(dict.fromkeys(tracks, 0))
    try:
        for packet in container.demux([container.streams[index] for index in tracks]):
            counts[packet.stream.index] += bool(packet.size)
    except av.FFmpegError:  # decoding meets the damage again, and reports it
        pass
    return counts

"""Looks at an uploaded file before it is accepted: is it a video, and how long is it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from hidden_two_stream.errors import HiddenTwoStreamError, VideoError
from hidden_two_stream.reports.images import png_bytes
from hidden_two_stream.types import Image
from hidden_two_stream.video.reader import VideoReader

__all__ = ["THUMBNAIL", "length_text", "probe_video", "video_seconds"]

THUMBNAIL = "thumbnail.png"
"""Name of the small image of an upload's first frame, in its folder."""

_THUMBNAIL_SIDE = 120


def probe_video(path: str, name: str, max_seconds: float, thumbnail: str) -> dict[str, Any]:
    """Return facts about a video, ready for JSON: "seconds", "width", "height", "fps".

    The first frame is decoded, and kept small. The length is that of the
    packets, which costs no decoding and holds where a header is wrong.

    Args:
        path: the file; its name says nothing about its format.
        name: what its owner calls it, for messages.
        max_seconds: longest video that is accepted, s.
        thumbnail: the PNG file to write with a small image of the first frame.

    Raises:
        VideoError: it is no video, or too long.
    """
    try:
        with VideoReader(path) as reader:
            height, width = reader.size
            fps = reader.fps
            image = next(reader.frames(0, 1)).image
        seconds = video_seconds(path, fps, max_seconds)
    except VideoError as error:
        raise VideoError(name, error.reason) from error
    except HiddenTwoStreamError as error:
        raise VideoError(name, str(error).replace(path, name)) from error
    if seconds > max_seconds:
        raise VideoError(
            name,
            f"it is {length_text(seconds)} long; expected at most {length_text(max_seconds)}: cut it, or "
            "start the application with a larger --max-minutes",
        )
    Path(thumbnail).write_bytes(png_bytes(_small(image)))
    return {"seconds": round(seconds, 3), "width": width, "height": height, "fps": fps}


def _small(image: Image) -> Image:
    factor = min(1.0, _THUMBNAIL_SIDE / min(image.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return np.asarray(frame.reformat(width, height, interpolation="AREA").to_ndarray(), np.uint8)


def video_seconds(path: str, fps: float | None, most: float) -> float:
    """Return how long a video is by its packets, s; reading stops once it is longer than `most`.

    A header that promises more than `most` is believed.

    Raises:
        VideoError: the file cannot be read.
    """
    try:
        with av.open(f"file:{path}") as container:
            stream = container.streams.video[0]
            declared = 0.0 if container.duration is None else container.duration / av.time_base
            if declared > most:
                return declared
            first = last = None
            packets = 0
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                packets += 1
                time = packet.pts if packet.pts is not None else packet.dts
                if time is not None and stream.time_base is not None:
                    at = float(time * stream.time_base)
                    first = at if first is None else min(first, at)
                    last = at if last is None else max(last, at)
                if first is not None and last is not None and last - first > most:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(path, " ".join(str(error).split())) from error
    rate = fps or 25.0
    counted = packets / rate
    timed = last - first + 1 / rate if first is not None and last is not None else 0.0
    return max(counted, timed) if timed <= 0 else timed


def length_text(seconds: float) -> str:
    """A length of time for people, such as "45 s", "20 min" or "2 h 5 min"."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"

"""A folder that is one video, with an image file for each frame."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable
from pathlib import Path

import av
from av.video.frame import VideoFrame

from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Frame
from hidden_two_stream.video.finding import IMAGE_SUFFIXES, frame_images, holds_videos
from hidden_two_stream.video.sources.ffmpeg import RGBConverter, failure_reason, upright_size, use_one_thread
from hidden_two_stream.video.times import FALLBACK_FPS

__all__ = ["FolderSource"]


class FolderSource:
    """The images of a folder, in natural order of their names; frame i is at i / `FALLBACK_FPS`.

    Raises:
        VideoError: the folder holds videos or no images, or the first image cannot be read.
    """

    fps: float | None = None
    times_repaired = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.warning: str | None = None
        self._paths = frame_images(folder)
        if holds_videos(folder):
            raise VideoError(folder, "the folder holds videos, so it is not one video: name one of them")
        if not self._paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise VideoError(folder, f"the folder holds neither frame images ({kinds}) nor videos")
        first = _decode_image(self._paths[0])
        self.size = upright_size(first)
        self._to_rgb = RGBConverter(self.size)
        self._count = len(self._paths)

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end at the first image that cannot be read."""
        for index in wanted:
            if index >= self._count:
                return
            image = self._read(index)
            if image is None:
                return
            yield Frame(self._to_rgb(image), index, index / FALLBACK_FPS)

    def count(self) -> int:
        """Decode all images and return the number of those before the first unreadable one."""
        for index in range(self._count):
            if self._read(index) is None:
                break
        return self._count

    def close(self) -> None:
        """Do nothing: each image file is closed as soon as it is read."""

    def _read(self, index: int) -> VideoFrame | None:
        """Decode one image; at an unreadable one, end the video there and return None."""
        try:
            return _decode_image(self._paths[index])
        except VideoError as error:
            self._count = index
            number = number_of(index, "frame")
            self.warning = f"decoding stopped after {number}: {self._paths[index].name}: {error.reason}"
            return None


def _decode_image(path: Path) -> VideoFrame:
    """Decode an image file. It goes through memory, since FFmpeg takes a `%` in a name for a pattern."""
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            use_one_thread(stream)
            # Without this option, half a JPEG decodes as if it were complete.
            stream.codec_context.options = {"err_detect": "explode"}
            frame = next(container.decode(stream))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, failure_reason(error)) from error
    except (StopIteration, IndexError) as error:
        raise VideoError(path, "it holds no image") from error
    if frame.is_corrupt:
        raise VideoError(path, "the image is damaged")
    return frame

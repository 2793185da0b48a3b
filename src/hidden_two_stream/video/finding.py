"""Folders: finding the videos below one, and reading one that is itself a video, an image for each frame."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import av
from av.codec.context import ThreadType
from av.video.frame import VideoFrame

from hidden_two_stream.errors import UsageError, VideoError
from hidden_two_stream.types import Frame
from hidden_two_stream.video.decoding import _Converter, _frames, _reason, _upright_size
from hidden_two_stream.video.times import FALLBACK_FPS

VIDEO_SUFFIXES = frozenset(
    f".{kind}"
    for kind in "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv".split()  # noqa: SIM905
)
IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp"))


def find_videos(folder: Path) -> list[Path]:
    """All video files below `folder`, sorted; hidden files and folders are left out, links are followed.

    Raises:
        UsageError: `folder` is not a folder.
        OSError: a folder in it may not be listed, since its videos must not be missed in silence.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder at {str(folder)!r}; expected a folder that holds videos: check the path")
    return sorted(_walk_videos(folder), key=lambda path: path.as_posix())


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is one video as a folder of images: images directly in it, and no videos below it."""
    folder = Path(path)
    return folder.is_dir() and bool(_frame_images(folder)) and next(_walk_videos(folder), None) is None


def _walk_videos(folder: Path) -> Iterator[Path]:
    visited = set()

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        visited.add(os.path.realpath(parent))
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(parent, name)) not in visited
        ]
        for name in files:
            if name[0] != "." and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES:
                yield Path(parent, name)


def _frame_images(folder: Path) -> list[Path]:
    """The images directly in `folder` in natural order: frame_2 before frame_10.

    Extracted optical flow, which other software keeps beside the frames (flow_x_00001.jpg), is no frame.
    """
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
    frames = [path for path in paths if not path.name.lower().startswith(("flow_x", "flow_y"))]
    paths = frames or paths
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]


class _ImageFolder:
    """One image file per frame."""

    fps: float | None = None
    times_repaired = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.warning: str | None = None
        self._paths = _frame_images(folder)
        if next(_walk_videos(folder), None) is not None:
            raise VideoError(folder, "the folder holds videos, so it is not one video: name one of them")
        if not self._paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise VideoError(folder, f"the folder holds neither frame images ({kinds}) nor videos")
        first = _decode_image(self._paths[0])
        self.size = _upright_size(first)
        self._to_rgb = _Converter(self.size)
        self._count = len(self._paths)

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        for index in wanted:
            if index >= self._count:
                return
            frame = self._frame(index)
            if frame is None:
                return
            yield Frame(self._to_rgb(frame), index, index / FALLBACK_FPS)

    def count(self) -> int:
        for index in range(self._count):
            if self._frame(index) is None:
                break
        return self._count

    def close(self) -> None:
        """Nothing to close: each image is closed once it is read."""

    def _frame(self, index: int) -> VideoFrame | None:
        try:
            return _decode_image(self._paths[index])
        except VideoError as error:
            self._count = index
            self.warning = (
                f"decoding stopped after {_frames(index)}: {self._paths[index].name}: {error.reason}"
            )
            return None


def _decode_image(path: Path) -> VideoFrame:
    """Decode an image file. It goes through memory, since FFmpeg takes a `%` in a name for a pattern."""
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = ThreadType.NONE
            stream.codec_context.options = {
                "err_detect": "explode"
            }  # else half a JPEG passes for a whole one
            frame = next(container.decode(stream))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, _reason(error)) from error
    except (StopIteration, IndexError) as error:
        raise VideoError(path, "it holds no image") from error
    if frame.is_corrupt:
        raise VideoError(path, "the image is damaged")
    return frame

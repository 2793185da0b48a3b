"""A folder that is one video, with an image file for each frame."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from av.video.frame import VideoFrame

from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import Frame, LazyFrame
from hidden_two_stream.video.finding import IMAGE_SUFFIXES, frame_images, holds_videos
from hidden_two_stream.video.sources.ffmpeg import RGBConverter
from hidden_two_stream.video.sources.gray_depth import depth_warning, is_deep, used_depth
from hidden_two_stream.video.sources.images import decode_image
from hidden_two_stream.video.times import FALLBACK_FPS

__all__ = ["FolderSource"]


class FolderSource:
    """The images of a folder, in natural order of their names; frame i is at i / `FALLBACK_FPS`.

    Raises:
        VideoError: the folder holds videos or no images, or the first image cannot be read.
    """

    fps: float | None = None
    expected_frames: int | None
    times_repaired = False
    is_timed = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._paths = frame_images(folder)
        if holds_videos(folder):
            raise VideoError(folder, "the folder holds videos, so it is not one video: name one of them")
        if not self._paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise VideoError(folder, f"the folder holds neither frame images ({kinds}) nor videos")
        first = decode_image(self._paths[0])
        self._count = self.expected_frames = len(self._paths)
        self._ending: str | None = None
        self._missing = _missing_images(self._paths)
        self._depth = self._used_depth(first)
        self._to_rgb = RGBConverter(first, self._depth, is_track=False)
        self.size = self._to_rgb.size

    @property
    def warning(self) -> str | None:
        """What was wrong with the part that was decoded so far; None: nothing."""
        found = [note for note in (self._ending, self._missing) if note]
        if self._depth is not None:
            found.append(depth_warning(self._depth))
        return "; ".join(found) or None

    def select(self, wanted: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of ascending indices; end at the first image that cannot be read."""
        for index in wanted:
            if index >= self._count:
                return
            image = self._read(index)
            if image is None:
                return
            yield Frame(self._to_rgb(image), index, index / FALLBACK_FPS)

    def scan(self) -> Generator[LazyFrame, None, None]:
        """Yield all frames, converted when their image is asked for; end at the first unreadable image."""
        for index in range(self._count):
            image = self._read(index)
            if image is None:
                return
            yield LazyFrame(partial(self._to_rgb, image), index, index / FALLBACK_FPS)

    def between(self, start_seconds: float, end_seconds: float) -> Generator[Frame, None, None]:
        """Yield the frames with start_seconds <= time < end_seconds."""
        inside = (i for i in range(self._count) if start_seconds <= i / FALLBACK_FPS < end_seconds)
        yield from self.select(inside)

    def number_at(self, seconds: float) -> int | None:
        """Number of the frame that is on screen at a time; None: the video is over then."""
        number = math.floor(seconds * FALLBACK_FPS)
        return number if 0 <= number < self._count else None

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
            return decode_image(self._paths[index])
        except VideoError as error:
            self._count = index
            number = number_of(index, "frame")
            self._ending = f"decoding stopped after {number}: {self._paths[index].name}: {error.reason}"
            return None

    def _used_depth(self, first: VideoFrame) -> int | None:
        """Bits that the values of 16-bit images use; None: all."""
        if not is_deep(first):
            return None
        facts = [path.stat() for path in self._paths if path.exists()]
        key = (self.name, *((fact.st_mtime_ns, fact.st_size) for fact in facts))
        return used_depth(key, self._plain_frames)

    def _plain_frames(self) -> Iterator[VideoFrame]:
        """Decode the images up to the first unreadable one."""
        try:
            yield from map(decode_image, self._paths)
        except VideoError:  # decoding in order meets it again, and reports it
            return


def _missing_images(paths: Sequence[Path]) -> str | None:
    """Say which numbers are missing between names that otherwise count up evenly; None: none are.

    Numbers that rise unevenly, such as times, say nothing about missing images.
    """
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", path.name) for path in paths]
    names = {(part[1], part[3].lower()) for part in parts if part}
    if len(names) != 1 or None in parts:
        return None
    numbers = [int(part[2]) for part in parts if part]
    steps = Counter(after - before for before, after in pairwise(numbers))
    step, regular = max(steps.items(), key=lambda item: item[1], default=(0, 0))
    gaps = [(before, after) for before, after in pairwise(numbers) if after - before > step]
    if step < 1 or not gaps or regular < len(gaps) or any(s % step for s in steps):
        return None
    missing = sum((after - before) // step - 1 for before, after in gaps)
    first = paths[numbers.index(gaps[0][0])].name
    where = f", the first after {first}" if len(gaps) > 1 else f" after {first}"
    return f"the names of its images skip {number_of(missing, 'number')}{where}"

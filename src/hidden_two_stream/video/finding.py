"""Finds videos: below folders, as folders of frame images, and from the sources that a user names."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hidden_two_stream.errors import UsageError

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "expand_sources",
    "find_videos",
    "frame_images",
    "holds_videos",
    "is_frame_folder",
    "is_url",
]

VIDEO_SUFFIXES = frozenset(
    f".{kind}"
    for kind in "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv".split()  # noqa: SIM905
)
"""Suffixes of video files, in lower case."""

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Suffixes of images that can be the frames of a video, in lower case."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(source: str) -> bool:
    """Whether `source` begins as a URL does, such as http://."""
    return _URL.match(source) is not None


def find_videos(folder: Path) -> list[Path]:
    """All video files below `folder`, sorted.

    Hidden files and folders are left out; links are followed.

    Raises:
        UsageError: `folder` is not a folder.
        OSError: a folder below it cannot be listed.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder at {str(folder)!r}; expected a folder that holds videos: check the path")
    return sorted(_walk_videos(folder), key=lambda path: path.as_posix())


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder with images directly in it and no video files below it."""
    folder = Path(path)
    return folder.is_dir() and bool(frame_images(folder)) and not holds_videos(folder)


def holds_videos(folder: Path) -> bool:
    """Whether a video file lies anywhere below `folder`."""
    return next(_walk_videos(folder), None) is not None


def expand_sources(sources: Sequence[str]) -> list[str]:
    """The videos that `sources` name, each once: files, URLs, frame folders, folders of these, and globs.

    Whatever lies at a path is one source, also a broken link or a pipe: reading it says what it is.

    Raises:
        UsageError: a name is empty or matches nothing.
    """
    found: list[str] = []
    for source in sources:
        if not source.strip():
            raise UsageError("the name of a video is empty; give a file, a folder, a glob or a URL")
        if is_url(source) or os.path.lexists(source):
            found += _expand(source)
            continue
        matches = sorted(glob.glob(source, recursive=True))
        if not matches:
            raise UsageError(f"no file, folder or match for {source!r}; check the path")
        found += itertools.chain.from_iterable(_expand(match) for match in matches)
    return list(dict.fromkeys(found))


def _expand(source: str) -> list[str]:
    """A source itself, or the videos and frame folders below a folder that is not one."""
    path = Path(source)
    if is_url(source) or not path.is_dir() or is_frame_folder(path):
        return [source]
    inside = [str(entry) for entry in path.rglob("*") if entry.is_dir() and is_frame_folder(entry)]
    videos = sorted([str(video) for video in find_videos(path)] + inside)
    if not videos:
        raise UsageError(f"no videos in the folder {source!r}")
    return videos


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


def frame_images(folder: Path) -> list[Path]:
    """The images directly in `folder` in natural order: frame_2 before frame_10.

    Images of optical flow, which other software keeps beside the frames (flow_x_00001.jpg), are left out.
    """
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
    frames = [path for path in paths if not path.name.lower().startswith(("flow_x", "flow_y"))]
    paths = frames or paths
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]

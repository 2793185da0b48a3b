"""Finds videos: below folders, as folders of frame images, and from the sources that a user names."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hidden_two_stream.errors import UsageError
from hidden_two_stream.object_store import (
    is_pattern,
    is_remote,
    is_stored,
    list_files,
    local_path,
    scheme_of,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FoundVideos",
    "expand_sources",
    "find_videos",
    "frame_images",
    "holds_videos",
    "is_frame_folder",
    "is_hidden",
    "is_image",
    "is_url",
    "is_video",
    "scan_videos",
    "source_stem",
    "video_stem",
]

_VIDEO_KINDS = (
    "264 265 266 3g2 3gp 3gp2 3gpp amv apng asf avc avi avs2 avs3 bik bmv cine dav dif divx dv dvr-ms evo "
    "f4v flc fli flv gif gxf h261 h263 h264 h265 h266 hevc ifv insv ism ismv ivf jsv kux lrv m1v m2p m2t "
    "m2ts m2v m4p m4v mj2 mjp mjpeg mjpg mk3d mkv mod moflex mov mp4 mp4v mpe mpeg mpeg2 mpeg4 mpg mpg2 mpg4 "
    "mpv mpv2 mts mxf mxg nsv nut nuv obu ogm ogv ogx pva qt r3d rm rmvb roq smk swf thp tod tp trp ts "
    "vc1 viv vob vp8 vp9 vro vvc webm wmv wtv xesc xvid y4m yop"
)
VIDEO_SUFFIXES = frozenset(f".{kind}" for kind in _VIDEO_KINDS.split())
"""Suffixes of video files, in lower case: the formats that FFmpeg reads frames from."""

_IMAGE_KINDS = "avif bmp jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _IMAGE_KINDS.split())
"""Suffixes of images that can be the frames of a video, in lower case."""

_SYSTEM_NAMES = frozenset(
    ("$recycle.bin", "@eadir", "__macosx", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found",
     "system volume information", "thumbs.db")
)  # fmt: skip


def is_url(source: str) -> bool:
    """Whether `source` begins as a URL does, such as http://."""
    return is_remote(source)


def is_video(name: str) -> bool:
    """Whether a file of this name is a video by its suffix."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def is_image(name: str) -> bool:
    """Whether a file of this name is an image by its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system: .DS_Store, Thumbs.db, @eaDir."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def video_stem(name: str) -> str:
    """`name` without the suffix of a video file; with any other suffix, the whole name."""
    return os.path.splitext(name)[0] if is_video(name) else name


def source_stem(source: str) -> str:
    """Return the name of a video without folder and suffix, for files about it; "video" if it has none."""
    path = Path(urlsplit(source).path if is_url(source) else source)
    return path.stem or path.resolve().name or "video"


@dataclass(frozen=True)
class FoundVideos:
    """What lies below a folder.

    Attributes:
        videos: video files and frame folders, sorted.
        left_out: all other files, sorted.
        num_hidden: hidden files and folders that were not looked at.
    """

    videos: tuple[Path, ...]
    left_out: tuple[Path, ...]
    num_hidden: int


def scan_videos(folder: Path) -> FoundVideos:
    """Find the videos at any depth below `folder`: video files, and frame folders.

    A frame folder holds images and, at any depth, no video file. What lies below a frame folder belongs to
    that video and is left out, such as masks. The exception is a single image beside frame folders: that
    image is left out.

    Raises:
        OSError: a folder cannot be listed.
    """
    walked = list(_walk(folder))
    around_videos = {
        above
        for parent, files, _ in walked
        if any(map(is_video, files))
        for above in (parent, *parent.parents)
    }
    candidates = {
        parent: sum(map(is_image, files))
        for parent, files, _ in walked
        if parent != folder and parent not in around_videos and any(map(is_image, files))
    }
    around_frames = {above for parent in candidates for above in parent.parents}
    frame_folders: set[Path] = set()
    for parent, images in candidates.items():  # the outer folders come first
        is_poster = images == 1 and parent in around_frames
        if not is_poster and frame_folders.isdisjoint(parent.parents):
            frame_folders.add(parent)
    videos = set(frame_folders)
    left_out: list[Path] = []
    for parent, files, _ in walked:
        used = set(frame_images(parent)) if parent in frame_folders else set()
        for path in (parent / name for name in files):
            if is_video(path.name):
                videos.add(path)
            elif path not in used:
                left_out.append(path)
    return FoundVideos(tuple(sorted(videos)), tuple(sorted(left_out)), sum(number for *_, number in walked))


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
    """Whether `path` is a folder that is one video, as `scan_videos` finds them."""
    folder = Path(path)
    if not folder.is_dir():
        return False
    images = frame_images(folder)
    return (
        bool(images) and not holds_videos(folder) and not (len(images) == 1 and _holds_images_below(folder))
    )


def _holds_images_below(folder: Path) -> bool:
    return any(parent != folder and any(map(is_image, files)) for parent, files, _ in _walk(folder))


def holds_videos(folder: Path) -> bool:
    """Whether a video file lies anywhere below `folder`."""
    return next(_walk_videos(folder), None) is not None


def expand_sources(sources: Sequence[str]) -> list[str]:
    """The videos that `sources` name, each once: files, URLs, frame folders, folders of these, and globs.

    Packed videos are named by their folder or its `shards.json`; a URL of packed videos ends in that.

    Whatever lies at a path is one source, also a broken link or a pipe: reading it says what it is. An
    address in a store that is no name of a video is listed: all videos below it. So are addresses with
    wildcards, also those of web pages.

    Raises:
        UsageError: a name is empty or matches nothing.
        MissingDependencyError, StoreError: a store cannot be listed.
        DataError: the index of packed videos is damaged, a shard is missing or truncated, or a folder was not
            packed to its end.
    """
    from hidden_two_stream.video.shards.addresses import find_index, is_packed

    found: list[str] = []
    for source in sources:
        if not source.strip():
            raise UsageError("the name of a video is empty; give a file, a folder, a glob or a URL")
        if is_packed(source) or find_index(source) is not None:
            found += _expand(source)
            continue
        if _is_listed(source):
            found += _listed(source)
            continue
        name = os.fspath(local_path(source) or source)
        if is_url(name) or os.path.lexists(name):
            found += _expand(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise UsageError(f"no file, folder or match for {source!r}; check the path")
        found += itertools.chain.from_iterable(_expand(match) for match in matches)
    return list(dict.fromkeys(found))


def _is_listed(source: str) -> bool:
    """Whether a source is the address of several videos: a prefix in a store, or a pattern."""
    if scheme_of(source) in ("http", "https"):
        return is_pattern(source)
    is_far = is_stored(source) and local_path(source) is None
    return is_far and (is_pattern(source) or not is_video(urlsplit(source).path))


def _listed(address: str) -> list[str]:
    files = list_files(address)
    videos = files if is_pattern(address) or files == [address] else list(filter(is_video, files))
    if not videos:
        raise UsageError(f"no videos below {address!r}")
    return videos


def _expand(source: str) -> list[str]:
    """A source itself, or the videos and frame folders below a folder that is not one."""
    from hidden_two_stream.video.shards.addresses import find_index

    path = Path(source)
    if (index := find_index(source)) is not None:
        return _packed_videos(index)
    if is_url(source) or not path.is_dir() or is_frame_folder(path):
        return [source]
    videos = sorted(map(str, scan_videos(path).videos))
    if not videos:
        raise UsageError(f"no videos in the folder {source!r}")
    return videos


def _packed_videos(index: str) -> list[str]:
    from hidden_two_stream.video.shards.index import open_pack

    pack = open_pack(index)
    pack.require_shards()
    return pack.addresses()


def _walk_videos(folder: Path) -> Iterator[Path]:
    return (parent / name for parent, files, _ in _walk(folder) for name in files if is_video(name))


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], int]]:
    """Each folder from `folder` down: the names of its files, and the number of hidden entries.

    Links are followed, but no folder is entered twice. Outer folders come first.
    """
    visited = set()

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        visited.add(os.path.realpath(parent))
        shown = [name for name in folders if not is_hidden(name)]
        seen = [name for name in files if not is_hidden(name)]
        yield Path(parent), seen, len(folders) - len(shown) + len(files) - len(seen)
        folders[:] = [name for name in shown if os.path.realpath(os.path.join(parent, name)) not in visited]


def frame_images(folder: Path) -> list[Path]:
    """The images directly in `folder` in natural order: frame_2 before frame_10.

    Images of optical flow, which other software keeps beside the frames (flow_x_00001.jpg), are left out.
    """
    paths = [path for path in folder.iterdir() if is_image(path.name) and not is_hidden(path.name)]
    frames = [path for path in paths if not path.name.lower().startswith(("flow_x", "flow_y"))]
    paths = frames or paths
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]

"""Reads and writes label files of all formats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.data.annotations.fitting import Fitted, fit
from hidden_two_stream.data.annotations.format import Format, ReadOptions, WriteOptions
from hidden_two_stream.data.annotations.label_file import LabelFile
from hidden_two_stream.data.annotations.model import Annotations, video_id
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.annotations.table import detect_format, format_for_writing, format_named
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import make_folder

__all__ = ["read_annotations", "write_annotations"]


def read_annotations(
    path: str | Path,
    format: str | None = None,
    *,
    fps: float | None = None,
    num_frames: int | None = None,
    video: str | None = None,
    labels: Sequence[str] | None = None,
    base: int | None = None,
    background: Sequence[str] | None = None,
) -> list[Annotations]:
    """Read the labels of all videos in a file.

    Args:
        path: the file, or a folder of a format that is one.
        format: one of `FORMATS`; None: by suffix and content.
        fps: frames per second, for formats that count frames and don't say it. It precedes what a file says.
        num_frames: frames of the video, to check the file against.
        video: name of the video, in place of what the file says; the file must have one video.
        labels: the labels that the file may hold, in the order wanted; None: any. For SimBA, the columns.
        base: number of the first frame in Label Studio's files, 1 (default) or 0.
        background: words for "nothing of interest" in formats with one word per frame.

    Returns:
        One `Annotations` per video, with times in seconds, in the order of the file.

    Raises:
        DataError: the file is broken, has another format, or contradicts `num_frames` or `labels`.
        UsageError: there is no file, or an argument is missing, wrong, or without a meaning for the format.
    """
    found = detect_format(path) if format is None else format_named(format)
    if not Path(path).exists():
        raise UsageError(f"no label file at {str(path)!r}")
    _check_numbers(fps, num_frames)
    _check_options(found, base, background)
    options = ReadOptions(
        fps or found.fps,
        num_frames,
        video,
        1 if base is None else base,
        None if background is None else tuple(background),
        None if labels is None else tuple(map(clean_text, labels)),
    )
    results = found.read(LabelFile(Path(path)), options)
    if len(results) > 1 and (video is not None or num_frames is not None):
        raise UsageError(
            f"{path} has {len(results)} videos; one name or number of frames can't fit all: leave it out"
        )
    twice = [name for name, count in Counter(item.video for item in results).items() if count > 1]
    if twice:
        raise DataError(f"{path} has labels of {twice[0]!r} twice, of different people or times; keep one")
    return results


def _check_numbers(fps: float | None, num_frames: int | None) -> None:
    if fps is not None and not (0 < fps < math.inf):
        raise UsageError(f"the frame rate is {fps}; expected frames per second, above 0")
    if num_frames is not None and num_frames < 1:
        raise UsageError(f"the number of frames is {num_frames}; expected 1 or more")


def _check_options(target: Format, base: int | None, background: Sequence[str] | str | None) -> None:
    given = {"base": base is not None, "background": background is not None}
    for name in given:
        if given[name] and name not in target.uses:
            raise UsageError(f"--{name} ({name}=…) has no meaning for the format {target.name}; leave it out")
    if base not in (None, 0, 1):
        raise UsageError(f"--base (base=…) is {base}; expected 0 or 1")


def write_annotations(
    path: str | Path,
    annotations: Sequence[Annotations],
    format: str | None = None,
    *,
    fps: float | None = None,
    num_frames: int | None = None,
    base: int | None = None,
    background: str | None = None,
    lossy: bool = False,
) -> tuple[str, ...]:
    """Write labels in a format, and return what was rounded or left out.

    Args:
        path: the file; a new folder for THUMOS14, and for several videos in a format with a file per video.
        annotations: one per video.
        format: one of `FORMATS`; None: by suffix.
        fps: frames per second, for formats that count frames; None: what the annotations say.
        num_frames: frames of the video, for formats with a row per frame; None: what the annotations say.
        base: number of the first frame in Label Studio's files, 1 (default) or 0.
        background: the word for "nothing of interest" in formats with one word per frame.
        lossy: leave out or change what the format can't hold, such as scores, instead of refusing it.

    Returns:
        Notes, one line each: the times that were rounded, and, with `lossy`, what was lost.

    Raises:
        OutputError: the file can't be written.
        UsageError: the format can't hold something and `lossy` is off, or an argument is missing or wrong.
    """
    target = format_for_writing(path) if format is None else format_named(format)
    _check_numbers(fps, num_frames)
    _check_options(target, base, background)
    if num_frames is not None and len(annotations) > 1:
        raise UsageError(f"one number of frames is given for {len(annotations)} videos; leave it out")
    _check_rate(annotations, target, fps)
    options = WriteOptions(fps or target.fps, num_frames, 1 if base is None else base, background)
    _check_names(annotations, target)
    fitted = [fit(item, target, options) for item in annotations]
    if not lossy:
        _refuse_losses(fitted, target)
    items = [one.annotations for one in fitted]
    if target.holds.videos or len(items) == 1:
        target.write(Path(path), items, options)
    else:
        _write_each(Path(path), items, target, options)
    return tuple(f"{one.annotations.video}: {line}" for one in fitted for line in (*one.losses, *one.notes))


def _check_names(annotations: Sequence[Annotations], target: Format) -> None:
    by_id = target.holds.ids or not target.holds.videos
    names = [video_id(item.video) if by_id else item.video for item in annotations]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"two videos would be named {twice[0]!r} in the format {target.name}; rename one")


def _check_rate(annotations: Sequence[Annotations], target: Format, fps: float | None) -> None:
    """Refuse videos of another rate than the one that readers of a format assume."""
    for item in annotations:
        if fps is None and target.fps is not None and item.fps not in (None, target.fps):
            raise UsageError(
                f"the format {target.name} is for {target.fps:g} frames per second, and {shown(item.video)} "
                f"has {item.fps:g}; say with --fps (fps=…) which rate its frames are to have"
            )


def _refuse_losses(fitted: Sequence[Fitted], target: Format) -> None:
    lossy = [one for one in fitted if one.losses]
    if lossy:
        more = f" (and losses of {len(lossy) - 1} other videos)" if len(lossy) > 1 else ""
        raise UsageError(
            f"the format {target.name} can't hold all of {lossy[0].annotations.video!r}: "
            f"{'; '.join(lossy[0].losses)}{more}; write another format, or accept this with --lossy"
        )


def _write_each(path: Path, items: Sequence[Annotations], target: Format, options: WriteOptions) -> None:
    """Write a file per video into a folder."""
    suffix = target.suffixes[0]
    if path.suffix.lower() in target.suffixes:
        raise UsageError(
            f"the format {target.name} has one video per file, and {len(items)} videos are to be written; "
            f"give a folder instead of {str(path)!r}"
        )
    folder = make_folder(path)
    names = {item.video: video_id(item.video) for item in items}
    for item in items:
        ending = "_labels" if target.name == "deepethogram" else ""
        target.write(folder / f"{names[item.video]}{ending}{suffix}", [item], options)

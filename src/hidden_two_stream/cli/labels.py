"""`hts labels`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import Parser, path, show
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import number_of

if TYPE_CHECKING:
    from hidden_two_stream.data.annotations.model import Annotations
    from hidden_two_stream.data.annotations.summary import VideoSummary

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "say what label files of BORIS, ELAN and other tools hold, and convert them"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts labels`."""
    parser.add_argument("files", type=path, nargs="+", metavar="FILE", help="label files of any format")
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", help="format of the files (default: by suffix and content)"
    )
    parser.add_argument("--out", type=path, metavar="PATH", help="write all labels to this file or folder")
    parser.add_argument(
        "--to", metavar="FORMAT", help="format of --out: csv, json, boris, elan, … (default: by suffix)"
    )
    parser.add_argument(
        "--lossy", action="store_true", help="leave out what the format of --out can't hold, and name it"
    )
    parser.add_argument("--fps", type=float, metavar="RATE", help="frames per second of the videos")
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="frames of the video; files with a row per frame must have N",
    )
    parser.add_argument("--video", metavar="NAME", help="name of the video (default: what the file says)")
    parser.add_argument(
        "--label",
        action="append",
        metavar="NAME",
        help="a label that may occur; can be repeated, others are then refused (SimBA: the columns to read)",
    )
    parser.add_argument(
        "--base", type=int, choices=(0, 1), help="Label Studio: number of the first frame (default: 1)"
    )
    parser.add_argument(
        "--background",
        action="append",
        metavar="WORD",
        help="a word for nothing of interest in files with one word per frame; can be repeated (default: "
        "background, other, SIL, none)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    _check(arguments)
    target = _target(arguments)
    found, rows, error = _read_all(arguments)
    if error is not None and len(arguments.files) == 1:
        raise error
    _check_use(arguments, [row["format"] for row in rows], target)
    result: dict[str, Any] = {"files": rows, "written": None}
    if arguments.out is not None and error is None:
        result["written"] = _write(arguments, found, target)
    show(arguments, result, _text(rows, result["written"], arguments))
    return 0 if error is None else 1


def _check(arguments: argparse.Namespace) -> None:
    if arguments.out is None:
        for name in ("to", "lossy"):
            if getattr(arguments, name):
                raise UsageError(f"--{name} has no meaning without --out; say where to write the labels")
    elif any(_is_same(arguments.out, file) for file in arguments.files):
        raise UsageError(f"--out {str(arguments.out)!r} is one of the label files; choose another path")
    twice = [file for file in arguments.files if arguments.files.count(file) > 1]
    if twice:
        raise UsageError(f"{str(twice[0])!r} is given twice; expected each file once")


def _target(arguments: argparse.Namespace) -> str:
    """Name of the format of --out; "" without it."""
    from hidden_two_stream.data.annotations.table import format_for_writing, format_named

    if arguments.out is None:
        return ""
    return format_named(arguments.to).name if arguments.to else format_for_writing(arguments.out).name


def _used(arguments: argparse.Namespace, name: str, *options: str) -> dict[str, Any]:
    """Values of the options that have a meaning for a format."""
    from hidden_two_stream.data.annotations.table import format_named

    return {option: getattr(arguments, option) for option in options if option in format_named(name).uses}


def _check_use(arguments: argparse.Namespace, sources: Sequence[str | None], target: str) -> None:
    names = [name for name in (*sources, target) if name]
    for option in ("base", "background"):
        is_used = any(_used(arguments, name, option) for name in names)
        if getattr(arguments, option) is not None and not is_used:
            formats = ", ".join(dict.fromkeys(names))
            raise UsageError(f"--{option} has no meaning for the formats {formats}; leave it out")
    words = arguments.background or []
    if len(words) > 1 and target and _used(arguments, target, "background"):
        raise UsageError(f"--background gives {len(words)} words; the format {target} can write only one")


def _is_same(one: Any, other: Any) -> bool:
    return bool(one.resolve() == other.resolve())


def _read_all(
    arguments: argparse.Namespace,
) -> tuple[list[Annotations], list[dict[str, Any]], HiddenTwoStreamError | None]:
    """Return the labels of all readable files, a JSON-ready row per file, and the first error."""
    from hidden_two_stream.data.annotations.files import read_annotations
    from hidden_two_stream.data.annotations.summary import summarize
    from hidden_two_stream.data.annotations.table import detect_format, format_named

    found: list[Annotations] = []
    rows: list[dict[str, Any]] = []
    first_error = None
    for file in arguments.files:
        row: dict[str, Any] = {"file": str(file), "format": arguments.source, "videos": [], "error": None}
        rows.append(row)
        try:
            source = arguments.source or detect_format(file).name
            row["format"] = format_named(source).name
            items = read_annotations(
                file,
                source,
                fps=arguments.fps,
                num_frames=arguments.frames,
                video=arguments.video,
                labels=arguments.label,
                **_used(arguments, source, "base", "background"),
            )
        except HiddenTwoStreamError as error:
            row["error"] = str(error)
            first_error = first_error or error
            continue
        found += items
        row["videos"] = [summarize(item).to_dict() for item in items]
    return found, rows, first_error


def _write(arguments: argparse.Namespace, found: Sequence[Annotations], target: str) -> dict[str, Any]:
    from hidden_two_stream.data.annotations.files import write_annotations

    words = _used(arguments, target, "background").get("background")
    notes = write_annotations(
        arguments.out,
        found,
        target,
        fps=arguments.fps,
        num_frames=arguments.frames,
        lossy=arguments.lossy,
        background=words[0] if words else None,
        **_used(arguments, target, "base"),
    )
    return {"file": str(arguments.out), "format": target, "notes": list(notes)}


def _text(
    rows: Sequence[dict[str, Any]], written: dict[str, Any] | None, arguments: argparse.Namespace
) -> str:
    from hidden_two_stream.data.annotations.summary import LabelSummary, VideoSummary

    lines = []
    for row in rows:
        if row["error"] is not None:
            lines.append(f"{row['file']}: {row['error']}")
            continue
        lines.append(f"{row['file']}: {row['format']}, {number_of(len(row['videos']), 'video')}")
        for data in row["videos"]:
            labels = {name: LabelSummary(**values) for name, values in data["labels"].items()}
            lines += _video_lines(VideoSummary(**{**data, "labels": labels}))
    if written is not None:
        lines.append(f"written: {written['file']} ({written['format']})")
        lines += [f"  {note}" for note in written["notes"]]
    elif arguments.out is not None:
        lines.append("nothing written, since not all files can be read")
    return "\n".join(map(one_line, lines))


def _video_lines(video: VideoSummary) -> list[str]:
    facts = []
    if video.duration_seconds is not None:
        facts.append(f"{video.duration_seconds:g} s")
    if video.num_frames is not None:
        facts.append(f"{number_of(video.num_frames, 'frame')} at {video.fps:g} per second")
    lines = [": ".join([f"  {video.video}", *([", ".join(facts)] if facts else [])])]
    width = max(map(len, video.labels), default=0)
    for name, label in video.labels.items():
        counts = [number_of(label.bouts, "bout")] if label.bouts or not label.points else []
        counts += [number_of(label.points, "point")] if label.points else []
        text = f"    {name:<{width}}  {', '.join(counts)}"
        if label.bouts:
            text += f", {label.seconds:.2f} s ({label.shortest_seconds:.2f} to {label.longest_seconds:.2f}, "
            text += f"median {label.median_seconds:.2f})"
        lines.append(text)
    if video.subjects:
        lines.append(f"    by {', '.join(video.subjects)}")
    if not video.says_what_is_labeled:
        lines.append("    the file doesn't say which time was looked at")
    elif video.unlabeled_seconds is None or video.unlabeled_seconds > 1e-6:
        length = "unknown" if video.unlabeled_seconds is None else f"{video.unlabeled_seconds:.2f} s"
        lines.append(f"    not labeled: {length}")
    return lines + [f"    {note}" for note in video.notes]

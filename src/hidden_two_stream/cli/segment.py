"""`hts segment`."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.bulk import (
    add_bulk,
    named_sources,
    require_no_table_options,
    shard_of,
    write_table,
)
from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_threads,
    describe_scorer,
    open_scorer,
    path,
    path_text,
)
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.cli.sources import Failure, add_videos, attempt
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.segment_settings import SegmentRule, SegmentSettings
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note

if TYPE_CHECKING:
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer
    from hidden_two_stream.inference.predictor import Recognizer
    from hidden_two_stream.types import Segment

__all__ = ["SETTINGS", "SUMMARY", "add_arguments", "add_segment_settings", "run", "segment_settings"]

SUMMARY = "find what happens when in untrimmed videos: start, end, label, score"

SETTINGS = tuple(item.name for item in fields(SegmentSettings))
"""The options that `add_segment_settings` adds, without their dashes."""

_HELP = {
    "hop_seconds": "time between two windows; less is finer and slower",
    "smoothing_seconds": "length of the moving average over the scores; 0: none",
    "enter": "score that a segment must reach, whatever the run's calibration says about what is known "
    "(default: 0.5, or the calibration's threshold if it has no prototypes)",
    "leave": "score above which it extends to both sides (default: 0.6 of --enter)",
    "bridge_seconds": "a shorter gap within one class is closed",
    "shortest_seconds": "a shorter segment is dropped",
    "background": "class that means that nothing known happens (default: background, if there is one)",
}


def add_segment_settings(parser: argparse._ActionsContainer) -> None:
    """Add the options of `SegmentSettings`."""
    for item in fields(SegmentSettings):
        is_number = item.name != "background"
        metavar = "CLASS" if not is_number else "SECONDS" if item.name.endswith("seconds") else "SCORE"
        default = "" if item.default is None else f" (default: {item.default:g})"
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=float if is_number else str,
            metavar=metavar,
            help=_HELP[item.name] + default,
        )


def segment_settings(arguments: argparse.Namespace) -> SegmentSettings:
    """Return the settings of the options that `add_segment_settings` added.

    Raises:
        UsageError: a value is out of range.
    """
    given = {name: getattr(arguments, name) for name in SETTINGS}
    return SegmentSettings(**{name: value for name, value in given.items() if value is not None})


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts segment`."""
    videos = add_videos(parser, "run folder, checkpoint file, or an exported model.onnx")
    add_segment_settings(parser)
    parser.add_argument(
        "--out",
        type=path_text,  # a table checks that it is no address
        metavar="FILE",
        help="write the segments: .csv, .json, .vtt or .srt (subtitles), .eaf (ELAN), .boris; or a table of "
        "many videos, .jsonl or .parquet, which the same command continues where it was stopped",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="with a table: processes for many videos, each with one thread (default: %(default)s)",
    )
    add_bulk(parser, videos, "a table")
    parser.add_argument(
        "--timeline", type=path, metavar="FILE", help="draw scores and segments over time: .svg or .png"
    )
    parser.add_argument("--overlay", type=path, metavar="FILE", help="write the video with its labels: .mp4")
    add_device(parser)
    add_threads(parser)


@dataclass
class _Found:
    """What was found so far."""

    segments: dict[str, list[Segment]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    failed: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        from hidden_two_stream.data.segment_files import segment_dict

        videos = [
            {
                "source": source,
                "segments": [segment_dict(segment) for segment in segments],
                "warnings": self.warnings[source],
            }
            for source, segments in self.segments.items()
        ]
        return {"videos": videos, "unreadable": self.failed}


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.bulk.tables import SUFFIXES
    from hidden_two_stream.data.segment_files import write_segments

    settings = segment_settings(arguments)
    if arguments.out is not None and arguments.out.lower().endswith(SUFFIXES):
        return _write_table(arguments, settings)
    out = None if arguments.out is None else Path(arguments.out)
    needed = f"a table, --out FILE{' or FILE'.join(SUFFIXES)}"
    require_no_table_options(arguments, needed, ["workers"] if arguments.workers != 1 else [])
    recognizer = open_scorer(arguments)
    named, left_out = named_sources(arguments, "segmented")
    videos = shard_of(arguments, named)
    _check_outputs(arguments, out, videos)
    found = _Found()
    used = _used(settings, recognizer.segment_rule(settings))
    try:
        for source in videos:
            work = partial(_segment, arguments, recognizer, settings, source, found)
            done = attempt(source, work, arguments.debug)
            if isinstance(done, Failure):
                found.failed.append({"source": source, "reason": done.reason})
    finally:  # what was found is not lost, even after Ctrl-C
        if out is not None and found.segments:
            for line in write_segments(out, found.segments):
                note(f"hts: not in {out.name}: {line}")
        if arguments.json:
            print_json({"run": arguments.run, "settings": used, **found.to_dict(), "left_out": left_out})
    return 1 if found.failed else 0


def _used(settings: SegmentSettings, rule: SegmentRule) -> dict[str, Any]:
    return {**asdict(settings), "enter": rule.enter, "leave": rule.leave}


def _write_table(arguments: argparse.Namespace, settings: SegmentSettings) -> int:
    """Write the table of many videos and return the exit code."""
    from hidden_two_stream.bulk.segment import segment_table
    from hidden_two_stream.inference.scoring import Scoring

    rule = Scoring.of(describe_scorer(arguments)).segment_rule(settings)
    table = partial(segment_table, arguments.run, out=arguments.out, settings=settings)
    more = {"settings": _used(settings, rule)}
    return write_table(arguments, "segmented", ("timeline", "overlay"), table, more)


def _check_outputs(arguments: argparse.Namespace, out: Path | None, videos: list[str]) -> None:
    """Reject outputs that cannot be written, before anything is computed."""
    from hidden_two_stream.data.segment_files import check_segments_path
    from hidden_two_stream.reports.overlay import check_overlay_path
    from hidden_two_stream.reports.timeline import check_timeline_path

    if out is not None:
        check_segments_path(out, len(videos))
    for name in ("timeline", "overlay"):
        file: Path | None = getattr(arguments, name)
        if file is not None and len(videos) != 1:
            raise UsageError(
                f"--{name} shows one video, but there are {len(videos) or 'none'}; give one video at a time"
            )
    if arguments.timeline is not None:
        check_timeline_path(arguments.timeline)
    if arguments.overlay is not None:
        check_overlay_path(arguments.overlay, videos[0])


def _segment(
    arguments: argparse.Namespace,
    recognizer: Recognizer | OnnxRecognizer,
    settings: SegmentSettings,
    source: str,
    found: _Found,
) -> None:
    """Find the segments of one video, print them as they come, and draw what is asked for."""
    from hidden_two_stream.reports.overlay import write_overlay
    from hidden_two_stream.reports.timeline import ScoreProfile, write_timeline

    profile = ScoreProfile(len(recognizer.classes))
    warnings: list[str] = []
    segments = recognizer.segment(source, settings, on_scores=profile.add, on_warning=warnings.append)
    found.segments[source], found.warnings[source] = [], warnings
    for segment in segments:
        found.segments[source].append(segment)
        if not arguments.json:
            print_text(one_line(f"{source}: {segment}"))
    listed = found.segments[source]
    if not listed:
        note(f"hts: {source}: nothing known was found")
    for warning in warnings:
        note(f"hts: {source}: {warning}")
    if arguments.overlay is not None or str(arguments.timeline).lower().endswith(".png"):
        _note_letters({segment.label for segment in listed})
    if arguments.timeline is not None:
        write_timeline(arguments.timeline, profile, listed, recognizer.classes, source)
    if arguments.overlay is not None:
        write_overlay(arguments.overlay, source, listed, recognizer.classes)


def _note_letters(labels: set[str]) -> None:
    """Name the labels that are drawn with other letters than their own."""
    from hidden_two_stream.reports.drawing import drawable

    for label in sorted(labels):
        if drawable(label) != label:
            note(f"hts: the label {label!r} is drawn as {drawable(label)!r}: OpenCV's font has ASCII only")

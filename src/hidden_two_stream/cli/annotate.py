"""`hts annotate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_threads,
    path,
)
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.cli.sources import Failure, add_videos, attempt, named_videos
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note, number_of

if TYPE_CHECKING:
    from hidden_two_stream.inference.frame_scores import FrameScores, FrameSettings

__all__ = ["SUMMARY", "add_arguments", "add_thresholds", "frame_settings", "run"]

SUMMARY = "label every frame of videos: a table per frame, and bouts"


def add_thresholds(parser: argparse._ActionsContainer) -> None:
    """Add --threshold."""
    parser.add_argument(
        "--threshold", action="append", default=[], metavar="BEHAVIOR=SCORE",
        help="score from which on a behavior is said to happen (default: chosen in training); repeatable",
    )  # fmt: skip


def frame_settings(arguments: argparse.Namespace) -> FrameSettings:
    """Return the settings of the options --threshold, --shortest-seconds and --bridge-seconds.

    Raises:
        UsageError: a value is out of range, or no number.
    """
    from hidden_two_stream.inference.frame_scores import FrameSettings

    return FrameSettings(
        _thresholds(arguments.threshold), arguments.shortest_seconds or 0.0, arguments.bridge_seconds or 0.0
    )


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts annotate`."""
    add_videos(parser)
    parser.add_argument(
        "--out", type=path, metavar="FOLDER",
        help="write VIDEO_frames.csv (a row per frame) for each video, and bouts.csv for all",
    )  # fmt: skip
    parser.add_argument(
        "--format", metavar="NAME",
        help="write the bouts of each video in this label format, too (see hts labels); needs --out",
    )  # fmt: skip
    add_thresholds(parser)
    parser.add_argument(
        "--shortest-seconds", type=float, default=0.0, metavar="SECONDS",
        help="leave out shorter bouts (default: keep all)",
    )  # fmt: skip
    parser.add_argument(
        "--bridge-seconds", type=float, default=0.0, metavar="SECONDS",
        help="fill shorter gaps between two bouts of a behavior (default: none)",
    )  # fmt: skip
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.annotations.table import format_named
    from hidden_two_stream.inference.annotation_files import bout_rows, bouts_csv, require_own_files
    from hidden_two_stream.inference.annotator import load_annotator

    if arguments.format is not None:
        format_named(arguments.format)
        if arguments.out is None:
            raise UsageError("--format needs --out, the folder that gets the files")
    settings = frame_settings(arguments)
    annotator = load_annotator(arguments.run, arguments.device)
    annotator.check(settings)
    sources, left_out = named_videos(arguments.sources, "labeled")
    if arguments.out is not None:
        require_own_files(arguments.out, sources, arguments.format)
    rows: list[list[object]] = []
    videos: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    try:
        for source in sources:
            scores = attempt(source, partial(annotator.annotate, source, settings), arguments.debug)
            if isinstance(scores, Failure):
                failed.append({"source": source, "reason": scores.reason})
                continue
            _note_facts(scores, arguments)
            rows += bout_rows(scores)
            videos.append(_summary(scores))
            _write(scores, arguments)
            if not arguments.json:
                print_text(_text(scores))
    finally:  # what was computed is not lost, even after Ctrl-C
        if arguments.out is not None and videos:
            bouts_csv(arguments.out, rows)
        if arguments.json:
            result = {"run": arguments.run, "videos": videos, "unreadable": failed, "left_out": left_out}
            print_json(result)
    return 1 if failed else 0


def _note_facts(scores: FrameScores, arguments: argparse.Namespace) -> None:
    """Name on stderr what is wrong with a video, and each bout that was left out."""
    for warning in scores.warnings:
        note(f"hts: {scores.source}: {warning}")
    for bout in scores.removed:
        note(
            f"hts: {scores.source}: left out {bout.label} from {bout.start_seconds:.2f} to "
            f"{bout.end_seconds:.2f} s: shorter than {arguments.shortest_seconds:g} s",
            quiet=arguments.quiet,
        )


def _write(scores: FrameScores, arguments: argparse.Namespace) -> None:
    """Write the files of one video."""
    from hidden_two_stream.inference.annotation_files import frames_csv, write_labels

    if arguments.out is None:
        return
    frames_csv(arguments.out, scores)
    if arguments.format is not None:
        for line in write_labels(arguments.out, scores, arguments.format):
            note(f"hts: {line}")


def _thresholds(texts: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not (equals and name):
            raise UsageError(f"--threshold is {text!r}; expected BEHAVIOR=SCORE, such as groom=0.4")
    return found


def _statistics(scores: FrameScores) -> dict[str, dict[str, Any]]:
    """Return number, total, mean and first of the bouts of each behavior."""
    result: dict[str, dict[str, Any]] = {}
    bouts = scores.bouts()
    for name in scores.names:
        ours = [bout for bout in bouts if bout.label == name]
        total = sum(bout.seconds for bout in ours)
        result[name] = {
            "num_bouts": len(ours),
            "total_seconds": round(total, 6),
            "mean_seconds": round(total / len(ours), 6) if ours else None,
            "first_seconds": round(ours[0].start_seconds, 6) if ours else None,
            "share_of_time": round(total / scores.end_seconds, 6),
        }
    return result


def _summary(scores: FrameScores) -> Mapping[str, Any]:
    return {
        "source": scores.source,
        "num_frames": len(scores.pts_seconds),
        "duration_seconds": round(scores.end_seconds, 6),
        "behaviors": _statistics(scores),
        "bouts": [
            {
                "label": bout.label,
                "start_seconds": round(bout.start_seconds, 6),
                "end_seconds": round(bout.end_seconds, 6),
                "score": bout.score,
            }
            for bout in scores.bouts()
        ],
        "warnings": list(scores.warnings),
    }


def _text(scores: FrameScores) -> str:
    lines = [f"{scores.source}: {len(scores.pts_seconds)} frames, {scores.end_seconds:.1f} s"]
    for name, facts in _statistics(scores).items():
        if facts["num_bouts"]:
            lines.append(
                f"  {name}: {number_of(facts['num_bouts'], 'bout')}, {facts['total_seconds']:.1f} s "
                f"({facts['share_of_time']:.0%}), the first at {facts['first_seconds']:.1f} s"
            )
        else:
            lines.append(f"  {name}: never")
    return "\n".join(map(one_line, lines))

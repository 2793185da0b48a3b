"""`hts check`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import DATA_HELP, Parser, add_workers, path_text, show, workers
from hidden_two_stream.printing import one_line

if TYPE_CHECKING:
    from hidden_two_stream.data.check import DatasetCheck

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "decode every video of a dataset; report unreadable ones, class balance and lengths"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts check`."""
    parser.add_argument("data", type=path_text, metavar="DATA", help=DATA_HELP)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.check import check_dataset

    result = check_dataset(arguments.data, workers(arguments), quiet=arguments.quiet)
    show(arguments, result.to_dict(), _text(result))
    return 1 if result.unreadable else 0


def _text(result: DatasetCheck) -> str:
    from hidden_two_stream.data.samples import left_out_lines
    from hidden_two_stream.progress import number_of

    classes = number_of(len(result.classes), "class", "classes")
    lines = [f"{number_of(result.num_videos, 'video')}, {result.num_readable} readable, {classes}"]
    lines += [f"  {name}: {count.readable} of {count.videos}" for name, count in result.classes.items()]
    if set(result.splits) != {"none"}:
        lines.append("splits: " + ", ".join(f"{name} {count}" for name, count in result.splits.items()))
    if result.num_frames is not None:
        frames = result.num_frames
        lines.append(f"frames per video: {frames.min} to {frames.max}, median {frames.median:g}")
    if result.seconds is not None:
        seconds = result.seconds
        lines.append(f"seconds per video: {seconds.min:g} to {seconds.max:g}, median {seconds.median:g}")
    if result.num_shorter_than_a_clip:
        lines.append(f"shorter than a clip: {result.num_shorter_than_a_clip} (the last frame is repeated)")
    lines.append("sizes: " + ", ".join(f"{size} ({count})" for size, count in result.sizes.items()))
    lines += [f"no videos in {folder}: not counted as a class" for folder in result.empty_folders]
    lines += left_out_lines(result.left_out)
    lines += [f"unreadable: {line}" for line in result.unreadable]
    lines += [f"duplicates: {group}" for group in result.duplicates]
    lines += [f"warning: {line}" for line in result.warnings]
    return "\n".join(map(one_line, lines))

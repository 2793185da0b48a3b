"""`hts check`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import DATA_HELP, Parser, add_workers, path_text, show, workers
from hidden_two_stream.printing import one_line

if TYPE_CHECKING:
    from hidden_two_stream.data.check import DatasetCheck

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "decode every video of a dataset; report unreadable ones, duplicates, balance, lengths and motion"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts check`."""
    parser.add_argument("data", type=path_text, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--no-motion", action="store_true", help="don't measure how much moves in each video")
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.index import require_data

    require_data(arguments.data)
    from hidden_two_stream.data.check import check_dataset

    number, measure = workers(arguments), None
    if not arguments.no_motion:
        from hidden_two_stream.inference.clip_motion import motion_measure
        from hidden_two_stream.inference.motion_estimator import motion_estimator

        measure = motion_measure(motion_estimator("nano"))
    result = check_dataset(arguments.data, number, quiet=arguments.quiet, measure=measure)
    show(arguments, result.to_dict(), _text(result))
    return 1 if result.unreadable else 0


def _text(result: DatasetCheck) -> str:
    from hidden_two_stream.data.samples import left_out_lines
    from hidden_two_stream.data.unusual import named
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
    if result.rates:
        rates = ", ".join(f"{rate} ({count})" for rate, count in result.rates.items())
        lines.append(f"frames per second: {rates}")
    lines += _motion_lines(result)
    lines += [f"no videos in {folder}: not counted as a class" for folder in result.empty_folders]
    lines += left_out_lines(result.left_out)
    lines += [f"unreadable: {line}" for line in result.unreadable]
    lines += [f"duplicates: {group}" for group in result.duplicates]
    lines += named("very short", result.short) + named("very long", result.long)
    lines += named("another frame rate", result.other_rates)
    if result.other_rates:
        lines.append("to sample all videos by time, train with --set input.fps=RATE")
    if result.groups is not None:
        lines.append(str(result.groups))
    lines += named("nothing moves in", result.still)
    lines += named("everything moves in (camera?)", result.everything_moves)
    lines += [f"warning: {line}" for line in result.warnings]
    return "\n".join(map(one_line, lines))


def _motion_lines(result: DatasetCheck) -> list[str]:
    """Return how much moves, for each class: the medians of its clips."""
    from statistics import median

    if not result.motion:
        return []
    lines = ["motion, px per frame of 64 px (median over the clips of a class):"]
    for label in result.classes:
        clips = [clip for clip in result.motion if clip.label == label]
        if clips:
            mean, peak = median(c.mean_px for c in clips), median(c.peak_px for c in clips)
            lines.append(f"  {label}: mean {mean:.2f}, peak {peak:.2f}")
    return lines

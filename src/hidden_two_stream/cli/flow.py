"""`hts flow`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_motion_source,
    add_threads,
    open_motion,
    path,
    show,
)
from hidden_two_stream.printing import one_line

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write the learned motion of a video: color-coded beside the frames, or as .flo files"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts flow`."""
    add_motion_source(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        metavar="OUT",
        help="video file, or folder for one .flo file per frame pair (default: NAME.flow.mp4 in the current "
        "folder, where NAME is VIDEO's name)",
    )
    parser.add_argument(
        "--max-px",
        type=float,
        metavar="PX",
        help="motion of full color, in pixels per frame (default: chosen from the video, which is then read "
        "twice)",
    )
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.flow_export import export_flow
    from hidden_two_stream.progress import note, number_of

    estimator, video = open_motion(arguments)
    result = export_flow(
        estimator, video, arguments.out, short_side=arguments.short_side, max_px=arguments.max_px
    )
    for warning in result.warnings:
        note(f"hts: {video}: {warning}")
    pairs = number_of(result.num_pairs, "frame pair")
    show(arguments, result.to_dict(), one_line(f"{result.output}: motion of {pairs} of {result.source}"))
    return 0

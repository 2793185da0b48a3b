"""`hts flow`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    Parser,
    Replacing,
    add_device,
    open_recognizer,
    path,
    path_text,
    show,
)
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write the learned motion of a video: color-coded beside the frames, or as .flo files"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts flow`."""
    parser.usage = "%(prog)s [options] RUN VIDEO\n       %(prog)s [options] --network WEIGHTS VIDEO"
    parser.add_argument(
        "run",
        type=path_text,
        metavar="RUN",
        help="run folder or checkpoint file; leave it out with --network",
    )
    parser.missing = "; give RUN VIDEO, or --network nano VIDEO"
    video = parser.add_argument(
        "video", type=path_text, metavar="VIDEO", help="video file, URL or folder of frames"
    )
    parser.add_argument(
        "--network",
        type=path_text,
        metavar="WEIGHTS",
        action=Replacing,
        replaced=video,
        help="use a trained MotionNet without a run: the name of shipped weights, such as nano, or a file of "
        "motion weights",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        metavar="OUT",
        help="video file, or folder for one .flo file per frame pair (default: NAME.flow.mp4 in the current "
        "folder, where NAME is VIDEO's name)",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="shorter side of the frames that MotionNet sees (default: RUN's input size; with --network "
        "VIDEO's own, at most 256 and, except for nano, at least 128)",
    )
    parser.add_argument(
        "--max-px",
        type=float,
        metavar="PX",
        help="motion of full color, in pixels per frame (default: chosen from the video, which is then read "
        "twice)",
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.flow_export import export_flow
    from hidden_two_stream.inference.motion_estimator import motion_estimator
    from hidden_two_stream.progress import note, number_of

    if arguments.network is None:
        estimator, video = open_recognizer(arguments).motion_estimator, arguments.video
    elif arguments.video is None:
        estimator, video = motion_estimator(arguments.network, arguments.device), arguments.run
    else:
        raise UsageError(
            f"--network {arguments.network} and the run {arguments.run!r} both give a MotionNet; "
            "leave one out"
        )
    result = export_flow(
        estimator, video, arguments.out, short_side=arguments.short_side, max_px=arguments.max_px
    )
    for warning in result.warnings:
        note(f"hts: {video}: {warning}")
    pairs = number_of(result.num_pairs, "frame pair")
    show(arguments, result.to_dict(), one_line(f"{result.output}: motion of {pairs} of {result.source}"))
    return 0

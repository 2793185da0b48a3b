"""`hts flow`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    Replacing,
    add_device,
    open_recognizer,
    show,
)
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "the learned motion as a colour video beside the frames, or as .flo files"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts flow`."""
    parser.usage = "%(prog)s [options] RUN VIDEO\n       %(prog)s [options] --network NAME VIDEO"
    parser.add_argument("run", metavar="RUN", help="run folder or checkpoint file; not with --network")
    parser.missing = "; give RUN VIDEO, or --network nano VIDEO"
    video = parser.add_argument("video", metavar="VIDEO", help="video file, URL or folder of frames")
    parser.add_argument("--network", metavar="NAME", action=Replacing, replaced=video, help="a trained "
                      "MotionNet of the package, such as nano, or a file of motion weights")  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="video file, or folder for .flo files "
                      "(default: VIDEO's name with .flow.mp4, in this folder)")  # fmt: skip
    parser.add_argument("--short-side", type=int, metavar="PX", help="shorter side of MotionNet's pictures "
                      "(default: as RUN was trained; with --network the video's own, at most 256, and at "
                      "least 128 but for nano)")  # fmt: skip
    parser.add_argument(
        "--max-px", type=float, metavar="PX", help="motion of full colour (default: from the video)"
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.flow_export import default_output, flow_command
    from hidden_two_stream.inference.motion_estimator import motion_estimator
    from hidden_two_stream.progress import number_of

    if arguments.max_px is not None and not arguments.max_px > 0:
        raise UsageError(f"--max-px is {arguments.max_px}; expected a positive number")
    if arguments.network is None:
        estimator, video = open_recognizer(arguments).motion_estimator, arguments.video
    elif arguments.video is None:
        estimator, video = motion_estimator(arguments.network, arguments.device), arguments.run
    else:
        raise UsageError(
            f"--network {arguments.network} and the run {arguments.run!r} both give a MotionNet; "
            "leave one out"
        )
    out = default_output(video) if arguments.out is None else arguments.out
    result = flow_command(estimator, video, out, arguments.short_side, arguments.max_px)
    for warning in result["warnings"]:
        print(f"hts: {video}: {warning}", file=sys.stderr)
    show(
        arguments,
        result,
        f"{result['output']}: motion of {number_of(result['num_pairs'], 'frame pair')} of {result['source']}",
    )
    return 0

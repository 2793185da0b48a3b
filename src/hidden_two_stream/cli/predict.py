"""`hts predict`."""

from __future__ import annotations

import argparse
import sys

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_protocol,
    open_recognizer,
)
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "label videos: files, folders, globs, frame folders or URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    parser.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="videos (put -- before a name that begins with a dash)"
    )
    parser.add_argument(
        "--top", type=int, default=3, help="number of classes to print per video (default: %(default)s)"
    )
    add_protocol(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.cli.output import print_json
    from hidden_two_stream.errors import VideoError
    from hidden_two_stream.video.finding import expand_sources

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    recognizer = open_recognizer(arguments)
    predictions, failed = [], []
    for source in expand_sources(arguments.sources):
        try:
            prediction = recognizer.predict(source, arguments.protocol)
        except VideoError as error:
            failed.append({"source": error.source, "reason": error.reason})
            print(f"hts: {error}", file=sys.stderr)
            continue
        predictions.append(prediction.to_dict(arguments.top))
        if not arguments.json:
            best = ", ".join(f"{name} {score:.2f}" for name, score in prediction.top(arguments.top))
            print(f"{prediction.source}: {best}", flush=True)
        for warning in prediction.warnings:
            print(f"hts: {prediction.source}: {warning}", file=sys.stderr)
    if arguments.json:
        print_json({"run": arguments.run, "predictions": predictions, "unreadable": failed})
    return 1 if failed else 0

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

SUMMARY = "label videos: files, folders, globs, frame folders, URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    parser.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="videos (put -- before names that begin with a dash)"
    )
    parser.add_argument("--top", type=int, default=3, help="classes to print (default: %(default)s)")
    add_protocol(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.cli.output import print_json
    from hidden_two_stream.errors import VideoError
    from hidden_two_stream.inference.sources import expand_sources, predict_command

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    loaded = open_recognizer(arguments)
    predictions, failed = [], []
    for outcome in predict_command(loaded, expand_sources(arguments.sources), arguments.protocol):
        if isinstance(outcome, VideoError):
            failed.append({"source": outcome.source, "reason": outcome.reason})
            print(f"hts: {outcome}", file=sys.stderr)
            continue
        predictions.append(outcome.to_dict(arguments.top))
        if not arguments.json:
            best = ", ".join(f"{name} {score:.2f}" for name, score in outcome.top(arguments.top))
            print(f"{outcome.source}: {best}", flush=True)
        for warning in outcome.warnings:
            print(f"hts: {outcome.source}: {warning}", file=sys.stderr)
    if arguments.json:
        print_json({"run": arguments.run, "predictions": predictions, "unreadable": failed})
    return 1 if failed else 0

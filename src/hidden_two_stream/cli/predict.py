"""`hts predict`."""

from __future__ import annotations

import argparse
from typing import Any

from hidden_two_stream.cli.options import Parser, add_device, add_protocol, open_recognizer, path_text
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "label videos: files, folders, globs, frame folders or URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "sources",
        type=path_text,
        nargs="+",
        metavar="SOURCE",
        help="videos (put -- before a name that begins with a dash)",
    )
    parser.add_argument(
        "--top", type=int, default=3, help="number of classes to print per video (default: %(default)s)"
    )
    add_protocol(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.errors import VideoError
    from hidden_two_stream.inference.windows import run_protocol
    from hidden_two_stream.video.finding import expand_sources

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    recognizer = open_recognizer(arguments)
    protocol = run_protocol(arguments.protocol, recognizer.info.recipe, note)
    predictions: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    found = {"run": arguments.run, "predictions": predictions, "unreadable": failed}
    try:
        for source in expand_sources(arguments.sources):
            try:
                prediction = recognizer.predict(source, protocol.name)
            except VideoError as error:
                failed.append({"source": error.source, "reason": error.reason})
                note(f"hts: {error}")
                continue
            predictions.append(prediction.to_dict(arguments.top))
            if not arguments.json:
                best = ", ".join(f"{name} {score:.2f}" for name, score in prediction.top(arguments.top))
                print_text(one_line(f"{prediction.source}: {best}"))
            for warning in prediction.warnings:
                note(f"hts: {prediction.source}: {warning}")
    except KeyboardInterrupt:
        if arguments.json and predictions:  # what is finished is not lost
            print_json(found)
        raise
    if arguments.json:
        print_json(found)
    return 1 if failed else 0

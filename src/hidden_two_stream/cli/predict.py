"""`hts predict`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from hidden_two_stream.cli.options import Parser, add_device, add_protocol, open_scorer
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.cli.sources import Failure, add_videos, attempt, named_videos
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "label videos: files, folders, globs, frame folders or URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    add_videos(parser, "run folder, checkpoint file, or an exported model.onnx")
    parser.add_argument(
        "--top", type=int, default=3, help="number of classes to print per video (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="fused score below which no class fits; 0: a class always fits (default: the run's calibration "
        "decides)",
    )
    add_protocol(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.windows import parse_protocol, run_protocol
    from hidden_two_stream.types import require_threshold

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    require_threshold(arguments.threshold)
    parse_protocol(arguments.protocol)
    recognizer = open_scorer(arguments)
    protocol = run_protocol(arguments.protocol, recognizer.info.recipe, note)
    sources, left_out = named_videos(arguments.sources, "labeled")
    predictions: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    result = {"run": arguments.run, "predictions": predictions, "unreadable": failed, "left_out": left_out}
    try:
        for source in sources:
            predict = partial(recognizer.predict, source, protocol.name, threshold=arguments.threshold)
            prediction = attempt(source, predict, arguments.debug)
            if isinstance(prediction, Failure):
                failed.append({"source": source, "reason": prediction.reason})
                continue
            predictions.append(prediction.to_dict(arguments.top))
            if not arguments.json:
                print_text(one_line(prediction.line(arguments.top)))
            for warning in prediction.warnings:
                note(f"hts: {prediction.source}: {warning}")
    except KeyboardInterrupt:
        if arguments.json and predictions:  # what is finished is not lost
            print_json(result)
        raise
    if arguments.json:
        print_json(result)
    return 1 if failed else 0

"""`hts prepare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    add_workers,
    show,
    workers,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "is a copy of a research data set whole, and are its lists right?"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts prepare`."""
    parser.add_argument("name", metavar="NAME", help="ucf101, hmdb51, thumos14, activitynet, kinetics or tsn")
    parser.add_argument("root", metavar="ROOT", help="its folder; of kinetics also a CSV; of tsn "
                         "TRAIN.txt or TRAIN.txt:TEST.txt")  # fmt: skip
    parser.add_argument(
        "--splits", metavar="1..3", help="of ucf101 and hmdb51: one, or a range (default: all)"
    )
    parser.add_argument("--decode", action="store_true", help="decode all videos to their ends (default: "
                         "open each up to its first frame)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all missing and unreadable videos")
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.benchmarks.prepare import prepare_command, prepare_text

    result = prepare_command(
        arguments.name,
        arguments.root,
        splits=arguments.splits,
        decode_all=arguments.decode,
        workers=workers(arguments),
        out=arguments.out,
        quiet=arguments.quiet,
    )
    show(arguments, result, prepare_text(result))
    return 0 if result["complete"] else 1

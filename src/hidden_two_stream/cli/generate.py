"""`hts generate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    show,
    workers,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write a fixed, generated benchmark: videos with exact motion"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts generate`."""
    parser.add_argument("name", metavar="NAME", help="motions-v1: twelve motions in three grades")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder, "
                          "or one where this was stopped; its labels.csv (path,label,split,grade) is what "
                          "--data takes")  # fmt: skip
    parser.add_argument(
        "--workers", type=int, help="processes that share the work (default: one per core, at most 8)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.synthetic.generate import generate_command, generate_text

    result = generate_command(arguments.name, arguments.out, workers(arguments), quiet=arguments.quiet)
    show(arguments, result, generate_text(result))
    return 0

"""`hts check`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_workers,
    show,
    workers,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "decode everything; list what is unreadable, class balance, lengths"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts check`."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.check import check_command, check_text

    result = check_command(arguments.data, workers(arguments), quiet=arguments.quiet)
    show(arguments, result, check_text(result))
    return 1 if result["unreadable"] else 0

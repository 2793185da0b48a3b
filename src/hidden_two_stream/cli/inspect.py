"""`hts inspect`."""

from __future__ import annotations

import argparse
import sys

from hidden_two_stream.cli.options import Parser, add_device, path_text, show

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "show a run's card: classes, data, accuracies, sizes, origin and training curves"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts inspect`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "--speed", action="store_true", help="also measure how fast the run is on this machine"
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.errors import UsageError
    from hidden_two_stream.reports.card_text import card_text
    from hidden_two_stream.reports.run_card import inspect

    if "device" in getattr(arguments, "given", ()) and not arguments.speed:
        raise UsageError("--device is where the speed is measured: add --speed, or leave it out")
    card = inspect(arguments.run, speed=arguments.speed, device=arguments.device)
    show(arguments, card.to_dict(), card_text(card, plain=not _has_blocks()))
    return 0


def _has_blocks() -> bool:
    """Whether the output can hold block characters."""
    try:
        "▁█→".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True

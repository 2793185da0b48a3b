"""`hts demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    add_recipe,
    add_resources,
    resources,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "the whole story on generated video: learn, test, compare, report"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts demo`."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (default: %(default)s)")
    add_recipe(parser, "demo")
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.experiments.demo import demo_command, demo_text

    result = demo_command(arguments.out, resources(arguments), arguments.recipe, tuple(arguments.set))
    show(arguments, result, demo_text(result, arguments.out))
    return 0

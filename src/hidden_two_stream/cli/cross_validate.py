"""`hts cross-validate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    add_from_scratch,
    add_protocol,
    add_recipe,
    add_resources,
    overrides,
    resources,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "one fold per group or official split: train, test, means"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts cross-validate`."""
    parser.add_argument("--data", required=True, metavar="DATA", help="CSV with path,label and the group's "
                       "column, or official splits: ucf101:ROOT:1..3, hmdb51:ROOT:1..3")  # fmt: skip
    parser.add_argument(
        "--group", metavar="COLUMN", help="column of the CSV to leave one out of, such as subject"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for all folds")
    add_recipe(parser, "nano")
    add_from_scratch(parser)
    parser.add_argument("--resume", action="store_true", help="keep complete folds and go on with the others")
    add_protocol(parser)
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.config.loading import load_recipe
    from hidden_two_stream.experiments.cross_validation import cross_validate_command, cross_validation_text

    recipe = load_recipe(arguments.recipe, overrides(arguments))
    result = cross_validate_command(
        arguments.data,
        arguments.group,
        arguments.out,
        recipe,
        resources(arguments),
        arguments.protocol,
        arguments.resume,
    )
    show(arguments, result, cross_validation_text(result))
    return 0

"""`hts bench`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    Parser,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "the networks: parameters, multiply-accumulates, layer shapes"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts bench`."""
    parser.add_argument("--models", nargs="*", required=True, metavar="NAME",
                       help="all networks, or those named, with their layers")  # fmt: skip
    parser.add_argument(
        "--size", type=int, default=224, metavar="PX", help="side of the input (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.experiments.network_table import bench_models, bench_models_text

    result = bench_models(arguments.recipes, arguments.size)
    show(arguments, result, bench_models_text(result, layers=bool(arguments.recipes)))
    return 0

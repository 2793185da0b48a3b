"""`hts evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_device,
    add_protocol,
    add_workers,
    show,
    workers,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "accuracy per stream and fused, confusion matrix"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts evaluate`."""
    parser.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--split", help="test, train or all (default: test on the data that the run was trained on, else all)"
    )
    parser.add_argument("--save-scores", type=Path, metavar="FILE",
                          help="write all scores, for hts fuse and others: .npz or .csv")  # fmt: skip
    add_protocol(parser)
    add_device(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.evaluation.evaluate import evaluate_command, evaluation_text

    result = evaluate_command(
        arguments.run,
        arguments.data,
        part=arguments.split,
        protocol=arguments.protocol,
        device=arguments.device,
        workers=workers(arguments),
        save_scores=arguments.save_scores,
        quiet=arguments.quiet,
    )
    show(arguments, result, evaluation_text(result))
    return 0

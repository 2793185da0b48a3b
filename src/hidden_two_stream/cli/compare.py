"""`hts compare`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_allow_duplicates,
    add_from_scratch,
    add_protocol,
    add_recipe,
    add_resources,
    checked_recipe,
    path,
    path_text,
    resources,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "compare hidden motion with precomputed flow, frames and frame differences on the same splits"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts compare`."""
    parser.add_argument("--data", type=path_text, required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--group", metavar="COLUMN", help="column of the CSV whose values are held out in "
                        "turn, such as subject (default: the data's own split)")  # fmt: skip
    parser.add_argument(
        "--out", type=path, required=True, metavar="DIR", help="folder for the table, plot, flow and runs"
    )
    parser.add_argument("--methods", metavar="A,B,...", help="methods to compare: spatial, nearest-frame, "
                        "nearest-motion, frames, difference, tvl1, dis-medium, dis-fast, farneback, "
                        "hidden-frozen, hidden-joint, branched, sequence, sequence-scratch, "
                        "sequence-frozen, raft-small, raft-large, or your own flow estimator as "
                        "package.module:function, which returns (T-1, 2, H, W) px for (T, H, W, 3) "
                        "uint8 frames. A suffix @2 to @8 enlarges the frames of an estimator so many "
                        "times (default: all that are installed, without RAFT and "
                        "without @)")  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs of each method (default: %(default)s)"
    )
    parser.add_argument("--clips", type=int, metavar="N", help="train on at most N clips of each class, "
                        "which each seed draws; test on all test clips (default: all clips)")  # fmt: skip
    parser.add_argument("--folds", type=int, metavar="N", help="use the first N folds alone, for a quick "
                        "look (default: all folds)")  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="keep complete flow and runs, and go on with the others"
    )
    add_recipe(parser, "nano")
    add_from_scratch(parser)
    add_allow_duplicates(parser)
    add_protocol(parser)
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    recipe = checked_recipe(arguments)
    from hidden_two_stream.experiments.compare import compare
    from hidden_two_stream.reports.comparison import comparison_paragraph, comparison_table

    named: str | None = arguments.methods
    comparison = compare(
        arguments.data,
        arguments.out,
        arguments.group,
        None if named is None else [name for name in named.split(",") if name],
        recipe,
        seeds=arguments.seeds,
        seed=arguments.seed,
        protocol=arguments.protocol,
        clips=arguments.clips,
        num_folds=arguments.folds,
        resume=arguments.resume,
        allow_duplicates=arguments.allow_duplicates,
        resources=resources(arguments),
    )
    text = f"{comparison_table(comparison)}\n{comparison_paragraph(comparison)}"
    show(arguments, comparison.to_dict(), text)
    return 0

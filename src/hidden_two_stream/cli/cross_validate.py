"""`hts cross-validate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from hidden_two_stream.cli.options import (
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
from hidden_two_stream.cli.output import calibration_lines
from hidden_two_stream.printing import one_line

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "train and test one fold per value of a column or per official split; report means"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts cross-validate`."""
    parser.add_argument(
        "--data",
        type=path_text,
        required=True,
        metavar="DATA",
        help="CSV with the columns path,label and COLUMN, or official splits: ucf101:ROOT:1..3, "
        "hmdb51:ROOT:1..3",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="column of the CSV whose values are held out in turn, such as subject",
    )
    parser.add_argument(
        "--out", type=path, required=True, metavar="RUN", help="folder for the runs of all folds"
    )
    add_recipe(parser, "nano")
    add_from_scratch(parser)
    parser.add_argument(
        "--resume", action="store_true", help="keep complete folds, and go on with the others"
    )
    add_allow_duplicates(parser)
    add_protocol(parser)
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    recipe = checked_recipe(arguments)
    from hidden_two_stream.experiments.cross_validation import cross_validate

    result = cross_validate(
        arguments.data,
        arguments.out,
        arguments.group,
        recipe,
        protocol=arguments.protocol,
        seed=arguments.seed,
        resume=arguments.resume,
        allow_duplicates=arguments.allow_duplicates,
        resources=resources(arguments),
    ).to_dict()
    show(arguments, result, _text(result))
    return 0


def _text(results: Mapping[str, Any]) -> str:
    """Return the result as text."""
    from hidden_two_stream.evaluation.accuracy import shown_streams
    from hidden_two_stream.progress import number_of

    group = results["group"]
    tested = f", {results['num_test_videos']} test videos" if "num_test_videos" in results else ""
    lines = [
        f"{results['num_folds']} folds by {group}{tested}, "
        f"protocol {results['protocol']}, chance {results['chance']:.1%}"
    ]
    for row in results["folds"]:
        figures = ", ".join(f"{name} {row['accuracy'][name]:.1%}" for name in shown_streams(row["accuracy"]))
        videos = number_of(row["num_test_videos"], "video")
        lines.append(f"  {group} {row[group]}: {figures}  ({videos}, {row['seconds']:.0f} s)")
    for name in shown_streams(results["mean_fold_accuracy"]):
        mean = results["mean_fold_accuracy"][name]
        spread = results["std_fold_accuracy"][name]
        if "accuracy" in results:
            pooled = f"{results['accuracy'][name]:.1%} of all videos; mean of folds"
        else:
            pooled = f"mean of {results['num_folds']} splits"
        lines.append(f"{name:<9} {pooled} {mean:.1%} ± {spread:.1%}")
    lines += calibration_lines(results.get("calibration"))
    if results["num_unreadable"]:
        lines.append(f"{number_of(results['num_unreadable'], 'unreadable video')} not counted")
    return "\n".join(map(one_line, lines))

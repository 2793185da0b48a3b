"""`hts fuse`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "late fusion of score files: accuracy of each and fused"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts fuse`."""
    parser.add_argument(
        "scores",
        nargs="+",
        metavar="SCORES",
        help="FILE or FILE:STREAM: .npz or .csv of hts evaluate --save-scores, or .mat with a row per video "
        "and a column per class",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="LIST",
        help="the videos and their classes: lines of CLASS/video or of path label, or a CSV with path,label",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        metavar="W",
        help="one per stream; the paper's are 1 1.5 for spatial and temporal (default: all equal)",
    )
    parser.add_argument("--method", default="l1", help="l1, softmax or product (default: %(default)s)")
    parser.add_argument(
        "--search",
        type=Path,
        metavar="VALIDATION_LIST",
        help="choose the weights on these videos of LIST, and test on the others",
    )
    parser.add_argument("--classes", type=Path, metavar="FILE", help="order of the columns of files without "
                      "class names, such as classInd.txt (default: alphabetical)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.evaluation.late_fusion import fuse_command, fusion_text

    result = fuse_command(
        arguments.scores,
        arguments.labels,
        weights=arguments.weights,
        method=arguments.method,
        search=arguments.search,
        classes=arguments.classes,
    )
    show(arguments, result, fusion_text(result))
    return 0

"""`hts fuse`."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, path, path_text, show
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note

if TYPE_CHECKING:
    from hidden_two_stream.evaluation.late_fusion import FusionResult

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "combine score files by late fusion: accuracy of each stream and fused"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts fuse`."""
    parser.add_argument(
        "scores",
        type=path_text,
        nargs="+",
        metavar="SCORES",
        help="FILE or FILE:STREAM: .npz or .csv of hts evaluate --save-scores, or .mat with one row per "
        "video and one column per class",
    )
    parser.add_argument(
        "--labels",
        type=path,
        required=True,
        metavar="LIST",
        help="videos and their classes: lines with CLASS/video or with path and label, or a CSV with the "
        "columns path,label",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        metavar="W",
        help="one weight per stream; the paper uses 1 1.5 for spatial and temporal (default: all equal)",
    )
    parser.add_argument(
        "--method", default="l1", help="fusion method: l1, softmax or product (default: %(default)s)"
    )
    parser.add_argument(
        "--search",
        type=path,
        metavar="VALIDATION_LIST",
        help="search the weights on these videos of LIST, and test on the others",
    )
    parser.add_argument(
        "--classes",
        type=path,
        metavar="FILE",
        help="class names in the order of the columns, for score files without names, such as classInd.txt "
        "(default: alphabetical)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.evaluation.late_fusion import fuse_score_files

    result = fuse_score_files(
        arguments.scores,
        arguments.labels,
        weights=arguments.weights,
        method=arguments.method,
        search=arguments.search,
        classes=arguments.classes,
    )
    twice = [name for name, count in Counter(arguments.scores).items() if count > 1]
    for name in twice:
        note(f"{name} is given more than once, so its streams count more than once")
    show(arguments, result.to_dict(), _text(result))
    return 0


def _text(result: FusionResult) -> str:
    """Return the result as text."""
    weights = " : ".join(f"{stream.weight:g}" for stream in result.streams)
    lines = [
        f"{result.num_videos} videos, {result.num_classes} classes, {result.method} fusion, "
        f"weights {weights}, protocol {result.protocol or 'not known'}"
    ]
    if result.searched_on is not None:
        lines.append(f"weights searched on {result.searched_on} other videos, "
                     f"fused accuracy there {result.validation_accuracy:.2%}")  # fmt: skip
    rows = [(stream.source, stream.accuracy, stream.interval_95) for stream in result.streams]
    rows.append(("fused", result.accuracy, result.interval_95))
    width = max(len(name) for name, _, _ in rows)
    lines += [
        f"  {name:<{width}} {accuracy:7.2%}  (95%: {low:.2%} to {high:.2%})"
        for name, accuracy, (low, high) in rows
    ]
    lines += [
        f"  {stream.source} has protocol {stream.protocol}"
        for stream in result.streams
        if result.protocol is None and stream.protocol is not None
    ]
    lines += [
        f"{stream.unlisted_rows} videos of {stream.source} are not in the list and not counted"
        for stream in result.streams
        if stream.unlisted_rows
    ]
    return "\n".join(map(one_line, lines))

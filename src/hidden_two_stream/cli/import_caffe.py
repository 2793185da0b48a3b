"""`hts import-caffe`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    Parser,
    show,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "the authors' published Caffe weights as a run"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts import-caffe`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="binary .caffemodel")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.add_argument("--labels", type=Path, metavar="LABELS", help="text file with one class name a line, "
                       "in the order of the outputs, or numbered like UCF101's classInd.txt")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.weights.import_caffe import import_caffe_command, import_caffe_text

    result = import_caffe_command(arguments.file, arguments.out, arguments.labels)
    show(arguments, result, import_caffe_text(result))
    return 0

"""`hts import-caffe`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, path, show
from hidden_two_stream.printing import one_line

if TYPE_CHECKING:
    from hidden_two_stream.weights.caffe import ImportedCaffe

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "convert the authors' published Caffe weights into a run"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts import-caffe`."""
    parser.add_argument("file", type=path, metavar="FILE", help="binary .caffemodel file")
    parser.add_argument("-o", "--out", type=path, required=True, metavar="RUN", help="run folder")
    parser.add_argument(
        "--labels",
        type=path,
        metavar="LABELS",
        help="text file with one class name per line, in the order of the outputs, or numbered like UCF101's "
        "classInd.txt",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.weights.caffe import import_caffe

    imported = import_caffe(arguments.file, arguments.out, arguments.labels)
    show(arguments, imported.to_dict(), _text(imported))
    return 0


def _text(imported: ImportedCaffe) -> str:
    """Return the result as text."""
    networks = "MotionNet and the temporal stream" if "temporal" in imported.networks else "MotionNet"
    lines = [
        f"{imported.run}: {networks}, {imported.num_parameters / 1e6:.1f} M parameters, "
        f"{imported.num_frames} frames, {len(imported.classes)} classes"
    ]
    ignored = imported.ignored_layers
    if ignored:
        more = f" and {len(ignored) - 5} more" if len(ignored) > 5 else ""
        lines.append(f"ignored layers: {', '.join(ignored[:5])}{more}")
    lines += [f"warning: {warning}" for warning in imported.warnings]
    return "\n".join(map(one_line, lines))

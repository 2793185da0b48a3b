"""`hts export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import DATA_HELP, Parser, path, path_text, show

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write a run for other runtimes: an ONNX file, or a program of torch.export"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts export`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "--format", default="onnx", choices=("onnx", "pt2"), help="format of the file (default: %(default)s)"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        metavar="FILE",
        help="file to write (default: model.onnx, in RUN)",
    )
    parser.add_argument(
        "--data",
        type=path_text,
        metavar="DATA",
        help=f"compare the export with the run on windows of these videos (default: those of its training): "
        f"{DATA_HELP}",
    )
    parser.add_argument(
        "--windows", type=int, default=16, metavar="N", help="windows to compare (default: %(default)s)"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantize convolutions and matrix products; ranges and accuracy are measured on --data",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.export.export import FORMATS, export_model

    source = Path(arguments.run)
    folder = source if source.is_dir() else source.parent
    name = f"model{'-int8' if arguments.int8 else ''}{FORMATS[arguments.format]}"
    found = export_model(
        arguments.run,
        arguments.out or folder / name,
        arguments.format,
        data=arguments.data,
        num_windows=arguments.windows,
        int8=arguments.int8,
    )
    show(arguments, found.to_dict(), str(found))
    return 0

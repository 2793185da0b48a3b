"""`hts export`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import DATA_HELP, Parser, path, path_text, show
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import note
from hidden_two_stream.weights.hub_names import hub_name

if TYPE_CHECKING:
    from hidden_two_stream.export.export import Export
    from hidden_two_stream.export.web import WebExport

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write a run for other runtimes: an ONNX file, a program of torch.export, or a web page"

_WEB_ONLY = ("single_file", "title", "runtime")
_WAIT = "tracing the network and comparing it with the run: half a minute or more"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts export`."""
    parser.add_argument(
        "run",
        type=path_text,
        metavar="RUN",
        nargs="?",
        help="run folder or checkpoint file; --format web without one makes a page to teach",
    )
    parser.add_argument(
        "--format",
        default="onnx",
        choices=("onnx", "pt2", "web"),
        help="format of the export (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        metavar="PATH",
        help="file to write, or folder of the page (default: model.onnx, model.pt2, web or web.html in RUN; "
        "in this folder if RUN is on the hub)",
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
        help="onnx: quantize convolutions and matrix products; ranges and accuracy are measured on --data",
    )
    parser.add_argument(
        "--single-file", action="store_true", help="web: one HTML file, which opens from the disk, too"
    )
    parser.add_argument("--title", metavar="TEXT", help="web: heading of the page")
    parser.add_argument(
        "--runtime",
        type=path,
        metavar="FOLDER",
        help="web: folder with the archives of onnxruntime-web and mediabunny (default: fetched with npm)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    found: Export | WebExport = _web(arguments) if arguments.format == "web" else _model(arguments)
    show(arguments, found.to_dict(), str(found))
    return 0


def _model(arguments: argparse.Namespace) -> Export:
    from hidden_two_stream.export.export import FORMATS, export_model

    for name in _WEB_ONLY:
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} is for --format web; leave it out")
    if arguments.run is None:
        raise UsageError(f"--format {arguments.format} needs a RUN to export")
    file = f"model{'-int8' if arguments.int8 else ''}{FORMATS[arguments.format]}"
    return export_model(
        arguments.run,
        arguments.out or _beside(arguments.run) / file,
        arguments.format,
        data=arguments.data,
        num_windows=arguments.windows,
        int8=arguments.int8,
        on_trace=partial(note, _WAIT, quiet=arguments.quiet),
    )


def _web(arguments: argparse.Namespace) -> WebExport:
    from hidden_two_stream.export.web import export_web

    if arguments.int8:
        raise UsageError("--int8 is for --format onnx; leave it out")
    name = "web.html" if arguments.single_file else "web"
    return export_web(
        arguments.run,
        arguments.out or (_beside(arguments.run) if arguments.run else Path()) / name,
        single=arguments.single_file,
        data=arguments.data,
        num_windows=arguments.windows,
        title=arguments.title,
        runtime=arguments.runtime,
        on_trace=partial(note, _WAIT, quiet=arguments.quiet),
    )


def _beside(run: str) -> Path:
    source = Path(run)
    if hub_name(run) is not None and not source.exists():
        return Path()  # a model of the hub has no folder here
    return source if source.is_dir() else source.parent

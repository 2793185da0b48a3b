"""`hts app`."""

from __future__ import annotations

import argparse

from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.cli.options import Parser, add_address, add_device, path, path_text
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "open a local page: label videos, compare runs, label clips and train"

_DEFAULTS = AppSettings()


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts app`."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=path_text,
        metavar="RUN",
        help="run folders to offer (default: those of projects)",
    )
    add_address(parser, _DEFAULTS.host, _DEFAULTS.port)
    parser.add_argument(
        "--max-upload",
        type=float,
        default=_DEFAULTS.max_upload_mb,
        metavar="MB",
        help="largest uploaded file, MB (default: %(default)g)",
    )
    parser.add_argument(
        "--max-minutes",
        type=float,
        default=_DEFAULTS.max_minutes,
        metavar="MINUTES",
        help="longest uploaded video, minutes (default: %(default)g)",
    )
    parser.add_argument(
        "--projects",
        type=path,
        default=_DEFAULTS.projects,
        metavar="FOLDER",
        help="folder of the projects, with their clips and runs (default: %(default)s)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.apps.serving import app
    from hidden_two_stream.cli.output import print_json_line

    settings = AppSettings(
        host=arguments.host,
        port=arguments.port,
        max_upload_mb=arguments.max_upload,
        max_stored_mb=max(_DEFAULTS.max_stored_mb, arguments.max_upload),
        max_minutes=arguments.max_minutes,
        projects=arguments.projects,
        device=arguments.device,
    )
    if len(set(arguments.runs)) < len(arguments.runs):
        raise UsageError("a run is named twice; name each run once")
    announce = None
    if arguments.json:

        def announce(address: str) -> None:
            print_json_line({"address": address})

    app(*arguments.runs, settings=settings, open_browser=arguments.open, on_ready=announce)
    return 0

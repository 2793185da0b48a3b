"""`hts import-web`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import Parser, path, show
from hidden_two_stream.printing import one_line

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "make a run of what was taught in the web page"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts import-web`."""
    parser.add_argument("file", type=path, metavar="FILE", help="project that the page saved")
    parser.add_argument(
        "-o", "--out", type=path, required=True, metavar="RUN", help="run folder to write, a new one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.export.web_project import import_web

    found = import_web(arguments.file, arguments.out)
    report = {
        "run": str(arguments.out),
        "classes": list(found.classes),
        "streams": list(found.trained_streams),
        "num_clips": found.info.metadata.num_training_videos,
    }
    classes = ", ".join(found.classes)
    text = f"{arguments.out}: {classes}; learned from {report['num_clips']} clips"
    show(arguments, report, one_line(text))
    return 0

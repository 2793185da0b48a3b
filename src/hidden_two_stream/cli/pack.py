"""`hts pack`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import DATA_HELP, Parser, add_workers, path, path_text, show, workers
from hidden_two_stream.printing import one_line

if TYPE_CHECKING:
    from hidden_two_stream.data.packing import PackResult

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "pack the video files of a dataset into shards (tar files with an index), as they are"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts pack`."""
    parser.add_argument("data", type=path_text, metavar="DATA", help=DATA_HELP)
    parser.add_argument("out", type=path, metavar="OUT", help="new or empty folder, or one where the same "
                        "command was interrupted; it is then DATA of other commands")  # fmt: skip
    parser.add_argument(
        "--shard-size",
        default="1GB",
        metavar="SIZE",
        help="size at which a shard is full, such as 500MB or 2GiB (default: %(default)s)",
    )
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.data.packing import pack

    result = pack(
        arguments.data,
        arguments.out,
        arguments.shard_size,
        workers=workers(arguments),
        quiet=arguments.quiet,
    )
    show(arguments, result.to_dict(), _text(result))
    return 1 if result.unreadable else 0


def _text(result: PackResult) -> str:
    lines = [str(result)]
    lines += [f"unreadable: {line}" for line in result.unreadable]
    lines.append(f"use it with --data {result.folder}")
    return "\n".join(map(one_line, lines))

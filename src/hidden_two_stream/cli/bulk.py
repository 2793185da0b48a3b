"""Arguments of `hts predict` and `hts segment` for many videos, and how they write a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import Parser, Replacing, describe_scorer, path, show
from hidden_two_stream.cli.sources import named_videos
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import ProgressLine, note, number_of

if TYPE_CHECKING:
    from hidden_two_stream.bulk.collect import BulkResult

__all__ = ["add_bulk", "named_sources", "require_no_table_options", "shard_of", "write_table"]

OPTIONS = ("engine", "address", "retry_failed")
"""Options that only a table uses."""


def add_bulk(parser: Parser, videos: argparse.Action, table: str = "--out") -> None:
    """Add the options for many videos.

    Args:
        parser: of the command.
        videos: the argument that --list can replace.
        table: how the command's help names a table.
    """
    parser.missing = "; name videos, or a list of them: --list FILE"
    parser.add_argument(
        "--list",
        type=path,
        metavar="FILE",
        action=Replacing,
        replaced=videos,
        help="file that lists videos: one per line, or a .csv with the column path; paths are relative to "
        "its folder",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="take part I of N equal parts of the videos, such as 2/8: one part for each machine",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help=f"with {table}: try videos again that failed before"
    )
    parser.add_argument(
        "--engine",
        choices=["pool", "ray"],
        help=f"with {table}: who computes: processes of this machine, or Ray Data (default: pool)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST",
        help="with --engine ray: the cluster, such as auto or ray://head:10001 (default: its own, here)",
    )


def named_sources(arguments: argparse.Namespace, done: str) -> tuple[list[str], dict[str, Any]]:
    """Return the videos of this command, and what is not used of each folder, as JSON-ready data.

    Args:
        arguments: of the command.
        done: what happens once to a video that is named twice, such as "labeled".

    Raises:
        UsageError: nothing is named, or as `named_videos`.
        DataError: the list is no list.
    """
    from hidden_two_stream.bulk.sources import read_list

    named, left_out = named_videos(arguments.sources or [], done)
    if arguments.list is None:
        return named, left_out
    listed = read_list(arguments.list)
    videos = list(dict.fromkeys([*named, *listed]))
    if len(videos) < len(named) + len(listed):
        twice = number_of(len(named) + len(listed) - len(videos), "name")
        note(f"hts: {arguments.list}: {twice} given before; each video is {done} once")
    return videos, left_out


def require_no_table_options(arguments: argparse.Namespace, table: str, names: Sequence[str] = ()) -> None:
    """Refuse options that only a table uses.

    Args:
        arguments: of the command.
        table: what they need.
        names: options of the command itself that are given and need a table.

    Raises:
        UsageError: one of them is given.
    """
    for name in (*(name for name in OPTIONS if getattr(arguments, name)), *names):
        raise UsageError(f"--{name.replace('_', '-')} needs {table}")


def shard_of(arguments: argparse.Namespace, sources: list[str]) -> list[str]:
    """Return the part of the videos that --shard names.

    Raises:
        UsageError: it names none.
    """
    from hidden_two_stream.bulk.sources import Shard

    return sources if arguments.shard is None else Shard.parse(arguments.shard).of(sources)


def write_table(
    arguments: argparse.Namespace,
    done: str,
    refused: Sequence[str],
    table: Callable[..., BulkResult],
    more: Mapping[str, Any] | None = None,
) -> int:
    """Write a table of many videos, tell how it goes, and return the exit code.

    Args:
        arguments: of the command.
        done: what happens to a video: "labeled" or "segmented".
        refused: options that do not go with a table.
        table: `predict_table` or `segment_table` with the command's own options: takes sources, and options
            by name.
        more: what the JSON has besides the result.
    """
    for name in refused:
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} does not go with --out; leave one of them out")
    if (arguments.threads or 1) > 1:
        raise UsageError("each of the --workers has one thread; leave out --threads")
    describe_scorer(arguments)  # a wrong run is named before folders are searched
    sources, left_out = named_sources(arguments, done)
    total = len(shard_of(arguments, sources))
    with ProgressLine(arguments.command, total, quiet=arguments.quiet) as line:
        finished = 0

        def tell(source: str, outcome: object, number: int, _total: int) -> None:
            nonlocal finished
            finished = number
            if isinstance(outcome, Exception):
                note(f"hts: {_failure(source, outcome)}")
            line.update(number)

        try:
            result = table(
                sources,
                workers=arguments.workers,
                device=arguments.device,
                shard=arguments.shard,
                retry_failed=arguments.retry_failed,
                engine=arguments.engine or "pool",
                address=arguments.address,
                on_outcome=tell,
            )
        except KeyboardInterrupt:
            if finished:
                note(f"hts: {finished} of {total} videos are finished; the same command goes on")
            raise
    for text in _notes(result):
        note(f"hts: {text}")
    found = {"run": arguments.run, **(more or {}), **result.to_dict(), "left_out": left_out}
    show(arguments, found, _summary(result, done))
    return 1 if result.num_failed else 0


def _summary(result: BulkResult, done: str) -> str:
    before = f" ({result.num_skipped} finished before)" if result.num_skipped else ""
    return f"{result.out}: {result.num_done} of {number_of(result.num_videos, 'video')} {done}{before}"


def _notes(result: BulkResult) -> Iterator[str]:
    if result.note is not None:
        yield result.note
    if result.num_failed:
        yield (
            f"{number_of(result.num_failed, 'video')} failed, see {result.failures}; --retry-failed tries "
            "them again"
        )
    if result.num_others:
        yield f"the table also has {number_of(result.num_others, 'video')} of earlier calls, not named now"


def _failure(source: str, error: Exception) -> str:
    text = str(error)
    return text if source in text else f"{source}: {text}"

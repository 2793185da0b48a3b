"""Arguments of `hts predict` for many videos, and the prediction that writes a table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import Parser, Replacing, describe_scorer, path, path_text, show
from hidden_two_stream.cli.sources import named_videos
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import ProgressLine, note, number_of

if TYPE_CHECKING:
    from hidden_two_stream.bulk.predict import BulkResult

__all__ = ["add_bulk", "named_sources", "predict_in_bulk", "shard_of"]

_WITH_OUT = ("engine", "address", "retry_failed")
"""Options that need --out."""


def add_bulk(parser: Parser, videos: argparse.Action) -> None:
    """Add the options for many videos; `videos` is the argument that --list can replace."""
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
        "--out",
        type=path_text,
        metavar="FILE",
        help="write a table, .jsonl or .parquet, and beside it one of the videos that failed; the same "
        "command goes on where it was stopped",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="with --out: try videos again that failed before"
    )
    parser.add_argument(
        "--engine",
        choices=["pool", "ray"],
        help="with --out: who computes: processes of this machine, or Ray Data (default: pool)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST",
        help="with --engine ray: the cluster, such as auto or ray://head:10001 (default: its own, here)",
    )


def named_sources(arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """Return the videos of this command, and what is not used of each folder, as JSON-ready data.

    Raises:
        UsageError: nothing is named, an option needs --out, or as `named_videos`.
        DataError: the list is no list.
    """
    from hidden_two_stream.bulk.sources import read_list

    for name in _WITH_OUT:
        if arguments.out is None and getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} needs --out FILE")
    named, left_out = named_videos(arguments.sources or [], "labeled")
    if arguments.list is None:
        return named, left_out
    listed = read_list(arguments.list)
    videos = list(dict.fromkeys([*named, *listed]))
    if len(videos) < len(named) + len(listed):
        twice = number_of(len(named) + len(listed) - len(videos), "name")
        note(f"hts: {arguments.list}: {twice} given before; each video is labeled once")
    return videos, left_out


def shard_of(arguments: argparse.Namespace, sources: list[str]) -> list[str]:
    """Return the part of the videos that --shard names.

    Raises:
        UsageError: it names none.
    """
    from hidden_two_stream.bulk.sources import Shard

    return sources if arguments.shard is None else Shard.parse(arguments.shard).of(sources)


def predict_in_bulk(arguments: argparse.Namespace) -> int:
    """Run `hts predict --out` and return the exit code."""
    from hidden_two_stream.bulk.predict import predict_table

    for name in ("explain", "explain_class"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} does not go with --out; leave one of them out")
    if (arguments.threads or 1) > 1:
        raise UsageError("each of the --workers has one thread; leave out --threads")
    describe_scorer(arguments)  # a wrong run is named before folders are searched
    sources, left_out = named_sources(arguments)
    total = len(shard_of(arguments, sources))
    with ProgressLine("predict", total, quiet=arguments.quiet) as line:
        finished = 0

        def tell(source: str, outcome: object, done: int, _total: int) -> None:
            nonlocal finished
            finished = done
            if isinstance(outcome, Exception):
                note(f"hts: {_failure(source, outcome)}")
            line.update(done)

        try:
            result = predict_table(
                arguments.run,
                sources,
                arguments.out,
                arguments.protocol,
                threshold=arguments.threshold,
                top=arguments.top,
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
    show(arguments, {"run": arguments.run, **result.to_dict(), "left_out": left_out}, _summary(result))
    return 1 if result.num_failed else 0


def _summary(result: BulkResult) -> str:
    before = f" ({result.num_skipped} finished before)" if result.num_skipped else ""
    return f"{result.out}: {result.num_done} of {number_of(result.num_videos, 'video')} labeled{before}"


def _notes(result: BulkResult) -> Iterator[str]:
    if result.note is not None:
        yield result.note
    if result.num_failed:
        yield (
            f"{number_of(result.num_failed, 'video')} failed, see {result.failures}; --retry-failed tries "
            "them again"
        )
    if result.num_others:
        yield f"{number_of(result.num_others, 'row')} of earlier calls, about videos that are not named now"


def _failure(source: str, error: Exception) -> str:
    text = str(error)
    return text if source in text else f"{source}: {text}"

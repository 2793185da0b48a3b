"""The videos that a command names, and how a video that cannot be read is reported."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hidden_two_stream.cli.options import Parser, path_text
from hidden_two_stream.cli.output import OutputClosedError
from hidden_two_stream.progress import note

if TYPE_CHECKING:
    from hidden_two_stream.data.samples import LeftOut

__all__ = ["Failure", "add_videos", "attempt", "named_videos"]

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why a video could not be worked on."""

    reason: str


def add_videos(parser: Parser, run_help: str = "run folder or checkpoint file") -> argparse.Action:
    """Add the positional arguments RUN and VIDEO…, as `arguments.run` and `arguments.sources`.

    The latter is returned.
    """
    parser.add_argument("run", type=path_text, metavar="RUN", help=run_help)
    return parser.add_argument(
        "sources",
        type=path_text,
        nargs="+",
        metavar="VIDEO",
        help="files, folders, globs, frame folders, URLs, or prefixes in a store such as s3://bucket/videos/ "
        "(put -- before a name that begins with a dash)",
    )


def named_videos(sources: Sequence[str], done: str) -> tuple[list[str], dict[str, Any]]:
    """Return the videos that `sources` name, and what is not used of each folder, as JSON-ready data.

    Names that are given twice, and files that are not used, are named on stderr.

    Args:
        sources: files, folders, globs and URLs.
        done: what happens once to a video that is named twice, such as "labeled".

    Raises:
        UsageError: a name is empty or matches nothing.
    """
    from hidden_two_stream.video.finding import expand_sources

    videos = expand_sources(sources)
    for source, count in Counter(sources).items():
        if count > 1:
            note(f"hts: {source}: named {count} times, {done} once")
    return videos, {folder: found.to_dict() for folder, found in _left_out(sources).items()}


def attempt(source: str, work: Callable[[], T], debug: bool) -> T | Failure:
    """Return the result of the work on one video; if it fails, name the video on stderr, and return why.

    Raises:
        OutputError, OutputClosedError: a result cannot be written or printed; other videos would fail too.
        Exception: an error that the package does not raise on purpose, if `debug` is set.
    """
    from hidden_two_stream.errors import HiddenTwoStreamError, OutputError, VideoError, unexpected

    try:
        return work()
    except (OutputError, OutputClosedError):
        raise
    except VideoError as error:
        reason = error.reason
    except HiddenTwoStreamError as error:
        reason = " ".join(str(error).split())
    except Exception as error:
        if debug:
            raise
        reason = f"{unexpected(error)} (run again with --debug for details)"
    note(f"hts: cannot read video {source!r}: {reason}")
    return Failure(reason)


def _left_out(sources: Sequence[str]) -> dict[str, LeftOut]:
    """Return what is not used of each folder among the sources, and name it on stderr."""
    from hidden_two_stream.data.samples import LeftOut, left_out_lines
    from hidden_two_stream.video.finding import is_frame_folder, scan_videos
    from hidden_two_stream.video.shards.addresses import find_index

    found = {}
    for source in dict.fromkeys(sources):
        if os.path.isdir(source) and find_index(source) is None and not is_frame_folder(source):
            scan = scan_videos(Path(source))
            found[source] = LeftOut(source, tuple(map(str, scan.left_out)), scan.num_hidden)
            for line in left_out_lines(found[source])[: len(scan.left_out)]:
                note(f"hts: {source}: {line}")
    return found

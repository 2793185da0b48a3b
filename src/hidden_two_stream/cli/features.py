"""`hts features`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_threads,
    open_recognizer,
    path,
)
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.cli.sources import Failure, add_videos, attempt, named_videos
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note, number_of

if TYPE_CHECKING:
    from hidden_two_stream.inference.feature_files import FeatureWriter
    from hidden_two_stream.inference.predictor import Recognizer

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "write the embeddings of videos' windows, with times, to one .npz or Parquet file"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts features`."""
    add_videos(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        required=True,
        metavar="FILE",
        help="file for all videos: .npz, or .parquet (needs pyarrow)",
    )
    parser.add_argument(
        "--hop-seconds",
        type=float,
        default=0.5,
        metavar="S",
        help="time between the starts of two windows (default: %(default)s)",
    )
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.feature_files import FeatureWriter, check_features_path

    if not 0 < arguments.hop_seconds < float("inf"):
        raise UsageError(f"--hop-seconds is {arguments.hop_seconds}; expected a positive number of seconds")
    check_features_path(arguments.out)
    recognizer = open_recognizer(arguments)
    require_trained(recognizer.trained_streams, repr(arguments.run))
    sources, left_out = named_videos(arguments.sources, "used")
    videos: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with FeatureWriter(arguments.out) as writer:
        try:
            for source in sources:
                work = partial(_features, recognizer, source, arguments.hop_seconds, writer)
                found = attempt(source, work, arguments.debug)
                if isinstance(found, Failure):
                    failed.append({"source": source, "reason": found.reason})
                else:
                    videos.append(found)
        finally:  # what was computed is not lost, even after Ctrl-C
            writer.finish()
            _show(arguments, writer, {"videos": videos, "unreadable": failed, "left_out": left_out})
    return 1 if failed else 0


def _features(
    recognizer: Recognizer, source: str, hop_seconds: float, writer: FeatureWriter
) -> dict[str, Any]:
    """Write the windows of one video, and return their number and what is wrong with the video."""
    warnings: list[str] = []
    before = writer.num_rows
    for window in recognizer.features(source, hop_seconds, on_warning=warnings.append):
        writer.add(source, window)
    for warning in warnings:
        note(f"hts: {source}: {warning}")
    return {"source": source, "num_windows": writer.num_rows - before, "warnings": warnings}


def _show(arguments: argparse.Namespace, writer: FeatureWriter, result: dict[str, Any]) -> None:
    output = str(arguments.out) if writer.num_rows else None
    if arguments.json:
        facts = {
            "run": arguments.run,
            "output": output,
            "hop_seconds": arguments.hop_seconds,
            "num_windows": writer.num_rows,
            "embeddings": writer.sizes,
        }
        print_json(facts | result)
        return
    if output is None:
        note(f"hts: no windows, so {str(arguments.out)!r} is not written")
        return
    sizes = ", ".join(f"{name} {size}" for name, size in writer.sizes.items())
    windows, videos = number_of(writer.num_rows, "window"), number_of(len(result["videos"]), "video")
    print_text(one_line(f"{output}: {windows} of {videos} (lengths of the embeddings: {sizes})"))

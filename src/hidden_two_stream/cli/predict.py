"""`hts predict`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.options import Parser, add_device, add_protocol, open_recognizer, path_text
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import note

if TYPE_CHECKING:
    from hidden_two_stream.data.samples import LeftOut
    from hidden_two_stream.inference.predictor import Recognizer
    from hidden_two_stream.types import Prediction

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "label videos: files, folders, globs, frame folders or URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument(
        "sources",
        type=path_text,
        nargs="+",
        metavar="SOURCE",
        help="videos (put -- before a name that begins with a dash)",
    )
    parser.add_argument(
        "--top", type=int, default=3, help="number of classes to print per video (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="fused score below which no class fits; 0: a class always fits (default: that of the run's "
        "calibration)",
    )
    add_protocol(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.windows import parse_protocol, run_protocol
    from hidden_two_stream.types import require_threshold
    from hidden_two_stream.video.finding import expand_sources

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    require_threshold(arguments.threshold)
    parse_protocol(arguments.protocol)
    recognizer = open_recognizer(arguments)
    if not recognizer.trained_streams:
        raise CheckpointError(f"{arguments.run!r} has no trained stream; train spatial or temporal")
    protocol = run_protocol(arguments.protocol, recognizer.info.recipe, note)
    sources = expand_sources(arguments.sources)
    for source, count in Counter(arguments.sources).items():
        if count > 1:
            note(f"hts: {source}: named {count} times, labeled once")
    left_out = {folder: found.to_dict() for folder, found in _left_out(arguments.sources).items()}
    predictions: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    result = {"run": arguments.run, "predictions": predictions, "unreadable": failed, "left_out": left_out}
    try:
        for source in sources:
            prediction = _predict(recognizer, source, protocol.name, arguments.threshold, arguments.debug)
            if isinstance(prediction, str):
                failed.append({"source": source, "reason": prediction})
                continue
            predictions.append(prediction.to_dict(arguments.top))
            if not arguments.json:
                print_text(one_line(prediction.line(arguments.top)))
            for warning in prediction.warnings:
                note(f"hts: {prediction.source}: {warning}")
    except KeyboardInterrupt:
        if arguments.json and predictions:  # what is finished is not lost
            print_json(result)
        raise
    if arguments.json:
        print_json(result)
    return 1 if failed else 0


def _predict(
    recognizer: Recognizer, source: str, protocol: str, threshold: float | None, debug: bool
) -> Prediction | str:
    """Return the prediction for one video; for a video that cannot be labeled, name it, and return why."""
    from hidden_two_stream.errors import HiddenTwoStreamError, VideoError, unexpected

    try:
        return recognizer.predict(source, protocol, threshold=threshold)
    except VideoError as error:
        reason = error.reason
    except HiddenTwoStreamError as error:
        reason = " ".join(str(error).split())
    except Exception as error:
        if debug:
            raise
        reason = f"{unexpected(error)} (run again with --debug for details)"
    note(f"hts: cannot read video {source!r}: {reason}")
    return reason


def _left_out(sources: Sequence[str]) -> dict[str, LeftOut]:
    """Return what is not used of each folder among the sources, and name it on stderr."""
    from hidden_two_stream.data.samples import LeftOut, left_out_lines
    from hidden_two_stream.video.finding import is_frame_folder, scan_videos

    found = {}
    for source in dict.fromkeys(sources):
        if Path(source).is_dir() and not is_frame_folder(source):
            scan = scan_videos(Path(source))
            found[source] = LeftOut(source, tuple(map(str, scan.left_out)), scan.num_hidden)
            for line in left_out_lines(found[source])[: len(scan.left_out)]:
                note(f"hts: {source}: {line}")
    return found

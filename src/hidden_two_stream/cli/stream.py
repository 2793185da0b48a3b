"""`hts stream`."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections import deque
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_threads,
    open_scorer,
    path_text,
)
from hidden_two_stream.cli.output import print_json_line
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import note, number_of

if TYPE_CHECKING:
    from hidden_two_stream.types import Decision

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "recognize actions live: camera, RTSP or HTTP stream, file at its own pace, raw frames on stdin"

_STATUS_SECONDS = 1.0  # between two lines on stderr
_LATENCIES = 100_000  # of the newest decisions, for the summary; memory stays constant


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts stream`."""
    parser.add_argument(
        "run", type=path_text, metavar="RUN", help="run folder, checkpoint file, or an exported model.onnx"
    )
    parser.add_argument(
        "source",
        type=_source_text,
        metavar="SOURCE",
        help="number of a camera, URL of a stream, video file or frame folder, or - for raw RGB frames on "
        "stdin",
    )
    parser.add_argument(
        "--every", type=float, default=0.0, metavar="SECONDS",
        help="shortest time between two decisions (default: one for each frame)",
    )  # fmt: skip
    parser.add_argument(
        "--smooth", type=float, default=0.0, metavar="SECONDS",
        help="mean of the scores over so many seconds (default: the newest window alone)",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=float, metavar="SCORE",
        help="fused score below which no class fits; 0: a class always fits (default: the run's calibration "
        "decides)",
    )  # fmt: skip
    parser.add_argument(
        "--all-frames", action="store_true",
        help="drop no frame: a slow computer falls behind (default: score the newest frame, drop others)",
    )  # fmt: skip
    parser.add_argument(
        "--give-up", type=float, default=300.0, metavar="SECONDS",
        help="how long to try to open a camera or stream again that broke off (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--frame-size", metavar="WIDTHxHEIGHT", help="of raw frames, or what the camera is asked for"
    )
    parser.add_argument("--fps", type=float, help="rate of raw frames, or what the camera is asked for")
    parser.add_argument("--seconds", type=float, metavar="SECONDS", help="stop after so much time")
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.stream import StreamSettings

    size = _frame_size(arguments.frame_size)
    limit = math.inf if arguments.seconds is None else arguments.seconds
    if not limit > 0:
        raise UsageError(f"--seconds is {limit:g}; expected more than 0")
    settings = StreamSettings(
        every_seconds=arguments.every,
        smooth_seconds=arguments.smooth,
        threshold=arguments.threshold,
        all_frames=arguments.all_frames,
        give_up_seconds=arguments.give_up,
    )
    recognizer = open_scorer(arguments)
    source = int(arguments.source) if re.fullmatch(r"\d{1,4}", arguments.source) else arguments.source
    status = _Status(arguments.quiet)
    try:
        for decision in recognizer.stream(
            source,
            frame_size=size,
            fps=arguments.fps,
            settings=settings,
            on_event=lambda line: note(f"hts: {line}", quiet=arguments.quiet),
        ):
            print_json_line(decision.to_dict())
            status.add(decision)
            if decision.end_seconds >= limit:
                break
    except BaseException:
        if status.has_decided:
            status.summary()
        raise
    status.summary()
    return 0


def _source_text(text: str) -> str:
    return text if text == "-" else path_text(text)


def _frame_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise UsageError(f"--frame-size is {text!r}; expected WIDTHxHEIGHT, such as 320x240")
    return int(found[1]), int(found[2])


class _Status:
    """A line on stderr every second, and a summary at the end."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._printed = -math.inf
        self._number = self._dropped = self._since = 0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    @property
    def has_decided(self) -> bool:
        """Whether there was a decision."""
        return self._number > 0

    def add(self, decision: Decision) -> None:
        """Count a decision, and print a line if it is time to."""
        self._number += 1
        self._dropped += decision.num_dropped
        self._since += decision.num_dropped
        self._latencies.append(decision.latency_seconds)
        now = time.monotonic()
        if now - self._printed >= _STATUS_SECONDS:
            label = decision.label or "no class fits"
            note(
                f"{decision.end_seconds:7.1f} s  {label} {decision.score:.2f}  "
                f"{1e3 * decision.latency_seconds:.0f} ms, {self._since} dropped",
                quiet=self._quiet,
            )
            self._printed, self._since = now, 0

    def summary(self) -> None:
        """Print the number of decisions, of dropped frames, and the latency."""
        if not self._number:
            note("no decision: there were too few frames for a window", quiet=self._quiet)
            return
        ordered = sorted(self._latencies)
        middle, late = (
            1e3 * ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))] for share in (0.5, 0.95)
        )
        note(
            f"{number_of(self._number, 'decision')}, {number_of(self._dropped, 'frame')} dropped; latency "
            f"{middle:.1f} ms (median), {late:.1f} ms (95th percentile)",
            quiet=self._quiet,
        )

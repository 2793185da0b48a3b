"""`hts track`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_motion_source,
    add_threads,
    open_motion,
    path,
    show,
)
from hidden_two_stream.errors import UsageError
from hidden_two_stream.printing import one_line

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "follow points or a box through the learned motion of a video"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts track`."""
    add_motion_source(parser, "(--point X,Y | --box X,Y,W,H)")
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y",
        help="point to follow, in pixels of VIDEO from the top left; can be repeated",
    )
    parser.add_argument(
        "--box", metavar="X,Y,W,H", help="box to follow instead: its top left pixel, width and height"
    )
    parser.add_argument(
        "--start-seconds",
        type=float,
        default=0.0,
        metavar="S",
        help="time of the frame in which POINT or BOX is given (default: the first frame)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=path,
        metavar="CSV",
        help="table with one row per frame and point (default: NAME.track.csv in the current folder, where "
        "NAME is VIDEO's name)",
    )
    parser.add_argument(
        "--overlay", type=path, metavar="FILE.mp4", help="also write the frames with what is followed"
    )
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    points, box = _target(arguments)

    from hidden_two_stream.inference.track_export import TrackExport, export_track
    from hidden_two_stream.progress import note, number_of

    estimator, video = open_motion(arguments)
    result: TrackExport = export_track(
        estimator,
        video,
        arguments.out,
        arguments.overlay,
        points=points,
        box=box,
        start_seconds=arguments.start_seconds,
        short_side=arguments.short_side,
    )
    for warning in result.warnings:
        note(f"hts: {video}: {warning}")
    what = "box" if box else "point"
    lines = [f"{result.output}: {number_of(result.num_frames, 'frame')} of {result.source}"]
    for number, seconds in enumerate(result.lost_seconds):
        name = what if box else f"{what} {number}"
        end = "followed to the end" if seconds is None else f"lost at {seconds:.2f} s"
        lines.append(f"  {name}: {end}")
    show(arguments, result.to_dict(), "\n".join(map(one_line, lines)))
    return 0


def _target(
    arguments: argparse.Namespace,
) -> tuple[list[tuple[float, float]], tuple[float, float, float, float] | None]:
    """Return the points, or the box, that the command names.

    Raises:
        UsageError: both or none of them are given, or a text does not hold the right number of numbers.
    """
    if bool(arguments.point) == (arguments.box is not None):
        raise UsageError(
            "both --point and --box are given; choose one"
            if arguments.box is not None
            else "nothing to follow; give --point X,Y or --box X,Y,W,H"
        )
    if arguments.box is not None:
        x, y, w, h = _numbers("--box", arguments.box, ("X", "Y", "W", "H"))
        return [], (x, y, w, h)
    pairs = [_numbers("--point", text, ("X", "Y")) for text in arguments.point]
    return [(x, y) for x, y in pairs], None


def _numbers(option: str, text: str, names: tuple[str, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(names):
        raise UsageError(f"{option} is {text!r}; expected {len(names)} numbers: {','.join(names)}")
    return numbers

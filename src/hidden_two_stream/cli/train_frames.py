"""`hts train-frames`."""

from __future__ import annotations

import argparse
import dataclasses

from hidden_two_stream.cli.options import Parser, add_device, path, path_text, show
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "add_unlabeled", "run"]

SUMMARY = "learn to label every frame, from recordings with labels over time"


def add_unlabeled(parser: argparse._ActionsContainer) -> None:
    """Add --unlabeled."""
    parser.add_argument(
        "--unlabeled", choices=("file", "background", "unknown"), default="file",
        help="what it means where no segment is: what the label file says, nothing happens, or nobody looked "
        "(default: file; in a CSV of segments: nobody looked)",
    )  # fmt: skip


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts train-frames`."""
    parser.add_argument(
        "--data", type=path_text, required=True, metavar="DATA",
        help="CSV with the columns path,labels (a label file per video, see hts labels) or "
        "path,label,start_seconds,end_seconds, or a folder in DeepEthogram's layout",
    )  # fmt: skip
    parser.add_argument("--out", type=path, required=True, metavar="RUN", help="run folder")
    parser.add_argument(
        "--behaviors", metavar="A,B,...", help="the behaviors to learn (default: all in the data)"
    )
    parser.add_argument(
        "--held-out", metavar="COLUMN=VALUE", help="recordings to test on (default: those of split test)"
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="column whose values stay together in cross-fitting, such as subject",
    )
    add_unlabeled(parser)
    parser.add_argument(
        "--ignore", type=path, metavar="FILE",
        help="CSV (path,start_seconds,end_seconds) of times at which it is unknown what happens",
    )  # fmt: skip
    parser.add_argument(
        "--base", type=path_text, metavar="RUN",
        help="run of hts train whose networks give the features (default: those of the package)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int, default=128, help="side of the square that frames are squeezed to, px (default: "
        "%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--grid", default="1x1", metavar="ROWSxCOLUMNS",
        help="cells that are looked at on their own, too, where several animals do something in places of "
        "their own: 1x2 for two side by side (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--fps", type=float, default=0.0, help="sample videos at this rate (default: all frames)"
    )
    parser.add_argument("--steps", type=int, help="optimizer steps (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.training.frame_labels import FrameLabelSettings
    from hidden_two_stream.training.frame_runs import train_frames

    settings = FrameLabelSettings()
    if arguments.steps is not None:
        settings = dataclasses.replace(settings, steps=arguments.steps)
    names = None
    if arguments.behaviors is not None:
        names = [name.strip() for name in arguments.behaviors.split(",") if name.strip()]
    result = train_frames(
        arguments.data,
        arguments.out,
        base=arguments.base,
        names=names,
        group=arguments.group,
        held_out=arguments.held_out,
        unlabeled=arguments.unlabeled,
        ignore=arguments.ignore,
        settings=settings,
        size=arguments.size,
        grid=_grid(arguments.grid),
        fps=arguments.fps,
        seed=arguments.seed,
        device=arguments.device,
        quiet=arguments.quiet,
    )
    lines = []
    if result.cross_fitted is not None:
        lines.append(f"training recordings: {result.cross_fitted}")
    if result.test is not None:
        lines.append(f"test: {result.test}")
    kind = "one behavior at a time" if result.annotator.exclusive else "several behaviors at a time"
    lines.append(f"{result.folder}: labels {', '.join(result.annotator.names)}; {kind}")
    show(arguments, {"run": str(result.folder), **result.to_dict()}, "\n".join(lines))
    return 1 if result.unreadable else 0


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise UsageError(f"--grid is {text!r}; expected ROWSxCOLUMNS, such as 1x2")
    return int(rows), int(columns)

"""`hts train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_from_scratch,
    add_protocol,
    add_recipe,
    add_resources,
    overrides,
    resources,
    show,
)
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "train a recogniser: stages motion, spatial, temporal, joint"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts train`."""
    parser.add_argument("--data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    add_recipe(parser, "nano")
    parser.add_argument("--stage", default="all", help="all, or only one of motion, spatial, temporal, joint")
    parser.add_argument("--test-fraction", type=float, default=0.25, help="part of each class kept for the "
                       "test where the data has no split of its own (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--hold-out", metavar="COLUMN=VALUE", help="test on these samples instead, such as subject=3"
    )
    parser.add_argument(
        "--motion-from", metavar="RUN", help="take MotionNet from this run instead of training it"
    )
    parser.add_argument(
        "--spatial-from", metavar="RUN", help="take the spatial stream from this run instead of training it"
    )
    parser.add_argument("--temporal-from", metavar="RUN", help="take the temporal stream and its MotionNet "
                       "from this run instead of training them (with --stage joint: before)")  # fmt: skip
    parser.add_argument("--init", metavar="WEIGHTS", help="where the streams' backbones begin: imagenet, a "
                       "state dict (file or URL), or none (default: the recipe's)")  # fmt: skip
    add_from_scratch(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add_protocol(parser)
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.cli.output import evaluation_text
    from hidden_two_stream.training.runner import resume, train

    if arguments.resume:
        _refuse_changes(arguments)
        result = resume(arguments.out, resources(arguments))
    elif arguments.data is None:
        raise UsageError("no data given; add --data DATA")
    else:
        result = train(
            arguments.data,
            arguments.out,
            arguments.recipe,
            overrides(arguments),
            stage=arguments.stage,
            test_fraction=arguments.test_fraction,
            held_out=arguments.hold_out,
            warm_start={
                part: run
                for part in ("motion", "spatial", "temporal")
                if (run := getattr(arguments, f"{part}_from")) is not None
            },
            protocol=arguments.protocol,
            seed=arguments.seed,
            resources=resources(arguments),
        )
    if not result.is_first:
        return 0
    figures = result.to_dict()
    tested = evaluation_text(figures) if "accuracy" in figures else "trained; no test"
    show(arguments, figures, f"{tested}\nreport: {arguments.out / 'report.html'}")
    return 0


def _refuse_changes(arguments: argparse.Namespace) -> None:
    """Refuse options that --resume would ignore, because a run keeps what it was started with."""
    started_with: dict[str, object] = {
        "data": None, "recipe": "nano", "set": [], "stage": "all", "test_fraction": 0.25,
        "hold_out": None, "motion_from": None, "spatial_from": None, "temporal_from": None, "init": None,
        "from_scratch": False, "protocol": "10x1", "seed": 0,
    }  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, default in started_with.items()
             if getattr(arguments, name) != default]  # fmt: skip
    if given:
        raise UsageError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")

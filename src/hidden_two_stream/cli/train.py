"""`hts train`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_allow_duplicates,
    add_from_scratch,
    add_protocol,
    add_recipe,
    add_resources,
    overrides,
    path,
    path_text,
    resources,
    show,
)
from hidden_two_stream.errors import UsageError

if TYPE_CHECKING:
    from hidden_two_stream.config.schema import Recipe

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "train and test a recognizer: stages motion, spatial, temporal and joint"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts train`."""
    parser.add_argument("--data", type=path_text, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--out", type=path, required=True, metavar="RUN", help="folder of the run")
    add_recipe(parser, "nano")
    parser.add_argument(
        "--stage",
        default="all",
        help="stage to train: motion, spatial, temporal or joint; or all (default: %(default)s)",
    )
    parser.add_argument(
        "--test-fraction",
        type=float,
        default=0.25,
        help="part of each class held back for the test if the data has no split of its own "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--hold-out",
        metavar="COLUMN=VALUE",
        help="hold these samples back for the test instead, such as subject=3",
    )
    parser.add_argument(
        "--motion-from",
        type=path_text,
        metavar="RUN",
        help="start from the MotionNet of this run, and leave out stage motion",
    )
    parser.add_argument(
        "--spatial-from",
        type=path_text,
        metavar="RUN",
        help="start from the spatial stream of this run, and leave out stage spatial",
    )
    parser.add_argument(
        "--temporal-from",
        type=path_text,
        metavar="RUN",
        help="start from the temporal stream and the MotionNet of this run, and leave out their stages; with "
        "--stage joint, train them together",
    )
    parser.add_argument(
        "--init",
        type=path_text,
        metavar="WEIGHTS",
        help="initial weights of the streams' backbones: imagenet, a state dict (file or URL), or none "
        "(default: as in the recipe)",
    )
    add_from_scratch(parser)
    parser.add_argument("--resume", action="store_true", help="continue the interrupted run in --out")
    add_allow_duplicates(parser)
    parser.add_argument(
        "--data-license",
        metavar="TEXT",
        help="license of the data, to be kept with the run, such as CC-BY-4.0",
    )
    add_protocol(parser)
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    # If one of several processes ends, torch prints pages about its peers; `training.watch` prints one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

    from hidden_two_stream.cli.output import evaluation_text

    recipe = _checked(arguments)
    from hidden_two_stream.training.runner import resume, train

    if recipe is None:
        result = resume(arguments.out, resources(arguments), allow_duplicates=arguments.allow_duplicates)
    else:
        result = train(
            arguments.data,
            arguments.out,
            recipe,
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
            allow_duplicates=arguments.allow_duplicates,
            data_license=arguments.data_license,
            resources=resources(arguments),
        )
    if not result.is_first:
        return 0
    figures = result.to_dict()
    tested = evaluation_text(figures) if "accuracy" in figures else "trained, but not tested"
    show(arguments, figures, f"{tested}\nreport: {arguments.out / 'report.html'}")
    return 0


def _checked(arguments: argparse.Namespace) -> Recipe | None:
    """Return the recipe of a new run, or None to resume one, after checks that need no PyTorch.

    Raises:
        UsageError: an argument is wrong.
    """
    from hidden_two_stream.data.index import require_data
    from hidden_two_stream.training.arguments import checked_recipe, require_run_folder

    if arguments.resume:
        _reject_changes(arguments)
        return None
    if arguments.data is None:
        raise UsageError("no data given; add --data DATA")
    if arguments.hold_out is not None and "test_fraction" in arguments.given:
        raise UsageError("--hold-out names the test videos, so --test-fraction does not apply; leave one out")
    require_run_folder(arguments.out)
    require_data(arguments.data)
    return checked_recipe(
        arguments.recipe,
        overrides(arguments),
        stage=arguments.stage,
        protocol=arguments.protocol,
        seed=arguments.seed,
        data_license=arguments.data_license,
    )


def _reject_changes(arguments: argparse.Namespace) -> None:
    """Reject options that --resume would ignore, because a run keeps its settings."""
    kept = ("data", "recipe", "set", "stage", "test_fraction", "hold_out", "motion_from", "spatial_from",
            "temporal_from", "init", "from_scratch", "protocol", "seed", "data_license")  # fmt: skip
    given = {name for name in ("set", "from_scratch") if getattr(arguments, name)}
    given |= arguments.given
    changed = [f"--{name.replace('_', '-')}" for name in kept if name in given]
    if changed:
        raise UsageError(f"--resume continues with the run's own settings; leave out {', '.join(changed)}")

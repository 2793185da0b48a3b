"""`hts evaluate`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_cache,
    add_device,
    add_protocol,
    add_workers,
    open_recognizer,
    path,
    path_text,
    show,
    workers,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "test a run: accuracy of each stream and fused, confusion matrix"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts evaluate`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument("--data", type=path_text, required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--split",
        help="part of the data to test: test, train, val or all (default: test; in data without a split of "
        "its own, the videos that the run was not trained on)",
    )
    parser.add_argument(
        "--save-scores",
        type=path,
        metavar="FILE",
        help="write the scores of all videos, for hts fuse: .npz or .csv",
    )
    add_protocol(parser)
    add_device(parser)
    add_workers(parser)
    add_cache(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.cli.output import evaluation_text
    from hidden_two_stream.evaluation.calibration import calibration_figures
    from hidden_two_stream.evaluation.evaluate import evaluate
    from hidden_two_stream.evaluation.score_files import check_scores_path
    from hidden_two_stream.progress import note

    path: Path | None = arguments.save_scores
    if path is not None:
        check_scores_path(path)
    recognizer = open_recognizer(arguments)
    evaluation = evaluate(
        recognizer,
        arguments.data,
        arguments.split,
        arguments.protocol,
        workers=workers(arguments),
        cache_mb=arguments.cache_mb,
        quiet=arguments.quiet,
    )
    result = {
        "run": arguments.run,
        "data": arguments.data,
        "videos": evaluation.tested,
        **evaluation.to_dict(),
    }
    calibration = calibration_figures(recognizer, evaluation)
    result |= {} if calibration is None else {"calibration": calibration}
    # Before the scores are written: a full disk must not lose the accuracy.
    show(arguments, result, evaluation_text(result))
    if path is not None:
        evaluation.save_scores(path)
        fusion, streams = recognizer.info.recipe.fusion, recognizer.trained_streams
        if len(streams) > 1:
            weights = " ".join(f"{getattr(fusion, f'{name}_weight'):g}" for name in streams)
            note(
                f"to fuse these scores as this run does: hts fuse {shlex.quote(str(path))} --labels LIST "
                f"--method {fusion.method} --weights {weights}"
            )
    return 0

"""`hts evaluate`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from hidden_two_stream.cli.annotate import add_thresholds, frame_settings
from hidden_two_stream.cli.options import (
    DATA_HELP,
    Parser,
    add_cache,
    add_device,
    add_protocol,
    add_threads,
    add_workers,
    open_recognizer,
    path,
    path_text,
    require_run,
    show,
    workers,
)
from hidden_two_stream.cli.segment import SETTINGS, add_segment_settings, segment_settings
from hidden_two_stream.cli.train_frames import add_unlabeled
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "test a run: accuracy and confusion of clips, segments of untrimmed videos, or labels of frames"


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
    parser.add_argument(
        "--task",
        default="clips",
        choices=tuple(_RUN),
        help="clips: label each sample of the data; segments: find the samples in the untrimmed videos that "
        "hold them; frames: label every frame, with a run of hts train-frames (default: %(default)s)",
    )
    add_protocol(parser)
    add_device(parser)
    add_threads(parser)
    add_workers(parser)
    add_cache(parser)
    parser.add_argument(
        "--ignore",
        type=path,
        metavar="FILE",
        help="CSV (path,start_seconds,end_seconds) of times that are neither right nor wrong, for --task "
        "segments or frames",
    )
    group = parser.add_argument_group("options of --task segments")
    group.add_argument(
        "--save-segments", type=path, metavar="FILE", help="write what was found: .csv or .json"
    )
    add_segment_settings(group)
    group = parser.add_argument_group(
        "options of --task frames", "--shortest-seconds and --bridge-seconds, too; both are 0 then by default"
    )
    add_unlabeled(group)
    add_thresholds(group)


_OPTIONS = {
    "save_scores": ("clips",),
    "protocol": ("clips",),
    "workers": ("clips",),
    "cache_mb": ("clips",),
    "ignore": ("segments", "frames"),
    "save_segments": ("segments",),
    **dict.fromkeys(SETTINGS, ("segments",)),
    "shortest_seconds": ("segments", "frames"),
    "bridge_seconds": ("segments", "frames"),
    "unlabeled": ("frames",),
    "threshold": ("frames",),
}
"""The tasks for which an option has a meaning, where it is not all of them."""


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    for name, tasks in _OPTIONS.items():
        if name in arguments.given and arguments.task not in tasks:
            raise UsageError(
                f"--{name.replace('_', '-')} has no effect without --task {' or '.join(tasks)}; leave it out"
            )
    if arguments.save_scores is not None:
        from hidden_two_stream.evaluation.score_files import check_scores_path

        check_scores_path(arguments.save_scores)
    require_run(arguments)
    return _RUN[arguments.task](arguments)


def _run_segments(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.data.segment_files import check_segments_path, write_segments
    from hidden_two_stream.evaluation.segments import evaluate_segments

    file: Path | None = arguments.save_segments
    if file is not None:
        check_segments_path(file, 2)
    evaluation = evaluate_segments(
        open_recognizer(arguments),
        arguments.data,
        arguments.split,
        segment_settings(arguments),
        ignore=arguments.ignore,
        quiet=arguments.quiet,
    )
    result = {"run": arguments.run, "data": arguments.data, **evaluation.to_dict()}
    show(arguments, result, str(evaluation))
    if file is not None:
        write_segments(file, {video.name: video.found for video in evaluation.videos})
    return 0


def _run_clips(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.cli.output import evaluation_text
    from hidden_two_stream.evaluation.calibration import calibration_figures
    from hidden_two_stream.evaluation.evaluate import evaluate
    from hidden_two_stream.progress import note

    path: Path | None = arguments.save_scores
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


def _run_frames(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.inference.annotator import load_annotator
    from hidden_two_stream.training.frame_runs import evaluate_annotator

    evaluation = evaluate_annotator(
        load_annotator(arguments.run, arguments.device),
        arguments.data,
        split=arguments.split,
        unlabeled=arguments.unlabeled,
        ignore=arguments.ignore,
        settings=frame_settings(arguments),
        quiet=arguments.quiet,
    )
    show(arguments, {"run": arguments.run, "data": arguments.data, **evaluation.to_dict()}, str(evaluation))
    return 1 if evaluation.unreadable else 0


_RUN = {"clips": _run_clips, "segments": _run_segments, "frames": _run_frames}

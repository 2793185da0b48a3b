"""Tests a run on labeled videos."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hidden_two_stream.data.benchmarks.reference import parse_reference
from hidden_two_stream.data.clip_cache import default_workers, open_clip_cache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import unreadable_lines
from hidden_two_stream.data.splits import divide
from hidden_two_stream.errors import CheckpointError, DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, check_known, evaluate_videos
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol, run_protocol
from hidden_two_stream.progress import note, with_progress

__all__ = ["evaluate"]

PARTS = ("test", "train", "all")


def evaluate(
    run: str | Path | Recognizer,
    data: str | Path,
    split: str | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    *,
    device: str = "cpu",
    workers: int | None = None,
    cache_mb: int = 2048,
    quiet: bool = False,
) -> Evaluation:
    """Test a run on labeled videos.

    Args:
        run: a run folder, a checkpoint file, or a loaded recognizer.
        data: a folder, a CSV or a dataset by name.
        split: "test" and "train" divide the data as the run's training did; "all" tests every video. None
            means "test" if the data has a split of its own or is the data that the run was trained on, else
            "all".
        protocol: test protocol: "center", or "NxM" for N clips and M crops. For a run whose training mirrored
            no clips, "Nx10" becomes "Nx5", without mirror images; a line on stderr says so.
        device: where to compute if `run` is not a loaded recognizer.
        workers: processes that decode; None: one per core, at most 8.
        cache_mb: memory for decoded frames, MiB. If the frames of all videos need more, each video is decoded
            a second time when it is tested, with the same result.
        quiet: show no progress on stderr.

    Raises:
        UsageError: an argument is wrong.
        CheckpointError: the run is damaged or has no trained stream.
        DataError: the data has no such videos, or classes that the recognizer does not know.
    """
    if split is not None and split not in PARTS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(PARTS)}")
    parse_protocol(protocol)  # report a wrong one before anything is read
    recognizer = run if isinstance(run, Recognizer) else load(run, device)
    chosen = run_protocol(protocol, recognizer.info.recipe, note)
    name = "recognizer" if isinstance(run, Recognizer) else str(run)
    if not recognizer.trained_streams:
        raise CheckpointError(f"{name!r} has no trained stream to test; train spatial or temporal")
    index = read_dataset_index(data, min_classes=1)
    samples, tested = index.samples, "all videos"
    known = recognizer.info.metadata
    _warn_of_other_split(str(data), known.data)
    if split is None:
        trained_on = absolute_data(data) == known.data
        split = "test" if trained_on or any(sample.split for sample in samples) else "all"
    if split != "all":
        parts = divide(index, known.held_out, known.test_fraction, known.seed)
        samples, tested = (parts.test if split == "test" else parts.train), f"{split} part, {parts.rule}"
    if not samples:
        raise DataError(f"no {split} videos in {str(data)!r} ({tested}); use --split all")
    check_known({sample.label for sample in samples}, recognizer.classes)
    settings = recognizer.info.recipe.input
    processes = default_workers() if workers is None else workers
    cache = with_progress(
        "decode",
        len(samples),
        quiet,
        lambda done: open_clip_cache(
            samples,
            settings.resize,
            budget_bytes=cache_mb << 20,
            workers=processes,
            progress=done,
            fps=settings.fps,
        ),
    )
    for line in unreadable_lines(cache.unreadable):
        note(f"unreadable: {line}")
    far = [warning for video in cache.videos if (warning := recognizer.rate_warning(video.fps))]
    if far:
        note(f"{len(far)} of {len(cache.videos)} videos have another rate, for example: {far[0]}")
    evaluation = with_progress(
        "evaluate", len(cache.samples), quiet, lambda done: evaluate_videos(recognizer, cache, chosen, done)
    )
    return dataclasses.replace(evaluation, tested=tested)


def _warn_of_other_split(data: str, trained_on: str) -> None:
    """Warn if an official split is tested on a run trained on another one, because splits share videos."""
    here, there = parse_reference(data), parse_reference(trained_on)
    if here is None or there is None or here.name != there.name or here.splits == there.splits:
        return
    note(
        f"this run was trained on split {there.splits[0]} of {there.name}, which includes test videos of "
        f"split {here.splits[0]}: the accuracy is not that of unseen videos"
    )

"""`hts evaluate`: accuracy of a run on labelled videos, per stream and fused, with its protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hidden_two_stream.data.benchmarks.reference import parse_reference
from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.samples import unreadable_lines
from hidden_two_stream.data.splits import divide
from hidden_two_stream.errors import CheckpointError, DataError, UsageError
from hidden_two_stream.evaluation.accuracy import check_known, evaluate
from hidden_two_stream.evaluation.score_files import check_scores_path
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.progress import note, number_of, with_progress

__all__ = ["evaluate_command", "evaluation_text"]

PARTS = ("test", "train", "all")


def evaluate_command(
    run: str,
    data: str,
    *,
    part: str | None,
    protocol: str,
    device: str,
    workers: int,
    save_scores: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Test a run.

    Args:
        run: run folder or checkpoint.
        data: folder, CSV or data set by name.
        part: "test" and "train" divide the data as the run's training did; "all" takes everything. None: test
            where the data has a split of its own or is what the run was trained on, else all.
        protocol: "center" or "NxM".
        device: where to compute.
        workers: decoding processes.
        save_scores: .npz or .csv file for all scores.
        quiet: no progress.
    """
    if part is not None and part not in PARTS:
        raise UsageError(f"unknown split {part!r}; choose one of {', '.join(PARTS)}")
    if save_scores is not None:
        check_scores_path(save_scores)
    chosen = parse_protocol(protocol)
    recognizer = load(run, device)
    if not recognizer.trained_streams:
        raise CheckpointError(f"{run!r} has no trained stream to test; train spatial or temporal")
    listing = read_dataset_index(data, min_classes=1)
    samples, rule = listing.samples, "all videos"
    known = recognizer.info.provenance
    _warn_of_other_split(data, str(known.get("data", "")))
    if part is None:
        trained_on = absolute_data(data) == known.get("data")
        part = "test" if trained_on or any(sample.split for sample in samples) else "all"
    if part != "all":
        split = divide(listing, known.get("held_out"), known.get("test_fraction", 0.25), known.get("seed", 0))
        samples, rule = (split.test if part == "test" else split.train), f"{part} part, {split.rule}"
    if not samples:
        raise DataError(f"no {part} videos in {data!r} ({rule}); use --split all")
    check_known({sample.label for sample in samples}, recognizer.classes)
    resize = recognizer.info.recipe.input.resize
    store = with_progress(
        "decode",
        len(samples),
        quiet,
        lambda done: open_clip_cache(samples, resize, workers=workers, progress=done),
    )
    for line in unreadable_lines(store.unreadable):
        note(f"unreadable: {line}")
    evaluation = with_progress(
        "evaluate", len(store.samples), quiet, lambda done: evaluate(recognizer, store, chosen, done)
    )
    if save_scores is not None:
        evaluation.save_scores(save_scores)
        fusion = recognizer.info.recipe.fusion
        weights = " ".join(f"{getattr(fusion, f'{name}_weight'):g}" for name in recognizer.trained_streams)
        if len(recognizer.trained_streams) > 1:
            note(
                f"to fuse these as this run does: hts fuse {save_scores} --labels LIST "
                f"--method {fusion.method} --weights {weights}"
            )
    return {"run": run, "data": data, "videos": rule, **evaluation.to_dict()}


def _warn_of_other_split(data: str, trained_on: str) -> None:
    """Official splits share videos: what one tests, another trains."""
    here, there = parse_reference(data), parse_reference(trained_on)
    if here is None or there is None or here.name != there.name or here.splits == there.splits:
        return
    note(
        f"this run was trained on split {there.splits[0]} of {there.name}, which holds videos that split "
        f"{here.splits[0]} tests: the accuracy is not that of unseen videos"
    )


def evaluation_text(result: dict[str, Any]) -> str:
    """The result for people: accuracies, each class, and the confusion matrix."""
    count, chance = result["num_test_videos"], result["chance"]
    lines = [
        f"{number_of(count, 'video')} ({result.get('videos', 'test part')}), "
        f"protocol {result['protocol']}, chance {chance:.1%}"
    ]
    for name, value in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        mean = result["mean_class_accuracy"][name]
        lines.append(
            f"  {name:<9} {value:6.1%}  (95 %: {low:.1%} to {high:.1%}; mean over classes {mean:.1%})"
        )
    names, matrix = result["confusion"]["classes"], result["confusion"]["fused"]
    if len(names) <= 20:
        width = max(len(name) for name in names)
        lines.append("confusion, fused (rows: truth)")
        lines += [
            f"  {name:<{width}} " + " ".join(f"{n:4d}" for n in row)
            for name, row in zip(names, matrix, strict=True)
        ]
    if result["num_unreadable"]:
        lines.append(f"{number_of(result['num_unreadable'], 'unreadable video')} not counted")
    return "\n".join(lines)

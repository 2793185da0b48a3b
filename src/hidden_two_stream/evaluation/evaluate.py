"""Tests a run on labeled videos."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hidden_two_stream.checkpoint import RunMetadata
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.data.benchmarks.reference import parse_reference
from hidden_two_stream.data.clip_cache import ClipCache, default_workers, open_clip_cache
from hidden_two_stream.data.index import absolute_data, read_dataset_index
from hidden_two_stream.data.record import TrainingRecord, absolute_names
from hidden_two_stream.data.samples import DatasetIndex, Sample, note_facts, unreadable_lines
from hidden_two_stream.data.splits import divide, own_split
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, check_known, evaluate_videos
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.windows import (
    DEFAULT_PROTOCOL,
    Protocol,
    parse_protocol,
    protocol_frames,
    run_protocol,
)
from hidden_two_stream.progress import note, number_of, with_progress

__all__ = ["PARTS", "evaluate"]

PARTS = ("test", "train", "val", "all")
"""Parts of a dataset that can be tested."""


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
        split: "test", "train", "val" or "all". In the data that the run was trained on, "test" and "train"
            are the parts of its training, even if the data was moved. In other data they are the parts of
            its own split; without one, "test" is what the run was not trained on. None means "test", or "all"
            for other data without a split of its own if the run does not say what it was trained on.
        protocol: test protocol: "center", or "NxM" for N clips and M crops. For a run whose training mirrored
            no clips, "Nx10" becomes "Nx5", without mirror images; a line on stderr says so.
        device: where to compute if `run` is not a loaded recognizer.
        workers: processes that decode; None: one per core, at most 8.
        cache_mb: memory for decoded frames, MiB. If the frames of all videos need more, each video is decoded
            a second time when it is tested, with the same result.
        quiet: show no progress on stderr.

    Returns:
        The test result; its `trained_on` names the tested videos that the run was trained on.

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
    require_trained(recognizer.trained_streams, recognizer.name)
    _warn_of_other_split(str(data), recognizer.info.metadata.data)
    index = read_dataset_index(data, min_classes=1)
    note_facts(index)
    part = _choose_part(index, data, recognizer, split)
    if not part.samples:
        raise DataError(f"no {part.split} videos in {str(data)!r} ({part.rule}); use --split all")
    check_known({sample.label for sample in part.samples}, recognizer.classes)
    cache = _decode(part.samples, recognizer, chosen, workers, cache_mb, quiet)
    cache, tested = _select_by_content(part, cache, recognizer.record, data)
    evaluation = with_progress(
        "evaluate", len(cache.samples), quiet, lambda done: evaluate_videos(recognizer, cache, chosen, done)
    )
    record = recognizer.record
    scored = frozenset(evaluation.names)
    cache = cache.select(sample for sample in cache.samples if sample.name in scored)
    seen = None if record is None or record.unknown else record.trained_on(cache.samples, cache.videos)
    return dataclasses.replace(evaluation, tested=tested, trained_on=seen)


@dataclass(frozen=True)
class _Part:
    """What to decode and test.

    Attributes:
        split: "test", "train", "val" or "all".
        samples: to decode.
        rule: how they were chosen, in words.
        by_content: whether only those are tested that the run was trained on ("train"), or not ("test").
    """

    split: str
    samples: tuple[Sample, ...]
    rule: str
    by_content: bool = False

    @property
    def description(self) -> str:
        """What is tested, in words."""
        return self.rule if self.split == "all" else f"{self.split} part, {self.rule}"


def _choose_part(index: DatasetIndex, data: str | Path, recognizer: Recognizer, split: str | None) -> _Part:
    known, record = recognizer.info.metadata, recognizer.record
    is_training_data = absolute_data(data) == known.data
    own = None if is_training_data and known.held_out is not None else own_split(index)
    if split == "all":
        return _Part("all", index.samples, "all videos")
    if split == "val":
        val = tuple(sample for sample in index.samples if sample.split == "val")
        return _Part("val", val, "the data set's own split" if val else "no part is named val")
    if is_training_data:
        return _part_of_training(index, known, record, split or "test")
    if own is not None:
        wanted = split or "test"
        return _Part(wanted, own.test if wanted == "test" else own.train, own.rule)
    if record is not None and not record.unknown:
        return _Part(split or "test", index.samples, "", by_content=True)
    if split is None:
        return _Part("all", index.samples, "all videos")
    try:
        parts = divide(index, known.held_out, known.test_fraction, known.seed)
    except DataError as error:
        raise DataError(f"{error}; use --split all") from error
    return _Part(split, parts.test if split == "test" else parts.train, parts.rule)


def _part_of_training(
    index: DatasetIndex, known: RunMetadata, record: TrainingRecord | None, split: str
) -> _Part:
    """The training or test part of the data at the place where the run was trained on it."""
    trained = frozenset[str]() if record is None else record.trained_names()
    at_place = absolute_names(read_dataset_index(known.data, min_classes=1).samples)
    if trained.isdisjoint(at_place):  # an earlier version trained it
        parts = divide(index, known.held_out, known.test_fraction, known.seed)
        return _Part(split, parts.test if split == "test" else parts.train, parts.rule)
    own = own_split(index) if known.held_out is None else None
    left = frozenset() if own is None else frozenset(s.name for s in own.val + own.train)
    samples = tuple(
        sample
        for sample, name in zip(index.samples, at_place, strict=True)
        if (name in trained) == (split == "train") and (split == "train" or sample.name not in left)
    )
    return _Part(split, samples, known.split)


def _decode(
    samples: tuple[Sample, ...],
    recognizer: Recognizer,
    protocol: Protocol,
    workers: int | None,
    cache_mb: int,
    quiet: bool,
) -> ClipCache:
    """Decode the samples, for the frames that the protocol uses.

    Unreadable ones, and videos of another rate, are named on stderr.
    """
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
            choose=partial(protocol_frames, recognizer.info.recipe, protocol),
        ),
    )
    for line in unreadable_lines(cache.unreadable):
        note(f"unreadable: {line}")
    far = [warning for video in cache.videos if (warning := recognizer.rate_warning(video.fps))]
    if far:
        note(f"{len(far)} of {len(cache.videos)} videos have another rate, for example: {far[0]}")
    return cache


def _select_by_content(
    part: _Part, cache: ClipCache, record: TrainingRecord | None, data: str | Path
) -> tuple[ClipCache, str]:
    """Return the videos to test, and their description.

    Raises:
        DataError: there are none.
    """
    if not part.by_content or record is None:
        return cache, part.description
    seen = frozenset(record.trained_on(cache.samples, cache.videos))
    if part.split == "test" and not seen:
        return cache, "all videos, none of which the run was trained on"
    keep_seen = part.split == "train"
    unreadable = {sample.name for sample, _ in cache.unreadable}
    chosen = [s for s in part.samples if (s.name in seen) == keep_seen]
    if not any(sample.name not in unreadable for sample in chosen):
        many = f"{len(seen)} of the {len(cache.samples)} videos in {str(data)!r}"
        raise DataError(f"no {part.split} videos: the run was trained on {many}; use --split all")
    which = "the run was trained on" if keep_seen else "the run was not trained on"
    number = sum(sample.name not in unreadable for sample in chosen)
    rule = f"the {number} of {number_of(len(cache.samples), 'video')} that {which}, by their frames"
    return cache.select(chosen), f"{part.split} part, {rule}"


def _warn_of_other_split(data: str, trained_on: str) -> None:
    """Warn if an official split is tested on a run trained on another one, because splits share videos."""
    here, there = parse_reference(data), parse_reference(trained_on)
    if here is None or there is None or here.name != there.name or here.splits == there.splits:
        return
    note(
        f"this run was trained on split {there.splits[0]} of {there.name}, which includes test videos of "
        f"split {here.splits[0]}: the accuracy is not that of unseen videos"
    )

"""One training with its test: from decoded videos to a saved, tested recognizer."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import UNREADABLE_FILE, RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.samples import Sample, unreadable_lines
from hidden_two_stream.data.splits import Split
from hidden_two_stream.data.training_set import mix_seed
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, Videos, evaluate_videos
from hidden_two_stream.files import write_text
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.progress import note, with_progress
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.state import STATE_FILE
from hidden_two_stream.training.warm_start import (
    distillation_teacher,
    initialize,
    read_motion_origin,
    stages_brought,
    stages_replaced,
)
from hidden_two_stream.video.reader import VideoReader

__all__ = ["FitTask", "TrainingResult", "class_numbers", "decode_samples", "fit", "resolve_input"]

_PROBED = 32  # videos whose size decides the input size


@dataclass(frozen=True)
class TrainingResult:
    """A trained recognizer.

    Attributes:
        recognizer: the recognizer, in evaluation mode.
        evaluation: its test result; None without test videos, and in processes other than the first.
        seconds: training time of each stage, s.
        folder: the run folder.
        is_first: whether this process is the first of those that trained together.
    """

    recognizer: Recognizer
    evaluation: Evaluation | None
    seconds: Mapping[str, float]
    folder: Path
    is_first: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures, as `results.json` holds them."""
        tested = {} if self.evaluation is None else self.evaluation.to_dict()
        return {**tested, "seconds": {name: round(value, 2) for name, value in self.seconds.items()}}


@dataclass(frozen=True)
class FitTask:
    """What to train on, and how.

    Attributes:
        split: training and test samples.
        cache: their decoded videos, a `ClipCache`; of a baseline, what takes its place.
        classes: class names, in the order of the logits.
        recipe: how to train, with the input size filled in.
        folder: the run folder.
        seed: seed of everything random.
        protocol: test protocol.
        stages: the stages to train, as far as the recipe gives them steps. A single stage is trained even if
            a warm start stands for it.
        warm_start: run by the part that it gives, see `training.warm_start`.
        metadata: what is known of the data, to be kept with the run.
        resume: go on from the saved training state.
    """

    split: Split
    cache: Any
    classes: Sequence[str]
    recipe: Recipe
    folder: Path
    seed: int = 0
    protocol: str = DEFAULT_PROTOCOL
    stages: Sequence[str] = STAGE_NAMES
    warm_start: Mapping[str, str] = field(default_factory=dict)
    metadata: RunMetadata = field(default_factory=RunMetadata)
    resume: bool = False

    def stages_to_train(self) -> list[str]:
        """Return the stages with steps that no warm start stands for."""
        replaced = stages_replaced(self.warm_start) - (set(self.stages) if len(self.stages) == 1 else set())
        return [name for name in self.stages if name not in replaced and self.recipe.stage(name).steps > 0]


def resolve_input(recipe: Recipe, samples: Sequence[Sample]) -> Recipe:
    """Fill in `input.size` and `input.resize` where the recipe leaves them to the data.

    Raises:
        UsageError: `input.resize` is smaller than `input.size`.
    """
    size = recipe.input.size
    if size == 0:
        short_sides = []
        for sample in samples[:: max(1, len(samples) // _PROBED)]:
            try:
                with VideoReader(sample.path) as reader:
                    short_sides.append(min(reader.size))
            except HiddenTwoStreamError:
                continue  # named when all videos are decoded
        wanted = statistics.median(short_sides) if short_sides else 0
        least, most = -(-recipe.input.min_size // 32) * 32, recipe.input.max_size // 32 * 32
        size = min(most, max(least, round(wanted / 32) * 32))
    resize = recipe.input.resize or size
    smallest = resize if isinstance(resize, int) else min(resize)
    if smallest < size:
        raise UsageError(
            f"input.resize {resize} is smaller than input.size {size}; make it at least as large"
        )
    return dataclasses.replace(recipe, input=dataclasses.replace(recipe.input, size=size, resize=resize))


def decode_samples(
    samples: Sequence[Sample], recipe: Recipe, resources: Resources, folder: Path
) -> ClipCache:
    """Decode all samples once. Unreadable videos are named and listed in `unreadable.txt`.

    Raises:
        DataError: no video is readable.
    """
    cache = with_progress(
        "decode",
        len(samples),
        resources.quiet,
        lambda progress: open_clip_cache(
            samples,
            recipe.input.resize,
            budget_bytes=resources.cache_mb << 20,
            workers=resources.workers,
            progress=progress,
        ),
    )
    lines = unreadable_lines(cache.unreadable)
    write_text(folder / UNREADABLE_FILE, "".join(f"{line}\n" for line in lines))
    for line in lines[:10]:
        note(f"unreadable: {line}")
    if lines:
        listed = folder / UNREADABLE_FILE
        note(f"{len(lines)} of {len(samples)} videos are unreadable and left out; listed in {listed}")
    damaged = [
        f"{s.name}: {v.warning}" for s, v in zip(cache.samples, cache.videos, strict=True) if v.warning
    ]
    for line in damaged[:10]:
        note(f"damaged, used up to the damage: {line}")
    if len(damaged) > 10:
        note(f"{len(damaged)} videos are damaged and used up to the damage; hts check names all")
    if not cache.samples:
        raise DataError(f"none of the {len(samples)} videos can be read; see {folder / UNREADABLE_FILE}")
    return cache


def fit(task: FitTask, resources: Resources, fabric: Fabric) -> TrainingResult:
    """Train on the training part of the split, save the run, and test on the test part.

    Of several processes that train together, the first saves and tests.

    Args:
        task: what to train on, and how.
        resources: machine and progress.
        fabric: launched.

    Raises:
        UsageError: there is nothing to train, or a warm start does not fit.
        DataError: a class has no readable training video.
        TrainingError, Stopped: as `training.loop.optimize`.
    """
    recipe, folder = task.recipe, task.folder
    training = task.cache.select(task.split.train)
    labels = class_numbers(training, task.classes, folder)
    torch.manual_seed(mix_seed(task.seed))
    model = build_model(recipe, len(task.classes))
    if task.resume and (folder / STATE_FILE).exists():
        origin = read_motion_origin(folder)
    else:
        kept_in = folder if fabric.is_global_zero else None
        origin = initialize(model, recipe, task.classes, task.warm_start, kept_in, quiet=resources.quiet)
    stages, brought = task.stages_to_train(), stages_brought(task.warm_start)
    if not (stages or task.warm_start):
        raise UsageError("there is nothing to train: the recipe gives no steps to the stages asked for")
    if {"temporal", "joint"} & set(stages) and "motion" not in {*stages, *brought} and origin is None:
        note("MotionNet is random: stage motion is not trained, and --motion-from gives no trained one")
    teacher = distillation_teacher(recipe) if "motion" in stages else None
    run = TrainingRun(
        folder=folder,
        recipe=recipe,
        cache=training,
        labels=labels,
        seed=task.seed,
        stages=stages,
        workers=resources.workers,
        save_seconds=resources.save_seconds,
        quiet=resources.quiet,
        teacher=None if teacher is None else teacher.build(),
    )
    seconds = optimize(model, run, fabric, task.resume)
    metadata = dataclasses.replace(
        task.metadata,
        stages=tuple(name for name in STAGE_NAMES if name in brought or name in stages),
        warm_start=dict(task.warm_start),
        motion_init=origin,
        motion_teacher=None if teacher is None else teacher.to_dict(),
        split=task.split.rule,
        num_training_videos=len(training.samples),
        seed=task.seed,
        precision=resources.precision,
        versions=versions(),
    )
    info = RunInfo(recipe, tuple(task.classes), metadata)
    recognizer = Recognizer(model, info)
    if not fabric.is_global_zero:
        return TrainingResult(recognizer, None, seconds, folder, is_first=False)
    save_run(folder, model, info)
    tests = task.cache.select(task.split.test)
    evaluation = None
    if tests.samples and recognizer.trained_streams:
        evaluation = with_progress(
            "evaluate",
            len(tests.samples),
            resources.quiet,
            lambda progress: evaluate_videos(recognizer, tests, parse_protocol(task.protocol), progress),
        )
    return TrainingResult(recognizer, evaluation, seconds, folder)


def class_numbers(videos: Videos, classes: Sequence[str], folder: Path) -> list[int]:
    """Return the class number of each training video.

    Raises:
        DataError: a class has no readable video.
    """
    labels = [list(classes).index(sample.label) for sample in videos.samples]
    missing = [name for number, name in enumerate(classes) if number not in set(labels)]
    if missing:
        raise DataError(f"no readable training video of {missing}; see {folder / UNREADABLE_FILE}")
    return labels

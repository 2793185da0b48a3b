"""Trains on decoded videos, and saves and tests the recognizer."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import UNREADABLE_FILE, RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES, STREAMS
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.record import TrainingRecord
from hidden_two_stream.data.samples import Sample, clean_text, unreadable_lines
from hidden_two_stream.data.splits import Split
from hidden_two_stream.data.training_set import CachedClips, TrainingClips, mix_seed
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, Scorer, Videos, evaluate_videos
from hidden_two_stream.evaluation.calibration import calibration_figures
from hidden_two_stream.files import write_text
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, run_protocol
from hidden_two_stream.progress import note, number_of, with_progress
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import shapes_only
from hidden_two_stream.training.cross_fit import CrossFit, delete_cross_fits, labeled_stages
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.stages import select_trained
from hidden_two_stream.training.state import STATE_FILE
from hidden_two_stream.training.together import evaluate_together, open_cache_together
from hidden_two_stream.training.warm_start import (
    check_initial_weights,
    distillation_teacher,
    initial_temporal_weights,
    initialize,
    read_origins,
    stages_brought,
    stages_replaced,
)
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.times import FAR_RATE, sampled_rate

__all__ = [
    "FitTask",
    "TrainingResult",
    "check_batches",
    "check_run",
    "decode_samples",
    "evaluate_split",
    "fit",
    "resolve_input",
    "run_info",
    "stages_to_train",
    "training_run",
]

_NUM_PROBED = 32  # videos whose size determines an automatic input size
_NUM_LISTED = 10  # unreadable or damaged videos named on stderr


@dataclass(frozen=True)
class TrainingResult:
    """A trained recognizer and its test result.

    Attributes:
        recognizer: the recognizer, in evaluation mode.
        evaluation: its test result; None without test videos.
        seconds: training time of each stage, s.
        folder: the run folder.
        is_first: whether this process is the first of those that train together.
    """

    recognizer: Recognizer
    evaluation: Evaluation | None
    seconds: Mapping[str, float]
    folder: Path
    is_first: bool = True

    def __str__(self) -> str:
        return f"{self.folder}: {self.evaluation or 'not tested'}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures, as `results.json` holds them."""
        tested = {} if self.evaluation is None else self.evaluation.to_dict()
        calibration = calibration_figures(self.recognizer, self.evaluation)
        tested |= {} if calibration is None else {"calibration": calibration}
        return {**tested, "seconds": {name: round(value, 2) for name, value in self.seconds.items()}}


@dataclass(frozen=True)
class FitTask:
    """What to train on, and how.

    Attributes:
        split: training and test samples.
        cache: their decoded videos: a `ClipCache`, or the `FlowCache` of a baseline.
        classes: class names, in the order of the logits.
        recipe: how to train, with the input size filled in.
        folder: the run folder.
        seed: seed of everything random.
        protocol: test protocol.
        stages: the stages to train if the recipe gives them steps. Warm starts replace stages, except if only
            one stage is named.
        warm_start: the source run of each part, see `training.warm_start`.
        metadata: the facts about the data that are saved with the run.
        resume: go on from the saved training state, if there is one.
        processes: as for `training.loop.TrainingRun`.
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
    processes: int = 0

    def stages_to_train(self) -> list[str]:
        """Return the stages that have steps and that no warm start replaces."""
        return stages_to_train(self.recipe, self.stages, self.warm_start)

    @property
    def goes_on(self) -> bool:
        """Whether training goes on from a saved state, so that initial weights are not needed."""
        return self.resume and (self.folder / STATE_FILE).exists()


def stages_to_train(recipe: Recipe, stages: Sequence[str], warm_starts: Iterable[str]) -> list[str]:
    """Return those of `stages` that have steps in the recipe and that no warm start replaces.

    A stage that is named alone is trained in any case.
    """
    replaced = stages_replaced(warm_starts) - (set(stages) if len(stages) == 1 else set())
    return [name for name in stages if name not in replaced and recipe.stage(name).steps > 0]


def resolve_input(recipe: Recipe, samples: Sequence[Sample]) -> Recipe:
    """Return the recipe with `input.size` and `input.resize` chosen from the data if they are 0.

    Raises:
        UsageError: `input.resize` is smaller than `input.size`.
    """
    size = recipe.input.size
    if size == 0:
        short_sides = []
        for sample in samples[:: max(1, len(samples) // _NUM_PROBED)]:
            try:
                with VideoReader(sample.path) as reader:
                    short_sides.append(min(reader.size))
            except HiddenTwoStreamError:
                continue  # reported when all videos are decoded
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


def check_run(
    recipe: Recipe,
    classes: Sequence[str],
    stages: Sequence[str] = STAGE_NAMES,
    warm_start: Mapping[str, str] | None = None,
) -> None:
    """Check that a run can be trained, before any video is decoded. No memory is used for weights.

    Args:
        recipe: the recipe.
        classes: class names; they matter only for warm starts.
        stages: the stages to train if the recipe gives them steps.
        warm_start: the source run of each part, see `training.warm_start`.

    Raises:
        UsageError: the networks do not fit each other, there is nothing to train, or initial weights are
            missing or do not fit.
        CheckpointError: a file of initial weights is damaged, or its download fails.
        MissingDependencyError: the library of an image encoder is not installed.
    """
    with shapes_only():
        build_model(recipe, 2)
    if not (warm_start or any(recipe.stage(name).steps for name in stages)):
        raise UsageError(
            "there is nothing to train: the recipe gives no steps to the stages asked for; "
            "give streams with --spatial-from and --temporal-from, or steps"
        )
    if recipe.loss == "multiframe" and recipe.model.num_frames < 3:
        trained = [name for name in stages if STAGES[name].unsupervised and recipe.stage(name).steps]
        if trained:
            raise UsageError(
                f"loss multiframe compares the motion of neighboring pairs of frames, but clips have "
                f"{recipe.model.num_frames} frames; set model.num_frames to 3 or more, or choose another loss"
            )
    check_initial_weights(recipe, classes, warm_start or {})


def check_batches(recipe: Recipe, stages: Sequence[str]) -> None:
    """Check that the stages can be trained on batches of this size, without memory or computation.

    In training, batch normalization needs more than one value per channel. A batch of a single clip has one
    where a network reduces the frames to a single point.

    Args:
        recipe: the recipe, with the input size filled in.
        stages: the stages to train, see `stages_to_train`.

    Raises:
        UsageError: a batch of a stage is too small.
    """
    size, num_frames = recipe.input.size, recipe.model.num_frames
    for name in stages:
        stream = STAGES[name].stream
        clips = recipe.stage(name).batch_size * (recipe.input.segments if stream else 1)
        if clips > 1:
            continue
        with shapes_only():
            model = build_model(recipe, 2)
            frames = torch.empty(1, num_frames, 3, size, size)
        select_trained(model, STAGES[name], train_encoder=recipe.stage(name).encoder_learning_rate > 0)
        forward = {"spatial": model.spatial, "temporal": model.temporal, None: model.motion}[stream]
        try:
            with torch.no_grad():
                forward(frames)
        except ValueError as error:
            raise UsageError(
                f"stage {name} cannot be trained on batches of a single clip of {size}×{size} px, because "
                "batch normalization needs more than one value per channel; set "
                f"{name}.batch_size to 2 or more"
            ) from error


def decode_samples(
    samples: Sequence[Sample],
    recipe: Recipe,
    resources: Resources,
    folder: Path,
    fabric: Fabric | None = None,
) -> ClipCache:
    """Decode all samples once. If several processes train together, each decodes a part.

    Args:
        samples: the videos.
        recipe: its input size is filled in.
        resources: workers, memory and progress.
        folder: gets `unreadable.txt`.
        fabric: a launched Fabric; only its first process writes that file, and names unreadable and damaged
            videos on stderr. None: this process is alone.

    Raises:
        DataError: no video is readable.
    """
    budget = resources.cache_mb << 20

    def decode(part: Sequence[Sample]) -> ClipCache:
        return with_progress(
            "decode",
            len(part),
            resources.quiet,
            lambda progress: open_clip_cache(
                part,
                recipe.input.resize,
                budget_bytes=budget,
                workers=resources.workers,
                progress=progress,
                fps=recipe.input.fps,
            ),
        )

    cache = decode(samples) if fabric is None else open_cache_together(fabric, samples, budget, decode)
    if fabric is None or fabric.is_global_zero:
        _report_unreadable(cache, folder / UNREADABLE_FILE)
        _report_rates(_rates(cache, recipe.input.fps))
    if not cache.samples:
        raise DataError(f"none of the {len(samples)} videos can be read; see {folder / UNREADABLE_FILE}")
    return cache


def _report_unreadable(cache: ClipCache, file: Path) -> None:
    lines = unreadable_lines(cache.unreadable)
    write_text(file, "".join(f"{line}\n" for line in lines))
    for line in lines[:_NUM_LISTED]:
        note(f"unreadable: {line}")
    if lines:
        total = len(cache.samples) + len(lines)
        note(f"{len(lines)} of {total} videos are unreadable and left out; listed in {file}")
    names: dict[str, list[str]] = {}
    for sample, video in zip(cache.samples, cache.videos, strict=True):
        if video.warning:
            names.setdefault(video.warning, []).append(sample.name)
    for warning, found in list(names.items())[:_NUM_LISTED]:
        others = f" and {number_of(len(found) - 1, 'other')}" if len(found) > 1 else ""
        note(f"{found[0]}{others}: {warning}")
    if len(names) > _NUM_LISTED:
        note(f"{sum(map(len, names.values()))} videos have warnings; hts check names all")


def _rates(cache: ClipCache, fps: float) -> list[float]:
    """Frames per second of the videos whose rate is known, after sampling at `fps`."""
    return [sampled_rate(video.fps, fps) for video in cache.videos if video.fps]


def _report_rates(rates: Sequence[float]) -> None:
    if rates and max(rates) >= FAR_RATE * min(rates):
        note(
            f"videos have {min(rates):.4g} to {max(rates):.4g} frames per second, so the same motion looks "
            "faster in some than in others; set input.fps to sample all of them alike"
        )


def fit(task: FitTask, resources: Resources, fabric: Fabric) -> TrainingResult:
    """Train on the training part of the split, save the run, and test on the test part.

    If several processes train together, only the first one saves.

    Args:
        task: what to train on, and how.
        resources: hardware and progress.
        fabric: a launched Fabric.

    Raises:
        UsageError: a warm start does not fit.
        DataError: a class has no readable training video.
        CheckpointError, TrainingError, Stopped: as `training.loop.optimize`.
    """
    recipe, folder, is_first = task.recipe, task.folder, fabric.is_global_zero
    stages, brought = task.stages_to_train(), stages_brought(task.warm_start)
    pretrained = initial_temporal_weights(recipe, task.warm_start) is not None
    run = dataclasses.replace(training_run(task, resources, stages), is_pretrained=pretrained)
    torch.manual_seed(mix_seed(task.seed))
    model = build_model(recipe, len(task.classes))
    if task.goes_on:
        origins = read_origins(folder)
    else:
        record = folder if is_first else None
        origins = initialize(model, recipe, task.classes, task.warm_start, record, quiet=resources.quiet)
    sees_motion = bool({"temporal", "joint"} & set(stages))
    if is_first and sees_motion and "motion_init" not in origins and "motion" not in {*stages, *brought}:
        note(
            "MotionNet is random: stage motion is not trained, and there is no --motion-from; to train it, "
            "set motion.steps"
        )
    teacher = distillation_teacher(recipe) if "motion" in stages else None
    if teacher is not None:
        run = dataclasses.replace(run, teacher=teacher.build())
    calibration, begun = None, False
    if _is_calibrated(task, run):
        calibration, begun = _calibrate(task, model, run, fabric)
    seconds = optimize(model, run, fabric, task.resume or begun)
    info = run_info(
        task,
        resources,
        run,
        calibration=calibration,
        stages=tuple(name for name in STAGE_NAMES if name in brought or name in stages),
        warm_start=dict(task.warm_start),
        **origins,
        motion_teacher=None if teacher is None else teacher.to_dict(),
    )
    samples = _record_samples(task)
    recognizer = Recognizer(model, info, samples)
    if is_first:
        save_run(folder, model, info)
        samples.write(folder)
    tested = bool(recognizer.trained_streams)
    evaluation = evaluate_split(recognizer, task, resources, fabric) if tested else None
    return TrainingResult(recognizer, evaluation, seconds, folder, is_first)


def _is_calibrated(task: FitTask, run: TrainingRun) -> bool:
    """Return whether a run is to be calibrated; if only warm starts are against it, name them."""
    if task.recipe.calibration.method == "none" or not labeled_stages(tuple(run.steps())):
        return False
    given = [stream for stream in STREAMS if stream in task.warm_start]
    if given:
        note(
            f"not calibrated: the {' and '.join(given)} stream began in another run, which may have seen the "
            "videos to be held back",
            quiet=run.quiet,
        )
    return not given


def _calibrate(
    task: FitTask, model: HiddenTwoStream, run: TrainingRun, fabric: Fabric
) -> tuple[Calibration | None, bool]:
    """Train stage motion, and calibrate the run before its labeled stages.

    Returns:
        The calibration, and whether there is a saved state now from which training goes on.
    """
    if fabric.is_global_zero and not task.resume:
        delete_cross_fits(task.folder)
    labeled = labeled_stages(tuple(run.steps()))
    seconds = optimize(model, run, fabric, task.resume, until=labeled[0])
    fabric.barrier()
    column = clean_text(task.metadata.held_out or "").partition("=")[0] or None
    cross_fit = CrossFit(run, tuple(task.classes), task.protocol, column, fabric, task.resume)
    return cross_fit.calibrate(model, begun=bool(set(labeled) & set(seconds))), bool(seconds)


def _record_samples(task: FitTask) -> TrainingRecord:
    """Return which videos the run is trained and tested on."""
    videos = {
        sample.name: getattr(video, "video", video)  # a `FlowVideo` holds its decoded video
        for sample, video in zip(task.cache.samples, task.cache.videos, strict=True)
    }
    return TrainingRecord.of(task.split.train, task.split.test, videos, task.warm_start)


def training_run(
    task: FitTask,
    resources: Resources,
    stages: Sequence[str],
    clips: Callable[..., CachedClips] = TrainingClips,
) -> TrainingRun:
    """Return what `optimize` needs to train `stages`, without a teacher.

    Args:
        task: what to train on, and how.
        resources: workers and progress.
        stages: the stages to train.
        clips: as for `TrainingRun`.

    Raises:
        DataError: a class has no readable training video.
    """
    videos = task.cache.select(task.split.train)
    return TrainingRun(
        folder=task.folder,
        recipe=task.recipe,
        cache=videos,
        labels=_class_numbers(videos, task.classes, task.folder),
        seed=task.seed,
        stages=stages,
        workers=resources.workers,
        save_seconds=resources.save_seconds,
        quiet=resources.quiet,
        clips=clips,
        processes=task.processes,
    )


def _class_numbers(videos: Videos, classes: Sequence[str], folder: Path) -> list[int]:
    """Return the class number of each training video.

    Raises:
        DataError: a class has no readable video.
    """
    labels = [list(classes).index(sample.label) for sample in videos.samples]
    missing = [name for number, name in enumerate(classes) if number not in set(labels)]
    if missing:
        raise DataError(f"no readable training video of {missing}; see {folder / UNREADABLE_FILE}")
    return labels


def run_info(task: FitTask, resources: Resources, run: TrainingRun, **origin: Any) -> RunInfo:
    """Return the description of a trained run.

    Args:
        task: what it was trained on, and how.
        resources: the hardware.
        run: its training videos.
        origin: fields of `RunMetadata` that tell where the weights come from, such as `stages`.
    """
    rates = _rates(run.cache, task.recipe.input.fps)
    metadata = dataclasses.replace(
        task.metadata,
        split=task.split.rule,
        num_training_videos=len(run.labels),
        min_fps=min(rates, default=None),
        max_fps=max(rates, default=None),
        seed=task.seed,
        precision=resources.precision,
        versions=versions(),
        **origin,
    )
    return RunInfo(task.recipe, tuple(task.classes), metadata)


def evaluate_split(
    scorer: Scorer, task: FitTask, resources: Resources, fabric: Fabric | None = None
) -> Evaluation | None:
    """Test on the test part of the split, shared among processes; None if it has no readable videos."""
    videos = task.cache.select(task.split.test)
    if not videos.samples:
        return None
    is_first = fabric is None or fabric.is_global_zero
    protocol = run_protocol(task.protocol, task.recipe, note if is_first else lambda _: None)
    return with_progress(
        "evaluate",
        len(videos.samples if fabric is None else videos.samples[fabric.global_rank :: fabric.world_size]),
        resources.quiet,
        lambda progress: (
            evaluate_videos(scorer, videos, protocol, progress)
            if fabric is None
            else evaluate_together(fabric, scorer, videos, protocol, progress)
        ),
    )

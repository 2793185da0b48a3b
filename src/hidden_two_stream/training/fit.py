"""From decoded videos to a saved, tested recogniser: the part that train, demo and cross-validate share."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import UNREADABLE_FILE, RunInfo, build_model, save_run
from hidden_two_stream.config.schema import STAGE_NAMES, Recipe
from hidden_two_stream.data.clip_cache import ClipCache, default_workers, open_clip_cache
from hidden_two_stream.data.samples import Sample, unreadable_lines
from hidden_two_stream.data.splits import Split
from hidden_two_stream.data.training_set import mix_seed
from hidden_two_stream.environment import versions
from hidden_two_stream.errors import CheckpointError, DataError, HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation, evaluate
from hidden_two_stream.files import write_json, write_text
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.protocol import parse_protocol
from hidden_two_stream.progress import note, with_progress
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.loop import TrainingRun, train
from hidden_two_stream.training.state import STATE_FILE
from hidden_two_stream.training.warm_start import STAGES_GIVEN, STAGES_REPLACED, take_parts
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.weights.motion import (
    MotionWeights,
    find_motion_weights,
    load_motion_weights,
    motion_weights_info,
)
from hidden_two_stream.weights.pretrained import initialize_streams

__all__ = [
    "Fitted",
    "Resources",
    "decode_samples",
    "fit",
    "motion_begins_from",
    "motion_teacher",
    "require_motion",
    "resolve_input",
]

MOTION_INIT_FILE = "motion_init.json"
_PROBED = 32  # videos whose size decides on the input size


@dataclass(frozen=True)
class Resources:
    """What a run may use, and how it speaks.

    Attributes:
        seed: of everything random.
        workers: processes for decoding.
        cache_mb: memory for decoded frames, MiB; 0 decodes again for every clip.
        accelerator, devices, precision: as Lightning Fabric takes them.
        save_seconds: longest time between saved states.
        quiet: no progress on stderr.
    """

    seed: int = 0
    workers: int = field(default_factory=default_workers)
    cache_mb: int = 2048
    accelerator: str = "auto"
    devices: str = "1"
    precision: str = "32-true"
    save_seconds: float = 30.0
    quiet: bool = False

    def fabric(self) -> Fabric:
        """A launched Fabric. With several devices, launching starts this command once more for each.

        Raises:
            UsageError: no such device or precision here.
        """
        try:
            devices: int | str = int(self.devices) if self.devices.isdigit() else self.devices
            fabric = Fabric(accelerator=self.accelerator, devices=devices, precision=self.precision)  # type: ignore[arg-type]
            fabric.launch()
        except (ValueError, TypeError, RuntimeError, ImportError) as error:
            raise UsageError(f"cannot use this device or precision: {str(error).splitlines()[0]}") from error
        return fabric


@dataclass(frozen=True)
class Fitted:
    """A trained recogniser, its test result (None without test videos), and seconds per stage."""

    recognizer: Recognizer
    evaluation: Evaluation | None
    seconds: Mapping[str, float]


def resolve_input(recipe: Recipe, samples: Sequence[Sample]) -> Recipe:
    """Fill in `input.size` and `input.resize` where the recipe leaves them to the data."""
    size = recipe.input.size
    if size == 0:
        short_sides = []
        for sample in samples[:: max(1, len(samples) // _PROBED)]:
            try:
                with VideoReader(sample.path) as reader:
                    short_sides.append(min(reader.size))
            except HiddenTwoStreamError:
                continue  # named when everything is decoded
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
    """Decode everything once; name what is unreadable, and list it in `unreadable.txt`.

    Raises:
        DataError: nothing is readable.
    """
    store = with_progress(
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
    lines = unreadable_lines(store.unreadable)
    write_text(folder / UNREADABLE_FILE, "".join(f"{line}\n" for line in lines))
    for line in lines[:10]:
        note(f"unreadable: {line}")
    if lines:
        listed = folder / UNREADABLE_FILE
        note(f"{len(lines)} of {len(samples)} videos are unreadable and left out; listed in {listed}")
    damaged = [
        f"{s.name}: {v.warning}" for s, v in zip(store.samples, store.videos, strict=True) if v.warning
    ]
    for line in damaged[:10]:
        note(f"damaged, used as far as it goes: {line}")
    if len(damaged) > 10:
        note(f"{len(damaged)} videos are damaged and used as far as they go; hts check names all")
    if not store.samples:
        raise DataError(f"none of the {len(samples)} videos can be read; see {folder / UNREADABLE_FILE}")
    return store


def fit(
    split: Split,
    store: ClipCache,
    classes: Sequence[str],
    recipe: Recipe,
    folder: Path,
    resources: Resources,
    fabric: Fabric,
    *,
    protocol: str,
    stages: Sequence[str] = STAGE_NAMES,
    taken: Mapping[str, str] | None = None,
    resume: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Fitted:
    """Train on the training part of `split`, save the run into `folder`, test on the test part.

    Where several processes train, the first saves and tests.

    Args:
        split: training and test samples.
        store: their decoded videos.
        classes: names, in the order of the logits.
        recipe: how to train, the input size filled in.
        folder: of the run.
        resources: seed and machine.
        fabric: launched.
        protocol: of the test.
        stages: those to train, as far as the recipe gives them steps; one alone is trained even where
            `taken` stands for it.
        taken: runs that give "motion", "spatial" or "temporal" (with its MotionNet); see `take_parts`.
        resume: go on from the saved state.
        provenance: facts to keep with the run.

    Raises:
        UsageError: there is nothing to train, or a taken part does not fit.
        DataError: a class has no readable training video.
        TrainingError, Stopped: as `training.loop.train`.
    """
    training = store.select(split.train)
    labels = [list(classes).index(sample.label) for sample in training.samples]
    missing = [name for number, name in enumerate(classes) if number not in set(labels)]
    if missing:
        raise DataError(f"no readable training video of {missing}; see {folder / UNREADABLE_FILE}")
    torch.manual_seed(mix_seed(resources.seed))
    model = build_model(recipe, len(classes))
    if resume and (folder / STATE_FILE).exists():
        began = _read_origin(folder)
    else:
        began = _begin_motion(model, recipe, taken or {}, folder if fabric.is_global_zero else None)
        if begins_from_weights(recipe, taken or {}):
            _initialize(model, recipe, resources.quiet)
        take_parts(model, recipe, classes, taken or {})
    given = {stage for part in taken or () for stage in STAGES_GIVEN[part]}
    replaced = {stage for part in taken or () for stage in STAGES_REPLACED[part]}
    replaced -= set(stages) if len(stages) == 1 else set()
    stages = [name for name in stages if name not in replaced and recipe.stage(name).steps > 0]
    if not (stages or taken):
        raise UsageError("there is nothing to train: the recipe gives no steps to the stages asked for")
    sees_motion = recipe.model.temporal_input == "motion" and {"temporal", "joint"} & set(stages)
    if sees_motion and "motion" not in {*stages, *given} and began is None:
        note("MotionNet is random: stage motion is not trained, and none is taken with --motion-from")
    teacher = motion_teacher(recipe)
    run = TrainingRun(
        folder=folder,
        recipe=recipe,
        store=training,
        labels=labels,
        seed=resources.seed,
        stages=stages,
        workers=resources.workers,
        save_seconds=resources.save_seconds,
        quiet=resources.quiet,
        teacher=teacher.build() if teacher is not None and "motion" in stages else None,
    )
    seconds = train(model, run, fabric, resume)
    facts = {
        **(provenance or {}),
        "stages": [name for name in STAGE_NAMES if name in given or name in stages],
        "taken": dict(taken or {}),
        "motion_init": began,
        "motion_teacher": None if run.teacher is None or teacher is None else teacher.to_dict(),
        "split": split.rule,
        "num_training_videos": len(training.samples),
        "seed": resources.seed,
        "precision": resources.precision,
        "versions": versions(),
    }
    info = RunInfo(recipe, tuple(classes), facts)
    recognizer = Recognizer(model, info)
    if not fabric.is_global_zero:
        return Fitted(recognizer, None, seconds)
    save_run(folder, model, info)
    return Fitted(recognizer, _test(recognizer, store.select(split.test), protocol, resources), seconds)


def begins_from_weights(recipe: Recipe, taken: Mapping[str, str]) -> bool:
    """Whether some stream of the recipe, not taken from another run, begins from published weights.

    Raises:
        UsageError: it should, but is a branch without a backbone of its own.
    """
    fresh = set(recipe.model.streams) - set(taken)
    if recipe.init != "none" and fresh == {"temporal"} and recipe.model.temporal == "branched":
        raise UsageError(
            "a branched temporal stream alone has no stream that image weights fit; add --init none"
        )
    return recipe.init != "none" and bool(fresh)


def require_motion(recipe: Recipe, taken: Mapping[str, str]) -> None:
    """Check the weights that MotionNet starts and learns from, before videos are decoded.

    Raises:
        UsageError, CheckpointError: as `motion_begins_from` and `motion_teacher`.
    """
    motion_begins_from(recipe, taken)
    motion_teacher(recipe)


def motion_teacher(recipe: Recipe) -> MotionWeights | None:
    """The weights of the network whose flow stage motion learns from.

    Raises:
        UsageError: there are no such weights, or they are for another number of frames.
        CheckpointError: their file is damaged or of another format version.
    """
    if recipe.motion_teacher == "none" or recipe.motion.steps == 0:
        return None
    weights = motion_weights_info(recipe.motion_teacher)
    if weights.num_frames not in (0, recipe.model.num_frames):
        raise UsageError(
            f"motion_teacher {recipe.motion_teacher!r} takes {weights.num_frames} frames at once, clips have "
            f"{recipe.model.num_frames}; take one for any number of frames, such as nano"
        )
    return weights


def motion_begins_from(recipe: Recipe, taken: Mapping[str, str]) -> MotionWeights | None:
    """The weights that MotionNet starts from; None: random, taken from another run, or there is none.

    Raises:
        UsageError: there are no such weights, or they are for another network or number of frames.
        CheckpointError: their file is damaged or of another format version.
    """
    model = recipe.model
    if recipe.motion_init == "none" or {"motion", "temporal"} & set(taken) or model.streams == ("spatial",):
        return None
    return find_motion_weights(model.motion, model.motion_frames or model.num_frames, recipe.motion_init)


def _begin_motion(
    model: HiddenTwoStream, recipe: Recipe, taken: Mapping[str, str], folder: Path | None
) -> dict[str, Any] | None:
    """Load the weights that MotionNet starts from; say, also in the run folder, which they are."""
    weights = motion_begins_from(recipe, taken)
    if weights is None:
        return None
    load_motion_weights(model.motion_net, weights.file)
    began = {"source": recipe.motion_init, **weights.to_dict()}
    if folder is not None:
        write_json(folder / MOTION_INIT_FILE, began)
    return began


def _read_origin(folder: Path) -> dict[str, Any] | None:
    """What `_begin_motion` wrote when the run that is resumed began: the weights may have changed since."""
    path = folder / MOTION_INIT_FILE
    try:
        began: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; train again into another folder"
        ) from error
    return began


def _initialize(model: HiddenTwoStream, recipe: Recipe, quiet: bool) -> None:
    started = initialize_streams(model, recipe.model.backbone, recipe.init, quiet=quiet)
    if started is not None and not quiet:
        note(f"image weights from {started.file} for {', '.join(started.fresh)}")


def _test(recognizer: Recognizer, store: ClipCache, protocol: str, resources: Resources) -> Evaluation | None:
    if not store.samples or not recognizer.trained_streams:
        return None
    return with_progress(
        "evaluate",
        len(store.samples),
        resources.quiet,
        lambda progress: evaluate(recognizer, store, parse_protocol(protocol), progress),
    )

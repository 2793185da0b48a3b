"""Recipes: frozen dataclasses that say how a recogniser is built and trained; every field is documented.

A recipe is a YAML file with the fields below; those it leaves out have the defaults given here. The shipped
ones, in the folder `recipes`, are examples to copy. Configuration never enters a model:
models take plain arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hidden_two_stream.errors import UsageError

__all__ = [
    "STAGE_NAMES",
    "FusionConfig",
    "InputConfig",
    "ModelConfig",
    "Recipe",
    "StageConfig",
    "load_recipe",
    "recipe_from_dict",
    "recipe_names",
]

STAGE_NAMES = ("motion", "spatial", "temporal", "joint")
RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class ModelConfig:
    """Which networks.

    Attributes:
        motion: member of the MotionNet family: "nano", "nano-fine", "tiny", "full" (the paper's MotionNet),
            "vgg16", "resnet50" or "flownets".
        backbone: of the streams: "small", "resnet18", "resnet50" or "vgg16".
        num_frames: frames per clip, T.
        temporal_dropout: dropout of the temporal stream's head.
        spatial_dropout: dropout of the spatial stream's head.
        temporal: form of the temporal stream: "stacked" (flow fields as channels), "inflated" (3-D
            convolutions over them) or "branched" (an action branch on MotionNet's encoder).
        streams: those that are built and trained: "spatial", "temporal".
        motion_frames: frames that MotionNet takes at once; 0: all T. 2 is the two-frame MotionNet, run on
            each pair of neighbours.
        hand_over: what the resizing of flow for the temporal stream finds beyond the border: "edge", or
            "reference" (zeros, as the authors' networks).
        temporal_input: what the temporal stream sees: "motion" (hidden motion); or, to compare with, the
            clip's "frames", their "difference" from one to the next, or "flow" that was computed before and
            is stored in place of pictures. Without hidden motion there is no MotionNet.
    """

    motion: Literal["nano", "nano-fine", "tiny", "full", "vgg16", "resnet50", "flownets"] = "nano"
    backbone: Literal["small", "resnet18", "resnet50", "vgg16"] = "small"
    num_frames: int = 11
    temporal_dropout: float = 0.5
    spatial_dropout: float = 0.5
    temporal: Literal["stacked", "inflated", "branched"] = "stacked"
    streams: Sequence[Literal["spatial", "temporal"]] = ("spatial", "temporal")
    motion_frames: int = 0
    hand_over: Literal["edge", "reference"] = "edge"
    temporal_input: Literal["motion", "frames", "difference", "flow"] = "motion"


@dataclass(frozen=True)
class InputConfig:
    """How decoded pictures become `frames`; saved with every run, so that prediction does the same.

    Attributes:
        size: side of the square that the networks see, px; a multiple of 32. 0: taken from the data, the
            median shorter side of the videos, between `min_size` and `max_size`.
        min_size: lower bound where `size` is 0.
        max_size: upper bound where `size` is 0, also of `min_size`.
        resize: height and width of the picture before cropping, px; one number: the shorter side, keeping
            the aspect ratio; 0: the same as `size`.
        frame_stride: distance of the frames of a clip, in frames of the video.
        normalize_contrast: bring every clip to the same mean and contrast (thermal and other weak sensors).
        crop_scales: sides of random training crops relative to the largest; 1 alone: no scale change.
        flip: mirror half of the training clips. Switch off where left and right make the class.
        color_jitter: strength of brightness, contrast and saturation changes for the spatial stream, 0…1.
        segments: clips per training sample, one from each of as many equal parts of the video; their logits
            are averaged before the loss (temporal segment networks). Stage motion always takes one.
    """

    size: int = 0
    min_size: int = 64
    max_size: int = 128
    resize: int | tuple[int, int] = 0
    frame_stride: int = 1
    normalize_contrast: bool = False
    crop_scales: Sequence[float] = (1.0, 0.875, 0.75)
    flip: bool = True
    color_jitter: float = 0.3
    segments: int = 1


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained.

    Attributes:
        steps: optimiser steps; 0 leaves the stage out.
        batch_size: clips per forward pass and device.
        accumulate: forward passes per optimiser step.
        optimizer: "adamw", "adam" (weight decay inside the gradient, as in Caffe) or "sgd" (momentum 0.9).
        learning_rate: of the streams' weights.
        motion_learning_rate: of MotionNet; where a recipe leaves it out, 4e-3 in stage motion, 3e-7 in joint.
        bias_factor: learning rate of the streams' biases relative to their weights.
        weight_decay: on weights; biases and normalisation layers have none.
        schedule: "one-cycle" (warm-up, cosine to zero), "steps" or "constant".
        milestones: steps at which "steps" multiplies the learning rates by `decay`.
        decay: factor of "steps".
        clip_norm: largest norm of the gradient of all trained weights together; 0: no clipping.
        label_smoothing: of the cross entropy.
        unsupervised_weight: weight of the unsupervised losses (stages motion and joint).
        pixel_factor: factor on the reconstruction weights of the loss preset, pixels and census.
        smoothness_factor: factor on the smoothness weights of the loss preset.
        ssim_factor: factor on the SSIM weights of the loss preset.
    """

    steps: int = 0
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    motion_learning_rate: float = 0.0
    bias_factor: float = 1.0
    weight_decay: float = 1e-4
    schedule: Literal["one-cycle", "steps", "constant"] = "one-cycle"
    milestones: Sequence[int] = ()
    decay: float = 0.1
    clip_norm: float = 10.0
    label_smoothing: float = 0.0
    unsupervised_weight: float = 1.0
    pixel_factor: float = 1.0
    smoothness_factor: float = 1.0
    ssim_factor: float = 1.0


@dataclass(frozen=True)
class FusionConfig:
    """Late fusion of the streams.

    Attributes:
        method: "product" (geometric mean of probabilities), "softmax" (arithmetic mean of probabilities) or
            "l1" (the reference: negative scores clipped, rows divided by their sum).
        spatial_weight: weight of the spatial stream.
        temporal_weight: weight of the temporal stream (the reference: 1.5).
    """

    method: Literal["product", "softmax", "l1"] = "product"
    spatial_weight: float = 1.0
    temporal_weight: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run needs beside the data.

    Attributes:
        model: which networks.
        input: from pictures to `frames`.
        loss: preset of the unsupervised losses: "census", "paper", "caffe", "robust", or "robust" with one
            idea more: "occlusion", "distill" or "multiframe" (`motion.presets`).
        init: where the streams' backbones begin: "none" (random), "imagenet" (torchvision's published
            weights), or a state dict: a file or a URL.
        motion_init: where MotionNet begins: "none" (random), "shipped" (the weights that come with the
            package for this network and number of frames), or a file of motion weights. MotionNet of
            another run goes before it.
        motion_teacher: "none", or a trained MotionNet that stage motion learns from, besides the unsupervised
            losses: its flow of the training clips is what MotionNet shall find. A name of weights that come
            with the package, such as "nano", or a file of motion weights.
        motion_lesson: what the teacher shows: "flow", that of the clips as they are, or "residual", what is
            left of it where the second picture is warped already, for networks for two frames that are used
            from coarse to fine (`motion.residual`).
        motion: stage 1, MotionNet without labels.
        spatial: stage 2, the spatial stream.
        temporal: stage 3, the temporal stream behind a frozen MotionNet.
        joint: stage 4, MotionNet and the temporal stream together.
        fusion: late fusion.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    loss: Literal["robust", "paper", "caffe", "census", "occlusion", "distill", "multiframe"] = "census"
    init: str = "none"
    motion_init: str = "none"
    motion_teacher: str = "none"
    motion_lesson: Literal["flow", "residual"] = "flow"
    motion: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=4e-3))
    spatial: StageConfig = field(default_factory=StageConfig)
    temporal: StageConfig = field(default_factory=StageConfig)
    joint: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=3e-7))
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def stage(self, name: str) -> StageConfig:
        """The configuration of the stage `name`, one of `STAGE_NAMES`."""
        config: StageConfig = getattr(self, name)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, as written to `config.json`."""
        return asdict(self)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a YAML file, then change single fields.

    Args:
        source: a name from `recipe_names()`, or the path of a YAML file.
        overrides: "field=value" with dots, for example "motion.steps=200".

    Raises:
        UsageError: no such recipe, an unknown field, or a value of the wrong type or range.
    """
    import json

    path = _recipe_path(source)
    arguments = [f"--recipe={json.dumps(_recipe_data(path))}"]
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"cannot read {override!r}; expected field=value, for example motion.steps=200")
        _require_field(key)
        arguments.append(f"--recipe.{key}={value}")
    return _checked(arguments, f"recipe {str(source)!r}")


def recipe_from_dict(data: dict[str, Any], origin: str) -> Recipe:
    """The recipe that `Recipe.to_dict` wrote; `origin` names it in errors."""
    import json

    return _checked([f"--recipe={json.dumps(data)}"], origin)


def _require_field(key: str) -> None:
    """Say which fields there are where `key`, such as "motion.steps", is none."""
    place: Any = Recipe()
    for depth, name in enumerate(key.split(".")):
        known = [item.name for item in fields(place)] if is_dataclass(place) else []
        if name not in known:
            inside = ".".join(key.split(".")[:depth]) or "a recipe"
            there = f"{inside} has {', '.join(known)}" if known else f"{inside} is a single value"
            raise UsageError(f"unknown field {key!r}; {there}")
        place = getattr(place, name)


def _checked(arguments: list[str], origin: str) -> Recipe:
    try:
        return _validated(_frozen(_parse(arguments, origin)))
    except _RangeError as error:
        raise UsageError(f"{origin}: {error}") from None


class _RangeError(Exception):
    """A value out of range; the message lacks the origin still."""


def _frozen(recipe: Recipe) -> Recipe:
    """Tuples for the lists that a parser makes: recipes compare, whatever they were made from."""
    stages: dict[str, Any] = {
        name: replace(recipe.stage(name), milestones=tuple(recipe.stage(name).milestones))
        for name in STAGE_NAMES
    }
    scales = replace(recipe.input, crop_scales=tuple(recipe.input.crop_scales))
    streams: Any = tuple(sorted(set(recipe.model.streams)))
    return replace(recipe, model=replace(recipe.model, streams=streams), input=scales, **stages)


def _parse(arguments: list[str], origin: str) -> Recipe:
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--recipe", type=Recipe)
    try:
        recipe: Recipe = parser.instantiate(parser.parse_args(arguments)).recipe
    except (ArgumentError, TypeError, ValueError) as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
        # A recipe is handed over as JSON, which the library repeats whole in front of what is wrong.
        lines = [re.sub(r"Unable to load config '\{.*\}'", "", line) for line in lines]
        message = re.sub(r'Parser key "recipe\.?([^"]*)"', r"field \1", " ".join(lines))
        raise UsageError(f"{origin}: {message[:400].removeprefix('field : ')}") from error
    return recipe


def _recipe_path(source: str | Path) -> Path:
    named = RECIPES / f"{source}.yaml"
    if _is_file(named):
        return named
    path = Path(source)
    if not _is_file(path):
        names = ", ".join(recipe_names())
        raise UsageError(f"no recipe {str(source)!r}; give a YAML file or one of {names}")
    return path


def _recipe_data(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe file over those of its `base`: a file beside it, a shipped name, or a path."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"recipe {str(path)!r} is no YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"recipe {str(path)!r} is no table of fields, but {type(data).__name__}")
    if "base" not in data:
        return data
    base = data.pop("base")
    beside = path.parent / str(base)
    try:
        origin = beside if _is_file(beside) else _recipe_path(str(base))
    except UsageError as error:
        raise UsageError(f"the base of recipe {str(path)!r}: {error}") from None
    if origin.resolve() in seen:
        raise UsageError(f"recipe {str(path)!r} has itself as base, by way of {str(base)!r}")
    return _merged(_recipe_data(origin, (*seen, origin.resolve())), data)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system
        return False


def _validated(recipe: Recipe) -> Recipe:
    least = {
        "model.num_frames": (recipe.model.num_frames, 2),
        "input.frame_stride": (recipe.input.frame_stride, 1),
        "input.segments": (recipe.input.segments, 1),
        "input.min_size": (recipe.input.min_size, 1),
        "input.max_size": (recipe.input.max_size, 32),
    }
    for stage in STAGE_NAMES:
        config = recipe.stage(stage)
        for name in ("batch_size", "accumulate"):
            least[f"{stage}.{name}"] = (getattr(config, name), 1)
        for item in fields(config):
            value = getattr(config, item.name)
            if isinstance(value, int | float) and value < 0:
                raise _RangeError(f"{stage}.{item.name} is {value}; it must not be negative")
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise _RangeError(f"{name} is {value}; it must be at least {smallest}")
    _require_ranges(recipe)
    _require_streams(recipe)
    _require_temporal_input(recipe)
    if recipe.input.size % 32 or recipe.input.size < 0:
        raise _RangeError(f"input.size is {recipe.input.size}; it must be 0 (automatic) or a multiple of 32")
    return recipe


def _require_learning_rates(recipe: Recipe) -> None:
    """Every part that a stage trains needs a learning rate; otherwise it shows only after the decoding."""
    trains_motion, trains_stream = ("motion", "joint"), ("spatial", "temporal", "joint")
    for stage in STAGE_NAMES:
        config = recipe.stage(stage)
        if config.steps == 0:
            continue
        if stage in trains_motion and config.motion_learning_rate == 0:
            raise _RangeError(
                f"{stage}.motion_learning_rate is 0, but stage {stage} trains MotionNet; give one"
            )
        if stage in trains_stream and config.learning_rate == 0:
            raise _RangeError(f"{stage}.learning_rate is 0, but stage {stage} trains a stream; give one")
        if stage == "motion" and config.unsupervised_weight == 0 and recipe.motion_teacher == "none":
            raise _RangeError("motion.unsupervised_weight is 0, which leaves nothing to learn from; give one")
    if recipe.motion.steps and recipe.motion_lesson == "residual":
        if recipe.motion_teacher == "none":
            raise _RangeError("motion_lesson residual wants a motion_teacher, such as nano")
        if recipe.model.num_frames != 2:
            raise _RangeError(
                f"motion_lesson residual is for pairs: set model.num_frames 2, not {recipe.model.num_frames}"
            )


def _require_streams(recipe: Recipe) -> None:
    """Networks that fit each other, and no stage for a stream that is not there."""
    model = recipe.model
    taken = model.motion_frames
    if taken and (taken < 2 or (model.num_frames - 1) % (taken - 1)):
        raise _RangeError(
            f"model.motion_frames is {taken}; num_frames − 1 = {model.num_frames - 1} must be a multiple of "
            "motion_frames − 1, so that windows share one frame; 0 takes the whole clip"
        )
    if model.temporal == "branched" and taken not in (0, model.num_frames):
        raise _RangeError(f"a branched temporal stream sees whole clips; set motion_frames 0, not {taken}")
    needs = {"spatial": "spatial", "temporal": "temporal", "joint": "temporal"}
    for stage, stream in needs.items():
        if recipe.stage(stage).steps and stream not in model.streams:
            raise _RangeError(
                f"{stage}.steps is {recipe.stage(stage).steps}, but model.streams lacks {stream!r}"
            )
    if recipe.motion.steps and model.streams == ("spatial",):
        raise _RangeError("motion.steps is set, but with the spatial stream alone there is no MotionNet")


def _require_temporal_input(recipe: Recipe) -> None:
    """Without hidden motion there is no MotionNet to train, or to start from weights."""
    seen = recipe.model.temporal_input
    if seen == "motion":
        return
    if recipe.motion.steps or recipe.joint.steps or recipe.motion_init != "none":
        raise _RangeError(
            f"model.temporal_input is {seen}: there is no MotionNet; set motion.steps and joint.steps to 0 "
            "and motion_init to none"
        )
    if seen == "flow" and tuple(recipe.model.streams) != ("temporal",):
        raise _RangeError(
            "model.temporal_input is flow: stored flow is no picture; set model.streams to temporal"
        )
    if recipe.model.temporal != "stacked" and (seen, recipe.model.temporal) != ("flow", "inflated"):
        raise _RangeError(f"a {recipe.model.temporal} temporal stream cannot see {seen}; make it stacked")


def _require_ranges(recipe: Recipe) -> None:
    shares = {
        "model.temporal_dropout": recipe.model.temporal_dropout,
        "model.spatial_dropout": recipe.model.spatial_dropout,
        "input.color_jitter": recipe.input.color_jitter,
    }
    shares |= {f"{stage}.label_smoothing": recipe.stage(stage).label_smoothing for stage in STAGE_NAMES}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise _RangeError(f"{name} is {value}; it must be 0 to 1")
    scales = recipe.input.crop_scales
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise _RangeError(f"input.crop_scales is {list(scales)}; give one or more numbers above 0, up to 1")
    resize = recipe.input.resize
    sides = (resize,) if isinstance(resize, int) else resize
    if resize != 0 and min(sides) < max(1, recipe.input.size):
        raise _RangeError(f"input.resize is {resize}; it must be 0 or no smaller than input.size")
    weights = (recipe.fusion.spatial_weight, recipe.fusion.temporal_weight)
    if min(weights) < 0 or sum(weights) <= 0:
        raise _RangeError(f"the fusion weights are {weights}; none may be negative, nor both 0")
    _require_learning_rates(recipe)
    for stage in STAGE_NAMES:
        if any(step < 0 for step in recipe.stage(stage).milestones):
            raise _RangeError(f"{stage}.milestones has a negative step")

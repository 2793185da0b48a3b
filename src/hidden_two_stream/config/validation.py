"""Checks that the fields of a recipe are in range and fit each other."""

from __future__ import annotations

from dataclasses import fields

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES

__all__ = ["RangeError", "validated"]

MIN_FPS, MAX_FPS = 0.1, 1000.0


class RangeError(Exception):
    """A value is out of range. The caller adds the name of the recipe to the message."""


def validated(recipe: Recipe) -> Recipe:
    """Return `recipe` if all its values are in range and fit each other.

    Raises:
        RangeError: a value is out of range, or two fields contradict each other.
    """
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
                raise RangeError(f"{stage}.{item.name} is {value}; it must not be negative")
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise RangeError(f"{name} is {value}; it must be at least {smallest}")
    _require_ranges(recipe)
    _require_streams(recipe)
    if recipe.input.size % 32 or recipe.input.size < 0:
        raise RangeError(f"input.size is {recipe.input.size}; it must be 0 (automatic) or a multiple of 32")
    return recipe


def _require_learning_rates(recipe: Recipe) -> None:
    """Check that every part that a stage trains has a learning rate, and every stage a loss."""
    for name, stage in STAGES.items():
        config = recipe.stage(name)
        if config.steps == 0:
            continue
        if "motion" in stage.parts and config.motion_learning_rate == 0:
            raise RangeError(
                f"{name}.motion_learning_rate is 0, but stage {name} trains MotionNet; give a positive rate"
            )
        if stage.stream and config.learning_rate == 0:
            raise RangeError(
                f"{name}.learning_rate is 0, but stage {name} trains a stream; give a positive rate"
            )
        if name == "motion" and config.unsupervised_weight == 0 and recipe.motion_teacher == "none":
            raise RangeError(
                "motion.unsupervised_weight is 0, so stage motion has nothing to learn from; give a positive "
                "weight or a motion_teacher"
            )
    if recipe.motion.steps and recipe.motion_target == "residual":
        if recipe.motion_teacher == "none":
            raise RangeError("motion_target residual needs a motion_teacher, such as nano")
        if recipe.model.num_frames != 2:
            raise RangeError(
                f"motion_target residual is for frame pairs: set model.num_frames to 2, not "
                f"{recipe.model.num_frames}"
            )


def _require_streams(recipe: Recipe) -> None:
    """Check that the model has the part that each stage with steps trains."""
    for name, stage in STAGES.items():
        steps = recipe.stage(name).steps
        if steps and stage.stream and stage.stream not in recipe.model.streams:
            raise RangeError(f"{name}.steps is {steps}, but model.streams has no {stage.stream!r}")
    if recipe.motion.steps and recipe.model.streams == ("spatial",):
        raise RangeError(
            f"motion.steps is {recipe.motion.steps}, but a model with only the spatial stream has no "
            "MotionNet; set motion.steps to 0"
        )


def _require_ranges(recipe: Recipe) -> None:
    shares = {
        "model.temporal_dropout": recipe.model.temporal_dropout,
        "model.spatial_dropout": recipe.model.spatial_dropout,
        "input.color_jitter": recipe.input.color_jitter,
    }
    shares |= {f"{stage}.label_smoothing": recipe.stage(stage).label_smoothing for stage in STAGE_NAMES}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise RangeError(f"{name} is {value}; it must be 0 to 1")
    scales = recipe.input.crop_scales
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise RangeError(f"input.crop_scales is {list(scales)}; give one or more numbers above 0, up to 1")
    if recipe.input.fps and not MIN_FPS <= recipe.input.fps <= MAX_FPS:
        raise RangeError(
            f"input.fps is {recipe.input.fps:g}; it must be 0 (frames as they are), or {MIN_FPS:g} to "
            f"{MAX_FPS:g}"
        )
    resize = recipe.input.resize
    sides = (resize,) if isinstance(resize, int) else resize
    if resize != 0 and min(sides) < max(1, recipe.input.size):
        raise RangeError(f"input.resize is {resize}; it must be 0 or no smaller than input.size")
    weights = (recipe.fusion.spatial_weight, recipe.fusion.temporal_weight)
    if min(weights) < 0 or sum(weights) <= 0:
        raise RangeError(f"the fusion weights are {weights}; give numbers of at least 0, not both 0")
    _require_learning_rates(recipe)
    for stage in STAGE_NAMES:
        if any(step < 0 for step in recipe.stage(stage).milestones):
            raise RangeError(f"{stage}.milestones has a negative step")

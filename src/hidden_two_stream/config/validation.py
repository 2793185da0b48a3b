"""Range checks of a recipe, and checks that its fields fit each other."""

from __future__ import annotations

from dataclasses import fields

from hidden_two_stream.config.schema import STAGE_NAMES, Recipe

__all__ = ["RangeError", "validated"]


class RangeError(Exception):
    """A value out of range; the message lacks the origin still."""


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
    _require_temporal_input(recipe)
    if recipe.input.size % 32 or recipe.input.size < 0:
        raise RangeError(f"input.size is {recipe.input.size}; it must be 0 (automatic) or a multiple of 32")
    return recipe


def _require_learning_rates(recipe: Recipe) -> None:
    """Every part that a stage trains needs a learning rate; otherwise it shows only after the decoding."""
    trains_motion, trains_stream = ("motion", "joint"), ("spatial", "temporal", "joint")
    for stage in STAGE_NAMES:
        config = recipe.stage(stage)
        if config.steps == 0:
            continue
        if stage in trains_motion and config.motion_learning_rate == 0:
            raise RangeError(
                f"{stage}.motion_learning_rate is 0, but stage {stage} trains MotionNet; give one"
            )
        if stage in trains_stream and config.learning_rate == 0:
            raise RangeError(f"{stage}.learning_rate is 0, but stage {stage} trains a stream; give one")
        if stage == "motion" and config.unsupervised_weight == 0 and recipe.motion_teacher == "none":
            raise RangeError("motion.unsupervised_weight is 0, which leaves nothing to learn from; give one")
    if recipe.motion.steps and recipe.motion_lesson == "residual":
        if recipe.motion_teacher == "none":
            raise RangeError("motion_lesson residual wants a motion_teacher, such as nano")
        if recipe.model.num_frames != 2:
            raise RangeError(
                f"motion_lesson residual is for pairs: set model.num_frames 2, not {recipe.model.num_frames}"
            )


def _require_streams(recipe: Recipe) -> None:
    """Networks that fit each other, and no stage for a stream that is not there."""
    model = recipe.model
    taken = model.motion_frames
    if taken and (taken < 2 or (model.num_frames - 1) % (taken - 1)):
        raise RangeError(
            f"model.motion_frames is {taken}; num_frames − 1 = {model.num_frames - 1} must be a multiple of "
            "motion_frames − 1, so that windows share one frame; 0 takes the whole clip"
        )
    if model.temporal == "branched" and taken not in (0, model.num_frames):
        raise RangeError(f"a branched temporal stream sees whole clips; set motion_frames 0, not {taken}")
    needs = {"spatial": "spatial", "temporal": "temporal", "joint": "temporal"}
    for stage, stream in needs.items():
        if recipe.stage(stage).steps and stream not in model.streams:
            raise RangeError(
                f"{stage}.steps is {recipe.stage(stage).steps}, but model.streams lacks {stream!r}"
            )
    if recipe.motion.steps and model.streams == ("spatial",):
        raise RangeError("motion.steps is set, but with the spatial stream alone there is no MotionNet")


def _require_temporal_input(recipe: Recipe) -> None:
    """Without hidden motion there is no MotionNet to train, or to start from weights."""
    seen = recipe.model.temporal_input
    if seen == "motion":
        return
    if recipe.motion.steps or recipe.joint.steps or recipe.motion_init != "none":
        raise RangeError(
            f"model.temporal_input is {seen}: there is no MotionNet; set motion.steps and joint.steps to 0 "
            "and motion_init to none"
        )
    if seen == "flow" and tuple(recipe.model.streams) != ("temporal",):
        raise RangeError(
            "model.temporal_input is flow: stored flow is no picture; set model.streams to temporal"
        )
    if recipe.model.temporal != "stacked" and (seen, recipe.model.temporal) != ("flow", "inflated"):
        raise RangeError(f"a {recipe.model.temporal} temporal stream cannot see {seen}; make it stacked")


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
    resize = recipe.input.resize
    sides = (resize,) if isinstance(resize, int) else resize
    if resize != 0 and min(sides) < max(1, recipe.input.size):
        raise RangeError(f"input.resize is {resize}; it must be 0 or no smaller than input.size")
    weights = (recipe.fusion.spatial_weight, recipe.fusion.temporal_weight)
    if min(weights) < 0 or sum(weights) <= 0:
        raise RangeError(f"the fusion weights are {weights}; none may be negative, nor both 0")
    _require_learning_rates(recipe)
    for stage in STAGE_NAMES:
        if any(step < 0 for step in recipe.stage(stage).milestones):
            raise RangeError(f"{stage}.milestones has a negative step")

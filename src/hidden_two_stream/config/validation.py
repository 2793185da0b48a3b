"""Checks that the fields of a recipe are in range and fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from hidden_two_stream.config.schema import BACKBONES, ENCODER_PREFIX, Recipe
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES
from hidden_two_stream.errors import UsageError

__all__ = ["LARGEST_FLOAT", "LIMITS", "MAX_CLIP_PIXELS", "RangeError", "require_seed", "validated"]

LIMITS: dict[str, tuple[int | None, int]] = {
    "model.num_frames": (2, 256),
    "model.motion_frames": (None, 256),
    "input.size": (0, 2048),
    "input.min_size": (1, 2048),
    "input.max_size": (32, 2048),
    "input.resize": (0, 4096),
    "input.frame_stride": (1, 1000),
    "input.segments": (1, 64),
    "calibration.folds": (2, 20),
    "calibration.largest_set": (0, 10**9),
    "STAGE.steps": (0, 10**9),
    "STAGE.batch_size": (1, 65_536),
    "STAGE.accumulate": (1, 65_536),
    "STAGE.milestones": (0, 10**9),
}
"""Smallest and largest value of whole-number fields, for lists of each item; STAGE is every stage.

None: the networks check the smallest value.

A checkpoint from elsewhere is read by the same checks, so its numbers cannot exhaust the memory.
"""

LARGEST_FLOAT = 1e12
"""Largest number in any field; the optimizers fail on learning rates beyond the range of float32."""

MAX_CLIP_PIXELS = 2**26
"""Largest `model.num_frames` × `input.size`², pixels: 800 MB as one network input."""

MIN_FPS, MAX_FPS = 0.1, 1000.0


def require_seed(seed: object) -> None:
    """Check a seed.

    Raises:
        UsageError: it is not a whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed!r}; expected a whole number from 0 to 2^63 - 1")


class RangeError(Exception):
    """A value is out of range. The caller adds the name of the recipe to the message."""


def validated(recipe: Recipe) -> Recipe:
    """Return `recipe` if all its values are in range and fit each other.

    Raises:
        RangeError: a value is out of range, or two fields contradict each other.
    """
    _require_limits(recipe)
    for stage in STAGE_NAMES:
        config = recipe.stage(stage)
        for item in fields(config):
            value = getattr(config, item.name)
            if isinstance(value, int | float) and value < 0:
                raise RangeError(f"{stage}.{item.name} is {value}; it must not be negative")
    _require_finite(recipe)
    _require_ranges(recipe)
    _require_streams(recipe)
    _require_backbone(recipe)
    if recipe.input.size % 32:
        raise RangeError(f"input.size is {recipe.input.size}; it must be 0 (automatic) or a multiple of 32")
    size = recipe.input.size or recipe.input.max_size
    if recipe.model.num_frames * size * size > MAX_CLIP_PIXELS:
        raise RangeError(
            f"a clip of {recipe.model.num_frames} frames (model.num_frames) of {size}×{size} px has "
            f"{recipe.model.num_frames * size * size:,} pixels; it must have at most {MAX_CLIP_PIXELS:,}"
        )
    return recipe


def _require_limits(recipe: Recipe) -> None:
    for name, (smallest, largest) in LIMITS.items():
        section, field = name.split(".")
        for owner in STAGE_NAMES if section == "STAGE" else (section,):
            value = getattr(getattr(recipe, owner), field)
            for number in value if isinstance(value, Sequence) else (value,):
                if smallest is not None and number < smallest:
                    bound = f"be at least {smallest}" if smallest else "not be negative"
                    raise RangeError(f"{owner}.{field} is {number}; it must {bound}")
                if number > largest:
                    raise RangeError(f"{owner}.{field} is {number}; it must be at most {largest}")


def _require_finite(recipe: Recipe) -> None:
    """Check all numbers that are not whole. NaN fails here: its comparison with anything is false."""
    for section in fields(recipe):
        place = getattr(recipe, section.name)
        for item in fields(place) if is_dataclass(place) else ():
            value = getattr(place, item.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, float) and not abs(number) <= LARGEST_FLOAT:
                    raise RangeError(
                        f"{section.name}.{item.name} is {number}; it must be at most {LARGEST_FLOAT:g}"
                    )


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
        if name == "temporal" and recipe.temporal_init != "none" and config.fine_tuning_factor == 0:
            raise RangeError(
                "temporal.fine_tuning_factor is 0, but stage temporal trains a pre-trained stream; give a "
                "positive factor, or optimizer logistic to train its last layer alone"
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


def _require_logistic(recipe: Recipe) -> None:
    """Check that logistic regression is asked for only where there is an embedding to fit it to."""
    for name in STAGES:
        config = recipe.stage(name)
        if config.steps == 0 or config.optimizer != "logistic":
            continue
        if name != "temporal" or recipe.model.temporal != "sequence":
            raise RangeError(
                f"{name}.optimizer is logistic, which fits the last layer of a temporal stream of the form "
                "sequence in stage temporal; choose adamw, adam or sgd"
            )
        if recipe.temporal_init == "none":
            raise RangeError(
                f"{name}.optimizer is logistic, which fits the last layer alone, but temporal_init is "
                "none, so the other layers would stay random; set temporal_init to shipped, or choose adamw, "
                "adam or sgd"
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


def _require_backbone(recipe: Recipe) -> None:
    """Check the backbone's name, and that nothing about an image encoder is set without one."""
    model = recipe.model
    if model.encoder_name is None:
        if model.backbone not in BACKBONES:
            raise RangeError(
                f"model.backbone is {model.backbone!r}; choose one of {', '.join(BACKBONES)}, or "
                f"{ENCODER_PREFIX}NAME, an image encoder"
            )
        if model.encoder:
            raise RangeError(f"model.encoder is set, but model.backbone is {model.backbone}; leave it out")
    elif not model.encoder_name:
        raise RangeError(
            f"model.backbone is {model.backbone!r}; name an image encoder: hf:facebook/dinov2-small"
        )
    elif "spatial" not in model.streams:
        raise RangeError(
            f"model.backbone is {model.backbone}, an encoder for the spatial stream, but model.streams has "
            "no 'spatial'"
        )
    elif recipe.init != "none":
        raise RangeError(
            f"init is {recipe.init}, but the image encoder {model.backbone} has weights of its own; set "
            "init=none"
        )
    for name in STAGE_NAMES:
        rate = recipe.stage(name).encoder_learning_rate
        if rate and name != "spatial":
            raise RangeError(
                f"{name}.encoder_learning_rate is {rate}; only stage spatial trains an image encoder"
            )
        if rate and model.encoder_name is None:
            raise RangeError(
                f"{name}.encoder_learning_rate is {rate}, but model.backbone is {model.backbone}, not hf:NAME"
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
    for name in ("margin_seconds", "shortest_seconds"):
        if getattr(recipe.background, name) < 0:
            found = getattr(recipe.background, name)
            raise RangeError(f"background.{name} is {found}; it must be at least 0")
    resize = recipe.input.resize
    sides = (resize,) if isinstance(resize, int) else resize
    if resize != 0 and min(sides) < max(1, recipe.input.size):
        raise RangeError(f"input.resize is {resize}; it must be 0 or no smaller than input.size")
    weights = (recipe.fusion.spatial_weight, recipe.fusion.temporal_weight)
    if min(weights) < 0 or sum(weights) <= 0:
        raise RangeError(f"the fusion weights are {weights}; give numbers of at least 0, not both 0")
    if recipe.calibration.method != "none" and recipe.fusion.method == "l1":
        raise RangeError(
            "calibration.method is held-back, but fusion.method l1 divides scores by their sum, which no "
            "temperature changes; set fusion.method to product or softmax, or calibration.method to none"
        )
    _require_learning_rates(recipe)
    _require_logistic(recipe)

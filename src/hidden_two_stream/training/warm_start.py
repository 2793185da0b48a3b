"""Parts of a new run that are taken from other runs instead of being trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hidden_two_stream.config.schema import Recipe

from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.recognition.model import HiddenTwoStream

__all__ = ["STAGES_GIVEN", "STAGES_REPLACED", "open_parts", "take_parts"]

STAGES_GIVEN: dict[str, tuple[str, ...]] = {
    "motion": ("motion",),
    "spatial": ("spatial",),
    "temporal": ("motion", "temporal"),
}
"""Stages whose work a taken part brings along."""

STAGES_REPLACED = STAGES_GIVEN | {"temporal": ("motion", "temporal", "joint")}
"""Stages that are left out where a part is taken, unless one is asked for by name."""

_MODULES = {
    "motion": ("motion_net",),
    "spatial": ("spatial_stream",),
    "temporal": ("motion_net", "temporal_stream"),
}
_MUST_AGREE = {
    "motion": ("motion", "num_frames", "motion_frames"),
    "spatial": ("backbone",),
    "temporal": ("motion", "num_frames", "motion_frames", "backbone", "temporal", "hand_over"),
}


def take_parts(
    model: HiddenTwoStream, recipe: Recipe, classes: Sequence[str], taken: Mapping[str, str]
) -> None:
    """Copy weights from other runs into `model`, in place.

    Args:
        model: the new run's.
        recipe: its recipe.
        classes: its classes.
        taken: run folder or checkpoint by part: "motion" (MotionNet), "spatial" (the spatial stream),
            "temporal" (the temporal stream and its MotionNet).

    Raises:
        UsageError, CheckpointError: as `open_parts`.
    """
    for part, other in open_parts(recipe, classes, taken).items():
        for module in _MODULES[part]:
            model.get_submodule(module).load_state_dict(other.model.get_submodule(module).state_dict())


def open_parts(recipe: Recipe, classes: Sequence[str], taken: Mapping[str, str]) -> dict[str, Recognizer]:
    """The runs that parts are to be taken from, by part, checked against the new run's recipe and classes.

    Raises:
        UsageError: a run is not there, lacks the part or has not trained it, has it for other networks or
            classes, the recipe has no such part, or MotionNet is asked for twice.
        CheckpointError: a run is damaged.
    """
    opened = {}
    if "motion" in taken and "temporal" in taken:
        raise UsageError("a temporal stream brings its MotionNet: give --motion-from or --temporal-from")
    for part, source in taken.items():
        other = load(source)
        theirs, ours = other.info.recipe.model, recipe.model
        for field in _MUST_AGREE[part]:
            if getattr(theirs, field) != getattr(ours, field):
                raise UsageError(
                    f"{source!r} has model.{field} {getattr(theirs, field)!r}; "
                    f"this recipe wants {getattr(ours, field)!r}"
                )
        if part == "motion":
            _require_motion(source, other)
        else:
            _require_stream(part, source, other.trained_streams, other.classes, classes)
        if part in ("spatial", "temporal") and part not in ours.streams:
            raise UsageError(f"this recipe has no {part} stream to take from {source!r}; see model.streams")
        if part == "motion" and ours.streams == ("spatial",):
            raise UsageError(f"this recipe has no MotionNet to take from {source!r}; see model.streams")
        opened[part] = other
    return opened


def _require_motion(source: str, other: Recognizer) -> None:
    stages = other.info.provenance.get("stages", STAGE_NAMES)
    is_trained = bool({"motion", "joint"} & set(stages)) or bool(other.info.provenance.get("motion_init"))
    if not (hasattr(other.model, "motion_net") and is_trained):
        raise UsageError(f"{source!r} has no trained MotionNet; its stages are {', '.join(stages) or 'none'}")


def _require_stream(
    part: str, source: str, trained: Sequence[str], theirs: Sequence[str], ours: Sequence[str]
) -> None:
    if part not in trained:
        raise UsageError(f"{source!r} has no trained {part} stream; it has {', '.join(trained) or 'none'}")
    if tuple(theirs) != tuple(ours):
        unlike = sorted(set(theirs) ^ set(ours))[:5] or "the same, in another order"
        raise UsageError(f"{source!r} was trained for other classes: {unlike}")

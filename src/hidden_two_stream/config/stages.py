"""The table of the four training stages, with the parts and the stream that each one trains."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hidden_two_stream.errors import CheckpointError

__all__ = [
    "MODULES",
    "STAGES",
    "STAGE_NAMES",
    "STREAMS",
    "Stage",
    "require_trained",
    "stages_within",
    "trained_streams",
]

STREAMS = ("spatial", "temporal")

MODULES = {"motion": "motion_net", "spatial": "spatial_stream", "temporal": "temporal_stream"}
"""Submodule of `recognition.model.HiddenTwoStream` that holds each part."""


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: the stage's name, also the name of its field in a recipe.
        parts: the parts that it trains, keys of `MODULES`. All other parts stay bit for bit the same.
        stream: the stream whose action loss it minimizes; None for the stage that sees no labels.
        unsupervised: whether the unsupervised losses are part of its objective.
        jitters_color: whether the color of training clips is changed. Color jitter helps with single frames,
            but breaks the brightness constancy that learning motion needs.
    """

    name: str
    parts: tuple[str, ...]
    stream: str | None = None
    unsupervised: bool = False
    jitters_color: bool = False


STAGES = {
    stage.name: stage
    for stage in (
        Stage("motion", ("motion",), unsupervised=True),
        Stage("spatial", ("spatial",), "spatial", jitters_color=True),
        Stage("temporal", ("temporal",), "temporal"),
        Stage("joint", ("motion", "temporal"), "temporal", unsupervised=True),
    )
}
"""The stages in the order of training."""

STAGE_NAMES = tuple(STAGES)


def trained_streams(stages: Iterable[str]) -> tuple[str, ...]:
    """Return the streams that these stages train, in the order of `STREAMS`."""
    trained = {STAGES[name].stream for name in stages}
    return tuple(stream for stream in STREAMS if stream in trained)


def require_trained(streams: Collection[str], name: str) -> None:
    """Check that a run has streams that were trained; `name` is how the error calls the run.

    Raises:
        CheckpointError: there is none.
    """
    if not streams:
        raise CheckpointError(f"{name} has no trained stream; train spatial or temporal")


def stages_within(parts: Collection[str]) -> tuple[str, ...]:
    """Return the stages that train only `parts` or some of them, in the order of training."""
    return tuple(name for name, stage in STAGES.items() if set(stage.parts) <= set(parts))

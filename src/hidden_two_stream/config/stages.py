"""The four training stages, the parts that each trains, and the streams that result: one table."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["MODULES", "STAGES", "STAGE_NAMES", "STREAMS", "Stage", "stages_within", "trained_streams"]

STREAMS = ("spatial", "temporal")

MODULES = {"motion": "motion_net", "spatial": "spatial_stream", "temporal": "temporal_stream"}
"""Submodule of `recognition.model.HiddenTwoStream` that holds each part."""


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: the stage's name, also the name of its field in a recipe.
        parts: the parts that it trains, keys of `MODULES`; all other parts stay bit for bit as they are.
        stream: the stream whose action loss it minimizes; None for the stage that sees no labels.
        unsupervised: whether the unsupervised losses belong to its objective.
        jitters_color: whether training clips change color. Color changes help with single frames, but break
            the brightness constancy that learning motion needs.
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


def stages_within(parts: Collection[str]) -> tuple[str, ...]:
    """Return the stages that train nothing beyond `parts`, in the order of training."""
    return tuple(name for name, stage in STAGES.items() if set(stage.parts) <= set(parts))

"""Movements of figures: what a class of them consists of, and their mirror images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.skeleton import Pose

__all__ = ["FigureMotion", "mirrored", "one_sided", "restless"]


@dataclass(frozen=True)
class FigureMotion:
    """One class of movement of a figure.

    Attributes:
        pose: draws the movement.
        view: sides from which it can be told: "side", "front" (also from behind) or "any".
        travels: the camera may follow the figure.
    """

    pose: Callable[[Clock], Pose]
    view: str = "any"
    travels: bool = False


def mirrored(pose: Pose) -> Pose:
    """Return the pose with left and right exchanged."""
    anchor = {"left": "right", "right": "left"}.get(pose.anchor, pose.anchor)
    pairs = ("hip", "spread", "knee", "arm", "wing", "elbow", "fold")
    changed: dict[str, Any] = {name: getattr(pose, name)[::-1] for name in pairs}
    changed |= {name: -np.asarray(getattr(pose, name)) for name in ("tilt", "roll", "yaw", "sideways")}
    return replace(pose, anchor=anchor, **changed)


def one_sided(pose: Callable[[Clock], Pose]) -> Callable[[Clock], Pose]:
    """Return a movement that is done with the left or with the right side."""

    def either(clock: Clock) -> Pose:
        swap = chance(clock.rng, 0.5)
        drawn = pose(clock)
        return mirrored(drawn) if swap else drawn

    return either


def restless(clock: Clock, pose: Pose) -> Pose:
    """Return the pose with small movements that nobody intends, of up to 4 degrees."""
    size = clock.between(0, 4)

    def wobble() -> Reals:
        return size * np.sin(clock.cycle(12, 40))

    arm, wing = (tuple(angle + wobble() for angle in pair) for pair in (pose.arm, pose.wing))
    changed: dict[str, Any] = {"arm": arm, "wing": wing}
    return replace(pose, lean=pose.lean + 0.5 * wobble(), tilt=pose.tilt + 0.5 * wobble(), **changed)

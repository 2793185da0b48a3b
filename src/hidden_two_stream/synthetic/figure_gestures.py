"""Movements of a figure's arms."""

from __future__ import annotations

import numpy as np

from hidden_two_stream.synthetic.clock import Clock, blend
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.figure_motion import FigureMotion, one_sided
from hidden_two_stream.synthetic.skeleton import Pose

__all__ = ["GESTURES"]


def _wave_one(clock: Clock) -> Pose:
    """The forearm of a raised arm goes from side to side."""
    swing = clock.between(25, 45) * np.sin(clock.cycle(7, 20))
    return Pose(
        wing=(clock.between(80, 130), 8.0), fold=(clock.between(30, 60) + swing, 0.0), elbow=(0.0, 10.0)
    )


def _wave_both(clock: Clock) -> Pose:
    """Straight arms sweep between the sides and above the head."""
    wing = clock.between(95, 115) + clock.between(40, 60) * np.sin(clock.cycle(9, 26))
    return Pose(wing=(wing, wing), elbow=(0.0, 0.0), fold=(10.0, 10.0))


def _flap(clock: Clock) -> Pose:
    """Arms held out beat a little, fast."""
    wing = clock.between(65, 90) + clock.between(14, 24) * np.sin(clock.cycle(5, 9))
    return Pose(wing=(wing, wing), elbow=(0.0, 0.0))


def _arms_sideways(clock: Clock, start: float, end: float) -> Pose:
    top = clock.between(0.6, 1.0)
    wing = blend(8 + (start - 8) * top, 8 + (end - 8) * top, clock.event())
    return Pose(wing=(wing, wing), elbow=(4.0, 4.0))


def _raise_arms_sideways(clock: Clock) -> Pose:
    return _arms_sideways(clock, 8, 170)


def _lower_arms_sideways(clock: Clock) -> Pose:
    return _arms_sideways(clock, 170, 8)


def _arms_forward(clock: Clock, start: float, end: float) -> Pose:
    top = clock.between(0.55, 1.0)
    arm = blend(start * top, end * top, clock.event())
    return Pose(arm=(arm, arm), elbow=(4.0, 4.0), wing=(4.0, 4.0))


def _raise_arms_forward(clock: Clock) -> Pose:
    return _arms_forward(clock, 0, 170)


def _lower_arms_forward(clock: Clock) -> Pose:
    return _arms_forward(clock, 170, 0)


def _one_arm(clock: Clock, start: float, end: float) -> Pose:
    top, progress = clock.between(0.55, 1.0), clock.event()
    swing = blend(start * top, end * top, progress)
    if chance(clock.rng, 0.5):
        return Pose(arm=(swing, 0.0), elbow=(5.0, 10.0))
    return Pose(wing=(8 + swing, 8.0), elbow=(5.0, 10.0))


def _raise_one_arm(clock: Clock) -> Pose:
    return _one_arm(clock, 0, 165)


def _lower_one_arm(clock: Clock) -> Pose:
    return _one_arm(clock, 165, 0)


def _arm_circles(clock: Clock, sign: float) -> Pose:
    arm = sign * np.degrees(clock.cycle(9, 22))
    return Pose(arm=(arm, arm), elbow=(3.0, 3.0))


def _arm_circles_forward(clock: Clock) -> Pose:
    return _arm_circles(clock, -1.0)


def _arm_circles_backward(clock: Clock) -> Pose:
    return _arm_circles(clock, 1.0)


def _swing_arms(clock: Clock) -> Pose:
    """Both arms swing to and fro together."""
    arm = clock.between(5, 20) + clock.between(35, 60) * np.sin(clock.cycle(10, 28))
    return Pose(arm=(arm, arm), elbow=(6.0, 6.0))


def _punch(clock: Clock) -> Pose:
    """The fists go forward in turn."""
    phase = clock.cycle(8, 20)
    left, right = 0.5 + 0.5 * np.sin(phase), 0.5 - 0.5 * np.sin(phase)
    return Pose(
        arm=(-20 + 105 * left, -20 + 105 * right),
        elbow=(125 - 120 * left, 125 - 120 * right),
        spread=(8.0, 8.0),
        lean=8.0,
    )


def _clap(clock: Clock) -> Pose:
    fold = -15 + clock.between(35, 55) * (0.5 + 0.5 * np.sin(clock.cycle(6, 16)))
    arm, bend = clock.between(40, 70), clock.between(20, 50)
    return Pose(arm=(arm, arm), elbow=(bend, bend), wing=(fold, fold), fold=(-8.0, -8.0))


def _throw(clock: Clock) -> Pose:
    """The arm goes back and up, then whips forward and down."""
    progress = clock.event(8, 14)
    arm = blend(-160, -300, progress)
    return Pose(
        arm=(arm, 20 * progress),
        elbow=(80 * (1 - progress), 20.0),
        hip=(-14 + 10 * progress, 22.0),
        lean=blend(-14, 26, progress),
        yaw=blend(-25, 20, progress),
    )


def _hands_out(clock: Clock, start: float, end: float) -> Pose:
    out = blend(start, end, clock.event(6, 14))
    arm, elbow = -30 + 115 * out, 125 - 120 * out
    return Pose(
        arm=(arm, arm), elbow=(elbow, elbow), lean=-8 + 24 * out, hip=(24.0, -20.0), knee=(24 - 4 * out, 5.0)
    )


def _push(clock: Clock) -> Pose:
    return _hands_out(clock, 0, 1)


def _pull(clock: Clock) -> Pose:
    return _hands_out(clock, 1, 0)


def _hand_to_head(clock: Clock) -> Pose:
    progress = clock.event(5, 12)
    return Pose(arm=(blend(0, 50, progress), 0.0), elbow=(blend(10, 135, progress), 10.0))


def _hand_from_head(clock: Clock) -> Pose:
    progress = clock.event(5, 12)
    return Pose(arm=(blend(50, 0, progress), 0.0), elbow=(blend(135, 10, progress), 10.0))


GESTURES: dict[str, FigureMotion] = {
    "wave_one": FigureMotion(one_sided(_wave_one), "front"),
    "wave_both": FigureMotion(_wave_both, "front"),
    "flap": FigureMotion(_flap, "front"),
    "raise_arms_sideways": FigureMotion(_raise_arms_sideways, "front"),
    "lower_arms_sideways": FigureMotion(_lower_arms_sideways, "front"),
    "raise_arms_forward": FigureMotion(_raise_arms_forward),
    "lower_arms_forward": FigureMotion(_lower_arms_forward),
    "raise_one_arm": FigureMotion(one_sided(_raise_one_arm)),
    "lower_one_arm": FigureMotion(one_sided(_lower_one_arm)),
    "arm_circles_forward": FigureMotion(_arm_circles_forward, "side"),
    "arm_circles_backward": FigureMotion(_arm_circles_backward, "side"),
    "swing_arms": FigureMotion(_swing_arms, "side"),
    "punch": FigureMotion(_punch, "side"),
    "clap": FigureMotion(_clap, "front"),
    "throw": FigureMotion(one_sided(_throw), "side"),
    "push": FigureMotion(_push, "side"),
    "pull": FigureMotion(_pull, "side"),
    "hand_to_head": FigureMotion(one_sided(_hand_to_head)),
    "hand_from_head": FigureMotion(one_sided(_hand_from_head)),
}
"""Movements by name."""

"""Movements of a figure that steps, hops or crawls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.synthetic.clock import Clock, ramp
from hidden_two_stream.synthetic.figure_motion import FigureMotion, one_sided
from hidden_two_stream.synthetic.skeleton import Pose

__all__ = ["GAITS"]

_LEG = 0.47
"""Usual length of a leg, in body heights: sets how far a step carries."""


def _swing(angle: Reals) -> Reals:
    """Return 0 to 1: how far a leg at this phase of its stride is lifted, as it swings forward."""
    return np.asarray(np.maximum(0, np.cos(angle)) ** 1.5)


def _stepping(phase: Reals, stride: float, lift: float, swing: float, elbow: float, lean: float) -> Pose:
    """Return a stride: legs in antiphase, knees that bend as they swing forward, arms against the legs."""
    # A leg on the ground turns at a steady rate, so that the foot stays where it is.
    step = 0.9 * (np.sin(phase) - np.sin(3 * phase) / 9)
    return Pose(
        hip=(4 + stride * step, 4 - stride * step),
        knee=(6 + lift * _swing(phase + 0.3), 6 + lift * _swing(phase + 0.3 + math.pi)),
        arm=(-swing * step, swing * step),
        elbow=(elbow + 0.3 * swing * (1 - step), elbow + 0.3 * swing * (1 + step)),
        lean=lean,
        anchor="hips",
    )


def _carried(phase: Reals, stride: float, factor: float = 1.0) -> Reals:
    """Return how far strides of this amplitude have carried the figure, (T,)."""
    return np.asarray(factor * 4 * _LEG * math.sin(math.radians(stride)) * phase / (2 * math.pi))


def _walk(clock: Clock, shortest: float = 16, longest: float = 30) -> Pose:
    phase = clock.cycle(shortest, longest)
    stride = clock.between(20, 30)
    pose = _stepping(phase, stride, clock.between(30, 50), clock.between(10, 35), clock.between(5, 25), 3)
    return replace(pose, forward=_carried(phase, stride))


def _walk_fast(clock: Clock) -> Pose:
    return _walk(clock, 8, 12)


def _walk_backward(clock: Clock) -> Pose:
    phase = clock.cycle(14, 30)
    stride = clock.between(16, 26)
    pose = _stepping(-phase, stride, clock.between(30, 45), clock.between(8, 25), clock.between(5, 20), 0)
    return replace(pose, forward=-_carried(phase, stride))


def _run(clock: Clock) -> Pose:
    phase = clock.cycle(8, 15)
    stride = clock.between(36, 48)
    pose = _stepping(phase, stride, clock.between(75, 100), clock.between(30, 50), clock.between(70, 95), 12)
    bounce = clock.between(0.02, 0.05) * np.abs(np.cos(phase))
    return replace(pose, forward=_carried(phase, stride, 1.15), jump=bounce)


def _skip(clock: Clock) -> Pose:
    """One leg hops forward; the other is held bent."""
    phase = clock.cycle(7, 14)
    air = np.maximum(0, np.sin(phase))
    swing = clock.between(10, 30) * np.cos(phase)
    return Pose(
        hip=(8 + 14 * np.cos(phase), clock.between(10, 40)),
        knee=(10 + 35 * np.maximum(0, -np.sin(phase)), clock.between(70, 100)),
        arm=(swing, swing),
        elbow=(40.0, 40.0),
        lean=6 + 6 * np.cos(phase),
        forward=clock.between(0.45, 0.7) * phase / (2 * math.pi),
        jump=clock.between(0.06, 0.12) * air,
        anchor="hips",
    )


def _hop(clock: Clock, reach: float) -> Pose:
    """Both legs push off at once; `reach` in body heights per hop."""
    phase = clock.cycle(8, 18)
    air, crouch = np.maximum(0, np.sin(phase)), np.maximum(0, -np.sin(phase))
    bend = clock.between(35, 60) * crouch
    arms = 30 * np.cos(phase) + 15
    return Pose(
        hip=(0.9 * bend, 0.9 * bend),
        knee=(4 + 1.8 * bend, 4 + 1.8 * bend),
        arm=(arms, arms),
        elbow=(25.0, 25.0),
        lean=4 + 0.5 * bend,
        forward=reach * (phase - 0.6 * np.cos(phase)) / (2 * math.pi),
        jump=clock.between(0.1, 0.2) * air,
    )


def _hop_on_the_spot(clock: Clock) -> Pose:
    return _hop(clock, 0.0)


def _hop_forward(clock: Clock) -> Pose:
    return _hop(clock, clock.between(0.45, 0.8))


def _jumping_jack(clock: Clock) -> Pose:
    phase = clock.cycle(10, 24)
    out = 0.5 - 0.5 * np.cos(phase)
    wing, spread = 12 + clock.between(130, 155) * out, 3 + clock.between(20, 30) * out
    air = clock.between(0.02, 0.07) * np.abs(np.sin(phase))
    return Pose(wing=(wing, wing), spread=(spread, spread), elbow=(5.0, 5.0), jump=air)


def _side_step(clock: Clock) -> Pose:
    """The feet part and meet while the figure goes sideways."""
    phase = clock.cycle(9, 20)
    out = 0.5 - 0.5 * np.cos(phase)
    spread = 2 + clock.between(16, 26) * out
    bend = 8 + 10 * out
    travel = clock.between(0.35, 0.6) * (phase - 0.4 * np.sin(phase)) / (2 * math.pi)
    return Pose(
        spread=(spread, spread),
        knee=(bend, bend),
        hip=(0.5 * bend, 0.5 * bend),
        wing=(12 + 8 * out, 12 + 8 * out),
        sideways=travel,
        jump=clock.between(0.0, 0.05) * np.abs(np.sin(phase)),
    )


def _march(clock: Clock) -> Pose:
    phase = clock.cycle(12, 28)
    left, right = np.maximum(0, np.sin(phase)), np.maximum(0, -np.sin(phase))
    lift, swing = clock.between(50, 90), clock.between(10, 40) * np.sin(phase)
    return Pose(
        hip=(lift * left, lift * right),
        knee=(4 + 1.1 * lift * left, 4 + 1.1 * lift * right),
        arm=(-swing, swing),
        anchor="hips",
    )


def _jog_on_the_spot(clock: Clock) -> Pose:
    """Heels go up behind, elbows stay bent."""
    phase = clock.cycle(7, 12)
    left, right = np.maximum(0, np.sin(phase)), np.maximum(0, -np.sin(phase))
    lift, swing = clock.between(70, 110), clock.between(15, 35) * np.sin(phase)
    return Pose(
        hip=(20 * left, 20 * right),
        knee=(8 + lift * left, 8 + lift * right),
        arm=(-swing, swing),
        elbow=(85.0, 85.0),
        jump=0.03 * np.abs(np.sin(phase)),
        anchor="hips",
    )


def _limp(clock: Clock) -> Pose:
    """One leg stays stiff, and the figure dips and sways on it."""
    phase = clock.cycle(16, 30)
    stride = clock.between(14, 22)
    pose = _stepping(phase + 0.5 * np.sin(phase), stride, 40, 15, 15, 6)
    dip = 0.5 + 0.5 * np.sin(phase)
    knee = (pose.knee[0] + 25 * dip, 3.0)
    return replace(
        pose,
        knee=knee,
        lean=6 + 14 * dip,
        tilt=10 * dip,
        forward=_carried(phase + 0.7 * np.sin(phase), stride),
    )


def _crawl(clock: Clock) -> Pose:
    phase = clock.cycle(14, 32)
    swing = clock.between(15, 28)
    step = np.sin(phase)
    return Pose(
        hip=(5 + swing * step, 5 - swing * step),
        knee=(92 + 8 * _swing(phase), 92 + 8 * _swing(phase + math.pi)),
        arm=(-swing * step, swing * step),
        elbow=(6 + 20 * _swing(phase + math.pi), 6 + 20 * _swing(phase)),
        lean=clock.between(72, 86),
        nod=-40.0,
        forward=_carried(phase, swing, 0.5),
        anchor="hips",
    )


def _stumble(clock: Clock) -> Pose:
    """A walk, broken by a lurch with flung arms."""
    pose = _walk(clock, 14, 26)
    when = clock.between(0.35, 0.65) * (clock.num_frames - 1)
    lurch = np.exp(-0.5 * np.square((clock.frames - when) / clock.between(1.5, 3.0)))
    sink = 35 * lurch
    return replace(
        pose,
        lean=3 + clock.between(40, 60) * lurch,
        knee=(pose.knee[0] + sink, pose.knee[1] + sink),
        hip=(pose.hip[0] + 0.8 * sink, pose.hip[1] + 0.6 * sink),
        arm=(pose.arm[0] + 80 * lurch, pose.arm[1] + 95 * lurch),
        forward=np.asarray(pose.forward) + 0.12 * ramp((clock.frames - when) / 4),
    )


def _nearer(clock: Clock, sign: float) -> Pose:
    """A walk along the camera's axis: the figure grows or shrinks."""
    pose = replace(_walk(clock, 12, 26), forward=0.0)
    growth = clock.between(0.35, 0.7) * (clock.frames / max(1, clock.num_frames - 1) - 0.5)
    return replace(pose, growth=np.exp(sign * growth))


def _walk_toward(clock: Clock) -> Pose:
    return _nearer(clock, 1.0)


def _walk_away(clock: Clock) -> Pose:
    return _nearer(clock, -1.0)


GAITS: dict[str, FigureMotion] = {
    "walk": FigureMotion(_walk, "side", travels=True),
    "walk_fast": FigureMotion(_walk_fast, "side", travels=True),
    "walk_backward": FigureMotion(_walk_backward, "side", travels=True),
    "walk_toward": FigureMotion(_walk_toward, "front"),
    "walk_away": FigureMotion(_walk_away, "front"),
    "run": FigureMotion(_run, "side", travels=True),
    "skip": FigureMotion(one_sided(_skip), "side", travels=True),
    "hop_on_the_spot": FigureMotion(_hop_on_the_spot),
    "hop_forward": FigureMotion(_hop_forward, "side", travels=True),
    "jumping_jack": FigureMotion(_jumping_jack, "front"),
    "side_step": FigureMotion(one_sided(_side_step), "front", travels=True),
    "march": FigureMotion(_march),
    "jog_on_the_spot": FigureMotion(_jog_on_the_spot),
    "limp": FigureMotion(one_sided(_limp), "side", travels=True),
    "crawl": FigureMotion(_crawl, "side", travels=True),
    "stumble": FigureMotion(_stumble, "side", travels=True),
}
"""Movements by name."""

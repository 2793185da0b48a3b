"""Movements of a figure's whole body in one place: bends, squats, falls, turns and exercises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hidden_two_stream.synthetic.clock import Clock, blend
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.figure_motion import FigureMotion, one_sided
from hidden_two_stream.synthetic.skeleton import Pose, Value

__all__ = ["POSTURES"]


def _folded(depth: Value, arm: Value = 0.0) -> Pose:
    """Return a figure that bends at the hips; depth 0 to 1."""
    bend = np.asarray(depth)
    return Pose(
        lean=2 + 100 * bend,
        hip=(-8 * bend, -8 * bend),
        knee=(4 + 8 * bend, 4 + 8 * bend),
        arm=(arm, arm),
        nod=10 * bend,
        elbow=(6.0, 6.0),
    )


def _bend_down(clock: Clock) -> Pose:
    return _folded(clock.between(0.75, 1.1) * clock.event(8, 20), clock.between(-10, 30))


def _rise_from_bend(clock: Clock) -> Pose:
    return _folded(clock.between(0.75, 1.1) * (1 - clock.event(8, 20)), clock.between(-10, 30))


def _bow(clock: Clock) -> Pose:
    """Small bends that repeat."""
    depth = 0.5 - 0.5 * np.cos(clock.cycle(10, 24))
    return replace(_folded(clock.between(0.3, 0.5) * depth), arm=(0.0, 0.0), anchor="feet")


def _crouched(depth: Value, arm: Value) -> Pose:
    """Return a figure that lowers its hips between its heels; depth 0 to 1."""
    bend = np.asarray(depth)
    hip, knee = 95 * bend, 4 + 130 * bend
    arms = np.asarray(arm) * bend
    return Pose(hip=(hip, hip), knee=(knee, knee), lean=2 + 28 * bend, arm=(arms, arms), spread=(8.0, 8.0))


def _squat_down(clock: Clock) -> Pose:
    return _crouched(clock.between(0.7, 1.0) * clock.event(), clock.between(0, 90))


def _squat_up(clock: Clock) -> Pose:
    return _crouched(clock.between(0.7, 1.0) * (1 - clock.event()), clock.between(0, 90))


def _squats(clock: Clock) -> Pose:
    depth = 0.5 - 0.5 * np.cos(clock.cycle(8, 20))
    return _crouched(clock.between(0.6, 0.95) * depth, clock.between(0, 90))


def _seated(depth: Value) -> Pose:
    """Return a figure on its way to a chair, which isn't drawn; 1 is seated."""
    bend = np.asarray(depth)
    lean = 3 + 45 * np.sin(np.pi * bend) ** 2 + 4 * bend
    arm, hip, knee = 25 * bend, 86 * bend, 4 + 82 * bend
    return Pose(
        hip=(hip, hip), knee=(knee, knee), lean=lean, arm=(arm, arm), elbow=(10 + 30 * bend, 10 + 30 * bend)
    )


def _sit_down(clock: Clock) -> Pose:
    return _seated(clock.event(9, 20))


def _stand_up(clock: Clock) -> Pose:
    return _seated(1 - clock.event(9, 20))


def _fallen(progress: Value, pitch: float, roll: float) -> Pose:
    """Return a figure that tips over, its knees giving way and its arms thrown out."""
    done = np.asarray(progress)
    give, fling = 45 * np.sin(np.pi * done), 75 * np.sin(np.pi * np.minimum(1, 1.2 * done) * 0.8)
    return Pose(
        pitch=pitch * done,
        roll=roll * done,
        hip=(0.7 * give, 0.5 * give),
        knee=(4 + 1.4 * give, 4 + give),
        arm=(fling * np.sign(pitch), 0.7 * fling * np.sign(pitch)),
        wing=(8 + 0.5 * fling, 8 + 0.7 * fling),
        lean=0.4 * give * (np.sign(pitch) if pitch else 0.3),
    )


def _fall_forward(clock: Clock) -> Pose:
    return _fallen(clock.event(7, 16) ** 1.5, clock.between(82, 92), clock.between(-15, 15))


def _fall_backward(clock: Clock) -> Pose:
    return _fallen(clock.event(7, 16) ** 1.5, -clock.between(82, 92), clock.between(-15, 15))


def _fall_sideways(clock: Clock) -> Pose:
    return _fallen(clock.event(7, 16) ** 1.5, clock.between(-10, 10), clock.between(80, 92))


def _get_up(clock: Clock) -> Pose:
    pitch = clock.between(82, 92) * (1 if chance(clock.rng, 0.5) else -1)
    return _fallen(1 - clock.event(10, 22), pitch, clock.between(-15, 15))


def _lie_still(clock: Clock) -> Pose:
    """Only the chest moves."""
    pose = _fallen(1.0, clock.between(84, 92) * (1 if chance(clock.rng, 0.5) else -1), 0.0)
    breath = clock.between(0.0, 0.04) * np.sin(clock.cycle(14, 40))
    arm, wing = clock.between(-30, 60), clock.between(5, 40)
    return replace(pose, breath=breath, arm=(arm, 0.0), wing=(wing, 10.0))


def _stand_still(clock: Clock) -> Pose:
    breath = clock.between(0.0, 0.03) * np.sin(clock.cycle(14, 40))
    arm, wing = clock.between(0, 40), clock.between(4, 60)
    return Pose(breath=breath, arm=(arm, 0.5 * arm), wing=(wing, 8.0), elbow=(clock.between(5, 80), 10.0))


def _turn_round(clock: Clock) -> Pose:
    return Pose(yaw=blend(0, clock.between(130, 190), clock.event(8, 18)), wing=(14.0, 14.0), anchor="hips")


def _spin(clock: Clock) -> Pose:
    wing = clock.between(20, 80)
    return Pose(yaw=np.degrees(clock.cycle(10, 24)), wing=(wing, wing), elbow=(4.0, 4.0), anchor="hips")


def _sway(clock: Clock) -> Pose:
    """The trunk goes from side to side."""
    swing = np.sin(clock.cycle(10, 28))
    size = clock.between(14, 26)
    return Pose(tilt=size * swing, sideways=-0.0015 * size * swing, spread=(8.0, 8.0), anchor="feet")


def _nod(clock: Clock) -> Pose:
    return Pose(nod=clock.between(5, 20) + clock.between(25, 40) * np.sin(clock.cycle(6, 16)))


def _kick(clock: Clock) -> Pose:
    """One leg goes forward and up, and back."""
    push = np.sin(np.pi * clock.event(9, 18))
    size = clock.between(60, 100)
    return Pose(
        hip=(-10 * (1 - push) + size * push, 0.0),
        knee=(20 - 15 * push, 6.0),
        lean=-12 * push,
        arm=(-35 * push, 35 * push),
        anchor="right",
    )


def _lunge(clock: Clock) -> Pose:
    """A long step forward, down to a bent knee."""
    step = clock.event(8, 16)
    return Pose(
        hip=(65 * step, -25 * step), knee=(4 + 70 * step, 4 + 35 * step), lean=8 * step, anchor="right"
    )


def _lift_leg_sideways(clock: Clock) -> Pose:
    push = 0.5 - 0.5 * np.cos(clock.cycle(10, 24))
    return Pose(
        spread=(3 + clock.between(35, 60) * push, 3.0), tilt=-8 * push, wing=(20.0, 20.0), anchor="right"
    )


def _lifting(progress: Value) -> Pose:
    """Return a figure that takes something off the ground, up to its chest."""
    up = np.asarray(progress)
    down = 1 - up
    hip, knee, arm, elbow = 60 * down, 4 + 80 * down, 10 + 15 * up, 5 + 95 * up
    return Pose(hip=(hip, hip), knee=(knee, knee), lean=4 + 60 * down, arm=(arm, arm), elbow=(elbow, elbow))


def _lift(clock: Clock) -> Pose:
    return _lifting(clock.event(8, 18))


def _put_down(clock: Clock) -> Pose:
    return _lifting(1 - clock.event(8, 18))


def _sit_ups(clock: Clock) -> Pose:
    rise = 0.5 - 0.5 * np.cos(clock.cycle(12, 28))
    arm, lean = 150 - 60 * rise, clock.between(60, 85) * rise
    return Pose(pitch=-90.0, lean=lean, arm=(arm, arm), hip=(35.0, 35.0), knee=(80.0, 80.0))


def _push_ups(clock: Clock) -> Pose:
    up = 0.5 + 0.5 * np.sin(clock.cycle(10, 24))
    pitch = 86 - clock.between(14, 20) * up
    arm, elbow = 30 + 55 * up, 75 * (1 - up)
    return Pose(pitch=pitch, arm=(arm, arm), elbow=(elbow, elbow), nod=-25.0)


POSTURES: dict[str, FigureMotion] = {
    "bend_down": FigureMotion(_bend_down),
    "rise_from_bend": FigureMotion(_rise_from_bend),
    "bow": FigureMotion(_bow, "side"),
    "squat_down": FigureMotion(_squat_down),
    "squat_up": FigureMotion(_squat_up),
    "squats": FigureMotion(_squats),
    "sit_down": FigureMotion(_sit_down),
    "stand_up": FigureMotion(_stand_up),
    "fall_forward": FigureMotion(_fall_forward, "side"),
    "fall_backward": FigureMotion(_fall_backward, "side"),
    "fall_sideways": FigureMotion(one_sided(_fall_sideways), "front"),
    "get_up": FigureMotion(_get_up, "side"),
    "lie_still": FigureMotion(_lie_still),
    "stand_still": FigureMotion(one_sided(_stand_still)),
    "turn_round": FigureMotion(one_sided(_turn_round)),
    "spin": FigureMotion(one_sided(_spin)),
    "sway": FigureMotion(one_sided(_sway), "front"),
    "nod": FigureMotion(_nod, "side"),
    "kick": FigureMotion(one_sided(_kick), "side"),
    "lunge": FigureMotion(one_sided(_lunge), "side"),
    "lift_leg_sideways": FigureMotion(one_sided(_lift_leg_sideways), "front"),
    "lift": FigureMotion(_lift, "side"),
    "put_down": FigureMotion(_put_down, "side"),
    "sit_ups": FigureMotion(_sit_ups, "side"),
    "push_ups": FigureMotion(_push_ups, "side"),
}
"""Movements by name."""

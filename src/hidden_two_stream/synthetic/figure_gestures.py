"""Movements of a figure's arms, and of the whole body in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hidden_two_stream.synthetic.clock import Clock, blend
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.figure_motion import FigureMotion, one_sided
from hidden_two_stream.synthetic.skeleton import Pose, Value

__all__ = ["GESTURES"]

# -- arms ------------------------------------------------------------------------------------------


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


# -- the whole body --------------------------------------------------------------------------------


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

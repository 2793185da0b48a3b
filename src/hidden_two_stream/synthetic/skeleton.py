"""Articulated figures: a pose in angles, the joints that it gives, and how a camera sees them.

Convention: a joint is (T, 3) in body heights, along the body's forward, left and upward axes; the ground is
at height 0. Angles are degrees. An arm or a leg that hangs down has the angle 0; a positive angle swings it
forward, a positive spread moves it away from the body, sideways.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hidden_two_stream.synthetic.arrays import Complex, Reals

__all__ = ["Body", "Pose", "Value", "draw_body", "joints", "project"]

Value = float | Reals
"""A constant, or one value per frame, (T,)."""

Pair = tuple[Value, Value]
"""Values of the left and of the right limb."""


@dataclass(frozen=True)
class Pose:
    """The angles of a figure over time, in degrees, and its travel, in body heights.

    Attributes:
        hip, spread: swing of each thigh, forward and sideways.
        knee: bend of each knee; the shank swings backward.
        arm, wing: swing of each upper arm, forward and sideways.
        elbow, fold: bend of each elbow, forward (after `arm`) and sideways (after `wing`).
        lean, tilt: of the torso, forward and to the left; arms and legs stay where they are.
        nod: bend of the neck, forward.
        pitch, roll: turn of the whole figure, forward and to the left.
        yaw: turn of the whole figure about the vertical axis.
        forward, sideways: place on the ground.
        jump: height of the lowest point above the ground.
        breath: relative growth of the torso.
        growth: relative size of the figure as it comes closer; 1 is its usual size.
        anchor: what stays in place on the ground: "feet", "left" or "right" foot, or "hips".
    """

    hip: Pair = (0.0, 0.0)
    spread: Pair = (3.0, 3.0)
    knee: Pair = (4.0, 4.0)
    arm: Pair = (0.0, 0.0)
    wing: Pair = (8.0, 8.0)
    elbow: Pair = (10.0, 10.0)
    fold: Pair = (0.0, 0.0)
    lean: Value = 0.0
    tilt: Value = 0.0
    nod: Value = 0.0
    pitch: Value = 0.0
    roll: Value = 0.0
    yaw: Value = 0.0
    forward: Value = 0.0
    sideways: Value = 0.0
    jump: Value = 0.0
    breath: Value = 0.0
    growth: Value = 1.0
    anchor: str = "feet"


@dataclass(frozen=True)
class Body:
    """Lengths of a figure, in body heights.

    Attributes:
        thigh, shank, foot, torso, neck, upper_arm, forearm: lengths of the segments.
        shoulders, hips: half of the widths.
        head: radius.
        limb: factor on the radii of arms and legs.
        trunk: radius of each half of the torso.
    """

    thigh: float
    shank: float
    foot: float
    torso: float
    neck: float
    upper_arm: float
    forearm: float
    shoulders: float
    hips: float
    head: float
    limb: float
    trunk: float


def draw_body(rng: np.random.Generator) -> Body:
    """Return random proportions, from a child's to those of a long-legged adult."""
    leg = rng.uniform(0.42, 0.52)
    arm = rng.uniform(0.33, 0.42)
    head = rng.uniform(0.06, 0.09)
    shoulders = rng.uniform(0.085, 0.125)
    return Body(
        thigh=0.51 * leg,
        shank=0.49 * leg,
        foot=rng.uniform(0.07, 0.11),
        torso=1 - leg - 2.4 * head,
        neck=1.4 * head,
        upper_arm=0.47 * arm,
        forearm=0.53 * arm,
        shoulders=shoulders,
        hips=shoulders * rng.uniform(0.5, 0.75),
        head=head,
        limb=rng.uniform(0.8, 1.3),
        trunk=rng.uniform(0.055, 0.085),
    )


def joints(pose: Pose, body: Body, num_frames: int) -> dict[str, Reals]:
    """Return the joints of a figure on the ground, each (T, 3), by name.

    Names of paired joints end in "_l" and "_r". The lowest joint touches the ground, apart from a jump.
    """
    up = _spin(np.array([0.0, 0.0, 1.0]), pose.lean, pose.tilt, num_frames)
    across = _spin(np.array([0.0, 1.0, 0.0]), 0.0, pose.tilt, num_frames)
    breath = _column(1 + np.asarray(pose.breath), num_frames)
    neck = body.torso * breath * up
    bent = _spin(np.array([0.0, 0.0, 1.0]), np.asarray(pose.lean) + pose.nod, pose.tilt, num_frames)
    head = neck + body.neck * bent
    found = {"pelvis": np.zeros((num_frames, 3)), "neck": neck, "chin": 0.4 * neck + 0.6 * head, "head": head}
    for number, (name, sign) in enumerate((("l", 1.0), ("r", -1.0))):
        hip = np.array([0.0, sign * body.hips, 0.0]) + np.zeros((num_frames, 1))
        swing, spread, knee = (pair[number] for pair in (pose.hip, pose.spread, pose.knee))
        shank = np.asarray(swing) - knee
        found[f"hip_{name}"] = hip
        found[f"knee_{name}"] = hip + body.thigh * _hanging(swing, spread, sign, num_frames)
        ankle = found[f"knee_{name}"] + body.shank * _hanging(shank, spread, sign, num_frames)
        found[f"ankle_{name}"] = ankle
        found[f"toe_{name}"] = ankle + body.foot * _hanging(shank + 90.0, 0.0, sign, num_frames)
        shoulder = neck + sign * body.shoulders * breath * across - 0.03 * up
        arm, wing = np.asarray(pose.arm[number]), np.asarray(pose.wing[number])
        found[f"shoulder_{name}"] = shoulder
        elbow = shoulder + body.upper_arm * _hanging(arm, wing, sign, num_frames)
        found[f"elbow_{name}"] = elbow
        forearm = _hanging(arm + pose.elbow[number], wing + pose.fold[number], sign, num_frames)
        found[f"hand_{name}"] = elbow + body.forearm * forearm
    return _on_the_ground(pose, found, num_frames)


def _on_the_ground(pose: Pose, found: dict[str, Reals], num_frames: int) -> dict[str, Reals]:
    """Turn the whole figure and set it on the ground, at its place."""
    turned = {name: _spin(point, pose.pitch, pose.roll, num_frames) for name, point in found.items()}
    place = np.zeros((num_frames, 3))
    held = {
        "feet": 0.5 * (turned["ankle_l"] + turned["ankle_r"]),
        "left": turned["ankle_l"],
        "right": turned["ankle_r"],
        "hips": np.zeros((num_frames, 3)),
    }[pose.anchor]
    place[:, 0] = np.asarray(pose.forward) - held[:, 0]
    place[:, 1] = np.asarray(pose.sideways) - held[:, 1]
    # Hands may reach below: a deep bend must not lift the feet.
    support = [point for name, point in turned.items() if not name.startswith(("hand", "elbow"))]
    lowest = np.min([point[:, 2] for point in support], axis=0)
    place[:, 2] = np.asarray(pose.jump) - lowest
    yaw = np.radians(np.broadcast_to(pose.yaw, num_frames))
    growth = _column(pose.growth, num_frames)
    return {name: _yawed(point + place, yaw) * growth for name, point in turned.items()}


def project(
    points: dict[str, Reals], yaw: float, elevation: float
) -> tuple[dict[str, Complex], dict[str, float]]:
    """Return the joints as a distant camera sees them, and the mean depth of each.

    Args:
        points: (T, 3) by name.
        yaw: degrees; 0 shows a figure from the side that faces right, 90 one that faces the camera.
        elevation: height of the camera, degrees; the near ground is lower on the screen.

    Returns:
        (T,) complex positions in body heights, x right and y down, and depths toward the camera.
    """
    turn, height = np.radians(yaw), np.radians(elevation)
    seen, depths = {}, {}
    for name, point in points.items():
        across = point[:, 0] * np.cos(turn) + point[:, 1] * np.sin(turn)
        near = point[:, 0] * np.sin(turn) - point[:, 1] * np.cos(turn)
        seen[name] = across + 1j * (near * np.sin(height) - point[:, 2] * np.cos(height))
        depths[name] = float(near.mean())
    return seen, depths


def _column(value: Value, num_frames: int) -> Reals:
    return np.broadcast_to(np.asarray(value, np.float64), num_frames)[:, None]


def _hanging(swing: Value, spread: Value, sign: float, num_frames: int) -> Reals:
    """Return unit vectors (T, 3) of a limb that hangs down at angle 0."""
    a, w = np.radians(swing), np.radians(spread)
    parts = (np.sin(a) * np.cos(w), sign * np.sin(w), -np.cos(a) * np.cos(w))
    return np.stack([np.broadcast_to(part, num_frames) for part in parts], axis=1)


def _spin(vector: Reals, forward: Value, left: Value, num_frames: int) -> Reals:
    """Return (T, 3): vectors, (3,) or (T, 3), leaned forward, then to the left."""
    pitch, roll = (np.radians(np.broadcast_to(angle, num_frames)) for angle in (forward, left))
    f = vector[..., 0] * np.cos(pitch) + vector[..., 2] * np.sin(pitch)
    u = vector[..., 2] * np.cos(pitch) - vector[..., 0] * np.sin(pitch)
    side = vector[..., 1] * np.cos(roll) + u * np.sin(roll)
    return np.stack([f, side, u * np.cos(roll) - vector[..., 1] * np.sin(roll)], axis=1)


def _yawed(point: Reals, yaw: Reals) -> Reals:
    f = point[:, 0] * np.cos(yaw) - point[:, 1] * np.sin(yaw)
    left = point[:, 0] * np.sin(yaw) + point[:, 1] * np.cos(yaw)
    return np.stack([f, left, point[:, 2]], axis=1)

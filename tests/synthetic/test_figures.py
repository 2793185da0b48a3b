"""Figures of the motion library: they keep their lengths, stand on the ground, and bend the right way."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.figure_gaits import GAITS
from hidden_two_stream.synthetic.figure_gestures import GESTURES
from hidden_two_stream.synthetic.figure_motion import mirrored
from hidden_two_stream.synthetic.figure_postures import POSTURES
from hidden_two_stream.synthetic.figures import draw_figure
from hidden_two_stream.synthetic.library_look import Look
from hidden_two_stream.synthetic.skeleton import Body, Pose, draw_body, joints, project

FIGURES = GAITS | GESTURES | POSTURES
LONG = 400
"""Frames in which an event nearly always begins and ends."""

BODY = Body(0.25, 0.25, 0.1, 0.3, 0.1, 0.2, 0.2, 0.1, 0.06, 0.07, 1.0, 0.07)
SEGMENTS = {
    ("hip", "knee"): "thigh",
    ("knee", "ankle"): "shank",
    ("ankle", "toe"): "foot",
    ("shoulder", "elbow"): "upper_arm",
    ("elbow", "hand"): "forearm",
}


def moved(name: str, seed: int, num_frames: int = LONG) -> tuple[Pose, dict[str, np.ndarray]]:
    pose = FIGURES[name].pose(Clock(np.random.default_rng(seed), num_frames))
    return pose, joints(pose, BODY, num_frames)


def test_a_figure_at_rest_stands_upright() -> None:
    found = joints(Pose(spread=(0.0, 0.0), knee=(0.0, 0.0), wing=(0.0, 0.0), elbow=(0.0, 0.0)), BODY, 1)
    expected = {
        "pelvis": (0, 0, 0.5),
        "neck": (0, 0, 0.8),
        "head": (0, 0, 0.9),
        "knee_l": (0, 0.06, 0.25),
        "ankle_r": (0, -0.06, 0),
        "hand_l": (0, 0.1, 0.8 - 0.03 - 0.4),
    }
    for name, place in expected.items():
        np.testing.assert_allclose(found[name][0], place, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found["toe_l"][0], [0.1, 0.06, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("pose", "joint", "place"),
    [
        (Pose(arm=(90.0, 0.0), wing=(0.0, 0.0), elbow=(0.0, 0.0)), "hand_l", (0.4, 0.1)),
        (Pose(wing=(0.0, 90.0), elbow=(0.0, 0.0)), "hand_r", (0.0, -0.5)),
        (Pose(hip=(90.0, 0.0), spread=(0.0, 0.0)), "knee_l", (0.25, 0.06)),
        (Pose(knee=(90.0, 0.0), spread=(0.0, 0.0)), "ankle_l", (-0.25, 0.06)),
        (Pose(arm=(0.0, 0.0), wing=(0.0, 0.0), elbow=(90.0, 0.0)), "hand_l", (0.2, 0.1)),
        (Pose(pitch=90.0, anchor="hips"), "neck", (0.3, 0.0)),
        (Pose(roll=90.0, anchor="hips"), "neck", (0.0, 0.3)),
        (Pose(lean=90.0), "neck", (0.3, 0.0)),
        (Pose(tilt=90.0), "neck", (0.0, 0.3)),
        (Pose(yaw=90.0, lean=90.0, anchor="hips"), "neck", (0.0, 0.3)),
        (Pose(forward=2.0, sideways=1.0, anchor="hips"), "pelvis", (2.0, 1.0)),
    ],
)
def test_angles_turn_as_documented(pose: Pose, joint: str, place: tuple[float, float]) -> None:
    found = joints(pose, BODY, 1)
    base = np.zeros(2) if joint == "pelvis" else found["pelvis"][0, :2]
    np.testing.assert_allclose(found[joint][0, :2] - base, place, atol=1e-9)


def test_views() -> None:
    point = {"hand": np.array([[1.0, 0.5, 0.25]])}
    for yaw, across, near in ((0, 1, -0.5), (180, -1, 0.5), (90, 0.5, 1), (-90, -0.5, -1)):
        seen, depths = project(point, yaw, 0)
        np.testing.assert_allclose(seen["hand"], across - 0.25j, atol=1e-12)
        assert depths["hand"] == pytest.approx(near)
    seen, _ = project(point, 90, 90)  # from above, what is near is low
    np.testing.assert_allclose(seen["hand"], 0.5 + 1j, atol=1e-12)


@pytest.mark.parametrize("name", FIGURES)
def test_bones_keep_their_lengths_and_knees_bend_backward(name: str) -> None:
    for seed in range(3):
        pose, found = moved(name, seed, 24)
        growth = np.broadcast_to(pose.growth, 24)
        for (start, end), bone in SEGMENTS.items():
            for side in "lr":
                length = np.linalg.norm(found[f"{end}_{side}"] - found[f"{start}_{side}"], axis=1)
                np.testing.assert_allclose(length, getattr(BODY, bone) * growth, atol=1e-9)
        assert min(np.min(knee) for knee in pose.knee) >= 0
        assert max(np.max(knee) for knee in pose.knee) <= 150


@pytest.mark.parametrize("name", FIGURES)
def test_figures_stand_on_the_ground(name: str) -> None:
    pose, found = moved(name, 5, 24)
    support = np.stack([point[:, 2] for joint, point in found.items() if joint[:4] not in ("hand", "elbo")])
    np.testing.assert_allclose(support.min(0), np.broadcast_to(pose.jump, 24) * pose.growth, atol=1e-9)
    assert np.max(pose.jump) < 0.25


@pytest.mark.parametrize("name", ["walk", "walk_fast", "run", "limp"])
def test_legs_and_arms_swing_in_antiphase(name: str) -> None:
    for seed in range(4):
        _, found = moved(name, seed)
        reach = {side: (found[f"ankle_{side}"] - found["pelvis"])[:, 0] for side in "lr"}
        hand = (found["hand_l"] - found["shoulder_l"])[:, 0]
        assert np.corrcoef(reach["l"], reach["r"])[0, 1] < -0.5
        assert np.corrcoef(reach["l"], hand)[0, 1] < -0.5
        assert np.corrcoef(reach["r"], hand)[0, 1] > 0.4


@pytest.mark.parametrize("name", ["walk", "walk_fast", "walk_backward", "run"])
def test_the_foot_on_the_ground_hardly_slides(name: str) -> None:
    for seed in range(4):
        _, found = moved(name, seed)
        steps = {side: np.diff(found[f"ankle_{side}"][:, 0]) for side in "lr"}
        lift = found["ankle_l"][:, 2] - found["ankle_r"][:, 2]
        left_is_down = lift[:-1] + lift[1:] < 0
        standing = np.where(left_is_down, steps["l"], steps["r"])
        pace = np.diff(found["pelvis"][:, 0]).mean()
        middle = np.median(standing) if name == "run" else standing.mean()  # a runner is often in the air
        assert abs(middle) < 0.25 * abs(pace)
        assert np.sign(pace) == (-1 if name == "walk_backward" else 1)


@pytest.mark.parametrize(
    ("name", "joint", "start", "end"),
    [
        ("raise_arms_sideways", "hand_l", (0.3, 0.5), (0.6, 1.3)),
        ("lower_arms_sideways", "hand_l", (0.6, 1.3), (0.3, 0.5)),
        ("raise_arms_forward", "hand_r", (0.3, 0.5), (0.7, 1.3)),
        ("lower_arms_forward", "hand_r", (0.7, 1.3), (0.3, 0.5)),
        ("bend_down", "head", (0.85, 1.0), (0.1, 0.65)),
        ("rise_from_bend", "head", (0.1, 0.65), (0.85, 1.0)),
        ("squat_down", "pelvis", (0.45, 0.55), (0.1, 0.4)),
        ("squat_up", "pelvis", (0.1, 0.4), (0.45, 0.55)),
        ("sit_down", "pelvis", (0.45, 0.55), (0.2, 0.35)),
        ("stand_up", "pelvis", (0.2, 0.35), (0.45, 0.55)),
        ("fall_forward", "head", (0.85, 1.0), (0.0, 0.25)),
        ("fall_backward", "head", (0.85, 1.0), (0.0, 0.25)),
        ("fall_sideways", "head", (0.85, 1.0), (0.0, 0.35)),
        ("get_up", "head", (0.0, 0.25), (0.85, 1.0)),
        ("lift", "hand_l", (0.0, 0.35), (0.45, 1.0)),
        ("put_down", "hand_l", (0.45, 1.0), (0.0, 0.35)),
    ],
)
def test_events_lead_from_one_posture_to_another(
    name: str, joint: str, start: tuple[float, float], end: tuple[float, float]
) -> None:
    for seed in range(5):
        height = moved(name, seed)[1][joint][:, 2]
        assert start[0] <= height[0] <= start[1]
        assert end[0] <= height[-1] <= end[1]


def test_falls_go_to_their_sides() -> None:
    for name, sign in (("fall_forward", 1), ("fall_backward", -1)):
        found = moved(name, 1)[1]
        assert sign * (found["head"] - found["pelvis"])[-1, 0] > 0.3
    found = moved("fall_sideways", 1)[1]
    assert abs((found["head"] - found["pelvis"])[-1, 1]) > 0.3


def test_arms_circle_both_ways() -> None:
    for name, sign in (("arm_circles_forward", 1), ("arm_circles_backward", -1)):
        found = moved(name, 2, 40)[1]
        arm = found["elbow_l"] - found["shoulder_l"]
        assert (sign * np.diff(np.unwrap(np.arctan2(arm[:, 0], arm[:, 2]))) > 0.2).all()  # up, then forward


def test_a_mirror_image_exchanges_left_and_right() -> None:
    pose = FIGURES["kick"].pose(Clock(np.random.default_rng(0), 12))
    one, other = joints(pose, BODY, 12), joints(mirrored(pose), BODY, 12)
    for name, point in one.items():
        twin = {"_l": name[:-1] + "r", "_r": name[:-1] + "l"}.get(name[-2:], name)
        np.testing.assert_allclose(other[twin], point * [1, -1, 1], atol=1e-12)


def test_half_of_each_event_is_in_the_clip() -> None:
    for seed in range(200):
        progress = Clock(np.random.default_rng(seed), 16).event(7, 18)
        assert progress[-1] - progress[0] > 0.49


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_in_the_frame(name: str) -> None:
    size, look = 112, Look(1, False, 0.2, 0.8, 0)
    for seed in range(6):
        clock = Clock(np.random.default_rng(seed), 16)
        figure = draw_figure(clock, FIGURES[name], size, look, follow=False)
        places = np.array(list(figure.ends.values()))  # (parts, 2, T)
        inside = (np.minimum(places.real, places.imag) >= 0) & (np.maximum(places.real, places.imag) < size)
        assert inside.mean() > 0.8
        assert inside[..., 8].mean() > 0.8


def test_bodies_are_one_unit_high() -> None:
    for seed in range(20):
        body = draw_body(np.random.default_rng(seed))
        assert body.thigh + body.shank + body.torso + body.neck + body.head == pytest.approx(1)

"""Generated clips: the flow agrees with the frames, and only the motion shows the class."""

from __future__ import annotations

import numpy as np
import pytest

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.clips import (
    CLASSES,
    DIFFICULTIES,
    Difficulty,
    generate_clip,
)

STILL = Difficulty(
    speed_px=(0, 0), growth=(0, 0), camera_px=0, noise_sigma=0, brightness=0, background_moves=0, occluders=0
)
CLEAN = Difficulty(noise_sigma=0, brightness=0, background_moves=1)


def eroded(mask: np.ndarray, by: int) -> np.ndarray:
    """(T, H, W) pixels whose square neighborhood lies in the mask; outside the frame counts as in it."""
    padded = np.pad(mask, ((0, 0), (by, by), (by, by)), constant_values=True)
    _, height, width = mask.shape
    shifts = [(dy, dx) for dy in range(2 * by + 1) for dx in range(2 * by + 1)]
    return np.asarray(np.all([padded[:, dy : dy + height, dx : dx + width] for dy, dx in shifts], axis=0))


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray | None:
    """Pixel centers at whole numbers; written pixel by pixel to be independent of the renderer."""
    height, width = image.shape[:2]
    left, top = int(np.floor(x)), int(np.floor(y))
    if not (0 <= left < width - 1 and 0 <= top < height - 1):
        return None
    fx, fy = x - left, y - top
    square = image[top : top + 2, left : left + 2].astype(float)
    weights = np.outer([1 - fy, fy], [1 - fx, fx])
    return np.asarray((weights[..., None] * square).sum((0, 1)))


def warp_error(frame: np.ndarray, after: np.ndarray, flow: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference, in gray levels, of `frame` and `after` fetched along the flow."""
    errors = []
    for y, x in np.argwhere(mask)[::2]:
        fetched = bilinear(after, x + flow[0, y, x], y + flow[1, y, x])
        if fetched is not None:
            errors.append(np.abs(fetched - frame[y, x]).mean())
    assert len(errors) > 20
    return float(np.mean(errors))


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("surface", ["patch", "background"])
def test_flow_leads_to_the_same_surface_in_the_next_frame(label: str, surface: str) -> None:
    right, wrong = [], []
    for seed in range(3):
        clip = generate_clip(label, seed, num_frames=6, difficulty=CLEAN)
        mask = eroded(clip.moving if surface == "patch" else ~clip.moving, 4)
        t = 2
        frame, after, flow = clip.frames[t], clip.frames[t + 1], clip.flow[t]
        right.append(warp_error(frame, after, flow, mask[t]))
        wrong.append(
            min(
                warp_error(frame, after, other, mask[t])
                for other in (
                    -flow,
                    flow[::-1],
                    flow + np.array([0.5, 0.0]).reshape(2, 1, 1),
                    flow - np.array([0.0, 0.5]).reshape(2, 1, 1),
                )
            )
        )
    assert np.mean(right) < 2.5
    assert np.mean(wrong) > 2 * np.mean(right)


@pytest.mark.parametrize("label", ["grow", "turn_clockwise", "turn_counterclockwise"])
def test_flow_turns_and_grows_about_the_center_that_is_drawn(label: str) -> None:
    # Fast enough to reveal an origin that is half a pixel off, as if corners were centers.
    fast = Difficulty((8, 8), (0.25, 0.25), camera_px=0, noise_sigma=0, brightness=0, background_moves=0)
    right, wrong = [], []
    for seed in range(6):
        clip = generate_clip(label, seed, num_frames=4, size=96, difficulty=fast)
        mask = eroded(clip.moving, 5)[1]
        rows, columns = np.gradient(clip.flow[1], axis=(1, 2))
        moved = clip.flow[1] + 0.5 * (rows + columns)
        right.append(warp_error(clip.frames[1], clip.frames[2], clip.flow[1], mask))
        wrong.append(warp_error(clip.frames[1], clip.frames[2], moved, mask))
    assert np.mean(right) < 2
    assert np.mean(wrong) > 2 * np.mean(right)


def test_whole_pixel_motion_is_a_shifted_image() -> None:
    still_scene = Difficulty((2, 2), camera_px=0, noise_sigma=0, brightness=0, background_moves=0)
    clip = generate_clip("right", 4, num_frames=7, difficulty=still_scene)
    patch, ground = eroded(clip.moving, 3), eroded(~clip.moving, 3)
    for t in range(5):
        both = patch[t][:, :-2] & patch[t + 1][:, 2:]
        assert both.sum() > 50
        np.testing.assert_array_equal(clip.frames[t][:, :-2][both], clip.frames[t + 1][:, 2:][both])
        both = ground[t] & ground[t + 1]
        np.testing.assert_array_equal(clip.frames[t][both], clip.frames[t + 1][both])
    np.testing.assert_allclose(clip.flow[:, 0][clip.moving], 2, atol=1e-5)
    np.testing.assert_allclose(clip.flow[:, 1][clip.moving], 0, atol=1e-5)
    np.testing.assert_array_equal(clip.flow.transpose(0, 2, 3, 1)[~clip.moving], 0)


def test_a_moving_background_has_one_flow_of_the_given_speed() -> None:
    panning = Difficulty((0, 0), camera_px=0, noise_sigma=0, brightness=0, background_moves=1)
    clip = generate_clip("up", 1, num_frames=3, difficulty=panning)
    u, v = clip.flow[0][:, 0, 0]
    assert 0.1 - 1e-6 <= np.hypot(u, v) <= 0.5 + 1e-6
    np.testing.assert_allclose(clip.flow[:, 0][~clip.moving], u, atol=1e-5)
    np.testing.assert_allclose(clip.flow[:, 1][~clip.moving], v, atol=1e-5)


def centroids(moving: np.ndarray) -> np.ndarray:
    return np.array([np.argwhere(mask).mean(0)[::-1] for mask in moving])


@pytest.mark.parametrize("seed", range(4))
def test_traveling_classes_go_where_they_say(seed: int) -> None:
    for label, (x, y) in {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}.items():
        clip = generate_clip(label, seed, num_frames=6)
        travel = np.diff(centroids(clip.moving)[[0, -1]], axis=0)[0] / 4
        assert travel @ (x, y) > 0.5
        assert abs(travel @ (y, x)) < 0.4
        patch = clip.flow.transpose(1, 0, 2, 3)[:, clip.moving].mean(1)
        ground = clip.flow.transpose(1, 0, 2, 3)[:, ~clip.moving].mean(1)
        assert (patch - ground) @ (x, y) > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_growing_and_shrinking_change_the_area(seed: int) -> None:
    grow, shrink = (generate_clip(label, seed).moving.sum((1, 2)) for label in ("grow", "shrink"))
    assert grow[-1] > 2.5 * grow[0]
    assert shrink[-1] < shrink[0] / 2.5


@pytest.mark.parametrize(("label", "sign"), [("turn_clockwise", 1), ("turn_counterclockwise", -1)])
@pytest.mark.parametrize("seed", range(4))
def test_turns_are_as_seen_on_the_screen(label: str, sign: int, seed: int) -> None:
    # Clockwise on a screen: what is right of the center goes down (v > 0), what is below goes left (u < 0).
    clip = generate_clip(label, seed, difficulty=CLEAN)
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    for moving, flow, (cx, cy) in zip(clip.moving, clip.flow, centroids(clip.moving), strict=True):
        du, dv = flow - flow[:, moving].mean(1)[:, None, None]
        assert sign * np.mean(((x - cx) * dv - (y - cy) * du)[moving]) > 0


@pytest.mark.parametrize("difficulty", list(DIFFICULTIES))
def test_the_middle_frame_is_the_same_for_all_classes(difficulty: str) -> None:
    for seed in range(3):
        clips = [generate_clip(label, seed, num_frames=5, difficulty=difficulty) for label in CLASSES]
        for clip in clips:
            np.testing.assert_array_equal(clip.frames[2], clips[0].frames[2])
            np.testing.assert_array_equal(clip.moving[2], clips[0].moving[2])
        assert len({clip.frames.tobytes() for clip in clips}) == len(CLASSES)


@pytest.mark.parametrize("label", CLASSES)
def test_speeds_are_alike_and_the_patch_stays_in_sight(label: str) -> None:
    for seed in range(8):
        clip = generate_clip(label, seed, difficulty=Difficulty(camera_px=0, background_moves=0))
        speed = np.hypot(clip.flow[:, 0], clip.flow[:, 1])[clip.moving].mean()
        assert 0.4 < speed < 2.1
        area = clip.moving.sum((1, 2))
        assert area.min() > 50
        assert area.max() < 0.6 * 64 * 64
        if label not in ("grow", "shrink"):
            assert area.min() > 0.6 * area.max()


def test_speed_scales_with_the_frame_and_long_clips_travel_no_further() -> None:
    exact = Difficulty((1, 1), camera_px=0, background_moves=0)
    for size, num_frames, expected in ((64, 16, 1.0), (32, 16, 0.5), (128, 5, 2.0), (64, 31, 0.5)):
        clip = generate_clip("left", 0, size=size, num_frames=num_frames, difficulty=exact)
        np.testing.assert_allclose(clip.flow[:, 0][clip.moving], -expected, atol=1e-5)


def test_same_arguments_same_clip() -> None:
    first, again = (generate_clip("grow", 11, difficulty="hard") for _ in range(2))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.flow, again.flow)
    np.testing.assert_array_equal(first.moving, again.moving)
    other = generate_clip("grow", 12, difficulty="hard")
    assert np.abs(first.frames.astype(int) - other.frames).mean() > 5


def test_shapes_and_types() -> None:
    for num_frames in (1, 2, 7):
        clip = generate_clip("down", 0, num_frames=num_frames, size=33)
        assert (clip.frames.shape, clip.frames.dtype.name) == ((num_frames, 33, 33, 3), "uint8")
        assert (clip.flow.shape, clip.flow.dtype.name) == ((num_frames - 1, 2, 33, 33), "float32")
        assert (clip.moving.shape, clip.moving.dtype.name) == ((num_frames - 1, 33, 33), "bool")
        assert clip.label == "down"


def test_noise_has_the_given_strength_and_differs_from_frame_to_frame() -> None:
    noisy = Difficulty((0, 0), (0, 0), camera_px=0, noise_sigma=0.02, brightness=0, background_moves=0)
    frames = generate_clip("grow", 0, difficulty=noisy).frames.astype(float)
    assert np.diff(frames, axis=0).std() == pytest.approx(0.02 * 255 * np.sqrt(2), rel=0.05)
    quiet = generate_clip("grow", 0, difficulty=STILL).frames
    assert (quiet == quiet[0]).all()


def test_brightness_changes_slowly_and_within_its_range() -> None:
    dimming = Difficulty((0, 0), (0, 0), camera_px=0, noise_sigma=0, brightness=0.1, background_moves=0)
    for seed in range(4):
        still = generate_clip("up", seed, difficulty=STILL).frames.astype(float).mean((1, 2, 3))
        gain = generate_clip("up", seed, difficulty=dimming).frames.mean((1, 2, 3)) / still
        assert 0.02 < np.ptp(gain) < 0.21
        assert np.abs(gain - 1).max() < 0.105
        assert np.abs(np.diff(gain)).max() < 0.045


def test_an_occluder_stands_in_front_and_stands_still() -> None:
    barred = Difficulty((2, 2), camera_px=0, noise_sigma=0, brightness=0, background_moves=1, occluders=1)
    clip = generate_clip("right", 3, difficulty=barred)
    bar = eroded((clip.flow == 0).all(1), 1)
    assert bar.sum((1, 2)).min() > 100
    assert (bar == bar[0]).all()
    assert not (bar & clip.moving).any()
    for t in range(len(bar) - 1):
        np.testing.assert_array_equal(clip.frames[t][bar[t]], clip.frames[t + 1][bar[t]])


def test_camera_shake_moves_all_surfaces_alike() -> None:
    shaking = Difficulty((0, 0), (0, 0), camera_px=0.5, noise_sigma=0, brightness=0, background_moves=0)
    flow = np.concatenate(
        [generate_clip("grow", s, num_frames=40, difficulty=shaking).flow for s in range(3)]
    )
    np.testing.assert_allclose(flow, np.broadcast_to(flow[:, :, :1, :1], flow.shape), atol=1e-5)
    assert flow[:, :, 0, 0].std() == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"label": "sideways"}, "sideways"),
        ({"seed": -1}, "-1"),
        ({"num_frames": 0}, "0"),
        ({"size": 8}, "8"),
        ({"difficulty": "brutal"}, "brutal"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], named: str) -> None:
    arguments: dict[str, object] = {"label": "up", "seed": 0} | change
    with pytest.raises(UsageError, match=named):
        generate_clip(**arguments)  # type: ignore[arg-type]

"""Scenes to learn motion from: exact flow, and the statistics of real video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.synthetic.scene import draw, exact_flow, still_visible
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.synthetic.staging import stage
from hidden_two_stream.synthetic.surfaces import WarpedSurface
from hidden_two_stream.synthetic.training_scenes import generate_scene, write_scenes

CLEAN = SceneStyle(
    calm=0,
    shadows=0,
    lights=0,
    flicker=0,
    motion_blur=0,
    coarse=0,
    noise_sigma=(0, 0),
    compressed=0,
    contrast=(0.1, 0.3),
)
STILL_CAMERA = replace(CLEAN, pan=0, zoom=0, roll=0, shake=0)


def on_surface(surface: WarpedSurface, moment: int, p: np.ndarray) -> np.ndarray:
    """q (..., 2) of places p (..., 2), in float64, from the formulas in the docstring of `WarpedSurface`."""
    placement, bending = surface.placement, surface.bending
    u = (p - placement.center[moment]) @ np.linalg.inv(placement.matrix[moment]).T
    q = u.copy()
    if bending is not None:
        for a, f, phase in zip(bending.amplitude, bending.frequency, bending.phase[:, moment], strict=True):
            q += a * np.sin(u @ f + phase)[..., None]
    return np.asarray(q)


def cover_at(surface: WarpedSurface, moment: int, p: np.ndarray) -> float:
    """Bilinear cover of a sprite at one place, texel by texel."""
    n = surface.texture.shape[-1]
    x, y = on_surface(surface, moment, p) * 2 + n / 2
    left, top = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for column, wx in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, wy in ((top, 1 - (y - top)), (top + 1, y - top)):
            if 0 <= column < n and 0 <= row < n:
                total += wx * wy * surface.texture[3, row, column]
    return total


def staged(
    seed: int, style: SceneStyle = CLEAN
) -> tuple[list[WarpedSurface], np.ndarray, np.ndarray, np.ndarray]:
    """Surfaces, front, flow and visibility of two frames of 96 x 112."""
    surfaces = stage(np.random.default_rng(seed), style, np.array([-0.5, 0.5]), 96, 112)
    _, front = draw(surfaces, range(2), 96, 112)
    flow = exact_flow(surfaces, front, range(2))
    return surfaces, front, flow, still_visible(surfaces, front, flow, range(2))


def test_the_flow_leads_to_the_same_point_of_the_surface() -> None:
    bent = 0
    for seed in range(8):
        surfaces, front, flow, _ = staged(seed, replace(CLEAN, bent=0.9, bend_speed_px=(2, 4)))
        places = np.stack(np.meshgrid(np.arange(112.0), np.arange(96.0)), axis=-1)
        later = places + flow[0].transpose(1, 2, 0)
        for number, surface in enumerate(surfaces):
            mask = front[0] == number
            before, after = (on_surface(surface, m, p[mask]) for m, p in ((0, places), (1, later)))
            if mask.any():
                assert np.abs(before - after).max() < 0.01
                bent += surface.bending is not None and mask.sum() > 100
    assert bent > 8


def test_the_frames_move_by_the_flow() -> None:
    """Colors fetched along the flow match the frame before; along another flow they don't."""
    style = replace(CLEAN, sprites=(2, 6), blurred=1, materials=(("fractal", 1), ("leaves", 1)))
    right: list[float] = []
    wrong: list[float] = []
    for seed in range(8):
        scene = generate_scene(seed, num_frames=3, height=96, width=96, style=style)
        images = torch.from_numpy(scene.frames).permute(0, 3, 1, 2).float()
        for flow, errors in ((scene.flow[0], right), (scene.flow[0] + 0.7, wrong), (-scene.flow[0], wrong)):
            places = np.stack(np.meshgrid(np.arange(96), np.arange(96))) + flow
            grid = torch.from_numpy((2 * places + 1) / 96 - 1).permute(1, 2, 0)[None].float()
            fetched = torch.nn.functional.grid_sample(images[1:2], grid, align_corners=False)[0]
            difference = (fetched - images[0]).abs().mean(0).numpy()
            errors.append(float(np.mean(difference[scene.visible[0]])))
    assert max(right) < 2
    assert np.mean(wrong) > 2 * np.mean(right)


def test_visibility_agrees_with_a_slow_check() -> None:
    rng = np.random.default_rng(0)
    hidden = outside = 0
    for seed in range(8):
        surfaces, front, flow, visible = staged(
            seed, replace(CLEAN, sprites=(4, 6), speed_px=(4, 12), carried=0)
        )
        gone = np.argwhere(~visible[0])
        chosen = np.concatenate([rng.integers(0, 96, (60, 2)), rng.permutation(gone)[:60]])
        for y, x in chosen:
            place = np.array([x, y]) + flow[0, :, y, x]
            if np.abs(place - np.clip(place, 0, [111, 95])).max() > 0:
                outside += 1
                assert not visible[0, y, x]
                continue
            covers = [cover_at(s, 1, place) for s in surfaces[1 + front[0, y, x] :]]
            if any(abs(cover - 0.5) < 0.02 for cover in covers):
                continue  # on an edge, float32 may decide either way
            hidden += max(covers, default=0) > 0.5
            assert visible[0, y, x] == (max(covers, default=0) <= 0.5)
    assert hidden > 100
    assert outside > 10


def test_a_panning_camera_gives_one_flow() -> None:
    style = replace(STILL_CAMERA, sprites=(0, 0), bent=0, swing=0, pan=1, pan_px=(3, 3))
    scene = generate_scene(5, num_frames=5, height=80, width=160, style=style)
    u, v = scene.flow[0, :, 0, 0]
    assert np.hypot(u, v) == pytest.approx(3 * 80 / 160, rel=1e-4)
    np.testing.assert_allclose(scene.flow[:, 0], u, atol=1e-4)
    np.testing.assert_allclose(scene.flow[:, 1], v, atol=1e-4)
    x, y = np.meshgrid(np.arange(160) + u, np.arange(80) + v)
    inside = (x >= 0) & (x <= 159) & (y >= 0) & (y <= 79)
    np.testing.assert_array_equal(scene.visible[0], inside)


def test_a_still_scene_has_no_flow() -> None:
    style = replace(STILL_CAMERA, carried=1, bent=0, figures=0)
    scene = generate_scene(3, num_frames=4, height=64, width=64, style=style)
    np.testing.assert_array_equal(scene.flow, 0)
    assert scene.visible.all()
    assert (scene.frames == scene.frames[:1]).all()


def test_motion_blur_keeps_the_flow_at_the_frames_time() -> None:
    pan = replace(STILL_CAMERA, sprites=(0, 0), bent=0, swing=0, pan=1, pan_px=(8, 8))
    style = replace(pan, motion_blur=1, shutter=(1, 1), materials=(("leaves", 1),), blurred=0)
    sharp = generate_scene(2, num_frames=3, style=replace(style, motion_blur=0))
    blurred = generate_scene(2, num_frames=3, style=style)
    np.testing.assert_allclose(blurred.flow, sharp.flow, atol=1e-4)
    energy = [np.abs(np.diff(s.frames.astype(float), axis=axis)).mean() for s in (sharp, blurred)
              for axis in (1, 2)]  # fmt: skip
    assert sum(energy[2:]) < 0.9 * sum(energy[:2])
    # Centered: the blurred image lies where the sharp one does, neither ahead nor behind.
    u, v = np.rint(sharp.flow[1, :, 0, 0] / 2).astype(int)
    ahead, here, behind = (
        np.abs(blurred.frames[1].astype(float) - np.roll(sharp.frames[1], (k * v, k * u), (0, 1)))
        [8:-8, 8:-8].mean() for k in (1, 0, -1)
    )  # fmt: skip
    assert here < min(ahead, behind)


def test_same_arguments_same_scene() -> None:
    first, again, other = (generate_scene(seed, num_frames=4, height=64, width=72) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.flow, again.flow)
    np.testing.assert_array_equal(first.visible, again.visible)
    assert np.abs(first.frames.astype(int) - other.frames).mean() > 3


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 32, 32), (2, 33, 47), (11, 48, 64)])
def test_shapes_and_types(num_frames: int, height: int, width: int) -> None:
    for style in (SceneStyle(), SceneStyle(compressed=1, mpeg4=1, motion_blur=1, coarse=1)):
        scene = generate_scene(1, num_frames=num_frames, height=height, width=width, style=style)
        assert (scene.frames.shape, scene.frames.dtype.name) == ((num_frames, height, width, 3), "uint8")
        assert (scene.flow.shape, scene.flow.dtype.name) == ((num_frames - 1, 2, height, width), "float32")
        assert (scene.visible.shape, scene.visible.dtype.name) == ((num_frames - 1, height, width), "bool")


def test_speeds_cover_their_range_and_most_are_moderate() -> None:
    sprites = []
    style = replace(STILL_CAMERA, figures=0, carried=0, bent=0, materials=(("plain", 1),))
    for seed in range(40):
        _, front, flow, _ = staged(seed, style)
        speed = np.hypot(flow[0, 0], flow[0, 1]) * 160 / 96
        sprites += [np.median(speed[front[0] == k]) for k in range(1, 7) if (front[0] == k).sum() > 30]
    parts = np.quantile(sprites, [0.1, 0.5, 0.8, 0.97])
    assert parts[0] < 0.4
    assert 0.4 < parts[1] < 2.5
    assert 2 < parts[2] < 6
    assert parts[3] > 6


def test_contrast_ranges_from_almost_none_to_strong() -> None:
    style = replace(CLEAN, contrast=SceneStyle.contrast, bent=0)
    spreads = []  # standard deviations, in gray levels, of blocks of 8 x 8 pixels
    for seed in range(14):
        frame = generate_scene(seed, num_frames=1, style=style).frames[0].mean(axis=-1)
        blocks = frame.reshape(20, 8, 20, 8).transpose(0, 2, 1, 3).reshape(400, 64)
        spreads.append(blocks.std(axis=1))
    assert (np.array(spreads) < 1.5).mean() > 0.15
    assert (np.array(spreads) > 8).mean() > 0.15
    assert sum(np.median(s) < 2 for s in spreads) >= 2


def test_compression_changes_the_pixels_only() -> None:
    for mpeg4 in (0, 1):
        plain, packed = (
            generate_scene(4, num_frames=6, height=64, width=64, style=SceneStyle(compressed=c, mpeg4=mpeg4))
            for c in (0, 1)
        )
        difference = np.abs(plain.frames.astype(int) - packed.frames)
        assert 0.3 < difference.mean() < 15
        np.testing.assert_array_equal(plain.flow, packed.flow)


def test_noise_has_the_given_strength() -> None:
    style = replace(STILL_CAMERA, sprites=(0, 0), bent=0, materials=(("plain", 1),), noise_sigma=(0.02, 0.02))
    scene = generate_scene(6, num_frames=5, height=64, width=64, style=style)
    sigma = np.diff(scene.frames.astype(float), axis=0).std() / np.sqrt(2) / 255
    assert 0.005 < sigma < 0.022


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"num_frames": 0}, {"height": 31}, {"width": 8}],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected"):
        generate_scene(**({"seed": 0} | arguments))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected"):
        write_scenes(tmp_path, 1, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "workers"), [(0, 0), (1, -1)])
def test_counts_out_of_range_are_refused(count: int, workers: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected"):
        write_scenes(tmp_path, count, workers=workers)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_clips_on_disk_are_the_scenes(tmp_path: Path, workers: int) -> None:
    seen = []
    folder = write_scenes(
        tmp_path / "new",
        5,
        3,
        workers,
        num_frames=3,
        height=32,
        width=40,
        ground_truth=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert folder == tmp_path / "new"
    assert seen[-1] == (5, 5)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("frames", "flow", "visible")}
    assert arrays["flow"].dtype == np.float16
    for number in range(5):
        scene = generate_scene(3 + number, num_frames=3, height=32, width=40)
        np.testing.assert_array_equal(arrays["frames"][number], scene.frames)
        np.testing.assert_array_equal(arrays["flow"][number], scene.flow.astype(np.float16))
        np.testing.assert_array_equal(arrays["visible"][number], scene.visible)


def test_without_ground_truth_there_are_only_frames(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, num_frames=2, height=32, width=32)
    assert [path.name for path in tmp_path.iterdir()] == ["frames.npy"]
    assert np.load(tmp_path / "frames.npy").shape == (1, 2, 32, 32, 3)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames.npy").mkdir()
    with pytest.raises(OutputError, match="expected a writable folder"):
        write_scenes(tmp_path, 1, num_frames=2, height=32, width=32)

"""Points and boxes followed through videos: exact motion, constant memory, and what is written."""

from __future__ import annotations

import csv
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import hidden_two_stream
from hidden_two_stream.errors import UsageError, VideoWarning
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.inference.track_export import (
    BOX_COLUMNS,
    POINT_COLUMNS,
    default_track_path,
    draw_track,
    export_track,
)
from hidden_two_stream.inference.tracker import TrackedFrame, track
from hidden_two_stream.synthetic.textures import two_color_texture
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.reader import read_video
from hidden_two_stream.video.writer import write_video

STEP = (2.0, -1.0)


def counted(num_frames: int, height: int = 40, width: int = 60) -> RawClip:
    """Frames of one gray level, which counts the frames."""
    levels = np.arange(num_frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3))


def by_count(frames: Tensor) -> list[Tensor]:
    """A network that knows which frame is later: `STEP` px per frame of `frames`, on half of their grid."""
    levels = frames.mean(dim=(2, 3, 4)) * 255
    steps = (levels[:, 1:] - levels[:, :-1]).round()
    height, width = frames.shape[-2:]
    flow = torch.tensor(STEP)[:, None, None].expand(2, height // 2, width // 2) / 2
    return [steps[..., None, None, None] * flow]


def estimator(num_frames: int = 0, side: int | None = None) -> MotionEstimator:
    return MotionEstimator(by_count, num_frames, torch.device("cpu"), short_side=side)


def places(frames: list[TrackedFrame]) -> np.ndarray:
    return np.stack([frame.points for frame in frames])


# -- motion ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [0, 2, 3, 11])
@pytest.mark.parametrize("length", [1, 2, 10, 11, 12, 23])
def test_every_step_is_counted_once(num_frames: int, length: int) -> None:
    """Whatever the number of frames that the network takes at once, and however the video ends."""
    found = list(track(estimator(num_frames), counted(length), points=[(3, 35), (5.5, 30.25)]))
    expected = np.array([(3, 35), (5.5, 30.25)]) + np.arange(length)[:, None, None] * STEP
    np.testing.assert_allclose(places(found), expected, atol=1e-5)
    assert [frame.index for frame in found] == list(range(length))
    assert [frame.pts_seconds for frame in found] == pytest.approx([index / 25 for index in range(length)])
    assert all(frame.visible.all() for frame in found)
    assert np.isnan(found[0].errors_px).all()
    assert all(np.allclose(frame.errors_px, 0, atol=1e-5) for frame in found[1:])


def test_places_are_in_pixels_of_the_video() -> None:
    """A network that sees frames of half the size knows half of the motion."""
    (_, moved) = track(estimator(side=20), counted(2), points=[(20, 20)])
    np.testing.assert_allclose(moved.points, [[24, 18]], atol=1e-5)


def test_a_box_moves_as_a_point_does() -> None:
    found = list(track(estimator(), counted(12), box=(2, 20, 11, 15)))
    for number, frame in enumerate(found):
        assert frame.box == pytest.approx((2 + 2 * number, 20 - number, 11, 15), abs=1e-4)
        assert (frame.points.shape, frame.visible.tolist()) == ((0, 2), [True])


def test_what_was_lost_stays_lost() -> None:
    """A point leaves the frame at its top; what follows is not computed."""
    calls = []

    def network(frames: Tensor) -> list[Tensor]:
        calls.append(len(frames))
        return by_count(frames)

    seen = MotionEstimator(network, 2, torch.device("cpu"))
    found = list(track(seen, counted(9), points=[(0, 2), (0, 4)]))
    assert [frame.visible.tolist() for frame in found] == [
        *([True, True],) * 3, *([False, True],) * 2, *([False, False],) * 4,
    ]  # fmt: skip
    assert np.isnan(found[4].points[0]).all()
    np.testing.assert_allclose(found[4].points[1], (8, 0), atol=1e-5)
    assert np.isnan(found[5].points).all()
    assert found[3].errors_px.tolist() == pytest.approx([0, 0], abs=1e-5)
    assert np.isnan(found[4].errors_px).tolist() == [True, False]
    assert np.isnan(found[6].errors_px).all()
    assert len(calls) == 2 * 5


def test_shipped_weights_follow_a_shifted_image() -> None:
    """Whole pixels of a texture, to within half a pixel after ten steps."""
    texture = two_color_texture(np.random.default_rng(0), 160, 160, finest_px=4.0, unit=1.0)
    image = (texture.transpose(1, 2, 0) * 255).astype(np.uint8)
    clip = np.stack([image[20 + t : 116 + t, 40 - 2 * t : 136 - 2 * t] for t in range(11)])
    points = [(30.0, 40.0), (50.0, 60.0), (20.0, 70.0)]
    nano = hidden_two_stream.motion_estimator("nano")
    *_, last = track(nano, clip, points=points)
    np.testing.assert_allclose(last.points, np.add(points, (20, -10)), atol=0.5)
    *_, last = track(nano, clip, box=(20, 30, 30, 40))
    assert last.box == pytest.approx((40, 20, 30, 40), abs=0.6)


def test_memory_does_not_grow_with_the_video() -> None:
    peaks = []
    for length in (30, 600):
        clip = np.broadcast_to(np.zeros((1, 200, 200, 3), np.uint8), (length, 200, 200, 3))
        tracemalloc.start()
        number = sum(1 for _ in track(estimator(side=16), clip, points=[(5, 5)]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert number == length
    assert peaks[1] < 1.1 * peaks[0] + 100_000


# -- doors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got 0 points and no box; expected points, or a box"),
        ({"points": [(1, 1)], "box": (1, 1, 2, 2)}, "got 1 points and a box"),
        (
            {"points": [(60, 5)]},
            "the point 60,5 lies outside the frame of 60 x 40 px; expected x from 0 to 59",
        ),
        ({"points": [(5, 5), (5, -1.0)]}, "the point 5,-1 lies outside"),
        ({"points": [(1, 2, 3)]}, "the point is 1,2,3; expected 2 finite numbers: x,y"),
        ({"points": [5]}, "the point is 5; expected 2 finite numbers"),
        ({"points": [("a", 2)]}, "the point is a,2; expected 2 finite numbers"),
        ({"points": [(True, 2)]}, "the point is True,2; expected"),
        ({"points": [(float("nan"), 2)]}, "the point is nan,2; expected"),
        ({"box": (1, 2, float("inf"), 4)}, "the box is 1,2,inf,4; expected 4 finite numbers: x,y,w,h"),
        ({"box": (1, 2, 3)}, "the box is 1,2,3; expected 4"),
        ({"box": (1, 2, 0, 4)}, "the box 1,2,0,4 has no area; expected w and h of at least 1 px"),
        ({"box": (1, 2, 5, -4)}, "the box 1,2,5,-4 has no area"),
        ({"box": (50, 2, 11, 4)}, "the box 50,2,11,4 reaches outside the frame of 60 x 40 px"),
        ({"points": [(1, 1)], "start_seconds": -0.1}, "start_seconds is -0.1; expected 0 or more"),
        ({"points": [(1, 1)], "start_seconds": float("nan")}, "start_seconds is nan; expected"),
        (
            {"points": [(1, 1)], "start_seconds": 0.4},
            "start_seconds is 0.4, but 'array' is over then; .* its last frame, 0.36 s",
        ),
        ({"points": [(1, 1)], "short_side": 8}, "short side is 8; expected at least 16"),
    ],
)
def test_wrong_arguments_are_named_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        track(estimator(), counted(10), **options)  # type: ignore[arg-type]


def test_numpy_numbers_are_numbers() -> None:
    for points in (np.array([[5, 6]]), np.array([[5, 6]], np.float32)):
        frame = next(track(estimator(), counted(2), points=points))
        assert frame.points.tolist() == [[5, 6]]
    assert next(track(estimator(), counted(2), box=tuple(np.array([5, 6, 7, 8])))).box == (5, 6, 7, 8)


@pytest.mark.parametrize(("start", "first"), [(0, 0), (0.05, 1), (0.08, 2), (0.37, 9)])
def test_the_start_is_the_frame_on_screen(start: float, first: int) -> None:
    found = list(track(estimator(), counted(10), points=[(9, 30)], start_seconds=start))
    assert [frame.index for frame in found] == list(range(first, 10))
    np.testing.assert_allclose(found[0].points, [[9, 30]])
    np.testing.assert_array_equal(found[0].image, counted(10)[first])


def test_what_is_wrong_with_a_video_is_a_warning(data_root: Path) -> None:
    path = data_root / "odd" / "corrupted.mp4"
    nano = hidden_two_stream.motion_estimator("nano")
    expected = "decoding stopped after 28 frames: damaged data"
    with pytest.warns(VideoWarning, match=f"^{re.escape(str(path))}: {expected}$"):
        assert len(list(track(nano, path, points=[(20, 20)], short_side=32))) == 28
    found: list[str] = []
    assert len(list(track(nano, path, points=[(20, 20)], short_side=32, on_warning=found.append))) == 28
    assert found == [expected]


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Nine frames of 40 x 60 px that count themselves, without loss."""
    path = tmp_path / "a clip.mp4"
    write_video(path, counted(9) * np.uint8(20), fps=12.5, crf=0)
    return path


def by_twenty(frames: Tensor) -> list[Tensor]:
    (flow,) = by_count(frames)
    return [flow / 20]


TWENTY = MotionEstimator(by_twenty, 0, torch.device("cpu"))


def test_rows_of_points(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = export_track(TWENTY, video, points=[(3, 35), (50, 30)], start_seconds=0.08)
    assert result.output == "a clip.track.csv" == str(default_track_path(str(video)))
    with open(result.output, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == POINT_COLUMNS
    assert len(rows) == 8 * 2
    assert rows[0] == ["1", "0.080000", "0", "3.000", "35.000", "1", ""]
    assert rows[3][:3] == ["2", "0.160000", "1"]
    assert [float(value) for value in rows[3][3:]] == pytest.approx([52, 29, 1, 0], abs=0.15)
    assert rows[-1] == ["8", "0.640000", "1", "", "", "0", ""]
    assert (result.num_frames, result.overlay, result.short_side) == (8, None, 40)
    assert result.lost_seconds == (None, pytest.approx(0.08 * 6))  # 50 + 2·5 is beyond 59.5
    assert list(result.to_dict()) == [
        "source", "output", "overlay", "num_frames", "short_side", "lost_seconds", "warnings",
    ]  # fmt: skip


def test_rows_of_a_box_and_the_overlay(video: Path, tmp_path: Path) -> None:
    out, overlay = tmp_path / "deep" / "box.csv", tmp_path / "other" / "box.mp4"
    result = export_track(TWENTY, video, out, overlay, box=(4, 20, 12, 10))
    with open(out, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == BOX_COLUMNS
    assert len(rows) == 9
    assert rows[0] == ["0", "0.000000", "4.000", "20.000", "12.000", "10.000", "1", ""]
    assert [float(value) for value in rows[8][2:6]] == pytest.approx([20, 12, 12, 10], abs=0.2)
    assert result.lost_seconds == (None,)
    clip, info = read_video(overlay)
    assert (info.num_frames, info.height, info.width, info.fps) == (9, 40, 60, 12.5)
    red = clip[..., 0].astype(int) - clip[..., 1]
    for frame, left in ((0, 4), (8, 20)):
        _, columns_seen = np.nonzero(red[frame] > 40)
        assert abs(columns_seen.min() - left) <= 1
        assert abs(columns_seen.max() - left - 11) <= 1


@pytest.mark.parametrize(
    ("out", "overlay", "message"),
    [
        ("a clip.mp4", None, "is the video itself; name another file"),
        ("x.csv", "a clip.mp4", "is the video itself"),
        ("x.mp4", None, "is named as a video; name a .csv"),
        ("x.csv", "x.txt", "cannot write the overlay .*; name a video such as track.mp4"),
    ],
)
def test_outputs_that_cannot_be(
    video: Path, tmp_path: Path, out: str, overlay: str | None, message: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        export_track(TWENTY, video, tmp_path / out, overlay and tmp_path / overlay, points=[(3, 3)])
    assert sorted(tmp_path.iterdir()) == before


def test_a_failure_leaves_no_files(video: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="lies outside"):
        export_track(TWENTY, video, tmp_path / "x.csv", tmp_path / "x.mp4", points=[(99, 3)])
    assert sorted(tmp_path.iterdir()) == before


def test_lost_points_are_not_drawn() -> None:
    image = np.zeros((20, 30, 3), np.uint8)

    def frame(points: list[tuple[float, float]], visible: list[bool]) -> TrackedFrame:
        return TrackedFrame(0, 0.0, np.array(points), None, np.array(visible), np.zeros(len(visible)), image)

    gone = (float("nan"), float("nan"))
    drawn = draw_track([frame([(5, 5), (20, 10)], [True, True]), frame([gone, (25, 10)], [False, True])])
    assert not drawn[:7].any()
    assert drawn[10, 20:29].any(axis=1).all()  # the path, and the cross
    assert not image.any()

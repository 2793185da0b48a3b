"""examples/tracking_error.py: paths are exact, and the table measures what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(example_script: Callable[[str], ModuleType]) -> ModuleType:
    return example_script("tracking_error")


@pytest.mark.parametrize("kind", ["motions-v1", "scenes"])
def test_exact_flow_leads_along_the_exact_paths(example: ModuleType, kind: str) -> None:
    clip = example.make_clip(kind, 3, 30)
    assert clip.frames.shape[0] == len(clip.places) == 21
    assert clip.visible[0].all()
    assert 0 < clip.foreground.sum() < len(clip.foreground)
    true = example.Errors()
    true.add(clip, (clip.forward, clip.backward))
    assert true.row()["median_px"] < 0.02
    still = example.Errors()
    still.add(clip, (0 * clip.forward, 0 * clip.backward))
    travelled = np.linalg.norm(clip.places[-1] - clip.places[0], axis=1)
    assert still.row()["at_20_median_px"] == pytest.approx(np.median(travelled[clip.visible[-1]]))
    assert (still.row()["kept"], still.row()["num_points"]) == (1, clip.visible[-1].sum())
    assert travelled.max() > 5


def test_a_drift_of_a_tenth_per_frame_is_two_pixels_at_20(example: ModuleType) -> None:
    clip = example.make_clip("motions-v1", 0, 20)
    drift = np.array([0.1, 0], np.float32)[:, None, None]
    found = example.Errors()
    found.add(clip, (clip.forward + drift, clip.backward - drift))
    row = found.row()
    assert row["at_20_median_px"] == pytest.approx(2.0, abs=0.1)
    assert row["at_20_interval_95_px"] == [row["at_20_median_px"]] * 2  # of a single clip


def test_a_failed_check_counts_where_the_point_is_hidden(example: ModuleType) -> None:
    clip = example.make_clip("motions-v1", 0, 20)
    hidden = clip.visible.copy()
    hidden[-1, :5] = False
    clip = dataclasses.replace(clip, visible=hidden)
    apart = np.full_like(clip.forward, 1.0)
    for flows, kept, noticed in (((apart, apart), 0, 1), ((apart, -apart), 1, 0)):
        found = example.Errors()
        found.add(dataclasses.replace(clip, places=0 * clip.places + 12.0), flows)
        assert (found.row()["kept"], found.row()["noticed"]) == (kept, noticed)


def test_points_lie_apart_from_other_surfaces(example: ModuleType) -> None:
    front = np.zeros((20, 30), np.uint8)
    front[5:9, 5:9] = 1  # its inner 2 x 2 pixels
    points = example.choose_points(np.random.default_rng(0), front, front == 1, 40)
    on_mover = points[front[points[:, 1], points[:, 0]] == 1]
    assert sorted(map(tuple, on_mover.tolist())) == [(6, 6), (6, 7), (7, 6), (7, 7)]
    others = points[4:]
    assert len(others) == 20
    for x, y in others:
        assert not front[y - 1 : y + 2, x - 1 : x + 2].any()


def test_the_table_is_printed(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--clips", "1", "--points", "4", "--networks", "nano", "--estimators", "dis-medium"]
    assert example.main(options) == 0
    text = capsys.readouterr().out
    assert "Machine: " in text
    assert "1 clips of 21 frames" in text
    for kind in ("motions-v1", "scenes"):
        rows = text.split(f"\n{kind}, ")[1].splitlines()[4:8]
        assert [row.split("|")[1].strip() for row in rows] == [
            "hidden (nano)", "dis-medium", "true flow", "still",
        ]  # fmt: skip


def test_wrong_numbers_are_named(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--clips", "0"]) == 2
    assert "expected at least 1 and 2" in capsys.readouterr().err

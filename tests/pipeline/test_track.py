"""`hts track`: a run or shipped weights, points or a box, a table and an overlay."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.video.reader import probe

Hts = Callable[..., tuple[int, str, str]]


@pytest.fixture
def video(small_data: Path) -> Path:
    """Six frames of 32 x 32 px."""
    return small_data.parent / "videos" / "right" / "test_0000.mp4"


def test_a_run_follows_points(hts: Hts, small_run: Path, video: Path, tmp_path: Path) -> None:
    out, overlay = tmp_path / "t.csv", tmp_path / "t.mp4"
    code, text, _ = hts(
        *("track", small_run, video, "--point", "15,16", "--point", "4.5,5", "-o", out),
        *("--overlay", overlay),
    )
    assert code == 0
    assert text.splitlines()[0] == f"{out}: 6 frames of {video}"
    assert text.splitlines()[1].startswith("  point 0: ")
    frames = list(hidden_two_stream.load(small_run).track(video, points=[(15, 16), (4.5, 5)]))
    expected = np.concatenate([frame.points for frame in frames])
    with open(out, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row[name] or "nan") for name in ("x", "y")] for row in rows])
    np.testing.assert_allclose(found, expected, atol=6e-4)
    assert probe(overlay).num_frames == 6


def test_shipped_weights_follow_a_box(hts: Hts, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    code, text, _ = hts(
        *("track", "--network", "nano", video, "--box", "8,8,16,16", "-o", out, "--json"),
        *("--start-seconds", 0.08),
    )
    assert code == 0
    found = json.loads(text)
    assert (found["num_frames"], found["overlay"], len(found["lost_seconds"])) == (4, None, 1)
    assert len(out.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to follow; give --point X,Y or --box X,Y,W,H"),
        (("--point", "3,3", "--box", "1,1,5,5"), "both --point and --box are given"),
        (("--point", "3"), "--point is '3'; expected 2 numbers: X,Y"),
        (("--point", "3,b"), "--point is '3,b'; expected 2 numbers: X,Y"),
        (("--point", "3,inf"), "the point is 3,inf; expected 2 finite numbers"),
        (("--point", "40,3"), "the point 40,3 lies outside the frame of 32 x 32 px"),
        (("--box", "1,2,3"), "--box is '1,2,3'; expected 4 numbers: X,Y,W,H"),
        (("--box", "1,2,0,3"), "the box 1,2,0,3 has no area"),
        (("--point", "3,3", "--start-seconds", "9"), "is over then; expected at most the time of its last"),
        (("--point", "3,3", "--overlay", "t.txt"), "name a video such as track.mp4"),
    ],
)
def test_wrong_targets_are_one_line(
    hts: Hts, video: Path, options: tuple[str, ...], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = hts("track", "--network", "nano", video, *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_two_networks_are_one_too_many(hts: Hts, small_run: Path, video: Path) -> None:
    code, _, err = hts("track", "--network", "nano", small_run, video, "--point", "3,3")
    assert (code, "leave one out" in err) == (2, True)

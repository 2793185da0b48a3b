"""The picture of an explanation, checked by its pixels."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.errors import OutputError
from hidden_two_stream.inference.explanation import ExplainedWindow, Explanation, OccludedStretch
from hidden_two_stream.reports.explanation import (
    explanation_image,
    explanation_names,
    heat_overlay,
    write_explanation,
)
from hidden_two_stream.types import Prediction


def explanation(num_windows: int = 1, streams: tuple[str, ...] = ("spatial", "temporal")) -> Explanation:
    """A gray clip; the temporal evidence of pair 2 is in the lower right corner, the flow to the right."""
    maps = {"spatial": np.zeros((1, 4, 4), np.float32), "temporal": np.zeros((4, 4, 4), np.float32)}
    maps["spatial"][0, 0, 0] = 2.0
    maps["temporal"][2, 3, 3] = 5.0
    flow = np.zeros((4, 2, 8, 8), np.float32)
    flow[:, 0] = 1.0
    scores = dict.fromkeys(("fused", *streams), 0.75)
    windows = tuple(
        ExplainedWindow(
            tuple(number + 0.04 * frame for frame in range(5)), number + 0.2,
            np.full((5, 32, 32, 3), 100, np.uint8), flow if "temporal" in streams else None,
            {name: maps[name] for name in streams}, scores,
        )
        for number in range(num_windows)
    )  # fmt: skip
    stretches = tuple(
        OccludedStretch(
            float(number), number + 1.0, scores, dict.fromkeys(scores, drop), dict.fromkeys(streams, drop), 1
        )
        for number, drop in enumerate((0.0, 0.5, 0.1, 0.0))
    )
    vector = np.array([0.75, 0.25], np.float32)
    prediction = Prediction("a/clip.mp4", ("left", "up"), vector, dict.fromkeys(streams, vector))
    return Explanation(prediction, "left", windows, stretches, (0, 0, 1, 1))


def reddest(tile: np.ndarray) -> tuple[int, int]:
    """Row and column of the pixel with most red over green."""
    red = tile[..., 0].astype(int) - tile[..., 1]
    row, column = np.unravel_index(red.argmax(), red.shape)
    return int(row), int(column)


def test_each_column_shows_what_its_title_says() -> None:
    image = explanation_image(explanation())
    tiles = [image[96 : 96 + 192, left : left + 192] for left in (178, 380, 582, 784)]
    assert (tiles[0] == 100).all()
    row, column = reddest(tiles[1])
    assert row < 48 and column < 48  # noqa: PT018
    assert (tiles[2] == (255, 0, 0)).all()  # 4 px of the clip to the right, the fastest
    row, column = reddest(tiles[3])
    assert row > 144 and column > 144  # noqa: PT018


def test_the_strongest_stretch_is_marked_and_its_drop_is_highest() -> None:
    image = explanation_image(explanation())
    chart = image[96 + 202 + 62 : 96 + 202 + 62 + 150, 178:-24]
    marked = np.flatnonzero((chart == (255, 244, 214)).all(axis=2).any(axis=0)) / chart.shape[1]
    assert marked.min() == pytest.approx(0.25, abs=0.02)
    assert marked.max() == pytest.approx(0.5, abs=0.02)
    black = (chart.max(axis=2) < 60).any(axis=1)
    assert black[:4].any()


@pytest.mark.parametrize(("number", "rows"), [(1, 1), (6, 6), (25, 6)])
def test_at_most_six_windows_are_drawn(number: int, rows: int) -> None:
    height = explanation_image(explanation(number)).shape[0]
    assert height == 96 + rows * 202 + 62 + 150 + 46


@pytest.mark.parametrize("stream", ["spatial", "temporal"])
def test_one_stream_alone_is_drawn(stream: str) -> None:
    image = explanation_image(explanation(streams=(stream,)))
    assert image.shape[1] == max(640, 178 + (2 if stream == "spatial" else 3) * 202 + 24)


def test_an_overlay_leaves_places_without_evidence_gray_and_keeps_the_grid() -> None:
    heat = np.zeros((2, 2), np.float32)
    heat[0, 1] = 1
    shown = heat_overlay(np.full((8, 8, 3), (200, 50, 50), np.uint8), heat)
    assert np.ptp(shown[7, 0]) == 0
    assert reddest(shown)[1] >= 6


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    found = explanation(2)
    picture, numbers = write_explanation(found, tmp_path, "clip")
    with av.open(str(picture)) as container:
        decoded = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(decoded, explanation_image(found))
    data = json.loads(numbers.read_text())
    assert data["strongest"] == 1
    assert data["windows"][1]["maps"]["temporal"][2][3] == [0, 0, 0, 5]
    with pytest.raises(OutputError, match="nowhere"):
        write_explanation(found, tmp_path / "nowhere", "clip")


def test_names_of_explanations_differ() -> None:
    names = explanation_names(["a/wave.mp4", "b/wave.mp4", "c/jump.mp4", "c/jump.avi"])
    assert len(set(names.values())) == 4
    assert explanation_names(["a/wave.mp4"]) == {"a/wave.mp4": "wave"}
    assert not any("/" in name for name in names.values())

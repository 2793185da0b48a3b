"""The timeline: a profile in constant memory, and the same picture as SVG and as PNG."""

from __future__ import annotations

import itertools
import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import numpy as np
import pytest

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.reports.timeline import ScoreProfile, check_timeline_path, timeline_svg, write_timeline
from hidden_two_stream.types import Segment

CLASSES = ("sit", "walk <fast>")


def piece(start: float, end: float, *scores: float) -> TimedScores:
    values = np.array(scores, np.float64)
    return TimedScores(start, end, np.zeros_like(values), values)


def test_a_profile_holds_the_means_of_its_bins() -> None:
    rng = np.random.default_rng(0)
    edges = np.concatenate([[0], np.cumsum(rng.uniform(0.01, 0.3, 3000))])
    values = rng.random((2, 3000))
    profile = ScoreProfile(2)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        profile.add(piece(float(start), float(end), *values[:, number]))
    assert profile.end_seconds == edges[-1]
    means = profile.means()
    assert 256 <= means.shape[1] <= 512
    times = (np.arange(int(edges[-1] * 1000)) + 0.5) / 1000
    dense = values[:, np.searchsorted(edges, times, side="right") - 1]
    for number in range(means.shape[1]):
        inside = (times >= number * profile.bin_seconds) & (times < (number + 1) * profile.bin_seconds)
        np.testing.assert_allclose(means[:, number], dense[:, inside].mean(axis=1), atol=0.01)


def test_its_memory_does_not_grow() -> None:
    profile = ScoreProfile(3)
    for number in range(600):
        profile.add(piece(number, number + 1, 1, 0, 0))
    tracemalloc.start()
    for number in range(600, 20_000):
        profile.add(piece(number, number + 1, 1, 0, 0))
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 100_000
    assert np.allclose(profile.means()[0], 1)


def example() -> tuple[ScoreProfile, list[Segment]]:
    profile = ScoreProfile(2)
    for number in range(100):
        walks = 40 <= number < 60
        profile.add(piece(number / 10, (number + 1) / 10, float(not walks), float(walks)))
    return profile, [Segment(4.0, 6.0, CLASSES[1], 0.9)]


def test_the_picture_shows_classes_and_segments() -> None:
    tree = ET.fromstring(timeline_svg(*example(), CLASSES, "a & b.mp4"))
    name = "{http://www.w3.org/2000/svg}"
    texts = [node.text for node in tree.iter(f"{name}text")]
    assert texts[0] == "a & b.mp4: 10.0 s"
    assert texts[1:3] == list(CLASSES)
    hints = [node.text for node in tree.iter(f"{name}title")]
    assert hints == ["walk <fast>: 4.00 to 6.00 s, score 0.90"]


def test_png_and_svg_show_the_same(tmp_path: Path) -> None:
    write_timeline(tmp_path / "line.png", *example(), CLASSES, "a")
    with av.open(str(tmp_path / "line.png")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    root = ET.fromstring(timeline_svg(*example(), CLASSES, "a"))
    assert image.shape[:2] == (int(root.get("height", "")), int(root.get("width", "")))
    bar = next(
        node for node in root.iter("{http://www.w3.org/2000/svg}polygon") if len(node) and node[0].text
    )
    corners = np.array([[float(v) for v in pair.split(",")] for pair in bar.get("points", "").split()])
    x, y = corners.mean(axis=0)
    assert tuple(image[round(y), round(x)]) == (208, 122, 31)
    assert f"rgb{(208, 122, 31)}" == bar.get("fill")
    assert tuple(image[2, 2]) == (255, 255, 255)


def test_many_classes_show_those_that_are_found() -> None:
    classes = tuple(f"class {number}" for number in range(100))
    profile = ScoreProfile(100)
    scores = np.full(100, 0.001)
    scores[70] = 0.9
    profile.add(piece(0, 5, *scores))
    svg = timeline_svg(profile, [Segment(0, 5, "class 99", 0.5)], classes, "a")
    assert ">class 70<" in svg
    assert ">class 99<" in svg
    assert "best 30 of 100 classes" in svg


def test_a_video_without_scores_has_a_picture(tmp_path: Path) -> None:
    write_timeline(tmp_path / "none.png", ScoreProfile(2), [], CLASSES, "é")
    assert (tmp_path / "none.png").stat().st_size > 100


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'line\.gif'; expected a name that ends in \.svg or \.png"):
        check_timeline_path(tmp_path / "line.gif")
    with pytest.raises(OutputError, match="no folder"):
        check_timeline_path(tmp_path / "nowhere" / "line.svg")

"""The plot of a comparison: well-formed, markers at their values, every label readable."""

from __future__ import annotations

import dataclasses
import itertools
import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.evaluation.comparison import ALONE, Comparison, MethodResult
from hidden_two_stream.reports.comparison_plot import comparison_svg, log_ticks

SVG = "{http://www.w3.org/2000/svg}"
METHODS: dict[str, tuple[str, float, float]] = {  # kind, accuracy, motion ms: as measured on two CPU cores
    "spatial": ("spatial", 0.62, 0.0),
    "nearest-frame": ("nearest", 0.34, 0.0),
    "nearest-motion": ("nearest", 0.81, 0.0),
    "frames": ("pixels", 0.74, 0.0),
    "difference": ("pixels", 0.75, 0.05),
    "tvl1": ("precomputed", 0.89, 2762.0),
    "dis-fast": ("precomputed", 0.87, 10.5),
    "dis-medium": ("precomputed", 0.88, 35.5),
    "farneback": ("precomputed", 0.85, 97.0),
    "hidden-frozen": ("hidden", 0.86, 12.0),
    "hidden-joint": ("hidden", 0.88, 12.0),
    "branched": ("hidden", 0.86, 0.0),
}


def comparison(*names: str, ms: float | None = None, **changed: Any) -> Comparison:
    count = 200
    methods = []
    for name in names:
        kind, accuracy, motion = METHODS.get(name, ("precomputed", 0.8, 5.0))
        right = np.tile(np.arange(count) < round(accuracy * count), (1, 1))
        fused = None if kind in ALONE else right
        shown: Any = kind
        methods.append(MethodResult(name, shown, right, fused, 1.5, motion if ms is None else ms, 2.0))
    found = Comparison(
        "my <data>", "subject", "center", (0,), ("a", "b"), ("walk", "run"), ("walk", "run") * 100,
        tuple(methods), "a machine", {},
    )  # fmt: skip
    return dataclasses.replace(found, **changed)


def parsed(found: Comparison) -> ET.Element:
    return ET.fromstring(comparison_svg(found))


def labels(root: ET.Element) -> dict[str, tuple[float, float, float, float]]:
    """Box of each label by its text: left, top, right, bottom, with letters of ordinary width."""
    found = {}
    for text in root.iter(f"{SVG}text"):
        kinds = (text.get("class") or "").split()
        if "name" in kinds:
            words = text.text or ""
            width = len(words) * (7.6 if "hidden" in kinds else 6.9)
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
            found[words] = (left, y - 10.0, left + width, y + 3.0)
    return found


def markers(root: ET.Element) -> dict[str, tuple[float, float]]:
    """Middle of each method's marker, by its title."""
    found = {}
    for shape in root.iter():
        title = shape.find(f"{SVG}title")
        if shape.get("class") == "marker" and title is not None:
            name = (title.text or "").split(":")[0]
            if shape.tag == f"{SVG}circle":
                found[name] = (float(shape.attrib["cx"]), float(shape.attrib["cy"]))
            else:
                x, y = shape.attrib["d"][1:].replace("h", "l").split("l")[0].split()
                square = "v" in shape.attrib["d"]
                diamond = shape.attrib["d"].count("l") > 1
                upright = -1 if name.startswith("nearest") else 1  # triangles that stand on their tip
                found[name] = (
                    float(x) + 5.5 * square,
                    float(y) + (5.5 if square else 7 if diamond else 6 * upright),
                )
    return found


def test_every_method_has_a_marker_and_a_label() -> None:
    root = parsed(comparison(*METHODS))
    assert set(labels(root)) == set(markers(root))
    assert len(labels(root)) == 12
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    for expected in (
        "200 test videos",
        "2 classes",
        "2 folds by subject",
        "protocol center",
        "Wilson",
        "a machine",
    ):
        assert expected in texts
    for ticked in ("5", "10", "100", "1,000", "60%", "90%"):
        assert f" {ticked} " in f" {texts} "
    assert root.find(f"{SVG}rect").attrib["fill"] == "#fff"  # type: ignore[union-attr]


def test_markers_stand_at_their_values() -> None:
    """Three methods fix the axes: equal ratios of time are equal distances, and so are equal points."""
    three = comparison("frames", "farneback", "hidden-joint").methods
    a, b, c = (
        dataclasses.replace(method, motion_ms=ms - 3.5)
        for method, ms in zip(three, (10, 100, 1000), strict=True)
    )
    found = markers(parsed(comparison("frames", methods=(a, b, c))))
    (x0, y0), (x1, y1), (x2, y2) = (found[m.title] for m in (a, b, c))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert x1 - x0 > 100
    assert (y0 - y1) / (y0 - y2) == pytest.approx((0.85 - 0.74) / (0.88 - 0.74), abs=0.01)
    assert y0 > y1 > y2


def test_whiskers_are_the_interval() -> None:
    """100 % of 200 videos: Wilson's lower end is 98.12 %; 0 %: the upper one is 1.88 %."""
    frames, hidden = comparison("frames", "hidden-joint").methods
    none, every = np.zeros((1, 200), np.bool_), np.ones((1, 200), np.bool_)
    root = parsed(
        comparison(
            "frames",
            methods=(dataclasses.replace(frames, fused=none), dataclasses.replace(hidden, fused=every)),
        )
    )
    paths = [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("class") == "whisker"]
    ends = [tuple(float(n) for n in d.split("M")[1].split(" ")[1].split("V")) for d in paths]
    scale = ends[0][1] - ends[1][0]  # from 0 % to 100 %
    assert (ends[0][1] - ends[0][0]) / scale == pytest.approx(0.0188, abs=5e-4)
    assert (ends[1][1] - ends[1][0]) / scale == pytest.approx(0.0188, abs=5e-4)


@pytest.mark.parametrize("ms", [None, 4.0])
def test_no_label_covers_another_or_a_marker(ms: float | None) -> None:
    """With times as measured, and all twelve methods at the same time."""
    root = parsed(comparison(*METHODS, ms=ms))
    boxes, spots = labels(root), markers(root)
    assert len(boxes) == 12
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{one} covers {other}"
    for (name, box), (other, (x, y)) in itertools.product(boxes.items(), spots.items()):
        outside = x + 5 <= box[0] or x - 5 >= box[2] or y + 5 <= box[1] or y - 5 >= box[3]
        assert outside, f"{name} covers the marker of {other}"
    for left, top, right, bottom in boxes.values():
        assert left >= 60
        assert right <= 880
        assert top >= 60
        assert bottom <= 480
    columns = sorted(x for x, _ in spots.values())
    assert all(b - a > 6 for a, b in itertools.pairwise(columns))


def test_legend_stays_inside_and_few_clips_are_named() -> None:
    root = parsed(comparison(*METHODS, clips=2))
    legend = [text for text in root.iter(f"{SVG}text") if text.get("y") == "56"]
    assert len(legend) == 5
    for text, after in itertools.pairwise(legend):
        assert float(after.attrib["x"]) > float(text.attrib["x"]) + 5.8 * len(text.text or "")
    assert float(legend[-1].attrib["x"]) + 6.3 * len(legend[-1].text or "") < 880
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "at most 2 training clips of each class" in texts


def test_hidden_methods_are_accented() -> None:
    root = parsed(comparison("tvl1", "hidden-joint"))
    fills = {shape.attrib["fill"] for shape in root.iter(f"{SVG}circle")}
    assert fills == {"#0f766e"}
    assert all(path.get("fill") != "#0f766e" for path in root.iter(f"{SVG}path"))


@pytest.mark.parametrize(
    "names", [["spatial"], ["tvl1"], ["a<b&c"], ["一个很长的名字的光流方法" * 4, "tvl1"]]
)
def test_odd_cases_are_well_formed(names: list[str]) -> None:
    root = parsed(comparison(*names))
    assert len(labels(root)) == len(names)
    ticks = [text.text for text in root.iter(f"{SVG}text") if text.get("y") == "498"]
    assert len(ticks) >= 2, "one value alone is no scale"
    for place in root.iter(f"{SVG}text"):
        assert all(math.isfinite(float(place.get(axis, "0"))) for axis in "xy")


def test_no_time_at_all_still_has_a_place() -> None:
    method = dataclasses.replace(
        comparison("tvl1").methods[0], decode_ms=0.0, motion_ms=0.0, recognition_ms=0.0
    )
    assert len(markers(parsed(comparison("tvl1", methods=(method,))))) == 1


def test_log_ticks() -> None:
    assert log_ticks(0.9, 60) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert log_ticks(2, 5) == pytest.approx([2, 5])
    assert log_ticks(0.05, 4000) == pytest.approx([0.1, 1, 10, 100, 1000])

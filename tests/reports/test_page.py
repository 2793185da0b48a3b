"""The report page: well-formed, without outside references, and its drawings show the data."""

from __future__ import annotations

import base64
import math
import os
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.reports.data import Curve, ExampleVideo, FlowStrip, ReportData, Timing
from hidden_two_stream.reports.page import render_report, write_report

from .pixels import decode, noise

CLASSES = ("jump & <run>", "wave", "Vögel füttern", "歩く人")
CONFUSION = np.array([[9, 0, 0, 0], [0, 8, 0, 1], [0, 0, 7, 2], [0, 1, 1, 7]])
VOID = {"meta", "img", "br", "link", "hr", "input"}


@pytest.fixture(scope="module")
def data() -> ReportData:
    return ReportData(
        title="Four <actions>",
        subtitle="learned & shown",
        headline=[("86.1%", "videos recognized", "31 of 36")],
        accuracy={"spatial": 0.639, "temporal": math.nan, "fused": 31 / 36},
        chance=0.25,
        protocol="uniform-10",
        num_test_videos=36,
        classes=CLASSES,
        confusion=CONFUSION,
        per_class={"spatial": [0.9, math.nan, 0.4, 0.4], "fused": [1.0, 0.889, 0.778, 0.777]},
        curves=[
            Curve("motion", "epe_px", range(4), [1.4, 0.9, math.nan, 0.31]),
            Curve("temporal", "accuracy", range(3), [0.25, 0.5, 0.75]),
            Curve("joint", "loss", range(3), [math.nan, math.inf, math.nan]),
        ],
        flow_strips=[
            FlowStrip(
                "clip <1>", noise(8, 8), noise(8, 8, 1), noise(8, 8, 2), noise(8, 8, 3), "0.31 px", "wave"
            )
        ],
        wheel=noise(20, 20),
        examples=[
            ExampleVideo("a.mp4", [noise(6, 9)] * 3, "wave", [("wave", 0.8)], {"spatial": ("wave", 0.4)}),
            ExampleVideo("b.mp4", [noise(6, 9)], "wave", [("歩く人", 0.7), ("wave", 0.3)]),
        ],
        timings=[Timing("nano", 4.0), Timing("DIS", 2.0), Timing("TV-L1", 208.0), Timing("RAFT", math.nan)],
        timings_protocol="ten fields of 64×64",
        seconds={"motion": 192.0, "spatial": 41.0},
        facts={"machine": "2 cores"},
        configuration={"model": {"name": "<nano>", "width": 32}},
        warnings=["x.avi cannot be read: <empty>"],
        folds=[
            {"fold": "subject 1", "videos": 4, "fused": 0.75},
            {"fold": "mean", "videos": 4, "fused": 0.75},
        ],
    )


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render_report(data)


class Walker(HTMLParser):
    """Keeps the stack of open elements and collects attributes; complains about a tag that does not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def walk(html: str) -> Walker:
    walker = Walker()
    walker.feed(html)
    walker.close()
    assert walker.open == []
    return walker


def content(html: str) -> str:
    """What is made from the data: the page without its style sheet and script."""
    return html[html.index("<body>") : html.index("<script>")]


def anchors(html: str) -> set[str]:
    return set(re.findall(r'<section id="(\w+)">', html))


def test_page_is_balanced_and_shows_text_as_text(page: str) -> None:
    shown = "".join(walk(page).text)
    for text in (*CLASSES, "Four <actions>", "learned & shown", "clip <1>", '"name": "<nano>"', "<empty>"):
        assert text in shown
        assert escape(text) in page
    assert "<run>" not in page
    assert "$" not in content(page)


def test_page_refers_to_nothing_outside(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert "url(" not in page
    for tag, name, value in walk(page).attributes:
        if name == "src":
            assert value is not None
            assert value.startswith("data:image/png;base64,"), tag
        if name == "href":
            assert value is not None
            assert value[1:] in anchors(page)


@pytest.mark.parametrize(
    ("anchor", "without"),
    [
        ("accuracy", {"accuracy": {}}),
        ("motion", {"flow_strips": []}),
        ("examples", {"examples": []}),
        ("confusion", {"confusion": None}),
        ("confusion", {"confusion": np.zeros((4, 4), int)}),
        ("classes", {"per_class": {}}),
        ("folds", {"folds": None}),
        ("training", {"curves": []}),
        ("speed", {"timings": []}),
        ("time", {"seconds": {}}),
        ("run", {"facts": {}, "configuration": {}}),
    ],
)
def test_section_without_data_is_left_out(
    data: ReportData, page: str, anchor: str, without: dict[str, Any]
) -> None:
    less = render_report(replace(data, **without))
    walk(less)
    assert anchors(page) - anchors(less) == {anchor}
    assert f'href="#{anchor}"' not in less


def test_report_of_a_title_alone(tmp_path: Path) -> None:
    html = write_report(tmp_path / "report.html", ReportData("Nothing yet")).read_text(encoding="utf-8")
    assert anchors(html) == set()
    assert "<h1>Nothing yet</h1>" in html
    walk(html)
    for mark in ("<nav>", '<div class="cards">', '<div class="warnings">', "<img"):
        assert mark not in html


def test_numbers_that_are_missing_are_dashes(page: str) -> None:
    assert not re.search(r"\b(nan|NaN|inf|None)\b", content(page))
    assert "No finite values to draw." in page
    assert page.count('<div class="value">–</div>') == 2  # the temporal accuracy and the time of RAFT


def test_write_makes_folders_and_replaces_an_older_report(
    tmp_path: Path, data: ReportData, page: str
) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(path, ReportData("older")) == path
    write_report(path, data)
    assert path.read_bytes() == page.encode()
    assert os.listdir(path.parent) == ["report.html"]


def test_failing_write_leaves_things_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("older", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"No space left.*choose another path"):
        write_report(path, ReportData("new"))
    assert os.listdir(tmp_path) == ["report.html"]
    assert path.read_text(encoding="utf-8") == "older"


def test_path_that_is_a_folder_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "folder", tmp_path / "file" / "report.html"):
        with pytest.raises(OutputError, match="cannot write"):
            write_report(path, ReportData("new"))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_file_name_that_is_no_text_does_not_cost_the_report(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", ReportData("t", warnings=["bad\udcffname.avi"]))
    assert r"bad\udcffname.avi" in path.read_text(encoding="utf-8")


def test_images_of_the_page_keep_their_pixels(data: ReportData, page: str) -> None:
    strip = data.flow_strips[0]
    assert strip.truth is not None
    uris = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    found = [decode(base64.b64decode(uri, validate=True)) for uri in uris]
    assert data.wheel is not None
    expected = [data.wheel, strip.frame, strip.next_frame, strip.flow, strip.truth]
    expected += [pixels for sample in data.examples for pixels in sample.thumbnails]
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_data_that_does_not_fit_together_is_rejected() -> None:
    with pytest.raises(UsageError, match="motion/loss has 3 steps and 2 values"):
        Curve("motion", "loss", [1, 2, 3], [0.5, 0.4])
    with pytest.raises(UsageError, match=r"shape \(4, 4\); expected \(2, 2\)"):
        ReportData("t", classes=["a", "b"], confusion=CONFUSION)
    with pytest.raises(UsageError, match="'fused' has 3 values; expected 2"):
        ReportData("t", classes=["a", "b"], per_class={"fused": [1, 1, 1]})


def test_accuracy_interval_is_wilsons(data: ReportData) -> None:
    html = render_report(replace(data, accuracy={"fused": 31 / 36}))
    ends = re.findall(r'class="whisker" x1="([\d.]+)%" x2="([\d.]+)%"', html)[0]
    for end in ends:  # at both ends the observed share is 1.96 standard errors away
        share = float(end) / 100
        assert abs(31 / 36 - share) == pytest.approx(1.96 * math.sqrt(share * (1 - share) / 36), rel=1e-3)
    assert 'class="whisker"' not in render_report(replace(data, num_test_videos=0))


def test_confusion_cells_hold_their_counts(page: str) -> None:
    matrix = re.findall(r'<svg class="matrix".*?</svg>', page, re.DOTALL)[0]
    cells = re.findall(r'<text class="n(?: on)?" x="([\d.]+)" y="([\d.]+)">(\d+)</text>', matrix)
    columns = sorted({float(x) for x, _, _ in cells})
    rows = sorted({float(y) for _, y, _ in cells})
    found = np.zeros_like(CONFUSION)
    for x, y, count in cells:
        found[rows.index(float(y)), columns.index(float(x))] = int(count)
    np.testing.assert_array_equal(found, CONFUSION)
    assert "2 of 9 “Vögel füttern” predicted as “歩く人”" in matrix
    mistakes = page[page.index("Most frequent mistakes") :]
    assert mistakes.index("Vögel füttern") < mistakes.index("2 of 9") < mistakes.index("1 of 9")


def test_a_hundred_classes_are_a_heat_map_of_modest_size() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.poisson(0.1, (101, 101)) + 20 * np.eye(101, dtype=int)
    names = [f"class {index}" for index in range(101)]
    html = render_report(
        ReportData("t", classes=names, confusion=matrix, per_class={"fused": rng.random(101).tolist()})
    )
    svg = re.findall(r'<svg class="matrix".*?</svg>', html, re.DOTALL)[0]
    assert svg.count("<title>") == np.count_nonzero(matrix)
    assert 'class="n' not in svg
    assert len(html) < 1_000_000
    walk(html)


def test_hardest_class_comes_first(page: str) -> None:
    rows = re.findall(r'class="class-row" title="([^"]+)"', page)
    assert [row.split(":")[0] for row in rows] == [escape(CLASSES[index]) for index in (3, 2, 1, 0)]
    assert rows[2] == "wave: spatial –, fused 88.9%"


def test_timings_are_compared_with_the_first(data: ReportData, page: str) -> None:
    assert "2.0× faster" in page
    assert "52× slower" in page
    widths = [
        float(width)
        for width in re.findall(r'class="fill" width="([\d.]+)%"', page[page.index('id="speed"') :])
    ]
    # 2 to 208 ms: on the logarithmic axis equal ratios are equal lengths.
    assert (widths[2] - widths[1]) / (widths[0] - widths[1]) == pytest.approx(
        math.log(104) / math.log(2), rel=1e-2
    )
    assert ">100 ms</text>" in page
    near = render_report(replace(data, timings=[Timing("a", 10.0), Timing("b", 40.0)], seconds={}))
    assert re.findall(r'class="fill" width="([\d.]+)%"', near[near.index('id="speed"') :]) == ["25", "100"]
    assert ">100 ms</text>" not in near

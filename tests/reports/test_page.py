"""The report: one well-formed page without outside references, and drawings that say what the data say."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.reports.charts import compact, duration, line_chart, percent, ticks
from hidden_two_stream.reports.data import Curve, ExampleVideo, FlowStrip, ReportData, Timing
from hidden_two_stream.reports.images import color_wheel_image, image_tag, png_bytes
from hidden_two_stream.reports.page import render_report, write_report

CLASSES = ("jump & <run>", "wave", "Vögel füttern", "歩く人")
CONFUSION = np.array([[9, 0, 0, 0], [0, 8, 0, 1], [0, 0, 7, 2], [0, 1, 1, 7]])
VOID = {"meta", "img", "br", "link", "hr", "input"}


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


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


def test_color_wheel_has_the_documented_colors() -> None:
    """White in the center and outside; red right, yellow down, cyan left, violet up."""
    wheel = color_wheel_image(65).astype(int)
    assert (wheel[32, 32] == 255).all()
    assert (wheel[[0, 0, 64, 64], [0, 64, 0, 64]] == 255).all()
    right, down, left, up = wheel[32, 60], wheel[60, 32], wheel[32, 4], wheel[4, 32]
    assert right[0] == 255
    assert max(right[1:]) < 60
    assert min(down[:2]) > 200
    assert down[2] < 60
    assert left[0] < 60
    assert min(left[1:]) > 200
    assert up[2] > up[0] > up[1]


def decode(png: bytes) -> npt.NDArray[np.uint8]:
    """Independent of our writer: FFmpeg's PNG decoder."""
    with av.open(io.BytesIO(png), mode="r") as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "rgb24"
        return frame.to_ndarray().astype(np.uint8, casting="no")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (13, 1), (7, 5), (64, 64), (33, 130)])
def test_png_keeps_every_pixel(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    smooth = np.stack([rows * 3, columns * 2, rows + columns], axis=2).astype(np.uint8)
    for pixels in (noise(*shape), smooth, np.full((*shape, 3), 255, np.uint8)):
        np.testing.assert_array_equal(decode(png_bytes(pixels)), pixels)


def test_a_smooth_image_is_compressed_well() -> None:
    rows, columns = np.indices((200, 200))
    smooth = np.stack([rows, columns, (rows + columns) // 2], axis=2).astype(np.uint8)
    assert len(png_bytes(smooth)) < smooth.size / 50


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


def test_a_large_image_is_averaged_and_a_small_one_keeps_its_pixels() -> None:
    large = np.kron(noise(24, 32), np.ones((20, 20, 1), np.uint8))  # 480×640: blocks of 20 survive halving
    html = image_tag(large, "a & b", target_side=320)
    assert 'width="320" height="240" alt="a &amp; b"' in html
    assert 'class="px"' not in html
    uri = re.findall(r"base64,([^\"]+)", html)[0]
    np.testing.assert_array_equal(decode(base64.b64decode(uri)), large[::2, ::2])
    assert 'class="px"' in image_tag(noise(64, 64), "")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), [[0, 0, 0]]]
)
def test_an_array_that_is_no_image_is_rejected(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"as an image; expected a \(H, W, 3\) uint8"):
        image_tag(wrong, "")


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


def points(path: str) -> npt.NDArray[np.float64]:
    return np.array([[float(number) for number in pair.split()] for pair in re.split("[ML]", path)[1:]])


def paths(html: str, kind: str) -> list[str]:
    return re.findall(rf'<path class="{kind}" d="([^"]+)"', html)


def test_curve_is_drawn_to_scale_with_gaps() -> None:
    html = line_chart([(range(0, 50, 10), [1.0, 2.0, math.nan, 4.0, 5.0])], "fused")
    (line,) = paths(html, "line")
    assert line.count("M") == 2
    x, y = points(line).T
    np.testing.assert_allclose(np.diff(x) / (x[-1] - x[0]), [0.25, 0.5, 0.25], atol=1e-3)
    np.testing.assert_allclose(-np.diff(y) / (y[0] - y[-1]), [0.25, 0.5, 0.25], atol=1e-2)
    assert paths(html, "raw") == []


def test_lone_values_stay_visible() -> None:
    assert len(points(paths(line_chart([([7], [0.5])], "fused"), "line")[0])) == 2
    assert "<path" in line_chart([(range(3), [3.0, 3.0, 3.0])], "fused")


def test_long_noisy_curve_is_smoothed_over_its_raw_values() -> None:
    steps = np.arange(20_000)
    values = np.exp(-steps / 4000) + np.random.default_rng(0).normal(0, 0.2, len(steps))
    html = line_chart([(steps.tolist(), values.tolist())], "fused")
    (line,), (raw,) = paths(html, "line"), paths(html, "raw")
    assert np.ptp(np.diff(points(line)[:, 1])) < 0.1 * np.ptp(np.diff(points(raw)[:, 1]))
    y0, y1 = (float(number) for number in re.findall(r'data-domain="([^"]+)"', html)[0].split()[2:])
    top, bottom = (float(number) for number in re.findall(r'data-box="([^"]+)"', html)[0].split()[2:])
    x, y = points(line).T
    drawn = y0 + (bottom - y) / (bottom - top) * (y1 - y0)
    truth = np.exp(-np.linspace(0, 5, 101))
    np.testing.assert_allclose(np.interp(np.linspace(x[0], x[-1], 101), x, drawn), truth, atol=0.1)
    assert len(html) < 20_000


def test_learning_rate_schedule_is_not_smoothed() -> None:
    values = [3.2e-5 * 0.5 ** (step // 100) for step in range(400)]
    assert paths(line_chart([(range(400), values)], "fused"), "raw") == []


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-3.1, 7.2) == pytest.approx([-2, 0, 2, 4, 6])
    assert ticks(0, 3.4e-5) == pytest.approx([0, 5e-6, 1e-5, 1.5e-5, 2e-5, 2.5e-5, 3e-5])


def test_numbers_as_text() -> None:
    numbers = [0.0, 0.3149, 2.5, 1234.6, 3.2e-5, 5e-4, 1.5e6, -0.25, math.nan]
    assert [compact(number) for number in numbers] == [
        *("0", "0.315", "2.5", "1,235", "3.2e-5", "5e-4", "1.5e6", "-0.25", "–")
    ]
    assert [duration(seconds) for seconds in (4.21, 59.97, 192, 7500, math.nan)] == [
        *("4.2 s", "1 min 00 s", "3 min 12 s", "2 h 05 min", "–")
    ]
    assert [percent(share) for share in (0.8607, 1, math.nan)] == ["86.1%", "100.0%", "–"]

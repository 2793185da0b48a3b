"""Charts of a report: line charts to scale, round ticks, and numbers as text."""

from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt
import pytest

from hidden_two_stream.reports.charts import compact, duration, line_chart, percent, ticks


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

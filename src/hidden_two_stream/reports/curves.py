"""Training curves of the report: small line charts as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from hidden_two_stream.reports.charts import colour_of, compact, percent
from hidden_two_stream.reports.data import Curve

__all__ = ["curve_chart", "curves", "ticks"]

_STAGES = {
    "motion": "Motion: learning how pictures move, without labels",
    "spatial": "Spatial stream: learning to recognise from single frames",
    "temporal": "Temporal stream: learning to recognise from motion",
    "joint": "Joint: fine-tuning motion and recognition together",
}

_QUANTITIES = {"epe_px": "end-point error, px", "ssim": "structural similarity"}

_Values = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 340.0, 190.0
_BOX = (44.0, 332.0, 10.0, 164.0)  # left, right, top, bottom of the area that curves are drawn in
_MOST_POINTS = 200


def curves(listed: Sequence[Curve]) -> str:
    """A small chart per stage and quantity, grouped by stage."""
    stages: dict[str, dict[str, list[Curve]]] = {}
    for curve in listed:
        if len(curve.values):
            stages.setdefault(curve.stage, {}).setdefault(curve.name, []).append(curve)
    parts = []
    for stage, quantities in stages.items():
        charts = "".join(_chart(stage, name, lines) for name, lines in quantities.items())
        parts.append(
            f'<h3 class="stage">{escape(_STAGES.get(stage, stage))}</h3><div class="charts">{charts}</div>'
        )
    return "".join(parts)


def _chart(stage: str, name: str, lines: Sequence[Curve]) -> str:
    as_percent = "accuracy" in name
    title = _QUANTITIES.get(name, name.replace("_", " "))
    finite = [value for value in lines[-1].values if math.isfinite(value)]
    last = (
        f'<span class="small">last {percent(finite[-1]) if as_percent else compact(finite[-1])}</span>'
        if finite
        else ""
    )
    drawn = curve_chart([(line.steps, line.values) for line in lines], colour_of(stage), as_percent)
    return f'<div class="card"><div class="head"><h3>{escape(title)}</h3>{last}</div>{drawn}</div>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high], roughly `about` of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda near: abs(math.log(near / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def curve_chart(
    lines: Sequence[tuple[Sequence[int], Sequence[float]]], colour: str, as_percent: bool = False
) -> str:
    """A line chart with axes. Long noisy lines are drawn faintly, with a smoothed line over them.

    Args:
        lines: (steps, values) of each line. A value that is not finite leaves a gap.
        colour: a CSS variable name.
        as_percent: values are fractions: the axis goes from 0 to 100 %.
    """
    drawn = [_prepare(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in lines]
    shown = np.concatenate([line[1] for line in drawn] + [_central(line[2][1]) for line in drawn if line[2]])
    shown = shown[np.isfinite(shown)]
    steps = np.concatenate([line[0] for line in drawn])
    if shown.size == 0:
        return '<p class="small">No finite values to draw.</p>'
    x0, x1 = _widen(float(steps.min()), float(steps.max()), 0.0)
    y0, y1 = (0.0, 1.0) if as_percent else _widen(float(shown.min()), float(shown.max()), 0.05)
    left, right, top, bottom = _BOX
    parts = []
    for tick in ticks(y0, y1):
        y = bottom - (tick - y0) / (y1 - y0) * (bottom - top)
        parts.append(f'<line class="rule" x1="{left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = percent(tick, 0) if as_percent else compact(tick)
        parts.append(f'<text class="y" x="{left - 6:g}" y="{y + 4:.1f}">{text}</text>')
    for tick in ticks(x0, x1):
        x = left + (tick - x0) / (x1 - x0) * (right - left)
        text = f"{tick / 1000:g}k" if abs(tick) >= 1000 else f"{tick:g}"
        end = ' style="text-anchor:end"' if x > right - 8 else ""  # else half of it lies outside
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 16:g}"{end}>{text}</text>')
    parts.append(f'<line class="base" x1="{left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    for main_x, main_y, raw in drawn:
        if raw:
            parts.append(f'<path class="raw" d="{_path(*raw, (x0, x1, y0, y1))}"/>')
        parts.append(f'<path class="line" d="{_path(main_x, main_y, (x0, x1, y0, y1))}"/>')
    domain = (
        f'data-domain="{x0:.9g} {x1:.9g} {y0:.9g} {y1:.9g}" data-box="{left:g} {right:g} {top:g} {bottom:g}"'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" {domain}'
        f' style="--c:var(--{colour})"{" data-percent=1" if as_percent else ""}>{"".join(parts)}'
        '<circle class="at" r="4" style="display:none"/></svg>'
    )


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        room = 0.5 * abs(low) or 0.5
        return low - room, high + room
    return low - share * (high - low), high + share * (high - low)


def _central(values: _Values) -> _Values:
    """Nearly all of the raw values: a single wild step shall not flatten the rest of the chart."""
    finite = values[np.isfinite(values)]
    return np.quantile(finite, [0.02, 0.98]) if finite.size > 20 else finite


def _prepare(steps: _Values, values: _Values) -> tuple[_Values, _Values, tuple[_Values, _Values] | None]:
    """Steps and values of the main line, and of the faint raw line under it where the values are noisy."""
    values = np.where(np.isfinite(values), values, np.nan)
    finite = values[np.isfinite(values)]
    raw = (steps, values)
    if len(steps) > 2 * _MOST_POINTS:
        steps, values, raw = _buckets(steps, values)
    # A schedule or a steady descent travels about its own range; noise travels it many times over.
    noisy = finite.size >= 40 and np.abs(np.diff(finite)).sum() > 4 * np.ptp(finite)
    return (steps, _smooth(values), raw) if noisy else (steps, values, None)


def _buckets(steps: _Values, values: _Values) -> tuple[_Values, _Values, tuple[_Values, _Values]]:
    """Means, and the extremes, of `_MOST_POINTS` neighbourhoods: the file stays small, no spike is lost."""
    mean_x: list[float] = []
    means: list[float] = []
    raw_x: list[float] = []
    raw: list[float] = []
    for part in np.array_split(np.arange(len(steps)), _MOST_POINTS):
        finite = part[np.isfinite(values[part])]
        mean_x.append(float(steps[part].mean()))
        means.append(float(values[finite].mean()) if finite.size else math.nan)
        ends = (
            sorted((finite[values[finite].argmin()], finite[values[finite].argmax()]))
            if finite.size
            else part[:1]
        )
        raw_x.extend(steps[ends])
        raw.extend(values[ends])
    mean_x[0], mean_x[-1] = float(steps[0]), float(steps[-1])
    return np.array(mean_x), np.array(means), (np.array(raw_x), np.array(raw))


def _smooth(values: _Values) -> _Values:
    """Gaussian average over about a thirtieth of the line; gaps stay gaps and weigh nothing."""
    sigma = max(len(values) / 50, 1.5)
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), kernel)[reach:-reach]
    weight = np.convolve(known.astype(np.float64), kernel)[reach:-reach]
    return np.where(known, total / np.maximum(weight, 1e-12), np.nan)


def _path(steps: _Values, values: _Values, domain: tuple[float, float, float, float]) -> str:
    x0, x1, y0, y1 = domain
    left, right, top, bottom = _BOX
    x = left + (steps - x0) / (x1 - x0) * (right - left)
    y = np.clip(bottom - (values - y0) / (y1 - y0) * (bottom - top), top - 8, bottom)
    parts, pen = [], "M"
    for index in range(len(x)):
        if not math.isfinite(y[index]):
            pen = "M"
            continue
        parts.append(f"{pen}{x[index]:.1f} {y[index]:.1f}")
        alone = index + 1 == len(x) or not math.isfinite(y[index + 1])
        if pen == "M" and alone:  # a path of one point is invisible; a line of no length shows its round cap
            parts.append(f"L{x[index]:.1f} {y[index]:.1f}")
        pen = "L"
    return "".join(parts)

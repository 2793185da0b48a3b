"""Charts as inline SVG and HTML: bars, dots, confusion matrices, line charts, and the numbers beside them.

Colors are CSS variables of `report.html`, so charts follow the light or dark theme of the reader. Bars and
dots are positioned in percent of the width, so the text beside them keeps its size on a phone.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

__all__ = [
    "axis",
    "bar",
    "bar_row",
    "class_dots",
    "color_of",
    "compact",
    "confusion_chart",
    "duration",
    "line_chart",
    "percent",
    "text_width",
    "ticks",
]

_MAX_LABELED_CLASSES = 25
_MAX_POINTS = 200  # of a line; longer lines are averaged

_COLORS = {
    "spatial": "spatial",
    "temporal": "temporal",
    "fused": "fused",
    "motion": "temporal",
    "joint": "fused",
}

_LINE_CHART_SIZE = (340, 190)
_LINE_CHART_BOX = (44.0, 332.0, 10.0, 164.0)  # left, right, top, bottom of the area that holds the lines

_Values = npt.NDArray[np.float64]


# -- numbers ---------------------------------------------------------------------------------------


def compact(value: float) -> str:
    """A number with three significant digits, or thousands with commas; a dash if not finite."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in 0..1 as text such as "81.2%"; a dash if not finite."""
    return f"{100 * fraction:.{digits}f}%" if math.isfinite(fraction) else "–"


def duration(seconds: float) -> str:
    """Seconds as text such as "4.2 s", "3 min 12 s", or "2 h 05 min"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


# -- bars and dots ---------------------------------------------------------------------------------


def color_of(name: str) -> str:
    """The CSS variable, without its dashes, for a stream or stage.

    A name that contains the name of a stream gets its color: "hidden temporal" gets that of "temporal".
    """
    return next((color for word, color in _COLORS.items() if word in name), "other")


def bar_row(name: str, plot: str, value: str, note: str) -> str:
    """One row of a bar chart as HTML.

    Args:
        name, value: plain text to the left and right of the plot.
        plot: HTML.
        note: HTML below the plot.
    """
    named = f'<div class="name">{escape(name)}</div>{plot}<div class="value">{escape(value)}</div>'
    return f'<div class="bar-row">{named}<div class="note small">{note}</div></div>'


def bar(
    fraction: float,
    color: str,
    *,
    mark: float | None = None,
    interval: tuple[float, float] | None = None,
    rules: Sequence[float] = (),
    height: int = 18,
) -> str:
    """One horizontal bar as SVG; positions are fractions of its width in 0..1.

    Args:
        fraction: length of the bar; if it isn't finite, only the track is drawn.
        color: name of a CSS variable without its dashes, for example "fused".
        mark: position of a dashed line over the bar, for example the chance level.
        interval: ends of the uncertainty line.
        rules: positions of thin vertical lines across the bar.
        height: pixels.
    """
    parts = [f'<rect class="track" width="100%" height="{height}" rx="4"/>']
    if math.isfinite(fraction):
        length = min(max(fraction, 0.0), 1.0)
        parts.append(f'<rect class="fill" width="{_css_percent(length)}" height="{height}" rx="4"/>')
    parts += [_vertical("rule", rule, 0, height) for rule in rules]
    if interval is not None:
        middle = height / 2
        x1, x2 = (_css_percent(end) for end in interval)
        ends = f'x1="{x1}" x2="{x2}" y1="{middle}" y2="{middle}"'
        parts += [f'<line class="halo" {ends}/>', f'<line class="whisker" {ends}/>']
        parts += [_vertical("whisker", end, middle - 4, middle + 4) for end in interval]
    if mark is not None and math.isfinite(mark):
        parts.append(_vertical("mark", mark, -4, height + 4))
    return f'<svg class="plot" height="{height}" style="--c:var(--{color})">{"".join(parts)}</svg>'


def axis(labels: Sequence[tuple[float, str]]) -> str:
    """The axis labels below a column of bars as SVG.

    Args:
        labels: (position, text) pairs; positions are fractions of the width in 0..1.
    """
    texts = (
        f'<text x="{_css_percent(position)}" y="11" text-anchor="middle">{escape(text)}</text>'
        for position, text in labels
    )
    return f'<svg class="plot" height="14">{"".join(texts)}</svg>'


def class_dots(values: Sequence[float], colors: Sequence[str], ring: int | None) -> str:
    """One row of a dot plot from 0 to 100% as SVG, with one dot per stream.

    Args:
        values: accuracy of each stream in 0..1; values that aren't finite are left out.
        colors: CSS variable name of each stream.
        ring: index of the stream that is drawn as a ring around the others, if any.
    """
    parts = [f'<line class="rule" x1="0" x2="100%" y1="13" y2="13"/>{_vertical("rule", 0.5, 6, 20)}']
    parts += [_vertical("rule", 0, 6, 20), _vertical("rule", 1, 6, 20)]
    dots = [index for index in range(len(values)) if index != ring]
    for index, (value, color) in enumerate(zip(values, colors, strict=True)):
        if not math.isfinite(value):
            continue
        # Each stream has its own height, so dots of equal value do not hide each other.
        y = 13.0 if index == ring else 13 + 7.4 * (dots.index(index) - (len(dots) - 1) / 2)
        kind, radius = ("ring", 8.5) if index == ring else ("dot", 3.9)
        position = f'cx="{_css_percent(value)}" cy="{y:g}" r="{radius}"'
        parts.append(f'<circle class="{kind}" style="--c:var(--{color})" {position}/>')
    return f'<svg class="plot" height="26">{"".join(parts)}</svg>'


def _css_percent(fraction: float) -> str:
    return f"{100 * fraction:.4g}%"


def _vertical(kind: str, fraction: float, top: float, bottom: float) -> str:
    x = _css_percent(fraction)
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top:g}" y2="{bottom:g}"/>'


# -- confusion matrix ------------------------------------------------------------------------------


def confusion_chart(classes: Sequence[str], matrix: npt.NDArray[np.integer]) -> str:
    """A confusion matrix as an SVG heat map; the opacity of a cell is its share of the row.

    With up to 25 classes, rows and columns have labels and cells show their counts.

    Args:
        classes: names, in the order of the rows and columns.
        matrix: (classes, classes) counts; rows are the truth, columns the prediction.
    """
    count = len(classes)
    labeled = count <= _MAX_LABELED_CLASSES
    cell = min(84.0, max(32.0, 460 / count)) if labeled else max(5.0, 600 / count)
    longest = min(max(text_width(name) for name in classes), 150.0) if labeled else 0.0
    flat = labeled and longest + 6 <= cell
    left = max(longest, 48.0) + 12 if labeled else 22.0
    top = 24.0 if not labeled else 42.0 if flat else 0.72 * longest + 46
    width = left + count * cell + (0.0 if flat or not labeled else max(0.0, 0.72 * longest - cell / 2 + 8))
    size = count * cell
    parts = [
        f'<text class="side" x="{left:g}" y="14">predicted as →</text>',
        f'<text class="side row" x="{left - 8:.1f}" y="{top - 8:.1f}">truth ↓</text>'
        if labeled
        else f'<text class="side" transform="translate(11 {top + 30:.1f}) rotate(-90)">truth</text>',
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{size:.1f}" height="{size:.1f}"/>',
    ]
    parts += _cells(classes, matrix, (left, top, cell), labeled)
    if labeled:
        for offset in (index * cell for index in range(1, count)):
            across, down = (
                f"M{left:.1f} {top + offset:.1f}h{size:.1f}",
                f"M{left + offset:.1f} {top:.1f}v{size:.1f}",
            )
            parts.append(f'<path class="gap" d="{across}{down}"/>')
        parts += _class_labels(classes, (left, top, cell), flat)
    natural, least = f"{width:.0f}px", f"{min(width, 24.0 * count + left if labeled else 330):.0f}px"
    return (
        f'<svg class="matrix" viewBox="0 0 {width:.1f} {top + size + 1:.1f}" role="img" '
        f'style="max-width:{natural};--least:{least}">{"".join(parts)}</svg>'
    )


def _cells(
    classes: Sequence[str], matrix: npt.NDArray[np.integer], grid: tuple[float, float, float], labeled: bool
) -> list[str]:
    left, top, cell = grid
    totals = matrix.sum(axis=1)
    parts = []
    for row, column in zip(*np.nonzero(matrix), strict=True):
        number, total = int(matrix[row, column]), int(totals[row])
        share = number / max(total, 1)
        x, y = left + column * cell, top + row * cell
        kind = "hit" if row == column else "miss"
        opacity = 0.12 + 0.88 * share if labeled else 0.25 + 0.75 * share
        tooltip = f"{number} of {total} “{classes[row]}” predicted as “{classes[column]}”"
        square = f'x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" height="{cell:.1f}"'
        parts.append(
            f'<rect class="{kind}" {square} fill-opacity="{opacity:.2f}">'
            f"<title>{escape(tooltip)}</title></rect>"
        )
        if labeled:
            bright = "n on" if opacity > 0.6 else "n"
            parts.append(
                f'<text class="{bright}" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4.5:.1f}">{number}</text>'
            )
    return parts


def _class_labels(classes: Sequence[str], grid: tuple[float, float, float], flat: bool) -> list[str]:
    left, top, cell = grid
    parts = []
    for index, name in enumerate(classes):
        text = f"{escape(_shorten(name, 150.0))}<title>{escape(name)}</title>"
        middle = (index + 0.5) * cell
        parts.append(f'<text class="row" x="{left - 8:.1f}" y="{top + middle + 4:.1f}">{text}</text>')
        anchor = ' text-anchor="middle"' if flat else ""
        rotation = "" if flat else " rotate(-45)"
        transform = f"translate({left + middle + (0 if flat else 3):.1f} {top - 8:.1f}){rotation}"
        parts.append(f'<text class="col" transform="{transform}"{anchor}>{text}</text>')
    return parts


def text_width(text: str, letter: float = 7.4, wide: float = 12.0) -> float:
    """The approximate width of a text in pixels; the defaults suit a font size of 12 px.

    Args:
        text: a single line.
        letter: width of an ordinary character.
        wide: width of a wide East Asian character.
    """
    return sum(wide if unicodedata.east_asian_width(character) in "WF" else letter for character in text)


def _shorten(text: str, width: float) -> str:
    if text_width(text) <= width:
        return text
    while text and text_width(text) > width - 8:
        text = text[:-1]
    return text + "…"


# -- line charts -----------------------------------------------------------------------------------


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers inside [low, high], spaced by 1, 2, or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda near: abs(math.log(near / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def line_chart(
    lines: Sequence[tuple[Sequence[int], Sequence[float]]], color: str, as_percent: bool = False
) -> str:
    """A line chart with axes as SVG; a long noisy line is drawn faintly below its smoothed version.

    Args:
        lines: (steps, values) of each line; a value that isn't finite leaves a gap.
        color: a CSS variable name.
        as_percent: values are fractions, and the axis runs from 0 to 100%.
    """
    drawn = [_prepare(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in lines]
    shown = np.concatenate([line[1] for line in drawn] + [_central(line[2][1]) for line in drawn if line[2]])
    shown = shown[np.isfinite(shown)]
    steps = np.concatenate([line[0] for line in drawn])
    if shown.size == 0:
        return '<p class="small">No finite values to draw.</p>'
    x0, x1 = _widen(float(steps.min()), float(steps.max()), 0.0)
    y0, y1 = (0.0, 1.0) if as_percent else _widen(float(shown.min()), float(shown.max()), 0.05)
    left, right, top, bottom = _LINE_CHART_BOX
    parts = []
    for tick in ticks(y0, y1):
        y = bottom - (tick - y0) / (y1 - y0) * (bottom - top)
        parts.append(f'<line class="rule" x1="{left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = percent(tick, 0) if as_percent else compact(tick)
        parts.append(f'<text class="y" x="{left - 6:g}" y="{y + 4:.1f}">{text}</text>')
    for tick in ticks(x0, x1):
        x = left + (tick - x0) / (x1 - x0) * (right - left)
        text = f"{tick / 1000:g}k" if abs(tick) >= 1000 else f"{tick:g}"
        end = ' style="text-anchor:end"' if x > right - 8 else ""  # a centered label would be cut off
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 16:g}"{end}>{text}</text>')
    parts.append(f'<line class="base" x1="{left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    for main_x, main_y, raw in drawn:
        if raw:
            parts.append(f'<path class="raw" d="{_path(*raw, (x0, x1, y0, y1))}"/>')
        parts.append(f'<path class="line" d="{_path(main_x, main_y, (x0, x1, y0, y1))}"/>')
    width, height = _LINE_CHART_SIZE
    domain = (
        f'data-domain="{x0:.9g} {x1:.9g} {y0:.9g} {y1:.9g}" data-box="{left:g} {right:g} {top:g} {bottom:g}"'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" {domain}'
        f' style="--c:var(--{color})"{" data-percent=1" if as_percent else ""}>{"".join(parts)}'
        '<circle class="at" r="4" style="display:none"/></svg>'
    )


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        room = 0.5 * abs(low) or 0.5
        return low - room, high + room
    return low - share * (high - low), high + share * (high - low)


def _central(values: _Values) -> _Values:
    """The values that set the range of the axis: of a long line the 2% and 98% quantiles.

    Without them, a single outlier would flatten the rest of the chart.
    """
    finite = values[np.isfinite(values)]
    return np.quantile(finite, [0.02, 0.98]) if finite.size > 20 else finite


def _prepare(steps: _Values, values: _Values) -> tuple[_Values, _Values, tuple[_Values, _Values] | None]:
    """Steps and values of the main line and, if the values are noisy, of the faint raw line below it."""
    values = np.where(np.isfinite(values), values, np.nan)
    finite = values[np.isfinite(values)]
    raw = (steps, values)
    if len(steps) > 2 * _MAX_POINTS:
        steps, values, raw = _buckets(steps, values)
    # A schedule or a steady descent covers its range about once; noise covers it many times.
    noisy = finite.size >= 40 and np.abs(np.diff(finite)).sum() > 4 * np.ptp(finite)
    return (steps, _smooth(values), raw) if noisy else (steps, values, None)


def _buckets(steps: _Values, values: _Values) -> tuple[_Values, _Values, tuple[_Values, _Values]]:
    """Means and extremes of `_MAX_POINTS` neighborhoods: the file stays small and no spike is lost."""
    mean_x: list[float] = []
    means: list[float] = []
    raw_x: list[float] = []
    raw: list[float] = []
    for part in np.array_split(np.arange(len(steps)), _MAX_POINTS):
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
    """A Gaussian average with a standard deviation of 1/50 of the line; gaps stay gaps and have no weight."""
    sigma = max(len(values) / 50, 1.5)
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), kernel)[reach:-reach]
    weight = np.convolve(known.astype(np.float64), kernel)[reach:-reach]
    return np.where(known, total / np.maximum(weight, 1e-12), np.nan)


def _path(steps: _Values, values: _Values, domain: tuple[float, float, float, float]) -> str:
    x0, x1, y0, y1 = domain
    left, right, top, bottom = _LINE_CHART_BOX
    x = left + (steps - x0) / (x1 - x0) * (right - left)
    y = np.clip(bottom - (values - y0) / (y1 - y0) * (bottom - top), top - 8, bottom)
    parts, pen = [], "M"
    for index in range(len(x)):
        if not math.isfinite(y[index]):
            pen = "M"
            continue
        parts.append(f"{pen}{x[index]:.1f} {y[index]:.1f}")
        alone = index + 1 == len(x) or not math.isfinite(y[index + 1])
        if pen == "M" and alone:  # a line of zero length shows its round cap; one point is invisible
            parts.append(f"L{x[index]:.1f} {y[index]:.1f}")
        pen = "L"
    return "".join(parts)

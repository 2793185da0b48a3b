"""The plot of a comparison as standalone SVG: accuracy against time per clip, one marker per method."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import NamedTuple

from hidden_two_stream.evaluation.comparison import Comparison, MethodResult, accuracy_interval
from hidden_two_stream.reports.charts import compact, text_width, ticks
from hidden_two_stream.reports.comparison import interval_method

__all__ = ["comparison_svg", "log_ticks"]

_WIDTH = 880.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 856.0, 84.0, 480.0
_LABEL_HEIGHT, _RADIUS, _MIN_GAP = 13.0, 6.0, 9.0  # px; half of a marker; between whiskers
_CAPTION_COLUMNS = 128
# The background is white in every theme; the accent color is that of the report page.
_COLORS = {
    "hidden": "#0f766e",
    "precomputed": "#5b6472",
    "pixels": "#8a6d3b",
    "spatial": "#4a6fb5",
    "nearest": "#9d3c72",
}
_KINDS = {
    "hidden": "motion learned inside the network",
    "precomputed": "precomputed flow",
    "pixels": "raw pixels",
    "spatial": "spatial stream alone",
    "nearest": "nearest neighbor",
}
_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',Arial,sans-serif;"
    "font-size:12px;fill:#4b5563}"
    ".title{font-size:17px;font-weight:600;fill:#16201e}.name{font-size:13px;fill:#374151}"
    ".name.hidden{font-weight:600;fill:#0f766e}"
    ".rule{stroke:#e5e7eb}.base{stroke:#9ca3af}.whisker{stroke-width:1.5;stroke-opacity:.55}"
    ".leader{stroke:#9ca3af;stroke-width:.8}.marker{stroke:#fff;stroke-width:1.2}"
)


class _Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        """Area of the intersection."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def crossed(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether the line passes through; tested at every tenth of its length."""
        along = [(x0 + (x1 - x0) * i / 10, y0 + (y1 - y0) * i / 10) for i in range(1, 11)]
        return any(self.left < x < self.right and self.top < y < self.bottom for x, y in along)


class _Point(NamedTuple):
    """A method in the plot: marker at (x, y), whisker from `top` to `bottom`, in pixels."""

    method: MethodResult
    x: float
    y: float
    top: float
    bottom: float

    def boxes(self) -> tuple[_Box, _Box]:
        """The marker and the whisker, which labels must not cover."""
        reach = _RADIUS + 1
        return (
            _Box(self.x - reach, self.y - reach, self.x + reach, self.y + reach),
            _Box(self.x - 4, self.top - 1, self.x + 4, self.bottom + 1),
        )


def comparison_svg(comparison: Comparison) -> str:
    """Plot fused accuracy against milliseconds per clip, from file to prediction, on a logarithmic axis."""
    points, (low_ms, high_ms), (low, high) = _placed(comparison.methods)
    caption = textwrap.wrap(_caption(comparison), _CAPTION_COLUMNS)
    height = _BOTTOM + 60 + 17 * len(caption)
    title = "Accuracy against time per clip"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:g}" width="{_WIDTH:g}" '
        f'height="{height:g}" role="img"><title>{title}</title>'
        f"<desc>{escape(_description(comparison))}</desc>",
        f'<style>{_STYLE}</style><rect width="{_WIDTH:g}" height="{height:g}" rx="8" fill="#fff"/>',
        f'<text class="title" x="{_LEFT:g}" y="30">{title}</text>',
        _legend(comparison),
    ]
    for value in ticks(100 * low, 100 * high, 6):
        y = _down(value / 100, (low, high))
        parts.append(f'<line class="rule" x1="{_LEFT:g}" x2="{_RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{value:g}%</text>')
    for value in log_ticks(low_ms, high_ms):
        x = _across(value, (low_ms, high_ms))
        parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP:g}" y2="{_BOTTOM:g}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 18:g}" text-anchor="middle">{_ms(value)}</text>')
    parts += [
        f'<line class="base" x1="{_LEFT:g}" x2="{_RIGHT:g}" y1="{_BOTTOM:g}" y2="{_BOTTOM:g}"/>',
        f'<text x="{(_LEFT + _RIGHT) / 2:g}" y="{_BOTTOM + 38:g}" text-anchor="middle">'
        "milliseconds per clip: decoding, motion and recognition</text>",
        f'<text transform="translate(18 {(_TOP + _BOTTOM) / 2:g}) rotate(-90)" text-anchor="middle">'
        "accuracy fused with the spatial stream</text>",
    ]
    labels = _label_boxes(points)
    parts += [_leader(point, box) for point, box in zip(points, labels, strict=True)]
    parts += [_whisker(point) for point in points]
    parts += [_marker(point.method.kind, point.x, point.y, _tooltip(point.method)) for point in points]
    for point, box in zip(points, labels, strict=True):
        # Text widths are estimates, so the side of the label that faces the marker is the anchor.
        x, anchor = (box.right, "end") if box.right < point.x else (box.left, "start")
        if box.left < point.x < box.right:
            x, anchor = (box.left + box.right) / 2, "middle"
        place = f'x="{x:.1f}" y="{box.bottom - 4.5:.1f}" text-anchor="{anchor}"'
        parts.append(f'<text class="name {point.method.kind}" {place}>{escape(point.method.title)}</text>')
    for index, line in enumerate(caption):
        parts.append(f'<text x="{_LEFT:g}" y="{_BOTTOM + 64 + 17 * index:g}">{escape(line)}</text>')
    return "".join([*parts, "</svg>\n"])


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, and 5 times the powers of ten in [low, high]; only the powers if these are more than ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) <= 10:
            break
    return inside


# -- places ----------------------------------------------------------------------------------------


def _placed(
    methods: Sequence[MethodResult],
) -> tuple[list[_Point], tuple[float, float], tuple[float, float]]:
    """The methods in the plot, and the ranges of both axes: milliseconds, and fractions."""
    # A logarithmic axis has no zero: methods without measurable time are placed at a microsecond.
    times = [max(method.total_ms, 1e-3) for method in methods]
    shares = [accuracy_interval(method.final) for method in methods]
    # The axis spans a factor of at least 6.25, which always contains two of 1, 2, 5, 10.
    room = max(1.8, 2.5 / math.sqrt(max(times) / min(times)))
    across = (min(times) / room, max(times) * room)
    low, high = min(share[1] for share in shares), max(share[2] for share in shares)
    room = max(0.07 * (high - low), (0.1 - (high - low)) / 2)
    down = (max(low - room, 0.0), min(high + room, 1.0))
    columns = _spread([_across(time, across) for time in times])
    points = [
        _Point(method, x, *(_down(value, down) for value in (mean, top, bottom)))
        for method, x, (mean, bottom, top) in zip(methods, columns, shares, strict=True)
    ]
    return points, across, down


def _spread(columns: Sequence[float]) -> list[float]:
    """The nearest columns, in least squares and in the same order, that are at least `_MIN_GAP` apart.

    After `_MIN_GAP` per rank is subtracted, the columns only have to be non-decreasing. Pooling adjacent
    violators solves this isotonic regression.
    """
    order = sorted(range(len(columns)), key=lambda index: columns[index])
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([columns[index] - _MIN_GAP * rank])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = [fmean(pool) for pool in pools for _ in pool]
    return [level[order.index(index)] + _MIN_GAP * order.index(index) for index in range(len(columns))]


def _across(ms: float, ends: tuple[float, float]) -> float:
    return _LEFT + math.log(ms / ends[0]) / math.log(ends[1] / ends[0]) * (_RIGHT - _LEFT)


def _down(share: float, ends: tuple[float, float]) -> float:
    return _BOTTOM - (share - ends[0]) / (ends[1] - ends[0]) * (_BOTTOM - _TOP)


def _label_boxes(points: Sequence[_Point]) -> list[_Box]:
    """The position of the label of each point, assigned greedily: the nearest free position.

    Points with the most neighbors choose first. If no position is free, the label covers as little as
    possible.
    """
    owned = [point.boxes() for point in points]
    near = [sum(math.hypot(p.x - q.x, p.y - q.y) < 120 for q in points) for p in points]
    found: dict[int, _Box] = {}
    for index in sorted(range(len(points)), key=lambda index: -near[index]):
        point = points[index]
        labels = list(found.values())
        others = [box for other in range(len(points)) if other != index for box in owned[other]] + labels
        costs = []
        candidates = _candidates(point)
        for rank, candidate in enumerate(candidates):
            covered = sum(candidate.overlap(box) for box in (*others, *owned[index]))
            crossed = sum(box.crossed(*_leader_ends(point, candidate)) for box in others)
            costs.append((covered, crossed + rank / 100))
        found[index] = candidates[costs.index(min(costs))]
    return [found[index] for index in range(len(points))]


def _candidates(point: _Point) -> list[_Box]:
    """Positions inside the plot for the label of a point, nearest first."""
    width, height = _label_width(point.method), _LABEL_HEIGHT + 4
    gap = _RADIUS + 5
    positions: list[tuple[float, float, float]] = []
    for far, turn in itertools.product(range(0, 200, 8), range(-80, 81, 20)):
        across = math.cos(math.radians(turn)) * far + gap
        rise = math.sin(math.radians(turn)) * far
        for left in (point.x + across, point.x - across - width):
            top = point.y + rise - height / 2
            positions.append((far + 2 * (left < point.x), left, top))
    for far in range(0, 200, 8):
        for top in (point.top - 4 - far - height, point.bottom + 4 + far):
            positions.append((abs(top + height / 2 - point.y) + 4, point.x - width / 2, top))
    boxes = [_Box(left, top, left + width, top + height) for _, left, top in sorted(positions)]
    inside = [
        box
        for box in boxes
        if box.left >= _LEFT + 2
        and box.right <= _RIGHT + 16
        and box.top >= _TOP - 16
        and box.bottom <= _BOTTOM - 2
    ]
    return inside or boxes


def _label_width(method: MethodResult) -> float:
    """An upper estimate of the width of a label in pixels, at a font size of 13 px."""
    letter = 8.6 if method.kind == "hidden" else 7.8  # hidden methods are in bold
    return text_width(method.title, letter=letter, wide=13.0)


# -- drawing ---------------------------------------------------------------------------------------


def _marker(kind: str, x: float, y: float, tooltip: str = "") -> str:
    """A marker whose shape and color depend on the kind; color alone would exclude some readers."""
    r = _RADIUS
    shape = {
        "hidden": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r + 0.5}"',
        "precomputed": f'<path d="M{x - r + 0.5:.1f} {y - r + 0.5:.1f}h{2 * r - 1}v{2 * r - 1}h{1 - 2 * r}z"',
        "pixels": f'<path d="M{x:.1f} {y - r:.1f}l{r + 0.5} {2 * r - 1}h{-2 * r - 1}z"',
        "nearest": f'<path d="M{x:.1f} {y + r:.1f}l{r + 0.5} {1 - 2 * r}h{-2 * r - 1}z"',
        "spatial": f'<path d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z"',
    }[kind]
    title = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    tag = shape[1:].split(" ", 1)[0]
    return f'{shape} class="marker" fill="{_COLORS[kind]}">{title}</{tag}>'


def _whisker(point: _Point) -> str:
    x, top, bottom = point.x, point.top, point.bottom
    path = f"M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 4:.1f} {top:.1f}h8M{x - 4:.1f} {bottom:.1f}h8"
    return f'<path class="whisker" stroke="{_COLORS[point.method.kind]}" d="{path}"/>'


def _leader(point: _Point, box: _Box) -> str:
    """A thin line from the marker to its label, if the label is not beside the marker."""
    x0, y0, x1, y1 = _leader_ends(point, box)
    if math.hypot(x1 - x0, y1 - y0) < 2.5 * _RADIUS:
        return ""
    return f'<line class="leader" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _leader_ends(point: _Point, box: _Box) -> tuple[float, float, float, float]:
    """The center of the marker, and the point of the label that is nearest to it."""
    return (
        point.x,
        point.y,
        min(max(point.x, box.left), box.right),
        min(max(point.y, box.top + 3), box.bottom - 3),
    )


def _legend(comparison: Comparison) -> str:
    parts, x = [], _LEFT + _RADIUS
    for kind in _KINDS:
        if any(method.kind == kind for method in comparison.methods):
            parts.append(f'{_marker(kind, x, 52)}<text x="{x + 12:g}" y="56">{_KINDS[kind]}</text>')
            x += 34 + 6.3 * len(_KINDS[kind])
    return "".join(parts)


# -- words -----------------------------------------------------------------------------------------


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _tooltip(method: MethodResult) -> str:
    mean, low, high = (100 * value for value in accuracy_interval(method.final))
    return f"{method.title}: {mean:.1f}% [{low:.1f}, {high:.1f}], {compact(method.total_ms)} ms per clip"


def _description(comparison: Comparison) -> str:
    return "; ".join(_tooltip(method) for method in comparison.methods)


def _caption(comparison: Comparison) -> str:
    c = comparison
    folds = f"{len(c.folds)} folds by {c.group}, " if c.group and len(c.folds) > 1 else ""
    few = f", at most {c.clips} training clips of each class" if c.clips else ""
    beside = "Methods of nearly equal time are drawn side by side. " * (len(c.methods) > 1)
    return (
        f"{c.data}: {len(c.truth)} test videos, {len(c.classes)} classes, {folds}protocol {c.protocol}{few}. "
        f"{interval_method(c)} {beside}{c.machine}."
    )

"""The drawing side of the report: numbers as text, bars, dots and the confusion matrix as inline SVG.

Colours are CSS variables of `report.html`, so that a chart follows the reader's light or dark theme.
Bars and dots are placed in per cent of the width, so that the text beside them keeps its size on a phone.
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
    "colour_of",
    "compact",
    "confusion_chart",
    "duration",
    "percent",
]

_LABELLED_CLASSES = 25

_COLOURS = {
    "spatial": "spatial",
    "temporal": "temporal",
    "fused": "fused",
    "motion": "temporal",
    "joint": "fused",
}


def compact(value: float) -> str:
    """A number as a reader wants it: three digits, thousands with commas, a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in 0..1 as "81.2%", a dash where it is not finite."""
    return f"{100 * fraction:.{digits}f}%" if math.isfinite(fraction) else "–"


def duration(seconds: float) -> str:
    """Seconds as "4.2 s", "3 min 12 s" or "2 h 05 min"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def colour_of(name: str) -> str:
    """The CSS variable, without its dashes, of a stream or stage; "hidden temporal" is a "temporal"."""
    return next((colour for word, colour in _COLOURS.items() if word in name), "other")


def bar_row(name: str, plot: str, value: str, note: str) -> str:
    """A row of a bar chart; `plot` and `note` are HTML, `name` and `value` are text."""
    named = f'<div class="name">{escape(name)}</div>{plot}<div class="value">{escape(value)}</div>'
    return f'<div class="bar-row">{named}<div class="note small">{note}</div></div>'


def bar(
    fraction: float,
    colour: str,
    *,
    mark: float | None = None,
    interval: tuple[float, float] | None = None,
    rules: Sequence[float] = (),
    height: int = 18,
) -> str:
    """One horizontal bar; every position is a fraction of its width in 0..1.

    Args:
        fraction: length of the bar; nothing is drawn where it is not finite.
        colour: name of a CSS variable without its dashes, for example "fused".
        mark: where to draw a dashed line over the bar (chance).
        interval: ends of the uncertainty line.
        rules: where thin vertical lines cross the bar.
        height: pixels.
    """
    parts = [f'<rect class="track" width="100%" height="{height}" rx="4"/>']
    if math.isfinite(fraction):
        length = min(max(fraction, 0.0), 1.0)
        parts.append(f'<rect class="fill" width="{_share(length)}" height="{height}" rx="4"/>')
    parts += [_vertical("rule", rule, 0, height) for rule in rules]
    if interval is not None:
        middle = height / 2
        ends = f'x1="{_share(interval[0])}" x2="{_share(interval[1])}" y1="{middle}" y2="{middle}"'
        parts += [f'<line class="halo" {ends}/>', f'<line class="whisker" {ends}/>']
        parts += [_vertical("whisker", end, middle - 4, middle + 4) for end in interval]
    if mark is not None and math.isfinite(mark):
        parts.append(_vertical("mark", mark, -4, height + 4))
    return f'<svg class="plot" height="{height}" style="--c:var(--{colour})">{"".join(parts)}</svg>'


def axis(labels: Sequence[tuple[float, str]]) -> str:
    """Labels below a column of bars, as (fraction of the width in 0..1, text) pairs."""
    texts = (
        f'<text x="{_share(place)}" y="11" text-anchor="middle">{escape(text)}</text>'
        for place, text in labels
    )
    return f'<svg class="plot" height="14">{"".join(texts)}</svg>'


def class_dots(values: Sequence[float], colours: Sequence[str], ring: int | None) -> str:
    """One row of a dot plot from 0 to 100 %, with a dot per stream.

    Args:
        values: one accuracy in 0..1 per stream; those that are not finite are left out.
        colours: a CSS variable name per stream.
        ring: index of the stream that is drawn as a ring around the others.
    """
    parts = [f'<line class="rule" x1="0" x2="100%" y1="13" y2="13"/>{_vertical("rule", 0.5, 6, 20)}']
    parts += [_vertical("rule", 0, 6, 20), _vertical("rule", 1, 6, 20)]
    dots = [index for index in range(len(values)) if index != ring]
    for index, (value, colour) in enumerate(zip(values, colours, strict=True)):
        if not math.isfinite(value):
            continue
        # Dots of equal value shall not hide each other: each stream has its own height.
        y = 13.0 if index == ring else 13 + 7.4 * (dots.index(index) - (len(dots) - 1) / 2)
        kind, radius = ("ring", 8.5) if index == ring else ("dot", 3.9)
        place = f'cx="{_share(value)}" cy="{y:g}" r="{radius}"'
        parts.append(f'<circle class="{kind}" style="--c:var(--{colour})" {place}/>')
    return f'<svg class="plot" height="26">{"".join(parts)}</svg>'


def _share(fraction: float) -> str:
    return f"{100 * fraction:.4g}%"


def _vertical(kind: str, fraction: float, top: float, bottom: float) -> str:
    return (
        f'<line class="{kind}" x1="{_share(fraction)}" x2="{_share(fraction)}" y1="{top:g}" y2="{bottom:g}"/>'
    )


def confusion_chart(classes: Sequence[str], matrix: npt.NDArray[np.integer]) -> str:
    """A confusion matrix as a heat map: colour is the share of the row. Up to 25 classes have names.

    Args:
        classes: names, in the order of the rows and columns.
        matrix: (classes, classes) counts, rows are the truth.
    """
    count = len(classes)
    labelled = count <= _LABELLED_CLASSES
    cell = min(84.0, max(32.0, 460 / count)) if labelled else max(5.0, 600 / count)
    longest = min(max(_text_width(name) for name in classes), 150.0) if labelled else 0.0
    flat = labelled and longest + 6 <= cell
    left = max(longest, 48.0) + 12 if labelled else 22.0
    top = 24.0 if not labelled else 42.0 if flat else 0.72 * longest + 46
    width = left + count * cell + (0.0 if flat or not labelled else max(0.0, 0.72 * longest - cell / 2 + 8))
    size = count * cell
    parts = [
        f'<text class="side" x="{left:g}" y="14">predicted as →</text>',
        f'<text class="side row" x="{left - 8:.1f}" y="{top - 8:.1f}">truth ↓</text>'
        if labelled
        else f'<text class="side" transform="translate(11 {top + 30:.1f}) rotate(-90)">truth</text>',
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{size:.1f}" height="{size:.1f}"/>',
    ]
    parts += _cells(classes, matrix, (left, top, cell), labelled)
    if labelled:
        for offset in (index * cell for index in range(1, count)):
            across, down = (
                f"M{left:.1f} {top + offset:.1f}h{size:.1f}",
                f"M{left + offset:.1f} {top:.1f}v{size:.1f}",
            )
            parts.append(f'<path class="gap" d="{across}{down}"/>')
        parts += _class_labels(classes, (left, top, cell), flat)
    natural, least = f"{width:.0f}px", f"{min(width, 24.0 * count + left if labelled else 330):.0f}px"
    return (
        f'<svg class="matrix" viewBox="0 0 {width:.1f} {top + size + 1:.1f}" role="img" '
        f'style="max-width:{natural};--least:{least}">{"".join(parts)}</svg>'
    )


def _cells(
    classes: Sequence[str], matrix: npt.NDArray[np.integer], place: tuple[float, float, float], labelled: bool
) -> list[str]:
    left, top, cell = place
    totals = matrix.sum(axis=1)
    parts = []
    for row, column in zip(*np.nonzero(matrix), strict=True):
        number, total = int(matrix[row, column]), int(totals[row])
        share = number / max(total, 1)
        x, y = left + column * cell, top + row * cell
        kind = "hit" if row == column else "miss"
        opacity = 0.12 + 0.88 * share if labelled else 0.25 + 0.75 * share
        told = f"{number} of {total} “{classes[row]}” called “{classes[column]}”"
        square = f'x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" height="{cell:.1f}"'
        parts.append(
            f'<rect class="{kind}" {square} fill-opacity="{opacity:.2f}"><title>{escape(told)}</title></rect>'
        )
        if labelled:
            bright = "n on" if opacity > 0.6 else "n"
            parts.append(
                f'<text class="{bright}" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4.5:.1f}">{number}</text>'
            )
    return parts


def _class_labels(classes: Sequence[str], place: tuple[float, float, float], flat: bool) -> list[str]:
    left, top, cell = place
    parts = []
    for index, name in enumerate(classes):
        text = f"{escape(_shorten(name, 150.0))}<title>{escape(name)}</title>"
        middle = (index + 0.5) * cell
        parts.append(f'<text class="row" x="{left - 8:.1f}" y="{top + middle + 4:.1f}">{text}</text>')
        turn = ' text-anchor="middle"' if flat else ""
        spin = "" if flat else " rotate(-45)"
        spot = f"translate({left + middle + (0 if flat else 3):.1f} {top - 8:.1f}){spin}"
        parts.append(f'<text class="col" transform="{spot}"{turn}>{text}</text>')
    return parts


def _text_width(text: str) -> float:
    """Rough width in pixels at 12 px; wide East Asian characters count double."""
    return sum(12.0 if unicodedata.east_asian_width(character) in "WF" else 7.4 for character in text)


def _shorten(text: str, width: float) -> str:
    if _text_width(text) <= width:
        return text
    while text and _text_width(text) > width - 8:
        text = text[:-1]
    return text + "…"

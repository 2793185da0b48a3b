"""Sections of the report on what was right and wrong: accuracy, confusion, classes, folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from hidden_two_stream.reports.charts import (
    bar,
    bar_row,
    class_dots,
    colour_of,
    compact,
    confusion_chart,
    percent,
)
from hidden_two_stream.reports.data import ReportData

__all__ = ["accuracy", "accuracy_why", "confusion", "folds", "per_class"]


def accuracy_why(data: ReportData) -> str:
    """What the accuracies are, for a reader who meets them for the first time."""
    counted = f" of {data.num_test_videos:,} test videos" if data.num_test_videos else " of test videos"
    parts = [f"The share{counted} that got the right label."]
    if math.isfinite(data.chance):
        parts.append(f"The dashed line is what guessing would give ({percent(data.chance)}).")
    if data.num_test_videos:
        parts.append("The thin line spans the values that this number of videos leaves plausible (95%).")
    if data.protocol:
        parts.append(f"How each video was read: {data.protocol.rstrip('.')}.")
    return " ".join(parts)


def accuracy(data: ReportData) -> str:
    """A bar per stream, with chance and the range that the number of videos leaves plausible."""
    rows = []
    for name, value in data.accuracy.items():
        count = data.num_test_videos
        interval = _plausible(value, count) if count > 0 and 0 <= value <= 1 else None
        plot = bar(value, colour_of(name), mark=data.chance, interval=interval, height=22)
        rows.append(bar_row(name, plot, percent(value), ""))
    return f'<div class="card bars">{"".join(rows)}</div>' if rows else ""


def _plausible(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` independent trials (Wilson 1927, JASA 22, 209-212)."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def confusion(data: ReportData) -> str:
    """The confusion matrix, and beside it the most frequent mistakes."""
    if data.confusion is None or not len(data.classes) or not np.any(data.confusion):
        return ""
    matrix = np.asarray(data.confusion)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    worst = [divmod(int(index), len(matrix)) for index in np.argsort(-wrong, axis=None, kind="stable")[:8]]
    names = [escape(name) for name in data.classes]
    rows = "".join(
        f'<tr><td>{names[truth]}<div class="small">called {names[said]}</div></td>'
        f'<td class="num">{wrong[truth, said]} of {matrix[truth].sum()}</td></tr>'
        for truth, said in worst
        if wrong[truth, said] > 0
    )
    drawn = f'<div class="card scroll">{confusion_chart(data.classes, matrix)}</div>'
    if not rows:
        return f'<div class="two one">{drawn}</div>'
    head = '<tr><th>truth</th><th class="num">videos</th></tr>'
    mistakes = f'<div class="card"><h3>Most frequent mistakes</h3><table>{head}{rows}</table></div>'
    return f'<div class="two">{drawn}{mistakes}</div>'


def per_class(data: ReportData) -> str:
    """A row of dots per class, hardest class first."""
    streams = list(data.per_class)
    if not streams or not len(data.classes):
        return ""
    chief = "fused" if "fused" in streams else streams[-1]
    ring = streams.index(chief) if len(streams) > 1 else None
    colours = {stream: colour_of(stream) for stream in streams}
    order = sorted(range(len(data.classes)), key=lambda index: _nan_last(data.per_class[chief][index]))
    rows = []
    for index in order:
        name, values = data.classes[index], [float(data.per_class[stream][index]) for stream in streams]
        told = ", ".join(f"{stream} {percent(value)}" for stream, value in zip(streams, values, strict=True))
        dots = class_dots(values, list(colours.values()), ring)
        label = f'<span class="cut">{escape(name)}</span>'
        share = f"<span>{percent(values[streams.index(chief)], 0)}</span>"
        rows.append(f'<div class="class-row" title="{escape(f"{name}: {told}")}">{label}{dots}{share}</div>')
    many = " many" if len(rows) > 12 else ""
    legend = _legend(colours, chief if ring is not None else None)
    return f'<div class="card long">{legend}<div class="class-rows{many}">{"".join(rows)}</div></div>'


def _legend(colours: Mapping[str, str], ring: str | None) -> str:
    keys = "".join(
        f'<span class="key"><i{" class=hollow" if name == ring else ""} style="--c:var(--{colour})"></i>'
        f"{escape(name)}</span>"
        for name, colour in colours.items()
    )
    return f'<div class="legend">{keys}</div>'


def _nan_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def folds(table: Sequence[Mapping[str, float | str]]) -> str:
    """The cross-validation table."""
    columns = list(dict.fromkeys(key for fold in table for key in fold))
    if not columns:
        return ""
    numeric = {key for key in columns if not any(isinstance(fold.get(key), str) for fold in table)}
    kind = {key: ' class="num"' if key in numeric else "" for key in columns}
    head = "".join(f"<th{kind[key]}>{escape(key.replace('_', ' '))}</th>" for key in columns)
    rows = []
    for fold in table:
        cells = "".join(f"<td{kind[key]}>{_cell(fold.get(key, ''))}</td>" for key in columns)
        mean = ' class="mean"' if fold is table[-1] and fold.get(columns[0]) == "mean" else ""
        rows.append(f"<tr{mean}>{cells}</tr>")
    return f'<div class="card scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return percent(value) if 0 <= value <= 1 else compact(value)

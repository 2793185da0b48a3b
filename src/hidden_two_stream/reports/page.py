"""The report page of a run: one self-contained HTML file with its sections in reading order.

The page refers to nothing outside: images are data URIs, charts are inline SVG.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np

from hidden_two_stream.evaluation.accuracy import wilson_interval
from hidden_two_stream.files import write_text
from hidden_two_stream.reports.charts import (
    axis,
    bar,
    bar_row,
    class_dots,
    color_of,
    compact,
    confusion_chart,
    duration,
    line_chart,
    percent,
)
from hidden_two_stream.reports.data import Curve, ExampleVideo, FlowStrip, Image, ReportData
from hidden_two_stream.reports.images import image_tag

__all__ = ["render_report", "write_report"]

_LOG_RANGE = 50.0  # ratio of the slowest to the fastest timing above which the axis is logarithmic

_STAGE_TITLES = {
    "motion": "Motion: learning optical flow without labels",
    "spatial": "Spatial stream: learning to recognize from single frames",
    "temporal": "Temporal stream: learning to recognize from motion",
    "joint": "Joint: fine-tuning motion and recognition together",
}
_QUANTITY_TITLES = {"epe_px": "end-point error, px", "ssim": "structural similarity"}


class _Section(NamedTuple):
    anchor: str
    heading: str
    html: str


def render_report(data: ReportData) -> str:
    """Render the whole page as HTML text.

    Raises:
        UsageError: an image isn't a (H, W, 3) uint8 array.
    """
    template = (
        resources.files("hidden_two_stream.reports").joinpath("report.html").read_text(encoding="utf-8")
    )
    sections = _sections(data)
    body = "\n".join(section.html for section in sections)
    return Template(template).substitute(
        title=escape(data.title), opening=_opening(data, sections), body=body
    )


def write_report(path: Path, data: ReportData) -> Path:
    """Write the page to `path` atomically, create missing folders, and return `path`.

    Raises:
        UsageError: an image isn't a (H, W, 3) uint8 array.
        OutputError: the file cannot be written; an older report at `path` stays unchanged.
    """
    write_text(path, render_report(data), make_parents=True)
    return path


def _sections(data: ReportData) -> list[_Section]:
    """The sections that have content, in reading order."""
    sections = (
        _accuracy(data),
        _learned_motion(data),
        _example_videos(data),
        _confusion(data),
        _class_accuracy(data),
        _cross_validation(data),
        _training(data),
        _speed(data),
        _time_spent(data),
        _about(data),
    )
    return [section for section in sections if section is not None]


def _section(anchor: str, heading: str, intro: str, body: str, aside: str = "") -> _Section | None:
    if not body:
        return None
    head = f'<h2>{heading}</h2>\n<p class="why">{escape(intro)}</p>'
    if aside:
        head = f'<div class="with-aside"><div>{head}</div>{aside}</div>'
    return _Section(anchor, heading, f'<section id="{anchor}">\n{head}\n{body}\n</section>')


# -- opening ---------------------------------------------------------------------------------------


def _opening(data: ReportData, sections: Sequence[_Section]) -> str:
    """The part below the title: subtitle, headline cards, warnings, and links to the sections."""
    parts = [f'<p class="subtitle">{escape(data.subtitle)}</p>'] if data.subtitle else []
    if data.headline:
        cards = "".join(
            f'<div class="card"><div class="big">{escape(number)}</div><div class="what">{escape(what)}</div>'
            f'<div class="small">{escape(small)}</div></div>'
            for number, what, small in data.headline
        )
        parts.append(f'<div class="cards">{cards}</div>')
    if data.warnings:
        items = f"<ul>{''.join(f'<li>{escape(warning)}</li>' for warning in data.warnings)}</ul>"
        if len(data.warnings) > 6:
            items = f"<details><summary>{len(data.warnings)} warnings</summary>{items}</details>"
        parts.append(f'<div class="warnings"><strong>Please note</strong>{items}</div>')
    if len(sections) > 1:
        links = "".join(f'<a href="#{section.anchor}">{section.heading}</a>' for section in sections)
        parts.append(f"<nav>{links}</nav>")
    return "\n".join(parts)


# -- accuracy --------------------------------------------------------------------------------------


def _accuracy(data: ReportData) -> _Section | None:
    """One bar per stream, with the chance level and the confidence interval."""
    count = data.num_test_videos
    intro = [f"The share of {f'{count:,} ' if count else ''}test videos that got the correct label."]
    if math.isfinite(data.chance):
        intro.append(f"The dashed line marks random guessing ({percent(data.chance)}).")
    if count:
        intro.append("The thin line is the 95% confidence interval for this number of videos.")
    if data.protocol:
        intro.append(f"Test protocol: {data.protocol.rstrip('.')}.")
    rows = []
    for name, value in data.accuracy.items():
        interval = wilson_interval(value, count) if count > 0 and 0 <= value <= 1 else None
        plot = bar(value, color_of(name), mark=data.chance, interval=interval, height=22)
        rows.append(bar_row(name, plot, percent(value), ""))
    body = f'<div class="card bars">{"".join(rows)}</div>' if rows else ""
    return _section("accuracy", "Accuracy", " ".join(intro), body)


# -- learned motion --------------------------------------------------------------------------------


def _learned_motion(data: ReportData) -> _Section | None:
    """One card per strip, with the color wheel beside the heading."""
    columns = 4 if any(strip.truth is not None for strip in data.flow_strips) else 3
    cards = "".join(_flow_strip(strip, columns) for strip in data.flow_strips)
    return _section(
        "motion",
        "Learned motion",
        "The motion between two frames as the network estimates it; training used no motion labels. "
        "The color shows the direction of motion, its strength the speed; white means no motion.",
        f'<div class="stack">{cards}</div>' if cards else "",
        aside=_wheel_figure(data.wheel),
    )


def _wheel_figure(wheel: Image | None) -> str:
    if wheel is None:
        return ""
    tag = image_tag(wheel, "color wheel: the color of each direction of motion", 184)
    return f'<figure class="wheel">{tag}<figcaption>motion from the center outward</figcaption></figure>'


def _flow_strip(strip: FlowStrip, columns: int) -> str:
    """Two frames, the learned motion between them and, if known, the true motion."""
    images = [("frame t", strip.frame), ("frame t + 1", strip.next_frame), ("learned motion", strip.flow)]
    if strip.truth is not None:
        images.append(("true motion", strip.truth))
    figures = "".join(
        f"<figure>{image_tag(pixels, f'{name} of {strip.title}')}<figcaption>{name}</figcaption></figure>"
        for name, pixels in images
    )
    pill = f'<span class="pill">{escape(strip.label)}</span>' if strip.label else ""
    note = f'<span class="small">{escape(strip.note)}</span>' if strip.note else ""
    kind = "strip" if columns == 4 else "strip three"
    return (
        f'<div class="card"><div class="head"><h3>{escape(strip.title)}</h3>{pill}{note}</div>'
        f'<div class="{kind}">{figures}</div></div>'
    )


# -- example videos --------------------------------------------------------------------------------


def _example_videos(data: ReportData) -> _Section | None:
    """One card per video."""
    cards = "".join(_example_card(example) for example in data.examples)
    return _section(
        "examples",
        "Example videos",
        "Frames of single videos, and the most likely classes with their scores. "
        "Green is the true class, red a wrong one. Colors over a gray frame show where a stream sees "
        "evidence for the best class.",
        f'<div class="predictions">{cards}</div>' if cards else "",
    )


def _example_card(example: ExampleVideo) -> str:
    """Frames, the best classes with their scores, and the prediction of each stream alone."""
    frames = "".join(
        image_tag(pixels, f"frame {index} of {example.title}", 128)
        for index, pixels in enumerate(example.thumbnails, 1)
    )
    predicted = example.top[0][0] if example.top else ""
    if example.truth is None:
        verdict = f'<div class="verdict">{escape(predicted)}</div>'
    elif predicted == example.truth:
        verdict = f'<div class="verdict right">✓ {escape(predicted)}</div>'
    else:
        verdict = f'<div class="verdict wrong">✗ {escape(predicted)}, correct: {escape(example.truth)}</div>'
    scores = "".join(
        f'<div class="score"><span title="{escape(name)}">{escape(name)}</span>'
        f"{bar(score, 'fused' if name == example.truth or example.truth is None else 'bad', height=8)}"
        f"<span>{percent(score, 0)}</span></div>"
        for name, score in example.top
    )
    streams = "<br>".join(
        f"{escape(stream)} alone: {escape(name)}, {percent(score, 0)}"
        for stream, (name, score) in example.streams.items()
    )
    alone = f'<div class="said">{streams}</div>' if streams else ""
    thumbnails = f'<div class="thumbs">{frames}</div>' if frames else ""
    figures = "".join(
        f"<figure>{image_tag(pixels, f'{caption} in {example.title}', 160)}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, pixels in example.evidence
    )
    evidence = f'<div class="thumbs evidence">{figures}</div>' if figures else ""
    name = f'<div class="file">{escape(example.title)}</div>'
    return f'<div class="card">{thumbnails}{verdict}{name}{scores}{alone}{evidence}</div>'


# -- confusion matrix ------------------------------------------------------------------------------


def _confusion(data: ReportData) -> _Section | None:
    """The confusion matrix, and beside it the most frequent mistakes."""
    if data.confusion is None or not len(data.classes) or not np.any(data.confusion):
        return None
    matrix = np.asarray(data.confusion)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    worst = [divmod(int(index), len(matrix)) for index in np.argsort(-wrong, axis=None, kind="stable")[:8]]
    names = [escape(name) for name in data.classes]
    rows = "".join(
        f'<tr><td>{names[truth]}<div class="small">predicted as {names[predicted]}</div></td>'
        f'<td class="num">{wrong[truth, predicted]} of {matrix[truth].sum()}</td></tr>'
        for truth, predicted in worst
        if wrong[truth, predicted] > 0
    )
    body = f'<div class="card scroll">{confusion_chart(data.classes, matrix)}</div>'
    if rows:
        head = '<tr><th>truth</th><th class="num">videos</th></tr>'
        body += f'<div class="card"><h3>Most frequent mistakes</h3><table>{head}{rows}</table></div>'
    return _section(
        "confusion",
        "Confusion matrix",
        "Rows are the true classes, columns the predicted ones: a perfect result fills only the diagonal. "
        "The stronger the color, the larger the share of the row.",
        f'<div class="two{"" if rows else " one"}">{body}</div>',
    )


# -- accuracy per class ----------------------------------------------------------------------------


def _class_accuracy(data: ReportData) -> _Section | None:
    """One row of dots per class, hardest class first."""
    streams = list(data.per_class)
    if not streams or not len(data.classes):
        return None
    main = "fused" if "fused" in streams else streams[-1]
    ring = streams.index(main) if len(streams) > 1 else None
    colors = {stream: color_of(stream) for stream in streams}
    order = sorted(range(len(data.classes)), key=lambda index: _nan_last(data.per_class[main][index]))
    rows = []
    for index in order:
        name, values = data.classes[index], [float(data.per_class[stream][index]) for stream in streams]
        shares = ", ".join(f"{stream} {percent(v)}" for stream, v in zip(streams, values, strict=True))
        tooltip = escape(f"{name}: {shares}")
        dots = class_dots(values, list(colors.values()), ring)
        label = f'<span class="cut">{escape(name)}</span>'
        share = f"<span>{percent(values[streams.index(main)], 0)}</span>"
        rows.append(f'<div class="class-row" title="{tooltip}">{label}{dots}{share}</div>')
    many = " many" if len(rows) > 12 else ""
    legend = _legend(colors, main if ring is not None else None)
    return _section(
        "classes",
        "Accuracy per class",
        "The share of each class's videos that was recognized, from 0% on the left to 100% on the right. "
        "The hardest classes come first.",
        f'<div class="card long">{legend}<div class="class-rows{many}">{"".join(rows)}</div></div>',
    )


def _legend(colors: Mapping[str, str], ring: str | None) -> str:
    keys = "".join(
        f'<span class="key"><i{" class=hollow" if name == ring else ""} style="--c:var(--{color})"></i>'
        f"{escape(name)}</span>"
        for name, color in colors.items()
    )
    return f'<div class="legend">{keys}</div>'


def _nan_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf


# -- cross-validation ------------------------------------------------------------------------------


def _cross_validation(data: ReportData) -> _Section | None:
    """A table with one row per fold."""
    folds = data.folds or ()
    columns = list(dict.fromkeys(key for fold in folds for key in fold))
    if not columns:
        return None
    numeric = {key for key in columns if not any(isinstance(fold.get(key), str) for fold in folds)}
    kind = {key: ' class="num"' if key in numeric else "" for key in columns}
    head = "".join(f"<th{kind[key]}>{escape(key.replace('_', ' '))}</th>" for key in columns)
    rows = []
    for fold in folds:
        cells = "".join(f"<td{kind[key]}>{_fold_cell(fold.get(key, ''))}</td>" for key in columns)
        mean = ' class="mean"' if fold is folds[-1] and fold.get(columns[0]) == "mean" else ""
        rows.append(f"<tr{mean}>{cells}</tr>")
    return _section(
        "folds",
        "Cross-validation",
        "Each row is a separate training run, tested on a group or official split that was held out.",
        f'<div class="card scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>',
    )


def _fold_cell(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return percent(value) if 0 <= value <= 1 else compact(value)


# -- training --------------------------------------------------------------------------------------


def _training(data: ReportData) -> _Section | None:
    """One small chart per stage and quantity, grouped by stage."""
    stages: dict[str, dict[str, list[Curve]]] = {}
    for curve in data.curves:
        if len(curve.values):
            stages.setdefault(curve.stage, {}).setdefault(curve.name, []).append(curve)
    parts = []
    for stage, quantities in stages.items():
        charts = "".join(_curve_card(stage, name, lines) for name, lines in quantities.items())
        heading = escape(_STAGE_TITLES.get(stage, stage))
        parts.append(f'<h3 class="stage">{heading}</h3><div class="charts">{charts}</div>')
    return _section(
        "training",
        "Training",
        "Each quantity over the training steps: errors and losses should fall, accuracy should rise. "
        "Where values are noisy, the faint line shows the raw values and the strong line the smoothed ones.",
        "".join(parts),
    )


def _curve_card(stage: str, name: str, lines: Sequence[Curve]) -> str:
    as_percent = "accuracy" in name
    title = _QUANTITY_TITLES.get(name, name.replace("_", " "))
    finite = [value for value in lines[-1].values if math.isfinite(value)]
    last = ""
    if finite:
        value = percent(finite[-1]) if as_percent else compact(finite[-1])
        last = f'<span class="small">last {value}</span>'
    if all(len(line.steps) < 2 for line in lines):  # one value is no curve
        step = f'<p class="small">one value, at step {lines[-1].steps[-1]:,}</p>'
        return f'<div class="card"><div class="head"><h3>{escape(title)}</h3>{last}</div>{step}</div>'
    chart = line_chart([(line.steps, line.values) for line in lines], color_of(stage), as_percent)
    return f'<div class="card"><div class="head"><h3>{escape(title)}</h3>{last}</div>{chart}</div>'


# -- speed -----------------------------------------------------------------------------------------


def _speed(data: ReportData) -> _Section | None:
    """One bar per timing, compared with the first."""
    positive = _positive(timing.milliseconds for timing in data.timings)
    if not positive:
        return None
    logarithmic = max(positive) > _LOG_RANGE * min(positive)
    protocol = data.timings_protocol or "The time that each method takes"
    intro = [f"{protocol.rstrip('.')}.", "Shorter is faster."]
    if logarithmic:
        intro.append("Each thin vertical line marks ten times the time of the previous one.")
    low = math.floor(math.log10(min(positive)) - 0.15)
    high = math.ceil(math.log10(max(positive)))
    marks = (
        [((power - low) / (high - low), 10.0**power) for power in range(low, high + 1)] if logarithmic else []
    )
    rules = [position for position, _ in marks[1:-1]]
    rows = []
    for index, timing in enumerate(data.timings):
        value = timing.milliseconds
        known = math.isfinite(value) and value > 0
        length = math.nan
        if known:
            length = (math.log10(value) - low) / (high - low) if logarithmic else value / max(positive)
        ratio = _ratio(value, data.timings[0].milliseconds) if index else ""
        note = " · ".join(part for part in (ratio, escape(timing.note)) if part)
        plot = bar(length, "muted" if index else "fused", rules=rules)
        rows.append(bar_row(timing.name, plot, f"{compact(value)} ms" if known else "–", note))
    if marks:
        labels = [(position, f"{compact(milliseconds)} ms") for position, milliseconds in marks]
        rows.append(bar_row("", axis(labels), "", ""))
    return _section("speed", "Speed", " ".join(intro), f'<div class="card bars">{"".join(rows)}</div>')


def _positive(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value) and value > 0]


def _ratio(value: float, reference: float) -> str:
    if len(_positive((value, reference))) < 2:
        return ""
    times, word = (value / reference, "slower") if value >= reference else (reference / value, "faster")
    if times < 1.05:
        return "equally fast"
    return (
        f"<strong>{times:.1f}× {word}</strong>" if times < 9.95 else f"<strong>{times:,.0f}× {word}</strong>"
    )


# -- time spent, about -----------------------------------------------------------------------------


def _time_spent(data: ReportData) -> _Section | None:
    """One bar per stage, and the total."""
    positive = _positive(data.seconds.values())
    if not positive:
        return None
    rows = [
        bar_row(stage, bar(value / max(positive), color_of(stage)), duration(value), "")
        for stage, value in data.seconds.items()
    ]
    rows.append(bar_row("total", "<span></span>", duration(math.fsum(positive)), ""))
    return _section(
        "time",
        "Time spent",
        "How long each stage of this run took.",
        f'<div class="card bars">{"".join(rows)}</div>',
    )


def _about(data: ReportData) -> _Section | None:
    """A table of facts, and the configuration."""
    parts = []
    if data.facts:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>"
            for name, fact in data.facts.items()
        )
        parts.append(f'<div class="card"><table class="facts">{rows}</table></div>')
    if data.configuration:
        text = json.dumps(data.configuration, indent=2, ensure_ascii=False, default=str)
        parts.append(
            f'<details class="card long"><summary>Configuration</summary><pre>{escape(text)}</pre></details>'
        )
    return _section(
        "run",
        "About this run",
        "The facts needed to judge or repeat these results.",
        f'<div class="stack">{"".join(parts)}</div>' if parts else "",
    )

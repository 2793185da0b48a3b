"""The sections of the report in reading order; one that has nothing to show is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from hidden_two_stream.reports import results
from hidden_two_stream.reports.charts import axis, bar, bar_row, colour_of, compact, duration
from hidden_two_stream.reports.curves import curves
from hidden_two_stream.reports.data import ReportData, Timing
from hidden_two_stream.reports.pictures import flow_pictures, predictions, wheel_legend

__all__ = ["Section", "opening", "sections"]

Section = tuple[str, str, str]
"""Anchor, heading, HTML."""

_LOG_RANGE = 50.0


def sections(data: ReportData) -> list[Section]:
    """The sections that have something to show, in reading order.

    Raises:
        UsageError: a picture is not a (H, W, 3) uint8 array.
    """
    listed = [
        _section("accuracy", "Accuracy", results.accuracy_why(data), results.accuracy(data)),
        _section(
            "motion",
            "Learned motion",
            "What the network believes moved between two frames; it was never shown an answer. "
            "The colour is the direction of motion, its strength the speed; white stands still.",
            flow_pictures(data.flow_pictures),
            aside=wheel_legend(data.wheel),
        ),
        _section(
            "examples",
            "Example videos",
            "Frames of single videos, and the classes found most likely with their scores. "
            "Green is the true class, red a wrong one.",
            predictions(data.predictions),
        ),
        _section(
            "confusion",
            "Confusion matrix",
            "Rows are the truth, columns are what was predicted: a perfect result fills only the diagonal. "
            "The stronger the colour, the larger the share of that row.",
            results.confusion(data),
        ),
        _section(
            "classes",
            "Accuracy per class",
            "The share of each class's videos that was recognised, from 0% on the left to 100% on the right; "
            "the hardest classes come first.",
            results.per_class(data),
        ),
        _section(
            "folds",
            "Cross-validation",
            "Each row was trained by itself and tested on a group or official split that it never saw.",
            results.folds(data.folds or ()),
        ),
        _section(
            "training",
            "Training",
            "How each quantity developed step by step: errors and loss should fall, accuracy should rise. "
            "Where values are noisy, the faint line shows them raw and the strong line smoothed.",
            curves(data.curves),
        ),
        _section("speed", "Speed", _speed_why(data), _timings(data.timings)),
        _section("time", "Time spent", "How long each stage of this run took.", _seconds(data.seconds)),
        _section(
            "run", "About this run", "What is needed to judge these results, or to repeat them.", _about(data)
        ),
    ]
    return [section for section in listed if section[2]]


def opening(data: ReportData, listed: Sequence[Section]) -> str:
    """What stands below the title: the subtitle, warnings, headline cards and links to the sections."""
    parts = [f'<p class="subtitle">{escape(data.subtitle)}</p>'] if data.subtitle else []
    if data.headline:
        cards = "".join(
            f'<div class="card"><div class="big">{escape(number)}</div><div class="what">{escape(what)}</div>'
            f'<div class="small">{escape(small)}</div></div>'
            for number, what, small in data.headline
        )
        parts.append(f'<div class="cards">{cards}</div>')
    if data.warnings:
        listing = f"<ul>{''.join(f'<li>{escape(warning)}</li>' for warning in data.warnings)}</ul>"
        if len(data.warnings) > 6:
            listing = f"<details><summary>{len(data.warnings)} warnings</summary>{listing}</details>"
        parts.append(f'<div class="warnings"><strong>Please note</strong>{listing}</div>')
    if len(listed) > 1:
        links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading, _ in listed)
        parts.append(f"<nav>{links}</nav>")
    return "\n".join(parts)


def _section(anchor: str, heading: str, why: str, body: str, aside: str = "") -> Section:
    if not body:
        return anchor, heading, ""
    head = f'<h2>{heading}</h2>\n<p class="why">{escape(why)}</p>'
    if aside:
        head = f'<div class="with-aside"><div>{head}</div>{aside}</div>'
    return anchor, heading, f'<section id="{anchor}">\n{head}\n{body}\n</section>'


def _speed_why(data: ReportData) -> str:
    positive = _positive(timing.milliseconds for timing in data.timings)
    parts = [
        f"{data.timings_protocol.rstrip('.')}." if data.timings_protocol else "How long each takes.",
        "Shorter is faster.",
    ]
    if positive and max(positive) > _LOG_RANGE * min(positive):
        parts.append("From each thin vertical line to the next, the time grows tenfold.")
    return " ".join(parts)


def _positive(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value) and value > 0]


def _timings(timings: Sequence[Timing]) -> str:
    positive = _positive(timing.milliseconds for timing in timings)
    if not positive:
        return ""
    logarithmic = max(positive) > _LOG_RANGE * min(positive)
    low = math.floor(math.log10(min(positive)) - 0.15)
    high = math.ceil(math.log10(max(positive)))
    marks = (
        [((power - low) / (high - low), 10.0**power) for power in range(low, high + 1)] if logarithmic else []
    )
    rows = []
    for index, timing in enumerate(timings):
        value = timing.milliseconds
        known = math.isfinite(value) and value > 0
        length = math.nan
        if known:
            length = (math.log10(value) - low) / (high - low) if logarithmic else value / max(positive)
        ratio = _ratio(value, timings[0].milliseconds) if index else ""
        note = " · ".join(part for part in (ratio, escape(timing.note)) if part)
        plot = bar(length, "muted" if index else "fused", rules=[place for place, _ in marks[1:-1]])
        rows.append(bar_row(timing.name, plot, f"{compact(value)} ms" if known else "–", note))
    if marks:
        rows.append(bar_row("", axis([(place, f"{compact(mark)} ms") for place, mark in marks]), "", ""))
    return f'<div class="card bars">{"".join(rows)}</div>'


def _ratio(value: float, reference: float) -> str:
    if len(_positive((value, reference))) < 2:
        return ""
    times, word = (value / reference, "slower") if value >= reference else (reference / value, "faster")
    if times < 1.05:
        return "equally fast"
    return (
        f"<strong>{times:.1f}× {word}</strong>" if times < 9.95 else f"<strong>{times:,.0f}× {word}</strong>"
    )


def _seconds(seconds: Mapping[str, float]) -> str:
    positive = _positive(seconds.values())
    if not positive:
        return ""
    rows = [
        bar_row(stage, bar(value / max(positive), colour_of(stage)), duration(value), "")
        for stage, value in seconds.items()
    ]
    rows.append(bar_row("together", "<span></span>", duration(math.fsum(positive)), ""))
    return f'<div class="card bars">{"".join(rows)}</div>'


def _about(data: ReportData) -> str:
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
    return f'<div class="stack">{"".join(parts)}</div>' if parts else ""

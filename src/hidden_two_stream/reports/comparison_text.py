"""What `hts compare` found, for people: a table, and a paragraph that says who wins where."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hidden_two_stream.evaluation.comparison import (
    BOOTSTRAP_DRAWS,
    FEWEST_DECISIVE,
    Comparison,
    Difference,
    MethodResult,
    Right,
    accuracy_interval,
    class_accuracy,
    paired_difference,
    signed,
)
from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.charts import compact, duration, percent

__all__ = ["comparison_paragraph", "comparison_table", "interval_meaning"]


# -- table -----------------------------------------------------------------------------------------


def comparison_table(comparison: Comparison) -> str:
    """A Markdown table with a row per method, and below it what the figures mean."""
    best = max(comparison.methods, key=lambda method: method.accuracy)
    heads = ("method", "alone, % [95 %]", "fused with spatial, % [95 %]", "against the best, points [95 %]",
             "decoding, ms", "motion, ms", "recognition, ms", "whole, ms per clip", "stored, MB",
             "extraction, s")  # fmt: skip
    lines = [_row(heads), "|---" + "|---:" * (len(heads) - 1) + "|"]
    for method in comparison.methods:
        difference = paired_difference(method.final, best.final)
        times = (method.decode_ms, method.motion_ms, method.recognition_ms, method.whole_ms)
        lines.append(_row((
            method.title,
            _interval_text(method.alone),
            "–" if method.fused is None else _interval_text(method.fused),
            "best" if method is best else f"{difference}, {difference.verdict}",
            *(compact(time) for time in times),
            compact(method.bytes_stored / 1e6),
            compact(method.seconds_extracted),
        )))  # fmt: skip
    return "\n".join([*lines, "", *_meaning(comparison, best), ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _meaning(comparison: Comparison, best: MethodResult) -> list[str]:
    """Protocol, statistics and machine, a paragraph each."""
    c = comparison
    seeds = f"seed{'s' * (len(c.seeds) > 1)} {', '.join(map(str, c.seeds))}"
    folds = f"{number_of(len(c.folds), 'fold')}{f' by {c.group}' if c.group else ''}"
    lost = f", {number_of(c.num_unreadable, 'unreadable video')} left out" if c.num_unreadable else ""
    lines = [
        f"Protocol: data `{c.data}`, {folds}, {seeds}, {number_of(len(c.truth), 'test video')} of "
        f"{number_of(len(c.classes), 'class', 'classes')}, {c.protocol}{lost}. "
        f"Accuracies are means over seeds. {interval_meaning(c)}",
    ]
    if len(c.methods) > 1:
        lines += ["", (
            f"Against the best ({best.title}): paired bootstrap over the test videos, {BOOTSTRAP_DRAWS} "
            f"draws, seeds kept; “not told apart” where the interval holds 0 or fewer than {FEWEST_DECISIVE} "
            "videos differ."
        )]  # fmt: skip
    return [*lines, "", f"Times are medians per clip. Machine: {c.machine}."]


def interval_meaning(comparison: Comparison) -> str:
    """A sentence: what the intervals beside accuracies are."""
    count = len(comparison.seeds)
    if count == 1:
        return f"95 % intervals: Wilson's over {number_of(len(comparison.truth), 'test video')}, one seed."
    return f"95 % intervals: Student's t over {count} seeds."


def _interval_text(right: Right) -> str:
    mean, low, high = (f"{100 * value:.1f}" for value in accuracy_interval(right))
    return f"{mean} [{low}, {high}]"


# -- paragraph -------------------------------------------------------------------------------------


def comparison_paragraph(comparison: Comparison) -> str:
    """Who wins where, in three to six sentences that follow from the numbers alone."""
    hidden, given = comparison.of("hidden"), comparison.of("given")
    spatial = comparison.of("spatial")
    subject = (hidden or given or comparison.of("pixels") or spatial)[0]
    sentences = [_ranking(comparison)]
    rivals = [(given[0], _rank(given[0], given).removesuffix(","))] if hidden and given else []
    frames = [method for method in comparison.methods if method.name == "frames"]
    rivals += [(method, "") for method in (*frames, *spatial) if method is not subject]
    if rivals:
        sentences.append(_against(subject, hidden or given, rivals))
    sentences += [_speed(comparison, hidden[:1], given), _storage(comparison)]
    others = given or comparison.of("pixels") or spatial
    if hidden and others:
        sentences += _by_class(comparison, subject, others[0])
    return " ".join(sentences)


def _ranking(comparison: Comparison) -> str:
    c = comparison
    where = (
        f"On {number_of(len(c.truth), 'test video')} of {number_of(len(c.classes), 'class', 'classes')} and "
        f"{number_of(len(c.seeds), 'seed')}"
    )
    ranked = sorted(c.methods, key=lambda method: -method.accuracy)
    best, rest = ranked[0], ranked[1:]
    mean, low, high = accuracy_interval(best.final)
    share = f"{percent(mean)} (95 % interval {percent(low)} to {percent(high)})"
    fused = "" if best.fused is None else " fused with the spatial stream"
    if not rest:
        return f"{where}, the only method, {best.title}, is right on {share}{fused}."
    tied = [method for method in rest if _equal(method.accuracy, best.accuracy)]
    if tied:
        head = f"{where}, {_titles([best, *tied])} share the highest accuracy, {share}"
        head += " fused with the spatial stream" if all(m.fused is not None for m in (best, *tied)) else ""
    else:
        head = f"{where}, {best.title} is best with {share}{fused}"
    others = [method for method in rest if method not in tied]
    if not others:
        return f"{head}."
    level = [m for m in others if paired_difference(m.final, best.final).verdict == "not told apart"]
    worse = [method for method in others if method not in level]
    told = [head]
    for group, what in ((level, f"not told apart from {'them' if tied else 'it'}"), (worse, "worse")):
        if group:
            told.append(f"{_titles(group)} {'is' if len(group) == 1 else 'are'} {what}")
    return f"{'; '.join(told)}."


def _against(
    subject: MethodResult, peers: Sequence[MethodResult], rivals: Sequence[tuple[MethodResult, str]]
) -> str:
    parts = []
    for rival, role in rivals:
        found = paired_difference(subject.final, rival.final)
        link = {"better": "better than", "worse": "worse than"}.get(found.verdict, "not told apart from")
        parts.append(f"{link} {rival.title}{role} ({_points(found)})")
    return _capital(
        f"{subject.title} ({percent(subject.accuracy)}){_rank(subject, peers)} is {_listed(parts)}."
    )


def _rank(method: MethodResult, peers: Sequence[MethodResult]) -> str:
    """An aside: that a method is the best of several of its kind, or one of those."""
    if len(peers) < 2:
        return ""
    level = sum(_equal(peer.accuracy, method.accuracy) for peer in peers) > 1
    what = {"hidden": "hidden methods", "given": "given flows"}[method.kind]
    return f", {'among' if level else ''} the best of the {what},".replace("  ", " ")


def _speed(comparison: Comparison, hidden: Sequence[MethodResult], given: Sequence[MethodResult]) -> str:
    by_time = sorted(given, key=lambda method: -method.motion_ms)
    if hidden and given and (own := hidden[0].motion_ms) > 0:
        ratios = [
            f"{method.title} takes {compact(method.motion_ms / own)} times as long "
            f"({compact(method.motion_ms)} ms)"
            for method in by_time
        ]
        return f"Motion takes {hidden[0].title} {compact(own)} ms per clip; {_listed(ratios)}."
    if moving := [*hidden, *by_time]:
        return f"Motion takes {_listed([f'{m.title} {compact(m.motion_ms)} ms' for m in moving])} per clip."
    whole = [f"{compact(method.whole_ms)} ms with {method.title}" for method in comparison.methods]
    return f"From file to answer a clip takes {_listed(whole)}."


def _storage(comparison: Comparison) -> str:
    kept = [method for method in comparison.methods if method.bytes_stored]
    if not kept:
        return "No method keeps flow on disk."
    sizes = [
        f"{m.title} keeps {compact(m.bytes_stored / 1e6)} MB (extracted in {duration(m.seconds_extracted)})"
        for m in kept
    ]
    rest = "; the other methods keep none" if len(kept) < len(comparison.methods) else ""
    return f"Of flow on disk, {_listed(sizes)}{rest}."


def _by_class(comparison: Comparison, subject: MethodResult, rival: MethodResult) -> list[str]:
    """A sentence: in which classes the subject gains and loses most. None where fewer than two differ."""
    ours, theirs = class_accuracy(comparison, subject.final), class_accuracy(comparison, rival.final)
    gains = {name: ours[name][0] - theirs[name][0] for name in ours if ours[name][0] != theirs[name][0]}
    if len(gains) < 2:
        return []
    parts = []
    for verb, sign in (("gains", 1), ("loses", -1)):
        most = max(sign * gain for gain in gains.values())
        names = [
            f"{name} ({signed(gain)} points, {number_of(ours[name][1], 'video')})"
            for name, gain in gains.items()
            if _equal(sign * gain, most)
        ]
        shown = names if len(names) <= 3 else [*names[:3], f"{len(names) - 3} more by as much"]
        parts.append(f"{verb} most on {_listed(shown)}" if most > 0 else f"{verb} on none")
    return [f"By class, against {rival.title}, {subject.title} {' and '.join(parts)}."]


def _points(found: Difference) -> str:
    number = found.num_decisive
    few = f", only {number_of(number, 'video')} differing" if number else ", no video differing"
    return (
        f"{signed(found.mean)} points, 95 % interval {signed(found.low)} to {signed(found.high)}"
        f"{few if number < FEWEST_DECISIVE else ''}"
    )


def _titles(methods: Sequence[MethodResult]) -> str:
    return _listed([method.title for method in methods])


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, abs_tol=1e-12)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""A comparison of methods in words: a Markdown table, and a paragraph that ranks the methods."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hidden_two_stream.evaluation.comparison import (
    BOOTSTRAP_DRAWS,
    MIN_DECISIVE_VIDEOS,
    Comparison,
    Correct,
    Difference,
    MethodResult,
    accuracy_interval,
    class_accuracy,
    paired_difference,
    percentage_points,
)
from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.charts import compact, duration, percent

__all__ = ["comparison_paragraph", "comparison_table", "interval_method"]


# -- table -----------------------------------------------------------------------------------------


def comparison_table(comparison: Comparison) -> str:
    """A Markdown table with one row per method, and an explanation of its figures below."""
    best = comparison.best
    heads = ("method", "alone, % [95%]", "fused with spatial, % [95%]", "against the best, points [95%]",
             "decoding, ms", "motion, ms", "recognition, ms", "total, ms per clip", "stored, MB",
             "extraction, s")  # fmt: skip
    lines = [_row(heads), "|---" + "|---:" * (len(heads) - 1) + "|"]
    for method in comparison.methods:
        difference = paired_difference(method.final, best.final)
        times = (method.decode_ms, method.motion_ms, method.recognition_ms, method.total_ms)
        lines.append(_row((
            method.title,
            _interval_text(method.alone),
            "–" if method.fused is None else _interval_text(method.fused),
            "best" if method is best else f"{difference}, {difference.verdict}",
            *(compact(time) for time in times),
            compact(method.bytes_stored / 1e6),
            compact(method.seconds_extracted),
        )))  # fmt: skip
    return "\n".join([*lines, "", *_explanation(comparison), ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _explanation(comparison: Comparison) -> list[str]:
    """Protocol, statistics, and machine, one paragraph each."""
    c = comparison
    seeds = f"seed{'s' * (len(c.seeds) > 1)} {', '.join(map(str, c.seeds))}"
    folds = f"{number_of(len(c.folds), 'fold')}{f' by {c.group}' if c.group else ''}"
    omitted = f", {number_of(c.num_unreadable, 'unreadable video')} left out" if c.num_unreadable else ""
    lines = [
        f"Setup: data `{c.data}`, {folds}, {seeds}, {number_of(len(c.truth), 'test video')} of "
        f"{number_of(len(c.classes), 'class', 'classes')}, protocol {c.protocol}{_few(c)}{omitted}. "
        f"Accuracies are means over seeds. {interval_method(c)}",
    ]
    if len(c.methods) > 1:
        lines += ["", (
            f"Against the best ({c.best.title}): paired bootstrap over the test videos, {BOOTSTRAP_DRAWS} "
            "draws, each video with all its seeds; “not distinguishable” if the interval contains 0 or "
            f"fewer than {MIN_DECISIVE_VIDEOS} videos differ."
        )]  # fmt: skip
    if nearest := c.of("nearest"):
        lines += ["", _nearest_note(c, nearest)]
    return [*lines, "", f"Times are medians per clip. Machine: {c.machine}."]


def _few(comparison: Comparison) -> str:
    """How many training clips were drawn, as a part of a list; nothing if all clips were used."""
    if comparison.clips is None:
        return ""
    return f", training on at most {number_of(comparison.clips, 'clip')} of each class, drawn with the seed"


def _nearest_note(comparison: Comparison, nearest: Sequence[MethodResult]) -> str:
    """A sentence about methods that learn nothing."""
    learn, are, their = ("learns", "is", "its") if len(nearest) == 1 else ("learn", "are", "their")
    text = f"{_capitalized(_titles(nearest))} {learn} nothing and {are} not fused"
    if len(comparison.seeds) > 1 and comparison.clips is None:
        text += f"; all seeds give {their} result, so the interval over seeds has no width"
    return f"{text}."


def interval_method(comparison: Comparison) -> str:
    """A sentence that names the method behind the intervals of accuracies."""
    count = len(comparison.seeds)
    if count == 1:
        return f"95% intervals: Wilson's over {number_of(len(comparison.truth), 'test video')}, one seed."
    return f"95% intervals: Student's t over {count} seeds."


def _interval_text(correct: Correct) -> str:
    mean, low, high = (f"{100 * value:.1f}" for value in accuracy_interval(correct))
    return f"{mean} [{low}, {high}]"


# -- paragraph -------------------------------------------------------------------------------------


def comparison_paragraph(comparison: Comparison) -> str:
    """The ranking, speed, and storage of the methods, in three to six sentences made from the figures.

    The subject is the best hidden method if there is one. Its rivals are the best method with precomputed
    flow, the best nearest neighbor, stacked frames, and the spatial stream alone.
    """
    hidden, precomputed = comparison.of("hidden"), comparison.of("precomputed")
    spatial = comparison.of("spatial")
    subject = (hidden or precomputed or comparison.of("pixels") or spatial)[0]
    sentences = [_ranking(comparison)]
    rivals = []
    if hidden and precomputed:
        rivals.append((precomputed[0], _rank(precomputed[0], precomputed).removesuffix(",")))
    frames = [method for method in comparison.methods if method.name == "frames"]
    others = (*comparison.of("nearest")[:1], *frames, *spatial)
    rivals += [(method, "") for method in others if method is not subject]
    if rivals:
        sentences.append(_against(subject, hidden or precomputed, rivals))
    sentences += [_speed(comparison, hidden[:1], precomputed), _storage(comparison)]
    opposite = precomputed or comparison.of("pixels") or spatial
    if hidden and opposite:
        sentences += _by_class(comparison, subject, opposite[0])
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
    share = f"{percent(mean)} (95% interval {percent(low)} to {percent(high)})"
    fused = "" if best.fused is None else " fused with the spatial stream"
    if not rest:
        return f"{where}, the only method, {best.title}, reaches {share}{fused}."
    tied = [method for method in rest if _equal(method.accuracy, best.accuracy)]
    if tied:
        head = f"{where}, {_titles([best, *tied])} share the highest accuracy, {share}"
        head += " fused with the spatial stream" if all(m.fused is not None for m in (best, *tied)) else ""
    else:
        head = f"{where}, {best.title} is best with {share}{fused}"
    others = [method for method in rest if method not in tied]
    if not others:
        return f"{head}."
    level = [m for m in others if paired_difference(m.final, best.final).verdict == "not distinguishable"]
    worse = [method for method in others if method not in level]
    clauses = [head]
    for group, what in ((level, f"not distinguishable from {'them' if tied else 'it'}"), (worse, "worse")):
        if group:
            clauses.append(f"{_titles(group)} {'is' if len(group) == 1 else 'are'} {what}")
    return f"{'; '.join(clauses)}."


def _against(
    subject: MethodResult, peers: Sequence[MethodResult], rivals: Sequence[tuple[MethodResult, str]]
) -> str:
    parts = []
    for rival, role in rivals:
        found = paired_difference(subject.final, rival.final)
        link = {"better": "better than", "worse": "worse than"}.get(found.verdict, "not distinguishable from")
        parts.append(f"{link} {rival.title}{role} ({_points(found)})")
    return _capitalized(
        f"{subject.title} ({percent(subject.accuracy)}){_rank(subject, peers)} is {_listed(parts)}."
    )


def _rank(method: MethodResult, peers: Sequence[MethodResult]) -> str:
    """The aside that a method is the best, or among the best, of several methods of its kind."""
    if len(peers) < 2:
        return ""
    level = sum(_equal(peer.accuracy, method.accuracy) for peer in peers) > 1
    what = {"hidden": "hidden methods", "precomputed": "methods with precomputed flow"}[method.kind]
    return f", {'among' if level else ''} the best of the {what},".replace("  ", " ")


def _speed(
    comparison: Comparison, hidden: Sequence[MethodResult], precomputed: Sequence[MethodResult]
) -> str:
    by_time = sorted(precomputed, key=lambda method: -method.motion_ms)
    if hidden and precomputed and (own := hidden[0].motion_ms) > 0:
        ratios = [
            f"{method.title} takes {compact(method.motion_ms / own)} times as long "
            f"({compact(method.motion_ms)} ms)"
            for method in by_time
        ]
        return f"Motion takes {hidden[0].title} {compact(own)} ms per clip; {_listed(ratios)}."
    if moving := [*hidden, *by_time]:
        return f"Motion takes {_listed([f'{m.title} {compact(m.motion_ms)} ms' for m in moving])} per clip."
    totals = [f"{compact(method.total_ms)} ms with {method.title}" for method in comparison.methods]
    return f"From file to prediction, a clip takes {_listed(totals)}."


def _storage(comparison: Comparison) -> str:
    kept = [method for method in comparison.methods if method.bytes_stored]
    if not kept:
        return "No method stores flow on disk."
    sizes = [
        f"{compact(method.bytes_stored / 1e6)} MB for {method.title} "
        f"(extracted in {duration(method.seconds_extracted)})"
        for method in kept
    ]
    rest = "; the other methods store none" if len(kept) < len(comparison.methods) else ""
    return f"Stored flow takes {_listed(sizes)}{rest}."


def _by_class(comparison: Comparison, subject: MethodResult, rival: MethodResult) -> list[str]:
    """A sentence with the classes of the largest gain and loss; nothing if fewer than two classes differ."""
    ours, theirs = class_accuracy(comparison, subject.final), class_accuracy(comparison, rival.final)
    gains = {name: ours[name][0] - theirs[name][0] for name in ours if ours[name][0] != theirs[name][0]}
    if len(gains) < 2:
        return []
    parts = []
    for verb, sign in (("gains", 1), ("loses", -1)):
        most = max(sign * gain for gain in gains.values())
        names = [
            f"{name} ({percentage_points(gain)} points, {number_of(ours[name][1], 'video')})"
            for name, gain in gains.items()
            if _equal(sign * gain, most)
        ]
        shown = names if len(names) <= 3 else [*names[:3], f"{len(names) - 3} more by the same amount"]
        parts.append(f"{verb} most on {_listed(shown)}" if most > 0 else f"{verb} on no class")
    return [f"By class, against {rival.title}, {subject.title} {' and '.join(parts)}."]


def _points(found: Difference) -> str:
    number = found.num_decisive
    few = f", only {number_of(number, 'video')} differing" if number else ", no video differing"
    mean, low, high = (percentage_points(value) for value in (found.mean, found.low, found.high))
    return f"{mean} points, 95% interval {low} to {high}{few if number < MIN_DECISIVE_VIDEOS else ''}"


def _titles(methods: Sequence[MethodResult]) -> str:
    return _listed([method.title for method in methods])


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, abs_tol=1e-12)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]

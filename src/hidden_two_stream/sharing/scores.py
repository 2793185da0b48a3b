"""The scores of a run for its model card: tables, the strongest confusions, and the hub's model index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hidden_two_stream.progress import number_of
from hidden_two_stream.reports.run_card import RunCard
from hidden_two_stream.sharing.card_text import STREAM_NAMES, escaped, joined, percent, table

__all__ = ["model_index", "score_sections", "tested_parts"]

_COLUMNS = ("precision", "recall", "f1", "bout_f1")
_MOST_ROWS = 101
_MOST_CONFUSIONS = 5
_TASK = {"type": "video-classification", "name": "Action recognition"}
_FRAME_METRICS = {
    "accuracy": "accuracy of frames", "macro_f1": "macro F1 of frames", "macro_bout_f1": "F1 of bouts",
}  # fmt: skip
_PARTS = {
    "test": "test recordings",
    "cross_fitted": "training recordings, each by networks that did not see it (cross-fitted)",
}


def score_sections(card: RunCard) -> Iterator[str]:
    """Yield the sections about how good the run is."""
    if isinstance(card.results.get("accuracy"), Mapping):
        yield from _clip_sections(card)
    elif any(True for _ in tested_parts(card)):
        yield from _frame_sections(card)
    elif card.kind != "motion network":
        yield "## Scores\n\nThis run holds no test results: how good it is was not measured."


def tested_parts(card: RunCard) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and figures of each tested part of a run that labels frames."""
    for part in _PARTS:
        figures = card.results.get(part)
        if isinstance(figures, Mapping) and "macro_f1" in figures:
            yield part, figures


def model_index(card: RunCard, title: str) -> dict[str, Any] | None:
    """Return the entry of the hub's model index; None: the run holds no scores."""
    data = card.metadata.data or "unknown"
    results = card.results
    found = []
    if isinstance(results.get("accuracy"), Mapping):
        protocol, means = results.get("protocol", "unknown"), results.get("mean_class_accuracy", {})
        count = number_of(results.get("num_test_videos", 0), "video")
        for name, value in _ordered(results["accuracy"]):
            about = f"{name}, protocol {protocol}, {count}"
            found.append({"type": "accuracy", "value": round(value, 4), "name": f"accuracy ({about})"})
            if name in means:
                mean = round(means[name], 4)
                found.append({"type": "accuracy", "value": mean, "name": f"mean class accuracy ({about})"})
    for part, figures in tested_parts(card):
        about = f"{part.replace('_', '-')}, {number_of(figures['num_videos'], 'recording')}"
        for key, name in _FRAME_METRICS.items():
            kind = "accuracy" if key == "accuracy" else "f1"
            found.append({"type": kind, "value": round(figures[key], 4), "name": f"{name} ({about})"})
    if not found:
        return None
    dataset = {"type": "custom", "name": data, "split": "test"}
    return {"name": title, "results": [{"task": _TASK, "dataset": dataset, "metrics": found}]}


def _ordered(accuracy: Mapping[str, float]) -> list[tuple[str, float]]:
    order = ["fused", "temporal", "spatial"]
    return sorted(accuracy.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _clip_sections(card: RunCard) -> Iterator[str]:
    """Yield accuracies with their protocol, and those of each class."""
    results = card.results
    intervals, means = results.get("accuracy_interval_95", {}), results.get("mean_class_accuracy", {})
    accuracy = _ordered(results["accuracy"])
    if len(accuracy) == 2 and len({value for _, value in accuracy}) == 1:
        accuracy = accuracy[1:]  # one stream: its scores are the fused ones
    rows = []
    for name, value in accuracy:
        low, high = intervals.get(name, (None, None))
        rows.append((
            STREAM_NAMES.get(name, name), f"**{percent(value)}**",
            "" if low is None else f"{percent(low)} to {percent(high)}",
            percent(means[name]) if name in means else "",
        ))  # fmt: skip
    head = ("", "accuracy:", "95 % interval:", "mean over classes:")
    lines = ["## Scores", "", _protocol(card), "", table(head, rows)]
    lines += [f"\n{text}" for text in _remarks(card)]
    yield "\n".join(lines)
    yield from _by_class(card)


def _protocol(card: RunCard) -> str:
    results = card.results
    count = results.get("num_test_videos")
    text = f"Measured on {number_of(count, 'test video')}" if count else "Measured on test videos"
    if card.metadata.split:
        text += f" ({escaped(card.metadata.split)})"
    protocol = str(results.get("protocol", ""))
    clips, _, crops = protocol.partition("x")
    if protocol:
        text += f", with protocol *{escaped(protocol)}*"
    if protocol == "center":
        text += ": one clip from the middle of each video"
    elif clips.isdecimal() and crops.isdecimal():
        cut = "the center" if crops == "1" else f"{crops} places"
        text += f": the mean over {number_of(int(clips), 'clip')} of each video, cut from {cut} of the frame"
    if "chance" in results:
        text += f". Guessing would be right in {percent(results['chance'])}"
    return text + "."


def _remarks(card: RunCard) -> Iterator[str]:
    results = card.results
    seen = results.get("num_trained_on")
    if seen:
        yield (
            f"**The run was trained on {seen} of these test videos**: the accuracy is not that of unseen "
            "videos."
        )
    if results.get("num_unreadable"):
        yield f"{number_of(results['num_unreadable'], 'test video')} could not be read and so not be counted."
    calibration = card.metadata.calibration
    if calibration is not None and "fused" in calibration.ece_after:
        yield (
            f"The scores are calibrated: on {number_of(calibration.num_clips, 'held-back clip')}, their mean "
            f"distance from the accuracy went from {percent(calibration.ece_before['fused'])} to "
            f"{percent(calibration.ece_after['fused'])}."
        )


def _by_class(card: RunCard) -> Iterator[str]:
    """Yield a table of the classes and the strongest confusions."""
    confusion, values = card.results.get("confusion", {}), card.results.get("per_class", {})
    names, matrix = confusion.get("classes", []), confusion.get("fused", [])
    if not names or len(names) != len(matrix) or len(names) > _MOST_ROWS:
        return
    rows = []
    for name, counts in zip(names, matrix, strict=True):
        value = (values.get(name) or {}).get("fused")
        rows.append((escaped(name), str(sum(counts)), "not tested" if value is None else percent(value)))
    text = "### By class\n\n" + table(("class", "test videos:", "recognized:"), rows)
    pairs = [
        (count, names[truth], names[guess])
        for truth, counts in enumerate(matrix)
        for guess, count in enumerate(counts)
        if truth != guess and count
    ]
    strongest = sorted(pairs, key=lambda pair: -pair[0])[:_MOST_CONFUSIONS]
    if strongest:
        said = [f"*{escaped(truth)}* as *{escaped(guess)}* ({count})" for count, truth, guess in strongest]
        text += f"\n\nTaken for another class most often: {joined(said)}."
    yield text


def _frame_sections(card: RunCard) -> Iterator[str]:
    """Yield the figures of frames and bouts, for each tested part."""
    for part, figures in tested_parts(card):
        count, frames = figures["num_videos"], figures.get("num_frames")
        about = f"Measured on {number_of(count, 'recording')}" + (f" ({frames:,} frames)" if frames else "")
        rows = [
            (escaped(name), *(_figure(row.get(key)) for key in _COLUMNS), str(row.get("bouts", "")))
            for name, row in figures.get("per_behavior", {}).items()
        ]
        head = ("behavior", "precision:", "recall:", "F1 of frames:", "F1 of bouts:", "bouts:")
        summary = (
            f"Mean over behaviors: F1 of frames **{figures['macro_f1']:.2f}**, F1 of bouts "
            f"**{figures['macro_bout_f1']:.2f}**"
        )
        summary += f"; {percent(figures['accuracy'])} of all frames are labeled as by the author"
        yield f"## Scores: {_PARTS[part]}\n\n{about}. {summary}.\n\n{table(head, rows)}"


def _figure(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"

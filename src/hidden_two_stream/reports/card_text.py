"""A run's card as text for a terminal, with its training curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hidden_two_stream.evaluation.accuracy import shown_streams
from hidden_two_stream.printing import one_line
from hidden_two_stream.reports.curves import sparkline

if TYPE_CHECKING:
    from hidden_two_stream.reports.run_card import RunCard

__all__ = ["card_text"]

_LEFT = 13
_MOST_CLASSES = 20


def card_text(card: RunCard, *, plain: bool = False) -> str:
    """Return the card as text.

    Args:
        card: the card.
        plain: use ASCII for the curves.
    """
    rows = [
        ("run", card.path), ("kind", _kind(card)), ("classes", _classes(card)), *_data(card),
        *_results(card.results), *_calibration(card), *_networks(card), *_origin(card), *_speed(card),
        *_curves(card, plain), *(("note", note) for note in card.notes),
    ]  # fmt: skip
    lines, before = [], ""
    for title, text in rows:
        lines.append(f"{'' if title == before else title:<{_LEFT}} {one_line(text)}".rstrip())
        before = title
    return "\n".join(lines)


_Rows = Iterator[tuple[str, str]]


def _kind(card: RunCard) -> str:
    if card.kind == "clips":
        return f"recognizer of clips: {' and '.join(card.streams)} stream{'s' * (len(card.streams) > 1)}"
    if card.kind == "frame labels":
        return "labels each frame (hts train-frames); use hts annotate"
    if card.kind == "motion network":
        return "MotionNet alone: no stream was trained"
    return card.kind


def _classes(card: RunCard) -> str:
    if not card.classes:
        return "unknown"
    more = len(card.classes) - _MOST_CLASSES
    shown = ", ".join(card.classes[:_MOST_CLASSES])
    return f"{len(card.classes)}: {shown}" + (f" and {more} more" if more > 0 else "")


def _data(card: RunCard) -> _Rows:
    metadata = card.metadata
    yield "data", metadata.data or "unknown"
    if metadata.imported_from:
        yield "data", f"weights from {metadata.imported_from.get('file', 'another file')}"
    yield "license", metadata.data_license or "not given"
    held = f"held out: {metadata.held_out}" if metadata.held_out else metadata.split
    counts = [f"{number} {name}" for number, name in ((card.num_train, "training"), (card.num_test, "test"))
              if number is not None]  # fmt: skip
    yield "videos", "; ".join(filter(None, (", ".join(counts), held))) or "unknown"
    rates = dict.fromkeys(f"{rate:.4g}" for rate in (metadata.min_fps, metadata.max_fps) if rate)
    sampled = card.recipe.input.fps
    yield (
        "frame rates",
        (f"{' to '.join(rates)} per second" if rates else "unknown")
        + (f", sampled at {sampled:g}" if sampled else ""),
    )


def _results(results: Mapping[str, Any]) -> _Rows:
    """Yield the accuracies of clips, or the figures of frame labels."""
    accuracy, intervals = results.get("accuracy"), results.get("accuracy_interval_95", {})
    if isinstance(accuracy, Mapping):
        for name in shown_streams(accuracy):
            value = accuracy[name]
            low, high = intervals.get(name, (None, None))
            interval = f"  (95%: {low:.1%} to {high:.1%})" if low is not None else ""
            yield "accuracy", f"{name:<9}{value:6.1%}{interval}"
        yield "", _how(results)
    for part, title in (("test", "test recordings"), ("cross_fitted", "training recordings, cross-fitted")):
        figures = results.get(part)
        if isinstance(figures, Mapping) and "macro_f1" in figures:
            yield (
                "accuracy",
                f"{title}: frames {figures['accuracy']:.1%}, macro F1 {figures['macro_f1']:.2f}, "
                f"F1 of bouts {figures['macro_bout_f1']:.2f} ({figures['num_videos']} recordings)",
            )


def _how(results: Mapping[str, Any]) -> str:
    """Return how the accuracies were obtained."""
    facts = [f"protocol {results['protocol']}"] if "protocol" in results else []
    facts.append(f"{results.get('num_test_videos', 'unknown')} test videos")
    if "chance" in results:
        facts.append(f"chance {results['chance']:.1%}")
    text = ", ".join(facts) + ("; Wilson intervals" if "accuracy_interval_95" in results else "")
    if results.get("num_trained_on"):
        text += f"; the run was trained on {results['num_trained_on']} of them"
    return text


def _calibration(card: RunCard) -> _Rows:
    found = card.metadata.calibration
    if found is None:
        if card.kind == "clips":
            yield "calibration", "none: scores are those of the networks"
        return
    temperatures = {**found.temperatures, "fused": found.fused_temperature}
    yield (
        "calibration",
        f"temperatures {', '.join(f'{name} {value:.3g}' for name, value in temperatures.items())}, from "
        f"{found.num_clips} held-back clips",
    )
    if found.prototypes is not None:
        yield "calibration", f"no class fits below a similarity of {found.prototypes.least:.2f}"
    elif found.threshold is not None:
        yield "calibration", f"no class fits below a score of {found.threshold:.2f}"


def _networks(card: RunCard) -> _Rows:
    model, size = card.recipe.model, card.recipe.input
    yield (
        "networks",
        f"motion {model.motion}, temporal {model.temporal}, backbone {model.backbone}; "
        f"{model.num_frames} frames of {size.size or 'unknown'} px",
    )
    for name, part in card.parts.items():
        yield "parameters", f"{part.parameters:>11,}  {name} ({_bytes(part.num_bytes)})"
    if card.files:
        yield "files", ", ".join(f"{name} {_bytes(size)}" for name, size in card.files.items())


def _origin(card: RunCard) -> _Rows:
    metadata = card.metadata
    if metadata.stages:
        yield (
            "training",
            f"stages {', '.join(metadata.stages)}; seed {metadata.seed}"
            + (f"; precision {metadata.precision}" if metadata.precision else ""),
        )
    else:
        yield "training", f"seed {metadata.seed}"
    if card.seconds:
        yield "training", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in card.seconds.items())
    for part, origin in (("MotionNet", metadata.motion_init), ("temporal stream", metadata.temporal_init)):
        if origin:
            yield "began with", f"{part}: {origin.get('source', 'weights')} ({origin.get('file', '')})"
    for part, run in metadata.warm_start.items():
        yield "began with", f"{part} of {run}"
    if metadata.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in metadata.versions.items())


def _speed(card: RunCard) -> _Rows:
    if card.speed is not None:
        found = card.speed
        yield (
            "speed",
            f"{found.milliseconds:.1f} ms for {found.what} ({found.frames_per_second:.0f} per second)",
        )
        yield "speed", f"on {found.device}: {found.machine}"


def _curves(card: RunCard, plain: bool) -> _Rows:
    for curve in card.curves:
        known = [value for value in curve.values if math.isfinite(value)]
        if curve.name in ("loss", "accuracy", "epe_px") and known:
            shown = f"{known[0]:.3g}"  # one value is no curve
            if len(known) > 1:
                line = sparkline(curve.values, plain=plain)
                shown = f"{line}  {known[0]:.3g} {'to' if plain else '→'} {known[-1]:.3g}"
            yield "curves", f"{curve.stage:<8} {curve.name:<8} {shown} (step {curve.steps[-1]})"


def _bytes(number: int) -> str:
    if number >= 10**6:
        return f"{number / 1e6:.1f} MB"
    return f"{number / 1e3:.1f} kB" if number >= 10**3 else f"{number} bytes"

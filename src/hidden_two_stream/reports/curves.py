"""The training curves of a run, from its log; and curves as one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hidden_two_stream.checkpoint import read_metrics
from hidden_two_stream.reports.data import Curve

__all__ = ["run_curves", "sparkline"]

_NOT_CURVES = ("stage", "step", "seconds", "learning_rate_factor", "gradient_norm")
_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-:=+*#"


def run_curves(folder: Path) -> list[Curve]:
    """Return the curves in the log of a run, in the order of training; none if there is no log."""
    found: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for line in read_metrics(folder):
        for name, value in line.items():
            if name not in _NOT_CURVES:
                steps, values = found.setdefault((line["stage"], name), ([], []))
                steps.append(line["step"])
                values.append(math.nan if value is None else value)
    return [Curve(stage, name, steps, values) for (stage, name), (steps, values) in found.items()]


def sparkline(values: Sequence[float], width: int = 40, *, plain: bool = False) -> str:
    """Return values as a line of up to `width` characters, from the smallest to the largest value.

    More values than characters are averaged in equal parts. Values that are not finite are left out; a part
    without any is a space.

    Args:
        values: the values.
        width: most characters.
        plain: use ASCII, for terminals without block characters.
    """
    numbers = np.array(values, dtype=np.float64)
    numbers[~np.isfinite(numbers)] = math.nan
    parts = [part[np.isfinite(part)] for part in np.array_split(numbers, min(width, len(numbers)) or 1)]
    means = [float(part.mean()) if len(part) else math.nan for part in parts]
    known = [mean for mean in means if math.isfinite(mean)]
    if not known:
        return ""
    low, high = min(known), max(known)
    ramp = _PLAIN if plain else _BLOCKS
    step = (high - low) / len(ramp) or 1.0
    levels = (-1 if math.isnan(mean) else min(int((mean - low) / step), len(ramp) - 1) for mean in means)
    return "".join(" " if level < 0 else ramp[level] for level in levels)

"""A comparison of methods on the same test videos: accuracies with intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.accuracy import wilson_interval

__all__ = [
    "ALONE",
    "BOOTSTRAP_DRAWS",
    "MIN_DECISIVE_VIDEOS",
    "Comparison",
    "Correct",
    "Difference",
    "Kind",
    "MethodResult",
    "accuracy_interval",
    "class_accuracy",
    "paired_difference",
    "percentage_points",
    "t_quantile",
]

Kind = Literal["spatial", "nearest", "pixels", "precomputed", "hidden"]
"""The spatial stream alone, a nearest neighbor, raw pixels, precomputed flow, or learned hidden motion."""

ALONE: tuple[Kind, ...] = ("spatial", "nearest")
"""Kinds that are not fused with the spatial stream: that stream itself, and methods that learn nothing."""

Correct = npt.NDArray[np.bool_]
"""(S, N) bool: whether the predicted class is the true one, for S seeds and N test videos."""

BOOTSTRAP_DRAWS = 2000
MIN_DECISIVE_VIDEOS = 6
"""The fewest decisive videos that allow a verdict.

A sign test of five videos that all favor one method still has p = 2 / 2^5 = 0.06. A bootstrap of so few
videos never draws the opposite outcome and would report certainty.
"""

_FORMAT_VERSION = 2
_SCALARS = {
    "data": str, "group": (str, type(None)), "protocol": str, "machine": str, "num_unreadable": int,
}  # fmt: skip
_LISTS = ("seeds", "folds", "classes", "truth")
_TITLES = {
    "spatial": "spatial alone", "nearest-frame": "nearest frame", "nearest-motion": "nearest motion",
    "frames": "stacked frames", "difference": "RGB difference",
    "tvl1": "TV-L1", "dis-fast": "DIS fast", "dis-medium": "DIS medium", "farneback": "Farneback",
    "hidden-frozen": "hidden frozen", "hidden-joint": "hidden joint", "branched": "hidden branched",
    "sequence": "hidden sequence", "sequence-scratch": "hidden sequence, from scratch",
    "sequence-frozen": "hidden sequence, last layer alone",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class MethodResult:
    """Test results of one input to the temporal stream: S seeds, N videos of all folds in order.

    Attributes:
        name: "spatial", "frames", "difference", "tvl1", …, or the name of a plug-in.
        kind: what the method sees.
        alone: (S, N) whether this stream alone predicts the true class.
        fused: (S, N) the same for this stream fused with the spatial stream; None for the kinds in `ALONE`.
        decode_ms: median milliseconds per clip for decoding.
        motion_ms: median milliseconds per clip for motion, which includes computing precomputed flow.
        recognition_ms: median milliseconds per clip for the streams that are fused.
        bytes_stored: size of the stored flow of all videos.
        seconds_extracted: single-threaded time of computing the stored flow, summed over all videos.
    """

    name: str
    kind: Kind
    alone: Correct = field(repr=False)
    fused: Correct | None = field(repr=False)
    decode_ms: float
    motion_ms: float
    recognition_ms: float
    bytes_stored: int = 0
    seconds_extracted: float = 0.0

    @property
    def title(self) -> str:
        """The name as tables and plots show it."""
        name, at, factor = self.name.partition("@")
        return _TITLES.get(name, name) + (f" (enlarged {factor}×)" if at else "")

    @property
    def final(self) -> Correct:
        """(S, N) the results that methods are ranked by: fused, or alone for the kinds in `ALONE`."""
        return self.alone if self.fused is None else self.fused

    @property
    def accuracy(self) -> float:
        """The accuracy of `final`, averaged over seeds, in 0..1."""
        return float(self.final.mean())

    @property
    def total_ms(self) -> float:
        """Milliseconds per clip from the file to the prediction."""
        return self.decode_ms + self.motion_ms + self.recognition_ms


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several methods on the same videos, folds, and seeds.

    Attributes:
        data: the data as the user named it.
        group: the column that defines the folds, or None.
        protocol: name of the test protocol.
        seeds: S seeds.
        folds: names of the folds.
        classes: class names.
        truth: (N,) class name of each test video.
        methods: in table order.
        machine: description of the machine that measured the times.
        recipe: the training recipe, JSON-ready.
        num_unreadable: number of unreadable videos; they are part of no figure.
        clips: the largest number of training clips of each class, drawn with the seed; None: all clips.

    Raises:
        DataError: the parts don't fit together.
    """

    data: str
    group: str | None
    protocol: str
    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    classes: tuple[str, ...]
    truth: tuple[str, ...] = field(repr=False)
    methods: tuple[MethodResult, ...]
    machine: str
    recipe: Mapping[str, Any] = field(repr=False)
    num_unreadable: int = 0
    clips: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.truth))
        names = [method.name for method in self.methods]
        if not names or 0 in shape:
            raise DataError(
                f"the comparison has {len(names)} methods, {shape[0]} seeds and {shape[1]} test videos; "
                "expected at least one of each"
            )
        if self.clips is not None and self.clips < 1:
            raise DataError(
                f"the comparison has {self.clips} training clips of each class; expected 1 or more"
            )
        if len(set(names)) < len(names):
            raise DataError(f"the methods are {', '.join(names)}; expected each name once")
        if unknown := sorted(set(self.truth) - set(self.classes)):
            raise DataError(f"unknown classes {unknown}; expected some of {', '.join(self.classes)}")
        for method in self.methods:
            _check_method(method, shape)

    @property
    def best(self) -> MethodResult:
        """The method with the highest accuracy; the first one of those that share it."""
        return max(self.methods, key=lambda method: method.accuracy)

    def of(self, *kinds: Kind) -> list[MethodResult]:
        """The methods of the given kinds, best first."""
        found = [method for method in self.methods if method.kind in kinds]
        return sorted(found, key=lambda method: -method.accuracy)

    def to_dict(self) -> dict[str, Any]:
        """The comparison and its derived figures, JSON-ready.

        Accuracies are in 0..1 and times are in seconds. "right_alone" and "right_fused" hold one string per
        seed with one digit per test video: 1 where the predicted class is the true one, else 0.
        """
        return {
            "format_version": _FORMAT_VERSION,
            **{name: getattr(self, name) for name in _SCALARS},
            **{name: list(getattr(self, name)) for name in _LISTS},
            "clips_per_class": self.clips,
            "recipe": dict(self.recipe),
            "best": self.best.name,
            "methods": [_method_to_dict(self, method) for method in self.methods],
        }

    @classmethod
    def from_dict(cls, found: Any) -> Self:
        """The comparison that `to_dict` described; derived figures are computed again, not read.

        Args:
            found: parsed `results.json` of `hts compare`.

        Raises:
            DataError: the format version is another one, or a part is missing or has the wrong type.
        """
        version = found.get("format_version") if isinstance(found, dict) else None
        if version != _FORMAT_VERSION:
            raise DataError(
                f"these results have format version {version!r}; expected {_FORMAT_VERSION}; pass the "
                "results.json that this version of `hts compare` writes"
            )
        try:
            scalars: dict[str, Any] = {name: _typed(found, name, kind) for name, kind in _SCALARS.items()}
            lists: dict[str, Any] = {name: tuple(_typed(found, name, list)) for name in _LISTS}
            return cls(
                **scalars,
                **lists,
                methods=tuple(_method_from_dict(method) for method in _typed(found, "methods", list)),
                recipe=_typed(found, "recipe", dict),
                clips=_typed({"clips_per_class": None, **found}, "clips_per_class", (int, type(None))),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"these are no results of `hts compare`: {reason}; compare again") from error


def _check_method(method: MethodResult, shape: tuple[int, int]) -> None:
    name = f"method {method.name!r}"
    if method.kind not in get_args(Kind):
        raise DataError(f"{name} has kind {method.kind!r}; expected one of {', '.join(get_args(Kind))}")
    if (method.fused is None) != (method.kind in ALONE):
        raise DataError(
            f"{name} of kind {method.kind} has {'no ' if method.fused is None else ''}fused results; "
            f"expected fused results for every kind except {' and '.join(ALONE)}"
        )
    for part in (method.alone, method.final):
        if part.shape != shape or part.dtype != np.bool_:
            raise DataError(
                f"{name} has {part.dtype} results of shape {part.shape}; expected bool of shape {shape}: "
                "one row per seed, one column per test video"
            )
    for number in (method.decode_ms, method.motion_ms, method.recognition_ms, method.bytes_stored,
                   method.seconds_extracted):  # fmt: skip
        if not (math.isfinite(number) and number >= 0):
            raise DataError(f"{name} has {number} as a time or size; expected a finite number of at least 0")


# -- results.json ----------------------------------------------------------------------------------


def _method_to_dict(comparison: Comparison, method: MethodResult) -> dict[str, Any]:
    difference = paired_difference(method.final, comparison.best.final)
    figures: dict[str, Any] = {"name": method.name, "kind": method.kind}
    for name, correct in (("alone", method.alone), ("fused", method.fused)):
        mean, low, high = (None,) * 3 if correct is None else accuracy_interval(correct)
        figures[f"accuracy_{name}"] = mean
        figures[f"accuracy_{name}_interval_95"] = None if correct is None else [low, high]
    return {
        **figures,
        "against_best": {
            "difference": difference.mean,
            "interval_95": [difference.low, difference.high],
            "num_decisive": difference.num_decisive,
            "verdict": difference.verdict,
        },
        "per_class": {name: value for name, (value, _) in class_accuracy(comparison, method.final).items()},
        "seconds_per_clip": {
            "decoding": method.decode_ms / 1000,
            "motion": method.motion_ms / 1000,
            "recognition": method.recognition_ms / 1000,
            "total": method.total_ms / 1000,
        },
        "bytes_stored": method.bytes_stored,
        "seconds_extracted": method.seconds_extracted,
        "right_alone": _to_digits(method.alone),
        "right_fused": None if method.fused is None else _to_digits(method.fused),
    }


def _method_from_dict(found: Mapping[str, Any]) -> MethodResult:
    seconds, fused = found["seconds_per_clip"], _typed(found, "right_fused", (list, type(None)))
    return MethodResult(
        name=str(found["name"]),
        kind=found["kind"],
        alone=_from_digits(_typed(found, "right_alone", list)),
        fused=None if fused is None else _from_digits(fused),
        decode_ms=1000 * float(seconds["decoding"]),
        motion_ms=1000 * float(seconds["motion"]),
        recognition_ms=1000 * float(seconds["recognition"]),
        bytes_stored=int(found["bytes_stored"]),
        seconds_extracted=float(found["seconds_extracted"]),
    )


def _typed(found: Mapping[str, Any], name: str, kind: Any) -> Any:
    if not isinstance(found[name], kind):
        raise TypeError(f"{name} is {str(found[name])[:40]!r}")
    return found[name]


def _to_digits(correct: Correct) -> list[str]:
    return ["".join("1" if one else "0" for one in row) for row in correct]


def _from_digits(rows: Sequence[str]) -> Correct:
    if any(set(row) - {"0", "1"} for row in rows) or len({len(row) for row in rows}) != 1:
        raise ValueError("expected rows of 0 and 1, all of the same length")
    return np.array([[digit == "1" for digit in row] for row in rows])


# -- statistics ------------------------------------------------------------------------------------


def accuracy_interval(correct: Correct) -> tuple[float, float, float]:
    """The accuracy averaged over seeds and the ends of its 95% interval, in 0..1.

    With two or more seeds, the interval is Student's t over the accuracies of the seeds, clipped to 0..1: it
    says how much another training run may differ. With one seed, it is Wilson's interval over the videos: it
    says how much other videos may differ.

    Args:
        correct: (S, N).
    """
    num_seeds, num_videos = correct.shape
    values = correct.mean(axis=1)
    mean = float(values.mean())
    if num_seeds == 1:
        return mean, *wilson_interval(mean, num_videos)
    half = t_quantile(num_seeds - 1) * float(values.std(ddof=1)) / math.sqrt(num_seeds)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def t_quantile(degrees_of_freedom: int, confidence: float = 0.95) -> float:
    """The value that Student's |t| stays below with probability `confidence`.

    For an integer number of degrees of freedom ν, the distribution function is a finite sum in
    θ = atan(t / √ν) (Abramowitz and Stegun, 26.7.3 and 26.7.4). Bisection inverts it.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        below = _t_probability(middle, degrees_of_freedom) < confidence
        low, high = (middle, high) if below else (low, middle)
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def _t_probability(theta: float, degrees_of_freedom: int) -> float:
    """P(|T| < √ν tan θ) with ν degrees of freedom."""
    odd = degrees_of_freedom % 2
    term = math.sin(theta) * (math.cos(theta) if odd else 1.0)
    total = 0.0
    for k in range(2 + odd, degrees_of_freedom + 1, 2):
        total += term
        term *= (k - 1) / k * math.cos(theta) ** 2
    return 2 / math.pi * (theta + total) if odd else total


@dataclass(frozen=True)
class Difference:
    """Accuracy of one method minus that of another on the same videos and seeds, with its 95% interval.

    Attributes:
        mean, low, high: fractions.
        num_decisive: videos that one method classifies correctly with more seeds than the other.
    """

    mean: float
    low: float
    high: float
    num_decisive: int

    @property
    def verdict(self) -> Literal["better", "worse", "not distinguishable"]:
        """The conclusion from the interval; fewer than six decisive videos allow none."""
        if self.num_decisive < MIN_DECISIVE_VIDEOS or self.low <= 0 <= self.high:
            return "not distinguishable"
        return "better" if self.low > 0 else "worse"

    def __str__(self) -> str:
        low, high = percentage_points(self.low), percentage_points(self.high)
        return f"{percentage_points(self.mean)} [{low}, {high}]"


def paired_difference(one: Correct, other: Correct) -> Difference:
    """Compare two methods with a paired bootstrap: 2000 draws of N videos, each with all its seeds.

    The mean over a draw depends only on how often the draw contains each per-video difference. These counts
    have a multinomial distribution, because the N videos are drawn with replacement, so the counts are drawn
    directly. Swapping the methods uses the same draws and flips the signs.

    Args:
        one, other: (S, N).
    """
    num_seeds, num_videos = one.shape
    values = one.sum(axis=0, dtype=np.int64) - other.sum(axis=0, dtype=np.int64)
    if next((value for value in (values.sum(), *values) if value), 0) > 0:
        swapped = paired_difference(other, one)
        return Difference(-swapped.mean, -swapped.high, -swapped.low, swapped.num_decisive)
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(num_videos, counts / num_videos, size=BOOTSTRAP_DRAWS)
    low, high = np.quantile(drawn @ kinds / (num_videos * num_seeds), [0.025, 0.975])
    return Difference(float(values.mean()) / num_seeds, float(low), float(high), int((values != 0).sum()))


def class_accuracy(comparison: Comparison, correct: Correct) -> dict[str, tuple[float, int]]:
    """Accuracy over seeds and number of test videos, for each class that has test videos.

    Args:
        comparison: gives the true class of each video.
        correct: (S, N).
    """
    truth = np.array(comparison.truth)
    rows = {name: truth == name for name in comparison.classes}
    return {name: (float(correct[:, row].mean()), int(row.sum())) for name, row in rows.items() if row.any()}


def percentage_points(fraction: float) -> str:
    """A difference of accuracies as text in percentage points, with its sign."""
    points = round(100 * fraction, 1)
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"

"""What `hts compare` found: accuracies with intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import DataError
from hidden_two_stream.evaluation.accuracy import wilson_interval

__all__ = [
    "BOOTSTRAP_DRAWS",
    "FEWEST_DECISIVE",
    "Comparison",
    "Difference",
    "Kind",
    "MethodResult",
    "Right",
    "accuracy_interval",
    "class_accuracy",
    "paired_difference",
    "signed",
    "t_quantile",
]

Kind = Literal["spatial", "pixels", "given", "hidden"]
Right = npt.NDArray[np.bool_]

BOOTSTRAP_DRAWS = 2000
# A sign test of five videos that all speak for one side still has p = 2 / 2^5 = 0.06; a bootstrap of so
# few never draws the other side, and would be sure.
FEWEST_DECISIVE = 6
_TITLES = {
    "spatial": "spatial alone", "frames": "stacked frames", "difference": "RGB difference",
    "tvl1": "TV-L1", "dis-fast": "DIS fast", "dis-medium": "DIS medium", "farneback": "Farneback",
    "hidden-frozen": "hidden frozen", "hidden-joint": "hidden joint", "branched": "hidden branched",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One way to feed the temporal stream: S seeds tested on N videos, those of all folds in a row.

    Attributes:
        name: "spatial", "frames", "difference", "tvl1", …, or a plug-in's.
        kind: the spatial stream alone, pixels, flow that was extracted before, or motion learned inside.
        alone: (S, N) whether this stream names the video's class.
        fused: (S, N) the same when fused with the spatial stream; None for the spatial stream itself.
        decode_ms: median milliseconds per clip for decoding.
        motion_ms: the same for motion; with given flow, for extracting it.
        recognition_ms: the same for the streams that are fused.
        bytes_stored: flow on disk, all videos.
        seconds_extracted: time of computing the flow, summed over all videos, one thread each.
    """

    name: str
    kind: Kind
    alone: Right
    fused: Right | None
    decode_ms: float
    motion_ms: float
    recognition_ms: float
    bytes_stored: int = 0
    seconds_extracted: float = 0.0

    @property
    def title(self) -> str:
        """The name for people."""
        name, at, factor = self.name.partition("@")
        return _TITLES.get(name, name) + (f" (enlarged {factor}×)" if at else "")

    @property
    def final(self) -> Right:
        """(S, N) what methods are ranked by: fused, or the spatial stream alone."""
        return self.alone if self.fused is None else self.fused

    @property
    def accuracy(self) -> float:
        """Mean over seeds of `final`."""
        return float(self.final.mean())

    @property
    def whole_ms(self) -> float:
        """Milliseconds per clip from the file to the answer."""
        return self.decode_ms + self.motion_ms + self.recognition_ms


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several methods on the same videos, folds and seeds.

    Attributes:
        data: the data as the user named it.
        group: what one value is left out of, or None.
        protocol: of the tests.
        seeds: S numbers.
        folds: their names.
        classes: their names.
        truth: (N,) class name of each test video.
        methods: in the order of the table.
        machine: in words.
        recipe: what was trained, JSON-ready.
        num_unreadable: videos that could not be read, and count nowhere.

    Raises:
        DataError: the parts don't fit each other.
    """

    data: str
    group: str | None
    protocol: str
    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    classes: tuple[str, ...]
    truth: tuple[str, ...]
    methods: tuple[MethodResult, ...]
    machine: str
    recipe: Mapping[str, Any]
    num_unreadable: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.truth))
        names = [method.name for method in self.methods]
        if not names or 0 in shape:
            raise DataError(
                f"a comparison of {len(names)} methods, {shape[0]} seeds and {shape[1]} videos; "
                "expected at least one of each"
            )
        if len(set(names)) < len(names):
            raise DataError(f"methods {', '.join(names)}: expected each once")
        if unknown := sorted(set(self.truth) - set(self.classes)):
            raise DataError(f"unknown classes {unknown}; expected some of {', '.join(self.classes)}")
        for method in self.methods:
            _check(method, shape)

    def of(self, *kinds: Kind) -> list[MethodResult]:
        """The methods of some kinds, best first."""
        found = [method for method in self.methods if method.kind in kinds]
        return sorted(found, key=lambda method: -method.accuracy)


def _check(method: MethodResult, shape: tuple[int, int]) -> None:
    name = f"method {method.name!r}"
    if method.kind not in get_args(Kind):
        raise DataError(f"{name} is of kind {method.kind!r}; expected one of {', '.join(get_args(Kind))}")
    if (method.fused is None) != (method.kind == "spatial"):
        raise DataError(f"{name} of kind {method.kind}: expected fused results of all kinds but spatial")
    for part in (method.alone, method.final):
        if part.shape != shape or part.dtype != np.bool_:
            raise DataError(
                f"{name} has {part.dtype} results of shape {part.shape}; expected bool of shape {shape}: "
                "one row per seed, one column per test video"
            )
    for number in (method.decode_ms, method.motion_ms, method.recognition_ms, method.bytes_stored,
                   method.seconds_extracted):  # fmt: skip
        if not (math.isfinite(number) and number >= 0):
            raise DataError(f"{name} has {number} as a time or size; expected a number from 0 on")


# -- statistics ------------------------------------------------------------------------------------


def accuracy_interval(right: Right) -> tuple[float, float, float]:
    """Mean over seeds of the accuracy and its 95 % interval, fractions.

    Two or more seeds: Student's t over the seeds' accuracies, clipped to 0..1; it says how far another
    training may lie. One seed: Wilson's over the videos; it says how far other videos may.

    Args:
        right: (S, N).
    """
    num_seeds, num_videos = right.shape
    values = right.mean(axis=1)
    mean = float(values.mean())
    if num_seeds == 1:
        return mean, *wilson_interval(mean, num_videos)
    half = t_quantile(num_seeds - 1) * float(values.std(ddof=1)) / math.sqrt(num_seeds)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def t_quantile(freedom: int, inside: float = 0.95) -> float:
    """The t that Student's |t| stays below with probability `inside`; the 97.5 % quantile by default.

    The distribution function for whole degrees of freedom is a finite sum in θ = atan(t / √ν)
    (Abramowitz and Stegun, 26.7.3 and 26.7.4); it is inverted by bisection.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, freedom) < inside else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_inside(theta: float, freedom: int) -> float:
    """P(|T| < √ν tan θ) with ν degrees of freedom."""
    odd = freedom % 2
    term = math.sin(theta) * (math.cos(theta) if odd else 1.0)
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (k - 1) / k * math.cos(theta) ** 2
    return 2 / math.pi * (theta + total) if odd else total


@dataclass(frozen=True)
class Difference:
    """Accuracy of one method less that of another on the same videos and seeds, and its 95 % interval.

    Attributes:
        mean, low, high: fractions.
        num_decisive: videos that one of them gets right with more seeds than the other.
    """

    mean: float
    low: float
    high: float
    num_decisive: int

    @property
    def verdict(self) -> Literal["better", "worse", "not told apart"]:
        """What the interval says; fewer than six decisive videos say nothing."""
        if self.num_decisive < FEWEST_DECISIVE or self.low <= 0 <= self.high:
            return "not told apart"
        return "better" if self.low > 0 else "worse"

    def __str__(self) -> str:
        return f"{signed(self.mean)} [{signed(self.low)}, {signed(self.high)}]"


def paired_difference(one: Right, other: Right) -> Difference:
    """Compare two methods by a paired bootstrap: 2000 draws of N videos, each with the results of all seeds.

    The mean over a draw depends only on how often each per-video difference was drawn, so these counts are
    drawn, from the multinomial distribution that drawing N videos with replacement gives them. The draws are
    the same whichever method is named first, with the signs turned.

    Args:
        one, other: (S, N).
    """
    num_seeds, num_videos = one.shape
    values = one.sum(axis=0, dtype=np.int64) - other.sum(axis=0, dtype=np.int64)
    if next((value for value in (values.sum(), *values) if value), 0) > 0:
        turned = paired_difference(other, one)
        return Difference(-turned.mean, -turned.high, -turned.low, turned.num_decisive)
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(num_videos, counts / num_videos, size=BOOTSTRAP_DRAWS)
    low, high = np.quantile(drawn @ kinds / (num_videos * num_seeds), [0.025, 0.975])
    return Difference(float(values.mean()) / num_seeds, float(low), float(high), int((values != 0).sum()))


def class_accuracy(comparison: Comparison, right: Right) -> dict[str, tuple[float, int]]:
    """Accuracy over seeds, and number of test videos, of each class that has test videos."""
    truth = np.array(comparison.truth)
    rows = {name: truth == name for name in comparison.classes}
    return {n: (float(right[:, of].mean()), int(of.sum())) for n, of in rows.items() if of.any()}


def signed(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    points = round(100 * fraction, 1)
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"

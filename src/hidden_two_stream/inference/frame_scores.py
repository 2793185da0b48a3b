"""What happens in each frame of a video, and the bouts that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.annotations.frame_labels import FrameTimes, runs
from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import FloatArray, Segment

__all__ = [
    "FrameScores",
    "FrameSettings",
    "bout",
    "bridged_and_long",
    "end_seconds",
]


@dataclass(frozen=True)
class FrameSettings:
    """How scores of frames become labels.

    Attributes:
        thresholds: score from which on a behavior is said to happen, by its name; the others keep those that
            were chosen in training.
        shortest_seconds: shorter bouts are left out.
        bridge_seconds: shorter gaps between two bouts of a behavior are filled.

    Raises:
        UsageError: a number is out of range.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    shortest_seconds: float = 0.0
    bridge_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name, value in self.thresholds.items():
            if not 0 <= value <= 1:
                raise UsageError(f"the threshold of {name!r} is {value}; expected a score from 0 to 1")
        for name in ("shortest_seconds", "bridge_seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 seconds or more")


@dataclass(frozen=True, eq=False)
class FrameScores:
    """What happens in each frame of a video.

    Attributes:
        source: path or name of the video.
        names: the behaviors, in the order of the columns.
        pts_seconds: (T,) times of the frames.
        scores: (T, K) float32, 0…1.
        values: (T, K) int8: 1 it happens, 0 it does not.
        exclusive: one behavior at a time, or none.
        removed: bouts that were left out because they are short, with their scores.
        warnings: what is wrong with the video.
    """

    source: str
    names: tuple[str, ...]
    pts_seconds: FrameTimes = field(repr=False)
    scores: FloatArray = field(repr=False)
    values: npt.NDArray[np.int8] = field(repr=False)
    exclusive: bool = False
    removed: tuple[Segment, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def end_seconds(self) -> float:
        """The time at which the last frame is over."""
        return end_seconds(self.pts_seconds)

    def bouts(self) -> list[Segment]:
        """Return a segment for each run of frames of each behavior, sorted by start; with its mean score."""
        edges = np.append(self.pts_seconds, self.end_seconds)
        found = [
            bout(edges, self.scores[:, column], name, first, stop)
            for column, name in enumerate(self.names)
            for first, stop in runs(self.values[:, column] == 1)
        ]
        return sorted(found, key=lambda one: (one.start_seconds, one.end_seconds))


def bout(edges: FrameTimes, scores: FloatArray, name: str, first: int, stop: int) -> Segment:
    """Return the bout of the frames [first, stop), with its mean score."""
    return Segment(float(edges[first]), float(edges[stop]), name, float(scores[first:stop].mean()))


def end_seconds(times: FrameTimes) -> float:
    """Return the time at which the last frame is over: it lasts as long as the one before it."""
    return float(times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / 25))


def bridged_and_long(
    values: npt.NDArray[np.int8], edges: FrameTimes, settings: FrameSettings
) -> list[tuple[int, int]]:
    """Fill short gaps of (T,) values and leave out short bouts, in place; return the bouts left out.

    Gaps are filled first. Before the first bout and after the last one there is no gap.

    Args:
        values: (T,) ones where a behavior happens.
        edges: (T + 1,) times of the frames and of the end, s.
        settings: the shortest bout and the longest gap.
    """
    bouts = runs(values == 1)
    for (_, stop), (first, _) in itertools.pairwise(bouts):
        if edges[first] - edges[stop] < settings.bridge_seconds:
            values[stop:first] = 1
    removed = [
        (first, stop)
        for first, stop in runs(values == 1)
        if edges[stop] - edges[first] < settings.shortest_seconds
    ]
    for first, stop in removed:
        values[first:stop] = 0
    return removed

"""The settings by which the scores of windows become segments. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import BACKGROUND

__all__ = ["LONGEST_SMOOTHING_SECONDS", "SegmentRule", "SegmentSettings"]

LONGEST_SMOOTHING_SECONDS = 600.0

_DEFAULT_ENTER = 0.5
_LEAVE_SHARE = 0.6


@dataclass(frozen=True)
class SegmentSettings:
    """How the scores of windows become segments.

    Attributes:
        hop_seconds: time between the starts of two windows, s, above 0. A smaller hop gives finer boundaries
            and takes longer.
        smoothing_seconds: length of the moving average over the scores, s; 0 does not smooth.
        enter: smoothed score, 0…1, that a segment of a class must reach; windows that are of no known class
            count, too, if it is given. None: 0.5; or, without prototypes, the threshold of the run's
            calibration if it has one, else 0.5.
        leave: smoothed score, 0…1, above which the segment extends to both sides; at most `enter`. None:
            0.6 · `enter`.
        bridge_seconds: a shorter gap between two segments of one class is closed, s.
        shortest_seconds: a shorter segment is dropped, s, after gaps are closed.
        background: name of the class that means "nothing known here". None: the class "background" if the run
            has one.

    Raises:
        UsageError: a value is out of range.
    """

    hop_seconds: float = 0.2
    smoothing_seconds: float = 0.6
    enter: float | None = None
    leave: float | None = None
    bridge_seconds: float = 0.5
    shortest_seconds: float = 0.5
    background: str | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "background":
                if value is not None and not isinstance(value, str):
                    raise UsageError(f"background is {value!r}; expected the name of a class")
            elif not (value is None and item.default is None):
                _require_number(item.name, value, _LIMITS[item.name])
        if self.hop_seconds <= 0:
            raise UsageError(f"hop_seconds is {self.hop_seconds!r}; expected a number of seconds above 0")
        if self.enter is not None and self.leave is not None and self.leave > self.enter:
            raise UsageError(
                f"leave is {self.leave:g}, above enter, {self.enter:g}; expected at most the score that a "
                "segment must reach"
            )

    def rule(self, classes: Sequence[str], threshold: float | None = None) -> SegmentRule:
        """Return the rule for a run.

        Args:
            classes: names of its classes.
            threshold: the score below which no class fits, of its calibration; None: it has none.

        Raises:
            UsageError: `background` is not a class of the run, or `leave` is above the threshold.
        """
        if self.background is not None and self.background not in classes:
            raise UsageError(
                f"the background class is {self.background!r}; expected one of {', '.join(classes)}"
            )
        enter = self.enter
        if enter is None:
            enter = _DEFAULT_ENTER if threshold is None else threshold
        leave = _LEAVE_SHARE * enter if self.leave is None else self.leave
        if leave > enter:
            raise UsageError(
                f"leave is {leave:g}, above enter, which is {enter:g} for this run; expected at most the "
                "score that a segment must reach: set enter too"
            )
        name = self.background or BACKGROUND
        background = list(classes).index(name) if name in classes else None
        return SegmentRule(
            tuple(classes), enter, leave, background, self.bridge_seconds, self.shortest_seconds
        )


_LIMITS = {
    "hop_seconds": math.inf,
    "smoothing_seconds": LONGEST_SMOOTHING_SECONDS,
    "enter": 1.0,
    "leave": 1.0,
    "bridge_seconds": math.inf,
    "shortest_seconds": math.inf,
}
"""The largest value of each number."""


def _require_number(name: str, value: object, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and 0 <= value <= most):  # type: ignore[arg-type, operator]
        kind = "score" if most == 1 else "number of seconds"
        bounds = "of at least 0" if math.isinf(most) else f"from 0 to {most:g}"
        raise UsageError(f"{name} is {value!r}; expected a {kind} {bounds}")


@dataclass(frozen=True)
class SegmentRule:
    """`SegmentSettings` for the classes of one run, with nothing left open.

    Attributes:
        classes: names, in the order of all scores.
        enter, leave: smoothed scores that a segment must reach, and must not fall below.
        background: number of the class that means "nothing known here"; None: there is none.
        bridge_seconds, shortest_seconds: as in the settings.
    """

    classes: tuple[str, ...]
    enter: float
    leave: float
    background: int | None
    bridge_seconds: float
    shortest_seconds: float

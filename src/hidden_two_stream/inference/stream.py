"""Decisions about a live source: one for the newest frame, as soon as it can be made."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.inference.windows import as_numbers
from hidden_two_stream.types import Decision, Image, WindowPrediction, require_threshold
from hidden_two_stream.video.newest import GIVE_UP_SECONDS, NewestFrames, ignore
from hidden_two_stream.video.sources.live import LiveFrame, LiveSource

__all__ = ["Ring", "StreamSettings", "WindowScorer", "decided", "decisions"]

_RATE_FRAMES = 50  # frames over which the rate is measured


@dataclass(frozen=True)
class StreamSettings:
    """How a live recognizer decides.

    Attributes:
        every_seconds: shortest time between two decisions; 0: one for each frame.
        smooth_seconds: scores are the mean over the windows that ended in the last so many seconds; 0: those
            of the newest window.
        threshold: the fused score below which no class fits, 0…1; 0: a class always fits; None: the run's
            calibration decides, if there is one.
        all_frames: drop no frame; a slow computer then falls behind.
        give_up_seconds: how long to try to open a camera or a stream again that broke off.

    Raises:
        UsageError: a number is out of range.
    """

    every_seconds: float = 0.0
    smooth_seconds: float = 0.0
    threshold: float | None = None
    all_frames: bool = False
    give_up_seconds: float = GIVE_UP_SECONDS

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        for name in ("every_seconds", "smooth_seconds", "give_up_seconds"):
            value: object = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and value >= 0 and not math.isnan(value)):  # type: ignore[operator,arg-type]
                raise UsageError(f"{name} is {value!r}; expected 0 seconds or more")


class Ring(Protocol):
    """The newest window of a stream of frames, such as `inference.ring.WindowRing`.

    Attributes:
        span: frames from the first to the last of a window.
    """

    span: int

    def clear(self) -> None:
        """Forget all frames."""

    def push(self, image: Image) -> Mapping[str, Any] | None:
        """Return the logits (classes,) of the window that ends with a new frame; None: too few frames."""


@dataclass
class WindowScorer:
    """Scores the window that ends with a new frame.

    Attributes:
        ring: the newest window.
        calibrated: raw logits of each stream → logits divided by the temperatures.
        window: start, end and logits → the scores of a window.
        fps: frames per second that the recipe samples; 0: all frames of the source.
        rate_warning: frames per second → what is wrong with them.
    """

    ring: Ring
    calibrated: Callable[[Mapping[str, Any]], dict[str, Any]]
    window: Callable[[float, float, Mapping[str, npt.NDArray[np.floating]]], WindowPrediction]
    fps: float
    rate_warning: Callable[[float], str | None]

    def __post_init__(self) -> None:
        self._times: deque[float] = deque(maxlen=self.ring.span)
        self._due = -math.inf

    def wants(self, frame: LiveFrame) -> bool:
        """Return whether the frame belongs to the sample of `fps` frames per second."""
        if frame.after_gap:
            self._due = -math.inf
        if not self.fps:
            return True
        if frame.seconds < self._due - 0.5 / self.fps:
            return False
        due = self._due + 1 / self.fps
        self._due = due if due > frame.seconds else frame.seconds + 1 / self.fps
        return True

    def score(self, frame: LiveFrame) -> WindowPrediction | None:
        """Return the scores of the window that ends with a frame; None: there are too few frames yet.

        Raises:
            CheckpointError: scores are not finite.
        """
        if frame.after_gap:
            self.ring.clear()
            self._times.clear()
        self._times.append(frame.seconds)
        found = self.ring.push(frame.image)
        if found is None:
            return None
        logits = {name: as_numbers(values) for name, values in self.calibrated(found).items()}
        for name, values in logits.items():
            if not np.isfinite(values).all():
                raise CheckpointError(f"the {name} stream gives scores that are not finite")
        return self.window(self._times[0], frame.seconds, logits)


def decided(
    scoring: Scoring,
    ring: Ring,
    source: LiveSource,
    settings: StreamSettings | None = None,
    on_event: Callable[[str], None] | None = None,
    calibrated: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> Iterator[Decision]:
    """Return an iterator over decisions about a live source, by the description of a run.

    Args:
        scoring: temperatures, fusion, threshold and rates of the run.
        ring: the newest window.
        source: where frames come from.
        settings: how to decide; None: `StreamSettings()`.
        on_event: is called with a line when something happens to the source.
        calibrated: the ring's logits → logits divided by the temperatures; None: those of the run.

    Raises:
        VideoError, CheckpointError: as `Recognizer.stream`.
    """
    chosen = settings or StreamSettings()
    fps = scoring.info.recipe.input.fps
    return decisions(
        source,
        WindowScorer(ring, calibrated or scoring.calibrated, scoring.window, fps, scoring.rate_warning),
        replace(chosen, threshold=scoring.threshold(chosen.threshold)),
        on_event or ignore,
        scoring.least_similarity(chosen.threshold),
    )


def decisions(
    source: LiveSource,
    scorer: WindowScorer,
    settings: StreamSettings,
    on_event: Callable[[str], None],
    least_similarity: float | None = None,
) -> Iterator[Decision]:
    """Yield a decision for each frame that is scored; the source is open while the iterator is.

    Args:
        source: where frames come from.
        scorer: scores the window that ends with a frame.
        settings: how to decide; `threshold` is used as it is.
        on_event: is called with a line when something happens to the source.
        least_similarity: the similarity below which no class fits; None: it does not count.

    Raises:
        VideoError, CheckpointError: as `Recognizer.stream`.
    """
    recent: deque[WindowPrediction] = deque()
    rates = _RateWatch(source.name, scorer.rate_warning, on_event)
    next_due, dropped = -math.inf, 0
    frames = NewestFrames(
        source,
        all_frames=settings.all_frames,
        give_up_seconds=settings.give_up_seconds,
        on_event=on_event,
    )
    with frames:
        for frame in frames:
            if not scorer.wants(frame):
                continue
            rates.add(frame)
            window = scorer.score(frame)
            if frame.after_gap:
                recent.clear()
            if window is None:
                continue
            recent.append(window)
            while recent[0].end_seconds < frame.seconds - settings.smooth_seconds:
                recent.popleft()
            if frame.seconds < next_due:
                continue
            next_due = frame.seconds + settings.every_seconds
            lost, dropped = frames.num_dropped - dropped, frames.num_dropped
            yield Decision(
                start_seconds=window.start_seconds,
                end_seconds=window.end_seconds,
                frame=frame.index,
                classes=window.classes,
                scores=_mean([found.scores for found in recent]),
                streams={name: _mean([found.streams[name] for found in recent]) for name in window.streams},
                threshold=settings.threshold,
                latency_seconds=time.monotonic() - frame.arrived,
                num_dropped=lost,
                similarity=_mean_similarity(recent),
                least_similarity=least_similarity,
            )


def _mean_similarity(windows: Iterable[WindowPrediction]) -> float | None:
    values = [window.similarity for window in windows if window.similarity is not None]
    return float(np.mean(values)) if values else None


def _mean(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    if len(rows) == 1:
        return rows[0]
    return np.asarray(np.stack(rows).mean(axis=0, dtype=np.float64), np.float32)


class _RateWatch:
    """Says once if the frames that are scored come at a rate far from that of training."""

    def __init__(
        self, name: str, warning: Callable[[float], str | None], on_event: Callable[[str], None]
    ) -> None:
        self._name = name
        self._warning = warning
        self._has_warned = False
        self._on_event = on_event
        self._times: deque[float] = deque(maxlen=_RATE_FRAMES)

    def add(self, frame: LiveFrame) -> None:
        if frame.after_gap:
            self._times.clear()
        self._times.append(frame.seconds)
        if len(self._times) < _RATE_FRAMES:
            return
        fps = (len(self._times) - 1) / (self._times[-1] - self._times[0])
        self._times.clear()
        line = None if self._has_warned else self._warning(fps)
        if line is not None:
            self._on_event(f"{self._name}: {line}")
            self._has_warned = True

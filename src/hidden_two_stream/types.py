"""Validated nouns at the doors of the package: what users hand in and get back.

Inside the package bare tensors are passed, with the shapes of the project's conventions: `frames`
(B, T, 3, H, W), `flow` (B, T-1, 2, h, w) in pixels of its own grid, `logits` (B, classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError

__all__ = [
    "BACKGROUND",
    "Decision",
    "FloatArray",
    "Frame",
    "Image",
    "LazyFrame",
    "Prediction",
    "RawClip",
    "Segment",
    "WindowFeatures",
    "WindowPrediction",
    "require_threshold",
    "validate_clip",
]

BACKGROUND = "background"
"""Name of the class that means "none of the other classes", unless a user names another one."""

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

RawClip = npt.NDArray[np.uint8]
"""(T, H, W, 3) uint8: decoded RGB frames."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        index: frame number in the source, from 0.
        pts_seconds: presentation time; the first frame of the source is at 0.
    """

    image: Image = field(repr=False)
    index: int
    pts_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class LazyFrame:
    """A `Frame` whose image is made when it is asked for: most frames of a long video are not.

    Attributes:
        convert: returns the image.
        index, pts_seconds: as for `Frame`.
    """

    convert: Callable[[], Image] = field(repr=False)
    index: int
    pts_seconds: float

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB, made anew by each call."""
        return self.convert()


@dataclass(frozen=True)
class Segment:
    """A labeled part of a video, [start_seconds, end_seconds): what happens when.

    Attributes:
        start_seconds: time of its first frame; the first frame of the video is at 0.
        end_seconds: time at which it is over, excluded; `start_seconds` for an event that takes no time.
        label: what happens.
        score: how sure a recognizer is, 0…1; None: a person gave the label.
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float | None = None

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.end_seconds - self.start_seconds

    @property
    def is_point(self) -> bool:
        """Whether it is an event that takes no time."""
        return self.start_seconds == self.end_seconds

    def __str__(self) -> str:
        score = "" if self.score is None else f" {self.score:.2f}"
        return f"{self.start_seconds:.2f} to {self.end_seconds:.2f} s: {self.label}{score}"


@dataclass(frozen=True)
class VideoSegments:
    """What happens when in one video.

    Attributes:
        source: name of the video.
        segments: in the order of their starts.
        warnings: what is wrong with the video, such as damage at its end.
    """

    source: str
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()


def validate_clip(clip: object) -> RawClip:
    """Return `clip` if it is a (T, H, W, 3) uint8 array with at least one frame.

    Raises:
        UsageError: its type, shape or dtype is another.
    """
    expected = "expected a (T, H, W, 3) uint8 RGB array with T >= 1"
    if not isinstance(clip, np.ndarray):
        raise UsageError(f"got {type(clip).__name__}; {expected}")
    if clip.ndim != 4 or clip.shape[-1] != 3 or 0 in clip.shape:
        raise UsageError(f"got an array of shape {clip.shape}; {expected}")
    if clip.dtype != np.uint8:
        raise UsageError(f"got an array of {clip.dtype}; {expected} (values 0..255)")
    return clip


def require_threshold(threshold: object) -> None:
    """Check the score below which no class fits.

    Raises:
        UsageError: it is neither None nor a number from 0 to 1.
    """
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 <= threshold <= 1):  # type: ignore[operator]
        raise UsageError(
            f"the threshold is {threshold!r}; expected a score from 0 to 1 (0: a class always fits)"
        )


def _fits(value: float | None, least: float | None) -> bool:
    return least is None or value is None or value >= least


@dataclass(frozen=True)
class Prediction:
    """The label and scores of one video.

    Attributes:
        source: path or name of the video, "array" for an array.
        classes: class names, in the order of all score vectors.
        scores: (classes,) float32 fused scores, which sum to 1.
        streams: (classes,) float32 scores of each stream ("spatial", "temporal"), which sum to 1.
        num_frames: frames that were decoded from the source.
        protocol: test protocol, for example "10x1".
        warnings: facts that a user should know, for example that decoding stopped early.
        threshold: the fused score below which no class fits; None: every score does.
        similarity: how like those of the best class the logits are, −1…1, see `recognition.prototypes`; None:
            the run has no prototypes.
        least_similarity: the similarity below which no class fits; None: it does not count.
    """

    source: str
    classes: tuple[str, ...]
    scores: FloatArray
    streams: Mapping[str, FloatArray] = field(default_factory=dict)
    num_frames: int = 0
    protocol: str = ""
    warnings: tuple[str, ...] = ()
    threshold: float | None = None
    similarity: float | None = None
    least_similarity: float | None = None

    @property
    def known(self) -> bool:
        """Whether a class fits: the highest fused score and the similarity reach their limits."""
        return _fits(self.score, self.threshold) and _fits(self.similarity, self.least_similarity)

    @property
    def label(self) -> str | None:
        """The class with the highest fused score; None if no class fits. A class may be named "unknown"."""
        return self.best if self.known else None

    @property
    def best(self) -> str:
        """The class with the highest fused score, whether it fits or not."""
        return self.classes[int(np.argmax(self.scores))]

    @property
    def score(self) -> float:
        """The highest fused score, in 0..1."""
        return float(np.max(self.scores))

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` best (label, score) pairs, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.classes[i], float(self.scores[i])) for i in order]

    def to_dict(self, k: int = 5) -> dict[str, Any]:
        """Return a JSON-ready form with the `k` best classes."""
        return {
            "source": self.source,
            "label": self.label,
            "known": self.known,
            "best": self.best,
            "score": self.score,
            "threshold": self.threshold,
            "similarity": self.similarity,
            "least_similarity": self.least_similarity,
            "top": [{"label": name, "score": score} for name, score in self.top(k)],
            "streams": {
                name: {"label": self.classes[int(np.argmax(vector))], "score": float(np.max(vector))}
                for name, vector in self.streams.items()
            },
            "num_frames": self.num_frames,
            "protocol": self.protocol,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        return self.line(3)

    def line(self, k: int) -> str:
        """Return one line with the source and the `k` best classes, which says if none of them fits."""
        best = ", ".join(f"{name} {score:.2f}" for name, score in self.top(k))
        return f"{self.source}: {best}" if self.known else f"{self.source}: no class fits ({best})"


@dataclass(frozen=True)
class WindowPrediction:
    """The scores of one window of a video.

    Attributes:
        start_seconds, end_seconds: the interval [start, end) of the window; the video starts at 0.
        classes: class names, in the order of all score vectors.
        scores: (classes,) float32 fused scores, which sum to 1.
        streams: (classes,) float32 scores of each stream ("spatial", "temporal"), which sum to 1.
        similarity: how like those of the best class the logits are, −1…1; None: the run has no prototypes.
    """

    start_seconds: float
    end_seconds: float
    classes: tuple[str, ...]
    scores: FloatArray
    streams: Mapping[str, FloatArray]
    similarity: float | None = None

    @property
    def label(self) -> str:
        """The class with the highest fused score."""
        return self.classes[int(np.argmax(self.scores))]

    @property
    def score(self) -> float:
        """The highest fused score, in 0..1."""
        return float(np.max(self.scores))

    def __str__(self) -> str:
        return f"{self.start_seconds:.2f} to {self.end_seconds:.2f} s: {self.label} {self.score:.2f}"


@dataclass(frozen=True)
class Decision:
    """What a live recognizer says when a frame has arrived.

    Attributes:
        start_seconds, end_seconds: the interval of the newest window, up to and with its last frame. The
            first frame of the source is at 0.
        frame: number of the newest frame in the source, from 0.
        classes: class names, in the order of all score vectors.
        scores: (classes,) float32 fused scores, which sum to 1.
        streams: (classes,) float32 scores of each stream ("spatial", "temporal"), which sum to 1.
        threshold: the fused score below which no class fits; None: every score does.
        latency_seconds: time from the arrival of the newest frame to this decision.
        num_dropped: frames that were dropped since the decision before.
        similarity, least_similarity: as of a `Prediction`; the mean over the windows of the decision.
    """

    start_seconds: float
    end_seconds: float
    frame: int
    classes: tuple[str, ...]
    scores: FloatArray
    streams: Mapping[str, FloatArray]
    threshold: float | None
    latency_seconds: float
    num_dropped: int
    similarity: float | None = None
    least_similarity: float | None = None

    @property
    def known(self) -> bool:
        """Whether a class fits: the highest fused score and the similarity reach their limits."""
        return _fits(self.score, self.threshold) and _fits(self.similarity, self.least_similarity)

    @property
    def label(self) -> str | None:
        """The class with the highest fused score; None if no class fits."""
        return self.best if self.known else None

    @property
    def best(self) -> str:
        """The class with the highest fused score, whether it fits or not."""
        return self.classes[int(np.argmax(self.scores))]

    @property
    def score(self) -> float:
        """The highest fused score, in 0..1."""
        return float(np.max(self.scores))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "start_seconds": round(self.start_seconds, 6),
            "end_seconds": round(self.end_seconds, 6),
            "frame": self.frame,
            "label": self.label,
            "best": self.best,
            "score": self.score,
            "threshold": self.threshold,
            "similarity": self.similarity,
            "least_similarity": self.least_similarity,
            "scores": dict(zip(self.classes, self.scores.tolist(), strict=True)),
            "latency_seconds": round(self.latency_seconds, 6),
            "num_dropped": self.num_dropped,
        }

    def __str__(self) -> str:
        label = self.label or "no class fits"
        return (
            f"{self.end_seconds:.2f} s: {label} {self.score:.2f} "
            f"({1e3 * self.latency_seconds:.0f} ms, {self.num_dropped} dropped)"
        )


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """The embeddings of one window of a video.

    Attributes:
        start_seconds, end_seconds: the interval [start, end) of the window; the video starts at 0.
        embeddings: (D,) float32 of each stream ("spatial", "temporal"): the input of its last layer. Each
            stream has a D of its own.
    """

    start_seconds: float
    end_seconds: float
    embeddings: Mapping[str, FloatArray]

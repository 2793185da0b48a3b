"""What `Recognizer.explain` returns: where and when a recognizer saw its evidence for a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hidden_two_stream.types import FloatArray, Prediction, RawClip

__all__ = ["ExplainedWindow", "Explanation", "OccludedStretch"]

_DIGITS = 5


@dataclass(frozen=True, eq=False)
class ExplainedWindow:
    """Where the streams saw their evidence in one window of a video.

    Attributes:
        times_seconds: (T,) time of each frame.
        end_seconds: when the last frame ends.
        clip: (T, S, S, 3) uint8 RGB: the part of each frame that the networks see, S px a side.
        flow: (T−1, 2, h, w) float32 hidden flow, px of its own grid; None: the run has no MotionNet.
        maps: of each stream ("spatial", "temporal"), (P, h, w) float32: the evidence for the class at each
            position of `clip`, 0 or more, in the same unit for all windows of a stream. The spatial stream
            has one map, for the middle frame. The temporal stream has one map for each pair of frames,
            P = T − 1, or one for the whole window, P = 1.
        scores: fused score of the class in this window, and that of each stream.
    """

    times_seconds: tuple[float, ...]
    end_seconds: float
    clip: RawClip = field(repr=False)
    flow: FloatArray | None = field(repr=False)
    maps: Mapping[str, FloatArray] = field(repr=False)
    scores: Mapping[str, float]

    @property
    def start_seconds(self) -> float:
        """Time of the first frame."""
        return self.times_seconds[0]

    @property
    def middle(self) -> int:
        """Number in `clip` of the frame that the spatial stream sees."""
        return len(self.clip) // 2

    @property
    def strongest_pair(self) -> int:
        """The pair of frames t, t+1 with most evidence of the temporal stream; the middle one if unknown."""
        maps = self.maps.get("temporal")
        if maps is None or len(maps) == 1:
            return (len(self.clip) - 2) // 2
        return int(maps.sum(axis=(1, 2)).argmax())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, without the frames and the flow."""
        return {
            "start_seconds": round(self.start_seconds, 6),
            "end_seconds": round(self.end_seconds, 6),
            "times_seconds": [round(time, 6) for time in self.times_seconds],
            "scores": {name: round(score, _DIGITS) for name, score in self.scores.items()},
            "maps": {name: _rounded(maps) for name, maps in self.maps.items()},
        }


@dataclass(frozen=True)
class OccludedStretch:
    """The scores of a video in which nothing moves in one stretch of frames, see `inference.occlusion`.

    Attributes:
        start_seconds, end_seconds: the interval [start, end) of the stretch.
        scores: fused score of the class, and that of each stream, without the stretch.
        drops: how much lower these scores are than those of the whole video; negative: they are higher.
        evidence: drop of each stream's log odds of the class. It shows what a score near 1 hides.
        num_windows: windows that show a frame of the stretch; 0: the protocol leaves the stretch out.
    """

    start_seconds: float
    end_seconds: float
    scores: Mapping[str, float]
    drops: Mapping[str, float]
    evidence: Mapping[str, float]
    num_windows: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "start_seconds": round(self.start_seconds, 6),
            "end_seconds": round(self.end_seconds, 6),
            "scores": {name: round(score, _DIGITS) for name, score in self.scores.items()},
            "drops": {name: round(drop, _DIGITS) for name, drop in self.drops.items()},
            "evidence": {name: round(value, _DIGITS) for name, value in self.evidence.items()},
            "num_windows": self.num_windows,
        }


@dataclass(frozen=True)
class Explanation:
    """Why a recognizer gave a video the score of a class.

    Attributes:
        prediction: the prediction of the whole video, by the same windows.
        label: the class that is explained.
        windows: where the evidence is, for each window of the protocol.
        stretches: when it is: the scores without each stretch, in order; they cover the video.
        box: (left, top, right, bottom) of the part that the networks see, as shares of the frame, 0…1.
    """

    prediction: Prediction
    label: str
    windows: tuple[ExplainedWindow, ...]
    stretches: tuple[OccludedStretch, ...]
    box: tuple[float, float, float, float]

    @property
    def score(self) -> float:
        """The fused score of the explained class."""
        return float(self.prediction.scores[self.prediction.classes.index(self.label)])

    @property
    def stream_scores(self) -> dict[str, float]:
        """The score of the explained class in each stream."""
        number = self.prediction.classes.index(self.label)
        return {name: float(scores[number]) for name, scores in self.prediction.streams.items()}

    @property
    def strongest(self) -> OccludedStretch:
        """The stretch that the class needs most: the fused score, then the evidence, falls furthest."""
        return max(
            self.stretches,
            key=lambda stretch: (round(stretch.drops["fused"], 3), sum(stretch.evidence.values())),
        )

    def strongest_map(self, stream: str) -> float:
        """Return the largest value of all maps of a stream: full color in a picture of them."""
        return max(float(window.maps[stream].max()) for window in self.windows)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, without frames and flow."""
        return {
            "source": self.prediction.source,
            "label": self.label,
            "score": round(self.score, _DIGITS),
            "streams": {name: round(score, _DIGITS) for name, score in self.stream_scores.items()},
            "predicted": self.prediction.label,
            "best": self.prediction.best,
            "protocol": self.prediction.protocol,
            "box": [round(side, _DIGITS) for side in self.box],
            "windows": [window.to_dict() for window in self.windows],
            "stretches": [stretch.to_dict() for stretch in self.stretches],
            "strongest": self.stretches.index(self.strongest),
            "warnings": list(self.prediction.warnings),
        }

    def __str__(self) -> str:
        best = self.strongest
        return (
            f"{self.prediction.source}: {self.label} {self.score:.2f}, and "
            f"{best.scores['fused']:.2f} if nothing moves from {best.start_seconds:.2f} to "
            f"{best.end_seconds:.2f} s"
        )


def _rounded(maps: FloatArray) -> Sequence[Any]:
    rounded: Sequence[Any] = np.round(maps.astype(np.float64), _DIGITS).tolist()
    return rounded

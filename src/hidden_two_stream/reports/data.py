"""The contents of a report page, which `page.write_report` draws.

Every sequence, mapping, or array of `ReportData` may be empty (or None where allowed). The page leaves out
sections without content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError

__all__ = ["Curve", "ExampleVideo", "FlowStrip", "Image", "ReportData", "Timing"]

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class Curve:
    """One line of a training chart; lines of the same stage and name share a chart.

    Attributes:
        stage: "motion", "spatial", "temporal", "joint", or another title, which is shown unchanged.
        name: the quantity, for example "loss", "photometric", "accuracy", "epe_px", "learning_rate".
            A name that contains "accuracy" marks values that are fractions.
        steps: training step of each value.
        values: one value per step; values that aren't finite leave gaps.

    Raises:
        UsageError: `steps` and `values` differ in length.
    """

    stage: str
    name: str
    steps: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise UsageError(
                f"curve {self.stage}/{self.name} has {len(self.steps)} steps and {len(self.values)} values; "
                "expected as many values as steps; pass one value per step (NaN for a gap)"
            )


@dataclass(frozen=True)
class FlowStrip:
    """Images in a row that show one learned flow field.

    Attributes:
        title: for example the name of the video.
        frame: frame t.
        next_frame: frame t + 1.
        flow: the learned flow t → t + 1 in the Middlebury color code.
        truth: the true flow in the same code and scale, or None.
        note: small print, for example "end-point error 0.31 px".
        label: class of the video; may be empty.
    """

    title: str
    frame: Image
    next_frame: Image
    flow: Image
    truth: Image | None = None
    note: str = ""
    label: str = ""


@dataclass(frozen=True)
class ExampleVideo:
    """One video with its prediction.

    Attributes:
        title: name of the video.
        thumbnails: three or four frames.
        truth: the true class, or None if unknown.
        top: fused (class, score) pairs, best first, scores in 0..1.
        streams: the best (class, score) pair of each stream.
        evidence: (caption, image) pairs that show where a stream sees evidence for the best class.
    """

    title: str
    thumbnails: Sequence[Image]
    truth: str | None
    top: Sequence[tuple[str, float]]
    streams: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    evidence: Sequence[tuple[str, Image]] = ()


@dataclass(frozen=True)
class Timing:
    """The time that one method takes; a report compares all timings with its first one."""

    name: str
    milliseconds: float
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything that a report page shows.

    Attributes:
        title: heading of the page.
        subtitle: one sentence below the heading.
        headline: cards of (large number, its meaning, small print).
        accuracy: accuracy in 0..1 by stream ("spatial", "temporal", "fused", …).
        chance: accuracy of random guessing in 0..1; NaN if unknown.
        protocol: how test clips are sampled and their scores averaged.
        num_test_videos: number of videos behind the accuracies; 0 if unknown.
        classes: class names, in the order of `confusion` and `per_class`.
        confusion: (classes, classes) counts, rows are the truth, columns the prediction; or None.
        per_class: stream → accuracy of each class in 0..1; NaN for a class without test videos.
        curves: lines of the training charts.
        flow_strips: examples of learned motion.
        wheel: legend of the flow colors, shown beside the strips; or None.
        examples: videos with their predictions.
        timings: speeds to compare.
        timings_protocol: what was timed, and on which machine.
        seconds: time spent by stage.
        facts: short facts, for example data, machine, and versions.
        configuration: a nested, JSON-like mapping.
        warnings: facts that a reader must know, for example unreadable videos.
        folds: one mapping per cross-validation fold, all with the same keys. A float in 0..1 is shown in
            percent; other values are shown unchanged. If the first value of the last mapping is "mean", its
            row is set apart.

    Raises:
        UsageError: `confusion` or an entry of `per_class` doesn't fit `classes`.
    """

    title: str
    subtitle: str = ""
    headline: Sequence[tuple[str, str, str]] = ()
    accuracy: Mapping[str, float] = field(default_factory=dict)
    chance: float = float("nan")
    protocol: str = ""
    num_test_videos: int = 0
    classes: Sequence[str] = ()
    confusion: npt.NDArray[np.integer] | None = None
    per_class: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    flow_strips: Sequence[FlowStrip] = ()
    wheel: Image | None = None
    examples: Sequence[ExampleVideo] = ()
    timings: Sequence[Timing] = ()
    timings_protocol: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    folds: Sequence[Mapping[str, float | str]] | None = None

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.confusion is not None and np.shape(self.confusion) != (count, count):
            raise UsageError(
                f"the confusion matrix has shape {np.shape(self.confusion)}; expected ({count}, {count}) "
                f"for {count} classes; pass one row and one column per class"
            )
        for stream, values in self.per_class.items():
            if len(values) != count:
                raise UsageError(
                    f"per-class accuracy of {stream!r} has {len(values)} values; expected {count}; "
                    "pass one value per class (NaN for a class without test videos)"
                )

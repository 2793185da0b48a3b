"""What a report is made from: the nouns that `report.write_report` receives. Nothing here computes.

Every sequence, mapping or array of `ReportData` may be empty (or None where that is allowed); its section is
then left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError

__all__ = ["Curve", "FlowPicture", "Picture", "ReportData", "SamplePrediction", "Timing"]

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart; lines of the same stage and name share a chart.

    Attributes:
        stage: "motion", "spatial", "temporal" or "joint"; another word is shown as it is.
        name: the quantity, for example "loss", "photometric", "accuracy", "epe_px", "learning_rate".
            Values of a name that contains "accuracy" are fractions.
        steps: training step of each value.
        values: as many values; those that are not finite leave a gap.

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
                "expected as many values as steps; pass one value per step (NaN where there is none)"
            )


@dataclass(frozen=True)
class FlowPicture:
    """A strip of pictures that shows one learned flow field.

    Attributes:
        title: what is shown, for example the name of the clip.
        frame: frame t.
        next_frame: frame t + 1.
        flow: the learned flow t → t + 1 in the Middlebury colour code.
        truth: the true flow in the same code and scale, or None.
        note: small print, for example "end-point error 0.31 px".
        label: class of the clip, may be empty.
    """

    title: str
    frame: Picture
    next_frame: Picture
    flow: Picture
    truth: Picture | None = None
    note: str = ""
    label: str = ""


@dataclass(frozen=True)
class SamplePrediction:
    """What was said of one video.

    Attributes:
        title: name of the video.
        thumbnails: three or four frames.
        truth: the true class, None where it is not known.
        top: fused (class, score) pairs, best first, scores in 0..1.
        streams: the best (class, score) of each stream.
    """

    title: str
    thumbnails: Sequence[Picture]
    truth: str | None
    top: Sequence[tuple[str, float]]
    streams: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """How long one thing takes; the first timing of a report is the one that others are compared with."""

    name: str
    milliseconds: float
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        title: heading of the page.
        subtitle: one sentence below it.
        headline: cards of (big number, what it is, small print).
        accuracy: accuracy in 0..1 per stream ("spatial", "temporal", "fused", ...).
        chance: accuracy of guessing, in 0..1; NaN where it is not known.
        protocol: how videos were sampled and averaged.
        num_test_videos: how many videos the accuracies rest on; 0 where it is not known.
        classes: class names, in the order of `confusion` and `per_class`.
        confusion: (classes, classes) counts, rows are the truth, or None.
        per_class: stream → accuracy in 0..1 of each class, NaN for classes without test videos.
        curves: training curves.
        flow_pictures: strips of learned motion.
        wheel: the colour code's legend, shown beside the strips, or None.
        predictions: example videos.
        timings: speeds to compare.
        timings_protocol: what was timed, and on which machine.
        seconds: time spent per stage.
        facts: short facts, for example data, machine, versions.
        configuration: a nested, JSON-like mapping.
        warnings: what a reader has to know, for example unreadable videos.
        folds: one mapping per cross-validation fold, all of the same keys. A float in 0..1 is shown in
            per cent, other values as they are. A last mapping whose first value is "mean" is set off.

    Raises:
        UsageError: `confusion` or a row of `per_class` does not fit `classes`.
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
    flow_pictures: Sequence[FlowPicture] = ()
    wheel: Picture | None = None
    predictions: Sequence[SamplePrediction] = ()
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
                f"confusion matrix has shape {np.shape(self.confusion)}; expected ({count}, {count}) "
                f"for {count} classes; pass one row and one column per class"
            )
        for stream, values in self.per_class.items():
            if len(values) != count:
                raise UsageError(
                    f"per-class accuracy of {stream!r} has {len(values)} values; expected {count}; "
                    "pass one value per class (NaN for a class without test videos)"
                )

"""Accuracy of each stream and fused, confusion matrix, and accuracy of each class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, VideoError
from hidden_two_stream.evaluation.score_files import Scores, write_scores
from hidden_two_stream.inference.windows import Protocol as TestProtocol
from hidden_two_stream.npz import read_npz
from hidden_two_stream.progress import note
from hidden_two_stream.types import FloatArray

__all__ = [
    "Evaluation",
    "Scorer",
    "Videos",
    "check_known",
    "confusion_matrix",
    "evaluate_videos",
    "load_scores",
    "merge",
    "shown_streams",
    "trained_on",
    "wilson_interval",
]

Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """Scores of test videos, and the accuracies computed from them.

    Attributes:
        classes: class names, in the order of the scores.
        names: names of the N videos.
        truth: (N,) true class numbers.
        logits: (N, classes) of each stream, averaged over windows and crops before any softmax.
        fused: (N, classes) fused scores.
        protocol: name of the test protocol.
        unreadable: names of unreadable videos, which are not part of any accuracy.
        tested: description of the part of the data that was tested.
        trained_on: names of those of the N videos that the model was trained on; None: unknown.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    truth: npt.NDArray[np.int64] = field(repr=False)
    logits: Mapping[str, FloatArray] = field(repr=False)
    fused: FloatArray = field(repr=False)
    protocol: str
    unreadable: tuple[str, ...] = ()
    tested: str = ""
    trained_on: tuple[str, ...] | None = None

    def __str__(self) -> str:
        accuracies = ", ".join(f"{name} {self.accuracy[name]:.1%}" for name in shown_streams(self.accuracy))
        seen = f", {len(self.trained_on)} of them trained on" if self.trained_on else ""
        return f"{len(self.names)} videos{seen}, protocol {self.protocol}: {accuracies}"

    def scores(self) -> dict[str, FloatArray]:
        """Return logits or scores (N, classes) by name: each stream, and "fused"."""
        return {**self.logits, "fused": self.fused}

    @property
    def accuracy(self) -> dict[str, float]:
        """Fraction of videos whose highest score is that of the true class, of each stream and fused."""
        return {name: float((s.argmax(axis=1) == self.truth).mean()) for name, s in self.scores().items()}

    def confusion(self, name: str = "fused") -> Matrix:
        """Return the confusion matrix, (classes, classes) counts: rows are the truth."""
        return confusion_matrix(self.truth, self.scores()[name].argmax(axis=1), len(self.classes))

    def per_class(self, name: str = "fused") -> FloatArray:
        """Return the accuracy of each class, (classes,); NaN for a class without test videos."""
        matrix = self.confusion(name)
        total = matrix.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, np.diag(matrix) / np.maximum(total, 1), np.nan).astype(np.float32)

    @property
    def mean_class_accuracy(self) -> dict[str, float]:
        """Mean accuracy over the classes with test videos, of each stream and fused."""
        return {name: float(np.nanmean(self.per_class(name))) for name in self.scores()}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures; accuracies are fractions."""
        per_class = {name: self.per_class(name) for name in self.scores()}
        return {
            "protocol": self.protocol,
            "num_test_videos": len(self.names),
            "num_unreadable": len(self.unreadable),
            "unreadable": list(self.unreadable),
            "num_trained_on": None if self.trained_on is None else len(self.trained_on),
            "trained_on": list(self.trained_on or ()),
            "chance": 1 / len(self.classes),
            "accuracy": self.accuracy,
            "accuracy_interval_95": {
                name: wilson_interval(value, len(self.names)) for name, value in self.accuracy.items()
            },
            "mean_class_accuracy": self.mean_class_accuracy,
            "per_class": {
                label: {name: _number(values[i]) for name, values in per_class.items()}
                for i, label in enumerate(self.classes)
            },
            "confusion": {"classes": list(self.classes), "fused": self.confusion().tolist()},
        }

    def save_scores(self, path: Path) -> None:
        """Write all scores with names, truth, classes and protocol to a .npz or .csv file.

        Raises:
            UsageError: the file has another suffix.
            OutputError: the file cannot be written.
        """
        truth = tuple(self.classes[number] for number in self.truth.tolist())
        streams = [
            Scores(name, values, self.names, truth, self.classes, self.protocol)
            for name, values in self.scores().items()
        ]
        write_scores(path, streams, self.unreadable)


class Scorer(Protocol):
    """The interface of a model that scores decoded videos: a `Recognizer` or a `Baseline`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""

    def logits(self, video: Any, protocol: TestProtocol) -> dict[str, FloatArray]:
        """Return the averaged logits (classes,) of each stream."""

    def fuse(self, logits: Mapping[str, FloatArray]) -> FloatArray:
        """Return the fused scores of logits (N, classes) per stream."""


class Videos(Protocol):
    """The interface of decoded, labeled videos: a `ClipCache`, or a `FlowCache` for a baseline."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The readable samples."""

    @property
    def videos(self) -> tuple[Any, ...]:
        """The decoded videos of the samples, as the scorer takes them."""

    @property
    def unreadable(self) -> tuple[tuple[Sample, HiddenTwoStreamError], ...]:
        """The unreadable samples, each with the reason."""


def check_known(labels: Collection[str], classes: Collection[str]) -> None:
    """Check that the recognizer knows all labels.

    Raises:
        DataError: a label is not one of the classes.
    """
    if unknown := sorted(set(labels) - set(classes)):
        raise DataError(f"unknown classes {unknown}; the recognizer knows {', '.join(classes)}")


def evaluate_videos(
    recognizer: Scorer,
    videos: Videos,
    protocol: TestProtocol,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Test a recognizer on decoded videos.

    Args:
        recognizer: the recognizer or baseline.
        videos: the test videos.
        protocol: the test protocol.
        progress: called with the number done and the total.

    Raises:
        DataError: no video is readable, or the recognizer does not know a label.
    """
    if not videos.samples:
        raise DataError(f"no readable test videos ({len(videos.unreadable)} unreadable)")
    check_known({sample.label for sample in videos.samples}, recognizer.classes)
    numbers = {label: index for index, label in enumerate(recognizer.classes)}
    rows: dict[str, list[FloatArray]] = {}
    tested: list[Sample] = []
    lost: list[str] = []
    for index, (sample, video) in enumerate(zip(videos.samples, videos.videos, strict=True)):
        try:
            for name, vector in recognizer.logits(video, protocol).items():
                rows.setdefault(name, []).append(vector)
            tested.append(sample)
        except VideoError as error:  # a packed video is decoded here for the first time
            note(f"unreadable: {sample.name}: {error.reason}")
            lost.append(sample.name)
        if progress is not None:
            progress(index + 1, len(videos.videos))
    if not tested:
        raise DataError(f"no readable test videos ({len(videos.unreadable) + len(lost)} unreadable)")
    logits = {name: np.stack(vectors) for name, vectors in rows.items()}
    return Evaluation(
        classes=recognizer.classes,
        names=tuple(sample.name for sample in tested),
        truth=np.array([numbers[sample.label] for sample in tested]),
        logits=logits,
        fused=recognizer.fuse(logits),
        protocol=protocol.name,
        unreadable=(*(sample.name for sample, _ in videos.unreadable), *lost),
    )


def trained_on(evaluation: Evaluation | None, names: Collection[str]) -> Evaluation | None:
    """Return an evaluation that knows which of its videos, by name, the model was trained on."""
    if evaluation is None:
        return None
    return replace(evaluation, trained_on=tuple(name for name in evaluation.names if name in names))


def load_scores(path: Path, protocol: str | None = None) -> Evaluation:
    """Return the evaluation in a .npz file that `Evaluation.save_scores` wrote.

    Args:
        path: the file.
        protocol: expected name of the test protocol. Files of earlier versions do not hold a protocol and are
            accepted.

    Raises:
        DataError: it is not such a file, or has another protocol.
    """
    try:
        arrays = read_npz(path)
        others = ("names", "truth", "classes", "protocol", "unreadable", "fused")
        evaluation = Evaluation(
            classes=tuple(arrays["classes"].tolist()),
            names=tuple(arrays["names"].tolist()),
            truth=arrays["truth"],
            logits={name: array for name, array in arrays.items() if name not in others},
            fused=arrays["fused"],
            protocol=str(arrays["protocol"]) if "protocol" in arrays else protocol or "",
            unreadable=tuple(arrays["unreadable"].tolist()) if "unreadable" in arrays else (),
        )
        _check_shapes(evaluation)
    except (DataError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{str(path)!r} holds no scores of this package: {error}") from error
    if protocol is not None and evaluation.protocol != protocol:
        raise DataError(
            f"{str(path)!r} has protocol {evaluation.protocol!r}; expected {protocol!r}: evaluate again"
        )
    return evaluation


def _check_shapes(evaluation: Evaluation) -> None:
    """Raise ValueError unless all parts belong to the same videos and classes."""
    rows, columns = len(evaluation.names), len(evaluation.classes)
    truth = evaluation.truth
    if rows < 1 or truth.shape != (rows,) or truth.dtype.kind not in "iu":
        raise ValueError(f"{rows} names, but true classes of shape {truth.shape} and type {truth.dtype}")
    if not ((truth >= 0) & (truth < columns)).all():
        raise ValueError(f"a true class is not one of its {columns} classes")
    for name, scores in evaluation.scores().items():
        if scores.shape != (rows, columns) or scores.dtype.kind != "f":
            raise ValueError(
                f"{name} has shape {scores.shape} and type {scores.dtype}; "
                f"expected {rows} × {columns} numbers"
            )


def merge(parts: Sequence[Evaluation]) -> Evaluation:
    """Return one evaluation of the test videos of several folds with the same classes and protocol."""
    first = parts[0]
    return Evaluation(
        classes=first.classes,
        names=tuple(name for part in parts for name in part.names),
        truth=np.concatenate([part.truth for part in parts]),
        logits={name: np.concatenate([part.logits[name] for part in parts]) for name in first.logits},
        fused=np.concatenate([part.fused for part in parts]),
        protocol=first.protocol,
        unreadable=tuple(name for part in parts for name in part.unreadable),
    )


def shown_streams(names: Iterable[str]) -> list[str]:
    """Return the names of streams and "fused" to show: a single stream fused with nothing is shown once."""
    found = list(names)
    streams = [name for name in found if name != "fused"]
    return streams if len(streams) == 1 else found


def confusion_matrix(truth: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> Matrix:
    """Return (classes, classes) counts: rows are the truth, columns the prediction."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
    return matrix


def wilson_interval(fraction: float, count: int) -> tuple[float, float]:
    """Return the 95% interval of a fraction observed in `count` independent trials (Wilson, JASA 1927)."""
    z2 = 1.959964**2
    center = (fraction + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (fraction * (1 - fraction) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

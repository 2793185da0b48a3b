"""How good labels of frames are: per frame, per bout, and against chance.

Frames that nobody labeled count neither as right nor as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.annotations.frame_labels import runs
from hidden_two_stream.evaluation import temporal
from hidden_two_stream.evaluation.temporal import TIOUS, LabeledVideo
from hidden_two_stream.progress import number_of
from hidden_two_stream.types import BACKGROUND, Segment

__all__ = [
    "FrameEvaluation",
    "LabeledFrames",
    "average_precision",
    "bout_counts",
    "evaluate_frames",
]

_Labels = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class LabeledFrames:
    """Truth and prediction for the frames of one video.

    Attributes:
        truth: (T, K) int8: 1 it happens, 0 it does not, −1 nobody looked.
        values: (T, K) int8, the prediction: 1 or 0.
        scores: (T, K) float, 0…1.
    """

    truth: _Labels = field(repr=False)
    values: _Labels = field(repr=False)
    scores: npt.NDArray[np.floating] = field(repr=False)


@dataclass(frozen=True, eq=False)
class FrameEvaluation:
    """Figures about labels of frames; all are fractions.

    Attributes:
        names: the behaviors.
        num_videos: videos tested.
        num_frames: frames that count.
        num_unlabeled: frames that do not count.
        accuracy: share of frames with exactly the right behaviors.
        majority: accuracy of the most frequent combination of behaviors, whatever the video shows.
        kappa: Cohen's kappa: how far the accuracy exceeds that of chance with the same frequencies.
        precision, recall, f1: (K,) per frame; 0 where there is nothing to divide by.
        average_precision: (K,) of the scores; NaN for a behavior that does not occur.
        bout_f1: (K,) F1 of bouts that overlap a true one with an intersection over union of at least 0.5.
        detection: (tIoUs, K) average precision of bouts at each of `temporal.TIOUS`, as ActivityNet computes
            it, with their mean scores; NaN for a behavior that does not occur.
        support: (K,) true frames.
        bouts: (K,) true bouts.
        confusion: (K + 1, K + 1) frames; rows are the truth; the first is the background. None if several
            behaviors happen at once.
        tested: which recordings were tested, in words.
        unreadable: recordings that could not be read, and why.
    """

    names: tuple[str, ...]
    num_videos: int
    num_frames: int
    num_unlabeled: int
    accuracy: float
    majority: float
    kappa: float
    precision: npt.NDArray[np.float64] = field(repr=False)
    recall: npt.NDArray[np.float64] = field(repr=False)
    f1: npt.NDArray[np.float64] = field(repr=False)
    average_precision: npt.NDArray[np.float64] = field(repr=False)
    bout_f1: npt.NDArray[np.float64] = field(repr=False)
    detection: npt.NDArray[np.float64] = field(repr=False)
    support: npt.NDArray[np.int64] = field(repr=False)
    bouts: npt.NDArray[np.int64] = field(repr=False)
    confusion: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    tested: str = "all recordings"
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def macro_f1(self) -> float:
        """Mean F1 per frame over the behaviors that occur."""
        return _mean(self.f1[self.support > 0])

    @property
    def mean_average_precision(self) -> float:
        """Mean average precision over the behaviors that occur."""
        return _mean(self.average_precision[self.support > 0])

    @property
    def macro_bout_f1(self) -> float:
        """Mean F1 of bouts over the behaviors that occur."""
        return _mean(self.bout_f1[self.support > 0])

    @property
    def detection_map(self) -> dict[float, float]:
        """Mean average precision of bouts over the behaviors that occur, by tIoU."""
        occurs = self.support > 0
        return {tiou: _mean(row[occurs]) for tiou, row in zip(TIOUS, self.detection, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        rows = {
            name: {
                "precision": float(self.precision[k]),
                "recall": float(self.recall[k]),
                "f1": float(self.f1[k]),
                "average_precision": None
                if np.isnan(self.average_precision[k])
                else float(self.average_precision[k]),
                "bout_f1": float(self.bout_f1[k]),
                "frames": int(self.support[k]),
                "bouts": int(self.bouts[k]),
            }
            for k, name in enumerate(self.names)
        }
        result: dict[str, Any] = {
            "tested": self.tested,
            "num_videos": self.num_videos,
            "num_frames": self.num_frames,
            "num_unlabeled_frames": self.num_unlabeled,
            "accuracy": self.accuracy,
            "majority_accuracy": self.majority,
            "kappa": self.kappa,
            "macro_f1": self.macro_f1,
            "mean_average_precision": self.mean_average_precision,
            "macro_bout_f1": self.macro_bout_f1,
            "detection_map": {f"{tiou:g}": value for tiou, value in self.detection_map.items()},
            "per_behavior": rows,
            "unreadable": dict(self.unreadable),
        }
        if self.confusion is not None:
            result["confusion"] = {
                "classes": [BACKGROUND, *self.names],
                "frames": self.confusion.tolist(),
            }
        return result

    def __str__(self) -> str:
        lines = [
            f"{number_of(self.num_videos, 'video')} ({self.tested}), {self.num_frames} labeled frames "
            f"({self.num_unlabeled} unlabeled): "
            f"macro F1 {self.macro_f1:.3f}, accuracy {self.accuracy:.1%} (most frequent label "
            f"{self.majority:.1%}), kappa {self.kappa:.2f}, bout F1 {self.macro_bout_f1:.3f}, "
            f"bout mAP@0.5 {self.detection_map[0.5]:.3f}"
        ]
        width = max(len(name) for name in self.names)
        lines += [
            f"  {name:<{width}}  F1 {self.f1[k]:.3f} (precision {self.precision[k]:.3f}, recall "
            f"{self.recall[k]:.3f}), bouts F1 {self.bout_f1[k]:.3f}; {self.support[k]} frames in "
            f"{self.bouts[k]} bouts"
            for k, name in enumerate(self.names)
        ]
        if self.unreadable:
            lines.append(f"{number_of(len(self.unreadable), 'unreadable recording')} not counted")
        return "\n".join(lines)


def evaluate_frames(names: Sequence[str], videos: Sequence[LabeledFrames]) -> FrameEvaluation:
    """Return the figures about the labels of all frames of some videos.

    Args:
        names: the behaviors, in the order of the columns.
        videos: truth and prediction of each video; at least one frame is labeled.
    """
    known = [(video.truth >= 0).all(axis=1) for video in videos]
    truth = np.concatenate([video.truth[keep] for video, keep in zip(videos, known, strict=True)])
    values = np.concatenate([video.values[keep] for video, keep in zip(videos, known, strict=True)])
    scores = np.concatenate([video.scores[keep] for video, keep in zip(videos, known, strict=True)])
    hits = ((truth == 1) & (values == 1)).sum(axis=0)
    found, support = (values == 1).sum(axis=0), (truth == 1).sum(axis=0)
    exclusive = bool((truth.sum(axis=1) <= 1).all() and (values.sum(axis=1) <= 1).all())
    bouts = [
        [bout_counts(video.truth[:, k], video.values[:, k]) for k in range(len(names))] for video in videos
    ]
    matched, found_bouts, true_bouts = np.sum(bouts, axis=0).T
    return FrameEvaluation(
        names=tuple(names),
        num_videos=len(videos),
        num_frames=len(truth),
        num_unlabeled=sum(len(video.truth) for video in videos) - len(truth),
        accuracy=float((truth == values).all(axis=1).mean()),
        majority=_majority(truth),
        kappa=_kappa(truth, values),
        precision=_ratio(hits, found),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, found + support),
        average_precision=np.array(
            [average_precision(scores[:, k], truth[:, k] == 1) for k in range(len(names))]
        ),
        bout_f1=_ratio(2 * matched, found_bouts + true_bouts),
        detection=_detection(names, videos),
        support=support.astype(np.int64),
        bouts=true_bouts.astype(np.int64),
        confusion=_confusion(truth, values) if exclusive else None,
    )


def _detection(names: Sequence[str], videos: Sequence[LabeledFrames]) -> npt.NDArray[np.float64]:
    """Return the average precision of the bouts of each behavior at each tIoU, (tIoUs, K).

    Times are counted in frames. Time in which nobody looked for a behavior is ignored for it.
    """
    result = np.full((len(TIOUS), len(names)), np.nan)
    for k, name in enumerate(names):
        lists = [_bouts_of(video, k, name) for video in videos]
        if any(video.truth for video in lists):
            result[:, k] = [temporal.average_precision(lists, name, tiou) for tiou in TIOUS]
    return result


def _bouts_of(video: LabeledFrames, k: int, name: str) -> LabeledVideo:
    """Return true and found bouts of one behavior, and the time in which nobody looked for it."""
    truth, values = video.truth[:, k], video.values[:, k]
    return LabeledVideo(
        "",
        len(truth),
        tuple(Segment(first, stop, name) for first, stop in runs(truth == 1)),
        tuple(
            Segment(first, stop, name, float(video.scores[first:stop, k].mean()))
            for first, stop in runs(values == 1)
        ),
        tuple(runs(truth < 0)),
    )


def average_precision(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    """Return the mean precision at each positive, in the order of falling scores; NaN without positives.

    Equal scores count together: each positive among them has the precision after all of them.
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal scores
    precision = hits[last] / (last + 1)
    gained = np.diff(np.concatenate(([0], hits[last])))
    return float((precision * gained).sum() / positive.sum())


def bout_counts(truth: _Labels, values: _Labels, least: float = 0.5) -> tuple[int, int, int]:
    """Return the numbers of matched, predicted and true bouts of one behavior in one video.

    A predicted and a true bout match if their intersection over union reaches `least`. From 0.5 on, a bout
    has room for one match only. Predicted bouts that lie mostly in frames that nobody labeled do not count.

    Args:
        truth: (T,) 1, 0 or −1.
        values: (T,) 1 or 0.
        least: smallest intersection over union, 0.5…1.
    """
    true_bouts = runs(truth == 1)
    found = [(first, stop) for first, stop in runs(values == 1) if (truth[first:stop] >= 0).mean() >= 0.5]
    matched = 0
    for first, stop in found:
        for begin, end in true_bouts:
            overlap = min(stop, end) - max(first, begin)
            matched += overlap >= least * (max(stop, end) - min(first, begin))
    return matched, len(found), len(true_bouts)


def _combinations(truth: _Labels, values: _Labels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return a number for each combination of behaviors, (T,) of the truth and of the prediction."""
    _, numbers = np.unique(np.concatenate((truth, values)), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return numbers[: len(truth)], numbers[len(truth) :]


def _majority(truth: _Labels) -> float:
    _, counts = np.unique(truth, axis=0, return_counts=True)
    return float(counts.max() / len(truth))


def _kappa(truth: _Labels, values: _Labels) -> float:
    """Return (observed − expected) / (1 − expected) agreement (Cohen 1960); 0 if nothing could differ."""
    ours, theirs = _combinations(values, truth)
    count = max(ours.max(), theirs.max()) + 1
    shares = [np.bincount(numbers, minlength=count) / len(numbers) for numbers in (ours, theirs)]
    expected = float((shares[0] * shares[1]).sum())
    observed = float((ours == theirs).mean())
    return (observed - expected) / (1 - expected) if expected < 1 else 0.0


def _confusion(truth: _Labels, values: _Labels) -> npt.NDArray[np.int64]:
    rows, columns = (
        np.where(labels.max(axis=1) > 0, labels.argmax(axis=1) + 1, 0) for labels in (truth, values)
    )
    size = truth.shape[1] + 1
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1), 0.0), np.float64)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")

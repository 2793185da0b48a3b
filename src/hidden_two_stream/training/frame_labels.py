"""Trains the labels of each frame: a small network over features that stay as they are.

The features of all frames are computed once, so training takes seconds to minutes. It is repeated for parts
of the videos that are held back in turn (cross-fitting). Their scores are those of a network that did not see
the videos. They give the thresholds, the temperature, and the figures that say how good it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.data.training_set import mix_seed
from hidden_two_stream.errors import DataError, TrainingError, UsageError
from hidden_two_stream.recognition.calibration import fit_temperature
from hidden_two_stream.recognition.frame_head import FrameHead, frame_logits, frame_scores
from hidden_two_stream.tensors import not_finite

__all__ = ["FeatureVideo", "FittedHead", "FrameLabelSettings", "best_threshold", "fit_frame_labels"]

_MOST_WEIGHT = 20.0  # of a rare class in the loss
_CALIBRATION_FRAMES = 20_000  # of those held back; more do not change the temperature


@dataclass(frozen=True)
class FrameLabelSettings:
    """How the labels of frames are learned.

    Attributes:
        steps: optimizer steps.
        batch_size: pieces of video per step.
        piece_frames: frames of a piece.
        learning_rate: highest rate of the one-cycle schedule (AdamW).
        weight_decay: weight decay of AdamW.
        width: channels of the network.
        dropout: probability in front of each layer.
        folds: parts of the videos that are held back in turn; 0: none, thresholds are 0.5 then.

    Raises:
        UsageError: a number is out of range.
    """

    steps: int = 300
    batch_size: int = 8
    piece_frames: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    width: int = 64
    dropout: float = 0.3
    folds: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "piece_frames", "width"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 to 1000000")
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise UsageError("learning_rate must be above 0, and weight_decay 0 or more")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; expected 0 or more and less than 1")
        if self.folds == 1 or not 0 <= self.folds <= 20:
            raise UsageError(f"folds is {self.folds}; expected 0 (none) or 2 to 20")


@dataclass(frozen=True, eq=False)
class FeatureVideo:
    """The features and labels of the frames of one video.

    Attributes:
        name: path or name.
        features: (N, D) float32.
        labels: (N, K) int8: 1 it happens, 0 it does not, −1 nobody looked.
        group: videos of a group, such as those of one person, are held back together.
    """

    name: str
    features: Tensor = field(repr=False)
    labels: npt.NDArray[np.int8] = field(repr=False)
    group: str = ""


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A trained network for the labels of frames.

    Attributes:
        head: the network, in evaluation mode.
        exclusive: one behavior at a time, or none. The first output is then the background.
        temperature: divisor of the logits.
        thresholds: (K,) score from which on a behavior is said to happen; 0 if `exclusive`: the highest score
            wins.
        held_back: (N, K) scores of each video's frames by networks that did not see it; empty without
            cross-fitting.
    """

    head: FrameHead
    exclusive: bool
    temperature: float
    thresholds: tuple[float, ...]
    held_back: tuple[npt.NDArray[np.float32], ...] = field(default=(), repr=False)


def fit_frame_labels(
    videos: Sequence[FeatureVideo],
    settings: FrameLabelSettings,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda _title, _done, _total: None,
) -> FittedHead:
    """Train the labels of frames.

    Args:
        videos: features and labels, all with the same behaviors.
        settings: how to train.
        seed: seed of everything random.
        progress: is called with a title, the number of steps done, and that of all steps.

    Raises:
        DataError: no frame is labeled, or all frames have the same labels.
        TrainingError: the loss is not finite.
    """
    known = np.concatenate([video.labels[(video.labels >= 0).all(axis=1)] for video in videos])
    if not len(known):
        raise DataError("no frame has a label for all behaviors; nothing can be learned")
    if (known == known[0]).all():
        raise DataError("all labeled frames have the same labels; expected frames with and without")
    exclusive = bool((known.sum(axis=1) <= 1).all())
    parts = _parts(videos, settings.folds, seed)
    logits: list[Tensor | None] = [None] * len(videos)
    for number, part in enumerate(parts):
        rest = [video for place, video in enumerate(videos) if place not in part]
        title = f"held back {number + 1}/{len(parts)}"
        head = _trained(rest, exclusive, settings, mix_seed(seed, number), title, progress)
        for place in part:
            logits[place] = frame_logits(head, videos[place].features)
    head = _trained(videos, exclusive, settings, mix_seed(seed, -1), "frames", progress)
    count = videos[0].labels.shape[1]
    if not parts:
        return FittedHead(head, exclusive, 1.0, (0.0 if exclusive else 0.5,) * count)
    found = [values for values in logits if values is not None]
    temperature = _temperature(found, videos, seed) if exclusive else 1.0
    scores = tuple(frame_scores(values, exclusive, temperature) for values in found)
    thresholds = tuple(
        0.0
        if exclusive
        else best_threshold(
            np.concatenate([values[:, column] for values in scores]),
            np.concatenate([video.labels[:, column] for video in videos]),
        )
        for column in range(count)
    )
    return FittedHead(head, exclusive, temperature, thresholds, scores)


def best_threshold(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int8]) -> float:
    """Return the score from which on to say yes, such that F1 = 2 TP / (2 TP + FP + FN) is highest.

    It lies halfway between two scores, and in 0.02…0.98; 0.5 if no frame is positive.

    Args:
        scores: (N,).
        labels: (N,) 1, 0, or −1, which does not count.
    """
    known = labels >= 0
    scores, positive = np.asarray(scores, np.float64)[known], labels[known] == 1
    if not positive.any() or positive.all():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + positive.sum())
    f1[:-1][np.diff(scores[order]) == 0] = -1  # equal scores are all taken, or none
    place = int(np.argmax(f1))
    following = scores[order][place + 1] if place + 1 < len(order) else 0.0
    return float(np.clip((scores[order][place] + following) / 2, 0.02, 0.98))


# -- training --------------------------------------------------------------------------------------


def _parts(videos: Sequence[FeatureVideo], folds: int, seed: int) -> list[set[int]]:
    """Return parts of the videos, none of which shares a group with another; [] if there are too few."""
    groups: dict[str, list[int]] = {}
    for place, video in enumerate(videos):
        groups.setdefault(video.group or video.name, []).append(place)
    if folds < 2 or len(groups) < 2:
        return []
    names = sorted(groups)
    np.random.default_rng(mix_seed(seed, -2)).shuffle(names)
    parts: list[set[int]] = [set() for _ in range(min(folds, len(names)))]
    frames = [0] * len(parts)
    for name in sorted(names, key=lambda name: -sum(len(videos[place].labels) for place in groups[name])):
        smallest = frames.index(min(frames))
        parts[smallest] |= set(groups[name])
        frames[smallest] += sum(len(videos[place].labels) for place in groups[name])
    return parts


def _trained(
    videos: Sequence[FeatureVideo],
    exclusive: bool,
    settings: FrameLabelSettings,
    seed: int,
    title: str,
    progress: Callable[[str, int, int], None],
) -> FrameHead:
    """Return a network that was trained on all these videos."""
    count = videos[0].labels.shape[1]
    pieces = _Pieces(videos, settings, np.random.default_rng(seed))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        head = FrameHead(
            videos[0].features.shape[1], count + exclusive, settings.width, settings.dropout
        ).train()
        head.standardize(torch.cat([video.features for video in videos]))
        optimizer = torch.optim.AdamW(
            head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=settings.steps + 1
        )
        weights = _weights(videos, exclusive)
        for step, (features, labels) in enumerate(pieces, start=1):
            loss = _loss(head(features), labels, exclusive, weights)
            if not torch.isfinite(loss):
                raise TrainingError(f"{title}, step {step}: the loss is {float(loss)}; lower learning_rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(title, step, settings.steps)
    broken = not_finite(head.state_dict())
    if broken:  # after the last step, no loss shows it
        raise TrainingError(f"{title}, last step: {broken[0]} is not finite; lower learning_rate")
    return head.eval().requires_grad_(False)


class _Pieces:
    """Batches of pieces of the videos: features (B, P, D) and labels (B, P, K).

    Half of the pieces lie about a frame with a label drawn at random, whatever it is; the other half about a
    frame of a behavior drawn at random, so that rare ones are seen as often as others.
    """

    def __init__(
        self, videos: Sequence[FeatureVideo], settings: FrameLabelSettings, rng: np.random.Generator
    ) -> None:
        self._videos = videos
        self._settings = settings
        self._rng = rng
        places = [
            np.stack((np.full(len(v.labels), n), np.arange(len(v.labels))), 1) for n, v in enumerate(videos)
        ]
        labels = np.concatenate([video.labels for video in videos])
        all_places = np.concatenate(places)
        self._any = all_places[(labels >= 0).any(axis=1)]
        columns = [all_places[labels[:, column] == 1] for column in range(labels.shape[1])]
        self._by_behavior = [found for found in columns if len(found)]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self._settings.steps):
            pieces = [self._piece(number) for number in range(self._settings.batch_size)]
            yield torch.stack([piece[0] for piece in pieces]), torch.stack([piece[1] for piece in pieces])

    def _piece(self, number: int) -> tuple[Tensor, Tensor]:
        """Return features (P, D) and labels (P, K); beyond the ends of the video nothing is labeled."""
        choice = self._any
        if number % 2 and self._by_behavior:
            choice = self._by_behavior[self._rng.integers(len(self._by_behavior))]
        place, frame = choice[self._rng.integers(len(choice))]
        video, length = self._videos[place], self._settings.piece_frames
        first = int(frame) - int(self._rng.integers(length))
        indices = np.arange(first, first + length)
        inside = (indices >= 0) & (indices < len(video.labels))
        indices = indices.clip(0, len(video.labels) - 1)
        labels = np.where(inside[:, None], video.labels[indices], -1)
        return video.features[torch.from_numpy(indices)], torch.from_numpy(labels.astype(np.int64))


def _weights(videos: Sequence[FeatureVideo], exclusive: bool) -> Tensor:
    """Return weights in the loss: of each output if `exclusive`, else of the positives of each behavior.

    They are square roots of inverse frequencies. Pieces are drawn in favor of rare behaviors already.
    """
    labels = np.concatenate([video.labels for video in videos])
    if exclusive:
        known = labels[(labels >= 0).all(axis=1)]
        numbers = np.concatenate(([(known.sum(axis=1) == 0).sum()], known.sum(axis=0)))
        present = numbers > 0
        weights = np.where(present, np.sqrt(len(known) / numbers.clip(min=1)), 0.0)
        weights = weights / weights[present].mean()
    else:
        positive = (labels == 1).sum(axis=0)
        weights = np.sqrt((labels == 0).sum(axis=0).clip(min=1) / positive.clip(min=1))
    return torch.from_numpy(weights.clip(max=_MOST_WEIGHT)).float()


def _loss(logits: Tensor, labels: Tensor, exclusive: bool, weights: Tensor) -> Tensor:
    """Return the mean loss over labeled frames: cross entropy, or the binary one of each behavior."""
    if exclusive:
        classes = torch.where(labels.amax(dim=2) > 0, labels.argmax(dim=2) + 1, 0)
        classes = classes.masked_fill((labels < 0).any(dim=2), -1)
        return functional.cross_entropy(
            logits.flatten(0, 1), classes.flatten(), weight=weights, ignore_index=-1
        )
    losses = functional.binary_cross_entropy_with_logits(
        logits, labels.clamp(min=0).float(), pos_weight=weights, reduction="none"
    )
    known = (labels >= 0).float()
    return (losses * known).sum() / known.sum().clamp(min=1)


def _temperature(logits: Sequence[Tensor], videos: Sequence[FeatureVideo], seed: int) -> float:
    """Return the temperature of exclusive behaviors and background, from frames that were held back."""
    values = torch.cat(list(logits)).numpy()
    labels = np.concatenate([video.labels for video in videos])
    known = np.flatnonzero((labels >= 0).all(axis=1))
    if len(known) > _CALIBRATION_FRAMES:
        known = np.random.default_rng(seed).choice(known, _CALIBRATION_FRAMES, replace=False)
    chosen = labels[known]
    classes = np.where(chosen.max(axis=1) > 0, chosen.argmax(axis=1) + 1, 0)
    return fit_temperature(values[known], classes)

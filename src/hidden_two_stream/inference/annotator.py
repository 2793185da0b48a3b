"""Labels each frame of a video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from hidden_two_stream.checkpoint import (
    FRAME_LABELS_KEY,
    RunInfo,
    build_model,
    place_weights,
    read_description,
    save_run,
)
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.files import parse_json
from hidden_two_stream.inference.frame_features import FeatureParts, VideoFeatures, frame_features
from hidden_two_stream.inference.frame_scores import (
    FrameScores,
    FrameSettings,
    bout,
    bridged_and_long,
    end_seconds,
)
from hidden_two_stream.recognition.frame_head import FrameHead, frame_logits, frame_scores
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import on_device, shapes_only
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.reader import Source, source_name
from hidden_two_stream.weights.hub import find_run

__all__ = ["Annotator", "load_annotator"]


class Annotator(nn.Module):
    """Networks that stay as they are, and the network that labels frames from their features.

    Args:
        networks: a model with a temporal stream of the form "sequence".
        head: maps features to logits per frame.
        info: recipe of the networks; its classes are the behaviors.
        exclusive: one behavior at a time, or none.
        temperature: divisor of the logits.
        thresholds: (K,) score from which on a behavior is said to happen; 0 if exclusive.
        parts: what the features of a frame are made of.
    """

    def __init__(
        self,
        networks: HiddenTwoStream,
        head: FrameHead,
        info: RunInfo,
        exclusive: bool,
        temperature: float,
        thresholds: Sequence[float],
        parts: FeatureParts | None = None,
    ) -> None:
        super().__init__()
        self.networks = networks
        self.head = head
        self.info = info
        self.exclusive = exclusive
        self.temperature = temperature
        self.thresholds = tuple(thresholds)
        self.parts = parts or FeatureParts()
        self.source = ""
        self.eval().requires_grad_(False)

    def __repr__(self) -> str:
        kind = "one at a time" if self.exclusive else "several at a time"
        return f"Annotator({', '.join(self.names)}; {kind})"

    @property
    def names(self) -> tuple[str, ...]:
        """The behaviors, in the order of the columns."""
        return self.info.classes

    def annotate(self, source: Source, settings: FrameSettings | None = None) -> FrameScores:
        """Return scores and labels for each frame of a video.

        Args:
            source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array.
            settings: thresholds, and how to treat short bouts and gaps.

        Raises:
            UsageError: there is nothing at the path, or a threshold is for an unknown behavior.
            VideoError: the video cannot be read.
        """
        chosen = settings or FrameSettings()
        self.check(chosen)
        return self.labels(source_name(source), self.features(source), chosen)

    def features(self, source: Source) -> VideoFeatures:
        """Return the features of the frames of a video, which `labels` gives labels to.

        Raises:
            UsageError, VideoError: as `annotate`.
        """
        return frame_features(self.networks, self.info, source, self.parts)

    def check(self, settings: FrameSettings) -> None:
        """Check that the settings name no other behaviors.

        Raises:
            UsageError: they do.
        """
        unknown = sorted(set(settings.thresholds) - set(self.names))
        if unknown:
            raise UsageError(
                f"a threshold is given for {unknown[0]!r}; the behaviors are {', '.join(self.names)}"
            )

    def labels(self, name: str, found: VideoFeatures, settings: FrameSettings) -> FrameScores:
        """Return scores and labels for the frames of a video from its features."""
        logits = frame_logits(self.head, found.features.to(self.head.mean.device)).cpu()
        sampled = frame_scores(logits, self.exclusive, self.temperature)
        return self.labels_of_scores(name, found, sampled, settings)

    def labels_of_scores(
        self, name: str, found: VideoFeatures, sampled: FloatArray, settings: FrameSettings
    ) -> FrameScores:
        """Return labels from the scores (N, K) of the sampled frames; times between them are interpolated."""
        scores = np.stack(
            [np.interp(found.pts_seconds, found.sampled_seconds, column) for column in sampled.T], axis=1
        ).astype(np.float32)
        values = self._values(scores, settings)
        edges = np.append(found.pts_seconds, end_seconds(found.pts_seconds))
        removed = []
        for column, behavior in enumerate(self.names):
            for first, stop in bridged_and_long(values[:, column], edges, settings):
                removed.append(bout(edges, scores[:, column], behavior, first, stop))
        return FrameScores(
            name,
            self.names,
            found.pts_seconds,
            scores,
            values,
            self.exclusive,
            tuple(removed),
            found.warnings,
        )

    def _values(self, scores: FloatArray, settings: FrameSettings) -> npt.NDArray[np.int8]:
        """Return (T, K) ones where a behavior happens.

        Exclusive behaviors: the one with the highest score, unless the background's is higher. A threshold
        that the settings name has to be reached, too.
        """
        pairs = zip(self.names, self.thresholds, strict=True)
        values = scores >= np.array([settings.thresholds.get(name, chosen) for name, chosen in pairs])
        if self.exclusive:
            background = 1 - scores.sum(axis=1, keepdims=True)
            best = scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])
            values &= best & (scores > background)
        return values.astype(np.int8)

    # -- files

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json` into an existing folder.

        Raises:
            TrainingError, OutputError: as `checkpoint.save_run`.
        """
        facts = {
            "exclusive": self.exclusive,
            "temperature": self.temperature,
            "thresholds": list(self.thresholds),
            "features": len(self.head.mean),
            "width": self.head.width,
            "network_classes": _num_classes(self.networks),
            "streams": list(self.parts.streams),
            "grid": list(self.parts.grid),
        }
        save_run(folder, self, self.info, **{FRAME_LABELS_KEY: json.dumps(facts)})


def load_annotator(source: str | Path, device: str = "cpu") -> Annotator:
    """Return the annotator of a run of `hts train-frames`, or of a model of the hub.

    Args:
        source: the folder, its `model.safetensors`, or a name on the hub, as for `inference.predictor.load`.
        device: where to compute, for example "cpu" or "cuda".

    Raises:
        UsageError: there is nothing at `source`, or no such device.
        CheckpointError: it is a run that labels clips, or damaged; or the hub cannot be reached.
    """
    found = find_run(source)
    file, tensors, data, info = read_description(found.path)
    text = data.get(FRAME_LABELS_KEY)
    if text is None:
        raise CheckpointError(
            f"{str(file)!r} labels clips, not frames; train with hts train-frames, or use hts predict"
        )
    facts = _facts(text, len(info.classes), file)
    with shapes_only():
        networks = build_model(info.recipe, facts["network_classes"])
        head = FrameHead(
            facts["features"], len(info.classes) + facts["exclusive"], facts["width"], dropout=0.0
        )
        annotator = Annotator(
            networks, head, info, facts["exclusive"], facts["temperature"], facts["thresholds"],
            facts["parts"],
        )  # fmt: skip
    place_weights(annotator, tensors, file)
    annotator.source = found.source
    return on_device(annotator.eval().requires_grad_(False), device)


def _facts(text: object, count: int, file: Path) -> dict[str, Any]:
    """Return the checked description of an annotator."""
    try:
        found: Any = parse_json(text) if isinstance(text, str) else None
        thresholds = [float(value) for value in found["thresholds"]]
        facts = {
            "exclusive": found["exclusive"],
            "temperature": float(found["temperature"]),
            "thresholds": thresholds,
            "parts": FeatureParts(tuple(found["streams"]), tuple(found["grid"])),
            **{name: found[name] for name in ("features", "width", "network_classes")},
        }
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{str(file)!r} has a damaged description of frame labels: {error}") from error
    whole = all(
        type(facts[name]) is int and 1 <= facts[name] <= 1_000_000
        for name in ("features", "width", "network_classes")
    )
    valid = type(facts["exclusive"]) is bool and 0.01 <= facts["temperature"] <= 1000 and whole
    if not valid or len(thresholds) != count or not all(0 <= value <= 1 for value in thresholds):
        raise CheckpointError(f"{str(file)!r} has a description of frame labels with values out of range")
    return facts


def _num_classes(networks: HiddenTwoStream) -> int:
    return int(networks.get_submodule("temporal_stream.fc").out_features)  # type: ignore[arg-type]

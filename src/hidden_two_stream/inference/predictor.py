"""A trained recogniser in use: labels and hidden flow for files, frame folders and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo, load_run
from hidden_two_stream.config.schema import STAGE_NAMES
from hidden_two_stream.data.clip_cache import DecodedVideo, decode
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.inference.motion_estimator import MotionEstimator, on_device, smallest_side
from hidden_two_stream.inference.protocol import DEFAULT_PROTOCOL, Protocol, clip_batches, parse_protocol
from hidden_two_stream.recognition.fusion import FUSIONS, fuse
from hidden_two_stream.recognition.model import STREAMS, HiddenTwoStream
from hidden_two_stream.types import FloatArray, Prediction
from hidden_two_stream.video.reader import Source
from hidden_two_stream.video.sampling import clip_span
from hidden_two_stream.video.transforms import to_frames

__all__ = ["STREAMS", "Recognizer", "load"]

_KEPT_BYTES = 256 << 20  # decoded frames of one video; longer ones are decoded twice, with the same result


def load(source: str | Path, device: str = "cpu") -> Recognizer:
    """Load a run folder or checkpoint file for use.

    Args:
        source: a folder made by `hts train`, or its `model.safetensors`.
        device: where to compute, for example "cpu" or "cuda".

    Raises:
        UsageError: there is nothing at `source`, or no such device.
        CheckpointError: it is damaged or of another version.
    """
    model, info = load_run(source)
    return Recognizer(on_device(model, device), info)


class Recognizer:
    """A model with the preprocessing, classes and fusion that it was trained with.

    Attributes:
        model: the networks; `model.motion(frames)`, `model.temporal(frames)`, `model.spatial(frames)`.
        info: recipe, classes and provenance.
    """

    def __init__(self, model: HiddenTwoStream, info: RunInfo) -> None:
        self.model = model.eval()
        self.info = info

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of all scores."""
        return self.info.classes

    @property
    def trained_streams(self) -> tuple[str, ...]:
        """The streams whose training stages were run; only these are used."""
        stages = self.info.provenance.get("stages", STAGE_NAMES)
        by_stream = {"spatial": ("spatial",), "temporal": ("temporal", "joint")}
        built = self.info.recipe.model.streams
        return tuple(
            name for name in STREAMS if name in built and any(stage in stages for stage in by_stream[name])
        )

    def predict(self, source: Source, protocol: str = DEFAULT_PROTOCOL) -> Prediction:
        """Label one video.

        Args:
            source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array; the same frames
                give the same result.
            protocol: "center" or "NxM", see `inference.protocol`.

        Raises:
            UsageError: the path or the protocol is wrong.
            VideoError: the video cannot be read.
            CheckpointError: no stream of this run was trained.
        """
        chosen = parse_protocol(protocol)
        video = decode(source, self.info.recipe.input.resize, _KEPT_BYTES)
        logits = self.logits(video, chosen)
        return self.prediction(video, logits, chosen)

    def prediction(
        self, video: DecodedVideo, logits: dict[str, FloatArray], protocol: Protocol
    ) -> Prediction:
        """What averaged logits say of a video."""
        normalize = FUSIONS[self.info.recipe.fusion.method]
        warnings = [video.warning] if video.warning else []
        length = clip_span(self.info.recipe.model.num_frames, self.info.recipe.input.frame_stride)
        if video.num_frames < length:
            warnings.append(
                f"it has {video.num_frames} of the {length} frames that a clip needs; the last was repeated"
            )
        return Prediction(
            source="array" if isinstance(video.source, np.ndarray) else str(video.source),
            classes=self.classes,
            scores=self.fuse(logits),
            streams={name: normalize(vector) for name, vector in logits.items()},
            num_frames=video.num_frames,
            protocol=protocol.name,
            warnings=tuple(warnings),
        )

    def logits(self, video: DecodedVideo, protocol: Protocol) -> dict[str, FloatArray]:
        """Logits per stream, averaged over clips and crops: (classes,) each."""
        if not self.trained_streams:
            raise CheckpointError(
                "this run has a MotionNet but no trained stream; train spatial and temporal"
            )
        sums = {name: np.zeros(len(self.classes), np.float64) for name in self.trained_streams}
        count = 0
        for clips in clip_batches(video, self.info.recipe, protocol):
            outputs = self._forward(clips)
            count += len(clips)
            for name in sums:
                sums[name] += outputs[name].double().sum(dim=0).cpu().numpy()
        return {name: (total / count).astype(np.float32) for name, total in sums.items()}

    def fuse(self, logits: dict[str, FloatArray]) -> FloatArray:
        """Late fusion of logits (…, classes) per stream, with the recipe's method and weights."""
        fusion = self.info.recipe.fusion
        weights = {"spatial": fusion.spatial_weight, "temporal": fusion.temporal_weight}
        return fuse(list(logits.values()), [weights[name] for name in logits], fusion.method)

    @property
    def motion_estimator(self) -> MotionEstimator:
        """The run's MotionNet alone, with the preprocessing that it was trained with."""
        recipe = self.info.recipe
        return MotionEstimator(
            self.model.motion,
            recipe.model.num_frames,
            self._device(),
            short_side=recipe.input.size,
            smallest_side=smallest_side(recipe.model.motion),
            normalize_contrast=recipe.input.normalize_contrast,
        )

    def flow(self, source: Source, short_side: int | None = None) -> FloatArray:
        """The hidden motion between all neighbouring frames of a video.

        Args:
            source: as for `predict`.
            short_side: shorter side of the pictures that MotionNet sees; None: as in training.

        Returns:
            (T−1, 2, h, w) float32, in pixels of its own grid; (0, 2, h, w) for a single frame.
        """
        return self.motion_estimator.flow(source, short_side)

    def flow_windows(
        self, source: Source, short_side: int | None = None
    ) -> Iterator[tuple[Tensor, FloatArray]]:
        """As `flow`, window by window, in bounded memory; see `MotionEstimator.flow_windows`."""
        return self.motion_estimator.flow_windows(source, short_side)

    @torch.inference_mode()
    def _forward(self, clips: Tensor) -> dict[str, Tensor]:
        frames = to_frames(clips.to(self._device()), self.info.recipe.input.normalize_contrast)
        by_stream = {"spatial": self.model.spatial, "temporal": self.model.temporal}
        return {name: by_stream[name](frames) for name in self.trained_streams}

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

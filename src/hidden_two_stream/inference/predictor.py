"""Trained recognizers: labels, windows and hidden flow of files, frame folders and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo, load_run
from hidden_two_stream.data.clip_cache import DecodedVideo, decode_video
from hidden_two_stream.data.record import TrainingRecord, read_record
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.explain import DEFAULT_STRETCHES, check_explained, explain_video
from hidden_two_stream.inference.explanation import Explanation
from hidden_two_stream.inference.motion_estimator import MotionEstimator, smallest_side
from hidden_two_stream.inference.ring import WindowRing
from hidden_two_stream.inference.scoring import (
    KEPT_BYTES,
    Scoring,
    features_of,
    predicted,
    scored_along,
    segmented,
    video_logits,
)
from hidden_two_stream.inference.segment_settings import SegmentRule, SegmentSettings
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.inference.shared_windows import (
    scored_sharing,
    scored_sharing_together,
    windows_share_pairs,
)
from hidden_two_stream.inference.stream import StreamSettings, decided
from hidden_two_stream.inference.tracker import Box, Point, Track, track
from hidden_two_stream.inference.windows import (
    DEFAULT_PROTOCOL,
    Protocol,
    parse_protocol,
    scored_together,
)
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import on_device
from hidden_two_stream.types import (
    Decision,
    FloatArray,
    Prediction,
    Segment,
    WindowFeatures,
    WindowPrediction,
)
from hidden_two_stream.video.reader import Source
from hidden_two_stream.video.sources.live import live_source
from hidden_two_stream.weights.hub import find_run

__all__ = ["Recognizer", "load"]

_Result = TypeVar("_Result")


def load(source: str | Path, device: str = "cpu") -> Recognizer:
    """Return the recognizer of a run folder, a checkpoint file, or a model of the hub.

    Args:
        source: a folder made by `hts train`, or its `model.safetensors`; or "user/name" or
            "user/name@revision" of the hub, see `weights.hub.find_run`.
        device: where to compute, for example "cpu" or "cuda".

    Raises:
        UsageError: there is nothing at `source`, or no such device.
        CheckpointError: the checkpoint, or its list of samples, is damaged or has another format version; or
            the hub cannot be reached.
        MissingDependencyError: `huggingface_hub` is not installed.
    """
    found = find_run(source)
    model, info = load_run(found.path)
    return Recognizer(on_device(model, device), info, read_record(found.path), found.source)


class Recognizer:
    """A trained model with its preprocessing, classes and fusion.

    Attributes:
        model: the networks: `model.motion(frames)`, `model.temporal(frames)`, `model.spatial(frames)`.
        info: recipe, classes and metadata.
        record: the videos that it was trained on; None: unknown.
        source: where it was loaded from: a path, or "user/name@commit" of the hub; "": it was not loaded.
        trained_streams: the streams that were built and trained. Only these streams are used.
    """

    def __init__(
        self, model: HiddenTwoStream, info: RunInfo, record: TrainingRecord | None = None, source: str = ""
    ) -> None:
        self.model = model.eval()
        self.info = info
        self.record = record
        self.source = source
        self._scoring = Scoring.of(info)
        self.trained_streams = self._scoring.streams

    def __repr__(self) -> str:
        model, streams = self.info.recipe.model, ", ".join(self.trained_streams) or "no stream"
        return f"Recognizer({model.motion}, {model.temporal}, {streams}, {len(self.classes)} classes)"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of all scores."""
        return self.info.classes

    @property
    def name(self) -> str:
        """What errors call it: its source in quotation marks, or "this recognizer"."""
        return repr(self.source) if self.source else "this recognizer"

    @property
    def calibration(self) -> Calibration | None:
        """What was fitted on held-back training videos; None: the run is not calibrated."""
        return self.info.metadata.calibration

    # -- labels

    def predict(
        self, source: Source, protocol: str = DEFAULT_PROTOCOL, *, threshold: float | None = None
    ) -> Prediction:
        """Return the label and scores of one video.

        Args:
            source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array. The same frames
                give the same result.
            protocol: "center" or "NxM", see `inference.windows.Protocol`. For a run whose training mirrored
                no clips, "Nx10" becomes "Nx5", with a warning.
            threshold: the fused score below which no class fits, 0…1; 0: a class always fits; None: the run's
                calibration decides, if it has one: by prototypes, or else by its threshold.

        Raises:
            UsageError: the path, the protocol or the threshold is wrong.
            VideoError: the video cannot be read.
            CheckpointError: no stream of this run was trained.
        """
        return predicted(self._scoring, source, protocol, threshold, self.logits)

    def explain(
        self,
        source: Source,
        label: str | None = None,
        protocol: str = DEFAULT_PROTOCOL,
        *,
        stretches: int = DEFAULT_STRETCHES,
        progress: Callable[[int, int], None] | None = None,
    ) -> Explanation:
        """Return where and when a video shows evidence for a class.

        Args:
            source: as for `predict`.
            label: the class to explain; None: the best one.
            protocol: "center" or "Nx1", with up to `inference.explain.MOST_WINDOWS` windows.
            stretches: equal parts of the video, each of which is once replaced by a still frame; fewer in a
                short video.
            progress: called with the number of windows and stretches done, and the total.

        Raises:
            UsageError: an argument is wrong.
            VideoError: the video cannot be read.
            CheckpointError: no stream of this run was trained.
        """
        self._scoring.require_usable()
        chosen, settings = parse_protocol(protocol), self.info.recipe.input
        check_explained(chosen, stretches)
        video = decode_video(source, settings.resize, KEPT_BYTES, fps=settings.fps)
        return self.explanation(video, label, chosen, stretches, progress)

    def explanation(
        self,
        video: DecodedVideo,
        label: str | None,
        protocol: Protocol,
        stretches: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> Explanation:
        """Return the explanation of a decoded video; the arguments are those of `explain`."""
        return explain_video(self, self._forward, video, label, protocol, stretches, progress)

    def logits(self, video: DecodedVideo, protocol: Protocol) -> dict[str, FloatArray]:
        """Return logits (classes,) of each stream, averaged over the protocol's windows and crops.

        The logits of a calibrated run are divided by the temperatures of its streams.

        Raises:
            CheckpointError: no stream of this run was trained.
        """
        scoring, recipe, streams = self._scoring, self.info.recipe, self.trained_streams
        if not windows_share_pairs(self.model, streams, recipe, protocol, video.num_frames):
            return video_logits(scoring, video, protocol, self._forward)
        scoring.require_usable()
        windows = scored_sharing(self.model, streams, scoring.calibrated, video, recipe, protocol)
        return mean_logits(windows)

    def logits_of(self, videos: Sequence[DecodedVideo], protocol: Protocol) -> list[dict[str, FloatArray]]:
        """Return `logits` of each video, up to rounding, with windows of several videos in one batch.

        Args:
            videos: videos as `inference.scoring.decoded` returns them.
            protocol: the protocol of all of them.

        Raises:
            CheckpointError: no stream of this run was trained, or the logits of a video are not finite.
        """
        scoring, recipe, streams = self._scoring, self.info.recipe, self.trained_streams
        scoring.require_usable()
        if "temporal" in streams and self.model.pairs_are_independent:
            windows = scored_sharing_together(
                self.model, streams, scoring.calibrated, videos, recipe, protocol
            )
        else:
            windows = scored_together(videos, recipe, protocol, self._forward)
        return [mean_logits(of_video) for of_video in windows]

    def prediction(
        self,
        video: DecodedVideo,
        logits: Mapping[str, FloatArray],
        protocol: Protocol,
        threshold: float | None = None,
    ) -> Prediction:
        """Return the prediction for a video from its averaged logits; `threshold` is that of `predict`."""
        return self._scoring.prediction(video, logits, protocol, threshold)

    def rate_warning(self, fps: float | None) -> str | None:
        """Return a warning if a video's rate is far from those of training; None: it is not, or is unknown.

        Args:
            fps: the video's own frames per second.
        """
        return self._scoring.rate_warning(fps)

    def windows(
        self,
        source: Source,
        hop_seconds: float = 0.5,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[WindowPrediction]:
        """Return an iterator over the scores of a video's windows, in constant memory.

        Args:
            source: as for `predict`.
            hop_seconds: time between the starts of two windows, see `inference.windows.sliding_windows`.
            on_warning: called after the last window if something is wrong with the video, with the reason;
                None: a `VideoWarning` is issued.

        Warns:
            VideoWarning: after the last window, if something is wrong with the video.

        Raises:
            UsageError: `hop_seconds` is not positive, or there is nothing at the path.
            VideoError: the video cannot be read.
            CheckpointError: no stream of this run was trained.
        """
        scoring = self._scoring
        return scored_along(scoring, source, hop_seconds, self._forward, scoring.window_of, on_warning)

    def features(
        self,
        source: Source,
        hop_seconds: float = 0.5,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[WindowFeatures]:
        """Return an iterator over the embeddings of a video's windows, in constant memory.

        An embedding is the input of a stream's last layer: `model.temporal_stream.classify` maps it to the
        window's logits, before calibration.

        Args:
            source: as for `windows`.
            hop_seconds: as for `windows`; the windows are the same.
            on_warning: called after the last window if something is wrong with the video, with the reason;
                None: a `VideoWarning` is issued.

        Warns:
            VideoWarning: after the last window, if something is wrong with the video.

        Raises:
            UsageError, VideoError, CheckpointError: as `windows`.
        """
        return scored_along(self._scoring, source, hop_seconds, self._embed, features_of, on_warning)

    def stream(
        self,
        source: int | Source,
        *,
        frame_size: tuple[int, int] | None = None,
        fps: float | None = None,
        settings: StreamSettings | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> Iterator[Decision]:
        """Return an iterator over decisions about a live source, the newest frame first.

        A frame that arrives while another is scored is dropped unless `settings` say otherwise. Memory and
        work per frame are constant; see `inference.ring`. Leaving the loop closes the source.

        Args:
            source: number of a camera; the URL of a stream; a video file, a folder of frames or an array,
                which come at their own pace; or "-", raw RGB frames on the standard input.
            frame_size: (width, height) of raw frames; what a camera is asked for, px.
            fps: frames per second of raw frames; what a camera is asked for.
            settings: how often to decide, smoothing, threshold, and when to give up.
            on_event: is called with one line when something happens to the connection, or the rate is far
                from that of training; from another thread.

        Raises:
            UsageError: an argument is wrong, or there is nothing at the path.
            VideoError: the source cannot be opened, ends with an error, or does not come back.
            CheckpointError: no stream of this run was trained, or its scores are not finite.
        """
        self._scoring.require_usable()
        ring = WindowRing(self.model, self.info.recipe, self.trained_streams)
        live = live_source(source, frame_size=frame_size, fps=fps)
        return decided(self._scoring, ring, live, settings, on_event)

    def segment(
        self,
        source: Source,
        settings: SegmentSettings | None = None,
        *,
        on_scores: Callable[[TimedScores], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[Segment]:
        """Return an iterator over what happens when in an untrimmed video, in constant memory.

        A segment is yielded as soon as it is certain that it will not be joined to a later one.

        Args:
            source: as for `predict`.
            settings: windows, smoothing and thresholds; None: `SegmentSettings()`.
            on_scores: called with the scores of each short interval, in order.
            on_warning: as for `windows`.

        Warns:
            VideoWarning: after the last segment, as `windows`.

        Raises:
            UsageError: the settings name a class that the run does not have, or as `windows`.
            VideoError, CheckpointError: as `windows`.
        """
        windows = partial(self.windows, source, on_warning=on_warning)
        return segmented(self._scoring, windows, settings, on_scores)

    def segment_rule(self, settings: SegmentSettings) -> SegmentRule:
        """Return when segments begin and end, by the settings and this run's calibration.

        Raises:
            UsageError: as `SegmentSettings.rule`.
        """
        return self._scoring.segment_rule(settings)

    def fuse(self, logits: Mapping[str, FloatArray]) -> FloatArray:
        """Return fused scores of logits (…, classes) per stream, with the recipe's method and weights.

        The logits are those of `logits`; the fused scores of a calibrated run have its fused temperature.
        """
        return self._scoring.fuse(logits)

    @torch.inference_mode()
    def _forward(self, clips: Tensor) -> dict[str, Tensor]:
        frames = self.model.preprocess(clips.to(self._device()))
        by_stream = {"spatial": self.model.spatial, "temporal": self.model.temporal}
        logits = {name: by_stream[name](frames) for name in self.trained_streams}
        return self._scoring.calibrated(logits)

    @torch.inference_mode()
    def _embed(self, clips: Tensor) -> dict[str, Tensor]:
        frames = self.model.preprocess(clips.to(self._device()))
        by_stream = {"spatial": self.model.spatial_embedding, "temporal": self.model.temporal_embedding}
        return {name: by_stream[name](frames) for name in self.trained_streams}

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    # -- motion

    @property
    def motion_estimator(self) -> MotionEstimator:
        """The run's MotionNet alone, with its preprocessing."""
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
        """Return the hidden motion between all neighboring frames of a video.

        Args:
            source: as for `predict`.
            short_side: shorter side of the frames that MotionNet sees, px; None: as in training.

        Returns:
            (T−1, 2, h, w) float32, in pixels of its own grid; (0, 2, h, w) for a single frame.

        Warns:
            VideoWarning: something is wrong with the video, for example that decoding stopped early.
        """
        return self.motion_estimator.flow(source, short_side)

    def flow_windows(
        self, source: Source, short_side: int | None = None
    ) -> Iterator[tuple[Tensor, FloatArray]]:
        """Return `flow` window by window, in constant memory; see `MotionEstimator.flow_windows`."""
        return self.motion_estimator.flow_windows(source, short_side)

    def track(
        self,
        source: Source,
        *,
        points: Sequence[Point] = (),
        box: Box | None = None,
        start_seconds: float = 0.0,
        short_side: int | None = None,
    ) -> Track:
        """Return an iterator over the places of points, or of a box, in each frame, in constant memory.

        Args:
            source: as for `predict`.
            points: see `inference.tracker.track`.
            box: see `inference.tracker.track`.
            start_seconds: see `inference.tracker.track`.
            short_side: see `inference.tracker.track`.

        Warns:
            VideoWarning: after the last frame, if something is wrong with the video.

        Raises:
            UsageError: the points, the box or the start don't lie in the video.
            VideoError: the video cannot be read.
        """
        return track(
            self.motion_estimator,
            source,
            points=points,
            box=box,
            start_seconds=start_seconds,
            short_side=short_side,
        )

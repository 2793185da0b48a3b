"""From logits to results, by the description of a run: the same for PyTorch and for exported models.

Nothing here needs PyTorch: who computes the logits is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hidden_two_stream.checkpoint import RunInfo
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import trained_streams
from hidden_two_stream.data.clip_cache import DecodedVideo, Resizer, decode_video, require_resizable, resized
from hidden_two_stream.errors import CheckpointError, UsageError, warn_of_video
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.segment_settings import SegmentRule, SegmentSettings
from hidden_two_stream.inference.segments import (
    TimedScores,
    find_segments,
    known_windows,
    smoothed,
    time_line,
    watched,
)
from hidden_two_stream.inference.windows import (
    Protocol,
    ScoredWindow,
    protocol_frames,
    protocol_windows,
    run_protocol,
    scored,
    sliding_windows,
)
from hidden_two_stream.recognition.calibration import Calibration, fused_scores
from hidden_two_stream.recognition.fusion import FUSIONS
from hidden_two_stream.types import (
    FloatArray,
    Prediction,
    Segment,
    WindowFeatures,
    WindowPrediction,
    require_threshold,
)
from hidden_two_stream.video.reader import Source, VideoReader, source_name
from hidden_two_stream.video.sampling import clip_span
from hidden_two_stream.video.times import FAR_RATE, at_rate, sampled_rate, unsampled_warning

__all__ = [
    "KEPT_BYTES",
    "Scoring",
    "decoded_for",
    "features_of",
    "predicted",
    "scored_along",
    "segmented",
    "video_logits",
]

KEPT_BYTES = 256 << 20
"""Decoded frames of one video; longer videos are decoded twice, with the same result."""

_Result = TypeVar("_Result")
_Values = TypeVar("_Values", bound=Any)


@dataclass(frozen=True)
class Scoring:
    """What the description of a run says about its logits: temperatures, fusion, threshold, rates.

    Attributes:
        info: recipe, classes and metadata.
        streams: the streams that are used.
    """

    info: RunInfo
    streams: tuple[str, ...]

    @classmethod
    def of(cls, info: RunInfo) -> Scoring:
        """Return the scoring of a run: its streams are those that were built and trained."""
        built, trained = info.recipe.model.streams, trained_streams(info.metadata.stages)
        return cls(info, tuple(name for name in trained if name in built))

    @property
    def calibration(self) -> Calibration | None:
        """What was fitted on held-back training videos; None: the run is not calibrated."""
        return self.info.metadata.calibration

    def require_usable(self) -> None:
        """Raise a CheckpointError unless windows can be scored."""
        if not self.info.recipe.input.size:
            raise CheckpointError(
                "the description of this run has input.size 0; expected the size that it used"
            )
        if not self.streams:
            raise CheckpointError(
                "this run has a MotionNet but no trained stream; train spatial and temporal"
            )

    def calibrated(self, logits: Mapping[str, _Values]) -> dict[str, _Values]:
        """Return logits divided by the temperatures of their streams.

        All logits pass here, so that predictions, windows, streams, tests, exports and saved scores agree.
        """
        if self.calibration is None:
            return dict(logits)
        return {name: values / self.calibration.temperature(name) for name, values in logits.items()}

    def fuse(self, logits: Mapping[str, FloatArray]) -> FloatArray:
        """Return fused scores of logits (…, classes) per stream, with the recipe's method and weights."""
        return fused_scores(logits, self.info.recipe.fusion, self.calibration)

    def stream_scores(self, logits: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return the scores of each stream alone from its logits (…, classes)."""
        normalize = FUSIONS[self.info.recipe.fusion.method]
        return {name: normalize(vector) for name, vector in logits.items()}

    def threshold(self, given: float | None) -> float | None:
        """Return the fused score below which no class fits: the given one, or that of the calibration.

        Where the calibration has prototypes, they tell what is of no class, and its threshold is not used.
        """
        if given is None and self.calibration is not None and self.calibration.prototypes is None:
            return self.calibration.threshold
        return given

    def similarity(self, logits: Mapping[str, FloatArray], scores: FloatArray) -> float | None:
        """Return how like those of its best class a clip's logits (classes,) are; None: no prototypes."""
        if self.calibration is None or self.calibration.prototypes is None:
            return None
        return float(self.calibration.prototypes.similarity(logits, int(np.argmax(scores))))

    def least_similarity(self, threshold: float | None) -> float | None:
        """Return the similarity below which no class fits; None: a threshold was given, or no prototypes."""
        if threshold is not None or self.calibration is None or self.calibration.prototypes is None:
            return None
        return self.calibration.prototypes.least

    def segment_rule(self, settings: SegmentSettings) -> SegmentRule:
        """Return when segments begin and end, by the settings and the calibration.

        Raises:
            UsageError: as `SegmentSettings.rule`.
        """
        return settings.rule(self.info.classes, self.threshold(None))

    def prediction(
        self,
        video: DecodedVideo,
        logits: Mapping[str, FloatArray],
        protocol: Protocol,
        threshold: float | None = None,
    ) -> Prediction:
        """Return the prediction for a video from its averaged logits.

        Args:
            video: the decoded video.
            logits: (classes,) of each stream, calibrated, averaged over the protocol's windows and crops.
            protocol: the protocol that was used.
            threshold: see `threshold`.
        """
        warnings = [video.warning] if video.warning else []
        length = clip_span(self.info.recipe.model.num_frames, self.info.recipe.input.frame_stride)
        if video.num_frames < length:
            warnings.append(
                f"it has {video.num_frames} of the {length} frames that a clip needs; "
                "the last frame was repeated"
            )
        warnings += filter(None, [self.rate_warning(video.fps)])
        scores = self.fuse(logits)
        return Prediction(
            source=source_name(video.source),
            classes=self.info.classes,
            scores=scores,
            streams=self.stream_scores(logits),
            num_frames=video.num_frames,
            protocol=protocol.name,
            warnings=tuple(warnings),
            threshold=self.threshold(threshold),
            similarity=self.similarity(logits, scores),
            least_similarity=self.least_similarity(threshold),
        )

    def rate_warning(self, fps: float | None) -> str | None:
        """Return a warning if a video's rate is far from those of training; None: it is not, or is unknown.

        Args:
            fps: the video's own frames per second.
        """
        metadata = self.info.metadata
        if not fps or not metadata.min_fps or not metadata.max_fps:
            return None
        rate = sampled_rate(fps, self.info.recipe.input.fps)
        if metadata.min_fps / FAR_RATE < rate < metadata.max_fps * FAR_RATE:
            return None
        trained = " to ".join(dict.fromkeys(f"{rate:.4g}" for rate in (metadata.min_fps, metadata.max_fps)))
        return (
            f"it has {rate:.4g} frames per second, but training saw {trained}: the same motion looks "
            f"{'slower' if rate > metadata.max_fps else 'faster'}; train with input.fps to sample by time"
        )

    def window(
        self, start_seconds: float, end_seconds: float, logits: Mapping[str, npt.NDArray[np.floating]]
    ) -> WindowPrediction:
        """Return the scores of a window from its calibrated logits (classes,) per stream."""
        values = {name: vector.astype(np.float32) for name, vector in logits.items()}
        scores = self.fuse(values)
        return WindowPrediction(
            start_seconds, end_seconds, self.info.classes, scores, self.stream_scores(values),
            self.similarity(values, scores),
        )  # fmt: skip

    def window_of(self, window: ScoredWindow) -> WindowPrediction:
        """Return the scores of a window that `windows.scored` yields."""
        return self.window(window.start_seconds, window.end_seconds, window.logits)


def predicted(
    scoring: Scoring,
    source: Source,
    protocol: str,
    threshold: float | None,
    logits: Callable[[DecodedVideo, Protocol], Mapping[str, FloatArray]],
    resizer: Resizer | None = None,
) -> Prediction:
    """Return the label and scores of one video.

    Args:
        scoring: description of the run.
        source: a video.
        protocol: name of the test protocol.
        threshold: see `Scoring.threshold`.
        logits: returns the calibrated logits (classes,) of each stream.
        resizer: resizes the frames; None: `data.clip_cache.resized`.

    Raises:
        UsageError: the path, the protocol or the threshold is wrong.
        VideoError: the video cannot be read.
        CheckpointError: no stream of this run was trained.
    """
    require_threshold(threshold)
    recipe, changed = scoring.info.recipe, list[str]()
    chosen = run_protocol(protocol, recipe, changed.append)
    video = decoded_for(recipe, source, chosen, resizer)
    found = scoring.prediction(video, logits(video, chosen), chosen, threshold)
    return replace(found, warnings=(*changed, *found.warnings))


def decoded_for(
    recipe: Recipe, source: Source, protocol: Protocol, resizer: Resizer | None = None
) -> DecodedVideo:
    """Return a video with the frames that a test protocol uses for a run.

    Raises:
        UsageError, VideoError: as `decode_video`.
    """
    return decode_video(
        source,
        recipe.input.resize,
        KEPT_BYTES,
        fps=recipe.input.fps,
        resizer=resizer,
        choose=partial(protocol_frames, recipe, protocol),
    )


def video_logits(
    scoring: Scoring,
    video: DecodedVideo,
    protocol: Protocol,
    forward: Callable[[Any], Mapping[str, Any]],
) -> dict[str, FloatArray]:
    """Return the logits (classes,) of each stream, averaged over the protocol's windows and crops.

    Raises:
        CheckpointError: no stream of this run was trained.
    """
    scoring.require_usable()
    return mean_logits(scored(protocol_windows(video, scoring.info.recipe, protocol), forward))


def segmented(
    scoring: Scoring,
    windows: Callable[[float], Iterator[WindowPrediction]],
    settings: SegmentSettings | None,
    on_scores: Callable[[TimedScores], None] | None,
) -> Iterator[Segment]:
    """Return an iterator over what happens when along a video.

    Args:
        scoring: description of the run.
        windows: hop in seconds → the scores of the windows along the video.
        settings: windows, smoothing and thresholds; None: `SegmentSettings()`.
        on_scores: called with the scores of each short interval, in order.

    Raises:
        UsageError: the settings name a class that the run does not have.
    """
    chosen = settings or SegmentSettings()
    rule = scoring.segment_rule(chosen)
    known = known_windows(windows(chosen.hop_seconds), scoring.least_similarity(chosen.enter))
    pieces = smoothed(time_line(known), chosen.smoothing_seconds)
    return find_segments(watched(pieces, on_scores), rule)


def features_of(window: ScoredWindow) -> WindowFeatures:
    """Return a window whose values are embeddings as `WindowFeatures`."""
    vectors = {name: values.astype(np.float32) for name, values in window.logits.items()}
    return WindowFeatures(window.start_seconds, window.end_seconds, vectors)


def scored_along(
    scoring: Scoring,
    source: Source,
    hop_seconds: float,
    forward: Callable[[Any], Mapping[str, Any]],
    result: Callable[[ScoredWindow], _Result],
    on_warning: Callable[[str], None] | None = None,
    resizer: Resizer = resized,
) -> Iterator[_Result]:
    """Return an iterator over the results of the windows along a video, in constant memory.

    After the last window, warnings about the video are issued, or `on_warning` is called with each.

    Args:
        scoring: description of the run.
        source: the video; it is opened at once.
        hop_seconds: time between the starts of two windows.
        forward: clips → what `windows.scored` collects.
        result: makes a result of each window.
        on_warning: None: a `VideoWarning` is issued.
        resizer: resizes the frames.

    Raises:
        UsageError: `hop_seconds` is not positive, or there is nothing at the path.
        VideoError: the video cannot be read.
        CheckpointError: no stream of this run was trained.
    """
    given: object = hop_seconds
    if not (isinstance(given, int | float) and 0 < given < float("inf")):
        raise UsageError(f"hop_seconds is {hop_seconds!r}; expected a positive number of seconds")
    scoring.require_usable()
    return _along(scoring, VideoReader(source), source, hop_seconds, forward, result, on_warning, resizer)


def _along(
    scoring: Scoring,
    reader: VideoReader,
    source: Source,
    hop_seconds: float,
    forward: Callable[[Any], Mapping[str, Any]],
    result: Callable[[ScoredWindow], _Result],
    on_warning: Callable[[str], None] | None,
    resizer: Resizer,
) -> Iterator[_Result]:
    recipe = scoring.info.recipe
    with reader:
        require_resizable(source, reader.size, recipe.input.resize)
        is_sampled = recipe.input.fps and reader.fps
        frames = at_rate(reader.frames(), recipe.input.fps) if is_sampled else reader.frames()
        windows = sliding_windows(frames, recipe, hop_seconds, resizer)
        yield from map(result, scored(windows, forward))
        rates = (unsampled_warning(reader.fps, recipe.input.fps), scoring.rate_warning(reader.fps))
        for warning in filter(None, (reader.warning, *rates)):
            if on_warning is not None:
                on_warning(warning)
            else:
                warn_of_video(source_name(source), warning)

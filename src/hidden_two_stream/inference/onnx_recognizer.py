"""Exported recognizers: labels, windows and decisions of an ONNX file, without PyTorch.

`hidden_two_stream.export` writes such files. The windows, protocols, fusion, temperatures and threshold are
those of `inference.predictor`; only the networks run in ONNX Runtime.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.checkpoint import DESCRIPTION_KEY, FORMAT_VERSION, RunInfo, run_info
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.errors import CheckpointError, MissingDependencyError, UsageError
from hidden_two_stream.files import parse_description
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.scoring import (
    Scoring,
    features_of,
    predicted,
    scored_along,
    segmented,
    video_logits,
)
from hidden_two_stream.inference.segment_settings import SegmentRule, SegmentSettings
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.inference.stream import StreamSettings, decided
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, Protocol, scored_together
from hidden_two_stream.types import (
    Decision,
    FloatArray,
    Image,
    Prediction,
    Segment,
    WindowFeatures,
    WindowPrediction,
)
from hidden_two_stream.video.array_resize import array_resized
from hidden_two_stream.video.crops import center_crop
from hidden_two_stream.video.reader import Source
from hidden_two_stream.video.sampling import clip_span
from hidden_two_stream.video.sources.live import live_source

__all__ = ["INPUT", "ONNX_SUFFIX", "OnnxRecognizer", "load_onnx", "open_session"]

ONNX_SUFFIX = ".onnx"
INPUT = "frames"
"""Name of the input of an exported graph: (batch, T, H, W, 3) uint8 RGB."""

_Array = npt.NDArray[Any]


def load_onnx(source: str | Path, threads: int = 0) -> OnnxRecognizer:
    """Return the recognizer of an ONNX file that `hts export` wrote. PyTorch is not imported.

    Args:
        source: the file.
        threads: threads of a forward pass; 0: as many as ONNX Runtime chooses.

    Raises:
        UsageError: there is no such file, or `threads` is negative.
        CheckpointError: the file is damaged, or was not written by `hts export`.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    if threads < 0:
        raise UsageError(f"threads is {threads}; expected 0 (ONNX Runtime chooses) or more")
    file = Path(source)
    if not os.path.isfile(file):
        raise UsageError(f"no file at {str(source)!r}; give a model.onnx that `hts export` wrote")
    session = open_session(file, threads)
    try:
        described = session.get_modelmeta().custom_metadata_map.get(DESCRIPTION_KEY)
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{str(file)!r} is damaged: a text in it is not UTF-8; export it again"
        ) from error
    if described is None:
        raise CheckpointError(f"{str(file)!r} was not written by `hts export`: it has no description")
    info = run_info(parse_description(described, file, FORMAT_VERSION), file)
    _require_fit(session, info, file)
    return OnnxRecognizer(session, info)


def open_session(model: Path | bytes, threads: int = 0) -> Any:
    """Return ONNX Runtime's session of a file, or of the bytes of one, on the CPU.

    Raises:
        CheckpointError: the file is damaged, or needs a newer ONNX Runtime.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    try:
        runtime = import_module("onnxruntime")
    except ImportError as error:
        raise MissingDependencyError(
            'exported models need ONNX Runtime; install it with: pip install "hidden-two-stream[export]"'
        ) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; they are raised as exceptions, too
    try:
        return runtime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        name = "the exported model" if isinstance(model, bytes) else repr(str(model))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{name} cannot be used by ONNX Runtime: {reason}; export it again") from error


def _require_fit(session: Any, info: RunInfo, file: Path) -> None:
    """Raise a CheckpointError unless inputs and outputs are those of the description."""
    recipe = info.recipe
    size, classes = recipe.input.size, len(info.classes)
    expected = [recipe.model.num_frames, size, size, 3]
    found = {part.name: list(part.shape[1:]) for part in (*session.get_inputs(), *session.get_outputs())}
    if found.get(INPUT) != expected:
        raise CheckpointError(
            f"{str(file)!r} does not fit its own description: it takes frames {found.get(INPUT)}; expected "
            f"{expected}"
        )
    for stream in Scoring.of(info).streams:
        if found.get(f"{stream}_logits") != [classes]:
            raise CheckpointError(
                f"{str(file)!r} does not fit its own description: {stream}_logits has the shape "
                f"{found.get(f'{stream}_logits')}; expected {[classes]}"
            )


class OnnxRecognizer:
    """An exported model with its preprocessing, classes and fusion. It works as `Recognizer` does.

    Attributes:
        session: ONNX Runtime's session of the graph.
        info: recipe, classes and metadata of the run that was exported.
        trained_streams: the streams of the graph.
    """

    def __init__(self, session: Any, info: RunInfo) -> None:
        self.session = session
        self.info = info
        self._scoring = Scoring.of(info)
        self.trained_streams = self._scoring.streams

    def __repr__(self) -> str:
        model, streams = self.info.recipe.model, ", ".join(self.trained_streams)
        return f"OnnxRecognizer({model.motion}, {model.temporal}, {streams}, {len(self.classes)} classes)"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of all scores."""
        return self.info.classes

    def predict(
        self, source: Source, protocol: str = DEFAULT_PROTOCOL, *, threshold: float | None = None
    ) -> Prediction:
        """Return the label and scores of one video, as `Recognizer.predict` does."""
        return predicted(self._scoring, source, protocol, threshold, self.logits, array_resized)

    def logits(self, video: DecodedVideo, protocol: Protocol) -> dict[str, npt.NDArray[np.float32]]:
        """Return logits (classes,) of each stream, averaged over the protocol's windows and crops.

        Args:
            video: a video that was decoded with the resizer `video.array_resize.array_resized`.
            protocol: the test protocol.
        """
        return video_logits(self._scoring, video, protocol, self._logits)

    def logits_of(self, videos: Sequence[DecodedVideo], protocol: Protocol) -> list[dict[str, FloatArray]]:
        """Return `logits` of each video, up to rounding, with windows of several videos in one batch.

        Args:
            videos: videos as `inference.scoring.decoded` returns them, with `array_resized`.
            protocol: the protocol of all of them.

        Raises:
            CheckpointError: no stream of this run was trained, or the logits of a video are not finite.
        """
        self._scoring.require_usable()
        windows = scored_together(videos, self.info.recipe, protocol, self._logits)
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

    def windows(
        self,
        source: Source,
        hop_seconds: float = 0.5,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[WindowPrediction]:
        """Return an iterator over the scores of a video's windows, as `Recognizer.windows` does."""
        scoring = self._scoring
        return scored_along(
            scoring, source, hop_seconds, self._logits, scoring.window_of, on_warning, array_resized
        )

    def features(
        self,
        source: Source,
        hop_seconds: float = 0.5,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[WindowFeatures]:
        """Return an iterator over the embeddings of a video's windows, as `Recognizer.features` does."""
        return scored_along(
            self._scoring, source, hop_seconds, self._embeddings, features_of, on_warning, array_resized
        )

    def segment(
        self,
        source: Source,
        settings: SegmentSettings | None = None,
        *,
        on_scores: Callable[[TimedScores], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[Segment]:
        """Return an iterator over what happens when in a video, as `Recognizer.segment` does."""
        windows = partial(self.windows, source, on_warning=on_warning)
        return segmented(self._scoring, windows, settings, on_scores)

    def segment_rule(self, settings: SegmentSettings) -> SegmentRule:
        """Return when segments begin and end, as `Recognizer.segment_rule` does."""
        return self._scoring.segment_rule(settings)

    def stream(
        self,
        source: int | Source,
        *,
        frame_size: tuple[int, int] | None = None,
        fps: float | None = None,
        settings: StreamSettings | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> Iterator[Decision]:
        """Return an iterator over decisions about a live source, as `Recognizer.stream` does.

        Every decision computes its window anew: a graph of whole windows cannot keep the states of pairs.
        """
        ring = _ArrayRing(self._logits, self.info.recipe)
        live = live_source(source, frame_size=frame_size, fps=fps)
        return decided(self._scoring, ring, live, settings, on_event, calibrated=dict)

    def run(self, clips: _Array, outputs: Sequence[str]) -> dict[str, _Array]:
        """Return outputs of the graph for clips.

        Args:
            clips: (B, T, 3, size, size) uint8.
            outputs: names of outputs: "scores", "flow", "spatial_logits", "temporal_embedding", …
        """
        frames = np.ascontiguousarray(np.moveaxis(clips, 2, -1))
        found = self.session.run(list(outputs), {INPUT: frames})
        return dict(zip(outputs, found, strict=True))

    def _logits(self, clips: _Array) -> dict[str, _Array]:
        """Return the logits of each stream; the temperatures are part of the graph."""
        found = self.run(clips, [f"{name}_logits" for name in self.trained_streams])
        return dict(zip(self.trained_streams, found.values(), strict=True))

    def _embeddings(self, clips: _Array) -> dict[str, _Array]:
        found = self.run(clips, [f"{name}_embedding" for name in self.trained_streams])
        return dict(zip(self.trained_streams, found.values(), strict=True))


class _ArrayRing:
    """The newest window of a stream of frames, in NumPy; see `inference.ring.WindowRing`."""

    def __init__(self, forward: Callable[[_Array], dict[str, _Array]], recipe: Recipe) -> None:
        self._forward = forward
        self._settings = recipe.input
        self.span = clip_span(recipe.model.num_frames, recipe.input.frame_stride)
        self._frames: deque[_Array] = deque(maxlen=self.span)

    def clear(self) -> None:
        self._frames.clear()

    def push(self, image: Image) -> dict[str, _Array] | None:
        frame = array_resized(image[None], self._settings.resize)
        self._frames.append(center_crop(frame, self._settings.size)[0])
        if len(self._frames) < self.span:
            return None
        window = np.stack(list(self._frames)[:: self._settings.frame_stride])
        return {name: values[0] for name, values in self._forward(window[None]).items()}

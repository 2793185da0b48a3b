"""The task behind a dropped video: label, scores, labels over time, and the hidden flow beside the frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hidden_two_stream.apps.early import show_early
from hidden_two_stream.apps.loaded import recognizer_of
from hidden_two_stream.apps.preview import write_preview
from hidden_two_stream.errors import VideoError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.types import FloatArray, Prediction, Segment

__all__ = ["PREVIEW", "hop_seconds", "label_video"]

PREVIEW = "motion.webm"
"""The file with the frames beside the flow, in the job's folder."""

_MOST_WINDOWS = 300
_DIGITS = 5


def label_video(
    path: str, name: str, seconds: float, run: str, protocol: str, folder: str, device: str
) -> dict[str, Any]:
    """Label a video by the full protocol and along its time, and draw its hidden flow.

    Args:
        path: the video.
        name: what its owner calls it.
        seconds: how long it is, s.
        run: the run folder.
        protocol: test protocol.
        folder: where the drawing goes.
        device: where to compute.

    Returns:
        What the page shows, ready for JSON; `preview` as of `write_preview`. All but the preview is handed
        out early.

    Raises:
        VideoError: the video cannot be read.
        UsageError, CheckpointError: the run or the protocol cannot be used.
    """
    recognizer = recognizer_of(run, device)
    try:
        with ProgressLine("Scores", 1, quiet=True) as line:
            line.update(0)
            prediction = recognizer.predict(path, protocol)
            line.update(1)
        hop = hop_seconds(seconds)
        scores, segments, warnings = _along(recognizer, path, seconds, hop)
        result = _result(name, prediction, scores, segments, hop, [*prediction.warnings, *warnings])
        show_early(result)
        estimator = recognizer.motion_estimator if hasattr(recognizer.model, "motion_net") else None
        preview = write_preview(path, seconds, Path(folder) / PREVIEW, estimator)
    except VideoError as error:
        raise VideoError(name, error.reason) from error
    return result | {"preview": preview}


def _result(
    name: str,
    prediction: Prediction,
    scores: list[TimedScores],
    segments: list[Segment],
    hop: float,
    warnings: list[str],
) -> dict[str, Any]:
    return {
        "name": name,
        **_scores(prediction),
        "hop_seconds": hop,
        "times": [[round(piece.start_seconds, 4), round(piece.end_seconds, 4)] for piece in scores],
        "along": [_rounded(piece.smooth) for piece in scores],
        "segments": [
            {
                "start": round(segment.start_seconds, 4),
                "end": round(segment.end_seconds, 4),
                "label": segment.label,
                "score": None if segment.score is None else round(segment.score, _DIGITS),
            }
            for segment in segments
        ],
        "preview": None,
        "warnings": list(dict.fromkeys(warnings)),
    }


def hop_seconds(seconds: float) -> float:
    """Return the time between two windows of a video of this length, s: at most about 300 windows."""
    return max(SegmentSettings().hop_seconds, seconds / _MOST_WINDOWS)


def _along(
    recognizer: Recognizer, path: str, seconds: float, hop: float
) -> tuple[list[TimedScores], list[Segment], list[str]]:
    """Return the scores over time, the segments, and what is wrong with the video."""
    scores: list[TimedScores] = []
    warnings: list[str] = []
    steps = max(1, round(seconds * 10))
    with ProgressLine("Labels over time", steps, quiet=True) as line:

        def keep(piece: TimedScores) -> None:
            scores.append(piece)
            line.update(min(steps, round(piece.end_seconds * 10)))

        settings = SegmentSettings(hop_seconds=hop)
        segments = list(recognizer.segment(path, settings, on_scores=keep, on_warning=warnings.append))
    return scores, segments, warnings


def _scores(prediction: Prediction) -> dict[str, Any]:
    return {
        "classes": list(prediction.classes),
        "label": prediction.label,
        "best": prediction.best,
        "score": round(prediction.score, _DIGITS),
        "known": prediction.known,
        "scores": _rounded(prediction.scores),
        "streams": {stream: _rounded(scores) for stream, scores in prediction.streams.items()},
        "protocol": prediction.protocol,
        "num_frames": prediction.num_frames,
    }


def _rounded(scores: FloatArray | Any) -> list[float]:
    values: list[float] = np.round(np.asarray(scores, np.float64), _DIGITS).tolist()
    return values

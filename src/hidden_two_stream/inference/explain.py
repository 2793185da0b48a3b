"""Explains the score of a class: where the evidence is in each window, and when it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.activation_maps import activation_maps, log_odds
from hidden_two_stream.inference.explanation import ExplainedWindow, Explanation, OccludedStretch
from hidden_two_stream.inference.occlusion import (
    Forward,
    Rows,
    StillFrames,
    StillPairs,
    WindowFrames,
    window_logits,
)
from hidden_two_stream.inference.windows import Protocol
from hidden_two_stream.recognition.fusion import FUSIONS
from hidden_two_stream.types import FloatArray

if TYPE_CHECKING:
    from hidden_two_stream.inference.predictor import Recognizer

__all__ = ["DEFAULT_STRETCHES", "MOST_STRETCHES", "MOST_WINDOWS", "check_explained", "explain_video"]

_Part = TypeVar("_Part")

DEFAULT_STRETCHES = 12
MOST_STRETCHES = 100
"""Largest number of stretches that a video is divided into."""
MOST_WINDOWS = 25
"""Largest number of windows of an explained video; their frames are all in memory."""


def check_explained(protocol: Protocol, stretches: int) -> None:
    """Check what an explanation is asked to do, before a video is read.

    Raises:
        UsageError: the protocol has several crops or too many windows, or the number of stretches is out of
            range.
    """
    if protocol.crops != 1 or protocol.clips > MOST_WINDOWS:
        raise UsageError(
            f"cannot explain with protocol {protocol.name}; expected center, or Nx1 with N up to "
            f"{MOST_WINDOWS}"
        )
    if type(stretches) is not int or not 1 <= stretches <= MOST_STRETCHES:
        raise UsageError(f"the number of stretches is {stretches!r}; expected 1 to {MOST_STRETCHES}")


def explain_video(
    recognizer: Recognizer,
    forward: Forward,
    video: DecodedVideo,
    label: str | None,
    protocol: Protocol,
    stretches: int,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Return why a video has the score of a class; `Recognizer.explain` has the arguments.

    Args:
        recognizer: the recognizer.
        forward: clips (B, T, 3, size, size) uint8 → calibrated logits of each stream.
        video: the video.
        label: the class; None: the best one.
        protocol, stretches: checked by `check_explained`.
        progress: called with the number of windows and stretches done, and the total; None: not called.

    Raises:
        UsageError: the run has no such class.
        CheckpointError: a score is not finite.
    """
    classes = recognizer.classes
    if label is not None and label not in classes:
        raise UsageError(f"this run has no class {label!r}; expected one of {', '.join(classes)}")
    frames = WindowFrames.of(video, recognizer.info.recipe, protocol, stretches)
    rows = window_logits(forward, map(frames.of_numbers, frames.windows))
    means = {name: row.mean(axis=0).astype(np.float32) for name, row in rows.items()}
    prediction = recognizer.prediction(video, means, protocol)
    chosen = label or prediction.best
    target, total = classes.index(chosen), len(frames.windows) + len(frames.stretches)
    explained = tuple(_counted(_windows(recognizer, frames, rows, target), 0, total, progress))
    hidden = _occluded(recognizer, forward, frames, rows, target)
    stretched = tuple(_counted(hidden, len(explained), total, progress))
    return Explanation(prediction, chosen, explained, stretched, frames.box)


def _counted(
    parts: Iterable[_Part], before: int, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[_Part]:
    """Yield the parts, and report each after the `before` that are done."""
    for done, part in enumerate(parts, start=before + 1):
        if progress is not None:
            progress(done, total)
        yield part


def _windows(
    recognizer: Recognizer, frames: WindowFrames, rows: Rows, target: int
) -> Iterator[ExplainedWindow]:
    model = recognizer.model
    device = next(model.parameters()).device
    for number, indices in enumerate(frames.windows):
        clip = frames.of_numbers(indices)
        with torch.no_grad():
            inputs = model.preprocess(clip[None].to(device))
            flow = model.motion(inputs)[0][0].float().cpu().numpy() if hasattr(model, "motion_net") else None
        maps = activation_maps(model, inputs, target, recognizer.trained_streams)
        yield ExplainedWindow(
            tuple(frames.seconds(index) for index in indices),
            frames.video.frame_end_seconds(indices[-1]),
            clip.permute(0, 2, 3, 1).numpy(),
            flow,
            {name: found[0].float().cpu().numpy() for name, found in maps.items()},
            _scores(recognizer, {name: row[number] for name, row in rows.items()}, target),
        )


def _occluded(
    recognizer: Recognizer, forward: Forward, frames: WindowFrames, rows: Rows, target: int
) -> Iterator[OccludedStretch]:
    """Yield the scores without each stretch; only windows that show a frame of it are scored again."""
    before = {name: row.mean(axis=0) for name, row in rows.items()}
    whole = _scores(recognizer, before, target)
    model, streams, calibration = recognizer.model, recognizer.trained_streams, recognizer.calibration
    if "temporal" in streams and model.pairs_are_independent:
        temperatures = {} if calibration is None else calibration.temperatures
        hide = StillPairs(frames, model, streams, temperatures).logits
    else:
        hide = StillFrames(frames, forward).logits
    for stretch in frames.stretches:
        windows = frames.touched(stretch)
        after = before
        if windows:
            changed = {name: row.copy() for name, row in rows.items()}
            for name, values in hide(windows, stretch).items():
                changed[name][windows] = values
            after = {name: row.mean(axis=0) for name, row in changed.items()}
        scores = _scores(recognizer, after, target)
        yield OccludedStretch(
            frames.seconds(stretch[0]),
            frames.video.frame_end_seconds(stretch[1] - 1),
            scores,
            {name: whole[name] - score for name, score in scores.items()},
            {name: _log_odds(before[name], target) - _log_odds(after[name], target) for name in before},
            len(windows),
        )


def _scores(
    recognizer: Recognizer, logits: dict[str, npt.NDArray[np.float64]], target: int
) -> dict[str, float]:
    """Return the fused score of a class, and that of each stream, from logits (classes,)."""
    values: dict[str, FloatArray] = {name: row.astype(np.float32) for name, row in logits.items()}
    one = FUSIONS[recognizer.info.recipe.fusion.method]
    alone = {name: float(one(vector)[target]) for name, vector in values.items()}
    return {"fused": float(recognizer.fuse(values)[target]), **alone}


def _log_odds(logits: npt.NDArray[np.float64], target: int) -> float:
    return float(log_odds(torch.from_numpy(logits)[None], target))

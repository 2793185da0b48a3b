"""Milliseconds that one clip takes in each way of recognising, measured side by side in one run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, resized
from hidden_two_stream.experiments.stored_flow import ExtractedFlow
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.motion.estimators.classical import Estimator
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.parallel import threads
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.sampling import center_start, clip_indices
from hidden_two_stream.video.transforms import apply_crop, center_crop_box, to_frames

__all__ = ["Milliseconds", "measure_speed"]

_CLIPS = 20


@dataclass(frozen=True)
class Milliseconds:
    """Medians over clips.

    Attributes:
        decoding: the clip's frames from the file, resized and cropped.
        motion: from frames to flow; 0 where there is none.
        recognition: the temporal stream and, beside it, the spatial stream.
    """

    decoding: float
    motion: float
    recognition: float


def measure_speed(
    runs: Mapping[str, Recognizer], given: Mapping[str, ExtractedFlow], store: ClipCache, recipe: Recipe
) -> dict[str, Milliseconds]:
    """Time each method on the same clips, one clip at a time, one method after the other.

    OpenCV has as many threads as torch.

    Args:
        runs: one trained run of each method; "spatial" is beside all others.
        given: the methods whose flow is given; it is computed here for the clip alone.
        store: the videos; the middle clips of up to 20 of them are timed.
        recipe: how clips are cut.
    """
    with threads(torch.get_num_threads()):
        return _measured(runs, given, store, recipe)


def _measured(
    runs: Mapping[str, Recognizer], given: Mapping[str, ExtractedFlow], store: ClipCache, recipe: Recipe
) -> dict[str, Milliseconds]:
    estimators = {name: find_estimator(name) for name in given}
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in runs}
    step = max(1, len(store.videos) // _CLIPS)
    for number, video in enumerate([store.videos[0], *store.videos[::step][:_CLIPS]]):
        decoding, clip = timed(lambda video=video: _decoded(video, store, recipe))  # type: ignore[misc]
        pixels, frames = clip
        for name, run in runs.items():
            motion, recognition = _recognised(run, runs["spatial"], pixels, frames, estimators.get(name))
            if number:  # the first clip warms up
                times[name].append((decoding, motion, recognition))
    return {
        name: Milliseconds(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in times.items()
    }


def _decoded(video: DecodedVideo, store: ClipCache, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The middle clip, read from its file: (T, 3, size, size) uint8, and as `frames` with a batch of one."""
    settings, length = recipe.input, recipe.model.num_frames
    start = center_start(video.num_frames, length, settings.frame_stride)
    indices = clip_indices(start, length, settings.frame_stride, video.num_frames)
    with VideoReader(video.source) as reader:
        clip = resized(reader.read([video.first_frame + index for index in indices]), store.size)
    cropped = apply_crop(clip, center_crop_box(clip.shape[-2], clip.shape[-1], settings.size), settings.size)
    return cropped, to_frames(cropped[None], settings.normalize_contrast)


@torch.inference_mode()
def _recognised(
    run: Recognizer, spatial: Recognizer, pixels: Tensor, frames: Tensor, estimate: Estimator | None
) -> tuple[float, float]:
    """Milliseconds for motion and for recognition of one clip."""
    model, motion = run.model, 0.0
    other, _ = timed(lambda: spatial.model.spatial(frames))
    if run is spatial:
        return 0.0, other
    if estimate is not None:
        pictures = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        motion, flow = timed(lambda: estimate(pictures))
        fields = torch.from_numpy(flow)[None]
        own, _ = timed(lambda: model.temporal_stream(fields, *frames.shape[-2:]))
    elif model.temporal_input != "motion":
        own, _ = timed(lambda: model.temporal(frames))
    elif model.branched:
        network: Any = model.motion_net
        motion, features = timed(lambda: network.action_features(network.features(frames)))
        own, _ = timed(lambda: model.temporal_stream(features))
    else:
        motion, hidden = timed(lambda: model.motion(frames)[0])
        own, _ = timed(lambda: model.temporal_stream(hidden, *frames.shape[-2:]))
    return motion, own + other

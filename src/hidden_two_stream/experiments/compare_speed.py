"""Time per clip of each method of a comparison, measured side by side in one run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, resized
from hidden_two_stream.experiments.baselines import Baseline
from hidden_two_stream.experiments.nearest import describe
from hidden_two_stream.experiments.nearest_runs import Nearest
from hidden_two_stream.experiments.precomputed_flow import FlowCache
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.motion.estimators.classical import Estimator
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.parallel import threads
from hidden_two_stream.recognition.model import Preprocessing
from hidden_two_stream.video.crops import center_crop_box
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.sampling import center_start, clip_indices
from hidden_two_stream.video.transforms import apply_crop

__all__ = ["Milliseconds", "measure_speed"]

_CLIPS = 20


@dataclass(frozen=True)
class Milliseconds:
    """Median milliseconds per clip.

    Attributes:
        decoding: reading, resizing and cropping the frames of the clip.
        motion: from frames to flow; 0 for a method without flow.
        recognition: the temporal stream and the spatial stream together; the nearest neighbor alone.
    """

    decoding: float
    motion: float
    recognition: float


def measure_speed(
    runs: Mapping[str, Recognizer | Baseline | Nearest],
    flow: Mapping[str, FlowCache],
    cache: ClipCache,
    recipe: Recipe,
) -> dict[str, Milliseconds]:
    """Time each method on the same clips, one clip at a time, one method after the other.

    OpenCV uses as many threads as torch.

    Args:
        runs: one trained run of each method. The time of the run "spatial" is part of every method's, but
            not of a nearest neighbor's.
        flow: precomputed flow by method. For the timed clips it is computed again.
        cache: the videos. The middle clips of up to 20 videos are timed.
        recipe: number, stride, size and preprocessing of the frames of a clip.
    """
    with threads(torch.get_num_threads()):
        return _measured(runs, flow, cache, recipe)


def _measured(
    runs: Mapping[str, Recognizer | Baseline | Nearest],
    flow: Mapping[str, FlowCache],
    cache: ClipCache,
    recipe: Recipe,
) -> dict[str, Milliseconds]:
    estimators = {name: find_estimator(name) for name in flow}
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in runs}
    step = max(1, len(cache.videos) // _CLIPS)
    for number, video in enumerate([cache.videos[0], *cache.videos[::step][:_CLIPS]]):
        decoding, clip = timed(lambda video=video: _decoded(video, cache, recipe))  # type: ignore[misc]
        pixels, frames = clip
        for name, run in runs.items():
            motion, recognition = _recognized(
                run, cast(Recognizer, runs["spatial"]), pixels, frames, estimators.get(name)
            )
            if number:  # the first clip warms up
                times[name].append((decoding, motion, recognition))
    return {
        name: Milliseconds(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in times.items()
    }


def _decoded(video: DecodedVideo, cache: ClipCache, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Read the middle clip from its file: (T, 3, size, size) uint8, and preprocessed as a batch of one."""
    settings, length = recipe.input, recipe.model.num_frames
    start = center_start(video.num_frames, length, settings.frame_stride)
    indices = clip_indices(start, length, settings.frame_stride, video.num_frames)
    with VideoReader(video.source) as reader:
        clip = resized(reader.read(video.file_numbers(indices)), cache.size)
    cropped = apply_crop(clip, center_crop_box(clip.shape[-2], clip.shape[-1], settings.size), settings.size)
    return cropped, Preprocessing(settings.normalize_contrast)(cropped[None])


@torch.inference_mode()
def _recognized(
    run: Recognizer | Baseline | Nearest,
    spatial: Recognizer,
    pixels: Tensor,
    frames: Tensor,
    estimate: Estimator | None,
) -> tuple[float, float]:
    """Return the milliseconds of motion and of recognition for one clip."""
    if isinstance(run, Nearest):
        clip = DecodedVideo("", len(pixels), 0, (pixels.shape[-2], pixels.shape[-1]), None, None, pixels)
        own, _ = timed(
            lambda: run.model(torch.from_numpy(describe(run.method, clip, pixels.shape[-1]))[None])
        )
        return 0.0, own
    other, _ = timed(lambda: spatial.model.spatial(frames))
    if run is spatial:
        return 0.0, other
    if isinstance(run, Baseline):
        stream = run.model.temporal_stream
        if estimate is None:
            own, _ = timed(lambda: run.model.temporal(frames))
            return 0.0, own + other
        images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        motion, flow = timed(lambda: estimate(images))
        fields = torch.from_numpy(flow)[None]
        own, _ = timed(lambda: stream(fields, *frames.shape[-2:]))
        return motion, own + other
    model = run.model
    motion, inputs = timed(lambda: model.temporal_inputs(frames))
    own, _ = timed(lambda: model.temporal_stream(*inputs))
    return motion, own + other

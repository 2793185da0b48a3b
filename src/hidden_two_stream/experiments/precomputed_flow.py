"""Precomputed flow, the input of two-stage methods: computed once, kept on disk in half precision, and read.

`extract_flow` computes the flow of whole videos. `FlowVideo` and `FlowCache` stand in for `DecodedVideo` and
`ClipCache`, `FlowClips` for `TrainingClips`: the same key gives a clip of flow the same frames, crop and flip
as a clip of frames.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, Resize
from hidden_two_stream.data.samples import Sample, below_common_folder
from hidden_two_stream.data.training_set import Augmentation, ClipKey, draw_clips
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import atomic_write, make_folder, write_json
from hidden_two_stream.inference.windows import Protocol, Window
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.parallel import WorkerPool, threads
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.sampling import clip_indices
from hidden_two_stream.video.transforms import Crop, apply_crop, center_crop_box

__all__ = ["FlowCache", "FlowClips", "FlowVideo", "crop_flow", "extract_flow", "flip_flow", "flow_windows"]

FACTS_FILE = "extraction.json"


# -- flow in place of frames -----------------------------------------------------------------------


@dataclass(frozen=True)
class FlowVideo:
    """The precomputed flow of one video.

    Attributes:
        video: the decoded video.
        flow: (num_frames, 2, h, w) float16 px, from frame t to frame t + stride of the video; zero where
            frame t + stride lies behind the last frame.
    """

    video: DecodedVideo
    flow: Tensor

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return self.video.num_frames


@dataclass(frozen=True)
class FlowCache:
    """The precomputed flow of a list of samples.

    Attributes:
        samples: the readable samples.
        videos: their flow, mapped from disk.
        unreadable: the other samples, each with the reason.
        num_bytes: size on disk.
        seconds: time of computing alone, all videos together, one thread each.
    """

    samples: tuple[Sample, ...]
    videos: tuple[FlowVideo, ...]
    unreadable: tuple[tuple[Sample, HiddenTwoStreamError], ...]
    num_bytes: int
    seconds: float

    in_memory = True

    def select(self, samples: Iterable[Sample]) -> FlowCache:
        """Return the part that holds `samples`; `num_bytes` and `seconds` stay those of all samples."""
        wanted = {sample.name for sample in samples}
        chosen = [pair for pair in zip(self.samples, self.videos, strict=True) if pair[0].name in wanted]
        failed = tuple(pair for pair in self.unreadable if pair[0].name in wanted)
        return replace(
            self, samples=tuple(s for s, _ in chosen), videos=tuple(v for _, v in chosen), unreadable=failed
        )


class FlowClips(Dataset[tuple[Tensor, int]]):
    """Random clips of precomputed flow: (segments, T, 2, size, size) float16 px, and the class number.

    Arguments are those of `TrainingClips`, with a `FlowCache`. Color jitter does not apply to flow.
    """

    def __init__(
        self,
        cache: FlowCache,
        labels: Sequence[int],
        num_frames: int,
        frame_stride: int,
        augmentation: Augmentation,
        segments: int = 1,
    ) -> None:
        self.cache = cache
        self.labels = tuple(labels)
        self.num_frames = num_frames
        self.frame_stride = frame_stride
        self.augmentation = augmentation
        self.segments = segments

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: ClipKey) -> tuple[Tensor, int]:
        how, video = self.augmentation, self.cache.videos[key.video]
        drawn = draw_clips(key, video.num_frames, self.num_frames, self.frame_stride, how, self.segments)
        flow = video.flow[torch.as_tensor(drawn.indices)]
        flow = crop_flow(flow, drawn.box(flow, how), how.size)
        if drawn.flip:
            flow = flip_flow(flow)
        return flow.unflatten(0, (self.segments, self.num_frames)), self.labels[key.video]


def flow_windows(video: FlowVideo, recipe: Recipe, protocol: Protocol) -> Iterator[Window]:
    """Yield the windows of precomputed flow that a test protocol asks for: clips (1, T, 2, size, size).

    Raises:
        UsageError: the protocol has several crops, half of which are mirrored.
    """
    if protocol.crops != 1:
        raise UsageError(f"protocol {protocol.name} mirrors frames, not precomputed flow; give Nx1 or center")
    settings, length = recipe.input, recipe.model.num_frames
    for start in protocol.starts(video.num_frames, length, settings.frame_stride):
        indices = clip_indices(start, length, settings.frame_stride, video.num_frames)
        flow = video.flow[torch.as_tensor(indices)]
        box = center_crop_box(flow.shape[-2], flow.shape[-1], settings.size)
        clip = crop_flow(flow, box, settings.size)
        times = video.video.pts_seconds
        yield Window(clip[None], float(times[start]), video.video.frame_end_seconds(indices[-1]))


def crop_flow(flow: Tensor, box: Crop, size: int) -> Tensor:
    """Return the flow of cropped and resized frames.

    Convention: `apply_crop` cuts the frames; values are scaled by `size` over the sides of the box, so that
    flow stays in pixels of its own grid.

    Args:
        flow: (T, 2, H, W) px.
        box: the part to cut out.
        size: sides of the result.

    Returns:
        (T, 2, size, size) px, of the type of `flow`.

    Raises:
        UsageError: the box reaches out of the frame, or is empty.
    """
    scale = torch.tensor([size / box.width, size / box.height])[:, None, None]
    return (apply_crop(flow.float(), box, size) * scale).to(flow.dtype)


def flip_flow(flow: Tensor) -> Tensor:
    """Return the flow of mirrored frames: (..., 2, H, W) mirrored left to right, with u negated."""
    return flow.flip(-1) * flow.new_tensor([-1, 1])[:, None, None]


# -- extraction ------------------------------------------------------------------------------------


def extract_flow(
    cache: ClipCache,
    name: str,
    folder: Path,
    *,
    stride: int = 1,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FlowCache:
    """Compute the flow of all videos of a cache. Flow that `folder` already holds is kept.

    Args:
        cache: decoded videos; flow is computed on frames of its size.
        name: the estimator, see `motion.estimators.plugins.find_estimator`.
        folder: gets one .npy file per video, and `extraction.json`.
        stride: step from the first to the second frame of a pair.
        workers: processes; 0 computes in this one.
        progress: called with the number done and the total.

    Raises:
        UsageError: there is no such estimator, or the folder holds the flow of other videos or of another
            estimator.
        MissingDependencyError: the estimator's library is not installed.
        OutputError: the folder cannot be written.
    """
    find_estimator(name)  # a wrong name must not show only in another process
    make_folder(folder)
    facts = _open(folder, cache, name, stride)
    paths = [folder / f"{number:06d}.npy" for number in range(len(cache.videos))]
    # A file without a recorded time, left by an interrupted run, is computed again.
    timed = {int(number) for number in facts["seconds"]}
    missing = [number for number, path in enumerate(paths) if not path.exists() or number not in timed]
    done = len(paths) - len(missing)
    jobs = (_Job(name, cache.videos[number], cache.size, stride, paths[number]) for number in missing)
    with closing(_computed(jobs, workers)) as outcomes:
        for number, seconds in zip(missing, outcomes, strict=True):
            facts["seconds"][str(number)] = round(seconds, 4)
            done += 1
            if progress is not None:
                progress(done, len(paths))
            if done % 16 == 0 or done == len(paths):
                write_json(folder / FACTS_FILE, facts)
    videos = tuple(
        FlowVideo(video, torch.from_numpy(np.load(path, mmap_mode="c")))
        for video, path in zip(cache.videos, paths, strict=True)
    )
    return FlowCache(
        cache.samples,
        videos,
        cache.unreadable,
        num_bytes=sum(path.stat().st_size for path in paths),
        seconds=sum(facts["seconds"].values()),
    )


@dataclass(frozen=True)
class _Job:
    estimator: str
    video: DecodedVideo
    size: Resize
    stride: int
    path: Path


def _open(folder: Path, cache: ClipCache, name: str, stride: int) -> dict[str, Any]:
    """The record of the extraction in `folder`, begun earlier or now."""
    size = cache.size if isinstance(cache.size, int) else list(cache.size)
    names = below_common_folder([sample.name for sample in cache.samples])
    videos = [[short, video.num_frames] for short, video in zip(names, cache.videos, strict=True)]
    facts: dict[str, Any] = {"estimator": name, "stride": stride, "size": size, "videos": videos}
    path = folder / FACTS_FILE
    if path.exists():
        try:
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{str(path)!r} is damaged; delete its folder, and extract again") from error
        if {key: known.get(key) for key in facts} != facts:
            raise UsageError(
                f"{str(folder)!r} holds the flow of other videos, of another size or estimator; "
                "name another folder"
            )
        return known
    facts["seconds"] = {}
    write_json(path, facts)
    return facts


def _computed(jobs: Iterable[_Job], workers: int) -> Generator[float]:
    """Seconds of each job, in the order of the jobs."""
    if workers < 1:
        with threads(1):
            yield from map(_compute, jobs)
        return
    with WorkerPool(workers) as pool:
        waiting: list[Future[float]] = []
        for job in jobs:
            waiting.append(pool.submit(_compute_apart, _packed(job)))
            if len(waiting) >= 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def _packed(job: _Job) -> tuple[_Job, Any]:
    """The job with its frames as an array: each tensor would hold a file open between the processes."""
    frames = job.video.frames
    return replace(job, video=replace(job.video, frames=None)), None if frames is None else frames.numpy()


def _compute_apart(packed: tuple[_Job, Any]) -> float:
    job, frames = packed
    if frames is not None:
        job = replace(job, video=replace(job.video, frames=torch.from_numpy(frames)))
    return _compute(job)


def _compute(job: _Job) -> float:
    """Write the flow of one video and return the seconds of computing."""
    frames = job.video.read(range(job.video.num_frames), job.size).permute(0, 2, 3, 1).numpy()
    estimate = find_estimator(job.estimator)
    began = time.perf_counter()
    try:
        pairs = [estimate(part) for part in _interleaved(frames, job.stride)]
    except UsageError as error:
        raise UsageError(f"{job.video.source}: {error}") from error
    seconds = time.perf_counter() - began
    flow = np.zeros((len(frames), 2, *frames.shape[1:3]), np.float16)
    for offset, part in enumerate(pairs):
        flow[offset : offset + job.stride * len(part) : job.stride] = part
    with atomic_write(job.path) as whole:
        np.save(whole, flow)
    return seconds


def _interleaved(frames: RawClip, stride: int) -> Sequence[RawClip]:
    """The video as `stride` clips of every `stride`-th frame; clips of a single frame are left out."""
    parts = [np.ascontiguousarray(frames[offset::stride]) for offset in range(stride)]
    return [part for part in parts if len(part) > 1]

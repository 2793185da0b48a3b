"""Precomputed flow, the input of two-stage methods, kept on disk in half precision.

`extract_flow` computes the flow of whole videos. `FlowVideo`, `FlowCache` and `FlowClips` replace
`DecodedVideo`, `ClipCache` and `TrainingClips`. For the same key, a clip of flow has the same frames, crop
and flip as a clip of frames.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
from hidden_two_stream.errors import DataError, HiddenTwoStreamError, UsageError, WorkerError
from hidden_two_stream.files import atomic_write, delete_temporary, make_folder, read_json, write_json
from hidden_two_stream.inference.windows import Protocol, Window
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes, threads
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.crops import Crop, center_crop_box
from hidden_two_stream.video.sampling import clip_indices
from hidden_two_stream.video.transforms import apply_crop

__all__ = ["FlowCache", "FlowClips", "FlowVideo", "crop_flow", "extract_flow", "flip_flow", "flow_windows"]

EXTRACTION_FILE = "extraction.json"
_RECORD_EVERY = 16  # videos


# -- flow instead of frames ------------------------------------------------------------------------


@dataclass(frozen=True)
class FlowVideo:
    """The precomputed flow of one video.

    Attributes:
        video: the decoded video.
        flow: (num_frames, 2, h, w) float16 px, from frame t to frame t + stride of the video; zero if frame
            t + stride is after the last frame.
    """

    video: DecodedVideo
    flow: Tensor

    @property
    def num_frames(self) -> int:
        """Number of frames of the video."""
        return self.video.num_frames

    @property
    def fps(self) -> float | None:
        """Mean frames per second of the video; None: unknown."""
        return self.video.fps


@dataclass(frozen=True)
class FlowCache:
    """The precomputed flow of a list of samples.

    Attributes:
        samples: the readable samples.
        videos: their flow, mapped from disk.
        unreadable: the other samples, each with the reason.
        num_bytes: size on disk.
        seconds: total time of computing, without decoding and writing, with one thread per video.
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


@dataclass(frozen=True)
class FlowClips(Dataset[tuple[Tensor, int]]):
    """Random clips of precomputed flow: (segments, T, 2, size, size) float16 px, and the class number.

    The fields are those of `TrainingClips`, with a `FlowCache`. Color jitter does not apply to flow.
    """

    cache: FlowCache
    labels: Sequence[int]
    num_frames: int
    frame_stride: int
    augmentation: Augmentation
    segments: int = 1

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
    """Yield the windows of a test protocol, with flow instead of frames: clips (1, T, 2, size, size).

    Raises:
        UsageError: the protocol has several crops.
    """
    if protocol.crops != 1:
        raise UsageError(
            f"protocol {protocol.name} crops or mirrors frames, but not precomputed flow; give Nx1 or center"
        )
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

    Convention: the flow is cropped and resized as frames are, by `apply_crop`. Its values are multiplied by
    `size` / side of the box, so that flow stays in pixels of its own grid.

    Args:
        flow: (T, 2, H, W) px.
        box: the crop.
        size: height and width of the result, px.

    Returns:
        (T, 2, size, size) px, of the dtype of `flow`.

    Raises:
        UsageError: the box is empty, or is not inside the frame.
    """
    scale = torch.tensor([size / box.width, size / box.height])[:, None, None]
    return (apply_crop(flow.float(), box, size) * scale).to(flow.dtype)


def flip_flow(flow: Tensor) -> Tensor:
    """Return the flow of mirrored frames: `flow` (..., 2, H, W), mirrored left to right, with u negated."""
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
    """Compute the flow of all videos of a cache. Flow that is already in `folder` is kept.

    Args:
        cache: decoded videos. The flow has the size of its frames.
        name: name of the estimator, see `motion.estimators.plugins.find_estimator`.
        folder: gets one .npy file per video, and `extraction.json`.
        stride: step from the first to the second frame of a pair.
        workers: worker processes; 0 computes in this process.
        progress: called with the number done and the total.

    Raises:
        UsageError: there is no such estimator, it fails, or the folder holds the flow of other videos or of
            another estimator.
        MissingDependencyError: the estimator's library is not installed.
        OutputError: the folder cannot be written.
    """
    find_estimator(name)  # report a wrong name here, not in a worker process
    delete_temporary(make_folder(folder))
    record = _open_record(folder, cache, name, stride)
    paths = [folder / f"{number:06d}.npy" for number in range(len(cache.videos))]
    # An interrupted run can leave a file without a recorded time; it is computed again.
    timed = {int(number) for number in record["seconds"]}
    missing = [number for number, path in enumerate(paths) if not path.exists() or number not in timed]
    done = len(paths) - len(missing)
    jobs = (_Job(name, cache.videos[number], cache.size, stride, paths[number]) for number in missing)
    with closing(_run_jobs(jobs, workers)) as times:
        for number, seconds in zip(missing, times, strict=True):
            record["seconds"][str(number)] = round(seconds, 4)
            done += 1
            if progress is not None:
                progress(done, len(paths))
            if done % _RECORD_EVERY == 0 or done == len(paths):
                write_json(folder / EXTRACTION_FILE, record)
    videos = tuple(
        FlowVideo(video, _stored_flow(path, video.num_frames))
        for video, path in zip(cache.videos, paths, strict=True)
    )
    return FlowCache(
        cache.samples,
        videos,
        cache.unreadable,
        num_bytes=sum(path.stat().st_size for path in paths),
        seconds=sum(record["seconds"].values()),
    )


def _stored_flow(path: Path, num_frames: int) -> Tensor:
    """Return the flow of one video, which stays on the disk until it is used.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        flow = np.load(path, mmap_mode="c")
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise _damaged_flow(path, f"{type(error).__name__}: {error}") from error
    if flow.dtype != np.float16 or flow.ndim != 4 or flow.shape[:2] != (num_frames, 2):
        found = f"{flow.dtype} of shape {flow.shape}"
        raise _damaged_flow(path, f"it holds {found}; expected float16 of ({num_frames}, 2, h, w)")
    return torch.from_numpy(flow)


def _damaged_flow(path: Path, reason: str) -> DataError:
    return DataError(f"the precomputed flow {str(path)!r} is damaged: {reason}; delete it, and extract again")


def _are_seconds(found: object) -> bool:
    """Return whether an extraction recorded the seconds of its videos, by their numbers."""
    return isinstance(found, dict) and all(
        number.isascii() and number.isdecimal() and len(number) < 10
        and type(seconds) in (int, float) and 0 <= seconds < math.inf
        for number, seconds in found.items()
    )  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """The flow of one video, to be computed by an estimator and written to a file."""

    estimator: str
    video: DecodedVideo
    size: Resize
    stride: int
    path: Path


def _open_record(folder: Path, cache: ClipCache, name: str, stride: int) -> dict[str, Any]:
    """Return the record of the extraction in `folder`; begin one if there is none."""
    size = cache.size if isinstance(cache.size, int) else list(cache.size)
    names = below_common_folder([sample.name for sample in cache.samples])
    videos = [[short, video.num_frames] for short, video in zip(names, cache.videos, strict=True)]
    settings: dict[str, Any] = {"estimator": name, "stride": stride, "size": size, "videos": videos}
    path = folder / EXTRACTION_FILE
    if path.exists():
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"{str(path)!r} is damaged; delete its folder, and extract again") from error
        fits = isinstance(found, dict) and {key: found.get(key) for key in settings} == settings
        if fits and not _are_seconds(found.get("seconds")):
            raise UsageError(f"{str(path)!r} is damaged; delete its folder, and extract again")
        if not fits:
            raise UsageError(
                f"{str(folder)!r} holds the flow of other videos, or of another size, stride or estimator; "
                "name another folder"
            )
        return {**settings, "seconds": found["seconds"]}
    record = settings | {"seconds": {}}
    write_json(path, record)
    return record


def _run_jobs(jobs: Iterable[_Job], workers: int) -> Generator[float]:
    """Yield the seconds of each job, in the order of the jobs."""
    if workers < 1:
        with threads(1):
            yield from map(_compute, jobs)
        return
    yield from run_in_processes(_compute_in_worker, map(_packed, jobs), workers, _lost)


def _lost(packed: tuple[_Job, Any]) -> float:
    raise WorkerError(f"cannot compute the flow of {packed[0].video.source!r}: {LOST_WORKER}")


def _packed(job: _Job) -> tuple[_Job, Any]:
    """Return the job and its frames as an array, because each tensor sent to a process holds a file open."""
    frames = job.video.frames
    return replace(job, video=replace(job.video, frames=None)), None if frames is None else frames.numpy()


def _compute_in_worker(packed: tuple[_Job, Any]) -> float:
    job, frames = packed
    if frames is not None:
        job = replace(job, video=replace(job.video, frames=torch.from_numpy(frames)))
    return _compute(job)


def _compute(job: _Job) -> float:
    """Write the flow of one video, and return the seconds of computing."""
    frames = job.video.read(range(job.video.num_frames), job.size).permute(0, 2, 3, 1).numpy()
    estimate = find_estimator(job.estimator)
    start = time.perf_counter()
    try:
        parts = [estimate(part) for part in _interleaved(frames, job.stride)]
    except UsageError as error:
        raise UsageError(f"{job.video.source}: {error}") from error
    seconds = time.perf_counter() - start
    flow = np.zeros((len(frames), 2, *frames.shape[1:3]), np.float16)
    for offset, part in enumerate(parts):
        flow[offset : offset + job.stride * len(part) : job.stride] = part
    with atomic_write(job.path) as temporary:
        np.save(temporary, flow)
    return seconds


def _interleaved(frames: RawClip, stride: int) -> Sequence[RawClip]:
    """Return `stride` clips, each with every `stride`-th frame; leave out clips of a single frame."""
    parts = [np.ascontiguousarray(frames[offset::stride]) for offset in range(stride)]
    return [part for part in parts if len(part) > 1]

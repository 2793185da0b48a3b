"""Flow of whole videos, computed once and kept on disk in half precision: what two-stage methods need."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, Resize
from hidden_two_stream.data.samples import below_common_folder
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import atomic_write, make_folder, write_json
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.parallel import WorkerPool, threads
from hidden_two_stream.types import RawClip

__all__ = ["ExtractedFlow", "extract_flow"]

FACTS_FILE = "extraction.json"


@dataclass(frozen=True)
class ExtractedFlow:
    """Flow in place of pictures.

    Attributes:
        store: the same samples and videos; `frames` are flow, (num_frames, 2, h, w) float16 px, from frame t
            to frame t + stride of the video, mapped from disk; zero where that lies behind the last frame.
        num_bytes: on disk.
        seconds: of computing alone, of all videos together, one thread each.
    """

    store: ClipCache
    num_bytes: int
    seconds: float


def extract_flow(
    store: ClipCache,
    name: str,
    folder: Path,
    *,
    stride: int = 1,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ExtractedFlow:
    """Compute the flow of all videos of a store, or take what `folder` holds already of the same.

    Args:
        store: decoded videos; flow is computed on pictures of its size.
        name: of the estimator, see `motion.estimators.plugins.find_estimator`.
        folder: gets one .npy file per video, and `extraction.json`.
        stride: frames from the first to the second picture of a pair.
        workers: processes; 0 computes in this one.
        progress: called with the number done and the total.

    Raises:
        UsageError: no such estimator, or the folder holds the flow of other videos or of another estimator.
        MissingDependencyError: its library is not installed.
        OutputError: the folder cannot be written.
    """
    find_estimator(name)  # a wrong name shall not show in another process
    make_folder(folder)
    facts = _open(folder, store, name, stride)
    paths = [folder / f"{number:06d}.npy" for number in range(len(store.videos))]
    # One whose time is not known, as a run broke off before it was noted, is computed again.
    timed = {int(number) for number in facts["seconds"]}
    missing = [number for number, path in enumerate(paths) if not path.exists() or number not in timed]
    done = len(paths) - len(missing)
    jobs = (_Job(name, store.videos[number], store.size, stride, paths[number]) for number in missing)
    with closing(_computed(jobs, workers)) as outcomes:
        for number, seconds in zip(missing, outcomes, strict=True):
            facts["seconds"][str(number)] = round(seconds, 4)
            done += 1
            if progress is not None:
                progress(done, len(paths))
            if done % 16 == 0 or done == len(paths):
                write_json(folder / FACTS_FILE, facts)
    videos = tuple(
        replace(video, frames=torch.from_numpy(np.load(path, mmap_mode="c")))
        for video, path in zip(store.videos, paths, strict=True)
    )
    return ExtractedFlow(
        replace(store, videos=videos),
        sum(path.stat().st_size for path in paths),
        sum(facts["seconds"].values()),
    )


@dataclass(frozen=True)
class _Job:
    estimator: str
    video: DecodedVideo
    size: Resize
    stride: int
    path: Path


def _open(folder: Path, store: ClipCache, name: str, stride: int) -> dict[str, Any]:
    """The facts of an extraction that was begun here, or of a new one."""
    size = store.size if isinstance(store.size, int) else list(store.size)
    names = below_common_folder([sample.name for sample in store.samples])
    videos = [[short, video.num_frames] for short, video in zip(names, store.videos, strict=True)]
    facts: dict[str, Any] = {"estimator": name, "stride": stride, "size": size, "videos": videos}
    path = folder / FACTS_FILE
    if path.exists():
        try:
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{str(path)!r} is damaged; delete its folder, and extract again") from error
        if {key: known.get(key) for key in facts} != facts:
            raise UsageError(
                f"{str(folder)!r} holds flow of other videos, size or estimator; name another folder"
            )
        return known
    facts["seconds"] = {}
    write_json(path, facts)
    return facts


def _computed(jobs: Iterable[_Job], workers: int) -> Generator[float]:
    """Seconds of each job, in their order."""
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
    """Without tensors: each would hold a file open between the processes."""
    frames = job.video.frames
    return replace(job, video=replace(job.video, frames=None)), None if frames is None else frames.numpy()


def _compute_apart(packed: tuple[_Job, Any]) -> float:
    job, frames = packed
    if frames is not None:
        job = replace(job, video=replace(job.video, frames=torch.from_numpy(frames)))
    return _compute(job)


def _compute(job: _Job) -> float:
    """Write the flow of one video; return the seconds that computing took."""
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
    """Every `stride`-th frame, from each of the first ones on, where that gives a pair."""
    parts = [np.ascontiguousarray(frames[offset::stride]) for offset in range(stride)]
    return [part for part in parts if len(part) > 1]

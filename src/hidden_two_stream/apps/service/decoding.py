"""Decodes videos in worker processes that may crash or hang: each costs its own request only.

Every worker is a process pool of one, so a process that dies breaks the task that it was at and no other. A
worker that takes too long is ended, and another one takes its place.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hidden_two_stream.apps.service.failures import StoppingError, TimeLimitError
from hidden_two_stream.apps.service.measuring import Measures
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo, Resize, Resizer, resized
from hidden_two_stream.errors import HiddenTwoStreamError, VideoError, WorkerError, unexpected
from hidden_two_stream.inference.scoring import KEPT_BYTES, decoded
from hidden_two_stream.inference.windows import Protocol
from hidden_two_stream.parallel import LOST_WORKER, WorkerPool, require_semaphores
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.array_resize import array_resized
from hidden_two_stream.video.crops import center_crop

__all__ = ["DecodeTask", "Decoders", "decode"]

_TRIES = 2  # a worker may also have died while it was idle

_Frames = npt.NDArray[np.uint8]


class DecodeTask(NamedTuple):
    """A video to decode.

    Attributes:
        path: the file.
        name: how messages and the result call it.
        recipe: recipe of the run.
        protocol: chooses the frames.
        is_exported: whether the model is an ONNX file, whose frames are resized in NumPy.
    """

    path: str
    name: str
    recipe: Recipe
    protocol: Protocol
    is_exported: bool


def decode(task: DecodeTask) -> tuple[DecodedVideo, _Frames] | HiddenTwoStreamError:
    """Return a decoded video and its frames as an array, or why there is none. Runs in a worker."""
    try:
        video = decoded(task.recipe, task.path, task.protocol, _resizer(task))
        if video.frames is None:
            raise VideoError(
                task.name,
                f"its frames need {video.num_bytes >> 20} MiB after resizing; expected at most "
                f"{KEPT_BYTES >> 20} MiB: crop the video",
            )
        frames = np.asarray(video.frames)
        return replace(video, source=task.name, frames=None, resizer=None), frames
    except VideoError as error:
        return VideoError(task.name, error.reason)
    except HiddenTwoStreamError as error:
        return error
    except Exception as error:
        return VideoError(task.name, unexpected(error))


def _resizer(task: DecodeTask) -> Resizer:
    """Return what resizes frames; if only the center of frames is used, no more travels between processes."""
    plain: Resizer = array_resized if task.is_exported else resized
    if task.protocol.crops != 1:
        return plain

    def cropped(clip: RawClip, size: Resize) -> object:
        return center_crop(plain(clip, size), task.recipe.input.size)

    return cropped


class _Worker:
    """A process pool of one.

    Attributes:
        pool: the pool.
        ready: is done when its process has started.
    """

    def __init__(self) -> None:
        self.pool = WorkerPool(1)
        self.ready: Future[None] = self.pool.submit(_calm)


class Decoders:
    """Worker processes that decode videos for one run.

    Args:
        workers: their number.
        task: returns the task of a path and a name.
        measures: counts workers that are replaced.
    """

    def __init__(self, workers: int, task: Callable[[str, str], DecodeTask], measures: Measures) -> None:
        self.num_workers = workers
        self._task, self._measures = task, measures
        self._free: asyncio.Queue[_Worker | None] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._closed = False

    async def start(self) -> None:
        """Start all workers and wait until they are ready.

        Raises:
            WorkerError: they cannot be started.
        """
        require_semaphores(self.num_workers)
        workers = [self._new() for _ in range(self.num_workers)]
        try:
            await asyncio.gather(*(asyncio.wrap_future(worker.ready) for worker in workers))
        except BrokenProcessPool as error:
            raise WorkerError("worker processes end as soon as they start") from error
        for worker in workers:
            self._free.put_nowait(worker)

    async def decode(self, path: Path, name: str, seconds: float) -> DecodedVideo:
        """Return a decoded video, as soon as a worker is free.

        Args:
            path: the file.
            name: how messages and the result call it.
            seconds: how long decoding may take.

        Raises:
            VideoError: it cannot be read, or crashes its worker.
            TimeLimitError: it takes too long.
            WorkerError: no worker can be started.
            StoppingError: the workers have been ended.
        """
        worker = await self._free.get()
        try:
            for _ in range(_TRIES):
                worker = worker or self._new()
                try:
                    return await self._decoded(worker, self._task(str(path), name), seconds)
                except BrokenProcessPool:
                    worker = self._replaced(worker, "crash")
                except TimeoutError as error:
                    worker = self._replaced(worker, "time limit")
                    raise TimeLimitError(
                        f"decoding {name!r} takes more than {seconds:g} seconds; send a shorter or smaller "
                        "video"
                    ) from error
                except asyncio.CancelledError:
                    worker = self._replaced(worker, "request ended")
                    raise
            raise VideoError(name, LOST_WORKER)
        finally:
            self._free.put_nowait(worker)

    async def _decoded(self, worker: _Worker, task: DecodeTask, seconds: float) -> DecodedVideo:
        await asyncio.wrap_future(worker.ready)  # a new process imports its libraries first
        async with asyncio.timeout(seconds):
            outcome = await asyncio.wrap_future(worker.pool.submit(decode, task))
        if isinstance(outcome, HiddenTwoStreamError):
            raise outcome
        video, frames = outcome
        return _with_frames(video, frames, task)

    def _new(self) -> _Worker:
        if self._closed:
            raise StoppingError("this service ends; try again soon")
        try:
            worker = _Worker()
        except OSError as error:
            raise WorkerError(f"cannot start a worker process: {error.strerror or error}") from error
        self._workers.add(worker)
        return worker

    def _replaced(self, worker: _Worker, reason: str) -> _Worker | None:
        """End a worker and return another one, or None if none can be started at the moment."""
        self._workers.discard(worker)
        worker.pool.end_workers()
        if self._closed:
            return None
        self._measures.restarts.labels(reason).inc()
        with suppress(WorkerError):
            return self._new()
        return None

    def close(self) -> None:
        """End all workers."""
        self._closed = True
        for worker in self._workers:
            worker.pool.end_workers()
        self._workers.clear()


def _with_frames(video: DecodedVideo, frames: Any, task: DecodeTask) -> DecodedVideo:
    if task.is_exported:
        return replace(video, frames=frames)
    import torch

    return replace(video, frames=torch.from_numpy(frames))


def _calm() -> None:
    """Ignore signals that a terminal or a service manager also sends to workers: the server ends them."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

"""Works on many videos with Ray Data: on the machines of a cluster, or of a small one that it starts here.

Videos to label are decoded in tasks, and labeled in actors that hold the model, each with one thread. The two
have different shares of a core, so that Ray keeps them apart: it decodes on all cores that the actors leave.
Videos to segment can be long: the actors decode them, in constant memory.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from hidden_two_stream.bulk.work import Engine, Outcomes, Work
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.errors import HiddenTwoStreamError, MissingDependencyError, VideoError, WorkerError
from hidden_two_stream.inference.many import Found, Labels, failed, open_run, require_workers
from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX
from hidden_two_stream.inference.scoring import Scoring, decoded
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.parallel import LOST_WORKER, single_thread

__all__ = ["ray_engine"]

_MODEL_CORES = 1.0
_DECODER_CORES = 0.5  # part of the time it waits for the disk or the network
_VIDEOS_AT_ONCE = 4
_BLOCK = 16
"""Videos of one task. The outcomes of a task come together, so a restart repeats up to this many per task."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray sends no figures home, and prints nothing between our messages."""


def ray_engine(address: str | None) -> Engine:
    """Return the engine that uses a Ray cluster.

    Args:
        address: such as "ray://host:10001" or "auto"; None: a cluster on this machine, for this call only.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    ray = _import_ray()

    def work_on(work: Work, sources: Sequence[str], workers: int) -> Outcomes:
        require_workers(workers)
        if not sources:
            return
        with _without_noise(), _cluster(ray, address, workers):
            missing = dict.fromkeys(sources)
            most = min(workers, len(sources))
            # A cluster may have fewer cores for now; the work begins with what there is.
            actors = ray.data.ActorPoolStrategy(min_size=1 if address else most, max_size=most)
            for block in (_BLOCK, 1):  # a process that dies takes its block along; then each on its own
                for source, outcome in _worked(ray, work, list(missing), actors, block):
                    del missing[source]
                    yield source, outcome
                if not missing:
                    return
            yield from ((source, VideoError(source, LOST_WORKER)) for source in missing)

    return work_on


def _worked(ray: Any, work: Work, sources: Sequence[str], actors: Any, block: int) -> Outcomes:
    rows = ray.data.from_items(
        [{"source": os.fsencode(source)} for source in sources],
        override_num_blocks=-(-len(sources) // block),
    )
    if isinstance(work.job, Labels):
        rows = rows.map(_Decoder(work, work.job), num_cpus=_DECODER_CORES)
    on_gpu = {"num_gpus": 1} if work.device.startswith("cuda") else {}
    outcomes = rows.map_batches(
        _Model,
        fn_constructor_args=(work,),
        batch_size=_VIDEOS_AT_ONCE,
        batch_format="numpy",
        compute=actors,
        num_cpus=_MODEL_CORES,
        **on_gpu,
    )
    for row in outcomes.iter_rows():
        found = row["outcome"].content
        if isinstance(found, _Unusable):
            raise found.error
        yield os.fsdecode(row["source"]), found


@dataclass(frozen=True)
class _Unusable:
    """Why nothing can be done with any video."""

    error: HiddenTwoStreamError


@dataclass(frozen=True)
class _Parcel:
    """A cell of Ray's tables that is none of Arrow's types."""

    content: Any


@dataclass(frozen=True)
class _Decoded:
    """A video on its way to another process: a tensor would be shared memory of the process that decodes."""

    video: DecodedVideo
    frames: Any
    is_tensor: bool

    @classmethod
    def of(cls, video: DecodedVideo) -> _Decoded:
        frames: Any = video.frames
        is_tensor = frames is not None and not isinstance(frames, np.ndarray)
        return cls(replace(video, frames=None), frames.numpy() if is_tensor else frames, is_tensor)

    def unpacked(self) -> DecodedVideo:
        frames = self.frames
        if self.is_tensor:
            import torch

            frames = torch.from_numpy(np.array(frames))  # Ray's memory cannot be written to
        return replace(self.video, frames=frames)


class _Decoder:
    """Decodes a video in a task of Ray."""

    def __init__(self, work: Work, job: Labels) -> None:
        self._work, self._protocol = work, parse_protocol(job.protocol)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        single_thread()
        source, work = os.fsdecode(row["source"]), self._work
        try:
            resizer = _array_resizer() if work.run.lower().endswith(ONNX_SUFFIX) else None
            found: Any = _Decoded.of(decoded(work.info.recipe, source, self._protocol, resizer))
        except MissingDependencyError as error:
            found = _Unusable(error)
        except Exception as error:
            found = failed(source, error)
        return {"source": row["source"], "video": _Parcel(found)}


class _Model:
    """An actor of Ray that holds the model: it labels decoded videos, or finds segments in files."""

    def __init__(self, work: Work) -> None:
        single_thread()
        self._work = work
        self._scoring = Scoring.of(work.info)
        self._broken: _Unusable | None = None
        try:
            self._recognizer = open_run(work.run, work.device)
        except HiddenTwoStreamError as error:  # Ray would start the actor again and again
            self._broken = _Unusable(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        sources = list(batch["source"])
        videos = [video.content for video in batch["video"]] if "video" in batch else [None] * len(sources)
        outcomes = [
            _Parcel(self._outcome(os.fsdecode(source), video))
            for source, video in zip(sources, videos, strict=True)
        ]
        return {"source": sources, "outcome": outcomes}

    def _outcome(self, source: str, video: Any) -> Found | HiddenTwoStreamError | _Unusable:
        if self._broken is not None:
            return self._broken
        if isinstance(video, _Unusable | HiddenTwoStreamError):
            return video
        try:
            return self._work.job(self._recognizer, source) if video is None else self._labeled(video)
        except MissingDependencyError as error:
            return _Unusable(error)
        except Exception as error:
            return failed(source, error)

    def _labeled(self, video: _Decoded) -> Found:
        job, unpacked = self._work.job, video.unpacked()
        assert isinstance(job, Labels)
        protocol = parse_protocol(job.protocol)
        logits = self._recognizer.logits(unpacked, protocol)
        return self._scoring.prediction(unpacked, logits, protocol, job.threshold)


def _array_resizer() -> Any:
    from hidden_two_stream.video.array_resize import array_resized

    return array_resized


@contextmanager
def _without_noise() -> Iterator[None]:
    """Keep what Ray's processes and its C++ part write to stderr out of our own messages in the block."""
    stream = sys.stderr
    try:
        is_plain = stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # closed, or an object that a notebook put there
        is_plain = False
    if not is_plain:
        yield
        return
    stream.flush()
    ours = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        with open(
            ours, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False
        ) as text:
            sys.stderr = text
            yield
    finally:
        sys.stderr = stream
        os.dup2(ours, 2)
        os.close(ours)


@contextmanager
def _cluster(ray: Any, address: str | None, workers: int) -> Iterator[None]:
    """Use a cluster in the block.

    Raises:
        WorkerError: it cannot be started or reached, or its workers die.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    context.enable_fallback_to_arrow_object_ext_type = True  # for `_Parcel`
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            cores = {} if address else {"num_cpus": math.ceil(workers * (_MODEL_CORES + _DECODER_CORES))}
            quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False}
            ray.init(
                address=address or "local", include_dashboard=None if address else False, **cores, **quiet
            )
        yield
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise WorkerError(
            f"Ray cannot do the work: {reason}; check the cluster, or work without it (--engine pool)"
        ) from error
    finally:
        if is_ours:
            ray.shutdown()


def _import_ray() -> Any:
    """Return the module `ray`.

    Raises:
        MissingDependencyError: it cannot be imported.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError as error:
        raise MissingDependencyError(
            f"the engine ray needs Ray Data, which cannot be imported ({error}); run "
            "pip install 'hidden-two-stream[ray]', or use the engine pool"
        ) from error

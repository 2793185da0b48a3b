"""Work on many videos in worker processes, each with one thread and a recognizer of its own."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from hidden_two_stream.checkpoint import RunInfo, read_info
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.environment import MOST_WORKERS
from hidden_two_stream.errors import (
    HiddenTwoStreamError,
    MissingDependencyError,
    UsageError,
    VideoError,
    unexpected,
)
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL, parse_protocol
from hidden_two_stream.parallel import LOST_WORKER, run_as_completed, run_in_processes
from hidden_two_stream.types import Prediction, VideoSegments, require_threshold
from hidden_two_stream.watchdog import ended_when_stuck
from hidden_two_stream.weights.hub import find_run

if TYPE_CHECKING:
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer
    from hidden_two_stream.inference.predictor import Recognizer

__all__ = [
    "Found",
    "Job",
    "Labels",
    "Outcome",
    "Segments",
    "describe_run",
    "done_as_completed",
    "done_here",
    "failed",
    "open_run",
    "predict_many",
    "require_workers",
]

Outcome = Prediction | HiddenTwoStreamError
"""The prediction of a video, or why there is none."""

Found = Prediction | VideoSegments
"""What a job finds in a video."""


@dataclass(frozen=True)
class Labels:
    """A job: the label of a video.

    Attributes:
        protocol, threshold: as for `Recognizer.predict`.
    """

    protocol: str
    threshold: float | None

    def __call__(self, recognizer: Recognizer | OnnxRecognizer, source: str) -> Prediction:
        """Return the prediction of a video."""
        return recognizer.predict(source, self.protocol, threshold=self.threshold)


@dataclass(frozen=True)
class Segments:
    """A job: what happens when in a video.

    Attributes:
        settings: as for `Recognizer.segment`.
    """

    settings: SegmentSettings

    def __call__(self, recognizer: Recognizer | OnnxRecognizer, source: str) -> VideoSegments:
        """Return the segments of a video."""
        warnings: list[str] = []
        found = tuple(recognizer.segment(source, self.settings, on_warning=warnings.append))
        return VideoSegments(source, found, tuple(warnings))


Job = Labels | Segments
"""What is done with each video."""


def predict_many(
    run: str | Path,
    sources: Iterable[str | Path],
    protocol: str = DEFAULT_PROTOCOL,
    *,
    threshold: float | None = None,
    workers: int = 1,
    device: str = "cpu",
) -> Iterator[Outcome]:
    """Yield the prediction of each video, in order, as `Recognizer.predict` gives it; or why there is none.

    The reason is a `VideoError` or another error of the package, which is yielded, not raised. A video that
    crashes its process costs only its own prediction.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        sources: files, folders of frames and URLs; taken as they are needed.
        protocol: as for `Recognizer.predict`.
        threshold: as for `Recognizer.predict`.
        workers: processes, each with one thread; 0 works in this one.
        device: where to compute.

    Raises:
        UsageError: there is nothing at `run`, or an argument is wrong.
        CheckpointError: the run cannot be used.
        MissingDependencyError: a library that the run or an address needs is not installed.
        WorkerError: worker processes cannot be started.
    """
    parse_protocol(protocol)
    require_threshold(threshold)
    require_workers(workers, fewest=0)
    if isinstance(sources, str | Path):
        raise UsageError(f"the sources are {str(sources)!r}; expected a list of videos: [{str(sources)!r}]")
    path, job = os.fspath(run), Labels(protocol, threshold)
    tasks = (_Task(path, device, os.fspath(source), job) for source in sources)
    outcomes = run_in_processes(_done if workers < 1 else _done_apart, tasks, workers, _lost)
    return cast(Iterator[Outcome], outcomes)


def done_as_completed(
    run: str, sources: Iterable[str], job: Job, *, workers: int, device: str
) -> Generator[tuple[str, Found | HiddenTwoStreamError], None, None]:
    """Yield each video with what the job finds in it, as soon as it is there; else as `predict_many`."""
    tasks = (_Task(run, device, source, job) for source in sources)
    for task, outcome in run_as_completed(_done_apart, tasks, workers, _lost):
        yield task.source, outcome


def done_here(run: str, device: str, source: str, job: Job) -> Found | HiddenTwoStreamError:
    """Return what a job finds in a video, or why it finds nothing, with the recognizer of this process."""
    return _done(_Task(run, device, source, job))


def require_workers(workers: int, fewest: int = 1) -> None:
    """Check a number of worker processes.

    Raises:
        UsageError: it is out of range.
    """
    if not fewest <= workers <= MOST_WORKERS:
        raise UsageError(f"the number of workers is {workers}; expected {fewest} to {MOST_WORKERS}")


def describe_run(run: str, device: str = "cpu") -> RunInfo:
    """Return the description of a run or an exported model that labels clips, without loading PyTorch.

    Raises:
        UsageError: there is nothing at `run`, or an exported model is to be used on another device.
        CheckpointError: it cannot be used.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX, load_onnx
    from hidden_two_stream.inference.scoring import Scoring

    is_exported = run.lower().endswith(ONNX_SUFFIX)
    if is_exported and device != "cpu":
        raise UsageError(f"the device is {device}, but ONNX files run on the cpu; leave it out")
    info = load_onnx(run, threads=1).info if is_exported else read_info(find_run(run).path)
    require_trained(Scoring.of(info).streams, repr(run))
    return info


@lru_cache(maxsize=1)
def open_run(run: str, device: str) -> Recognizer | OnnxRecognizer:
    """Return the recognizer of this process, loaded once.

    Raises:
        UsageError, CheckpointError, MissingDependencyError: as `predictor.load` and `load_onnx`.
    """
    from hidden_two_stream.environment import collector_paused

    with collector_paused():
        from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX, load_onnx

        if run.lower().endswith(ONNX_SUFFIX):
            return load_onnx(run, threads=1)
        from hidden_two_stream.inference.predictor import load

        return load(run, device)


def failed(source: str, error: Exception) -> HiddenTwoStreamError:
    """Return what an error about one video is to those who wait for its prediction.

    Raises:
        MissingDependencyError: a library is missing; other videos would fail too.
    """
    if isinstance(error, MissingDependencyError):
        raise error
    return error if isinstance(error, HiddenTwoStreamError) else VideoError(source, unexpected(error))


class _Task(NamedTuple):
    run: str
    device: str
    source: str
    job: Job


def _done(task: _Task) -> Found | HiddenTwoStreamError:
    recognizer = open_run(task.run, task.device)  # its errors are not those of the video
    try:
        return task.job(recognizer, task.source)
    except Exception as error:  # one video must not end the work on all others
        return failed(task.source, error)


def _done_apart(task: _Task) -> Found | HiddenTwoStreamError:
    """`_done` in a worker process, which ends if it is stuck."""
    open_run(task.run, task.device)
    with ended_when_stuck():
        return _done(task)


def _lost(task: _Task) -> Found | HiddenTwoStreamError:
    return VideoError(task.source, LOST_WORKER)

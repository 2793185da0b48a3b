"""Labels of many videos in worker processes, each with one thread and a recognizer of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from hidden_two_stream.errors import HiddenTwoStreamError, VideoError, unexpected
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.types import Prediction

if TYPE_CHECKING:
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer
    from hidden_two_stream.inference.predictor import Recognizer

__all__ = ["predict_many"]


def predict_many(
    run: str,
    sources: Iterable[str],
    protocol: str = DEFAULT_PROTOCOL,
    *,
    threshold: float | None = None,
    workers: int = 1,
    device: str = "cpu",
) -> Iterator[Prediction | HiddenTwoStreamError]:
    """Yield the prediction of each video, in order, as `Recognizer.predict` gives it; or why there is none.

    A video that crashes its process costs only its own prediction.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        sources: files, folders of frames and URLs.
        protocol, threshold: as for `Recognizer.predict`.
        workers: processes; 0 works in this one.
        device: where to compute.

    Raises:
        WorkerError: worker processes cannot be started.
    """
    tasks = (_Task(run, device, source, protocol, threshold) for source in sources)
    return run_in_processes(_predict, tasks, workers, _lost)


class _Task(NamedTuple):
    run: str
    device: str
    source: str
    protocol: str
    threshold: float | None


def _predict(task: _Task) -> Prediction | HiddenTwoStreamError:
    try:
        recognizer = _recognizer(task.run, task.device)
        return recognizer.predict(task.source, task.protocol, threshold=task.threshold)
    except HiddenTwoStreamError as error:
        return error
    except Exception as error:  # one video must not end the work on all others
        return VideoError(task.source, unexpected(error))


@lru_cache(maxsize=1)
def _recognizer(run: str, device: str) -> Recognizer | OnnxRecognizer:
    """Return the recognizer of this process, loaded once."""
    from hidden_two_stream.environment import collector_paused

    with collector_paused():
        from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX, load_onnx

        if run.lower().endswith(ONNX_SUFFIX):
            return load_onnx(run, threads=1)
        from hidden_two_stream.inference.predictor import load

        return load(run, device)


def _lost(task: _Task) -> Prediction | HiddenTwoStreamError:
    return VideoError(task.source, LOST_WORKER)

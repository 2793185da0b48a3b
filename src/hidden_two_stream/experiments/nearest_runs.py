"""Runs of nearest neighbors in a comparison: describe videos, keep them, test, save and load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import RunInfo, baseline_of, place_weights, read_description, save_run
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import CheckpointError, HiddenTwoStreamError
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.experiments.nearest import LENGTHS, NEAREST, NearestModel, describe
from hidden_two_stream.inference.windows import Protocol
from hidden_two_stream.recognition.fusion import softmax
from hidden_two_stream.training.fit import FitTask, evaluate_split, run_info, training_run
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.types import FloatArray

__all__ = ["DescribedVideo", "DescribedVideos", "Nearest", "describe_videos", "fit_nearest", "load_nearest"]


@dataclass(frozen=True)
class DescribedVideo:
    """The descriptor of one video.

    Attributes:
        video: the decoded video.
        descriptor: (D,).
    """

    video: DecodedVideo
    descriptor: FloatArray

    @property
    def fps(self) -> float | None:
        """Mean frames per second of the video; None: unknown."""
        return self.video.fps


@dataclass(frozen=True)
class DescribedVideos:
    """The descriptors of a list of samples, in place of a `ClipCache`.

    Attributes:
        samples: the readable samples.
        videos: their descriptors.
        unreadable: the other samples, each with the reason.
    """

    samples: tuple[Sample, ...]
    videos: tuple[DescribedVideo, ...]
    unreadable: tuple[tuple[Sample, HiddenTwoStreamError], ...]

    def select(self, samples: Iterable[Sample]) -> DescribedVideos:
        """Return the part that holds `samples`."""
        wanted = {sample.name for sample in samples}
        chosen = [pair for pair in zip(self.samples, self.videos, strict=True) if pair[0].name in wanted]
        failed = tuple(pair for pair in self.unreadable if pair[0].name in wanted)
        return replace(
            self, samples=tuple(s for s, _ in chosen), videos=tuple(v for _, v in chosen), unreadable=failed
        )


def describe_videos(method: str, cache: ClipCache, progress: Callable[[int, int], None]) -> DescribedVideos:
    """Return the descriptors of all videos of a cache; `progress(done, total)` is called after each."""
    described = []
    for video in cache.videos:
        described.append(DescribedVideo(video, describe(method, video, cache.size)))
        progress(len(described), len(cache.videos))
    return DescribedVideos(cache.samples, tuple(described), cache.unreadable)


class Nearest:
    """A nearest neighbor, which scores described videos as a `Recognizer` scores decoded ones.

    Attributes:
        method: name of its descriptor, one of `NEAREST`.
        model: the training descriptors.
        info: recipe, classes and metadata.
    """

    def __init__(self, method: str, model: NearestModel, info: RunInfo) -> None:
        self.method = method
        self.model = model
        self.info = info

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return self.info.classes

    def logits(self, video: DescribedVideo, protocol: Protocol) -> dict[str, FloatArray]:  # noqa: ARG002
        """Return logits (classes,) under the method's name. The whole video counts, whatever the protocol."""
        scores: FloatArray = self.model(torch.from_numpy(video.descriptor)[None])[0].numpy()
        return {self.method: scores}

    def fuse(self, logits: Mapping[str, FloatArray]) -> FloatArray:
        """Return the softmax of the logits."""
        return softmax(logits[self.method])


def fit_nearest(task: FitTask, method: str, resources: Resources) -> Evaluation | None:
    """Keep the descriptors of the training videos, save them as a run, and test it.

    Args:
        task: its cache holds `DescribedVideos`.
        method: one of `NEAREST`.
        resources: whether to show progress.

    Returns:
        The test result; None without readable test videos.

    Raises:
        DataError: a class has no readable training video.
        OutputError: the run cannot be written.
    """
    run = training_run(task, resources, [])
    descriptors = np.stack([video.descriptor for video in run.cache.videos])
    model = NearestModel(torch.from_numpy(descriptors), torch.tensor(run.labels))
    info = run_info(task, resources, run)
    save_run(task.folder, model, info, baseline=method)
    return evaluate_split(Nearest(method, model, info), task, resources)


def load_nearest(source: str | Path) -> Nearest:
    """Return the nearest neighbor in a run folder of `hts compare`.

    Raises:
        UsageError: there is nothing at `source`.
        CheckpointError: the file is not a nearest neighbor, is damaged, or has another format version.
    """
    file, tensors, data, info = read_description(source)
    method = baseline_of(data)
    if method is None or method not in NEAREST:
        raise CheckpointError(f"{str(source)!r} is not a nearest neighbor of hts compare")
    labels, found = tensors.get("labels"), tensors.get("descriptors")
    if (
        labels is None
        or found is None
        or labels.ndim != 1
        or found.shape != (len(labels), LENGTHS[method])
        or sorted(set(labels.tolist())) != list(range(len(info.classes)))
    ):
        raise CheckpointError(
            f"{str(file)!r} is damaged: its descriptors and labels do not fit; compare again"
        )
    model = NearestModel(torch.empty_like(found, device="meta"), torch.empty_like(labels, device="meta"))
    place_weights(model, tensors, file)
    return Nearest(method, model, info)

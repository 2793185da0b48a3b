"""What the processes of a run do together besides the steps: decode, test, and agree.

Each function gives every process the same result. With a single process, they only do the work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.evaluation.accuracy import Evaluation, Scorer, evaluate_videos, merge
from hidden_two_stream.inference.windows import Protocol

__all__ = ["agreed_signal", "evaluate_together", "gather", "mean_scalars", "open_cache_together"]


def gather(fabric: Fabric, item: Any) -> list[Any]:
    """Return the items of all processes, in the order of their numbers; any object that can be pickled."""
    if fabric.world_size == 1:
        return [item]
    items: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(items, item)
    return items


def agreed_signal(fabric: Fabric, signal_number: int) -> int:
    """Return the first signal that any process has received, in all processes; 0: none.

    Args:
        fabric: a launched Fabric.
        signal_number: the signal that asked this process to stop; 0: none.
    """
    return next((number for number in gather(fabric, signal_number) if number), 0)


def mean_scalars(
    fabric: Fabric, scalars: Mapping[str, Tensor], signal_number: int
) -> tuple[dict[str, float], int]:
    """Return the means of scalars over all processes, and the signal that any of them has received.

    A value that is not finite in one process is not finite in the result, so all stop at the same step.

    Args:
        fabric: a launched Fabric.
        scalars: the same names in each process.
        signal_number: the signal that asked this process to stop; 0: none.
    """
    if fabric.world_size == 1:
        return {name: value.item() for name, value in scalars.items()}, signal_number
    values = [value.detach().double() for value in scalars.values()]
    values.append(torch.tensor(float(signal_number > 0), dtype=torch.float64, device=fabric.device))
    summed = torch.stack(values)
    distributed.all_reduce(summed)
    *totals, stopped = summed.tolist()
    means = {name: total / fabric.world_size for name, total in zip(scalars, totals, strict=True)}
    return means, agreed_signal(fabric, signal_number) if stopped else 0


def open_cache_together(
    fabric: Fabric,
    samples: Sequence[Sample],
    budget_bytes: int,
    decode: Callable[[Sequence[Sample]], ClipCache],
) -> ClipCache:
    """Return the cache of all samples, of which each process decodes a part.

    Args:
        fabric: a launched Fabric.
        samples: the videos.
        budget_bytes: memory of each process for the decoded frames of all samples together.
        decode: decodes some samples.
    """
    rank, world = fabric.global_rank, fabric.world_size
    if world == 1:
        return decode(samples)
    own = decode(samples[rank::world])
    readable = dict(zip((sample.name for sample in own.samples), own.videos, strict=True))
    failed = {sample.name: error for sample, error in own.unreadable}
    facts = gather(fabric, ({name: _without_frames(video) for name, video in readable.items()}, failed))
    found: dict[str, _Facts] = {name: video for part, _ in facts for name, video in part.items()}
    errors: dict[str, HiddenTwoStreamError] = {
        name: error for _, part in facts for name, error in part.items()
    }
    kept = sum(video.num_bytes for video, _ in found.values()) <= budget_bytes
    videos = []
    for number, sample in enumerate(samples):
        if sample.name in found:
            video, shape = found[sample.name]
            if kept:
                own_video = readable.get(sample.name)
                own_frames = None if own_video is None else own_video.frames
                frames = _sent(fabric, number % world, shape, own_frames)
                video = dataclasses.replace(video, frames=frames)
            videos.append((sample, video))
    unreadable = tuple((sample, errors[sample.name]) for sample in samples if sample.name in errors)
    return ClipCache(tuple(s for s, _ in videos), tuple(v for _, v in videos), unreadable, own.size)


_Facts = tuple[DecodedVideo, tuple[int, ...]]
"""A video without its frames, and their shape."""


def _without_frames(video: DecodedVideo) -> _Facts:
    shape = () if video.frames is None else tuple(video.frames.shape)
    return dataclasses.replace(video, frames=None), shape


def _sent(fabric: Fabric, owner: int, shape: Sequence[int], frames: Tensor | None) -> Tensor:
    """Return the frames that the process `owner` has, in all processes."""
    if frames is None:
        received = torch.empty(tuple(shape), dtype=torch.uint8, device=fabric.device)
        distributed.broadcast(received, owner)
        return received.cpu()
    distributed.broadcast(frames.to(fabric.device), owner)
    return frames


def evaluate_together(
    fabric: Fabric,
    scorer: Scorer,
    videos: ClipCache,
    protocol: Protocol,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Return what `evaluate_videos` returns; each process scores a part of the videos.

    Args:
        fabric: a launched Fabric.
        scorer: the same model in each process.
        videos: at least one test video.
        protocol: as for `evaluate_videos`.
        progress: called with the number done and the total of this process.

    Raises:
        DataError: as `evaluate_videos`.
    """
    rank, world = fabric.global_rank, fabric.world_size
    if world == 1:
        return evaluate_videos(scorer, videos, protocol, progress)
    part = videos.select(videos.samples[rank::world])
    own = evaluate_videos(scorer, part, protocol, progress) if part.samples else None
    scored = merge([item for item in gather(fabric, own) if item is not None])
    places = {name: place for place, name in enumerate(scored.names)}
    order = np.array([places[sample.name] for sample in videos.samples])
    logits = {name: values[order] for name, values in scored.logits.items()}
    return dataclasses.replace(
        scored,
        names=tuple(sample.name for sample in videos.samples),
        truth=scored.truth[order],
        logits=logits,
        fused=scorer.fuse(logits),
        unreadable=tuple(sample.name for sample, _ in videos.unreadable),
    )

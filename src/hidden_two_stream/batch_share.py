"""This process's share of the batch that several processes train on together.

A few computations look at the whole batch: means over the pixels that count, the statistics of batch
normalization, and random draws for each clip. They ask this module, so that two processes with 4 clips each
compute what one process computes with 8. In a single process everything here returns its argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

__all__ = ["BatchShare", "batch_share", "draw", "of_all", "of_first", "sharing", "total"]


T = TypeVar("T")


@dataclass(frozen=True)
class BatchShare:
    """Which part of a batch this process has.

    Attributes:
        rank: number of this process; it has the clips from `rank` / `world` of the batch on.
        world: number of processes, whose shares have the same size.
    """

    rank: int = 0
    world: int = 1


_WHOLE = BatchShare()
_share = _WHOLE


def batch_share() -> BatchShare:
    """Return the share of this process; the whole batch outside of `sharing`."""
    return _share


@contextmanager
def sharing(rank: int, world: int) -> Iterator[None]:
    """Make this process one of `world` that share each batch within the block."""
    global _share
    before, _share = _share, BatchShare(rank, world)
    try:
        yield
    finally:
        _share = before


def draw(
    source: Callable[..., Tensor],
    *shape: int,
    dim: int = 0,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return random numbers for this process's clips, the same as in one process with the whole batch.

    All processes draw for the whole batch, from the same state of torch's generator, and keep their rows.

    Args:
        source: `torch.rand`, `torch.randn` or alike.
        shape: shape of the result.
        dim: dimension of the clips.
        device, dtype: of the result.
    """
    if _share.world == 1:
        return source(*shape, device=device, dtype=dtype)
    whole = [size * _share.world if axis == dim else size for axis, size in enumerate(shape)]
    numbers = source(*whole, device=device, dtype=dtype)
    return numbers.narrow(dim, _share.rank * shape[dim], shape[dim])


def of_all(items: Sequence[T]) -> list[T]:
    """Return the items of all processes in one list; this process has every `world`-th from `rank` on."""
    if _share.world == 1:
        return list(items)
    parts: list[Any] = [None] * _share.world
    distributed.all_gather_object(parts, list(items))
    number = sum(map(len, parts))
    return [parts[place % _share.world][place // _share.world] for place in range(number)]


@torch.no_grad()
def of_first(tensor: Tensor) -> Tensor:
    """Return the tensor of the first process, of the same shape in all."""
    if _share.world > 1:
        distributed.broadcast(tensor, 0)
    return tensor


@torch.no_grad()
def total(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, without gradient; the tensor itself in one process."""
    if _share.world == 1:
        return tensor
    summed = tensor.detach().clone()
    distributed.all_reduce(summed)
    return summed

"""Layers that look at a whole batch, also where several processes share it.

Batch normalization takes its statistics over all clips of a batch, and dropout draws a mask for each.
`synchronized` computes both over the clips of all processes. Then two processes with 4 clips each compute
what one computes with 8. torch's own `SyncBatchNorm` does not run on CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

from hidden_two_stream.batch_share import batch_share, draw

__all__ = ["synchronized"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def synchronized(model: nn.Module) -> Iterator[None]:
    """Let the layers in training mode look at the clips of all processes within the block.

    The layers stay the same objects, so state dicts keep their names. In a single process nothing changes.
    """
    changed: list[nn.Module] = []
    if batch_share().world > 1:
        for layer in model.modules():
            if (forward := _shared_forward(layer)) is not None:
                layer.forward = forward
                changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward  # that of the class is back


def _shared_forward(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    if layer.training and isinstance(layer, _BATCH_NORMS):
        return partial(_batch_norm, layer)
    if layer.training and isinstance(layer, nn.Dropout) and layer.p > 0:
        return partial(_dropout, layer)
    return None


def _dropout(layer: nn.Dropout, inputs: Tensor) -> Tensor:
    """Return `inputs` (N, …) with a mask for the clips of all processes, of which these are N."""
    keep = 1 - layer.p
    mask = draw(partial(_bernoulli, keep), *inputs.shape, device=inputs.device, dtype=inputs.dtype)
    return inputs * (mask / keep if keep > 0 else mask)


def _bernoulli(probability: float, *shape: int, **kind: Any) -> Tensor:
    return torch.empty(shape, **kind).bernoulli_(probability)


def _batch_norm(layer: Any, inputs: Tensor) -> Tensor:
    """Return `inputs` (N, C, …), normalized over the clips of all processes; update the running statistics.

    Ioffe and Szegedy, arXiv 1502.03167. The variance is that of the centered values, because the mean of the
    squares less the square of the mean would cancel out far from 0.
    """
    values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
    axes = [axis for axis in range(values.ndim) if axis != 1]
    shape = [1, -1] + [1] * (values.ndim - 2)
    number = values.numel() // values.shape[1] * batch_share().world
    mean = _differentiable_total(values.sum(axes)) / number
    centered = values - mean.view(shape)
    variance = _differentiable_total(centered.square().sum(axes)) / number
    _track(layer, mean.detach(), variance.detach() * (number / max(1, number - 1)))
    result: Tensor = centered * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        result = result * layer.weight.view(shape) + layer.bias.view(shape)
    return result.to(inputs.dtype)


@torch.no_grad()
def _track(layer: Any, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics of a layer toward those of a batch."""
    if not layer.track_running_stats:
        return
    layer.num_batches_tracked.add_(1)
    share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean.to(layer.running_mean), share)
    layer.running_var.lerp_(variance.to(layer.running_var), share)


def _differentiable_total(tensor: Tensor) -> Tensor:
    summed: Tensor = _Total.apply(tensor)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    """The sum of a tensor over all processes. The loss of each depends on it, so gradients are summed too."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        summed = tensor.detach().clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed

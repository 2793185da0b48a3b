"""Census: compare the order of grey values around a pixel, which changes of light leave alone.

The census transform (Zabih and Woodfill, ECCV 1994) keeps of a patch only which pixels are brighter than its
middle. The soft form, which has a gradient, is that of UnFlow (Meister et al., arXiv 1711.07837), with the
difference d(q) = I(x + q) − I(x) to each neighbour of the patch:

    c(q) = d(q) / √(0.81 + d(q)²)                     nearly −1 or 1 on the 0…255 scale
    distance(x) = Σ_q δ² / (0.1 + δ²),  δ = c₁(q) − c₂(q)     a soft Hamming distance

δ² for −q at x is that for q at x − q, so half of the neighbours are computed, and counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hidden_two_stream.motion.losses.terms import charbonnier, masked_mean

__all__ = ["census_distance", "census_loss", "grey"]

SOFT_SIGN = 0.81
SOFT_COUNT = 0.1
EPSILON = 1e-3
EXPONENT = 0.45
# Pixels that are worked on at once on a CPU: a few buffers of this size stay in its cache.
CHUNK_PIXELS = 2**18


def grey(frames: Tensor) -> Tensor:
    """`frames` (..., 3, h, w), RGB in units of 255 → luminance (..., 1, h, w) on the 0…255 scale."""
    red, green, blue = frames.unbind(-3)
    return (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).unsqueeze(-3)


def census_loss(frame: Tensor, warped: Tensor, mask: Tensor, radius: int, border: float) -> Tensor:
    """Mean Charbonnier penalty (ε = 1e-3, exponent 0.45) of the census distance over unmasked pixels.

    Args:
        frame: (N, 1, h, w) grey pictures on the 0…255 scale.
        warped: their reconstructions, same shape.
        mask: (h, w) or (N, 1, h, w).
        radius: pixels from the middle of a patch to its edge.
        border: part of the shorter side that `mask` leaves out at every edge; it isn't computed.

    Returns:
        A scalar.
    """
    height, width = frame.shape[-2:]
    edge = round(border * min(height, width))
    rows, columns = (slice(max(0, edge - radius), size - max(0, edge - radius)) for size in (height, width))
    distance = census_distance(frame[:, 0, rows, columns], warped[:, 0, rows, columns], radius)
    return masked_mean(charbonnier(distance[:, None], EPSILON, EXPONENT), mask[..., rows, columns])


def census_distance(first: Tensor, second: Tensor, radius: int = 3) -> Tensor:
    """Soft Hamming distance of the census transforms of two pictures; see the module's text.

    Args:
        first, second: (N, h, w) grey pictures on the 0…255 scale.
        radius: the patch has 2 · radius + 1 pixels a side.

    Returns:
        (N, h, w), 0 to (2 · radius + 1)² − 1. Neighbours beyond the edge of the picture don't count.
    """
    distance: Tensor = _CensusDistance.apply(first, second, radius)  # type: ignore[no-untyped-call]
    return distance


class _CensusDistance(torch.autograd.Function):
    """A gradient by hand: autograd would keep some ten pictures for each of the 24 pairs of neighbours."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius = radius
        distance = torch.zeros_like(second)
        for part, near in _work(first, radius):
            delta, _ = _difference(first[part], second[part], near)
            # 1 − τ / (τ + δ²), with one division.
            unlike = delta.square_().add_(SOFT_COUNT).reciprocal_().mul_(-SOFT_COUNT).add_(1)
            for place in _ends(distance[part], near):
                place.add_(unlike)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first, second = ctx.saved_tensors
        wanted_first, wanted_second, _ = ctx.needs_input_grad
        return (
            _gradient(second, first, gradient, ctx.radius) if wanted_first else None,
            _gradient(first, second, gradient, ctx.radius) if wanted_second else None,
            None,
        )


def _gradient(fixed: Tensor, moved: Tensor, gradient: Tensor, radius: int) -> Tensor:
    """Derivative of Σ gradient · distance by the picture `moved`; the distance is symmetric."""
    result = torch.zeros_like(moved)
    for part, near in _work(moved, radius):
        delta, inverse = _difference(fixed[part], moved[part], near)
        # d/dδ of δ² / (τ + δ²) is 2 τ δ / (τ + δ²)², and −dδ/dd = c'(d) = s / (s + d²)^1.5.
        below = (delta * delta).add_(SOFT_COUNT)
        slope = delta.mul_(-2 * SOFT_COUNT * SOFT_SIGN).mul_(inverse).mul_(inverse).mul_(inverse)
        slope.div_(below).div_(below)
        here, there = _ends(gradient[part], near)
        slope.mul_(here + there)
        here, there = _ends(result[part], near)
        there.add_(slope)
        here.sub_(slope)
    return result


def _work(pictures: Tensor, radius: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Parts of the batch, and for each one half of the neighbours as (down, right)."""
    count, height, width = pictures.shape
    at_once = max(1, CHUNK_PIXELS // max(1, height * width)) if pictures.device.type == "cpu" else count
    for start in range(0, count, max(1, at_once)):
        for down in range(min(radius + 1, height)):
            for right in range(-radius if down else 1, radius + 1):
                if abs(right) < width:
                    yield slice(start, start + at_once), (down, right)


def _ends(pictures: Tensor, near: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """All pixels that have the neighbour, and those neighbours: two views (N, h − down, w − |right|)."""
    down, right = near
    height, width = pictures.shape[-2:]
    begin, end = max(0, -right), width - max(0, right)
    return pictures[:, : height - down, begin:end], pictures[:, down:, begin + right : end + right]


def _difference(first: Tensor, second: Tensor, near: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """δ = c₁ − c₂ for one neighbour of every pixel, and 1 / √(s + d₂²); both are new tensors."""
    here, there = _ends(first, near)
    delta = there - here
    delta.mul_((delta * delta).add_(SOFT_SIGN).rsqrt_())
    here, there = _ends(second, near)
    change = there - here
    inverse = (change * change).add_(SOFT_SIGN).rsqrt_()
    return delta.addcmul_(change, inverse, value=-1), inverse

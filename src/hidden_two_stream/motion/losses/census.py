"""Census term: compares the order of gray values around each pixel.

Changes of light keep that order. The census transform (Zabih and Woodfill, ECCV 1994) describes a patch by
which of its pixels are brighter than its center. The soft version, which has a gradient, is that of UnFlow
(Meister et al., arXiv 1711.07837). With d(q) = I(x + q) − I(x), the difference to the neighbor at offset q of
the patch:

    c(q) = d(q) / √(0.81 + d(q)²)                     close to −1 or 1 on the 0…255 scale
    distance(x) = Σ_q δ² / (0.1 + δ²),  δ = c₁(q) − c₂(q)     a soft Hamming distance

δ² for offset −q at x equals δ² for q at x − q. So half of the neighbors are computed and added twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hidden_two_stream.motion.losses.paper import charbonnier, masked_mean

__all__ = ["census_distance", "census_loss", "gray"]

SOFT_SIGN = 0.81
SOFT_COUNT = 0.1
EPSILON = 1e-3
EXPONENT = 0.45
# Pixels per chunk on a CPU: a few buffers of this size fit in its cache.
CHUNK_PIXELS = 2**18


def gray(frames: Tensor) -> Tensor:
    """Luminance of frames on the 0…255 scale.

    `frames` (..., 3, h, w), RGB in units of 255 → (..., 1, h, w).
    """
    red, green, blue = frames.unbind(-3)
    return (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).unsqueeze(-3)


def census_loss(frame: Tensor, warped: Tensor, mask: Tensor, radius: int, border: float) -> Tensor:
    """Mean Charbonnier penalty of the census distance over a mask.

    ε is 1e-3 and α is 0.45.

    Args:
        frame: (N, 1, h, w) gray images on the 0…255 scale.
        warped: their reconstructions, same shape.
        mask: (h, w) or (N, 1, h, w).
        radius: pixels from the center of a patch to its edge.
        border: part of the shorter side that `mask` leaves out at each edge; the distance isn't computed
            there.

    Returns:
        A scalar.
    """
    height, width = frame.shape[-2:]
    edge = round(border * min(height, width))
    rows, columns = (slice(max(0, edge - radius), size - max(0, edge - radius)) for size in (height, width))
    distance = census_distance(frame[:, 0, rows, columns], warped[:, 0, rows, columns], radius)
    return masked_mean(charbonnier(distance[:, None], EPSILON, EXPONENT), mask[..., rows, columns])


def census_distance(first: Tensor, second: Tensor, radius: int = 3) -> Tensor:
    """Soft Hamming distance between the census transforms of two images.

    The module's text has the equation.

    Args:
        first: (N, h, w) gray images on the 0…255 scale.
        second: same shape.
        radius: the patch has 2 · radius + 1 pixels a side.

    Returns:
        (N, h, w), 0 to (2 · radius + 1)² − 1. Neighbors beyond the edge of the image don't count.
    """
    distance: Tensor = _CensusDistance.apply(first, second, radius)  # type: ignore[no-untyped-call]
    return distance


class _CensusDistance(torch.autograd.Function):
    """The census distance, with a gradient written by hand.

    Autograd would keep about ten images for each of 24 neighbors.
    """

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius = radius
        distance = torch.zeros_like(second)
        for part, near in _chunks(first, radius):
            delta, _ = _difference(first[part], second[part], near)
            # 1 − τ / (τ + δ²), with one division.
            distances = delta.square_().add_(SOFT_COUNT).reciprocal_().mul_(-SOFT_COUNT).add_(1)
            for place in _ends(distance[part], near):
                place.add_(distances)
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
    """Derivative of Σ gradient · distance with respect to `moved`.

    The distance is symmetric, so this serves for both images.
    """
    result = torch.zeros_like(moved)
    for part, near in _chunks(moved, radius):
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


def _chunks(images: Tensor, radius: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Parts of the batch, each with half of the neighbors' offsets (down, right)."""
    count, height, width = images.shape
    at_once = max(1, CHUNK_PIXELS // max(1, height * width)) if images.device.type == "cpu" else count
    for start in range(0, count, max(1, at_once)):
        for down in range(min(radius + 1, height)):
            for right in range(-radius if down else 1, radius + 1):
                if abs(right) < width:
                    yield slice(start, start + at_once), (down, right)


def _ends(images: Tensor, near: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels that have a neighbor at offset `near`, and those neighbors.

    Two views (N, h − down, w − |right|).
    """
    down, right = near
    height, width = images.shape[-2:]
    begin, end = max(0, -right), width - max(0, right)
    return images[:, : height - down, begin:end], images[:, down:, begin + right : end + right]


def _difference(first: Tensor, second: Tensor, near: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """δ = c₁ − c₂ for one neighbor of each pixel, and 1 / √(0.81 + d₂²).

    Both are new tensors.
    """
    here, there = _ends(first, near)
    delta = there - here
    delta.mul_((delta * delta).add_(SOFT_SIGN).rsqrt_())
    here, there = _ends(second, near)
    change = there - here
    inverse = (change * change).add_(SOFT_SIGN).rsqrt_()
    return delta.addcmul_(change, inverse, value=-1), inverse

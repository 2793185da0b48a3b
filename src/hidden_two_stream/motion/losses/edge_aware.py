"""Edge-aware smoothness: the flow may change where the image does.

Wang et al., arXiv 1711.05890:

    L = Σ_x  exp(−λ mean_c |∂I(x)|) · ρ(∂ᵒ V(x)),   o = 1 or 2, along x and along y

With o = 2, a flow that changes linearly costs nothing, such as that of a slanted plane or of a zoom (UFlow,
arXiv 2006.04902).
"""

from __future__ import annotations

from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.paper import charbonnier

__all__ = ["edge_aware_smoothness"]


def edge_aware_smoothness(
    flow: Tensor,
    image: Tensor,
    mask: Tensor,
    epsilon: float,
    exponent: float,
    edge_weight: float,
    order: int = 1,
) -> Tensor:
    """Charbonnier penalty of the differences of u and v, weighted down at image edges.

    Order 1 takes forward differences of flow and image. Order 2 takes the flow's second differences and the
    image's central ones. Pixels without the neighbor that a difference needs add nothing but count in the
    mean. With `edge_weight` 0 and order 1 the result is that of `losses.paper.smoothness_loss`.

    Args:
        flow: (N, 2, h, w) in pixels of its own grid.
        image: (N, 3, h, w), frame t at the size of the flow, in units of 255.
        mask: (h, w).
        epsilon: ε of the penalty, px.
        exponent: α of the penalty.
        edge_weight: λ, per unit of the image.
        order: 1 or 2.

    Returns:
        A scalar: the mean in x plus the mean in y.

    Raises:
        UsageError: `order` is neither 1 nor 2.
    """
    if order not in (1, 2):
        raise UsageError(f"smooth_order is {order}; expected 1 or 2; choose one of them")
    terms = flow.shape[0] * flow.shape[1] * mask.sum()
    total = mask.new_zeros(())
    for axis in (-1, -2):
        change, slope = flow.diff(order, dim=axis), image.diff(dim=axis)
        size = flow.shape[axis]
        counted = mask.narrow(axis, order - 1, change.shape[axis])
        if order == 2:
            before, after = (slope.narrow(axis, start, max(0, size - 2)) for start in (0, min(1, size - 1)))
            slope = (before + after) / 2
        weight = (-edge_weight * slope.abs().mean(dim=1, keepdim=True)).exp()
        total = total + (weight * charbonnier(change, epsilon, exponent) * counted).sum() / terms
    return total

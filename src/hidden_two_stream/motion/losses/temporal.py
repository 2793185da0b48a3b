"""Temporal consistency: a moving point keeps its velocity between frames.

The constant-velocity prior of Janai et al., Unsupervised Learning of Multi-Frame Optical Flow with Occlusions
(ECCV 2018), here along the motion: ρ(V_t(x) − V_t+1(x + V_t(x))).
"""

from __future__ import annotations

from torch import Tensor

from hidden_two_stream.motion.losses.occlusion import inside_mask
from hidden_two_stream.motion.losses.paper import charbonnier, masked_mean
from hidden_two_stream.motion.warp import warp

__all__ = ["temporal_loss"]


def temporal_loss(flow: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Mean Charbonnier penalty of the change of velocity along the motion.

    Pixels whose motion leaves the image don't count.

    Args:
        flow: (B, T−1, 2, h, w) in pixels of its own grid.
        mask: (h, w).
        epsilon: ε of the penalty, px.
        exponent: α of the penalty.

    Returns:
        A scalar; 0 for T = 2, since a single pair of frames has no next pair.
    """
    if flow.shape[1] < 2:
        return flow.new_zeros(())
    now, later = flow[:, :-1].flatten(0, 1), flow[:, 1:].flatten(0, 1)
    # No gradient through the position: otherwise flow would learn to point to where the next flow is alike.
    change = now - warp(later, now.detach())
    return masked_mean(charbonnier(change, epsilon, exponent), mask * inside_mask(now))

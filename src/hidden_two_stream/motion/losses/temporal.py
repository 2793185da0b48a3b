"""Multi-frame consistency: what moves goes on moving.

A constant-velocity prior between neighbouring pairs of frames, as in Janai et al., "Unsupervised learning of
multi-frame optical flow with occlusions" (ECCV 2018), here along the motion: ρ(f_t(x) − f_{t+1}(x + f_t(x))).
"""

from __future__ import annotations

from torch import Tensor

from hidden_two_stream.motion.losses.occlusion import inside_mask
from hidden_two_stream.motion.losses.terms import charbonnier, masked_mean
from hidden_two_stream.motion.warp import warp

__all__ = ["temporal_loss"]


def temporal_loss(flow: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Mean Charbonnier penalty of the change of velocity along the motion, where that stays inside.

    Args:
        flow: (B, T−1, 2, h, w) in pixels of its grid.
        mask: (h, w).
        epsilon: of the penalty, px.
        exponent: of the penalty.

    Returns:
        A scalar; 0 where T is 2, since one pair of frames has no neighbour.
    """
    if flow.shape[1] < 2:
        return flow.new_zeros(())
    now, later = flow[:, :-1].flatten(0, 1), flow[:, 1:].flatten(0, 1)
    # No gradient by the place: otherwise flow would learn to point to where the next flow is alike.
    change = now - warp(later, now.detach())
    return masked_mean(charbonnier(change, epsilon, exponent), mask * inside_mask(now))

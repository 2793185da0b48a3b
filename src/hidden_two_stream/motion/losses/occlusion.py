"""Which pixels of frame t can be found again in frame t+1: losses that compare pictures leave out the rest.

All results are masks without gradient, (N, 1, h, w): 1 where the pixel is seen in both frames, 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hidden_two_stream.motion.warp import sampling_grid, warp

__all__ = ["backward_pyramid", "forward_backward_mask", "inside_mask"]

RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE = 0.5


def backward_pyramid(network: Callable[[Tensor], list[Tensor]], frames: Tensor) -> list[Tensor]:
    """Flow t+1 → t by the same network, from the clip played backward; no gradient.

    Args:
        network: frames → flow pyramid, as every member of the MotionNet family.
        frames: (B, T, 3, H, W).

    Returns:
        Flows (B, T−1, 2, h, w), finest first: at index t the motion from frame t+1 to frame t.
    """
    with torch.no_grad():
        return [flow.flip(1) for flow in network(frames.flip(1))]


@torch.no_grad()
def inside_mask(flow: Tensor) -> Tensor:
    """Pixels whose motion ends inside the picture, its outermost half pixels included.

    `flow` (N, 2, h, w) in pixels of its own grid → (N, 1, h, w).
    """
    x, y = sampling_grid(flow).abs().unbind(dim=-1)
    return ((x <= 1) & (y <= 1)).to(flow.dtype)[:, None]


@torch.no_grad()
def forward_backward_mask(forward: Tensor, backward: Tensor) -> Tensor:
    """Pixels that come back to where they started: |f + b'|² < 0.01 (|f|² + |b'|²) + 0.5, b' = b(x + f(x)).

    Sundaram, Brox and Keutzer, ECCV 2010, equation 5. What leaves the picture is left out as well.

    Args:
        forward: (N, 2, h, w), flow t → t+1 in pixels of its grid.
        backward: (N, 2, h, w), flow t+1 → t.

    Returns:
        (N, 1, h, w).
    """
    returned = warp(backward, forward)

    def squared(flow: Tensor) -> Tensor:
        return (flow * flow).sum(dim=1, keepdim=True)

    allowed = RELATIVE_TOLERANCE * (squared(forward) + squared(returned)) + ABSOLUTE_TOLERANCE
    return (squared(forward + returned) < allowed).to(forward.dtype) * inside_mask(forward)

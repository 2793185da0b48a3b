"""Occlusion masks: which pixels have a counterpart in the next frame.

Terms that compare images leave out all others. All masks are (N, 1, h, w) without gradient: 1 where the pixel
of frame t is visible in frame t+1, else 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.paper import shrink
from hidden_two_stream.motion.warp import sampling_grid, warp

__all__ = ["backward_pyramid", "forward_backward_mask", "inside_mask", "occlusion_mask"]

RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE = 0.5


def backward_pyramid(network: Callable[[Tensor], list[Tensor]], frames: Tensor) -> list[Tensor]:
    """Flows t+1 → t by the same network, from the clip played backward.

    No gradient.

    Args:
        network: frames → flow pyramid, like every motion network.
        frames: (B, T, 3, H, W).

    Returns:
        Flows (B, T−1, 2, h, w), finest first; index t is the motion from frame t+1 to frame t.
    """
    with torch.no_grad():
        return [flow.flip(1) for flow in network(frames.flip(1))]


def occlusion_mask(forward: Tensor, backward: Tensor, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Mask of any size from a forward-backward check of the finest flows.

    Args:
        forward: (B, T−1, 2, h, w), finest flow t → t+1, px of its own grid.
        backward: same shape, t+1 → t.
        size: height and width at which to check.

    Returns:
        A function from a flow (B (T−1), 2, h', w') to the mask at its size, (B (T−1), 1, h', w').
    """
    flows = (resize_flow(flow.detach().flatten(0, 1), *size) for flow in (forward, backward))
    visible = forward_backward_mask(*flows)
    return lambda flow: shrink(visible, flow)


@torch.no_grad()
def inside_mask(flow: Tensor) -> Tensor:
    """Mask (N, 1, h, w) of the pixels whose motion ends inside the image.

    Convention: the image reaches from the outer edge of its first pixel to that of its last, so half a pixel
    beyond the outermost centers is inside. `flow` (N, 2, h, w) in pixels of its own grid.
    """
    x, y = sampling_grid(flow).abs().unbind(dim=-1)
    return ((x <= 1) & (y <= 1)).to(flow.dtype)[:, None]


@torch.no_grad()
def forward_backward_mask(forward: Tensor, backward: Tensor) -> Tensor:
    """Mask of the pixels that forward and backward flow bring back to their start.

        |f + b'|² < 0.01 (|f|² + |b'|²) + 0.5,   b'(x) = b(x + f(x))

    Sundaram, Brox and Keutzer, ECCV 2010, equation 5. Pixels that leave the image don't count either.

    Args:
        forward: f (N, 2, h, w), flow t → t+1 in pixels of its own grid.
        backward: b (N, 2, h, w), flow t+1 → t.

    Returns:
        (N, 1, h, w).
    """
    returned = warp(backward, forward)

    def squared(flow: Tensor) -> Tensor:
        return (flow * flow).sum(dim=1, keepdim=True)

    allowed = RELATIVE_TOLERANCE * (squared(forward) + squared(returned)) + ABSOLUTE_TOLERANCE
    return (squared(forward + returned) < allowed).to(forward.dtype) * inside_mask(forward)

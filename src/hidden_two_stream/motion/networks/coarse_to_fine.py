"""Coarse to fine: large motion by a network for small motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.networks.frames import check_frames
from hidden_two_stream.motion.warp import warp

__all__ = ["CoarseToFine", "compose_flows", "pyramid_sides"]


class CoarseToFine(nn.Module):
    """A two-frame network, run with the same weights on larger and larger images.

    On the smallest images it finds the flow. On each larger size the second image is warped by the flow so
    far, and the network finds the residual flow. A median filter follows each size. The idea is the spatial
    pyramid of Ranjan and Black (arXiv 1611.00850), which has a network of its own for each size.

    Args:
        network: `frames` (B, 2, 3, H, W) → flows (B, 1, 2, h, w), finest first, px of their own grid.
        coarsest: shorter side of the smallest images, px; `pyramid_sides` gives the others.

    Raises:
        UsageError: `coarsest` is not positive.
    """

    def __init__(self, network: nn.Module, coarsest: int) -> None:
        super().__init__()
        if coarsest < 1:
            raise UsageError(f"coarsest is {coarsest}; expected at least 1 px")
        self.network = network
        self.coarsest = coarsest

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, 2, 3, H, W) → [flow (B, 1, 2, h, w)], px of its own grid.

        The grid is that of the network's finest level.

        Raises:
            UsageError: `frames` has another shape.
        """
        check_frames(frames, 2)
        shortest = min(frames.shape[-2:])
        flow: Tensor | None = None
        for side in pyramid_sides(self.coarsest, shortest):
            height, width = (round(length * side / shortest) for length in frames.shape[-2:])
            first, second = _resized(frames, height, width).unbind(dim=1)
            if flow is None:
                flow = self.network(torch.stack((first, second), dim=1))[0][:, 0]
            else:
                so_far = resize_flow(flow, height, width)
                residual = self.network(torch.stack((first, warp(second, so_far)), dim=1))[0][:, 0]
                composed = compose_flows(so_far, resize_flow(residual, height, width))
                flow = resize_flow(composed, *residual.shape[-2:])
            flow = median_filter(flow)
        assert flow is not None
        return [flow[:, None]]


def pyramid_sides(coarsest: int, finest: int) -> list[int]:
    """Shorter sides of the images of a pyramid, px, ascending to `finest`.

    The ratio of two sides is √2 to 2√2. If `finest` is less than √2 times `coarsest`, it is the only side.
    """
    steps = max(0, round(math.log2(finest / coarsest)))
    return [round(coarsest * (finest / coarsest) ** (step / steps)) for step in range(steps)] + [finest]


def compose_flows(flow: Tensor, residual: Tensor) -> Tensor:
    """The flow of two steps: a flow, then the residual found after warping by it.

    Convention: the second image was warped by `flow`, so pixel x of the first has its counterpart at
    y = x + residual(x) of the warped image, and that one at y + flow(y) of the second. The result is
    residual(x) + flow(x + residual(x)).

    Args:
        flow: (N, 2, h, w) in pixels of its own grid.
        residual: same shape and unit.

    Returns:
        (N, 2, h, w).
    """
    return residual + warp(flow, residual)


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    """`frames` (B, T, 3, H, W) at another size, low-pass filtered against aliasing."""
    if frames.shape[-2:] == (height, width):
        return frames
    merged = functional.interpolate(
        frames.flatten(0, 1), (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    resized: Tensor = merged.unflatten(0, frames.shape[:2])
    return resized

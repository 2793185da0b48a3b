"""Large motion by a network that knows small motion alone: small pictures first, then what is left."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.networks.padding import check_frames
from hidden_two_stream.motion.warp import warp

__all__ = ["CoarseToFine", "sides_between"]


class CoarseToFine(nn.Module):
    """One network for pairs, with the same weights on larger and larger pictures.

    On the smallest pictures it finds the flow; on each larger size the second picture is warped by the flow
    so far, and the network finds what is left (the spatial pyramid of Ranjan and Black, arXiv 1611.00850,
    which has a network of its own for each size). A median filter follows each size.

    Args:
        network: `frames` (B, 2, 3, H, W) → flows (B, 1, 2, h, w), finest first, px of their own grid.
        coarsest: shorter side of the smallest pictures, px; for the others see `sides_between`.

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
        """`frames` (B, 2, 3, H, W) → [flow (B, 1, 2, h, w)], px of its own grid: that of the finest level.

        Raises:
            UsageError: `frames` has another shape.
        """
        check_frames(frames, 2)
        shortest = min(frames.shape[-2:])
        flow: Tensor | None = None
        for side in sides_between(self.coarsest, shortest):
            height, width = (round(length * side / shortest) for length in frames.shape[-2:])
            first, second = _shrunk(frames, height, width).unbind(dim=1)
            if flow is None:
                flow = self.network(torch.stack((first, second), dim=1))[0][:, 0]
            else:
                so_far = resize_flow(flow, height, width)
                left = self.network(torch.stack((first, warp(second, so_far)), dim=1))[0][:, 0]
                flow = resize_flow(_joined(so_far, resize_flow(left, height, width)), *left.shape[-2:])
            flow = median_filter(flow)
        assert flow is not None
        return [flow[:, None]]


def sides_between(coarsest: int, finest: int) -> list[int]:
    """Shorter sides of a pyramid, px, ascending to `finest`, each about twice the one before.

    That is √2 to 2√2 times; a `finest` that is not even √2 times `coarsest` is the only size.
    """
    steps = max(0, round(math.log2(finest / coarsest)))
    return [round(coarsest * (finest / coarsest) ** (step / steps)) for step in range(steps)] + [finest]


def _joined(flow: Tensor, left: Tensor) -> Tensor:
    """The flow of both, (N, 2, h, w): what was warped by `flow` is found where `left` points."""
    return left + warp(flow, left)


def _shrunk(frames: Tensor, height: int, width: int) -> Tensor:
    """Pictures (B, T, 3, H, W) of that size, without aliasing."""
    if frames.shape[-2:] == (height, width):
        return frames
    merged = functional.interpolate(
        frames.flatten(0, 1), (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    small: Tensor = merged.unflatten(0, frames.shape[:2])
    return small

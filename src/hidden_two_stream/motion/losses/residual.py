"""What a network for small motion has to find on its way from coarse to fine, as pairs to learn from.

On larger pictures the second one is warped by the flow so far, and what is left is small, often nothing
(`motion.coarse_to_fine`). A network that was trained on clips as they are has never seen such pairs.
Half of those here come from neighbouring frames, warped by a part of what a teacher finds; the other half
are single pictures, warped by smooth random fields, whose flow is known exactly (synthetic transformations:
Rocco et al., arXiv 1703.05593). Neither needs labels. Everything random comes from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.networks.padding import check_frames
from hidden_two_stream.motion.warp import warp

__all__ = ["MARGIN", "moved_pictures", "random_field", "residual_pairs", "warped_pairs"]

MARGIN = 6
"""The outer sixth of the pictures, on each side, is there for the warping alone."""
GRIDS = ((3, 0.5), (6, 0.3), (12, 0.2))
FIELD_PX, MISTAKE_PX = 2.0, 1.4
WARPED, STILL, RELIT = 0.6, 0.1, 0.3
GAIN, OFFSET, NOISE = 0.1, 0.03, 0.012
FIXED_POINT_STEPS = 3


@torch.no_grad()
def residual_pairs(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Twice as many pairs as were given, without their margins, and what a network should find in them.

    Args:
        frames: (B, 2, 3, H, W) in units of 255, mean subtracted.
        flow: (B, 2, h, w), a teacher's flow between them, in pixels of its own grid.

    Returns:
        (2B, 2, 3, H', W'), those of `moved_pictures` first, and their flows (2B, 1, 2, H', W') in px. H' and
        W' are H and W less a sixth on each side.

    Raises:
        UsageError: `frames` are not two frames of three channels each.
    """
    check_frames(frames, 2)
    height, width = frames.shape[-2:]
    of_one, of_two = moved_pictures(frames[:, 0]), warped_pairs(frames, resize_flow(flow, height, width))
    pairs, flows = (torch.cat(parts) for parts in zip(of_one, of_two, strict=True))
    top, left = height // MARGIN, width // MARGIN
    inner = (..., slice(top, height - top), slice(left, width - left))
    return pairs[inner], flows[inner][:, None]


def moved_pictures(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture and itself, warped by a smooth random field; with other light at times, and noise.

    A tenth of them stand still.

    Args:
        pictures: (B, 3, H, W) in units of 255.

    Returns:
        (B, 2, 3, H, W), the warped picture first, and the exact flow (B, 2, H, W), px, but for what comes
        from beyond the picture's edges.
    """
    number = len(pictures)
    field = random_field(pictures, FIELD_PX) * (_draw(pictures, number) >= STILL)
    pairs = torch.stack((warp(pictures, field), pictures), dim=1)
    gain, offset = torch.randn(2, number, 2, 1, 1, 1, device=pairs.device).unbind()
    relit = _draw(pairs, number)[:, None] < RELIT
    pairs = torch.where(relit, pairs * (1 + GAIN * gain) + OFFSET * offset, pairs)
    noise = NOISE * _draw(pairs, number)[:, None] * torch.randn_like(pairs)
    return pairs + noise, field


def warped_pairs(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs whose second picture is warped by a flow that is nearly right, and what is left to find.

    Six in ten are; the others stay as they are, for the smallest pictures of a pyramid. What is left solves
    left(x) = flow(x) − warping flow(x + left(x)), by a few steps of fixed-point iteration.

    Args:
        frames: (B, 2, 3, H, W).
        flow: (B, 2, H, W) px, from the first to the second.

    Returns:
        (B, 2, 3, H, W) and flows (B, 2, H, W), px.
    """
    first, second = frames.unbind(dim=1)
    chosen = _draw(frames, len(frames)) < WARPED
    so_far = torch.where(chosen, flow + random_field(flow, MISTAKE_PX), torch.zeros_like(flow))
    left = flow - so_far
    for _ in range(FIXED_POINT_STEPS):
        left = flow - warp(so_far, left)
    pairs = torch.stack((first, torch.where(chosen, warp(second, so_far), second)), dim=1)
    return pairs, left


def random_field(like: Tensor, largest: float) -> Tensor:
    """Smooth random flows: the whole picture moves, and parts of it, down to a twelfth, against each other.

    Args:
        like: (B, …, H, W): how many, of which size, and where to compute.
        largest: standard deviation of the shift of the liveliest, px; most have less: it is multiplied by
            the square of a uniform random number.

    Returns:
        (B, 2, H, W) float32, px.

    Raises:
        UsageError: `largest` is negative.
    """
    if largest < 0:
        raise UsageError(f"largest is {largest}; expected 0 or more px")
    number, size = len(like), like.shape[-2:]
    amplitude = largest * _draw(like, number).square()
    field = torch.randn(number, 2, 1, 1, device=like.device).expand(-1, -1, *size)
    for cells, share in GRIDS:
        values = torch.randn(number, 2, cells, cells, device=like.device)
        field = field + share * functional.interpolate(values, size, mode="bicubic", align_corners=True)
    return amplitude * field


def _draw(like: Tensor, number: int) -> Tensor:
    """Uniform random numbers (number, 1, 1, 1)."""
    return torch.rand(number, 1, 1, 1, device=like.device)

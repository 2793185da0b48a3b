"""Residual pairs: training pairs whose second image is already warped.

A network for small motion runs from coarse to fine (`networks.coarse_to_fine`): on larger images the second
one is warped by the flow so far, and the network finds the residual flow, which is small and often zero. A
network trained on clips as they are has never seen such pairs. This module makes them. Half are neighboring
frames, warped by a part of a teacher's flow. The other half are single images, warped by smooth random flows,
so that the flow is known exactly (synthetic transformations: Rocco et al., arXiv 1703.05593). Neither half
needs labels. All random draws come from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.batch_share import draw
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.networks.frames import check_frames
from hidden_two_stream.motion.warp import warp

__all__ = ["MARGIN", "random_flow", "residual_pairs", "synthetic_pairs", "warped_pairs"]

MARGIN = 6
"""Warping needs a margin: the outer sixth of the images on each side, which is cut off at the end."""
GRIDS = ((3, 0.5), (6, 0.3), (12, 0.2))
FLOW_PX, ERROR_PX = 2.0, 1.4
WARPED, STILL, RELIT = 0.6, 0.1, 0.3
GAIN, OFFSET, NOISE = 0.1, 0.03, 0.012
FIXED_POINT_STEPS = 3


@torch.no_grad()
def residual_pairs(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Training pairs and their flow, the distillation target.

    Each pair of frames gives two of them.

    Args:
        frames: (B, 2, 3, H, W) in units of 255, mean subtracted.
        flow: (B, 2, h, w), a teacher's flow between them, in pixels of its own grid.

    Returns:
        (2B, 2, 3, H', W'), first those of `synthetic_pairs`, then those of `warped_pairs`, and their flows
        (2B, 1, 2, H', W') px. H' and W' are H and W without a sixth on each side.

    Raises:
        UsageError: `frames` has another shape.
    """
    check_frames(frames, 2)
    height, width = frames.shape[-2:]
    synthetic = synthetic_pairs(frames[:, 0])
    warped = warped_pairs(frames, resize_flow(flow, height, width))
    pairs, flows = (torch.cat(parts) for parts in zip(synthetic, warped, strict=True))
    top, left = height // MARGIN, width // MARGIN
    inner = (..., slice(top, height - top), slice(left, width - left))
    return pairs[inner], flows[inner][:, None]


def synthetic_pairs(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of each image warped by a smooth random flow, and the image itself.

    A tenth of the pairs has no motion. Some pairs get changed light, and all get noise.

    Convention: first(x) = second(x + flow(x)), pixel centers, `align_corners=False`.

    Args:
        images: (B, 3, H, W) in units of 255.

    Returns:
        (B, 2, 3, H, W), the warped image first, and the flow (B, 2, H, W) px. The flow is exact except where
        it points beyond the edges of the image.
    """
    number = len(images)
    flow = random_flow(images, FLOW_PX) * (_draw(images, number) >= STILL)
    pairs = torch.stack((warp(images, flow), images), dim=1)
    gain, offset = draw(torch.randn, 2, number, 2, 1, 1, 1, dim=1, device=pairs.device).unbind()
    relit = _draw(pairs, number)[:, None] < RELIT
    pairs = torch.where(relit, pairs * (1 + GAIN * gain) + OFFSET * offset, pairs)
    strength = NOISE * _draw(pairs, number)[:, None]
    noise = draw(torch.randn, *pairs.shape, device=pairs.device, dtype=pairs.dtype)
    return pairs + strength * noise, flow


def warped_pairs(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs with the second image warped by an approximate flow, and the residual.

    Six pairs in ten are warped. The others stay as they are, like the pairs on the coarsest images of a
    pyramid. The residual solves residual(x) = flow(x) − approximate(x + residual(x)), by a few steps of
    fixed-point iteration.

    Args:
        frames: (B, 2, 3, H, W).
        flow: (B, 2, H, W) px, from the first frame to the second.

    Returns:
        (B, 2, 3, H, W) and residual flows (B, 2, H, W) px.
    """
    first, second = frames.unbind(dim=1)
    chosen = _draw(frames, len(frames)) < WARPED
    approximate = torch.where(chosen, flow + random_flow(flow, ERROR_PX), torch.zeros_like(flow))
    residual = flow - approximate
    for _ in range(FIXED_POINT_STEPS):
        residual = flow - warp(approximate, residual)
    pairs = torch.stack((first, torch.where(chosen, warp(second, approximate), second)), dim=1)
    return pairs, residual


def random_flow(like: Tensor, largest: float) -> Tensor:
    """Smooth random flows: a shift of the whole image, and shifts of its parts.

    The smallest parts are a twelfth of the image.

    Args:
        like: (B, …, H, W): number of flows, size and device.
        largest: upper bound of the shift's standard deviation, px. Each flow's own is `largest` times the
            square of a uniform random number, so most have less.

    Returns:
        (B, 2, H, W) float32, px.

    Raises:
        UsageError: `largest` is negative.
    """
    if largest < 0:
        raise UsageError(f"largest is {largest}; expected 0 px or more")
    number, size = len(like), like.shape[-2:]
    amplitude = largest * _draw(like, number).square()
    flow = draw(torch.randn, number, 2, 1, 1, device=like.device).expand(-1, -1, *size)
    for cells, share in GRIDS:
        values = draw(torch.randn, number, 2, cells, cells, device=like.device)
        flow = flow + share * functional.interpolate(values, size, mode="bicubic", align_corners=True)
    return amplitude * flow


def _draw(like: Tensor, number: int) -> Tensor:
    """Uniform random numbers (number, 1, 1, 1)."""
    return draw(torch.rand, number, 1, 1, 1, device=like.device)

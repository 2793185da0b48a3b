"""Backward warping, and the one conversion from pixels to grid coordinates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["full_precision", "sampling_grid", "warp"]


def sampling_grid(flow: Tensor) -> Tensor:
    """Sampling coordinates for `grid_sample` of the points that a flow leads to.

    Convention: pixel centers, origin top left, `align_corners=False`. Pixel x of an image of width w lies at
    (2x + 1) / w − 1. So ±1 are the edges of the image and not the centers of its outermost pixels.

    Args:
        flow: (N, 2, h, w) in pixels of its own grid; channel 0 is u (right), channel 1 is v (down).

    Returns:
        (N, h, w, 2), at least float32: the point (x + u, y + v) of each pixel, in −1…1 inside the image.
    """
    flow = full_precision(flow)  # half precision is a fifth of a pixel off on a grid of 112
    height, width = flow.shape[-2:]
    x = (2 * torch.arange(width, device=flow.device, dtype=flow.dtype) + 1) / width - 1
    y = (2 * torch.arange(height, device=flow.device, dtype=flow.dtype) + 1) / height - 1
    place = torch.stack((x.expand(height, width), y[:, None].expand(height, width)))
    # With the channels apart in memory the sum is many times faster, and grid_sample accepts them so.
    points = torch.addcmul(place, flow, place.new_tensor([[[2 / width]], [[2 / height]]]))
    return points.permute(0, 2, 3, 1)


def full_precision(x: Tensor) -> Tensor:
    """`x` as float32 if it has half precision, else unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` where `flow` points.

    This is the inverse warp of spatial transformers (arXiv 1506.02025). With flow t → t+1 and `image` = frame
    t+1, the result is a reconstruction of frame t.

    Convention: pixel centers, `align_corners=False`, bilinear. A flow of whole pixels gives the shifted image
    exactly. Points outside the image take the nearest edge pixel.

    Args:
        image: (N, C, h, w).
        flow: (N, 2, h, w) in pixels of its own grid.

    Returns:
        (N, C, h, w), bilinear samples of `image` at (x + u, y + v).
    """
    grid = sampling_grid(flow)
    sampled = functional.grid_sample(
        image.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.to(image.dtype)

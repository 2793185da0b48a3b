"""Backward warping: the only place where pixels become sampling-grid coordinates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["full_precision", "sampling_grid", "warp"]


def sampling_grid(flow: Tensor) -> Tensor:
    """Turn a flow into the coordinates that `grid_sample` takes.

    Convention: pixel centres, origin top left, `align_corners=False`. Pixel x of a picture of width w
    lies at (2x + 1) / w − 1, so the picture's edges, not its outer pixel centres, are at ±1.

    Args:
        flow: (N, 2, h, w) in pixels of its own grid; channel 0 is u (right), channel 1 is v (down).

    Returns:
        (N, h, w, 2), at least float32, the point x + u, y + v for each pixel, in −1..1 inside the picture.
    """
    flow = full_precision(flow)  # half precision misses by a fifth of a pixel on a grid of 112
    height, width = flow.shape[-2:]
    x = (2 * torch.arange(width, device=flow.device, dtype=flow.dtype) + 1) / width - 1
    y = (2 * torch.arange(height, device=flow.device, dtype=flow.dtype) + 1) / height - 1
    place = torch.stack((x.expand(height, width), y[:, None].expand(height, width)))
    # Channels stay apart in memory, where the sum is many times faster; grid_sample takes them so.
    points = torch.addcmul(place, flow, place.new_tensor([[[2 / width]], [[2 / height]]]))
    return points.permute(0, 2, 3, 1)


def full_precision(x: Tensor) -> Tensor:
    """`x` as float32 where it is of half precision, else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` where `flow` points: the inverse warp of spatial transformers (arXiv 1506.02025).

    With flow t → t+1 and `image` = frame t+1, the result is a reconstruction of frame t.
    A flow of whole pixels gives the shifted image exactly; points outside take the nearest edge pixel.

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

"""Resizing and median filtering of flow.

For crops and flips see `video.transforms`. A flow is in pixels of its own grid, channel 0 = u (right
positive), channel 1 = v (down positive). So resizing changes the values of its vectors as well as their
places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hidden_two_stream.errors import UsageError

__all__ = ["median_filter", "resize_flow"]


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow to another grid and scale its values to pixels of that grid.

    Convention:
        - u is multiplied by width / w and v by height / h: the same motion relative to the image.
        - Bilinear with `align_corners=False`: pixel x of the new grid has its center at
          (x + 0.5) * w / width - 0.5 of the old grid. Edge values continue beyond the outermost centers.
        - No low-pass filter when shrinking.

    Args:
        flow: (..., 2, h, w) floating point, any leading dimensions, px of the h x w grid.
        height: rows of the result.
        width: columns of the result.

    Returns:
        (..., 2, height, width), px of the new grid; `flow` itself if the size is the same.

    Raises:
        UsageError: `flow` does not have two channels, or the new size is not positive.
    """
    _check_channels(flow)
    if height < 1 or width < 1:
        raise UsageError(f"got {height} x {width} as flow size; expected at least 1 x 1; pass larger sides")
    h, w = flow.shape[-2:]
    if (h, w) == (height, width):
        return flow
    planes, across, down = flow.reshape(-1, 2, h, w), width / w, height / h
    scaled = planes * (across if across == down else flow.new_tensor([[[across]], [[down]]]))
    moved = F.interpolate(scaled, size=(height, width), mode="bilinear", align_corners=False)
    return moved.reshape(*flow.shape[:-2], height, width)


def median_filter(flow: Tensor) -> Tensor:
    """Remove single outliers from a flow by a separable 5×5 median filter.

    Medians over 5 rows come first, then medians over 5 columns. Edges repeat. Median filtering between the
    steps of a coarse-to-fine method: Sun, Roth and Black, CVPR 2010. Medians of whole 5×5 windows are a
    little better but need sorting.

    Args:
        flow: (N, 2, h, w).

    Returns:
        (N, 2, h, w), in the same unit.
    """
    height, width = flow.shape[-2:]
    padded = F.pad(flow, (2, 2, 2, 2), mode="replicate")
    rows = _median_of_five([padded[..., place : place + height, :] for place in range(5)])
    return _median_of_five([rows[..., place : place + width] for place in range(5)])


def _check_channels(flow: Tensor) -> None:
    if flow.ndim < 3 or flow.shape[-3] != 2:
        raise UsageError(
            f"got a flow of shape {tuple(flow.shape)}; expected (..., 2, h, w); make u, v the third last axis"
        )


def _median_of_five(x: list[Tensor]) -> Tensor:
    """Median of five tensors, element by element.

    The least and the greatest of four elements can't be the median, which leaves three candidates.
    """
    low = torch.maximum(torch.minimum(x[0], x[1]), torch.minimum(x[2], x[3]))
    high = torch.minimum(torch.maximum(x[0], x[1]), torch.maximum(x[2], x[3]))
    return torch.maximum(torch.minimum(low, high), torch.minimum(torch.maximum(low, high), x[4]))

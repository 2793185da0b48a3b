"""Resizing a picture changes the values of its flow, too (for crops and mirrors see `video.transforms`).

A flow is given in pixels of its own grid, channel 0 = u (right positive), channel 1 = v (down positive),
so moving its vectors to another place is not enough: their values change as well.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hidden_two_stream.errors import UsageError

__all__ = ["resize_flow"]


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow to another grid, and scale its values so that it is in pixels of that grid.

    Convention:
        - u is multiplied by width / w and v by height / h: the same motion relative to the picture.
        - Bilinear with `align_corners=False`: pixel x of the new grid has its centre at
          (x + 0.5) * w / width - 0.5 of the old grid; beyond the outermost centres the edge value holds.
        - No low-pass filter when shrinking, as for every bilinear resize here.

    Args:
        flow: (..., 2, h, w) floating point, any number of leading dimensions, px of the h x w grid.
        height: rows of the result.
        width: columns of the result.

    Returns:
        (..., 2, height, width), px of the new grid; `flow` itself when the size is the same.

    Raises:
        UsageError: `flow` has not two channels, or the size asked for is not positive.
    """
    _check_channels(flow)
    if height < 1 or width < 1:
        raise UsageError(f"got {height} x {width} as flow size; expected at least 1 x 1; ask for more")
    h, w = flow.shape[-2:]
    if (h, w) == (height, width):
        return flow
    planes, across, down = flow.reshape(-1, 2, h, w), width / w, height / h
    scaled = planes * (across if across == down else flow.new_tensor([[[across]], [[down]]]))
    moved = F.interpolate(scaled, size=(height, width), mode="bilinear", align_corners=False)
    return moved.reshape(*flow.shape[:-2], height, width)


def _check_channels(flow: Tensor) -> None:
    if flow.ndim < 3 or flow.shape[-3] != 2:
        raise UsageError(
            f"got a flow of shape {tuple(flow.shape)}; expected (..., 2, h, w); move the u, v axis there"
        )

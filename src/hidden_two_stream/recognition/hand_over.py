"""The hand-over: hidden flow becomes the input of the temporal stream, as images of flow were before.

Source: the paper's section on stacking MotionNet and the temporal stream, and the layers between the two in
the authors' published network definition.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.warp import full_precision

__all__ = ["FLOW_LIMIT_PX", "Border", "hand_over"]

FLOW_LIMIT_PX = 20.0
"""`hand_over` clamps flow to ±20 px of the input (the authors' published network definition)."""

Border = Literal["edge", "reference"]
"""Values beyond the border in bilinear upsampling: the nearest flow, or the reference's zeros."""


def hand_over(
    flow: Tensor, height: int, width: int, limit_px: float = FLOW_LIMIT_PX, border: Border = "edge"
) -> Tensor:
    """Turn hidden flow into the input of the temporal stream.

    This is the hand-over from flow to action in the authors' published network definition. It scales the flow
    to pixels of the input, clamps it to ±`limit_px`, maps it linearly to 0…255, resizes it bilinearly to the
    size of the input, and subtracts 128. Every step is differentiable, so the action loss reaches MotionNet.

    Args:
        flow: (B, T−1, 2, h, w), in pixels of its own grid: the finest pyramid level.
        height: height of the input frames, px.
        width: width of the input frames, px.
        limit_px: largest motion that stays distinguishable, px of the input.
        border: values beyond the border in the resizing. "edge" repeats the nearest flow. "reference" uses
            zeros, as the reference's deconvolution does: the outermost pixels get darker, and the authors'
            weights expect that.

    Returns:
        (B, 2(T−1), height, width): u and v of each frame pair, in −128…127.

    Raises:
        UsageError: the border is unknown.
    """
    if border not in ("edge", "reference"):
        raise UsageError(f"unknown border {border!r}; choose edge or reference")
    exact = full_precision(flow)  # bfloat16 has steps of 1 near 128: 0.16 px
    scale = exact.new_tensor((width / flow.shape[-1], height / flow.shape[-2])).view(2, 1, 1)
    levels = ((exact * scale).clamp(-limit_px, limit_px) + limit_px) * (255 / (2 * limit_px))
    if border == "edge":
        resized = functional.interpolate(
            levels.flatten(1, 2), size=(height, width), mode="bilinear", align_corners=False
        )
    else:
        resized = _resize_over_zeros(levels.flatten(1, 2), height, width)
    return (resized - 128).to(flow.dtype)


def _resize_over_zeros(x: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, h, w) bilinearly to (B, C, height, width), with zeros beyond the border.

    Convention: pixel centers, `align_corners=False`. For factor 2 the result equals the reference's 4×4
    deconvolution.
    """
    batch = x.shape[0]  # len() would fix the batch of an export
    identity = torch.eye(2, 3, device=x.device, dtype=x.dtype).expand(batch, 2, 3)
    grid = functional.affine_grid(identity, [batch, 1, height, width], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

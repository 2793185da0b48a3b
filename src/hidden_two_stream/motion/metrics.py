"""End-point error: the distance of a flow from the true one.

Reference: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011, section 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError

__all__ = ["endpoint_error", "endpoint_error_map"]


def endpoint_error_map(flow: Tensor, target: Tensor) -> Tensor:
    """End-point error of each pixel: sqrt((u - u*)^2 + (v - v*)^2).

    Args:
        flow: (..., 2, h, w) px.
        target: the true flow, of exactly the same shape; nothing is broadcast.

    Returns:
        (..., h, w) px, at least float32; not finite where either flow is not finite.

    Raises:
        UsageError: the shapes differ, or there are not two channels.
    """
    if flow.shape != target.shape:
        raise UsageError(
            f"got flows of shapes {tuple(flow.shape)} and {tuple(target.shape)}; expected equal shapes; "
            "bring one to the other's grid with resize_flow"
        )
    if flow.ndim < 3 or flow.shape[-3] != 2:
        raise UsageError(
            f"got flows of shape {tuple(flow.shape)}; expected (..., 2, h, w); make u, v the third last axis"
        )
    # From 128 px on, float16 has steps of 1/8 px and bfloat16 of 1 px: subtract in at least float32.
    dtype = torch.promote_types(torch.promote_types(flow.dtype, target.dtype), torch.float32)
    error: Tensor = torch.linalg.vector_norm(flow.to(dtype) - target.to(dtype), dim=-3)
    return error


def endpoint_error(flow: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean end-point error in px, over all pixels or over a mask.

    Args:
        flow: (..., 2, h, w) px.
        target: the true flow, of exactly the same shape. The caller must mask out pixels whose true flow is
            unknown.
        mask: bool, broadcastable to (..., h, w); True = counted. None counts all pixels. Values under False
            have no influence, not even NaN.

    Returns:
        A scalar tensor. NaN if no pixel counts, since 0 would read as a perfect flow.

    Raises:
        UsageError: the shapes don't match, or `mask` is not bool.
    """
    error = endpoint_error_map(flow, target)
    if mask is None:
        return error.mean()
    if mask.dtype != torch.bool:
        raise UsageError(f"got a mask of {mask.dtype}; expected torch.bool (True = counted); use mask != 0")
    try:
        mask = mask.expand(error.shape)
    except RuntimeError:
        raise UsageError(
            f"got a mask of shape {tuple(mask.shape)}; expected one that broadcasts to {tuple(error.shape)}; "
            "give one value per pixel, without a channel axis"
        ) from None
    return error[mask].mean()

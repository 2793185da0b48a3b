"""Any input size for networks with a total stride: pad before, crop the flow after."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

__all__ = ["pad_frames", "trim_pyramid"]


def pad_frames(frames: Tensor, multiple: int) -> Tensor:
    """Pad `frames` (B, T, 3, H, W) at the right and bottom with edge pixels to multiples of `multiple`.

    The origin stays top left, so flow in pixels needs no correction.
    """
    height, width = frames.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return frames
    merged = functional.pad(frames.flatten(1, 2), (0, right, 0, bottom), mode="replicate")
    padded: Tensor = merged.unflatten(1, frames.shape[1:3])
    return padded


def trim_pyramid(pyramid: list[Tensor], frames: Tensor, padded: Tensor) -> list[Tensor]:
    """Crop each flow (B, T−1, 2, h, w) of the padded input to the part that shows `frames`."""
    if padded.shape == frames.shape:
        return pyramid
    height, width = frames.shape[-2:]
    trimmed = []
    for flow in pyramid:
        stride = padded.shape[-1] // flow.shape[-1]
        trimmed.append(flow[..., : math.ceil(height / stride), : math.ceil(width / stride)])
    return trimmed

"""Any input size for networks with a total stride: pad before, bring the flow back after."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from hidden_two_stream.motion.flow import resize_flow

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


def trim_pyramid(pyramid: list[Tensor], size: Sequence[int], padded: Sequence[int]) -> list[Tensor]:
    """Bring each flow (B, T−1, 2, h, w) of pictures padded to `padded` to a grid that spans exactly `size`.

    A level of stride s gets ⌈H/s⌉ × ⌈W/s⌉ points. Where s does not divide a side, cropping whole cells would
    leave a grid that shows more than the picture, and every later resize would scale flow and place wrongly;
    so the flow is cropped at full resolution and sampled anew. Sizes are (height, width), px.
    """
    if tuple(padded) == tuple(size):
        return pyramid
    height, width = size
    trimmed = []
    for flow in pyramid:
        stride = padded[1] // flow.shape[-1]
        visible = resize_flow(flow, padded[0], padded[1])[..., :height, :width]
        trimmed.append(resize_flow(visible, math.ceil(height / stride), math.ceil(width / stride)))
    return trimmed

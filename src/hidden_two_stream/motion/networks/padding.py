"""What networks take: clips of the right shape, of any size; padded before, their flow brought back after."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow

__all__ = ["check_frames", "pad_frames", "stack_frames", "trim_pyramid"]


def check_frames(frames: Tensor, num_frames: int = 0) -> None:
    """Refuse what is no (B, T, 3, H, W) with T = `num_frames`; 0: any T from 2 on.

    Raises:
        UsageError: it is not, or there are no pixels.
    """
    fits = frames.ndim == 5 and frames.shape[2] == 3 and frames.shape[-1] > 0 and frames.shape[-2] > 0
    if not fits or frames.shape[1] != (num_frames or max(2, frames.shape[1])):
        raise UsageError(
            f"got frames of shape {tuple(frames.shape)}; expected (B, {num_frames or 'T'}, 3, H, W)"
            + ("" if num_frames else " with T from 2 on")
        )


def stack_frames(frames: Tensor, num_frames: int, multiple: int) -> Tensor:
    """`frames` (B, T, 3, H, W), padded, as (B, 3T, h, w): time and colour merge here, and only here.

    Raises:
        UsageError: `frames` has another shape, or T is not `num_frames`.
    """
    check_frames(frames, num_frames)
    return pad_frames(frames, multiple).flatten(1, 2)


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

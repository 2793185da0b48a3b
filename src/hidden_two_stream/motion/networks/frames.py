"""Frames of any size and number: checks, padding and trimming, and windows for networks of few frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow

__all__ = [
    "check_frames",
    "check_num_frames",
    "flow_in_windows",
    "pad_frames",
    "stack_frames",
    "trim_pyramid",
]


def check_frames(frames: Tensor, num_frames: int = 0) -> None:
    """Reject `frames` that are not (B, T, 3, H, W) with T = `num_frames`.

    `num_frames` = 0 accepts any T ≥ 2.

    Raises:
        UsageError: the shape is another one, or there are no pixels.
    """
    fits = frames.ndim == 5 and frames.shape[2] == 3 and frames.shape[-1] > 0 and frames.shape[-2] > 0
    if not fits or frames.shape[1] != (num_frames or max(2, frames.shape[1])):
        raise UsageError(
            f"got frames of shape {tuple(frames.shape)}; expected (B, {num_frames or 'T'}, 3, H, W)"
            + ("" if num_frames else " with T ≥ 2")
        )


def stack_frames(frames: Tensor, num_frames: int, multiple: int) -> Tensor:
    """`frames` (B, T, 3, H, W), padded and stacked as (B, 3T, h, w).

    Channel 3t + c is color c of frame t. Time and color merge here, and only here. For `multiple` see
    `pad_frames`.

    Raises:
        UsageError: `frames` has another shape, or T is not `num_frames`.
    """
    check_frames(frames, num_frames)
    return pad_frames(frames, multiple).flatten(1, 2)


def pad_frames(frames: Tensor, multiple: int) -> Tensor:
    """Pad `frames` (B, T, 3, H, W) to sides that are multiples of `multiple` px.

    Convention: padding repeats the edge pixels at the right and bottom. The origin stays top left, so flow in
    pixels needs no correction.
    """
    height, width = frames.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return frames
    merged = functional.pad(frames.flatten(1, 2), (0, right, 0, bottom), mode="replicate")
    padded: Tensor = merged.unflatten(1, frames.shape[1:3])
    return padded


def trim_pyramid(pyramid: list[Tensor], size: Sequence[int], padded: Sequence[int]) -> list[Tensor]:
    """Flows of padded frames, on grids that cover exactly the original frames.

    Convention: a level of stride s gets ⌈H/s⌉ × ⌈W/s⌉ points that together cover H × W, pixel centers,
    `align_corners=False`. Where s does not divide a side, whole cells would cover more than the image, and
    each later resize would scale and place the flow wrongly. So the flow is cropped at full resolution and
    then resampled.

    Args:
        pyramid: flows (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        size: height and width of the frames, px.
        padded: height and width of the padded frames, px.

    Returns:
        Flows (B, T−1, 2, ⌈H/s⌉, ⌈W/s⌉) in pixels of their own grids.
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


def check_num_frames(num_frames: int, window: int | None = None) -> None:
    """Reject clips without a pair of frames, and windows that don't fill the clip.

    Args:
        num_frames: frames of a clip.
        window: frames of each window; windows share one frame with the next. None: the whole clip.

    Raises:
        UsageError: `num_frames` or `window` is below 2, or `num_frames` − 1 is no multiple of `window` − 1.
    """
    if window is None:
        if num_frames < 2:
            raise UsageError(f"motion needs at least 2 frames, got {num_frames}; give more")
    elif num_frames < 2 or window < 2 or (num_frames - 1) % (window - 1):
        raise UsageError(
            f"clips of {num_frames} frames cannot be cut into windows of {window} that share one frame; "
            "expected at least 2 frames each, and a clip length of 1 + a multiple of the window length − 1"
        )


def flow_in_windows(network: Callable[[Tensor], list[Tensor]], frames: Tensor, length: int) -> list[Tensor]:
    """Flow pyramid of a clip by a network for fewer frames.

    The two-frame MotionNet is such a network. The clip is cut into windows of `length` frames. Each shares
    one frame with the next, and all run as one batch.

    Args:
        network: takes (N, length, 3, H, W).
        frames: (B, T, 3, H, W); T − 1 is a multiple of `length` − 1.
        length: frames per window, at least 2.

    Returns:
        Flows (B, T−1, 2, h, w), finest first.

    Raises:
        UsageError: the windows don't fill the clip.
    """
    batch, total = frames.shape[:2]
    if total == length:
        return network(frames)
    check_num_frames(total, length)
    starts = range(0, total - 1, length - 1)
    windows = torch.stack([frames[:, start : start + length] for start in starts], dim=1)
    pyramid = network(windows.flatten(0, 1))
    return [level.unflatten(0, (batch, len(starts))).flatten(1, 2) for level in pyramid]

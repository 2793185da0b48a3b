"""Windows: networks for few frames on longer clips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError

__all__ = ["check_num_frames", "flow_in_windows"]


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

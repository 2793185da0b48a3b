"""The MotionNet family by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.motionnet import MotionNet, TinyMotionNet
from hidden_two_stream.motion.networks.nano import NanoMotionNet
from hidden_two_stream.motion.networks.relatives import FlowNetS, ResNet50MotionNet, VGG16MotionNet

__all__ = ["MOTION_NETWORKS", "PAIRWISE", "build_motion", "flow_in_windows"]

MOTION_NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "full": MotionNet,
    "tiny": TinyMotionNet,
    "nano": NanoMotionNet,
    "nano-fine": partial(NanoMotionNet, finest_passes=3),
    "vgg16": VGG16MotionNet,
    "resnet50": ResNet50MotionNet,
    "flownets": FlowNetS,
}

PAIRWISE = ("nano", "nano-fine")
"""Members that see each pair of frames by itself, any number of frames, and enlarge small pictures."""


def build_motion(name: str, num_frames: int = 11) -> nn.Module:
    """A fresh member of the MotionNet family, one of `MOTION_NETWORKS`.

    Raises:
        UsageError: the name is unknown, or fewer than two frames are asked for.
    """
    if name not in MOTION_NETWORKS:
        raise UsageError(f"unknown motion network {name!r}; choose one of {', '.join(MOTION_NETWORKS)}")
    if num_frames < 2:
        raise UsageError(f"motion needs at least 2 frames, got {num_frames}")
    return MOTION_NETWORKS[name](num_frames)


def flow_in_windows(network: Callable[[Tensor], list[Tensor]], frames: Tensor, length: int) -> list[Tensor]:
    """Flow pyramid of a clip by a network for fewer frames, such as the two-frame MotionNet.

    The clip is cut into windows of `length` frames that share one frame with the next, all run as one batch.

    Args:
        network: takes (N, length, 3, H, W).
        frames: (B, T, 3, H, W); T − 1 is a multiple of `length` − 1.
        length: frames per window, at least 2.

    Returns:
        Flows (B, T−1, 2, h, w), finest first.

    Raises:
        UsageError: T − 1 is no multiple of `length` − 1.
    """
    batch, total = frames.shape[:2]
    if total == length:
        return network(frames)
    if length < 2 or total < 2 or (total - 1) % (length - 1):
        raise UsageError(
            f"clips of {total} frames cannot be cut into windows of {length} that share one frame"
        )
    starts = range(0, total - 1, length - 1)
    windows = torch.stack([frames[:, start : start + length] for start in starts], dim=1)
    pyramid = network(windows.flatten(0, 1))
    return [level.unflatten(0, (batch, len(starts))).flatten(1, 2) for level in pyramid]

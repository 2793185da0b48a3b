"""Motion networks by name, and the interface that they share.

`frames` (B, T, 3, H, W) → flow pyramid: a list of flows (B, T−1, 2, h, w), finest first, each in pixels of
its own grid, from frame t to frame t+1.

Any H and W: a network pads sides that are no multiple of its total stride at the right and bottom, and
returns flow that covers exactly the input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.flownets import FlowNetS
from hidden_two_stream.motion.networks.frames import check_num_frames
from hidden_two_stream.motion.networks.motionnet import MotionNet
from hidden_two_stream.motion.networks.nano import NanoMotionNet
from hidden_two_stream.motion.networks.resnet50 import ResNet50MotionNet
from hidden_two_stream.motion.networks.tiny import TinyMotionNet
from hidden_two_stream.motion.networks.vgg16 import VGG16MotionNet

__all__ = ["MOTION_NETWORKS", "PAIRWISE", "MotionNetwork", "PairwiseNetwork", "build_motion"]


class MotionNetwork(Protocol):
    """The interface of every motion network.

    Attributes:
        num_frames: T that the network is built for.
        total_stride: the network pads its input to multiples of this, px.
        action_channels: channels of `action_features`.
        action_stride: px of the padded input per point of `action_features`.
    """

    num_frames: int
    total_stride: int
    action_channels: int
    action_stride: int

    def features(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → the encoder's features, finest first."""

    def action_features(self, features: list[Tensor]) -> Tensor:
        """Input of a branched temporal stream: (B, `action_channels`, h, w).

        Usually the coarsest features.
        """

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → flow pyramid (B, T−1, 2, h, w), finest first."""

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → flow pyramid (B, T−1, 2, h, w), finest first."""


@runtime_checkable
class PairwiseNetwork(Protocol):
    """What networks that see each pair of frames by itself offer besides `MotionNetwork`.

    Attributes:
        pair_channels: channels of the maps of `pair_features`.
    """

    pair_channels: int

    def pair_features(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features → maps (B, T−1, `pair_channels`, h, w), and flow (B, T−1, 2, 2h, 2w) on the same area."""


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
"""Networks that see each pair of frames by itself: they take any T ≥ 2, and enlarge small images."""


def build_motion(name: str, num_frames: int = 11) -> nn.Module:
    """A new motion network with random weights.

    Args:
        name: one of `MOTION_NETWORKS`.
        num_frames: T, frames per clip, at least 2.

    Raises:
        UsageError: the name is unknown, or `num_frames` is below 2.
    """
    if name not in MOTION_NETWORKS:
        raise UsageError(f"unknown motion network {name!r}; choose one of {', '.join(MOTION_NETWORKS)}")
    check_num_frames(num_frames)
    return MOTION_NETWORKS[name](num_frames)

"""Tiny-MotionNet: four convolutions and MotionNet's decoder, 1.95 M parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hidden_two_stream.motion.networks.frames import stack_frames
from hidden_two_stream.motion.networks.motionnet import add_decoder, conv, decode, msra_init, to_pyramid

__all__ = ["TinyMotionNet"]

FIRST_FLOW_FACTOR = 0.1


class TinyMotionNet(nn.Module):
    """Tiny-MotionNet, with flow at 1/2, 1/4 and 1/8 of the input.

    The authors' definition is lost. This one follows the description of a public re-implementation, whose
    size agrees with the 8 MB that the paper reports. Units and directions as in `MotionNet`. The initial flow
    is near zero.

    Args:
        num_frames: T, frames per clip.
    """

    total_stride = 8
    action_stride = 8

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.action_channels = 128
        self.conv1 = conv(3 * num_frames, 64, kernel=7)
        self.conv2 = conv(64, 128, kernel=5, stride=2)
        self.conv3 = conv(128, 256, stride=2)
        self.conv4 = conv(256, 128, stride=2)
        add_decoder(self, (64, 128, 256, 128), (128, 64), 2 * (num_frames - 1))
        msra_init(self)
        self._shrink_first_flow()

    def _shrink_first_flow(self) -> None:
        """Multiply the weights of the flow predictors (conv_pr) by 0.1, in place.

        With the weights of `msra_init` the first flows are tens of pixels. Training then spends its first
        steps on getting rid of them, and is slow to learn anything but zero flow afterward
        (docs/decisions.md).
        """
        with torch.no_grad():
            for name, layer in self.named_children():
                if name.startswith("conv_pr"):
                    layer.get_parameter("weight").mul_(FIRST_FLOW_FACTOR)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of the four convolutions, (B, C, h, w), at 1/1 … 1/8 of the padded input."""
        features = []
        x = stack_frames(frames, self.num_frames, self.total_stride)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x)
            features.append(x)
        return features

    def action_features(self, features: list[Tensor]) -> Tensor:
        """The last convolution: (B, 128, H/8, W/8)."""
        return features[-1]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 3 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return to_pyramid(decode(self, features, 3), frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)

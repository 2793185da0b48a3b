"""The MotionNet family: frames in, a pyramid of flow fields out (the paper's MotionNet).

All members share one interface, so that they can stand in for each other:

    features = network.features(frames)          what the encoder sees
    pyramid = network.flow(features, frames)     what the decoder makes of it
    pyramid = network(frames)                    both

`frames` (B, T, 3, H, W) → list of `flow` (B, T−1, 2, h, w), finest first, each in pixels of its own grid,
direction t → t+1. Any H and W: sides that are no multiple of the network's total stride are padded at the
right and bottom with edge pixels, and the flow is brought back to the picture. A branched temporal stream
reads `action_features(features)`, (B, `action_channels`, h, w), one every `action_stride` pixels of the
padded input: the coarsest of the encoder, or what else the network says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from hidden_two_stream.motion.networks.decoder import (
    add_decoder,
    begin_near_zero,
    conv,
    decode,
    msra_init,
    raw_to_pixels,
)
from hidden_two_stream.motion.networks.padding import stack_frames, trim_pyramid

__all__ = ["MOTIONNET_WIDTHS", "MotionNet", "MotionNetwork", "TinyMotionNet"]

MOTIONNET_WIDTHS = (64, 128, 256, 512, 512, 1024)


class MotionNetwork(Protocol):
    """What every member of the family offers; see the module's text."""

    num_frames: int
    total_stride: int
    action_channels: int
    action_stride: int

    def features(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → the encoder's features, finest first."""

    def action_features(self, features: list[Tensor]) -> Tensor:
        """What a branched temporal stream sees: (B, `action_channels`, h, w)."""

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → flow pyramid (B, T−1, 2, h, w), finest first."""

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → flow pyramid (B, T−1, 2, h, w), finest first."""


class MotionNet(nn.Module):
    """MotionNet, layer by layer as the authors' published network definition.

    `num_frames` = 11 gives the paper's network (33 → 20 channels, 42.32 M parameters);
    `num_frames` = 2 gives the two-frame variant. Flow comes at 5 levels: 1/2, 1/4, 1/8, 1/16 and 1/32
    of the input. Raw output × 20 is pixels at input resolution; `forward` returns pixels of each
    level's grid. `widths` are the channels of blocks 1 to 6.
    """

    total_stride = 32
    action_stride = 32

    def __init__(self, num_frames: int = 11, widths: Sequence[int] = MOTIONNET_WIDTHS) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.action_channels = widths[-1]
        previous = 3 * num_frames
        for block, width in enumerate(widths, start=1):
            self.add_module(f"conv{block}", conv(previous, width, stride=1 if block == 1 else 2))
            self.add_module(f"conv{block}_1", conv(width, width))
            previous = width
        # Levels 5 to 2 have 512, 256, 128 and 64 channels: those of the encoder's blocks 4 to 1.
        add_decoder(self, widths, tuple(reversed(widths[:4])), 2 * (num_frames - 1))
        msra_init(self)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of blocks 1..6, each (B, C, h, w), at 1/1 … 1/32 of the padded input."""
        features = []
        x = stack_frames(frames, self.num_frames, self.total_stride)
        for block in range(1, 7):
            x = self.get_submodule(f"conv{block}_1")(self.get_submodule(f"conv{block}")(x))
            features.append(x)
        return features

    def action_features(self, features: list[Tensor]) -> Tensor:
        """Block 6: (B, 1024, H/32, W/32)."""
        return features[-1]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features of blocks 1..6 → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return to_pyramid(decode(self, features, 5), frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return self.flow(self.features(frames), frames)


class TinyMotionNet(nn.Module):
    """Tiny-MotionNet: 1.95 M parameters, flow at 1/2, 1/4 and 1/8 of the input.

    The authors' definition is lost; this follows a public re-implementation's description, whose size
    agrees with the 8 MB that the paper reports. Units and directions as in `MotionNet`. It begins
    near zero flow.
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
        begin_near_zero(self)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of the four convolutions, each (B, C, h, w), at 1/1 … 1/8 of the padded input."""
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
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return self.flow(self.features(frames), frames)


def to_pyramid(raw: list[Tensor], frames: Tensor, total_stride: int) -> list[Tensor]:
    """Raw outputs (B, 2(T−1), h, w) for padded `frames` → flows (B, T−1, 2, h, w) that span `frames`."""
    height, width = frames.shape[-2:]
    padded = (height + -height % total_stride, width + -width % total_stride)
    return trim_pyramid(raw_to_pixels(raw, padded[1]), (height, width), padded)

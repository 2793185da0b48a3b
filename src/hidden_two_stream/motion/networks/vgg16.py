"""VGG16-MotionNet: VGG16 as encoder, and MotionNet's decoder."""

from __future__ import annotations

from torch import Tensor, nn

from hidden_two_stream.convnets import VGG16_WIDTHS, init_trunk, vgg16_features, vgg16_pyramid
from hidden_two_stream.motion.networks.frames import stack_frames
from hidden_two_stream.motion.networks.motionnet import (
    DECODER_WIDTHS,
    add_decoder,
    decode,
    msra_init,
    to_pyramid,
)

__all__ = ["VGG16MotionNet"]


class VGG16MotionNet(nn.Module):
    """MotionNet with the convolutional part of VGG16 as encoder.

    Our reading: the paper names this network, but we found no publication of its layers. The last convolution
    of each block, before the pooling, replaces conv{k}_1, and the last pooling replaces conv6_1. Strides and
    decoder are those of MotionNet.

    Args:
        num_frames: T, frames per clip.
    """

    total_stride = 32
    action_stride = 32

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.action_channels = VGG16_WIDTHS[-1]
        self.encoder = vgg16_features(3 * num_frames)
        init_trunk(self)
        decoder = nn.Module()
        add_decoder(decoder, (*VGG16_WIDTHS, VGG16_WIDTHS[-1]), DECODER_WIDTHS, 2 * (num_frames - 1))
        msra_init(decoder)
        self.decoder = decoder

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of the five blocks and of the last pooling, (B, C, h, w), at 1/1 … 1/32."""
        return vgg16_pyramid(self.encoder, stack_frames(frames, self.num_frames, self.total_stride))

    def action_features(self, features: list[Tensor]) -> Tensor:
        """The last pooling: (B, 512, H/32, W/32), the input of VGG16's fc6."""
        return features[-1]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return to_pyramid(decode(self.decoder, features, 5), frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)

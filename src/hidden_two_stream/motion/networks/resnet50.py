"""ResNet50-MotionNet: ResNet-50 as encoder, and MotionNet's decoder."""

from __future__ import annotations

from torch import Tensor, nn

from hidden_two_stream.convnets import add_resnet, init_trunk, resnet_pyramid
from hidden_two_stream.motion.networks.frames import stack_frames
from hidden_two_stream.motion.networks.motionnet import (
    DECODER_WIDTHS,
    add_decoder,
    decode,
    msra_init,
    to_pyramid,
)

__all__ = ["ResNet50MotionNet"]


class ResNet50MotionNet(nn.Module):
    """MotionNet with the convolutional part of ResNet-50 as encoder.

    Our reading: the paper names this network, but we found no publication of its layers. The stem (1/2) and
    the four stages (1/4 … 1/32) replace conv2_1 … conv6_1. The decoder is MotionNet's.

    Args:
        num_frames: T, frames per clip.
    """

    total_stride = 32
    action_stride = 32

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.encoder = nn.Module()
        self.action_channels = add_resnet(self.encoder, "resnet50", 3 * num_frames)
        init_trunk(self)
        decoder = nn.Module()
        # The finest level has no features: ResNet begins with a stride of 2.
        add_decoder(decoder, (0, 64, 256, 512, 1024, 2048), DECODER_WIDTHS, 2 * (num_frames - 1))
        msra_init(decoder)
        self.decoder = decoder

    def features(self, frames: Tensor) -> list[Tensor]:
        """An empty level, the stem and the four stages, (B, C, h, w), at 1/1, 1/2 … 1/32."""
        x = stack_frames(frames, self.num_frames, self.total_stride)
        return [x[:, :0], *resnet_pyramid(self.encoder, x)]

    def action_features(self, features: list[Tensor]) -> Tensor:
        """The last stage: (B, 2048, H/32, W/32)."""
        return features[-1]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return to_pyramid(decode(self.decoder, features, 5), frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)

"""FlowNetS, the supervised network from which MotionNet descends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hidden_two_stream.motion.networks.frames import stack_frames
from hidden_two_stream.motion.networks.motionnet import Deconv, conv, msra_init, to_pyramid

__all__ = ["FlowNetS"]


class FlowNetS(nn.Module):
    """FlowNetSimple (Dosovitskiy et al., arXiv 1504.06852).

    conv6_1 follows its authors' released definition. MotionNet differs in three points: its first layers are
    3×3 convolutions at full resolution, a smooth_conv stands between each concatenation and the next
    deconvolution, and there is one finer level. `num_frames` = 2 is the original; more frames are stacked as
    in MotionNet. Flow comes at 1/4 … 1/64 of the input, and raw × 20 = pixels, as in MotionNet (and in the
    original). All biases are trained except those of the layers that upsample flow.

    Args:
        num_frames: T, frames per clip.
    """

    total_stride = 64
    action_stride = 64

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.action_channels = 1024
        flow_channels = 2 * (num_frames - 1)
        self.conv1 = conv(3 * num_frames, 64, kernel=7, stride=2)
        self.conv2 = conv(64, 128, kernel=5, stride=2)
        self.conv3 = conv(128, 256, kernel=5, stride=2)
        self.conv3_1 = conv(256, 256)
        self.conv4, self.conv4_1 = conv(256, 512, stride=2), conv(512, 512)
        self.conv5, self.conv5_1 = conv(512, 512, stride=2), conv(512, 512)
        self.conv6, self.conv6_1 = conv(512, 1024, stride=2), conv(1024, 1024)
        self.predict_flow6 = nn.Conv2d(1024, flow_channels, 3, padding=1)
        previous = 1024
        for level, width, skip in ((5, 512, 512), (4, 256, 512), (3, 128, 256), (2, 64, 128)):
            deconvolution = nn.ConvTranspose2d(previous, width, 4, 2, 1)
            self.add_module(f"deconv{level}", nn.Sequential(deconvolution, nn.LeakyReLU(0.1)))
            self.add_module(f"upsample_flow{level + 1}to{level}", Deconv(flow_channels, flow_channels))
            previous = skip + width + flow_channels
            self.add_module(f"predict_flow{level}", nn.Conv2d(previous, flow_channels, 3, padding=1))
        msra_init(self)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, … 1/64 of the padded input, each (B, C, h, w)."""
        x = self.conv1(stack_frames(frames, self.num_frames, self.total_stride))
        features = [x, self.conv2(x)]
        for block in (3, 4, 5, 6):
            x = self.get_submodule(f"conv{block}_1")(self.get_submodule(f"conv{block}")(features[-1]))
            features.append(x)
        return features

    def action_features(self, features: list[Tensor]) -> Tensor:
        """Block 6: (B, 1024, H/64, W/64)."""
        return features[-1]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 5 flows (B, T−1, 2, h, w), finest (quarter resolution) first."""
        x = features[-1]
        raw = [self.predict_flow6(x)]
        for level in (5, 4, 3, 2):
            upsampled = self.get_submodule(f"upsample_flow{level + 1}to{level}")(raw[0])
            deconvolved = self.get_submodule(f"deconv{level}")(x)
            x = torch.cat((features[level - 1], deconvolved, upsampled), dim=1)
            raw.insert(0, self.get_submodule(f"predict_flow{level}")(x))
        return to_pyramid(raw, frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)

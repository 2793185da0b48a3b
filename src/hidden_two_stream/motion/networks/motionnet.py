"""MotionNet, the paper's network: frames in, a pyramid of flow fields out.

Zhu et al., arXiv 1704.00389; layers from the authors' published Caffe definition ("the reference"). For 11
frames of 224×224 (33 input channels, 20 output channels):

    layer                    channels out        size at 224²    kernel
    conv1, conv1_1           64                  224²            3×3, LeakyReLU 0.1, like all up to conv6_1
    conv2, conv2_1           128                 112²            conv2 to conv6 have stride 2
    conv3, conv3_1           256                 56²
    conv4, conv4_1           512                 28²
    conv5, conv5_1           512                 14²
    conv6, conv6_1           1024                7²
    conv_pr6                 20                  7²              3×3, linear: the coarsest flow
    for k = 5, 4, 3, 2:
    deconv{k}                512, 256, 128, 64   14² … 112²      4×4, stride 2, LeakyReLU 0.1
    upsample_flow{k+1}to{k}  20                  14² … 112²      4×4, stride 2, linear, of conv_pr{k+1}
    smooth_conv{k}           512, 256, 128, 64   14² … 112²      3×3, linear, of the concatenation of
                                                                 conv{k}_1, deconv{k} and upsample_flow
    conv_pr{k}               20                  14² … 112²      3×3, linear: the flow of level k

deconv5 takes conv6_1; each further deconv{k} takes smooth_conv{k+1}.

The other networks with an encoder of their own share the decoder: `add_decoder` makes its layers and `decode`
runs them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hidden_two_stream.motion.networks.frames import stack_frames, trim_pyramid

__all__ = [
    "DECODER_WIDTHS",
    "FLOW_SCALE",
    "MOTIONNET_WIDTHS",
    "Deconv",
    "MotionNet",
    "add_decoder",
    "conv",
    "decode",
    "msra_init",
    "to_pyramid",
]

MOTIONNET_WIDTHS = (64, 128, 256, 512, 512, 1024)
DECODER_WIDTHS = (512, 256, 128, 64)
FLOW_SCALE = 20.0
"""Network output × 20 = pixels of motion at input resolution (reference)."""


class MotionNet(nn.Module):
    """MotionNet, layer by layer like the reference; the module's text has the table.

    `num_frames` = 11 gives the paper's network (42.32 M parameters), 2 the two-frame variant. Flow comes at
    five levels, 1/2, 1/4, 1/8, 1/16 and 1/32 of the input. Raw output × 20 is pixels at input resolution;
    `forward` returns pixels of each level's grid. For the interface see `networks.build.MotionNetwork`.

    Args:
        num_frames: T, frames per clip.
        widths: channels of blocks 1 to 6.
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
        # Levels 5 to 2 of the decoder have as many channels as blocks 4 to 1 of the encoder.
        add_decoder(self, widths, tuple(reversed(widths[:4])), 2 * (num_frames - 1))
        msra_init(self)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of blocks 1 to 6, each (B, C, h, w), at 1/1 … 1/32 of the padded input."""
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
        """Features → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        return to_pyramid(decode(self, features, 5), frames, self.total_stride)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size except for its stride, and LeakyReLU 0.1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.1, inplace=True)
    )


class Deconv(nn.ConvTranspose2d):
    """4×4 deconvolution of stride 2.

    Its bias is a buffer, because the reference never trains it (lr_mult 0).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
        del self._parameters["bias"]
        self.register_buffer("bias", torch.zeros(outputs))


def add_decoder(
    module: nn.Module, encoder_widths: Sequence[int], decoder_widths: Sequence[int], flow_channels: int
) -> None:
    """Add the decoder's layers to `module`, named by level as in the reference.

    The layers are conv_pr, deconv, upsample_flow and smooth_conv.

    Args:
        module: gets the layers.
        encoder_widths: channels of the encoder's levels, finest first. The coarsest is level
            `len(encoder_widths)`; level k is 2^(k−1) times coarser than the input.
        decoder_widths: channels of the decoder, from the second coarsest level to the finest with flow.
        flow_channels: 2(T−1).
    """
    coarsest = len(encoder_widths)
    previous = encoder_widths[-1]
    module.add_module(f"conv_pr{coarsest}", nn.Conv2d(previous, flow_channels, 3, padding=1))
    for level, width in zip(_levels(coarsest, len(decoder_widths)), decoder_widths, strict=True):
        skip = encoder_widths[level - 1]
        module.add_module(f"deconv{level}", nn.Sequential(Deconv(previous, width), nn.LeakyReLU(0.1)))
        module.add_module(f"upsample_flow{level + 1}to{level}", Deconv(flow_channels, flow_channels))
        # Linear: the reference has no activation behind smooth_conv.
        module.add_module(f"smooth_conv{level}", nn.Conv2d(skip + width + flow_channels, width, 3, padding=1))
        module.add_module(f"conv_pr{level}", nn.Conv2d(width, flow_channels, 3, padding=1))
        previous = width


def decode(module: nn.Module, features: Sequence[Tensor], num_levels: int) -> list[Tensor]:
    """Run the layers of `add_decoder` on the encoder's features, finest first.

    Unlike FlowNetS, deconv{k} takes the previous smooth_conv (at the coarsest level the encoder's last
    features) and not the concatenation.

    Returns:
        `num_levels` raw flows (B, 2(T−1), h, w), finest first; × 20 = pixels of the input.
    """
    coarsest = len(features)
    x = features[-1]
    raw = [module.get_submodule(f"conv_pr{coarsest}")(x)]
    for level in _levels(coarsest, num_levels - 1):
        upsampled = module.get_submodule(f"upsample_flow{level + 1}to{level}")(raw[0])
        x = module.get_submodule(f"deconv{level}")(x)
        x = torch.cat((features[level - 1], x, upsampled), dim=1)
        x = module.get_submodule(f"smooth_conv{level}")(x)
        raw.insert(0, module.get_submodule(f"conv_pr{level}")(x))
    return raw


def _levels(coarsest: int, count: int) -> range:
    return range(coarsest - 1, coarsest - 1 - count, -1)


def to_pyramid(raw: list[Tensor], frames: Tensor, total_stride: int) -> list[Tensor]:
    """Raw outputs for padded `frames` → flows that cover exactly `frames`.

    Convention: raw × 20 is pixels at input resolution. A grid that is s times coarser gets raw × 20 / s, that
    is × 10, 5, 2.5, 1.25 and 0.625 at the five levels of MotionNet. See `networks.frames.trim_pyramid` for
    the padding.

    Args:
        raw: (B, 2(T−1), h, w) per level, finest first; channel 2t is u of pair t, channel 2t + 1 is v.
        frames: (B, T, 3, H, W), as they were before padding.
        total_stride: to whose multiples they were padded, px.

    Returns:
        Flows (B, T−1, 2, h, w), each in pixels of its own grid.
    """
    height, width = frames.shape[-2:]
    padded = (height + -height % total_stride, width + -width % total_stride)
    pyramid = [
        level.unflatten(1, (level.shape[1] // 2, 2)) * (FLOW_SCALE * level.shape[-1] / padded[1])
        for level in raw
    ]
    return trim_pyramid(pyramid, (height, width), padded)


def msra_init(module: nn.Module) -> None:
    """Initialize convolutions by He's fan-in rule (arXiv 1502.01852), in place.

    Biases are zero.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, Deconv):
            # At stride 2, four of the sixteen taps meet in each output pixel.
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (4 * layer.in_channels)))

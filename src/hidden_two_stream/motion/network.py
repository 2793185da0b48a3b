"""The MotionNet family: frames in, a pyramid of flow fields out (section 3.1 of the paper).

All members share one interface, so that they can stand in for each other:
`frames` (B, T, 3, H, W) → list of `flow` (B, T−1, 2, h, w), finest first, each in pixels of its own grid,
direction t → t+1. Any H and W: sides that are no multiple of the network's total stride are padded at the
right and bottom with edge pixels, and the flow is cropped back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.nano import NanoMotionNet
from hidden_two_stream.motion.padding import pad_frames, trim_pyramid

__all__ = ["MOTION_NETWORKS", "MotionNet", "TinyMotionNet", "build_motion"]

FLOW_SCALE = 20.0
"""Network output × 20 = pixels of motion at input resolution (reference definition)."""


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.1, inplace=True)
    )


class _Deconv(nn.ConvTranspose2d):
    """4×4 deconvolution of stride 2. Its bias is a buffer: the reference never trains it (lr_mult 0)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
        del self._parameters["bias"]
        self.register_buffer("bias", torch.zeros(outputs))


def _msra_init(module: nn.Module) -> None:
    """He initialisation by fan-in (arXiv 1502.01852); biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, _Deconv):
            # At stride 2, four of the sixteen taps meet in each output pixel.
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (4 * layer.in_channels)))


class MotionNet(nn.Module):
    """MotionNet, layer by layer as the authors' published network definition (Table 1 of the paper).

    `num_frames` = 11 gives the paper's network (33 → 20 channels, 42.32 M parameters);
    `num_frames` = 2 gives the two-frame variant. Flow comes at 5 levels: 1/2, 1/4, 1/8, 1/16 and 1/32
    of the input. Raw output × 20 is pixels at input resolution; `forward` returns pixels of each
    level's grid.
    """

    total_stride = 32

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        flow_channels = 2 * (num_frames - 1)
        widths = (64, 128, 256, 512, 512, 1024)
        previous = 3 * num_frames
        for block, width in enumerate(widths, start=1):
            self.add_module(f"conv{block}", _conv(previous, width, stride=1 if block == 1 else 2))
            self.add_module(f"conv{block}_1", _conv(width, width))
            previous = width
        self.conv_pr6 = nn.Conv2d(1024, flow_channels, 3, padding=1)
        for level, width in ((5, 512), (4, 256), (3, 128), (2, 64)):
            skip = widths[level - 1]
            self.add_module(f"deconv{level}", nn.Sequential(_Deconv(previous, width), nn.LeakyReLU(0.1)))
            self.add_module(f"upsample_flow{level + 1}to{level}", _Deconv(flow_channels, flow_channels))
            # Linear: the reference has no activation behind smooth_conv.
            self.add_module(
                f"smooth_conv{level}", nn.Conv2d(skip + width + flow_channels, width, 3, padding=1)
            )
            self.add_module(f"conv_pr{level}", nn.Conv2d(width, flow_channels, 3, padding=1))
            previous = width
        _msra_init(self)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Features of blocks 1..6, each (B, C, h, w), finest first; H and W must be multiples of 32."""
        features = []
        x = frames.flatten(1, 2)  # (B, 3T, H, W): time and colour merge here, and only here
        for block in range(1, 7):
            x = self.get_submodule(f"conv{block}_1")(self.get_submodule(f"conv{block}")(x))
            features.append(x)
        return features

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Raw flow, finest first: list of (B, 2(T−1), h, w), network units (× 20 = pixels of the input)."""
        x = features[5]
        raw = [self.conv_pr6(x)]
        for level in (5, 4, 3, 2):
            upsampled = self.get_submodule(f"upsample_flow{level + 1}to{level}")(raw[0])
            x = self.get_submodule(f"deconv{level}")(x)
            x = torch.cat((features[level - 1], x, upsampled), dim=1)
            x = self.get_submodule(f"smooth_conv{level}")(x)
            raw.insert(0, self.get_submodule(f"conv_pr{level}")(x))
        return raw

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 5 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        padded = pad_frames(frames, self.total_stride)
        raw = self.decode(self.encode(padded))
        return trim_pyramid(raw_to_pixels(raw, padded.shape[-1]), frames, padded)


class TinyMotionNet(nn.Module):
    """Tiny-MotionNet: 1.95 M parameters, flow at 1/2, 1/4 and 1/8 of the input.

    The authors' definition is lost; this follows a public re-implementation's description, whose size
    agrees with the 8 MB that the paper reports. Units and directions as in `MotionNet`.
    """

    total_stride = 8

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        flow_channels = 2 * (num_frames - 1)
        self.conv1 = _conv(3 * num_frames, 64, kernel=7)
        self.conv2 = _conv(64, 128, kernel=5, stride=2)
        self.conv3 = _conv(128, 256, stride=2)
        self.conv4 = _conv(256, 128, stride=2)
        self.conv_pr4 = nn.Conv2d(128, flow_channels, 3, padding=1)
        self.deconv3 = nn.Sequential(_Deconv(128, 128), nn.LeakyReLU(0.1))
        self.upsample_flow4to3 = _Deconv(flow_channels, flow_channels)
        self.smooth_conv3 = nn.Conv2d(256 + 128 + flow_channels, 128, 3, padding=1)
        self.conv_pr3 = nn.Conv2d(128, flow_channels, 3, padding=1)
        self.deconv2 = nn.Sequential(_Deconv(128, 64), nn.LeakyReLU(0.1))
        self.upsample_flow3to2 = _Deconv(flow_channels, flow_channels)
        self.smooth_conv2 = nn.Conv2d(128 + 64 + flow_channels, 64, 3, padding=1)
        self.conv_pr2 = nn.Conv2d(64, flow_channels, 3, padding=1)
        _msra_init(self)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest (half resolution) first."""
        padded = pad_frames(frames, self.total_stride)
        conv2 = self.conv2(self.conv1(padded.flatten(1, 2)))
        conv3 = self.conv3(conv2)
        conv4 = self.conv4(conv3)
        raw4 = self.conv_pr4(conv4)
        x = self.smooth_conv3(torch.cat((conv3, self.deconv3(conv4), self.upsample_flow4to3(raw4)), dim=1))
        raw3 = self.conv_pr3(x)
        x = self.smooth_conv2(torch.cat((conv2, self.deconv2(x), self.upsample_flow3to2(raw3)), dim=1))
        raw2 = self.conv_pr2(x)
        return trim_pyramid(raw_to_pixels([raw2, raw3, raw4], padded.shape[-1]), frames, padded)


def raw_to_pixels(raw: list[Tensor], input_width: int) -> list[Tensor]:
    """Raw outputs (B, 2(T−1), h, w) → flows (B, T−1, 2, h, w) in pixels of their own grid.

    raw × 20 is pixels at input resolution, so a grid that is s times coarser has raw × 20 / s:
    10, 5, 2.5, 1.25, 0.625 for the five levels of MotionNet.
    """
    return [
        level.unflatten(1, (level.shape[1] // 2, 2)) * (FLOW_SCALE * level.shape[-1] / input_width)
        for level in raw
    ]


MOTION_NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "full": MotionNet,
    "tiny": TinyMotionNet,
    "nano": NanoMotionNet,
}


def build_motion(name: str, num_frames: int = 11) -> nn.Module:
    """A fresh member of the MotionNet family: "full", "tiny" or "nano".

    Raises:
        UsageError: the name is unknown, or fewer than two frames are asked for.
    """
    if name not in MOTION_NETWORKS:
        raise UsageError(f"unknown motion network {name!r}; choose one of {', '.join(MOTION_NETWORKS)}")
    if num_frames < 2:
        raise UsageError(f"motion needs at least 2 frames, got {num_frames}")
    return MOTION_NETWORKS[name](num_frames)

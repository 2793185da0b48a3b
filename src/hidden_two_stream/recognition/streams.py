"""The streams behind the motion network (the paper: projecting motion features to actions).

A temporal stream comes in three forms:

stacked   a 2-D backbone over the 2(T−1) channels of the hidden flow: the paper's stacked temporal stream
inflated  a 3-D backbone over the hidden flow as a volume: the paper's I3D variant
branched  an action branch on MotionNet's encoder, which it shares with the flow (of nano: on its decoder too)

To compare with, `PixelStream` is the same backbone without a motion network: over frames or differences.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.convnets import init_trunk
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.warp import full_precision
from hidden_two_stream.recognition.backbones import SmallNet, build_backbone, inflate

__all__ = [
    "FLOW_LIMIT_PX",
    "ActionBranch",
    "Border",
    "PixelStream",
    "SpatialStream",
    "TemporalStream",
    "hand_over",
]

FLOW_LIMIT_PX = 20.0
"""Flow beyond ±20 px of the input is clamped before the temporal stream sees it (reference definition)."""

Border = Literal["edge", "reference"]
"""What bilinear upsampling finds beyond the border: the edge again, or zeros as the reference does."""


def hand_over(
    flow: Tensor, height: int, width: int, limit_px: float = FLOW_LIMIT_PX, border: Border = "edge"
) -> Tensor:
    """Hidden flow → input of the temporal stream, as the reference hands it over.

    Flow in pixels of the input is clamped to ±limit, mapped linearly to 0…255, resized to the input's size
    (bilinear), and shifted by −128. Differentiable, so that the action loss reaches MotionNet.

    Args:
        flow: (B, T−1, 2, h, w) in pixels of its own grid (the finest level).
        height, width: size of the input frames, px.
        limit_px: largest motion that is told apart, px at input size.
        border: "reference": the resizing sees zeros beyond the border, as the reference's deconvolution
            does, which darkens the outermost pixels; the authors' weights were trained so. "edge": it
            sees the nearest flow.

    Returns:
        (B, 2(T−1), height, width): u and v of each pair, in −128…127.

    Raises:
        UsageError: the border is unknown.
    """
    if border not in ("edge", "reference"):
        raise UsageError(f"unknown border {border!r}; choose edge or reference")
    exact = full_precision(flow)  # bfloat16 has steps of 1 near 128: 0.16 px
    scale = exact.new_tensor((width / flow.shape[-1], height / flow.shape[-2])).view(2, 1, 1)
    levels = ((exact * scale).clamp(-limit_px, limit_px) + limit_px) * (255 / (2 * limit_px))
    if border == "edge":
        resized = functional.interpolate(
            levels.flatten(1, 2), size=(height, width), mode="bilinear", align_corners=False
        )
    else:
        resized = _resize_over_zeros(levels.flatten(1, 2), height, width)
    return (resized - 128).to(flow.dtype)


def _resize_over_zeros(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, pixel centres, zeros beyond the border: for factor 2 the reference's 4×4 deconvolution."""
    identity = torch.eye(2, 3, device=x.device, dtype=x.dtype).expand(len(x), 2, 3)
    grid = functional.affine_grid(identity, [len(x), 1, height, width], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class TemporalStream(nn.Module):
    """A backbone over the hidden flow of a clip: stacked as channels, or inflated over time."""

    def __init__(
        self,
        backbone: str,
        num_frames: int,
        num_classes: int,
        dropout: float,
        inflated: bool = False,
        border: Border = "edge",
    ) -> None:
        super().__init__()
        self.inflated = inflated
        self.border: Border = border
        channels = 2 if inflated else 2 * (num_frames - 1)
        network = build_backbone(backbone, channels, num_classes, dropout)
        self.backbone = inflate(network) if inflated else network

    def forward(self, flow: Tensor, height: int, width: int) -> Tensor:
        """`flow` (B, T−1, 2, h, w) of frames of height × width px → logits (B, classes)."""
        handed = hand_over(flow, height, width, border=self.border)
        if self.inflated:  # (B, 2, T−1, height, width)
            handed = handed.unflatten(1, (flow.shape[1], 2)).transpose(1, 2)
        logits: Tensor = self.backbone(handed)
        return logits


class ActionBranch(nn.Module):
    """Branched temporal stream: classifies what MotionNet knows, without making pictures of its flow.

    Our reading, as the branch's layers are published nowhere that we found. On "vgg16" it is VGG16's fc6,
    fc7 and fc8 over 7×7, so that with VGG16-MotionNet encoder and branch together are VGG16; on "small"
    SmallNet, which halves twice where features come every 8 pixels, once at 16 and never at 32; on other
    backbones two 3×3 convolutions with batch normalisation, average pooling and one linear layer.

    Args:
        in_channels: of the features.
        stride: pixels of the input from one to the next.
        backbone: name.
        num_classes: number of actions.
        dropout: in front of the last layer(s).
    """

    def __init__(
        self, in_channels: int, stride: int, backbone: str, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers: nn.Module
        if backbone == "vgg16":
            self.layers = nn.Sequential(
                nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten(),
                nn.Linear(in_channels * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
                nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(max(0.0, dropout - 0.1)),
                nn.Linear(4096, num_classes),
            )  # fmt: skip
        elif backbone == "small":
            stages = ((64, 1), (64, 2 if stride <= 16 else 1), (128, 2 if stride <= 8 else 1), (192, 1))
            self.layers = SmallNet(in_channels, num_classes, dropout, stages)
        else:
            width = 256
            self.layers = nn.Sequential(
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes),
            )  # fmt: skip
        init_trunk(self)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w), MotionNet's `action_features` → logits (B, classes)."""
        logits: Tensor = self.layers(features)
        return logits


class PixelStream(nn.Module):
    """A backbone over the pixels of a whole clip: what a temporal stream learns without any motion network.

    Args:
        backbone: name of the backbone.
        num_frames: frames per clip, T.
        num_classes: number of actions.
        dropout: in front of the last layer(s).
        difference: see the T−1 changes from one frame to the next instead of the T frames.
    """

    def __init__(
        self, backbone: str, num_frames: int, num_classes: int, dropout: float, difference: bool
    ) -> None:
        super().__init__()
        self.difference = difference
        channels = 3 * (num_frames - 1 if difference else num_frames)
        self.backbone = build_backbone(backbone, channels, num_classes, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) → logits (B, classes). In grey levels, as `hand_over` gives flow."""
        pictures = frames[:, 1:] - frames[:, :-1] if self.difference else frames
        logits: Tensor = self.backbone(255 * pictures.flatten(1, 2))
        return logits


class SpatialStream(nn.Module):
    """Spatial stream: a backbone over one RGB frame, the middle one of the clip."""

    def __init__(self, backbone: str, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, 3, num_classes, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W), of which frame ⌊T/2⌋ is seen → logits (B, classes)."""
        logits: Tensor = self.backbone(frames[:, frames.shape[1] // 2])
        return logits

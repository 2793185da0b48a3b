"""Spatial and temporal streams: RGB frames or hidden flow to logits.

Source: the paper's section on projecting motion features to actions. The temporal stream has four forms:

stacked   a 2-D backbone over the 2(T−1) channels of the hidden flow: the paper's stacked temporal stream
inflated  a 3-D backbone over the hidden flow as a volume: the paper's I3D variant
branched  an action branch on MotionNet's features: the paper's branched temporal stream
sequence  an encoder of each frame pair, then convolutions over time: ours, see `recognition.sequence`

Each stream is `classify(embedding(…))`: the embedding is the input of its last layer, before the dropout.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from hidden_two_stream.convnets import init_trunk
from hidden_two_stream.recognition.backbones import Backbone, SmallNet, build_backbone, inflate
from hidden_two_stream.recognition.hand_over import Border, hand_over
from hidden_two_stream.recognition.image_encoder import EncoderBackbone, EncoderConfig

__all__ = ["ActionBranch", "SpatialStream", "Stream", "TemporalStream"]


class Stream(Protocol):
    """What all streams offer: `classify(embedding(*inputs))` is the stream."""

    def embedding(self, *inputs: Tensor | int) -> Tensor:
        """Map the stream's inputs to the input of its last layer, (B, D), before the dropout."""

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""


class TemporalStream(nn.Module):
    """Temporal stream: a backbone over the hidden flow, stacked as channels or inflated over time.

    Args:
        backbone: name of the backbone.
        num_frames: frames per clip, T.
        num_classes: number of actions.
        dropout: probability in front of the last layer(s).
        inflated: take the flow as a volume (B, 2, T−1, H, W) instead of 2(T−1) channels.
        border: border of `hand_over`.
    """

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

    def embedding(self, flow: Tensor, height: int, width: int) -> Tensor:
        """Map `flow` (B, T−1, 2, h, w) of frames of height × width px to embeddings (B, D)."""
        return cast(Backbone, self.backbone).embedding(self._levels(flow, height, width))

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        return cast(Backbone, self.backbone).classify(embedding)

    def forward(self, flow: Tensor, height: int, width: int) -> Tensor:
        """Map `flow` (B, T−1, 2, h, w) of frames of height × width px to logits (B, classes)."""
        logits: Tensor = self.backbone(self._levels(flow, height, width))
        return logits

    def _levels(self, flow: Tensor, height: int, width: int) -> Tensor:
        """Return the backbone's input."""
        levels = hand_over(flow, height, width, border=self.border)
        if self.inflated:  # (B, 2, T−1, height, width)
            levels = levels.unflatten(1, (flow.shape[1], 2)).transpose(1, 2)
        return levels


class ActionBranch(nn.Module):
    """Branched temporal stream: classifies MotionNet's features directly.

    The branch shares MotionNet's encoder with the flow decoder (with nano also that decoder). We found no
    published definition of its layers; this is our reading:

    - "vgg16": VGG16's fc6, fc7 and fc8 over 7×7 features. The encoder of VGG16-MotionNet and this branch
      together are VGG16.
    - "small": SmallNet. It halves the resolution twice for features of stride 8, once for 16, never for 32.
    - other backbones: two 3×3 convolutions with batch normalization, average pooling, one linear layer.

    Args:
        in_channels: channels of MotionNet's features, C.
        stride: distance between neighboring features, px of the input.
        backbone: name of the backbone.
        num_classes: number of actions.
        dropout: probability in front of the last layer(s).
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

    def embedding(self, features: Tensor) -> Tensor:
        """Map MotionNet's `action_features` (B, C, h, w) to embeddings (B, D)."""
        if isinstance(self.layers, nn.Sequential):
            vectors: Tensor = self.layers[:-2](features)
            return vectors
        return cast(Backbone, self.layers).embedding(features)

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        if isinstance(self.layers, nn.Sequential):
            logits: Tensor = self.layers[-2:](embedding)
            return logits
        return cast(Backbone, self.layers).classify(embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Map MotionNet's `action_features` (B, C, h, w) to logits (B, classes)."""
        logits: Tensor = self.layers(features)
        return logits


class SpatialStream(nn.Module):
    """Spatial stream: a backbone over one RGB frame, the middle one of the clip.

    Args:
        backbone: name of the backbone, or the configuration of an image encoder.
        num_classes: number of actions.
        dropout: probability in front of the last layer(s).
    """

    def __init__(self, backbone: str | EncoderConfig, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = (
            EncoderBackbone(backbone, num_classes, dropout)
            if isinstance(backbone, EncoderConfig)
            else build_backbone(backbone, 3, num_classes, dropout)
        )

    def embedding(self, frames: Tensor) -> Tensor:
        """Map `frames` (B, T, 3, H, W) to the embeddings (B, D) of frame ⌊T/2⌋."""
        return cast(Backbone, self.backbone).embedding(frames[:, frames.shape[1] // 2])

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        return cast(Backbone, self.backbone).classify(embedding)

    def forward(self, frames: Tensor) -> Tensor:
        """Map `frames` (B, T, 3, H, W) to logits (B, classes) of frame ⌊T/2⌋."""
        logits: Tensor = self.backbone(frames[:, frames.shape[1] // 2])
        return logits

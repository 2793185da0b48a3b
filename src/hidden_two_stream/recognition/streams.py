"""The two streams behind the motion network (sections 3.2 and 4 of the paper)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.recognition.backbones import build_backbone

__all__ = ["FLOW_LIMIT_PX", "SpatialStream", "TemporalStream", "hand_over"]

FLOW_LIMIT_PX = 20.0
"""Flow beyond ±20 px of the input is clamped before the temporal stream sees it (reference definition)."""


def hand_over(flow: Tensor, height: int, width: int, limit_px: float = FLOW_LIMIT_PX) -> Tensor:
    """Hidden flow → input of the temporal stream, as the reference hands it over.

    Flow in pixels of the input is clamped to ±limit, mapped linearly to 0…255, resized to the input's size
    (bilinear), and shifted by −128. Differentiable, so that the action loss reaches MotionNet.

    Args:
        flow: (B, T−1, 2, h, w) in pixels of its own grid (the finest level).
        height, width: size of the input frames, px.
        limit_px: largest motion that is told apart, px at input size.

    Returns:
        (B, 2(T−1), height, width): u and v of each pair, in −128…127.
    """
    scale = flow.new_tensor((width / flow.shape[-1], height / flow.shape[-2])).view(2, 1, 1)
    levels = ((flow * scale).clamp(-limit_px, limit_px) + limit_px) * (255 / (2 * limit_px))
    resized = functional.interpolate(
        levels.flatten(1, 2), size=(height, width), mode="bilinear", align_corners=False
    )
    return resized - 128


class TemporalStream(nn.Module):
    """Stacked temporal stream: a backbone over the hidden flow of a clip."""

    def __init__(self, backbone: str, num_frames: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, 2 * (num_frames - 1), num_classes, dropout)

    def forward(self, flow: Tensor, height: int, width: int) -> Tensor:
        """`flow` (B, T−1, 2, h, w) of frames of height × width px → logits (B, classes)."""
        logits: Tensor = self.backbone(hand_over(flow, height, width))
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

"""The paper's figure 1 as code: raw frames → MotionNet → temporal stream; one frame → spatial stream."""

from __future__ import annotations

from torch import Tensor, nn

from hidden_two_stream.motion.network import build_motion
from hidden_two_stream.recognition.streams import SpatialStream, TemporalStream

__all__ = ["HiddenTwoStream"]


class HiddenTwoStream(nn.Module):
    """Both streams. Late fusion of their scores is `recognition.fusion.fuse`.

    Args:
        motion: member of the MotionNet family ("full", "tiny", "nano").
        backbone: of both streams ("small", "resnet18", "resnet50", "vgg16").
        num_classes: number of actions.
        num_frames: frames per clip, T (the paper: 11).
        temporal_dropout, spatial_dropout: in front of the last layer(s).
    """

    def __init__(
        self,
        motion: str,
        backbone: str,
        num_classes: int,
        num_frames: int = 11,
        temporal_dropout: float = 0.5,
        spatial_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.motion_net = build_motion(motion, num_frames)
        self.temporal_stream = TemporalStream(backbone, num_frames, num_classes, temporal_dropout)
        self.spatial_stream = SpatialStream(backbone, num_classes, spatial_dropout)

    def motion(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → flow pyramid, finest first, (B, T−1, 2, h, w) px of its own grid."""
        pyramid: list[Tensor] = self.motion_net(frames)
        return pyramid

    def temporal(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) → logits (B, classes) from the hidden flow."""
        logits: Tensor = self.temporal_stream(self.motion(frames)[0], *frames.shape[-2:])
        return logits

    def spatial(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) → logits (B, classes) from the middle frame."""
        logits: Tensor = self.spatial_stream(frames)
        return logits

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """`frames` (B, T, 3, H, W) → logits per stream."""
        return {"spatial": self.spatial(frames), "temporal": self.temporal(frames)}

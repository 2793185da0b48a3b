"""The paper's figure 1 as code: frames → MotionNet → temporal stream; one frame → spatial stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from hidden_two_stream.config.stages import STREAMS
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import MotionNetwork, build_motion
from hidden_two_stream.motion.networks.frames import check_num_frames, flow_in_windows
from hidden_two_stream.recognition.hand_over import Border
from hidden_two_stream.recognition.image_encoder import EncoderConfig
from hidden_two_stream.recognition.streams import ActionBranch, SpatialStream, TemporalStream
from hidden_two_stream.video.transforms import contrast_normalize, normalize

__all__ = ["TEMPORAL_FORMS", "HiddenTwoStream", "Preprocessing"]

TEMPORAL_FORMS = ("stacked", "inflated", "branched")


class Preprocessing(nn.Module):
    """Turns decoded, resized and cropped clips into `frames`. It has no weights.

    Training, prediction and export share this module, so that they cannot differ.

    Args:
        normalize_contrast: give each clip the same mean and contrast, see `contrast_normalize`.
    """

    def __init__(self, normalize_contrast: bool = False) -> None:
        super().__init__()
        self.normalize_contrast = normalize_contrast

    def forward(self, clips: Tensor) -> Tensor:
        """Return `frames` (..., T, 3, H, W) float32 of `clips` (..., T, 3, H, W) uint8 RGB."""
        frames = normalize(clips)
        return contrast_normalize(frames) if self.normalize_contrast else frames


class HiddenTwoStream(nn.Module):
    """Both streams of the hidden two-stream network. `recognition.fusion.fuse` fuses their scores.

    Args:
        motion: member of the MotionNet family, one of `MOTION_NETWORKS`.
        backbone: backbone of the streams: "small", "resnet18", "resnet50" or "vgg16".
        num_classes: number of actions.
        num_frames: frames per clip, T (the paper: 11).
        temporal: form of the temporal stream, see `recognition.streams`.
        streams: the streams to build. MotionNet is built unless the spatial stream stands alone.
        motion_frames: frames that MotionNet takes at once; 0 means all T. 2 is the two-frame MotionNet, run
            on each pair of neighboring frames.
        temporal_dropout: dropout in front of the last layers of the temporal stream.
        spatial_dropout: dropout in front of the last layers of the spatial stream.
        border: padding of the hand-over, see `recognition.hand_over.hand_over`.
        normalize_contrast: see `Preprocessing`.
        encoder: image encoder that takes the place of the spatial stream's backbone.

    Raises:
        UsageError: a name is unknown, the numbers of frames do not fit each other, or the encoder cannot be
            built.
        MissingDependencyError: the library of the encoder is not installed.
    """

    def __init__(
        self,
        motion: str,
        backbone: str,
        num_classes: int,
        num_frames: int = 11,
        *,
        temporal: Literal["stacked", "inflated", "branched"] = "stacked",
        streams: Sequence[str] = STREAMS,
        motion_frames: int = 0,
        temporal_dropout: float = 0.5,
        spatial_dropout: float = 0.5,
        border: Border = "edge",
        normalize_contrast: bool = False,
        encoder: EncoderConfig | None = None,
    ) -> None:
        super().__init__()
        _validate(temporal, streams, num_frames, motion_frames)
        self.motion_frames = motion_frames
        self.branched = temporal == "branched"
        self.preprocess = Preprocessing(normalize_contrast)
        if tuple(streams) != ("spatial",):
            self.motion_net = build_motion(motion, motion_frames or num_frames)
        if "temporal" in streams and self.branched:
            network = self._network()
            self.temporal_stream: nn.Module = ActionBranch(
                network.action_channels, network.action_stride, backbone, num_classes, temporal_dropout
            )
        elif "temporal" in streams:
            inflated = temporal == "inflated"
            self.temporal_stream = TemporalStream(
                backbone, num_frames, num_classes, temporal_dropout, inflated, border
            )
        if "spatial" in streams:
            self.spatial_stream = SpatialStream(encoder or backbone, num_classes, spatial_dropout)

    def motion(self, frames: Tensor) -> list[Tensor]:
        """Return the flow pyramid of `frames` (B, T, 3, H, W), finest level first.

        Each level is (B, T−1, 2, h, w), in pixels of its own grid.
        """
        self._require("motion_net")
        if self.motion_frames:
            return flow_in_windows(self._network(), frames, self.motion_frames)
        return self._network()(frames)

    def temporal(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) from the hidden motion of `frames` (B, T, 3, H, W)."""
        self._require("temporal_stream")
        if self.branched:
            network = self._network()
            logits: Tensor = self.temporal_stream(network.action_features(network.features(frames)))
        else:
            logits = self.temporal_stream(self.motion(frames)[0], *frames.shape[-2:])
        return logits

    def motion_and_temporal(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return flow pyramid and temporal logits of `frames` from one forward pass through MotionNet."""
        self._require("temporal_stream")
        if self.branched:
            network = self._network()
            features = network.features(frames)
            return network.flow(features, frames), self.temporal_stream(network.action_features(features))
        pyramid = self.motion(frames)
        return pyramid, self.temporal_stream(pyramid[0], *frames.shape[-2:])

    def spatial(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) from the middle frame of `frames` (B, T, 3, H, W)."""
        self._require("spatial_stream")
        logits: Tensor = self.spatial_stream(frames)
        return logits

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return logits (B, classes) of each stream for `frames` (B, T, 3, H, W)."""
        calls = {"spatial": self.spatial, "temporal": self.temporal}
        return {name: call(frames) for name, call in calls.items() if hasattr(self, f"{name}_stream")}

    def _network(self) -> MotionNetwork:
        return cast(MotionNetwork, self.motion_net)

    def _require(self, part: str) -> None:
        if not hasattr(self, part):
            parts = [name for name, module in self.named_children() if module is not self.preprocess]
            raise UsageError(
                f"this model has no {part}, only {', '.join(parts)}; build or import it with {part}"
            )


def _validate(temporal: str, streams: Sequence[str], num_frames: int, motion_frames: int) -> None:
    if temporal not in TEMPORAL_FORMS:
        raise UsageError(f"unknown temporal stream {temporal!r}; choose one of {', '.join(TEMPORAL_FORMS)}")
    unknown = [name for name in streams if name not in STREAMS]
    if unknown or isinstance(streams, str):
        raise UsageError(f"unknown streams {streams!r}; give a tuple of {', '.join(STREAMS)}")
    check_num_frames(num_frames)
    if motion_frames:
        check_num_frames(num_frames, motion_frames)
    if temporal == "branched" and motion_frames not in (0, num_frames):
        raise UsageError(
            f"a branched temporal stream sees whole clips, but motion_frames is {motion_frames}; set it to 0"
        )

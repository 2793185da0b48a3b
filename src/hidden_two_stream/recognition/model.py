"""The paper's figure 1 as code: raw frames → MotionNet → temporal stream; one frame → spatial stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import MotionNetwork, build_motion
from hidden_two_stream.motion.networks.windows import check_num_frames, flow_in_windows
from hidden_two_stream.recognition.streams import (
    ActionBranch,
    Border,
    PixelStream,
    SpatialStream,
    TemporalStream,
)

__all__ = ["STREAMS", "TEMPORAL_FORMS", "TEMPORAL_INPUTS", "HiddenTwoStream"]

STREAMS = ("spatial", "temporal")
TEMPORAL_FORMS = ("stacked", "inflated", "branched")
TEMPORAL_INPUTS = ("motion", "frames", "difference", "flow")


class HiddenTwoStream(nn.Module):
    """Both streams. Late fusion of their scores is `recognition.fusion.fuse`.

    Args:
        motion: member of the MotionNet family (`motion.networks.build.MOTION_NETWORKS`).
        backbone: of the streams ("small", "resnet18", "resnet50", "vgg16").
        num_classes: number of actions.
        num_frames: frames per clip, T (the paper: 11).
        temporal: form of the temporal stream, see `recognition.streams`.
        streams: those that are there. MotionNet is, unless the spatial stream stands alone.
        motion_frames: frames that MotionNet takes at once, 0 for all T; 2 is the two-frame MotionNet, run
            on each pair of neighbours.
        temporal_dropout, spatial_dropout: in front of the last layer(s).
        border: see `recognition.streams.hand_over`.
        temporal_input: what the temporal stream sees. "motion": the hidden motion of `frames`. Without
            MotionNet, to compare with: "frames", "difference" (see `recognition.streams.PixelStream`), or
            "flow" that was computed before: `frames` are then flow fields (B, T, 2, H, W), px of the input,
            each from its frame to the next of the clip. The last, which leads out of it, is not seen.

    Raises:
        UsageError: a name is unknown, or the numbers of frames do not fit each other.
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
        temporal_input: Literal["motion", "frames", "difference", "flow"] = "motion",
    ) -> None:
        super().__init__()
        _validate(temporal, streams, num_frames, motion_frames)
        _validate_input(temporal_input, temporal, streams)
        self.motion_frames = motion_frames
        self.branched = temporal == "branched"
        self.temporal_input = temporal_input
        if tuple(streams) != ("spatial",) and temporal_input == "motion":
            self.motion_net = build_motion(motion, motion_frames or num_frames)
        if "temporal" in streams and self.branched:
            network = self._network()
            self.temporal_stream: nn.Module = ActionBranch(
                network.action_channels, network.action_stride, backbone, num_classes, temporal_dropout
            )
        elif "temporal" in streams and temporal_input in ("frames", "difference"):
            self.temporal_stream = PixelStream(
                backbone, num_frames, num_classes, temporal_dropout, temporal_input == "difference"
            )
        elif "temporal" in streams:
            inflated = temporal == "inflated"
            self.temporal_stream = TemporalStream(
                backbone, num_frames, num_classes, temporal_dropout, inflated, border
            )
        if "spatial" in streams:
            self.spatial_stream = SpatialStream(backbone, num_classes, spatial_dropout)

    def motion(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → flow pyramid, finest first, (B, T−1, 2, h, w) px of its own grid."""
        self._require("motion_net")
        if self.motion_frames:
            return flow_in_windows(self._network(), frames, self.motion_frames)
        return self._network()(frames)

    def temporal(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) → logits (B, classes) from the hidden motion, or see `temporal_input`."""
        self._require("temporal_stream")
        if self.temporal_input in ("frames", "difference"):
            return cast(Tensor, self.temporal_stream(frames))
        if self.temporal_input == "flow":
            return cast(Tensor, self.temporal_stream(frames[:, :-1], *frames.shape[-2:]))
        if self.branched:
            network = self._network()
            logits: Tensor = self.temporal_stream(network.action_features(network.features(frames)))
        else:
            logits = self.temporal_stream(self.motion(frames)[0], *frames.shape[-2:])
        return logits

    def motion_and_temporal(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Flow pyramid and temporal logits of `frames`, from one pass through MotionNet."""
        self._require("temporal_stream")
        self._require("motion_net")
        if self.branched:
            network = self._network()
            features = network.features(frames)
            return network.flow(features, frames), self.temporal_stream(network.action_features(features))
        pyramid = self.motion(frames)
        return pyramid, self.temporal_stream(pyramid[0], *frames.shape[-2:])

    def spatial(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) → logits (B, classes) from the middle frame."""
        self._require("spatial_stream")
        logits: Tensor = self.spatial_stream(frames)
        return logits

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """`frames` (B, T, 3, H, W) → logits per stream."""
        calls = {"spatial": self.spatial, "temporal": self.temporal}
        return {name: call(frames) for name, call in calls.items() if hasattr(self, f"{name}_stream")}

    def _network(self) -> MotionNetwork:
        return cast(MotionNetwork, self.motion_net)

    def _require(self, part: str) -> None:
        if not hasattr(self, part):
            there = ", ".join(name for name, _ in self.named_children())
            raise UsageError(f"this model has no {part}, only {there}; it was built or imported without")


def _validate(temporal: str, streams: Sequence[str], num_frames: int, motion_frames: int) -> None:
    """What a recipe cannot get wrong, as it is checked before, but a caller can."""
    if temporal not in TEMPORAL_FORMS:
        raise UsageError(f"unknown temporal stream {temporal!r}; choose one of {', '.join(TEMPORAL_FORMS)}")
    unknown = [name for name in streams if name not in STREAMS]
    if unknown or isinstance(streams, str):
        raise UsageError(f"unknown streams {streams!r}; give a tuple of {', '.join(STREAMS)}")
    check_num_frames(num_frames)
    if motion_frames:
        check_num_frames(num_frames, motion_frames)
    if temporal == "branched" and motion_frames not in (0, num_frames):
        raise UsageError(f"a branched temporal stream sees whole clips; motion_frames is {motion_frames}")


def _validate_input(temporal_input: str, temporal: str, streams: Sequence[str]) -> None:
    if temporal_input not in TEMPORAL_INPUTS:
        raise UsageError(
            f"unknown temporal input {temporal_input!r}; choose one of {', '.join(TEMPORAL_INPUTS)}"
        )
    stacked = temporal == "stacked" or (temporal == "inflated" and temporal_input == "flow")
    if temporal_input != "motion" and not stacked:
        raise UsageError(f"a {temporal} temporal stream cannot see {temporal_input}; make it stacked")
    if temporal_input == "flow" and tuple(streams) != ("temporal",):
        raise UsageError(
            "a spatial stream sees no pictures where flow is stored; train it in a run of its own"
        )

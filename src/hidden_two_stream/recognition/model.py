"""The paper's figure 1 as code: frames → MotionNet → temporal stream; one frame → spatial stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from hidden_two_stream.config.stages import STREAMS
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import MotionNetwork, PairwiseNetwork, build_motion
from hidden_two_stream.motion.networks.frames import check_num_frames, flow_in_windows
from hidden_two_stream.recognition.hand_over import Border
from hidden_two_stream.recognition.image_encoder import EncoderConfig
from hidden_two_stream.recognition.sequence import FLOW_CHANNELS, SequenceStream, flow_channels
from hidden_two_stream.recognition.streams import ActionBranch, SpatialStream, Stream, TemporalStream
from hidden_two_stream.video.transforms import contrast_normalize, normalize

__all__ = ["TEMPORAL_FORMS", "HiddenTwoStream", "Preprocessing"]

TEMPORAL_FORMS = ("stacked", "inflated", "branched", "sequence")


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
        temporal: Literal["stacked", "inflated", "branched", "sequence"] = "stacked",
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
        self.temporal_form = temporal
        self.preprocess = Preprocessing(normalize_contrast)
        if tuple(streams) != ("spatial",):
            self.motion_net = build_motion(motion, motion_frames or num_frames)
        if "temporal" in streams and temporal == "sequence":
            channels = getattr(self.motion_net, "pair_channels", 0) + FLOW_CHANNELS
            self.temporal_stream: nn.Module = SequenceStream(channels, num_classes, temporal_dropout)
        elif "temporal" in streams and temporal == "branched":
            network = self._network()
            self.temporal_stream = ActionBranch(
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

    def temporal_inputs(self, frames: Tensor) -> tuple[Tensor | int, ...]:
        """Return the arguments that the temporal stream takes for `frames` (B, T, 3, H, W)."""
        return self._hidden_motion(frames, needs_flow=False)[1]

    def temporal(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) from the hidden motion of `frames` (B, T, 3, H, W)."""
        self._require("temporal_stream")
        logits: Tensor = self.temporal_stream(*self.temporal_inputs(frames))
        return logits

    def pair_vectors(self, frames: Tensor, grid: tuple[int, int] = (1, 1)) -> Tensor:
        """Return a vector for each pair of neighboring `frames` (B, T, 3, H, W): (B, T−1, D).

        With a grid (rows, columns), the vectors of its cells, row by row, follow that of the whole frame:
        (B, T−1, (1 + rows·columns)·D). MotionNet sees the whole frame in any case.

        For temporal streams of the form "sequence". If `pairs_are_independent`, overlapping windows have the
        same vectors, which need to be computed only once.
        """
        stream, (pairs, *_) = self._sequence(), self.temporal_inputs(frames)
        whole, (rows, columns) = cast(Tensor, pairs), grid
        if rows * columns == 1:
            return stream.encode(whole)
        cells = [cell for row in whole.tensor_split(rows, 3) for cell in row.tensor_split(columns, 4)]
        return torch.cat([stream.encode(part) for part in (whole, *cells)], dim=2)

    @property
    def pairs_are_independent(self) -> bool:
        """Whether a pair's states are the same in every window that holds the pair.

        MotionNet must see each pair by itself, and the preprocessing each frame.
        """
        pairwise = isinstance(getattr(self, "motion_net", None), PairwiseNetwork) or self.motion_frames == 2
        return pairwise and not self.preprocess.normalize_contrast

    def pair_states(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return what the temporal stream needs to know about each pair of neighboring frames.

        Two calls give the logits: `temporal_of_pairs(pair_states(frames), H, W)` is `temporal(frames)`. If
        `pairs_are_independent`, overlapping windows share the states of their pairs, so a live window needs
        only those of its newest pair.

        Args:
            frames: (B, T, 3, H, W).

        Returns:
            Tensors (B, T−1, …). Vectors for a sequence; MotionNet's context and hidden state for a branch;
            otherwise the finest flow.

        Raises:
            UsageError: the model has no MotionNet or no temporal stream, or its branch sees whole clips.
        """
        self._require("temporal_stream")
        if self.temporal_form == "sequence":
            return (self.pair_vectors(frames),)
        if self.temporal_form == "branched":
            network = self._network()
            if not isinstance(network, PairwiseNetwork):
                raise UsageError("this temporal stream sees whole clips, so their pairs have no states")
            return tuple(network.features(frames)[:2])
        return (self.motion(frames)[0],)

    def temporal_of_pairs(self, states: tuple[Tensor, ...], height: int, width: int) -> Tensor:
        """Return logits (B, classes) from the states of a window's pairs, in the order of time.

        Args:
            states: tensors (B, T−1, …), see `pair_states`.
            height, width: size of the frames, px.
        """
        self._require("temporal_stream")
        if self.temporal_form == "sequence":
            logits: Tensor = self._sequence().pool(states[0])
        elif self.temporal_form == "branched":
            logits = self.temporal_stream(self._network().action_features(list(states)))
        else:
            logits = self.temporal_stream(states[0], height, width)
        return logits

    def step_logits(self, vectors: Tensor) -> Tensor:
        """Return logits per step, (B, P, classes), of the vectors of neighboring pairs (B, P, D).

        For temporal streams of the form "sequence". Their mean over steps is `temporal` of the same window.
        """
        return self._sequence().steps(vectors)

    def motion_and_temporal(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return flow pyramid and temporal logits of `frames` from one forward pass through MotionNet."""
        self._require("temporal_stream")
        pyramid, inputs = self._hidden_motion(frames, needs_flow=True)
        logits: Tensor = self.temporal_stream(*inputs)
        return pyramid, logits

    def motion_and_embedding(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return flow pyramid and `temporal_embedding` of `frames` from one pass through MotionNet."""
        self._require("temporal_stream")
        pyramid, inputs = self._hidden_motion(frames, needs_flow=True)
        return pyramid, cast(Stream, self.temporal_stream).embedding(*inputs)

    def spatial(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) from the middle frame of `frames` (B, T, 3, H, W)."""
        self._require("spatial_stream")
        logits: Tensor = self.spatial_stream(frames)
        return logits

    def temporal_embedding(self, frames: Tensor) -> Tensor:
        """Return the input (B, D) of the temporal stream's last layer, for `frames` (B, T, 3, H, W).

        `temporal_stream.classify` maps it to the logits of `temporal`.
        """
        self._require("temporal_stream")
        return cast(Stream, self.temporal_stream).embedding(*self.temporal_inputs(frames))

    def spatial_embedding(self, frames: Tensor) -> Tensor:
        """Return the input (B, D) of the spatial stream's last layer, for `frames` (B, T, 3, H, W).

        `spatial_stream.classify` maps it to the logits of `spatial`.
        """
        self._require("spatial_stream")
        return self.spatial_stream.embedding(frames)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return logits (B, classes) of each stream for `frames` (B, T, 3, H, W)."""
        calls = {"spatial": self.spatial, "temporal": self.temporal}
        return {name: call(frames) for name, call in calls.items() if hasattr(self, f"{name}_stream")}

    def _hidden_motion(
        self, frames: Tensor, needs_flow: bool
    ) -> tuple[list[Tensor], tuple[Tensor | int, ...]]:
        """Return the flow pyramid and the arguments of the temporal stream, from one forward pass.

        Args:
            frames: (B, T, 3, H, W).
            needs_flow: whether the pyramid is needed; if not, it may be empty.
        """
        self._require("motion_net")
        network = self._network()
        if self.temporal_form == "branched":
            features = network.features(frames)
            pyramid = network.flow(features, frames) if needs_flow else []
            return pyramid, (network.action_features(features),)
        if self.temporal_form == "sequence" and isinstance(network, PairwiseNetwork):
            features = network.features(frames)
            maps, flow = network.pair_features(features)
            pyramid = network.flow(features, frames) if needs_flow else []
            return pyramid, (torch.cat((maps, _channels(flow)), dim=2),)
        pyramid = self.motion(frames)
        if self.temporal_form == "sequence":
            return pyramid, (_channels(pyramid[0]),)
        return pyramid, (pyramid[0], *frames.shape[-2:])

    def _sequence(self) -> SequenceStream:
        self._require("temporal_stream")
        if self.temporal_form != "sequence":
            raise UsageError(
                f"the temporal stream of this model is {self.temporal_form!r}; expected 'sequence'"
            )
        return cast(SequenceStream, self.temporal_stream)

    def _network(self) -> MotionNetwork:
        return cast(MotionNetwork, self.motion_net)

    def _require(self, part: str) -> None:
        if not hasattr(self, part):
            parts = [name for name, module in self.named_children() if module is not self.preprocess]
            raise UsageError(
                f"this model has no {part}, only {', '.join(parts)}; build or import it with {part}"
            )


def _channels(flow: Tensor) -> Tensor:
    """Return `flow_channels` of flow (B, P, 2, h, w), (B, P, 8, ⌈h/2⌉, ⌈w/2⌉)."""
    channels: Tensor = flow_channels(flow.flatten(0, 1)).unflatten(0, flow.shape[:2])
    return channels


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

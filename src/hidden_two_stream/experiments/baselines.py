"""Baselines of a comparison: the temporal stream without hidden motion.

A baseline has the same backbone with another input: the stacked frames of a clip, their differences, or
precomputed flow. It has no MotionNet and no spatial stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hidden_two_stream.checkpoint import RunInfo, baseline_of, place_weights, read_description, save_run
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.data.training_set import TrainingClips, mix_seed
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.experiments.nearest import NEAREST
from hidden_two_stream.experiments.precomputed_flow import FlowClips, FlowVideo, flow_windows
from hidden_two_stream.inference.aggregate import mean_logits
from hidden_two_stream.inference.windows import Protocol, protocol_windows, scored
from hidden_two_stream.recognition.backbones import build_backbone
from hidden_two_stream.recognition.fusion import fuse
from hidden_two_stream.recognition.model import Preprocessing
from hidden_two_stream.recognition.streams import TemporalStream
from hidden_two_stream.tensors import shapes_only
from hidden_two_stream.training.fit import FitTask, evaluate_split, run_info, training_run
from hidden_two_stream.training.loop import optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.warm_start import load_image_weights
from hidden_two_stream.types import FloatArray

__all__ = ["Baseline", "BaselineInput", "BaselineModel", "PixelStream", "fit_baseline", "load_baseline"]

BaselineInput = Literal["frames", "difference", "flow"]
"""Input of a baseline: stacked frames, their differences, or precomputed flow."""


class PixelStream(nn.Module):
    """A backbone over the pixels of a whole clip: a temporal stream without any motion network.

    Args:
        backbone: name of the backbone.
        num_frames: frames per clip, T.
        num_classes: number of actions.
        dropout: dropout in front of the last layers.
        difference: whether it sees the T−1 differences of neighboring frames instead of the T frames.
    """

    def __init__(
        self, backbone: str, num_frames: int, num_classes: int, dropout: float, difference: bool
    ) -> None:
        super().__init__()
        self.difference = difference
        channels = 3 * (num_frames - 1 if difference else num_frames)
        self.backbone = build_backbone(backbone, channels, num_classes, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of `frames` (B, T, 3, H, W), scaled to gray levels as flow is."""
        images = frames[:, 1:] - frames[:, :-1] if self.difference else frames
        logits: Tensor = self.backbone(255 * images.flatten(1, 2))
        return logits


class BaselineModel(nn.Module):
    """A temporal stream over frames, differences or precomputed flow.

    Args:
        sees: input of the stream.
        recipe: backbone, dropout, hand-over and frames per clip.
        num_classes: number of actions.

    Raises:
        UsageError: `sees` is unknown.
    """

    def __init__(self, sees: BaselineInput, recipe: Recipe, num_classes: int) -> None:
        super().__init__()
        if sees not in get_args(BaselineInput):
            raise UsageError(f"unknown baseline {sees!r}; choose one of {', '.join(get_args(BaselineInput))}")
        model = recipe.model
        self.sees: BaselineInput = sees
        self._pixels = Preprocessing(recipe.input.normalize_contrast)
        if sees == "flow":
            self.temporal_stream: nn.Module = TemporalStream(
                model.backbone, model.num_frames, num_classes, model.temporal_dropout, border=model.hand_over
            )
        else:
            self.temporal_stream = PixelStream(
                model.backbone, model.num_frames, num_classes, model.temporal_dropout, sees == "difference"
            )

    def preprocess(self, clips: Tensor) -> Tensor:
        """Return float32 inputs (B, T, C, H, W) of clips: normalized frames, or unchanged flow in px."""
        return clips.float() if self.sees == "flow" else cast(Tensor, self._pixels(clips))

    def temporal(self, clips: Tensor) -> Tensor:
        """Return logits (B, classes) of preprocessed clips.

        The last flow field of a clip leads to a frame outside the clip, so it is left out.
        """
        if self.sees == "flow":
            return cast(Tensor, self.temporal_stream(clips[:, :-1], *clips.shape[-2:]))
        return cast(Tensor, self.temporal_stream(clips))


class Baseline:
    """A trained baseline, which scores videos as a `Recognizer` does.

    Attributes:
        model: the network.
        info: recipe, classes and metadata.
    """

    def __init__(self, model: BaselineModel, info: RunInfo) -> None:
        self.model = model.eval()
        self.info = info

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return self.info.classes

    def logits(self, video: DecodedVideo | FlowVideo, protocol: Protocol) -> dict[str, FloatArray]:
        """Return logits (classes,) of the temporal stream, averaged over the protocol's windows."""
        if isinstance(video, FlowVideo):
            windows = flow_windows(video, self.info.recipe, protocol)
        else:
            windows = protocol_windows(video, self.info.recipe, protocol)
        return mean_logits(scored(windows, self._forward))

    def fuse(self, logits: Mapping[str, FloatArray]) -> FloatArray:
        """Return the scores of the temporal stream, normalized by the recipe's fusion method."""
        fusion = self.info.recipe.fusion
        return fuse([logits["temporal"]], [fusion.temporal_weight], fusion.method)

    @torch.inference_mode()
    def _forward(self, clips: Tensor) -> dict[str, Tensor]:
        device = next(self.model.parameters()).device
        return {"temporal": self.model.temporal(self.model.preprocess(clips.to(device)))}


def fit_baseline(
    task: FitTask, sees: BaselineInput, resources: Resources, fabric: Fabric
) -> Evaluation | None:
    """Train a baseline, save its run, and test it.

    Args:
        task: what to train on, and how. Only stage temporal is trained. The cache holds videos, or their
            precomputed flow.
        sees: input of the baseline.
        resources: hardware and progress.
        fabric: a launched Fabric, on one device.

    Returns:
        The test result; None without readable test videos.

    Raises:
        DataError: a class has no readable training video.
        UsageError, CheckpointError, OutputError: image weights are missing or do not fit, or as `optimize`.
        TrainingError, Stopped: as `training.loop.optimize`.
    """
    run = training_run(task, resources, ["temporal"], FlowClips if sees == "flow" else TrainingClips)
    torch.manual_seed(mix_seed(task.seed))
    model = BaselineModel(sees, task.recipe, len(task.classes))
    if not task.goes_on:
        load_image_weights(model, task.recipe, quiet=resources.quiet)
    optimize(model, run, fabric, task.resume)
    info = run_info(task, resources, run, stages=("temporal",))
    save_run(task.folder, model, info, baseline=sees)
    return evaluate_split(Baseline(model, info), task, resources)


def load_baseline(source: str | Path) -> Baseline:
    """Return the baseline in a run folder of `hts compare`.

    Args:
        source: the run folder, or its `model.safetensors`.

    Raises:
        UsageError: there is nothing at `source`.
        CheckpointError: the file is not a baseline, is damaged, or has another format version.
    """
    file, tensors, data, info = read_description(source)
    sees = baseline_of(data)
    if sees not in get_args(BaselineInput):
        opener = "nearest_runs.load_nearest" if sees in NEAREST else "hts.load"
        raise CheckpointError(
            f"{str(source)!r} is not a baseline network of hts compare; open it with {opener}"
        )
    try:
        with shapes_only():  # the loaded weights replace the parameters
            model = BaselineModel(cast(BaselineInput, sees), info.recipe, len(info.classes))
    except UsageError as error:
        raise CheckpointError(f"{str(file)!r} cannot be rebuilt: {error}") from error
    place_weights(model, tensors, file)
    return Baseline(model, info)

"""Small runs with random weights, of any networks, and clips for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.schema import FusionConfig, InputConfig, ModelConfig, Recipe
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.types import RawClip

CLASSES = ("hüpfen", "走る", "left", "right", "up")
CALIBRATION = Calibration({"spatial": 1.7, "temporal": 0.6}, 1.3, 0.25)


def make_run(
    motion: str = "nano",
    temporal: str = "sequence",
    streams: tuple[str, ...] = ("spatial", "temporal"),
    *,
    num_frames: int = 3,
    size: int = 32,
    calibration: Calibration | None = CALIBRATION,
    **options: Any,
) -> tuple[HiddenTwoStream, RunInfo]:
    """Model and description; scores of different clips differ, and normalization layers do something."""
    networks: dict[str, Any] = {"motion": motion, "temporal": temporal, "streams": streams}
    recipe = Recipe(
        model=ModelConfig(**networks, num_frames=num_frames, **options),
        input=InputConfig(size=size, resize=size + 4),
        fusion=FusionConfig(method="product"),
    )
    metadata = RunMetadata(
        stages=("motion", *streams) if "temporal" in streams else streams,
        data="/home/someone/my clips/labels.csv",
        warm_start={"motion": "runs/secret/first"},
        motion_init={"file": "/home/someone/weights/nano.safetensors", "sha256": "0" * 64},
        min_fps=25.0,
        max_fps=25.0,
        calibration=calibration,
    )
    torch.manual_seed(0)
    model = build_model(recipe, len(CLASSES)).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    for stream in streams:
        _spread_scores(model, stream, make_clips(4, num_frames, size))
    return model, RunInfo(recipe, CLASSES, metadata)


@torch.no_grad()
def _spread_scores(model: HiddenTwoStream, stream: str, clips: RawClip) -> None:
    """Set the last layer of a stream so that the logits of clips vary about 0, by about 1."""
    frames = model.preprocess(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))
    embeddings = getattr(model, f"{stream}_embedding")(frames)
    layers = [layer for layer in getattr(model, f"{stream}_stream").modules() if isinstance(layer, nn.Linear)]
    mean = embeddings.mean(dim=0)
    layers[-1].weight.normal_().div_((embeddings - mean).square().sum(dim=1).mean().sqrt())
    layers[-1].bias.copy_(-layers[-1].weight @ mean)


def make_clips(number: int = 16, num_frames: int = 3, size: int = 32) -> RawClip:
    """Generated clips, (number, num_frames, size, size, 3) uint8."""
    labels = ("left", "up", "grow", "turn_clockwise")
    return np.stack(
        [
            generate_clip(labels[seed % 4], seed, num_frames=num_frames, size=size).frames
            for seed in range(number)
        ]
    )

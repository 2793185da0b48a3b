"""Labels for each frame: temporal convolutions over the features of all frames of a video.

The features are the vectors of pairs of frames, of a temporal stream of the form "sequence" that stays as it
is. This form is ours, after the dilated residual blocks of MS-TCN (Abu Farha and Gall, arXiv 1903.01945).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hidden_two_stream.types import FloatArray

__all__ = ["CONTEXT", "FrameHead", "frame_logits", "frame_scores"]

_DILATIONS = (1, 2, 4, 8, 16)

CONTEXT = sum(_DILATIONS)
"""Frames on each side that the label of a frame depends on."""


class FrameHead(nn.Module):
    """Maps the features of the frames of a video to logits for each frame.

    Args:
        in_features: features per frame, D.
        num_outputs: logits per frame, K.
        width: channels inside.
        dropout: probability in front of each layer.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, in_features: int, num_outputs: int, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("scale", torch.ones(in_features))
        self.inputs = nn.Sequential(nn.Dropout(dropout), nn.Conv1d(in_features, width, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Conv1d(width, width, 1),
            )
            for dilation in _DILATIONS
        )
        self.outputs = nn.Sequential(nn.ReLU(), nn.Conv1d(width, num_outputs, 1))

    def standardize(self, features: Tensor) -> None:
        """Store mean and standard deviation of features (N, D), which the inputs are then divided by."""
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(features.std(dim=0, correction=0).clamp(min=1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, N, D) of N neighboring frames to logits (B, N, K)."""
        hidden = self.inputs(((features - self.mean) / self.scale).transpose(1, 2))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.outputs(hidden).transpose(1, 2)
        return logits


@torch.no_grad()
def frame_logits(head: FrameHead, features: Tensor) -> Tensor:
    """Return the logits (N, outputs) of the features (N, D) of a video."""
    logits: Tensor = head.eval()(features[None])[0]
    return logits


def frame_scores(logits: Tensor, exclusive: bool, temperature: float) -> FloatArray:
    """Return scores (N, K), 0…1, of logits; those of exclusive behaviors and the background sum to 1."""
    values = logits.double() / temperature
    scores = values.softmax(dim=1)[:, 1:] if exclusive else values.sigmoid()
    return np.asarray(scores.numpy(), np.float32)

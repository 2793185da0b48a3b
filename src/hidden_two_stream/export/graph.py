"""One graph from decoded frames to everything that a recognizer knows about them.

Preprocessing, both streams, temperatures and fusion are part of the graph, so a host only resizes and crops.
Several clips of a video are averaged before they are fused: average the logits, then fuse; the graph's
`scores` are those of single clips.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from hidden_two_stream.checkpoint import RunInfo
from hidden_two_stream.config.schema import FusionConfig
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.streams import Stream

__all__ = ["ExportGraph", "fused"]

_LOWEST_LOG = math.log(1e-38)  # as `recognition.calibration.with_temperature` limits scores
_SMALLEST_SCORE = 1.2e-38  # float32 has no normal number below


class ExportGraph(nn.Module):
    """A model with its preprocessing, temperatures and fusion, as one function of frames.

    Args:
        model: the networks, in evaluation mode.
        info: their description.

    Attributes:
        outputs: names of the outputs, in order: "spatial_logits" and "temporal_logits" (B, classes), divided
            by the temperatures of a calibrated run; "scores" (B, classes), fused; "flow"
            (B, T−1, 2, h, w), px of its own grid; "spatial_embedding" and "temporal_embedding" (B, D). A
            stream that was not trained has no outputs, and a model without MotionNet no flow.
    """

    def __init__(self, model: HiddenTwoStream, info: RunInfo) -> None:
        super().__init__()
        self.model = model
        self._scoring = Scoring.of(info)
        streams = self._scoring.streams
        self.outputs = (
            *(f"{name}_logits" for name in streams),
            "scores",
            *(("flow",) if hasattr(model, "motion_net") else ()),
            *(f"{name}_embedding" for name in streams),
        )

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for clips (B, T, H, W, 3) uint8 RGB."""
        model, scoring = self.model, self._scoring
        frames = model.preprocess(clips.permute(0, 1, 4, 2, 3))
        found: dict[str, Tensor] = {}
        if "temporal" in scoring.streams:
            pyramid, found["temporal_embedding"] = model.motion_and_embedding(frames)
            found["flow"] = pyramid[0]
        elif "flow" in self.outputs:
            found["flow"] = model.motion(frames)[0]
        if "spatial" in scoring.streams:
            found["spatial_embedding"] = model.spatial_embedding(frames)
        streams = {name: cast(Stream, getattr(model, f"{name}_stream")) for name in scoring.streams}
        logits = scoring.calibrated(
            {name: stream.classify(found[f"{name}_embedding"]) for name, stream in streams.items()}
        )
        found |= {f"{name}_logits": values for name, values in logits.items()}
        found["scores"] = fused(logits, scoring.info.recipe.fusion, scoring.calibration)
        return tuple(found[name] for name in self.outputs)


def fused(logits: dict[str, Tensor], fusion: FusionConfig, calibration: Calibration | None) -> Tensor:
    """Return `recognition.calibration.fused_scores` of logits (B, classes), as differentiable tensors."""
    weights = {"spatial": fusion.spatial_weight, "temporal": fusion.temporal_weight}
    total = sum(weights[name] for name in logits)
    shares = {name: weights[name] / total for name in logits}
    if fusion.method == "product":
        logs = sum((share * logits[name].log_softmax(-1) for name, share in shares.items()), torch.zeros(()))
        if calibration is None:
            return logs.softmax(-1)
        logs = logs.log_softmax(-1).clamp(min=_LOWEST_LOG)
    else:
        term = _l1_normalized if fusion.method == "l1" else _softmax
        scores = sum((share * term(logits[name]) for name, share in shares.items()), torch.zeros(()))
        if calibration is None:
            return scores
        logs = scores.clamp(min=_SMALLEST_SCORE).log()
        logs = torch.where(scores < _SMALLEST_SCORE, torch.full_like(logs, _LOWEST_LOG), logs)
    return (logs / calibration.fused_temperature).softmax(-1)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(-1)


def _l1_normalized(logits: Tensor) -> Tensor:
    """Return `recognition.fusion.l1_normalize` of logits."""
    positive = logits.clamp(min=0)
    total = positive.sum(-1, keepdim=True)
    shares = positive / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, shares, torch.full_like(shares, 1 / logits.shape[-1]))

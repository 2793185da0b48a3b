"""The objective of each training stage. `config.stages` holds the table of stages.

motion    MotionNet alone, on raw video, without labels
spatial   the spatial stream, on single frames
temporal  the temporal stream behind a frozen MotionNet (the paper's fine-tuning way a)
joint     the temporal stream and MotionNet, with action loss and unsupervised losses (way c; way b with an
          unsupervised weight of 0)

A branched temporal stream shares MotionNet's encoder. Stage temporal trains only the branch; stage joint
trains the branch and MotionNet.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import MODULES, Stage
from hidden_two_stream.motion.losses.distillation import (
    distillation_loss,
    random_crop,
    student_frames,
    teacher_loss,
)
from hidden_two_stream.motion.losses.occlusion import backward_pyramid
from hidden_two_stream.motion.losses.presets import LossPreset
from hidden_two_stream.motion.losses.residual import residual_pairs
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.recognition.image_encoder import EncoderBackbone

__all__ = ["StageObjective", "leaves_unused", "segment_consensus", "select_trained"]

RESIDUAL_EPSILON_PX = 0.01  # small, because the flow of half of the pairs is exact


def select_trained(
    model: nn.Module, stage: Stage, *, train_encoder: bool = False, keep_statistics: bool = False
) -> None:
    """Make exactly the stage's parts trainable, and freeze all others.

    Frozen parts take no gradients and stay in evaluation mode, so neither their weights nor the running
    statistics of their normalization layers move. An image encoder is part of the spatial stream, and frozen
    unless `train_encoder` is true. With `keep_statistics`, the normalization layers of a temporal stream keep
    their running statistics and use them in training: those of a few clips are much noisier.
    """
    model.eval().requires_grad_(False)
    for part in stage.parts:
        model.get_submodule(MODULES[part]).train().requires_grad_(True)
    for module in model.modules():
        if isinstance(module, EncoderBackbone):
            module.train_encoder(train_encoder and "spatial" in stage.parts)
    if keep_statistics and "temporal" in stage.parts:
        for module in model.get_submodule(MODULES["temporal"]).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def leaves_unused(model: nn.Module, stage: Stage, config: StageConfig) -> bool:
    """Return whether the stage's loss does not reach all parameters that it trains.

    A branched stream sees the features of MotionNet's encoder, so the action loss alone (way b) does not
    reach the decoder.
    """
    branched = getattr(model, "temporal_form", "") == "branched"
    return branched and stage.name == "joint" and config.unsupervised_weight == 0


class StageObjective(nn.Module):
    """The loss of one stage as a module, so that wrappers for precision and distribution see one call.

    Args:
        model: a `HiddenTwoStream`, or another model with the methods that the stage calls.
        stage: the stage.
        config: the stage's configuration.
        preset: the unsupervised losses.
        teacher: a trained MotionNet that gives the distillation target of stage motion.
        target: the distillation target: "flow" or "residual".
    """

    def __init__(
        self,
        model: nn.Module,
        stage: Stage,
        config: StageConfig,
        preset: LossPreset,
        teacher: nn.Module | None = None,
        target: str = "flow",
    ) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False) if teacher and stage.name == "motion" else None
        self.model: Any = model
        self.stage = stage
        self.config = config
        self.preset = preset
        self.target = target

    def forward(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return scalars by name; "loss" is the one to minimize.

        Args:
            frames: (B·K, T, 3, H, W), preprocessed; K segments of each of B videos.
            labels: (B,) class numbers.
        """
        scalars: dict[str, Tensor] = {}
        loss = frames.new_zeros(())
        pyramid, logits = self._outputs(frames)
        if pyramid and self.config.unsupervised_weight > 0:
            terms = self._unsupervised(frames, pyramid)
            loss = loss + self.config.unsupervised_weight * terms.pop("total")
            scalars |= terms
        if self.teacher is not None:
            scalars["teacher"] = self._teacher_distance(frames, pyramid)
            loss = loss + scalars["teacher"]
        if logits is not None:
            logits = segment_consensus(logits, len(frames) // len(labels))
            action = functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
            loss = loss + action
            scalars["action"] = action
            scalars["accuracy"] = (logits.argmax(dim=1) == labels).float().mean()
        return {"loss": loss} | {name: value.detach() for name, value in scalars.items()}

    def _teacher_distance(self, frames: Tensor, pyramid: list[Tensor]) -> Tensor:
        """Return the distance of MotionNet's flow from the distillation target, px: a scalar.

        The target "flow" is the teacher's flow of the same frames. The target "residual" is the flow of pairs
        that are made from the frames; it does not use `pyramid`.
        """
        assert self.teacher is not None
        with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
            flow = self.teacher(frames)[0]
            if self.target == "residual":
                pairs, residual = residual_pairs(frames, flow[:, 0])
        if self.target != "residual":
            return teacher_loss(pyramid, flow, frames.shape[-1])
        return teacher_loss(self.model.motion(pairs), residual, pairs.shape[-1], RESIDUAL_EPSILON_PX)

    def _unsupervised(self, frames: Tensor, pyramid: list[Tensor]) -> dict[str, Tensor]:
        """Return the loss terms of the preset, and their "total"."""
        preset, config = self.preset, self.config
        backward = backward_pyramid(self.model.motion, frames) if preset.occlusion else None
        terms = unsupervised_loss(
            frames,
            pyramid,
            preset,
            config.ssim_factor,
            config.pixel_factor,
            config.smoothness_factor,
            backward,
        )
        if preset.distill_weight:
            height, width = frames.shape[-2:]
            crop = random_crop(height, width)
            student = self.model.motion(student_frames(frames, crop))[0]
            constants = (preset.smooth_epsilon, preset.smooth_exponent)
            checked = backward[0] if backward else None
            distance = distillation_loss(
                student, pyramid[0], crop, (height, width), preset.border, constants, checked
            )
            terms["distillation"] = preset.distill_weight * distance
            terms["total"] = terms["total"] + terms["distillation"]
        return terms

    def _outputs(self, frames: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return the flow pyramid and the logits; [] and None stand for what the stage does not need."""
        unsupervised = self.stage.unsupervised and self.config.unsupervised_weight > 0
        if self.stage.stream == "spatial":
            return [], self.model.spatial(frames)
        if self.stage.stream is None:
            only_pairs = self.teacher is not None and self.target == "residual" and not unsupervised
            return [] if only_pairs else self.model.motion(frames), None
        if unsupervised:
            both: tuple[list[Tensor], Tensor] = self.model.motion_and_temporal(frames)
            return both
        return [], self.model.temporal(frames)


def segment_consensus(logits: Tensor, segments: int) -> Tensor:
    """Return the mean logits of each video's clips: (B · segments, classes) → (B, classes).

    Temporal segment networks with average consensus (Wang et al., arXiv 1608.00859, equation 1).
    """
    consensus: Tensor = logits.unflatten(0, (-1, segments)).mean(dim=1)
    return consensus

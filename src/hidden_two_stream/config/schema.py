"""The fields of a recipe: how a recognizer is built and trained.

A recipe is a YAML file with the fields below. Fields that it leaves out take the defaults given here. The
shipped recipes, in the folder `recipes`, are examples to copy. Configuration never enters a model: models
take plain arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = [
    "STAGE_NAMES",
    "FusionConfig",
    "InputConfig",
    "ModelConfig",
    "Recipe",
    "StageConfig",
]

STAGE_NAMES = ("motion", "spatial", "temporal", "joint")


@dataclass(frozen=True)
class ModelConfig:
    """Which networks.

    Attributes:
        motion: member of the MotionNet family: "nano", "nano-fine", "tiny", "full" (the paper's MotionNet),
            "vgg16", "resnet50" or "flownets".
        backbone: of the streams: "small", "resnet18", "resnet50" or "vgg16".
        num_frames: frames per clip, T.
        temporal_dropout: dropout of the temporal stream's head.
        spatial_dropout: dropout of the spatial stream's head.
        temporal: form of the temporal stream: "stacked" (flow fields as channels), "inflated" (3-D
            convolutions over them) or "branched" (an action branch on MotionNet's encoder).
        streams: those that are built and trained: "spatial", "temporal".
        motion_frames: frames that MotionNet takes at once; 0: all T. 2 is the two-frame MotionNet, run on
            each pair of neighbours.
        hand_over: what the resizing of flow for the temporal stream finds beyond the border: "edge", or
            "reference" (zeros, as the authors' networks).
        temporal_input: what the temporal stream sees: "motion" (hidden motion); or, to compare with, the
            clip's "frames", their "difference" from one to the next, or "flow" that was computed before and
            is stored in place of pictures. Without hidden motion there is no MotionNet.
    """

    motion: Literal["nano", "nano-fine", "tiny", "full", "vgg16", "resnet50", "flownets"] = "nano"
    backbone: Literal["small", "resnet18", "resnet50", "vgg16"] = "small"
    num_frames: int = 11
    temporal_dropout: float = 0.5
    spatial_dropout: float = 0.5
    temporal: Literal["stacked", "inflated", "branched"] = "stacked"
    streams: Sequence[Literal["spatial", "temporal"]] = ("spatial", "temporal")
    motion_frames: int = 0
    hand_over: Literal["edge", "reference"] = "edge"
    temporal_input: Literal["motion", "frames", "difference", "flow"] = "motion"


@dataclass(frozen=True)
class InputConfig:
    """How decoded pictures become `frames`; saved with every run, so that prediction does the same.

    Attributes:
        size: side of the square that the networks see, px; a multiple of 32. 0: taken from the data, the
            median shorter side of the videos, between `min_size` and `max_size`.
        min_size: lower bound where `size` is 0.
        max_size: upper bound where `size` is 0, also of `min_size`.
        resize: height and width of the picture before cropping, px; one number: the shorter side, keeping
            the aspect ratio; 0: the same as `size`.
        frame_stride: distance of the frames of a clip, in frames of the video.
        normalize_contrast: bring every clip to the same mean and contrast (thermal and other weak sensors).
        crop_scales: sides of random training crops relative to the largest; 1 alone: no scale change.
        flip: mirror half of the training clips. Switch off where left and right make the class.
        color_jitter: strength of brightness, contrast and saturation changes for the spatial stream, 0…1.
        segments: clips per training sample, one from each of as many equal parts of the video; their logits
            are averaged before the loss (temporal segment networks). Stage motion always takes one.
    """

    size: int = 0
    min_size: int = 64
    max_size: int = 128
    resize: int | tuple[int, int] = 0
    frame_stride: int = 1
    normalize_contrast: bool = False
    crop_scales: Sequence[float] = (1.0, 0.875, 0.75)
    flip: bool = True
    color_jitter: float = 0.3
    segments: int = 1


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained.

    Attributes:
        steps: optimiser steps; 0 leaves the stage out.
        batch_size: clips per forward pass and device.
        accumulate: forward passes per optimiser step.
        optimizer: "adamw", "adam" (weight decay inside the gradient, as in Caffe) or "sgd" (momentum 0.9).
        learning_rate: of the streams' weights.
        motion_learning_rate: of MotionNet; where a recipe leaves it out, 4e-3 in stage motion, 3e-7 in joint.
        bias_factor: learning rate of the streams' biases relative to their weights.
        weight_decay: on weights; biases and normalisation layers have none.
        schedule: "one-cycle" (warm-up, cosine to zero), "steps" or "constant".
        milestones: steps at which "steps" multiplies the learning rates by `decay`.
        decay: factor of "steps".
        clip_norm: largest norm of the gradient of all trained weights together; 0: no clipping.
        label_smoothing: of the cross entropy.
        unsupervised_weight: weight of the unsupervised losses (stages motion and joint).
        pixel_factor: factor on the reconstruction weights of the loss preset, pixels and census.
        smoothness_factor: factor on the smoothness weights of the loss preset.
        ssim_factor: factor on the SSIM weights of the loss preset.
    """

    steps: int = 0
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    motion_learning_rate: float = 0.0
    bias_factor: float = 1.0
    weight_decay: float = 1e-4
    schedule: Literal["one-cycle", "steps", "constant"] = "one-cycle"
    milestones: Sequence[int] = ()
    decay: float = 0.1
    clip_norm: float = 10.0
    label_smoothing: float = 0.0
    unsupervised_weight: float = 1.0
    pixel_factor: float = 1.0
    smoothness_factor: float = 1.0
    ssim_factor: float = 1.0


@dataclass(frozen=True)
class FusionConfig:
    """Late fusion of the streams.

    Attributes:
        method: "product" (geometric mean of probabilities), "softmax" (arithmetic mean of probabilities) or
            "l1" (the reference: negative scores clipped, rows divided by their sum).
        spatial_weight: weight of the spatial stream.
        temporal_weight: weight of the temporal stream (the reference: 1.5).
    """

    method: Literal["product", "softmax", "l1"] = "product"
    spatial_weight: float = 1.0
    temporal_weight: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run needs beside the data.

    Attributes:
        model: which networks.
        input: from pictures to `frames`.
        loss: preset of the unsupervised losses: "census", "paper", "caffe", "robust", or "robust" with one
            idea more: "occlusion", "distill" or "multiframe" (`motion.presets`).
        init: where the streams' backbones begin: "none" (random), "imagenet" (torchvision's published
            weights), or a state dict: a file or a URL.
        motion_init: where MotionNet begins: "none" (random), "shipped" (the weights that come with the
            package for this network and number of frames), or a file of motion weights. MotionNet of
            another run goes before it.
        motion_teacher: "none", or a trained MotionNet that stage motion learns from, besides the unsupervised
            losses: its flow of the training clips is what MotionNet shall find. A name of weights that come
            with the package, such as "nano", or a file of motion weights.
        motion_lesson: what the teacher shows: "flow", that of the clips as they are, or "residual", what is
            left of it where the second picture is warped already, for networks for two frames that are used
            from coarse to fine (`motion.residual`).
        motion: stage 1, MotionNet without labels.
        spatial: stage 2, the spatial stream.
        temporal: stage 3, the temporal stream behind a frozen MotionNet.
        joint: stage 4, MotionNet and the temporal stream together.
        fusion: late fusion.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    loss: Literal["robust", "paper", "caffe", "census", "occlusion", "distill", "multiframe"] = "census"
    init: str = "none"
    motion_init: str = "none"
    motion_teacher: str = "none"
    motion_lesson: Literal["flow", "residual"] = "flow"
    motion: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=4e-3))
    spatial: StageConfig = field(default_factory=StageConfig)
    temporal: StageConfig = field(default_factory=StageConfig)
    joint: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=3e-7))
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def stage(self, name: str) -> StageConfig:
        """The configuration of the stage `name`, one of `STAGE_NAMES`."""
        config: StageConfig = getattr(self, name)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, as written to `config.json`."""
        return asdict(self)

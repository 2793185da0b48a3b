"""The fields of a recipe: how a recognizer is built and trained.

A recipe is a YAML file with the fields below; other fields have the default values. The shipped recipes, in
the folder `recipes`, are examples to copy. Models never see a recipe: they take plain arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = [
    "BACKBONES",
    "ENCODER_PREFIX",
    "BackgroundConfig",
    "CalibrationConfig",
    "FusionConfig",
    "InputConfig",
    "ModelConfig",
    "Recipe",
    "StageConfig",
]

BACKBONES = ("small", "resnet18", "resnet50", "vgg16")
"""Backbones that both streams can have."""

ENCODER_PREFIX = "hf:"
"""Begins the backbone "hf:NAME", an image encoder for the spatial stream."""


@dataclass(frozen=True)
class ModelConfig:
    """The networks of a recognizer.

    Attributes:
        motion: member of the MotionNet family: "nano", "nano-fine", "tiny", "full" (the paper's MotionNet),
            "vgg16", "resnet50" or "flownets".
        backbone: backbone of the streams: "small", "resnet18", "resnet50", "vgg16" or "hf:NAME". NAME is an
            image encoder of the Hugging Face Hub, or a local folder with one. The spatial stream has this
            encoder. The temporal stream has the backbone "small", because flow is no RGB image.
        num_frames: frames per clip, T.
        temporal_dropout: dropout in the head of the temporal stream.
        spatial_dropout: dropout in the head of the spatial stream.
        temporal: form of the temporal stream: "stacked" (flow fields as channels), "inflated" (3-D
            convolutions over flow fields), "branched" (an action branch on MotionNet's features) or
            "sequence" (an encoder of each frame pair, then convolutions over time; it does not use
            `backbone`).
        streams: the streams that are built and trained: "spatial", "temporal".
        motion_frames: frames that MotionNet takes at once; 0 means all T. 2 is the two-frame MotionNet, run
            on each pair of neighboring frames.
        hand_over: padding when flow is resized for the temporal stream: "edge" repeats the border,
            "reference" pads with zeros, as the authors' networks do.
        encoder: architecture and preprocessing of the image encoder, as JSON
            (`recognition.image_encoder.EncoderConfig`). Training fills it in from "hf:NAME".
    """

    motion: Literal["nano", "nano-fine", "tiny", "full", "vgg16", "resnet50", "flownets"] = "nano"
    backbone: str = "small"
    num_frames: int = 11
    temporal_dropout: float = 0.5
    spatial_dropout: float = 0.5
    temporal: Literal["stacked", "inflated", "branched", "sequence"] = "stacked"
    streams: Sequence[Literal["spatial", "temporal"]] = ("spatial", "temporal")
    motion_frames: int = 0
    hand_over: Literal["edge", "reference"] = "edge"
    encoder: str = ""

    @property
    def encoder_name(self) -> str | None:
        """NAME of the backbone "hf:NAME"; None for other backbones."""
        is_encoder = self.backbone.startswith(ENCODER_PREFIX)
        return self.backbone.removeprefix(ENCODER_PREFIX) if is_encoder else None

    @property
    def temporal_backbone(self) -> str:
        """Backbone of the temporal stream: `backbone`, or "small" beside an image encoder."""
        return self.backbone if self.encoder_name is None else "small"


@dataclass(frozen=True)
class InputConfig:
    """How decoded frames become network input; saved with each run, so that prediction does the same.

    Attributes:
        size: side of the square input of the networks, px, a multiple of 32. 0 takes the median shorter side
            of the videos, limited by `min_size` and `max_size`.
        min_size: lower limit of an automatic `size`, px.
        max_size: upper limit of an automatic `size`, and of `min_size`, px.
        resize: height and width of a frame before cropping, px. One number is the shorter side and keeps the
            aspect ratio. 0 means the same as `size`.
        fps: frames per second of all videos, in training and prediction alike. Videos of another rate are
            sampled by time: the frame nearest to each 1/fps is taken, so the same motion looks equally fast
            in all of them. 0 takes the frames as they are.
        frame_stride: step between the frames of a clip, in frames of the video (after sampling at `fps`).
        normalize_contrast: give each clip the same mean and contrast, for thermal and other weak sensors.
        crop_scales: sides of random training crops relative to the largest crop; a single 1 keeps the scale.
        flip: mirror half of the training clips. Set it to false if classes differ in left and right.
        color_jitter: strength of brightness, contrast and saturation changes for the spatial stream, 0 to 1.
        segments: clips per training sample, one from each of as many equal parts of the video. Their logits
            are averaged before the loss (temporal segment networks). Stage motion always takes one clip.
    """

    size: int = 0
    min_size: int = 64
    max_size: int = 128
    resize: int | tuple[int, int] = 0
    fps: float = 0.0
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
        steps: optimizer steps; 0 leaves the stage out.
        batch_size: clips per forward pass and device.
        accumulate: forward passes per optimizer step.
        optimizer: "adamw", "adam" (weight decay inside the gradient, as in Caffe), "sgd" (momentum 0.9) or
            "logistic". The last is for stage temporal with a pre-trained stream of the form "sequence": only
            its last layer is fitted, by logistic regression, in about a second. `steps` is then the largest
            number of iterations, `weight_decay` the weight of the squared weights, and the other fields
            have no use.
        learning_rate: learning rate of the streams' weights.
        motion_learning_rate: learning rate of MotionNet; by default 4e-3 in stage motion, 3e-7 in joint.
        encoder_learning_rate: learning rate of the image encoder (backbone "hf:NAME") in stage spatial. 0
            freezes the encoder: its weights and its normalization statistics stay the same.
        fine_tuning_factor: learning rate in stage temporal of a temporal stream that begins with pre-trained
            weights, relative to `learning_rate`.
        bias_factor: learning rate of the streams' biases relative to that of their weights.
        weight_decay: decay of weights; biases and normalization layers have none.
        schedule: "one-cycle" (warm-up, then cosine to zero), "steps" or "constant".
        milestones: steps at which the schedule "steps" multiplies the learning rates by `decay`.
        decay: factor of the schedule "steps".
        clip_norm: largest norm of the gradient of all trained weights together; 0 does not clip.
        label_smoothing: label smoothing of the cross entropy.
        unsupervised_weight: weight of the unsupervised losses in stages motion and joint.
        pixel_factor: factor on the reconstruction weights of the loss preset, pixels and census.
        smoothness_factor: factor on the smoothness weights of the loss preset.
        ssim_factor: factor on the SSIM weights of the loss preset.
    """

    steps: int = 0
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd", "logistic"] = "adamw"
    learning_rate: float = 1e-3
    motion_learning_rate: float = 0.0
    encoder_learning_rate: float = 0.0
    fine_tuning_factor: float = 0.5
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
    """Late fusion of the streams' scores.

    Attributes:
        method: "product" (geometric mean of probabilities), "softmax" (arithmetic mean of probabilities) or
            "l1" (the reference: negative scores clipped to 0, rows divided by their sum).
        spatial_weight: weight of the spatial stream, whether calibrated or not.
        temporal_weight: weight of the temporal stream (the reference: 1.5).
    """

    method: Literal["product", "softmax", "l1"] = "product"
    spatial_weight: float = 1.0
    temporal_weight: float = 2.0


@dataclass(frozen=True)
class CalibrationConfig:
    """How the temperatures of the streams and the threshold of unknown actions are fitted.

    Attributes:
        method: "none", or "held-back": the labeled stages are trained again on a part of the training
            videos, and the streams are calibrated by their scores of the other part. The weights of the run
            stay the same.
        folds: parts of the training videos. Each is held back once, so the labeled stages are trained as many
            times more.
        largest_set: with more training videos than this number, only one tenth of them is held back, once.
    """

    method: Literal["none", "held-back"] = "none"
    folds: int = 3
    largest_set: int = 1000


@dataclass(frozen=True)
class BackgroundConfig:
    """Whether time without a label is a class of its own, "background", in data with labeled segments.

    Attributes:
        windows: "none": time without a label is not used. "between": windows from between two labeled
            segments of one recording are the class "background". Choose it only if everything of interest
            is labeled there.
        margin_seconds: distance of these windows from the segments, s.
        shortest_seconds: shortest gap to draw windows from, without its margins, s.
    """

    windows: Literal["none", "between"] = "none"
    margin_seconds: float = 0.5
    shortest_seconds: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run needs besides the data.

    Attributes:
        model: the networks.
        input: from decoded frames to network input.
        loss: preset of the unsupervised losses: "census", "paper", "caffe", "robust", or "robust" with one
            later term: "occlusion", "distill" or "multiframe" (`motion.losses.presets`).
        init: initial weights of the streams' backbones: "none" (random), "imagenet" (torchvision's published
            weights), or the file or URL of a state dict.
        motion_init: initial weights of MotionNet: "none" (random), "shipped" (the weights that come with the
            package for this network and number of frames), or a file of motion weights. A warm start from
            another run takes precedence.
        temporal_init: initial weights of a temporal stream of the form "sequence": "none" (random), "shipped"
            (pre-trained on generated motions, behind the shipped MotionNet), or a file of temporal weights. A
            warm start from another run takes precedence.
        motion_teacher: a trained MotionNet whose flow is the distillation target of stage motion, besides the
            unsupervised losses: "none", the name of shipped weights such as "nano", or a file of motion
            weights.
        motion_target: distillation target: "flow", the teacher's full flow of each clip, or "residual", the
            flow that is left after the second frame is warped. The residual is for two-frame networks that
            run from coarse to fine (`motion.losses.residual`).
        motion: stage 1, MotionNet without labels.
        spatial: stage 2, the spatial stream.
        temporal: stage 3, the temporal stream behind a frozen MotionNet.
        joint: stage 4, MotionNet and the temporal stream together.
        fusion: late fusion.
        calibration: temperatures and threshold from held-back training videos.
        background: whether time without a label is a class of its own.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    loss: Literal["robust", "paper", "caffe", "census", "occlusion", "distill", "multiframe"] = "census"
    init: str = "none"
    motion_init: str = "none"
    temporal_init: str = "none"
    motion_teacher: str = "none"
    motion_target: Literal["flow", "residual"] = "flow"
    motion: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=4e-3))
    spatial: StageConfig = field(default_factory=StageConfig)
    temporal: StageConfig = field(default_factory=StageConfig)
    joint: StageConfig = field(default_factory=lambda: StageConfig(motion_learning_rate=3e-7))
    fusion: FusionConfig = field(default_factory=FusionConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)

    def stage(self, name: str) -> StageConfig:
        """Return the configuration of the stage `name`, one of `config.stages.STAGE_NAMES`."""
        config: StageConfig = getattr(self, name)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, as written to `config.json`."""
        return asdict(self)

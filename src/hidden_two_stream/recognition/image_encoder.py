"""Image encoders of the `transformers` library as backbones of the spatial stream.

A checkpoint holds the encoder's architecture as plain values (`EncoderConfig`) beside its weights. Encoders
are built from these values alone: nothing is read from other files or from the network. Weights come from
`weights.image_encoder`.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.files import parse_json
from hidden_two_stream.video.transforms import MEAN_RGB

__all__ = [
    "FAMILIES",
    "INTERPOLATIONS",
    "MAX_LAYERS",
    "MAX_NUMBER",
    "MAX_PARAMETERS",
    "MAX_SIDE",
    "MODULE",
    "UNUSED",
    "EncoderBackbone",
    "EncoderConfig",
    "as_encoder",
    "encoder_features",
    "import_transformers",
    "plain_config",
    "quiet_transformers",
]

FAMILIES = (
    "resnet", "convnext", "vit", "dinov2",
    "beit", "clip_vision_model", "convnextv2", "deit", "dinov2_with_registers", "dinov3_convnext",
    "dinov3_vit", "hiera", "ijepa", "regnet", "siglip_vision_model", "swin",
    "swinv2", "vit_msn",
)  # fmt: skip
"""Model types that are built. Others could load a network of their own from elsewhere."""

INTERPOLATIONS = ("nearest-exact", "bilinear", "bicubic")

MAX_SIDE = 1024
"""Longest side of an encoder's input, px."""

MAX_PARAMETERS = 2_000_000_000
MAX_NUMBER = 65_536
"""Largest whole number in the configuration of an encoder."""
MAX_LAYERS = 256
"""Largest number of layers in the configuration of an encoder, for lists of each stage."""

MODULE = "image_encoder"
"""Submodule of `EncoderBackbone` that holds the encoder; training finds its weights by this name."""

UNUSED = "mask_token"
"""Name of weights that stand for hidden parts of an image; there are none here."""

_DROPPED = frozenset(
    (
        "model_type", "architectures", "transformers_version", "_name_or_path", "id2label", "label2id",
        "problem_type", "dtype", "torch_dtype", "return_dict", "output_hidden_states", "output_attentions",
        "chunk_size_feed_forward", "is_encoder_decoder", "stage_names", "out_features", "out_indices",
    )
)  # fmt: skip
"""Fields of a configuration that describe a file, a classifier or a call, not the encoder."""


@dataclass(frozen=True)
class EncoderConfig:
    """Architecture and preprocessing of an image encoder.

    Attributes:
        model_type: its family, one of `FAMILIES`.
        config: fields of the family's configuration in `transformers`: numbers, texts, and lists of these.
        height, width: size of its input, px.
        scale: factor on pixels of 0 to 255, before `mean` and `std`.
        mean, std: mean and standard deviation of scaled R, G and B.
        interpolation: how frames are resized, one of `INTERPOLATIONS`.
    """

    model_type: str
    config: Mapping[str, Any]
    height: int
    width: int
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"

    def to_json(self) -> str:
        """Return the text that `from_json` reads, the same for equal configurations."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EncoderConfig:
        """Return the configuration in a recipe's field `model.encoder`.

        Raises:
            UsageError: the text is not JSON, or a value is missing, unknown or out of range.
        """
        try:
            data = parse_json(text)
            if not isinstance(data, dict):
                raise ValueError("it is not a table")
            names = [item.name for item in fields(cls)]
            wrong = [name for name in {*names, *data} if name not in names or name not in data]
            if wrong:
                raise ValueError(
                    f"its field {min(wrong)!r} is {'missing' if wrong[0] in names else 'unknown'}"
                )
            data |= {name: tuple(data[name]) for name in ("mean", "std")}
            found = cls(**data)
            _require_valid(found)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"model.encoder does not describe an image encoder: {error}; training fills it in from "
                "model.backbone=hf:NAME"
            ) from error
        return found


def _require_valid(found: EncoderConfig) -> None:
    """Raise a ValueError about a value that no image encoder has."""
    if found.model_type not in FAMILIES:
        raise ValueError(f"its model_type is {found.model_type!r}; expected one of {', '.join(FAMILIES)}")
    for name in ("height", "width"):
        side = getattr(found, name)
        if type(side) is not int or not 1 <= side <= MAX_SIDE:
            raise ValueError(f"its {name} is {side!r}; expected 1 to {MAX_SIDE} px")
    for name in ("mean", "std"):
        values = getattr(found, name)
        if len(values) != 3 or not all(_is_number(value) for value in values):
            raise ValueError(f"its {name} is {list(values)!r}; expected three numbers")
    if not _is_number(found.scale) or found.scale <= 0 or min(found.std) <= 0:
        raise ValueError(
            f"its scale is {found.scale!r} and its std {list(found.std)}; expected numbers above 0"
        )
    if found.interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"its interpolation is {found.interpolation!r}; expected one of {', '.join(INTERPOLATIONS)}"
        )
    if not isinstance(found.config, dict):
        raise ValueError("its config is not a table")
    for name, value in found.config.items():
        _require_plain(name, value)
    if found.config.get("num_channels", 3) != 3:
        raise ValueError(f"its num_channels is {found.config['num_channels']}; expected 3, for RGB")


def _require_plain(name: str, value: object) -> None:
    """Raise a ValueError about a field of `EncoderConfig.config` that is nested or too large."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not _is_number(item):
            raise ValueError(f"its {name} is {item}; expected a finite number")
        if not (item is None or isinstance(item, bool | int | float | str)):
            raise ValueError(f"its {name} is {str(value)[:60]}; expected numbers and texts")
        if isinstance(item, int):
            is_depth = any(part in name for part in ("layers", "depths", "blocks"))
            largest = MAX_LAYERS if is_depth else MAX_NUMBER
            if abs(item) > largest:
                raise ValueError(f"its {name} is {item}; expected at most {largest}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class EncoderBackbone(nn.Module):
    """An image encoder, normalization of its features, dropout, one linear layer.

    The normalization makes the linear layer independent of the scale of the features, which differs between
    families. The encoder's own preprocessing is part of the module, so an export contains it. Its center crop
    is not: clips are cropped already.

    Args:
        config: the encoder.
        num_classes: number of actions.
        dropout: probability in front of the linear layer.

    Raises:
        MissingDependencyError: transformers is not installed.
        UsageError: the encoder's values do not fit each other, it is too large, or it does not take images of
            its size.
    """

    def __init__(self, config: EncoderConfig, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.config = config
        width = _num_features(config)
        self.image_encoder = _model(config)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def train_encoder(self, trained: bool) -> None:
        """Make the encoder trainable, or freeze its weights and normalization statistics."""
        self.image_encoder.train(trained).requires_grad_(trained)
        for name, parameter in self.image_encoder.named_parameters():
            if name.endswith(UNUSED):  # distributed training expects a gradient of each trained weight
                parameter.requires_grad_(False)

    def embedding(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), normalized as `frames` are, to normalized features (B, D)."""
        features: Tensor = self.norm(encoder_features(self.image_encoder, self.prepare(images)))
        return features

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(embedding))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), normalized as `frames` are, to logits (B, classes)."""
        return self.classify(self.embedding(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Return the encoder's input (B, 3, height, width) of `images` (B, 3, H, W).

        The images are normalized as `frames` are. Resizing is antialiased where it shrinks (pixel centers,
        `align_corners=False`).
        """
        config = self.config
        size = (config.height, config.width)
        if images.shape[-2:] != size:
            smooth = config.interpolation != "nearest-exact"
            options: dict[str, Any] = {"align_corners": False, "antialias": True} if smooth else {}
            images = F.interpolate(images, size, mode=config.interpolation, **options)
        # frames are (pixel - MEAN_RGB) / 255; the encoder expects (scale × pixel - mean) / std
        factor = [255 * config.scale / std for std in config.std]
        offset = [
            (config.scale * ours - theirs) / std
            for ours, theirs, std in zip(MEAN_RGB, config.mean, config.std, strict=True)
        ]
        return images * _per_channel(factor, images) + _per_channel(offset, images)


def _per_channel(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def encoder_features(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return features (B, C) of preprocessed `images` (B, 3, H, W).

    They are the encoder's pooled output. An encoder without one gives its class token, or the mean of its
    tokens or of its feature map.
    """
    output = encoder(pixel_values=images)
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        hidden = output.last_hidden_state
        if hidden.ndim == 4:  # (B, C, h, w)
            pooled = hidden.mean(dim=(2, 3))
        else:  # (B, tokens, C)
            pooled = hidden[:, 0] if _has_class_token(encoder) else hidden.mean(dim=1)
    features: Tensor = pooled.flatten(1)
    return features


def _has_class_token(encoder: nn.Module) -> bool:
    names = (name.rpartition(".")[2] for name, _ in encoder.named_parameters())
    return any(name in ("cls_token", "class_embedding") for name in names)


def _model(config: EncoderConfig) -> nn.Module:
    """Return an encoder with random weights, in evaluation mode."""
    transformers = import_transformers()
    if config.model_type not in FAMILIES or config.model_type not in transformers.CONFIG_MAPPING:
        raise UsageError(
            f"this version of transformers ({transformers.__version__}) has no image encoder "
            f"{config.model_type!r}; use a newer one"
        )
    kind = transformers.CONFIG_MAPPING[config.model_type]
    unknown = config.config.keys() - (kind().to_dict().keys() - _DROPPED)
    if unknown:
        raise UsageError(f"the image encoder {config.model_type} has no field {min(unknown)!r}")
    try:
        with quiet_transformers():
            return as_encoder(transformers.MODEL_MAPPING[kind](kind(**config.config)))
    except Exception as error:  # values from elsewhere can fail anywhere inside the library
        raise UsageError(
            f"cannot build the image encoder {config.model_type}: {_first_line(error)}"
        ) from error


def as_encoder(model: Any) -> nn.Module:
    """Return a model of transformers without what a backbone does not use, with all its tensors in its state.

    The pooling of BERT, a linear layer over the class token, is taken out: many published weights have none.
    """
    if hasattr(getattr(model, "pooler", None), "dense"):
        model.pooler = None
    for module in model.modules():
        # Else a model that is built without memory would lack them: they are not part of its state.
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer, persistent=True)
    encoder: nn.Module = model.eval()
    return encoder


def _num_features(config: EncoderConfig) -> int:
    """Return the number of features of an encoder, found without memory or computation.

    Raises:
        UsageError: the encoder is too large, or does not take images of its size.
    """
    with torch.device("meta"):
        encoder = _model(config)
        num_parameters = sum(parameter.numel() for parameter in encoder.parameters())
        if num_parameters > MAX_PARAMETERS:
            raise UsageError(
                f"the image encoder {config.model_type} has {num_parameters:,} parameters; expected at most "
                f"{MAX_PARAMETERS:,}"
            )
        images = torch.empty(1, 3, config.height, config.width)
        try:
            with torch.no_grad():
                return encoder_features(encoder, images).shape[1]
        except Exception as error:  # any layer of the library can refuse the size
            raise UsageError(
                f"the image encoder {config.model_type} does not take images of "
                f"{config.height}×{config.width} px: {_first_line(error)}"
            ) from error


def plain_config(model_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a family's configuration, those that `data` lacks with their default values.

    All values are kept, so that other defaults in a later version of transformers change nothing.

    Args:
        model_type: the family, one of `FAMILIES`.
        data: fields of a `config.json`. Those that the family does not have, or that describe a classifier,
            are left out.

    Raises:
        MissingDependencyError: transformers is not installed.
        UsageError: a value has the wrong type.
    """
    kind = import_transformers().CONFIG_MAPPING[model_type]
    known = kind().to_dict().keys() - _DROPPED
    try:
        complete = kind(**{name: data[name] for name in known & data.keys()}).to_dict()
    except Exception as error:  # transformers checks values in ways of its own
        raise UsageError(f"cannot build the image encoder {model_type}: {_first_line(error)}") from error
    return {name: list(v) if isinstance(v := complete[name], tuple) else v for name in sorted(known)}


def import_transformers() -> Any:
    """Return the module `transformers`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingDependencyError(
            f"an image encoder (backbone hf:NAME) needs transformers, which cannot be imported ({error}); "
            "run pip install 'hidden-two-stream[hf]'"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing warnings and progress to stderr."""
    import_transformers()
    logs: Any = importlib.import_module("transformers.utils.logging")
    verbosity, shows_progress = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if shows_progress:
            logs.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__

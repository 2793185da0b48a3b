"""Image encoders of a run: the recipe's description of them, and their weights at its start."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from torch import nn

from hidden_two_stream.config.schema import ENCODER_PREFIX, ModelConfig, Recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import note
from hidden_two_stream.recognition.image_encoder import EncoderBackbone, EncoderConfig
from hidden_two_stream.weights.image_encoder import absolute_name, describe_encoder, load_encoder

__all__ = [
    "begins_from_encoder",
    "check_encoder_weights",
    "load_encoder_weights",
    "resolve_encoder",
    "same_encoder",
]


def resolve_encoder(recipe: Recipe) -> Recipe:
    """Return the recipe of a new run with `model.encoder` filled in, and with the absolute path of a folder.

    Raises:
        MissingDependencyError, UsageError, CheckpointError: as `weights.image_encoder.describe_encoder`.
        UsageError: the recipe describes another encoder.
    """
    model = recipe.model
    if model.encoder_name is None:
        return recipe
    found = describe_encoder(model.encoder_name)
    if model.encoder and EncoderConfig.from_json(model.encoder) != found:
        raise UsageError(
            f"model.encoder describes another image encoder than {model.backbone}; leave it out: training "
            "fills it in"
        )
    name = ENCODER_PREFIX + absolute_name(model.encoder_name)
    return dataclasses.replace(
        recipe, model=dataclasses.replace(model, backbone=name, encoder=found.to_json())
    )


def begins_from_encoder(recipe: Recipe, warm_starts: Collection[str]) -> bool:
    """Return whether the spatial stream begins with the published weights of an image encoder."""
    model = recipe.model
    return model.encoder_name is not None and "spatial" in model.streams and "spatial" not in warm_starts


def same_encoder(one: ModelConfig, other: ModelConfig) -> bool:
    """Return whether two models have the same image encoder; its name, such as a folder, may differ."""
    if not (one.encoder and other.encoder):
        return False
    return EncoderConfig.from_json(one.encoder) == EncoderConfig.from_json(other.encoder)


def check_encoder_weights(recipe: Recipe) -> None:
    """Check that the weights of the recipe's encoder can be loaded, after a download if needed.

    Raises:
        MissingDependencyError, UsageError, CheckpointError: as `weights.image_encoder.load_encoder`.
    """
    load_encoder_weights(
        EncoderBackbone(EncoderConfig.from_json(recipe.model.encoder), 2, 0.0), recipe, quiet=True
    )


def load_encoder_weights(backbone: nn.Module, recipe: Recipe, *, quiet: bool = False) -> None:
    """Load the weights of the recipe's encoder into `backbone`, in place.

    Args:
        backbone: backbone of the spatial stream, an `EncoderBackbone`.
        recipe: its recipe.
        quiet: do not describe the encoder on stderr.

    Raises:
        MissingDependencyError, UsageError, CheckpointError: as `weights.image_encoder.load_encoder`.
    """
    assert recipe.model.encoder_name is not None
    assert isinstance(backbone, EncoderBackbone)
    load_encoder(backbone, recipe.model.encoder_name)
    if quiet:
        return
    millions = sum(parameter.numel() for parameter in backbone.image_encoder.parameters()) / 1e6
    rate = recipe.spatial.encoder_learning_rate
    trained = f"learning rate {rate:g}" if rate else "frozen"
    config = backbone.config
    note(
        f"the spatial stream is the image encoder {recipe.model.encoder_name} ({config.model_type}, "
        f"{millions:.1f} M parameters, {trained}); it sees frames resized to "
        f"{config.height}×{config.width} px"
    )
    if "temporal" in recipe.model.streams:
        note(
            f"the temporal stream has the backbone {recipe.model.temporal_backbone}: an image encoder does "
            "not take flow"
        )

"""The recognizer that comes with the package: a stream that tells generated motions apart."""

from __future__ import annotations

from dataclasses import replace

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.weights.motion import find_motion_weights, load_motion_weights
from hidden_two_stream.weights.temporal import find_temporal_weights, load_temporal_weights

__all__ = ["shipped_recognizer"]


def shipped_recognizer(size: int = 128) -> Recognizer:
    """Return a recognizer with the weights that ship with recipe `quick`, as they are.

    Its classes are those of the generated videos that the stream was trained on, such as "walk_away". It has
    seen no real video: it is there to be taught.

    Args:
        size: height and width of the frames, px.

    Raises:
        UsageError: the size is below 32.
    """
    if size < 32:
        raise UsageError(f"the size is {size} px; expected 32 or more")
    recipe = load_recipe("quick")
    recipe = replace(recipe, input=replace(recipe.input, size=size, resize=size))
    networks = recipe.model
    temporal = find_temporal_weights(networks.motion, networks.temporal)
    model = build_model(recipe, len(temporal.classes))
    motion = find_motion_weights(networks.motion, networks.num_frames)
    load_motion_weights(model.motion_net, motion.file)
    load_temporal_weights(model.temporal_stream, temporal, last_layer=True)
    metadata = RunMetadata(
        stages=("temporal",),
        data="generated motions",
        split="generated videos of other seeds",
        motion_init=motion.to_dict(),
        temporal_init=temporal.to_dict(),
    )
    return Recognizer(model.eval(), RunInfo(recipe, temporal.classes, metadata))

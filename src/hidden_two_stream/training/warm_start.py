"""Initial weights of a run: parts of other runs, motion weights, and published image weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import MODULES, STAGES, stages_within
from hidden_two_stream.errors import CheckpointError, OutputError, UsageError
from hidden_two_stream.files import read_json, write_json
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.progress import note
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import shapes_only
from hidden_two_stream.training.image_encoder import (
    begins_from_encoder,
    check_encoder_weights,
    load_encoder_weights,
    same_encoder,
)
from hidden_two_stream.weights.imagenet import check_image_weights, initialize_streams
from hidden_two_stream.weights.motion import (
    MotionWeights,
    check_motion_weights,
    find_motion_weights,
    load_motion_weights,
    motion_weights_info,
)
from hidden_two_stream.weights.temporal import TemporalWeights, find_temporal_weights, load_temporal_weights

__all__ = [
    "check_initial_weights",
    "distillation_teacher",
    "initial_motion_weights",
    "initial_temporal_weights",
    "initialize",
    "load_image_weights",
    "read_origins",
    "stages_brought",
    "stages_replaced",
]

ORIGIN_FILES = {"motion_init": "motion_init.json", "temporal_init": "temporal_init.json"}
"""Records of initial weights in a run folder, by the field of the recipe that asks for them."""

_PARTS = {"motion": ("motion",), "spatial": ("spatial",), "temporal": ("motion", "temporal")}
"""Parts of the model that each kind of warm start brings. A temporal stream brings its MotionNet."""

_MUST_AGREE = {
    "motion": ("motion", "num_frames", "motion_frames"),
    "spatial": ("backbone",),
    "temporal": ("motion", "num_frames", "motion_frames", "temporal_backbone", "temporal", "hand_over"),
}
"""Fields and properties of `ModelConfig` in which both runs must agree."""


def stages_replaced(warm_starts: Iterable[str]) -> set[str]:
    """Return the stages that a run leaves out because warm starts replace them."""
    return {stage for kind in warm_starts for stage in stages_within(_PARTS[kind])}


def stages_brought(warm_starts: Iterable[str]) -> set[str]:
    """Return the stages whose training is known to be part of the warm starts' weights.

    Stage joint is not among them: a temporal stream may come from a run with or without it.
    """
    return {stage for stage in stages_replaced(warm_starts) if len(STAGES[stage].parts) == 1}


# -- checks, before any video is decoded -----------------------------------------------------------


def check_initial_weights(recipe: Recipe, classes: Sequence[str], warm_start: Mapping[str, str]) -> None:
    """Check all weights that a run begins with or is distilled from.

    Args:
        recipe: the recipe of the new run.
        classes: its class names; they matter only for warm starts.
        warm_start: the source run of each part: "motion", "spatial" or "temporal" (with its MotionNet).

    Raises:
        UsageError: a run or file is missing, lacks the part or has not trained it, or is for other networks,
            classes or numbers of frames; or two runs bring a MotionNet.
        CheckpointError: a file is damaged or has another format version.
    """
    _open(recipe, classes, warm_start)
    initial_motion_weights(recipe, warm_start)
    initial_temporal_weights(recipe, warm_start)
    teacher = distillation_teacher(recipe)
    if teacher is not None:
        check_motion_weights(teacher)
    if _begins_from_image_weights(recipe, warm_start):
        with shapes_only():  # the check needs shapes only
            model = build_model(recipe, max(2, len(classes)))
        check_image_weights(model, recipe.model.backbone, recipe.init)
    if begins_from_encoder(recipe, warm_start):
        check_encoder_weights(recipe)


def distillation_teacher(recipe: Recipe) -> MotionWeights | None:
    """Return the weights of the network whose flow is the distillation target of stage motion, if any.

    Raises:
        UsageError: there are no such weights, or they are for another number of frames.
        CheckpointError: their file is damaged or has another format version.
    """
    if recipe.motion_teacher == "none" or recipe.motion.steps == 0:
        return None
    weights = motion_weights_info(recipe.motion_teacher)
    if weights.num_frames not in (0, recipe.model.num_frames):
        raise UsageError(
            f"motion_teacher {recipe.motion_teacher!r} takes {weights.num_frames} frames at once, "
            f"but clips have {recipe.model.num_frames}; choose weights for any number of frames, such as nano"
        )
    return weights


def initial_motion_weights(recipe: Recipe, warm_start: Mapping[str, str]) -> MotionWeights | None:
    """Return the motion weights that MotionNet begins with.

    None means that MotionNet is random, comes from a warm start, or is not built.

    Raises:
        UsageError, CheckpointError: as `check_initial_weights`.
    """
    model = recipe.model
    from_run = {"motion", "temporal"} & set(warm_start)
    if recipe.motion_init == "none" or from_run or model.streams == ("spatial",):
        return None
    return find_motion_weights(model.motion, model.motion_frames or model.num_frames, recipe.motion_init)


def initial_temporal_weights(recipe: Recipe, warm_start: Mapping[str, str]) -> TemporalWeights | None:
    """Return the weights that the temporal stream begins with.

    None means that it is random, comes from a warm start, or is not built.

    Raises:
        UsageError, CheckpointError: as `check_initial_weights`.
    """
    model = recipe.model
    if recipe.temporal_init == "none" or "temporal" in warm_start or "temporal" not in model.streams:
        return None
    return find_temporal_weights(model.motion, model.temporal, recipe.temporal_init)


def _begins_from_image_weights(recipe: Recipe, warm_start: Mapping[str, str]) -> bool:
    """Return whether a stream of the recipe begins from published image weights."""
    fresh = set(recipe.model.streams) - set(warm_start)
    form = recipe.model.temporal
    if recipe.init != "none" and fresh == {"temporal"} and form in ("branched", "sequence"):
        raise UsageError(
            f"a {form} temporal stream alone has no backbone that image weights fit; set init=none"
        )
    return recipe.init != "none" and bool(fresh)


def _open(recipe: Recipe, classes: Sequence[str], warm_start: Mapping[str, str]) -> dict[str, Recognizer]:
    """Open the runs of all warm starts, and check them against the new run's recipe and classes."""
    opened = {}
    if "motion" in warm_start and "temporal" in warm_start:
        raise UsageError(
            "a temporal stream brings its own MotionNet: give --motion-from or --temporal-from, not both"
        )
    for kind, source in warm_start.items():
        if kind not in _PARTS:
            raise UsageError(f"unknown warm start {kind!r}; choose one of {', '.join(_PARTS)}")
        other = load(source)
        theirs, ours = other.info.recipe.model, recipe.model
        for field in _MUST_AGREE[kind]:
            if field == "backbone" and same_encoder(theirs, ours):
                continue  # from another place
            if field == "backbone" and theirs.encoder_name and ours.encoder_name:
                raise UsageError(
                    f"{source!r} has another image encoder than {ours.backbone}, or other preprocessing; "
                    f"name the encoder of that run, {theirs.backbone}"
                )
            if getattr(theirs, field) != getattr(ours, field):
                raise UsageError(
                    f"{source!r} has model.{field} {getattr(theirs, field)!r}; "
                    f"this recipe needs {getattr(ours, field)!r}"
                )
        if kind == "motion":
            _require_motion(source, other)
        else:
            _require_stream(kind, source, other, classes)
        if kind in ("spatial", "temporal") and kind not in ours.streams:
            raise UsageError(
                f"this recipe has no {kind} stream that {source!r} could initialize; see model.streams"
            )
        if kind == "motion" and ours.streams == ("spatial",):
            raise UsageError(
                f"this recipe has no MotionNet that {source!r} could initialize; see model.streams"
            )
        opened[kind] = other
    return opened


def _require_motion(source: str, other: Recognizer) -> None:
    metadata = other.info.metadata
    is_trained = any("motion" in STAGES[name].parts for name in metadata.stages) or metadata.motion_init
    if not (hasattr(other.model, MODULES["motion"]) and is_trained):
        stages = ", ".join(metadata.stages) or "none"
        raise UsageError(f"{source!r} has no trained MotionNet; its trained stages are {stages}")


def _require_stream(kind: str, source: str, other: Recognizer, classes: Sequence[str]) -> None:
    if kind not in other.trained_streams:
        trained = ", ".join(other.trained_streams) or "none"
        raise UsageError(f"{source!r} has no trained {kind} stream; its trained streams are {trained}")
    if tuple(other.classes) != tuple(classes):
        difference = sorted(set(other.classes) ^ set(classes))[:5] or "the same, in another order"
        raise UsageError(f"{source!r} was trained for other classes: {difference}")


# -- initialization --------------------------------------------------------------------------------


def initialize(
    model: HiddenTwoStream,
    recipe: Recipe,
    classes: Sequence[str],
    warm_start: Mapping[str, str],
    folder: Path | None,
    *,
    quiet: bool = False,
) -> dict[str, dict[str, Any]]:
    """Load all initial weights into a fresh `model`, in place.

    Args:
        model: the model of the new run.
        recipe: its recipe.
        classes: its classes.
        warm_start: see `check_initial_weights`.
        folder: the run folder, which gets a record of these weights; None writes no record.
        quiet: do not show download progress, and do not name image weights.

    Returns:
        The records of the weights that `motion_init` and `temporal_init` ask for, by these names. There is
        none where weights are random or from a warm start.

    Raises:
        UsageError, CheckpointError: as `check_initial_weights`.
    """
    origins: dict[str, dict[str, Any]] = {}
    weights = initial_motion_weights(recipe, warm_start)
    if weights is not None:
        load_motion_weights(model.motion_net, weights.file)
        origins["motion_init"] = {"source": recipe.motion_init, **weights.to_dict()}
    pretrained = initial_temporal_weights(recipe, warm_start)
    if pretrained is not None:
        load_temporal_weights(model.temporal_stream, pretrained)
        origins["temporal_init"] = {"source": recipe.temporal_init, **pretrained.to_dict()}
    if folder is not None:
        _write_origins(folder, origins)
    if _begins_from_image_weights(recipe, warm_start):
        load_image_weights(model, recipe, quiet=quiet)
    if begins_from_encoder(recipe, warm_start):
        load_encoder_weights(model.spatial_stream.backbone, recipe, quiet=quiet)
    for kind, other in _open(recipe, classes, warm_start).items():
        for part in _PARTS[kind]:
            module = MODULES[part]
            model.get_submodule(module).load_state_dict(other.model.get_submodule(module).state_dict())
    return origins


def _write_origins(folder: Path, origins: Mapping[str, dict[str, Any]]) -> None:
    """Write the records of initial weights, and delete those of an earlier run in the folder."""
    for name, file in ORIGIN_FILES.items():
        path = folder / file
        if name in origins:
            write_json(path, origins[name])
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot replace {str(path)!r}: {error.strerror}") from error


def load_image_weights(model: nn.Module, recipe: Recipe, *, quiet: bool = False) -> None:
    """Load the published image weights that the recipe asks for into the streams of `model`, in place.

    Args:
        model: a `HiddenTwoStream` or a baseline.
        recipe: its recipe.
        quiet: do not show download progress, and do not name the weights.

    Raises:
        UsageError, CheckpointError, OutputError: as `weights.imagenet.initialize_streams`.
    """
    loaded = initialize_streams(model, recipe.model.backbone, recipe.init, quiet=quiet)
    if loaded is not None and not quiet:
        note(f"image weights from {loaded.file} for {', '.join(loaded.fresh)}")


def read_origins(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records that `initialize` wrote into a run folder.

    A resumed run reads them because a file of weights may have changed since the run began.

    Raises:
        CheckpointError: a record is damaged.
    """
    found = {name: _read_origin(folder / file) for name, file in ORIGIN_FILES.items()}
    return {name: origin for name, origin in found.items() if origin is not None}


def _read_origin(path: Path) -> dict[str, Any] | None:
    """Return a record of initial weights; None if there is none."""
    try:
        origin = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {error}; train again into another folder"
        ) from error
    if not isinstance(origin, dict):
        raise CheckpointError(f"{str(path)!r} is damaged: no table; train again into another folder")
    return origin

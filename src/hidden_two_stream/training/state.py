"""Training state on disk: one file, replaced atomically, from which a killed run can go on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidden_two_stream.config.loading import recipe_from_dict
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.errors import CheckpointError, TrainingError, UsageError
from hidden_two_stream.files import parse_json
from hidden_two_stream.tensors import mismatches, not_finite, read_tensors, write_tensors

__all__ = [
    "DONE",
    "STATE_FILE",
    "TrainingState",
    "check_state",
    "load_state",
    "model_tensors",
    "optimizer_tensors",
    "restore_optimizer",
    "save_state",
]

STATE_FILE = "state.safetensors"
DONE = "done"
"""In place of the stage to train next: all stages are trained."""

_ADVICE = "train again into another folder"


@dataclass(frozen=True)
class TrainingState:
    """The point that training has reached, with everything needed to go on from there.

    Attributes:
        stage: the stage to train next; "done" after the last one.
        step: number of its steps that are done.
        seconds: training time so far of each stage, s.
        model: all weights and buffers.
        optimizer: the optimizer's tensors; empty at the beginning of a stage.
        loss_scale: the tensors of `LossScale`; empty at the beginning of a stage and without loss scaling.
        origin: the recipe, the stages and the seed of the run; empty in states of earlier versions.
        processes: how many processes the run began with; 1 in states of earlier versions.
    """

    stage: str
    step: int
    seconds: Mapping[str, float]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    loss_scale: Mapping[str, Tensor] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1


def save_state(folder: Path, state: TrainingState) -> None:
    """Write `state.safetensors` into the run folder.

    Raises:
        TrainingError: a weight, a buffer or a number of the optimizer is not finite. The
            state that was saved before is kept.
        OutputError: the folder is not writable or the disk is full.
    """
    broken = not_finite(state.model) + [f"optimizer.{name}" for name in not_finite(state.optimizer)]
    if broken:
        more = f" and {len(broken) - 1} more are" if len(broken) > 1 else " is"
        raise TrainingError(f"{broken[0]}{more} not finite")
    tensors = {f"model.{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in state.optimizer.items()}
    tensors |= {f"loss_scale.{name}": tensor for name, tensor in state.loss_scale.items()}
    position = {
        "stage": state.stage, "step": state.step, "seconds": dict(state.seconds),
        "origin": dict(state.origin), "processes": state.processes,
    }  # fmt: skip
    write_tensors(folder / STATE_FILE, tensors, {"training_state": json.dumps(position)})


def load_state(folder: Path) -> TrainingState | None:
    """Return the state that `save_state` wrote, or None if there is none yet.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    tensors, metadata = read_tensors(path)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "loss_scale": {}}
    try:
        position = parse_json(metadata["training_state"])
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        state = TrainingState(
            position["stage"],
            position["step"],
            position["seconds"],
            **parts,
            origin=position.get("origin", {}),
            processes=position.get("processes", 1),
        )
        _require_position(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is not a training state: {error}; {_ADVICE}") from error
    broken = not_finite(state.model) + not_finite(state.optimizer) + not_finite(state.loss_scale)
    if broken:
        raise CheckpointError(f"{str(path)!r} cannot be used: {broken[0]} is not finite; {_ADVICE}")
    return state


def _require_position(state: TrainingState) -> None:
    if state.stage not in (*STAGE_NAMES, DONE):
        raise ValueError(f"its stage is {state.stage!r}; known stages are {', '.join((*STAGE_NAMES, DONE))}")
    if type(state.step) is not int or state.step < 0 or (state.stage == DONE and state.step):
        raise ValueError(f"it is at step {state.step!r} of stage {state.stage}")
    numbers = state.seconds.values()
    if not all(type(value) in (int, float) and 0 <= value < math.inf for value in numbers):
        raise ValueError(f"its seconds are {dict(state.seconds)}")
    if type(state.processes) is not int or state.processes < 1:
        raise ValueError(f"it began with {state.processes!r} processes")
    if not isinstance(state.origin, Mapping):
        raise ValueError(f"its origin is {str(state.origin)[:60]!r}")


def check_state(
    state: TrainingState, folder: Path, model: nn.Module, steps: Mapping[str, int], origin: Mapping[str, Any]
) -> None:
    """Check that a state was left by this run, so that training can go on from it.

    Args:
        state: the state.
        folder: its folder, for errors.
        model: the model of the run.
        steps: number of steps of each stage that the run trains, in order.
        origin: as in `TrainingState`, of this run.

    Raises:
        CheckpointError: the state is of another recipe, seed or network, is in a stage that the run does not
            train, is behind the end of its stage, or counts stages as trained that have not been.
    """
    where = f"the training state in {str(folder)!r}"
    if state.stage not in (*steps, DONE):
        raise CheckpointError(
            f"the run in {str(folder)!r} stopped in stage {state.stage}, which it should not train now; "
            f"{_ADVICE}"
        )
    different = _differences(state.origin, origin, where) if state.origin else []
    if different:
        raise CheckpointError(f"{where} is of a run that differs in {', '.join(different)}; {_ADVICE}")
    if state.step > steps.get(state.stage, 0):
        raise CheckpointError(
            f"{where} is at step {state.step} of stage {state.stage}, which has {steps[state.stage]} steps; "
            f"{_ADVICE}"
        )
    names = list(steps)
    done = names if state.stage == DONE else names[: names.index(state.stage)]
    untrained = [name for name in done if name not in state.seconds]
    if untrained:
        raise CheckpointError(
            f"{where} lacks stage {untrained[0]}, which comes before {state.stage}; {_ADVICE}"
        )
    wrong = mismatches(model.state_dict(), state.model)
    if wrong:
        raise CheckpointError(f"{where} does not fit the networks of its run: {wrong[0]}; {_ADVICE}")


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> list[str]:
    """Return the names of what differs in two origins; recipes may be of different versions."""
    try:
        recipes = [recipe_from_dict(origin["recipe"], "recipe") for origin in (found, expected)]
    except (KeyError, UsageError) as error:
        raise CheckpointError(f"{where} is damaged: {error}; {_ADVICE}") from error
    names = [name for name in vars(recipes[0]) if getattr(recipes[0], name) != getattr(recipes[1], name)]
    different = [f"recipe.{name}" for name in names]
    return different + [name for name in expected if name != "recipe" and found.get(name) != expected[name]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named "NUMBER.QUANTITY", by the parameter's number."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the tensors that `optimizer_tensors` returned.

    Raises:
        CheckpointError: they are of an optimizer of other parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        fits = number.isdecimal() and int(number) < len(parameters)
        if not fits or (tensor.ndim and tensor.shape != parameters[int(number)].shape):
            raise CheckpointError(f"the training state has an optimizer of other weights: {key}; {_ADVICE}")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights and buffers, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

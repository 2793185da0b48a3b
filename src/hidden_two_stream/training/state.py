"""Training state on disk: one file, replaced atomically, from which a killed run can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.tensors import read_tensors, write_tensors

__all__ = [
    "STATE_FILE",
    "TrainingState",
    "load_state",
    "model_tensors",
    "optimizer_tensors",
    "restore_optimizer",
    "save_state",
]

STATE_FILE = "state.safetensors"


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
    """

    stage: str
    step: int
    seconds: Mapping[str, float]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    loss_scale: Mapping[str, Tensor] = field(default_factory=dict)


def save_state(folder: Path, state: TrainingState) -> None:
    """Write `state.safetensors` into the run folder.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    tensors = {f"model.{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in state.optimizer.items()}
    tensors |= {f"loss_scale.{name}": tensor for name, tensor in state.loss_scale.items()}
    position = {"stage": state.stage, "step": state.step, "seconds": dict(state.seconds)}
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
    try:
        position: dict[str, Any] = json.loads(metadata["training_state"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} is not a training state: {error}") from error
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "loss_scale": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return TrainingState(position["stage"], position["step"], position["seconds"], **parts)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named "NUMBER.QUANTITY", by the parameter's number."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the tensors that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights and buffers, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

"""Training state on disk: one file that is replaced whole, so that a kill at any moment loses little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.tensors import read_tensors, write_tensors

__all__ = [
    "STATE_FILE",
    "TrainingState",
    "load_state",
    "optimizer_tensors",
    "restore_optimizer",
    "save_state",
]

STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class TrainingState:
    """Where training stands.

    Attributes:
        stage: the stage that comes next.
        step: its steps that are done.
        seconds: time spent so far, per stage.
        model: all weights and buffers.
        optimizer: the optimiser's tensors; empty at the beginning of a stage.
    """

    stage: str
    step: int
    seconds: Mapping[str, float]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def save_state(folder: Path, state: TrainingState) -> None:
    """Write `state.safetensors` into the run folder.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    tensors = {f"model.{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in state.optimizer.items()}
    position = {"stage": state.stage, "step": state.step, "seconds": dict(state.seconds)}
    write_tensors(folder / STATE_FILE, tensors, {"training_state": json.dumps(position)})


def load_state(folder: Path) -> TrainingState | None:
    """The state that `save_state` wrote; None where there is none yet.

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
        raise CheckpointError(f"{str(path)!r} is no training state: {error}") from error
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return TrainingState(
        position["stage"], position["step"], position["seconds"], parts["model"], parts["optimizer"]
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors, "parameter number.quantity"."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def model_tensors(model: HiddenTwoStream) -> dict[str, Tensor]:
    """A copy of all weights and buffers, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

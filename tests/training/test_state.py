"""Saved states: a state that this run did not leave is refused, and says why."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.errors import CheckpointError, TrainingError
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training.state import (
    DONE,
    STATE_FILE,
    TrainingState,
    check_state,
    load_state,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)

STEPS = {"motion": 5, "joint": 3}
RECIPE = Recipe(
    model=ModelConfig(num_frames=3),
    input=InputConfig(size=32),
    motion=StageConfig(steps=5, motion_learning_rate=1e-3),
    joint=StageConfig(steps=3, motion_learning_rate=1e-3),
)
ORIGIN: dict[str, Any] = {"recipe": RECIPE.to_dict(), "stages": list(STEPS), "seed": 7}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def state(**changes: Any) -> TrainingState:
    fields: dict[str, Any] = {
        "stage": "joint", "step": 2, "seconds": {"motion": 1.5, "joint": 0.5},
        "model": model_tensors(network()), "optimizer": {}, "origin": ORIGIN,
    }  # fmt: skip
    return TrainingState(**fields | changes)


def checked(folder: Path, found: TrainingState, **changes: Any) -> None:
    save_state(folder, found)
    loaded = load_state(folder)
    assert loaded is not None
    fields: dict[str, Any] = {"model": network(), "steps": STEPS, "origin": ORIGIN}
    check_state(loaded, folder, **fields | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"step": 3},
        {"stage": "motion", "step": 0, "seconds": {}},
        {"stage": DONE, "step": 0},
        {"origin": {}},  # an earlier version wrote none
    ],
)
def test_a_state_of_this_run_is_taken(changes: dict[str, Any], tmp_path: Path) -> None:
    checked(tmp_path, state(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"step": 4}, "is at step 4 of stage joint, which has 3 steps"),
        ({"step": 10**9}, "is at step 1000000000 of stage joint"),
        ({"stage": "spatial"}, "stopped in stage spatial, which it should not train now"),
        ({"seconds": {}}, "lacks stage motion, which comes before joint"),
        ({"stage": DONE, "step": 0, "seconds": {"motion": 1}}, "lacks stage joint, which comes before done"),
        ({"origin": ORIGIN | {"seed": 8}}, "differs in seed"),
        ({"origin": ORIGIN | {"stages": ["joint"]}}, "differs in stages"),
        ({"origin": {"recipe": 3}}, "is damaged"),
        ({"origin": {"seed": 7}}, "is damaged"),
        ({"model": {}}, "does not fit the networks of its run: 0.bias is missing"),
        ({"model": model_tensors(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))}, "0.weight has shape"),
        ({"model": {n: t.long() for n, t in model_tensors(network()).items()}}, "has the type int64"),
    ],
)  # fmt: skip
def test_a_state_of_another_run_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{reason}.*train again into another folder"):
        checked(tmp_path, state(**changes))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"loss": "paper"}, "recipe.loss"),
        ({"init": "imagenet"}, "recipe.init"),
        ({"motion": StageConfig(steps=5, motion_learning_rate=2e-3)}, "recipe.motion"),
        ({"model": ModelConfig(num_frames=3, temporal="inflated")}, "recipe.model"),
    ],
)
def test_a_state_of_another_recipe_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    other = dataclasses.replace(RECIPE, **change).to_dict()
    with pytest.raises(CheckpointError, match=f"differs in {named}; train again"):
        checked(tmp_path, state(origin=ORIGIN | {"recipe": other}))


def test_a_recipe_as_an_earlier_version_wrote_it_is_the_same(tmp_path: Path) -> None:
    earlier = json.loads(json.dumps(RECIPE.to_dict()))
    earlier["motion_lesson"] = earlier.pop("motion_target")
    checked(tmp_path, state(origin=ORIGIN | {"recipe": earlier}))


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"stage": "dance"}, "its stage is 'dance'; known stages are motion, spatial, temporal, joint, done"),
        ({"stage": None}, "its stage is None"),
        ({"stage": ["motion"]}, "its stage is"),
        ({"step": -1}, "it is at step -1"),
        ({"step": "2"}, "it is at step '2'"),
        ({"step": 2.0}, "it is at step 2.0"),
        ({"stage": "done", "step": 1}, "it is at step 1 of stage done"),
        ({"seconds": None}, "not a training state"),
        ({"seconds": {"motion": -1}}, "its seconds are"),
        ({"seconds": {"motion": "x"}}, "its seconds are"),
        ({"origin": 3}, "its origin is '3'"),
    ],
)
def test_a_damaged_position_is_refused(position: dict[str, Any], reason: str, tmp_path: Path) -> None:
    save_state(tmp_path, state())
    tensors, metadata = read_tensors(tmp_path / STATE_FILE)
    changed = json.loads(metadata["training_state"]) | position
    save_file(tensors, tmp_path / STATE_FILE, {"training_state": json.dumps(changed)})
    with pytest.raises(CheckpointError, match=f"is not a training state: .*{reason}|{reason}") as caught:
        load_state(tmp_path)
    assert "train again into another folder" in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "[]", "3", "[" * 50_000, '{"stage": "motion"}'])
def test_a_file_that_is_no_state_is_refused(text: str | None, tmp_path: Path) -> None:
    metadata = None if text is None else {"training_state": text}
    save_file({"model.a": torch.zeros(1)}, tmp_path / STATE_FILE, metadata)
    with pytest.raises(CheckpointError, match="is not a training state"):
        load_state(tmp_path)


def test_a_tensor_of_no_part_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, state())
    tensors, metadata = read_tensors(tmp_path / STATE_FILE)
    save_file(tensors | {"odd.a": torch.zeros(1)}, tmp_path / STATE_FILE, metadata)
    with pytest.raises(CheckpointError, match="is not a training state: 'odd'"):
        load_state(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["0.weight", "1.running_mean", "optimizer"])
def test_what_is_not_finite_is_neither_saved_nor_loaded(place: str, value: float, tmp_path: Path) -> None:
    save_state(tmp_path, state())
    before = (tmp_path / STATE_FILE).read_bytes()
    broken = {"0.exp_avg": torch.tensor([[1.0, 2.0, value]])}
    weights = model_tensors(network())
    if place != "optimizer":
        weights[place].view(-1)[-1] = value
        broken = {}
    with pytest.raises(
        TrainingError, match=r"(0\.weight|1\.running_mean|optimizer\.0\.exp_avg) is not finite"
    ):
        save_state(tmp_path, state(model=weights, optimizer=broken))
    assert (tmp_path / STATE_FILE).read_bytes() == before

    tensors, metadata = read_tensors(tmp_path / STATE_FILE)
    tensors |= {f"model.{name}": tensor for name, tensor in weights.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in broken.items()}
    save_file(tensors, tmp_path / STATE_FILE, metadata)
    with pytest.raises(CheckpointError, match=r"cannot be used: .* is not finite; train again into another"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tensors: {"9.exp_avg": tensors["0.exp_avg"]},
        lambda tensors: {"x.exp_avg": tensors["0.exp_avg"]},
        lambda tensors: {"0.exp_avg": tensors["0.exp_avg"].T},
    ],
)
def test_an_optimizer_of_other_weights_is_refused(wrong: Callable[[Any], Any]) -> None:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    tensors = optimizer_tensors(optimizer)
    restore_optimizer(torch.optim.AdamW(model.parameters()), tensors)
    with pytest.raises(CheckpointError, match="optimizer of other weights"):
        restore_optimizer(torch.optim.AdamW(model.parameters()), tensors | wrong(tensors))

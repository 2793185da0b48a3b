"""Fine-tuning of the pre-trained temporal stream: where it begins, what moves, and what stays."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.recognition.sequence import FLOW_CHANNELS, SequenceStream
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training import loop
from hidden_two_stream.training.logistic import LAST_LAYER
from hidden_two_stream.training.loop import Stopped
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import resume, train
from hidden_two_stream.weights.motion import load_motion_weights
from hidden_two_stream.weights.temporal import find_temporal_weights, load_temporal_weights

QUIET = Resources(accelerator="cpu", workers=0, quiet=True)
COMMON: dict[str, object] = {
    "model.streams": ["temporal"], "model.num_frames": 3, "input.size": 32, "spatial.steps": 0,
    "temporal.steps": 4, "temporal.batch_size": 4, "calibration.method": "none",
}  # fmt: skip
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of two training clips and one test clip each, 32×32."""
    return write_dataset(
        tmp_path_factory.mktemp("data"), train_per_class=2, test_per_class=1, num_frames=6, size=32
    )


def trained(labels: Path, out: Path, recipe: str = "nano", **changes: object) -> dict[str, Tensor]:
    """The weights of a run, by name."""
    overrides = COMMON | {name.replace("__", "."): value for name, value in changes.items()}
    return train(labels, out, recipe, overrides, resources=QUIET).recognizer.model.state_dict()


def shipped() -> dict[str, Tensor]:
    """The weights that recipe nano begins with, without the last layer."""
    motion, stream = build_motion("nano"), SequenceStream(48 + FLOW_CHANNELS, 8, 0.0)
    load_motion_weights(motion, "nano")
    load_temporal_weights(stream, find_temporal_weights("nano", "sequence"))
    found = {f"motion_net.{name}": tensor for name, tensor in motion.state_dict().items()}
    found |= {f"temporal_stream.{name}": tensor for name, tensor in stream.state_dict().items()}
    return {name: tensor for name, tensor in found.items() if ".fc." not in name}


def test_all_layers_move_but_not_motion_net_and_no_statistics(labels: Path, tmp_path: Path) -> None:
    weights, before = trained(labels, tmp_path / "run"), shipped()
    same = {name for name, tensor in before.items() if torch.equal(weights[name], tensor)}
    fixed = {name for name in before if name.startswith("motion_net.") or name.endswith(STATISTICS)}
    assert same == fixed


def test_from_scratch_the_statistics_are_those_of_the_clips(labels: Path, tmp_path: Path) -> None:
    weights, before = trained(labels, tmp_path / "run", temporal_init="none"), shipped()
    statistics = {name for name in before if name.endswith(STATISTICS)}
    assert not {name for name in statistics if torch.equal(weights[name], before[name])}
    assert all(weights[name] == 4 for name in statistics if name.endswith("num_batches_tracked"))


def test_fine_tuning_begins_with_a_fitted_last_layer(labels: Path, tmp_path: Path) -> None:
    """With next to no learning rate, the weights are those of recipe quick."""
    still = trained(
        labels,
        tmp_path / "still",
        temporal__learning_rate=1e-12,
        temporal__weight_decay=0.0,
        temporal__steps=1,
    )
    quick = trained(labels, tmp_path / "quick", "quick", temporal__steps=LAST_LAYER.steps)
    for name, tensor in quick.items():
        torch.testing.assert_close(still[name], tensor, atol=1e-6, rtol=1e-6)
    assert quick["temporal_stream.fc.weight"].std() > 0.02  # a random one has 0.01


def test_recipe_quick_fits_the_last_layer_as_fine_tuning_does() -> None:
    found = load_recipe("quick").temporal
    fields = ("steps", "optimizer", "weight_decay")
    assert [getattr(found, name) for name in fields] == [getattr(LAST_LAYER, name) for name in fields]
    assert dataclasses.replace(load_recipe("quick").model, streams=("spatial", "temporal")) == (
        load_recipe("nano").model
    )


@pytest.mark.parametrize("stop_after", [0, 2])
def test_an_interrupted_fine_tuning_goes_on_as_if_it_had_not_stopped(
    stop_after: int, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle: the last layer must not be fitted a second time."""
    whole = trained(labels, tmp_path / "whole")
    step = loop._StageRun._step
    with monkeypatch.context() as patch:

        def interrupted(self: loop._StageRun, number: int, batches: object) -> dict[str, float]:
            if number == stop_after:
                signal.raise_signal(signal.SIGINT)
            return step(self, number, batches)  # type: ignore[arg-type]

        patch.setattr(loop._StageRun, "_step", interrupted)
        with pytest.raises(Stopped):
            trained(labels, tmp_path / "stopped")
    weights = resume(tmp_path / "stopped", QUIET).recognizer.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole.items())


def test_fine_tuning_is_gentler_than_training_from_scratch(labels: Path, tmp_path: Path) -> None:
    """AdamW's first step is the learning rate, whatever the gradient."""

    def moved(factor: float, **changes: object) -> float:
        common = {"temporal__steps": 1, "temporal__weight_decay": 0.0, "temporal__schedule": "constant",
                  "temporal__learning_rate": 1e-3, "temporal__fine_tuning_factor": factor}  # fmt: skip
        name = "temporal_stream.project.0.weight"
        out = tmp_path / f"{factor}-{len(changes)}"
        after = trained(labels, out, **common, **changes)[name]
        if not changes:
            return float((after - shipped()[name]).abs().median())
        before = trained(
            labels, tmp_path / "other", **{**common, "temporal__learning_rate": 1e-12}, **changes
        )
        return float((after - before[name]).abs().median())

    assert moved(0.25) == pytest.approx(0.25e-3, rel=1e-2)
    assert moved(1.0) == pytest.approx(1e-3, rel=1e-2)
    assert moved(0.25, temporal_init="none") == pytest.approx(1e-3, rel=1e-2)


def test_a_factor_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="optimizer logistic to train its last layer alone"):
        load_recipe("nano", {"temporal.fine_tuning_factor": 0})

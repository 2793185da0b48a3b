"""A training that diverges, and a network that holds NaN: an error, and no file that looks like a result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hidden_two_stream.checkpoint import RunInfo, build_model, load_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.tensors import not_finite, read_tensors

from .conftest import QUICK

Hts = Callable[..., tuple[int, str, str]]


def video(small_data: Path) -> Path:
    return small_data.parent / "videos" / "up" / "test_0000.mp4"


@pytest.mark.parametrize("stage", ["spatial", "temporal"])
def test_a_training_that_diverges_saves_no_model(
    stage: str, small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    changes = [f"{stage}.learning_rate=1e12", f"{stage}.steps=2", f"{stage}.schedule=constant"]
    words = [part for change in changes for part in ("--set", change)]
    run = tmp_path / "run"
    code, _, err = hts("train", "--data", small_data, "--out", run, *QUICK, *words)
    (line,) = [line for line in err.splitlines() if line.startswith("hts: ")]
    assert code == 1
    assert f"stage {stage}, " in line
    assert "not finite" in line
    assert f"the last good state is in '{run}'. Lower" in line  # that of the stage before
    assert not (run / "model.safetensors").exists()
    assert not not_finite(read_tensors(run / "state.safetensors")[0])


def test_a_last_layer_that_cannot_be_fitted_saves_no_model(
    small_data: Path, tmp_path: Path, hts: Hts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The few-clips path has no loss that could show it; the weights do."""
    monkeypatch.setattr(
        "hidden_two_stream.training.logistic.window_embeddings",
        lambda model, run: (torch.full((len(run.labels), model.temporal_stream.fc.in_features), torch.nan),
                            torch.tensor(run.labels)),
    )  # fmt: skip
    run = tmp_path / "run"
    options = ["--recipe", "quick", "--set", "input.size=32", "--set", "calibration.method=none"]
    code, _, err = hts("train", "--data", small_data, "--out", run, *options, "--workers", 0, "--quiet")
    (line,) = [line for line in err.splitlines() if line.startswith("hts: ")]
    assert code == 1
    assert "stage temporal, last step: temporal_stream.fc.weight" in line
    assert "not finite" in line
    assert not (run / "model.safetensors").exists()


@pytest.fixture(params=["motion_net.", "temporal_stream.", "spatial_stream."])
def broken(request: pytest.FixtureRequest, small_run: Path, tmp_path: Path) -> tuple[str, Path]:
    """A run whose weights hold one NaN, and the part that holds it."""
    run = Path(shutil.copytree(small_run, tmp_path / "broken"))
    tensors, metadata = read_tensors(run / "model.safetensors")
    next(tensor for name, tensor in tensors.items() if name.startswith(request.param)).view(-1)[0] = torch.nan
    save_file(tensors, run / "model.safetensors", metadata)
    return request.param, run


def test_no_command_uses_a_broken_run(
    broken: tuple[str, Path], small_data: Path, tmp_path: Path, hts: Hts
) -> None:
    part, run = broken
    for command in (
        ("predict", run, video(small_data)),
        ("flow", run, video(small_data), "-o", tmp_path / "flow.mp4"),
        ("evaluate", run, "--data", small_data, "--workers", 0),
    ):
        code, out, err = hts(*command)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert f"cannot be used: {part}" in err
        assert "is not finite" in err
    assert not (tmp_path / "flow.mp4").exists()


@pytest.mark.parametrize("call", ["predict", "windows", "flow"])
def test_weights_that_overflow_give_no_result(call: str, small_run: Path, small_data: Path) -> None:
    """They are finite themselves, so only the result shows it."""
    model, info = load_run(small_run)
    for parameter in model.parameters():
        parameter.data.fill_(3e38)
    use = getattr(Recognizer(model, info), call)
    with pytest.raises(CheckpointError, match=r"that (is|are) not finite"):
        list(use(video(small_data)))


def test_flow_of_a_network_in_memory_is_checked(small_data: Path) -> None:
    recipe = load_recipe("nano", ["model.num_frames=3", "input.size=32"])
    model = build_model(recipe, 2)
    next(model.motion_net.parameters()).data.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="flow that is not finite"):
        Recognizer(model, RunInfo(recipe, ("a", "b"))).flow(video(small_data))

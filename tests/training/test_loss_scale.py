"""Training in float16: overflows skip steps, the scale is saved, and hopeless runs end."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor

from hidden_two_stream.checkpoint import build_model, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import CheckpointError, TrainingError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training import loop, loss_scale
from hidden_two_stream.training.log import MetricsLog
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.state import TrainingState, load_state, save_state

STEPS = 12
TOO_LARGE = 2.0**22  # the gradient of this model overflows from about 2**19 upward


def recipe(**motion: float) -> Recipe:
    stage = StageConfig(steps=STEPS, batch_size=3, learning_rate=1e-3, motion_learning_rate=1e-3)
    return Recipe(
        model=ModelConfig(num_frames=3),
        input=InputConfig(size=32, resize=32),
        motion=dataclasses.replace(stage, unsupervised_weight=1.0, **motion),  # type: ignore[arg-type]
        temporal=stage,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    root = tmp_path_factory.mktemp("data")
    listing = write_dataset(root, train_per_class=1, test_per_class=0, num_frames=6, size=32)
    return open_clip_cache(read_dataset_index(listing).samples, 32)


@pytest.fixture(autouse=True)
def every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


def run(folder: Path, store: ClipCache, how: Recipe | None = None, **fields: Any) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    labels = [index % 3 for index in range(len(store.samples))]
    fields = {"stages": ("motion",), "save_seconds": 0.0} | fields
    return TrainingRun(folder, how or recipe(), store, labels, seed=5, quiet=True, **fields)


def fresh() -> HiddenTwoStream:
    torch.manual_seed(0)
    return build_model(recipe(), 3)


def float16(**scaler: Any) -> Fabric:
    """Fabric names "16-mixed" only on a GPU; its plugin and torch's scaler also work on the CPU."""
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **scaler))
    return Fabric(accelerator="cpu", devices=1, plugins=precision)


def numbers(folder: Path, name: str) -> list[Any]:
    return [line[name] for line in read_metrics(folder)]


def watch_states(monkeypatch: pytest.MonkeyPatch, seen: Callable[[TrainingState], None]) -> None:
    """Call `seen` with each state, before it is saved."""

    def save_and_see(folder: Path, state: TrainingState) -> None:
        seen(state)
        save_state(folder, state)

    monkeypatch.setattr(loop, "save_state", save_and_see)


def test_first_overflows_are_skipped_while_the_scale_halves(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[Tensor] = [torch.cat([p.detach().flatten() for p in fresh().motion_net.parameters()])]
    names = [f"motion_net.{name}" for name, _ in fresh().motion_net.named_parameters()]
    watch_states(
        monkeypatch, lambda s: weights.append(torch.cat([s.model[name].flatten() for name in names]))
    )
    optimize(fresh(), run(tmp_path / "run", store, initial_loss_scale=TOO_LARGE), float16())

    skipped = numbers(tmp_path / "run", "skipped_steps")
    scales = numbers(tmp_path / "run", "loss_scale")
    norms = numbers(tmp_path / "run", "gradient_norm")
    assert 0 < skipped[-1] < STEPS
    assert skipped[0] == 1
    for step in range(STEPS):
        was_skipped = skipped[step] > (skipped[step - 1] if step else 0)
        before = scales[step - 1] if step else TOO_LARGE
        assert scales[step] == (before / 2 if was_skipped else before)
        assert torch.equal(weights[step], weights[step + 1]) == was_skipped
        assert (norms[step] is None) == was_skipped
    assert all(torch.isfinite(w).all() for w in weights)


def test_the_logged_gradient_is_not_scaled(store: ClipCache, tmp_path: Path) -> None:
    how = recipe(steps=1)
    for name, fabric in (("half", float16()), ("full", Fabric(accelerator="cpu", devices=1))):
        optimize(fresh(), run(tmp_path / name, store, how), fabric)
    half, full = (numbers(tmp_path / name, "gradient_norm")[0] for name in ("half", "full"))
    assert half == pytest.approx(full, rel=0.01)


def test_clipping_is_not_scaled(store: ClipCache, tmp_path: Path) -> None:
    """A limit just above the gradient norm leaves the step as it is, one far below does not."""
    moved = {}
    norm = 0.0
    for limit in (0.0, 1.5, 0.1):
        model = fresh()
        before = torch.cat([p.detach().flatten() for p in model.motion_net.parameters()])
        how = recipe(steps=1, optimizer="sgd", clip_norm=limit * norm)  # type: ignore[arg-type]
        optimize(model, run(tmp_path / str(limit), store, how), float16())
        moved[limit] = torch.cat([p.flatten() for p in model.motion_net.parameters()]) - before
        norm = numbers(tmp_path / str(limit), "gradient_norm")[0]
    assert torch.equal(moved[1.5], moved[0.0])
    # Weight decay is not clipped, hence no exact tenth.
    assert 0 < moved[0.1].norm() < 0.5 * moved[0.0].norm()


@pytest.mark.parametrize("stop_at", [2, 7])
def test_a_resumed_run_equals_an_uninterrupted_one(
    stop_at: int, store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between skipped steps, and while the scaler counts good steps toward a larger scale."""
    growing = {"growth_interval": 3}
    fields: dict[str, Any] = {"stages": ("motion", "temporal"), "initial_loss_scale": TOO_LARGE}
    whole = fresh()
    optimize(whole, run(tmp_path / "whole", store, **fields), float16(**growing))

    def stop(state: TrainingState) -> None:
        if (state.stage, state.step) == ("motion", stop_at + 1):
            raise Stopped("motion", stop_at)

    with monkeypatch.context() as patch:
        watch_states(patch, stop)
        with pytest.raises(Stopped):
            optimize(fresh(), run(tmp_path / "parts", store, **fields), float16(**growing))
    saved = load_state(tmp_path / "parts")
    assert saved is not None
    assert saved.loss_scale["scale"] < TOO_LARGE
    assert (saved.loss_scale["growth_tracker"] > 0) == (stop_at == 7)
    resumed = fresh()
    optimize(resumed, run(tmp_path / "parts", store, **fields), float16(**growing), resume=True)

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(tmp_path / part)]
        for part in ("whole", "parts")
    ]
    assert lines[0] == lines[1]
    scales = numbers(tmp_path / "whole", "loss_scale")
    assert any(b > a for a, b in itertools.pairwise(scales[:STEPS]))  # it grew, too


def test_each_stage_begins_at_the_initial_scale(store: ClipCache, tmp_path: Path) -> None:
    """Also with a Fabric that has trained before, so that a fold does not depend on the one before it."""
    fabric = float16(growth_interval=2)
    for name in ("one", "two"):
        optimize(fresh(), run(tmp_path / name, store, stages=("motion", "temporal")), fabric)
    one, two = (numbers(tmp_path / name, "loss_scale") for name in ("one", "two"))
    assert one == two
    assert one[0] == one[STEPS] == 2.0**16
    assert one[STEPS - 1] > 2.0**16


def test_a_state_without_loss_scale_resumes_at_the_initial_scale(store: ClipCache, tmp_path: Path) -> None:
    """As written by earlier versions, and by runs in another precision."""
    how = recipe()
    model = fresh()
    folder = run(tmp_path / "run", store).folder
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_state(folder, TrainingState("motion", STEPS - 1, {}, weights, {}))
    optimize(model, run(folder, store, how), float16(), resume=True)
    assert numbers(folder, "loss_scale") == [2.0**16]
    assert numbers(folder, "skipped_steps") == [0]


def test_a_state_with_loss_scale_resumes_in_full_precision(store: ClipCache, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", store).folder
    scale = {"scale": torch.tensor(4.0, dtype=torch.float64)}
    save_state(folder, TrainingState("motion", STEPS - 1, {}, dict(fresh().state_dict()), {}, scale))
    model = fresh()
    optimize(model, run(folder, store), Fabric(accelerator="cpu", devices=1), resume=True)
    (line,) = read_metrics(folder)
    assert line["step"] == STEPS
    assert not {"loss_scale", "skipped_steps"} & set(line)


def test_too_many_overflows_in_a_row_end_the_run(store: ClipCache, tmp_path: Path) -> None:
    model = fresh()
    next(iter(model.motion_net.parameters())).register_hook(lambda gradient: gradient * math.inf)
    most = loss_scale.MAX_SKIPPED_IN_A_ROW
    with pytest.raises(
        TrainingError,
        match=rf"stage motion, step {most}: the gradient overflowed in {most} steps in a row, "
        rf"and the loss scale fell to 0\.0625; .*run'\. Train with --precision bf16-mixed",
    ):
        optimize(model, run(tmp_path / "run", store, recipe(steps=most + 5)), float16())
    state = load_state(tmp_path / "run")
    assert state is not None
    assert state.step == most - 1
    assert all(torch.equal(tensor, state.model[name]) for name, tensor in fresh().state_dict().items())


def test_single_overflows_do_not_add_up(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overflows that a good step separates are no row."""
    monkeypatch.setattr(loss_scale, "MAX_SKIPPED_IN_A_ROW", 2)
    model = fresh()
    steps = iter(range(STEPS))
    next(iter(model.motion_net.parameters())).register_hook(
        lambda gradient: gradient * (math.inf if next(steps) % 2 else 1.0)
    )
    optimize(model, run(tmp_path / "run", store), float16())
    assert numbers(tmp_path / "run", "skipped_steps")[-1] == STEPS / 2


def test_a_gradient_that_the_scaler_takes_for_finite_ends_the_run(store: ClipCache, tmp_path: Path) -> None:
    """Each number is finite, the sum of squares is not: the scaler would step, and no smaller scale helps."""
    model = fresh()
    next(iter(model.motion_net.parameters())).register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    with pytest.raises(TrainingError, match="step 1: the gradient is not finite at a loss scale of 65536"):
        optimize(model, run(tmp_path / "run", store), float16())


def test_a_loss_that_is_not_finite_still_ends_the_run(store: ClipCache, tmp_path: Path) -> None:
    broken = run(tmp_path / "run", store, recipe(motion_learning_rate=1e30, clip_norm=0.0))
    with pytest.raises(TrainingError, match=r"stage motion, step 2: .*loss.* not finite"):
        optimize(fresh(), broken, float16())
    assert numbers(tmp_path / "run", "skipped_steps") == [0]


def test_other_precisions_log_what_they_did(store: ClipCache, tmp_path: Path) -> None:
    for name in ("32-true", "bf16-mixed"):
        fabric = Fabric(accelerator="cpu", devices=1, precision=name)  # type: ignore[arg-type]
        optimize(fresh(), run(tmp_path / name, store, recipe(steps=1)), fabric)
        (line,) = read_metrics(tmp_path / name)
        assert not {"loss_scale", "skipped_steps"} & set(line)
        assert line["gradient_norm"] > 0


def test_numbers_that_are_not_finite_are_null_in_the_log(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, "motion", 0)
    log.write("motion", 1, {"gradient_norm": math.inf, "loss": 0.5})
    log.close()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    (line,) = log.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=refuse) == {
        "stage": "motion",
        "step": 1,
        "gradient_norm": None,
        "loss": 0.5,
    }


@pytest.mark.parametrize(
    "change", [{"scale": 0.0}, {"scale": -1.0}, {"skipped_steps": -1.0}, {"scale": None}, {"odd": 1.0}]
)
def test_a_damaged_loss_scale_is_refused(change: dict[str, float | None]) -> None:
    scale = loss_scale.LossScale(float16())
    saved = {**{name: tensor.item() for name, tensor in scale.tensors().items()}, **change}
    scale.restore(scale.tensors())
    with pytest.raises(CheckpointError, match="damaged loss scale"):
        scale.restore({name: torch.tensor(value) for name, value in saved.items() if value is not None})

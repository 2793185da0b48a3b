"""The loop: exact resume, guards, and what it leaves on disk."""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import build_model, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import CheckpointError, TrainingError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training import loop
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.state import STATE_FILE, load_state
from hidden_two_stream.video.transforms import MEAN_RGB

STEPS = 8


def recipe(**motion: float) -> Recipe:
    stage = StageConfig(steps=STEPS, batch_size=3, learning_rate=1e-3, motion_learning_rate=1e-3)
    return Recipe(
        model=ModelConfig(num_frames=3),
        input=InputConfig(size=32, resize=32, color_jitter=0.2),
        motion=dataclasses.replace(stage, unsupervised_weight=1.0, **motion),  # type: ignore[arg-type]
        spatial=stage,
        temporal=dataclasses.replace(stage, optimizer="sgd"),
        joint=dataclasses.replace(stage, unsupervised_weight=1.0, accumulate=2, optimizer="adam"),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    root = tmp_path_factory.mktemp("data")
    listing = write_dataset(root, train_per_class=1, test_per_class=0, num_frames=6, size=32)
    return open_clip_cache(read_dataset_index(listing).samples, 32)


def run(folder: Path, store: ClipCache, how: Recipe | None = None, **fields: object) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    labels = [index % 3 for index in range(len(store.samples))]
    return TrainingRun(folder, how or recipe(), store, labels, seed=5, quiet=True, **fields)  # type: ignore[arg-type]


def fresh() -> HiddenTwoStream:
    torch.manual_seed(0)
    return build_model(recipe(), 3)


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class _StopAt:
    """Stands in for `StopRequest`: wants a stop once `stage` has done `step` steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stage: str, step: int) -> None:
        self.wanted, self.signal_number = False, 2
        original = loop._StageRun._step

        def step_and_count(stage_run: loop._StageRun, number: int, batches: object) -> dict[str, float]:
            numbers = original(stage_run, number, batches)
            self.wanted = stage_run.name == stage and number + 1 == step
            return numbers

        monkeypatch.setattr(loop._StageRun, "_step", step_and_count)
        monkeypatch.setattr(loop, "StopRequest", lambda: self)

    def __enter__(self) -> _StopAt:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("stage", "loss"),
    [
        ("motion", "robust"),
        ("spatial", "robust"),
        ("temporal", "robust"),
        ("joint", "robust"),
        ("joint", "distill"),
    ],
)
def test_four_and_four_steps_equal_eight_bit_for_bit(
    stage: str, loss: str, store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = dataclasses.replace(recipe(), loss=loss)  # type: ignore[arg-type]
    whole = fresh()
    optimize(whole, run(tmp_path / "whole", store, how), fabric())

    with monkeypatch.context() as patch:
        _StopAt(patch, stage, 4)
        with pytest.raises(Stopped, match=f"stage {stage} after step 4"):
            optimize(fresh(), run(tmp_path / "parts", store, how), fabric())
    resumed = fresh()
    torch.manual_seed(12345)  # whatever happened before must not matter
    optimize(resumed, run(tmp_path / "parts", store, how), fabric(), resume=True)

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    without_seconds = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(tmp_path / part)]
        for part in ("whole", "parts")
    ]
    assert without_seconds[0] == without_seconds[1]


def test_other_seeds_give_other_weights(store: ClipCache, tmp_path: Path) -> None:
    one, two = fresh(), fresh()
    optimize(one, run(tmp_path / "one", store, stages=["temporal"]), fabric())
    other = dataclasses.replace(run(tmp_path / "two", store, stages=["temporal"]), seed=6)
    optimize(two, other, fabric())
    weight = "temporal_stream.backbone.fc.weight"
    assert not torch.equal(one.state_dict()[weight], two.state_dict()[weight])


def test_resume_without_a_state_begins_at_the_beginning(store: ClipCache, tmp_path: Path) -> None:
    one, two = fresh(), fresh()
    optimize(one, run(tmp_path / "one", store, stages=["spatial"]), fabric())
    optimize(two, run(tmp_path / "two", store, stages=["spatial"]), fabric(), resume=True)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


def test_resume_of_a_finished_run_changes_nothing(store: ClipCache, tmp_path: Path) -> None:
    model = fresh()
    optimize(model, run(tmp_path / "run", store, stages=["spatial"]), fabric())
    again = fresh()
    optimize(again, run(tmp_path / "run", store, stages=["spatial"]), fabric(), resume=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(store: ClipCache, tmp_path: Path) -> None:
    broken = run(tmp_path / "run", store, recipe(motion_learning_rate=1e30, clip_norm=0.0), save_seconds=0.0)
    with pytest.raises(TrainingError, match=r"stage motion, step \d+: .*not finite"):
        optimize(fresh(), broken, fabric())
    state = load_state(tmp_path / "run")
    assert state is not None
    assert state.stage == "motion"
    assert all(torch.isfinite(tensor).all() for tensor in state.model.values())


@pytest.mark.parametrize("stage", ["motion", "spatial", "temporal", "joint"])
def test_a_stage_that_diverges_in_its_last_step_is_not_saved(
    stage: str, store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loss was finite: only the weights show it."""
    original = loop._StageRun._step

    def step(stage_run: loop._StageRun, number: int, batches: object) -> dict[str, float]:
        numbers = original(stage_run, number, batches)
        if (stage_run.name, number + 1) == (stage, STEPS):
            part = {"motion": "motion_net", "joint": "motion_net"}.get(stage, f"{stage}_stream")
            next(stage_run.model.get_submodule(part).parameters()).data.view(-1)[0] = math.inf
        return numbers

    monkeypatch.setattr(loop._StageRun, "_step", step)
    with pytest.raises(TrainingError, match=rf"stage {stage}, last step: .* not finite") as caught:
        optimize(fresh(), run(tmp_path / "run", store), fabric())
    state = load_state(tmp_path / "run")
    if stage == "motion":  # the first one
        assert state is None
        assert "last good state" not in str(caught.value)
    else:
        assert state is not None
        assert (state.stage, state.step) == (stage, 0)
        assert f"; the last good state is in '{tmp_path / 'run'}'. Lower" in str(caught.value)


@pytest.mark.parametrize("stage", ["motion", "spatial", "temporal", "joint"])
def test_a_stage_that_diverges_in_the_middle_keeps_the_step_before(
    stage: str, store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop._StageRun._step

    def step(stage_run: loop._StageRun, number: int, batches: object) -> dict[str, float]:
        if (stage_run.name, number) == (stage, 2):
            part = {"motion": "motion_net", "joint": "motion_net"}.get(stage, f"{stage}_stream")
            next(stage_run.model.get_submodule(part).parameters()).data.fill_(math.nan)
        return original(stage_run, number, batches)

    monkeypatch.setattr(loop._StageRun, "_step", step)
    folder = tmp_path / "run"
    expected = (
        rf"stage {stage}, step 3: .*loss.* not finite; the last good state is in .*\. Lower the stage's"
    )
    with pytest.raises(TrainingError, match=expected):
        optimize(fresh(), run(folder, store, save_seconds=0.0), fabric())
    state = load_state(folder)
    assert state is not None
    assert (state.stage, state.step) == (stage, 2)


def test_a_learning_rate_that_is_far_too_large_fails_in_the_last_step(
    store: ClipCache, tmp_path: Path
) -> None:
    """The statistics of the normalization overflow in the second of two steps."""
    stage = StageConfig(steps=2, batch_size=2, learning_rate=1e12, schedule="constant")
    broken = run(tmp_path / "run", store, dataclasses.replace(recipe(), temporal=stage), stages=["temporal"])
    with pytest.raises(
        TrainingError, match=r"stage temporal, last step: .*running_var and 1 more not finite\. Lower"
    ):
        optimize(fresh(), broken, fabric())
    assert load_state(tmp_path / "run") is None


def test_an_optimizer_that_is_not_finite_is_not_saved(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second moment that overflows freezes its weight, with a loss that stays finite."""
    original = loop._StageRun._step

    def step(stage_run: loop._StageRun, number: int, batches: object) -> dict[str, float]:
        numbers = original(stage_run, number, batches)
        if number == 2:
            next(iter(stage_run.optimizer.state.values()))["exp_avg_sq"].fill_(math.inf)
        return numbers

    monkeypatch.setattr(loop._StageRun, "_step", step)
    broken = run(tmp_path / "run", store, stages=["spatial"], save_seconds=0.0)
    expected = r"stage spatial, step 3: optimizer\.0\.exp_avg_sq is not finite; the last good state is in"
    with pytest.raises(TrainingError, match=expected):
        optimize(fresh(), broken, fabric())
    state = load_state(tmp_path / "run")
    assert state is not None
    assert state.step == 2


def test_a_loss_that_is_not_finite_in_the_first_step_names_no_state(store: ClipCache, tmp_path: Path) -> None:
    model = fresh()
    next(model.motion_net.parameters()).data.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"stage motion, step 1: .* not finite\. Lower the stage's"):
        optimize(model, run(tmp_path / "run", store), fabric())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"recipe": dataclasses.replace(recipe(), loss="robust")}, r"recipe\.loss"),
        ({"recipe": recipe(steps=STEPS + 1)}, r"recipe\.motion"),
    ],
)
@pytest.mark.parametrize("stop", [True, False])
def test_a_finished_or_stopped_run_is_not_taken_for_another(
    change: dict[str, object], named: str, stop: bool, store: ClipCache, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first = run(tmp_path / "run", store, stages=["motion"])
    with monkeypatch.context() as patch:
        if stop:
            _StopAt(patch, "motion", 4)
        with pytest.raises(Stopped) if stop else nullcontext():
            optimize(fresh(), first, fabric())
    other = dataclasses.replace(first, **change)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=f"differs in {named}; train again into another folder"):
        optimize(fresh(), other, fabric(), resume=True)


def test_the_log_of_a_run_without_a_state_is_not_continued(store: ClipCache, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"stage": "motion", "step": 10, "loss": 1.0}\n')
    optimize(fresh(), run(tmp_path / "run", store, stages=["spatial"]), fabric())
    assert {line["stage"] for line in read_metrics(tmp_path / "run")} == {"spatial"}


def test_state_is_saved_as_often_as_asked(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[str, int]] = []
    monkeypatch.setattr(loop, "save_state", lambda _, state: saved.append((state.stage, state.step)))
    optimize(fresh(), run(tmp_path / "run", store, stages=["spatial"], save_seconds=0.0), fabric())
    assert saved == [("spatial", step) for step in range(1, STEPS + 1)] + [("done", 0)]


def test_accumulated_steps_equal_one_large_batch(store: ClipCache, tmp_path: Path) -> None:
    # The motion network has no batch statistics, so two passes of 3 clips must equal one of 6, if losses are
    # means over clips. Those of census are means over what moves inside the pictures, of all clips together.
    weights = []
    for name, fields in (("one", {"batch_size": 6}), ("two", {"batch_size": 3, "accumulate": 2})):
        how = recipe(**fields, optimizer="sgd", steps=2, clip_norm=0.0)  # type: ignore[arg-type]
        how = dataclasses.replace(how, loss="robust")
        model = fresh()
        optimize(model, run(tmp_path / name, store, how, stages=["motion"]), fabric())
        weights.append(torch.cat([p.flatten() for p in model.motion_net.parameters()]))
    start = torch.cat([p.flatten() for p in fresh().motion_net.parameters()])
    assert (weights[0] - start).norm() > 1e-4
    assert (weights[0] - weights[1]).norm() < 1e-3 * (weights[0] - start).norm()


def test_metrics_are_json_lines_with_finite_numbers(store: ClipCache, tmp_path: Path) -> None:
    optimize(fresh(), run(tmp_path / "run", store), fabric())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["motion", "spatial", "temporal", "joint"]
    for line in lines:
        assert line["step"] == STEPS
        assert all(math.isfinite(value) for name, value in line.items() if name != "stage")
    assert {"photometric", "smoothness", "ssim", "action", "accuracy"} <= set(lines[-1])
    assert (tmp_path / "run" / STATE_FILE).exists()


def test_half_precision_sees_frames_in_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: ClipCache
) -> None:
    """Rounded to bfloat16, they would be off by up to half a grey level: a motion of its own."""
    seen: list[torch.Tensor] = []
    original = HiddenTwoStream.motion

    def motion(model: HiddenTwoStream, frames: torch.Tensor) -> list[torch.Tensor]:
        seen.append(frames)
        return original(model, frames)

    monkeypatch.setattr(HiddenTwoStream, "motion", motion)
    half = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    optimize(fresh(), run(tmp_path / "run", store, recipe(steps=1), stages=("motion",)), half)
    levels = 255 * seen[0] + torch.tensor(MEAN_RGB)[:, None, None]
    assert (levels - levels.round()).abs().max() < 1e-3


def test_a_state_in_a_stage_that_is_not_trained_is_refused(
    store: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the stages that are asked for would be left out in silence."""
    with monkeypatch.context() as patch:
        _StopAt(patch, "motion", 4)
        with pytest.raises(Stopped):
            optimize(fresh(), run(tmp_path / "run", store, stages=["motion", "temporal"]), fabric())
    changed = run(tmp_path / "run", store, stages=["temporal"])
    with pytest.raises(CheckpointError, match=r"stopped in stage motion.*train again into another folder"):
        optimize(fresh(), changed, fabric(), resume=True)

"""Cross-fits: what they see, what they leave untouched, and that an interrupted one goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hidden_two_stream as hts
from hidden_two_stream.errors import CheckpointError, TrainingError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.recognition.calibration import fit_temperature
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.tensors import read_tensors
from hidden_two_stream.training import cross_fit, loop
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.resources import Resources

OVERRIDES: dict[str, object] = {
    "input.size": 32, "model.num_frames": 3, "model.temporal": "branched", "spatial.learning_rate": 0.01,
    "calibration.method": "held-back", "motion_init": "none",
    **{f"{stage}.steps": 3 for stage in ("motion", "spatial", "temporal", "joint")},
    "temporal_init": "none",
    **{f"{stage}.batch_size": 2 for stage in ("motion", "spatial", "temporal", "joint")},
}  # fmt: skip
QUIET = Resources(accelerator="cpu", workers=0, quiet=True, save_seconds=0.0)
PEOPLE = "12345"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of five clips for training and one for the test; a column of people."""
    root = tmp_path_factory.mktemp("data")
    found = write_dataset(root, train_per_class=5, test_per_class=1, num_frames=6, size=32)
    lines = found.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line == lines[0] or line.split(",")[1] in ("left", "grow")]
    found.write_text("\n".join(kept) + "\n", encoding="utf-8")
    rows = list(csv.DictReader(kept))
    people = {"train": iter(PEOPLE * 2), "test": iter("66")}
    with (root / "people.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "who"])
        writer.writerows([row["path"], row["label"], next(people[row["split"]])] for row in rows)
    return found


def train(data: Path, out: Path, **changes: object) -> hts.TrainingResult:
    overrides = OVERRIDES | {name.replace("__", "."): value for name, value in changes.items()}
    held_out = "who=6" if data.name == "people.csv" else None
    return hts.train(data, out, "nano", overrides, held_out=held_out, resources=QUIET)


@pytest.fixture(scope="module")
def whole(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, hts.TrainingResult]:
    """Calibrated runs that were never stopped, by the number of steps of stage motion."""
    root = tmp_path_factory.mktemp("runs")
    return {steps: train(labels, root / str(steps), motion__steps=steps) for steps in (3, 0)}


@pytest.fixture(scope="module")
def calibrated(whole: dict[int, hts.TrainingResult]) -> hts.TrainingResult:
    return whole[3]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model.safetensors")[0]


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Spy:
    """Notes what each run of the loop is trained on, and MotionNet's weights before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, tuple[str, ...], set[str]]] = []
        self.motion: list[torch.Tensor] = []

        def watched(model: nn.Module, run: TrainingRun, *rest: object) -> object:
            names = {sample.name for sample in run.cache.samples}
            self.seen.append((run.folder.name, tuple(run.steps()), names))
            self.motion.append(torch.cat([p.detach().flatten() for p in model.motion_net.parameters()]))  # type: ignore[operator, union-attr]
            return optimize(model, run, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(cross_fit, "optimize", watched)


@pytest.mark.parametrize("data", ["labels.csv", "people.csv"])
def test_a_cross_fit_sees_neither_its_part_nor_the_test(
    data: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    result = train(labels.parent / data, tmp_path / "run")
    assert [(folder, stages) for folder, stages, _ in spy.seen] == [
        (f"part-{i}", ("spatial", "temporal", "joint")) for i in (1, 2, 3)
    ]
    scores = load_scores(tmp_path / "run" / "held_back.npz")
    training = {name for _, _, names in spy.seen for name in names}
    assert sorted(scores.names) == sorted(training)  # each training clip is scored once
    assert len(training) == 10
    assert result.evaluation is not None
    assert not training & set(result.evaluation.names)
    held = [training - names for _, _, names in spy.seen]
    assert sum(map(len, held)) == 10
    if data == "people.csv":
        who = {
            str(labels.parent / row["path"]): row["who"]
            for row in csv.DictReader((labels.parent / data).read_text(encoding="utf-8").splitlines())
        }
        people = [{who[name] for name in part} for part in held]
        assert sum(map(len, people)) == len(PEOPLE)


def test_cross_fits_begin_with_the_motion_that_saw_no_labels(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All begin with MotionNet after stage motion: not the random one, not the one after stage joint."""
    spy = Spy(monkeypatch)
    train(labels, tmp_path / "run", joint__motion_learning_rate=1e-2)
    only_motion = hts.train(
        labels, tmp_path / "motion", "nano", OVERRIDES, stage="motion", resources=QUIET
    ).recognizer.model.motion_net
    after_motion = torch.cat([p.detach().flatten() for p in only_motion.parameters()])
    assert len(spy.motion) == 3
    for found in spy.motion:
        assert torch.equal(found, after_motion)
    final = weights(tmp_path / "run")
    assert any(not torch.equal(final[f"motion_net.{n}"], p) for n, p in only_motion.named_parameters())


@pytest.mark.parametrize("steps", [3, 0])
def test_the_weights_of_the_run_stay_the_same(
    steps: int, whole: dict[int, hts.TrainingResult], labels: Path, tmp_path: Path
) -> None:
    plain = train(labels, tmp_path / "off", motion__steps=steps, calibration__method="none")
    assert same(weights(whole[steps].folder), weights(tmp_path / "off"))
    assert plain.recognizer.calibration is None
    assert not (tmp_path / "off" / "held_back.npz").exists()


def test_the_calibration_is_that_of_the_held_back_scores(calibrated: hts.TrainingResult) -> None:
    scores = load_scores(calibrated.folder / "held_back.npz")
    found = calibrated.recognizer.calibration
    assert found is not None
    assert set(found.temperatures) == {"spatial", "temporal"}
    for name, values in scores.logits.items():
        assert found.temperatures[name] == fit_temperature(values, scores.truth)
    assert found.num_clips == 10
    results = json.loads((calibrated.folder / "results.json").read_text())["calibration"]
    assert results["ece_before"] == dict(found.ece_before)
    assert set(results["test"]["ece_after"]) == {"spatial", "temporal", "fused"}
    page = (calibrated.folder / "report.html").read_text(encoding="utf-8")
    assert "calibration error, 10 held-back videos" in page
    assert "calibration error, test videos" in page
    assert not (calibrated.folder / "calibration").exists()


def test_a_reloaded_run_predicts_with_it(calibrated: hts.TrainingResult, labels: Path) -> None:
    recognizer = hts.load(calibrated.folder)
    assert recognizer.calibration == calibrated.recognizer.calibration
    assert recognizer.calibration is not None
    video = labels.parent / "videos" / "left" / "test_0000.mp4"
    with_it = recognizer.predict(video)
    bare = hts.load(calibrated.folder)
    object.__setattr__(bare.info.metadata, "calibration", None)
    without = bare.predict(video)
    for name, temperature in recognizer.calibration.temperatures.items():
        powers = without.streams[name].astype(float) ** (1 / temperature)
        np.testing.assert_allclose(with_it.streams[name], powers / powers.sum(), rtol=1e-4)
        assert not np.allclose(with_it.streams[name], without.streams[name], rtol=1e-3)
    windows = list(recognizer.windows(video))
    assert windows[0].streams.keys() == with_it.streams.keys()


@pytest.mark.parametrize("streams", [["spatial"], ["temporal"]])
def test_one_stream_alone(streams: list[str], labels: Path, tmp_path: Path) -> None:
    other = {"spatial": {"motion__steps": 0, "temporal__steps": 0, "joint__steps": 0},
             "temporal": {"spatial__steps": 0}}[streams[0]]  # fmt: skip
    found = train(labels, tmp_path / "run", model__streams=streams, **other).recognizer.calibration
    assert found is not None
    assert set(found.temperatures) == set(streams)
    assert found.fused_temperature == 1  # its scores are calibrated already


def test_a_large_set_is_held_back_once(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_fit, "_LARGE_SET_PARTS", 2)  # a tenth of ten clips is too few to fit anything
    spy = Spy(monkeypatch)
    found = train(labels, tmp_path / "run", calibration__largest_set=9).recognizer.calibration
    assert len(spy.seen) == 1
    assert found is not None
    assert found.num_clips == 10 - len(spy.seen[0][2]) == 5


def test_too_few_clips_are_named(
    calibrated: hts.TrainingResult, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = OVERRIDES | {"calibration.largest_set": 1}
    resources = Resources(accelerator="cpu", workers=0)
    result = hts.train(labels, tmp_path / "run", "nano", overrides, resources=resources)
    assert result.recognizer.calibration is None
    assert "not calibrated: 1 held-back clips; expected at least 5" in capsys.readouterr().err
    assert same(weights(tmp_path / "run"), weights(calibrated.folder))


def test_streams_of_other_runs_are_not_calibrated(
    calibrated: hts.TrainingResult, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may have seen the clips that would be held back."""
    result = hts.train(
        labels, tmp_path / "run", "nano", OVERRIDES, warm_start={"spatial": calibrated.folder},
        resources=Resources(accelerator="cpu", workers=0),
    )  # fmt: skip
    assert result.recognizer.calibration is None
    assert "not calibrated: the spatial stream began in another run" in capsys.readouterr().err


# -- interruption ----------------------------------------------------------------------------------


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Ctrl-C after a step: [folder, stage, step], or [] for never."""
    wanted: list[object] = []
    original = loop._StageRun._step

    def step(stage_run: loop._StageRun, number: int, batches: object) -> dict[str, float]:
        numbers = original(stage_run, number, batches)  # type: ignore[arg-type]
        if [stage_run.run.folder.name, stage_run.name, number] == wanted:
            raise Stopped(stage_run.name, number)  # the state of the step before is saved
        return numbers

    monkeypatch.setattr(loop._StageRun, "_step", step)
    return wanted


@pytest.mark.parametrize(
    ("place", "motion_steps"),
    [
        (("part-1", "spatial", 0), 3),
        (("part-1", "spatial", 0), 0),
        (("part-2", "temporal", 1), 0),
        (("part-3", "joint", 2), 3),
        (("RUN", "spatial", 1), 3),
    ],
)
def test_an_interrupted_run_goes_on(
    place: tuple[object, ...],
    motion_steps: int,
    whole: dict[int, hts.TrainingResult],
    labels: Path,
    tmp_path: Path,
    stop_at: list[object],
) -> None:
    stop_at[:] = place
    with pytest.raises(Stopped):
        train(labels, tmp_path / "RUN", motion__steps=motion_steps)
    stop_at.clear()
    result = hts.resume(tmp_path / "RUN", QUIET)
    assert result.recognizer.calibration == whole[motion_steps].recognizer.calibration
    assert same(weights(tmp_path / "RUN"), weights(whole[motion_steps].folder))


def test_finished_parts_are_not_trained_again(
    labels: Path, tmp_path: Path, stop_at: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at[:] = ["part-3", "spatial", 1]
    with pytest.raises(Stopped):
        train(labels, tmp_path / "run")
    stored = sorted(path.name for path in (tmp_path / "run" / "calibration").iterdir())
    assert stored == ["part-1.npz", "part-2.npz", "part-3"]
    stop_at.clear()
    spy = Spy(monkeypatch)
    hts.resume(tmp_path / "run", QUIET)
    assert [folder for folder, _, _ in spy.seen] == ["part-3"]


def test_nothing_is_left_of_finished_cross_fits(labels: Path, tmp_path: Path, stop_at: list[object]) -> None:
    """A kill right after the scores were written leaves the folder of the parts."""
    stop_at[:] = ["run", "spatial", 1]
    with pytest.raises(Stopped):
        train(labels, tmp_path / "run")
    stop_at.clear()
    parts = tmp_path / "run" / "calibration"
    assert not parts.exists()
    parts.mkdir()
    (parts / "part-1.npz").write_bytes(b"")
    hts.resume(tmp_path / "run", QUIET)
    assert not parts.exists()


def test_lost_scores_cannot_be_made_again(labels: Path, tmp_path: Path, stop_at: list[object]) -> None:
    """Once the labeled stages have begun, MotionNet may have seen labels."""
    stop_at[:] = ["run", "temporal", 1]
    with pytest.raises(Stopped):
        train(labels, tmp_path / "run")
    stop_at.clear()
    (tmp_path / "run" / "held_back.npz").unlink()
    with pytest.raises(CheckpointError, match=r"held_back\.npz' is missing; train again"):
        hts.resume(tmp_path / "run", QUIET)


def test_a_cross_fit_that_diverges_names_no_folder(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^calibrate 1: stage spatial, .*Lower the stage's") as caught:
        train(labels, tmp_path / "run", spatial__learning_rate=1e12, spatial__schedule="constant")
    assert "last good state" not in str(caught.value)

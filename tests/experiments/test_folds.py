"""Each fold has a folder of its own, and a stored fold is used only where it is the one that is asked for."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hidden_two_stream.checkpoint import read_config
from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.evaluation.accuracy import load_scores
from hidden_two_stream.evaluation.calibration import expected_calibration_error
from hidden_two_stream.experiments import compare as compare_module
from hidden_two_stream.experiments import cross_validation
from hidden_two_stream.experiments.compare import compare
from hidden_two_stream.experiments.cross_validation import cross_validate
from hidden_two_stream.experiments.folds import read_folds
from hidden_two_stream.files import folder_name
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.training.resources import Resources

STAGES = ("motion", "spatial", "temporal", "joint")
QUICK = [
    "input.size=32", "model.num_frames=3", "motion_init=none", "motion.steps=0", "joint.steps=0",
    "calibration.method=none", "spatial.steps=1", "temporal.steps=1",
    *(f"{stage}.batch_size=2" for stage in STAGES),
]  # fmt: skip
SUBJECTS = ("S 1", "S/1", "S_1")


@pytest.fixture(scope="module")
def subjects(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of a user whose subjects were S/1, S_1 and S 1."""
    folder = tmp_path_factory.mktemp("subjects")
    shutil.copytree(data_root / "faults" / "24_ds" / "ds", folder / "ds")
    shutil.copy(data_root / "faults" / "26_subjects_S1.csv", folder / "labels.csv")
    (folder / "labels.csv").chmod(0o644)
    return folder / "labels.csv"


def run(data: Path, out: Path, **more: Any) -> cross_validation.CrossValidation:
    resources = Resources(workers=0, quiet=True, accelerator="cpu")
    return cross_validate(data, out, "subject", "nano", QUICK, resources=resources, **more)


@pytest.fixture(scope="module")
def folds(subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "out"
    run(subjects, out)
    return out


@pytest.fixture
def copied(folds: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folds, tmp_path / "out")


def test_three_subjects_are_three_folds_on_disk(folds: Path) -> None:
    runs = sorted(path for path in folds.iterdir() if path.is_dir())
    held = sorted(str(read_config(path).metadata.held_out) for path in runs)
    assert held == [f"subject={value}" for value in SUBJECTS]
    result = json.loads((folds / "results.json").read_text(encoding="utf-8"))
    assert [row["subject"] for row in result["folds"]] == list(SUBJECTS)
    assert [row["num_test_videos"] for row in result["folds"]] == [6, 6, 6]
    assert result["num_test_videos"] == 18


def test_resuming_uses_each_fold_once(subjects: Path, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads((copied / "results.json").read_text(encoding="utf-8"))
    shutil.rmtree(next(path for path in copied.iterdir() if path.is_dir()))
    trained, fit = [], cross_validation.fit
    monkeypatch.setattr(cross_validation, "fit", lambda task, *rest: trained.append(task) or fit(task, *rest))
    result = run(subjects, copied, resume=True)
    assert len(trained) == 1
    assert result.evaluation is not None
    assert len(set(result.evaluation.names)) == 18
    assert [fold.accuracy for fold in result.folds] == [row["accuracy"] for row in before["folds"]]


def test_the_calibration_errors_are_those_of_all_test_videos(
    subjects: Path, folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "calibration" not in json.loads((folds / "results.json").read_text(encoding="utf-8"))
    settings = [*QUICK, "calibration.method=held-back", "calibration.folds=2"]
    resources = Resources(workers=0, quiet=True, accelerator="cpu")
    result = cross_validate(subjects, tmp_path / "out", "subject", "nano", settings, resources=resources)
    found = result.to_dict()["calibration"]["test"]
    assert result.evaluation is not None
    scores, truth = [], []
    for value in SUBJECTS:
        run_folder = read_folds(subjects, "subject").folder(tmp_path / "out", value)
        recognizer, stored = load(run_folder), load_scores(run_folder / "scores.npz")
        scores.append(recognizer.fuse(stored.logits))
        truth.append(stored.truth)
    error = expected_calibration_error(np.concatenate(scores), np.concatenate(truth))
    assert found["ece_after"]["fused"] == pytest.approx(error, abs=1e-6)
    assert found["ece_before"] != found["ece_after"]
    again = cross_validate(
        subjects, tmp_path / "out", "subject", "nano", settings, resume=True, resources=resources
    )
    assert again.calibration == result.calibration
    command = ["cross-validate", "--data", str(subjects), "--group", "subject", "--resume", "--quiet"]
    changes = [f"--set={text}" for text in settings]
    main([*command, "--out", str(tmp_path / "out"), "--accelerator", "cpu", *changes])
    assert "calibration error of the fused scores, before → after" in capsys.readouterr().out


def test_a_folder_that_an_earlier_version_named_goes_on(
    subjects: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder stood for all three; it counts for the subject that it holds, and the others are trained."""
    (kept,) = (p for p in copied.glob("fold_*") if read_config(p).metadata.held_out == "subject=S/1")
    kept.rename(copied / "fold_S_1")
    for path in copied.glob("fold_S_1-*"):
        shutil.rmtree(path)
    trained, fit = [], cross_validation.fit
    monkeypatch.setattr(
        cross_validation, "fit",
        lambda task, *rest: trained.append(task.metadata.held_out) or fit(task, *rest),
    )  # fmt: skip
    plan = json.loads((copied / "plan.json").read_text(encoding="utf-8"))
    del plan["folds"]  # a plan of an earlier version
    (copied / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    result = run(subjects, copied, resume=True)
    assert trained == ["subject=S 1", "subject=S_1"]
    assert len(set(result.evaluation.names if result.evaluation else ())) == 18


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"provenance": {"held_out": "subject=S_1"}}, "other held-out videos (subject=S_1, not subject=S 1)"),
        ({"provenance": {"held_out": "person=S 1"}}, "other held-out videos (person=S 1"),
        ({"provenance": {"seed": 7}}, "other seed (7, not 0)"),
        ({"recipe": {"input": {"flip": False}}}, "other recipe"),
    ],
)
def test_a_stored_fold_of_another_kind_is_refused(
    subjects: Path, copied: Path, change: dict[str, Any], named: str
) -> None:
    fold = read_folds(subjects, "subject").folder(copied, "S 1")
    config = json.loads((fold / "config.json").read_text(encoding="utf-8"))
    for part, values in change.items():
        for name, value in values.items():
            target = config[part][name]
            config[part][name] = target | value if isinstance(target, dict) else value
    (fold / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        run(subjects, copied, resume=True)
    assert named in str(caught.value)
    assert str(fold) in str(caught.value)


def test_the_scores_of_another_fold_are_refused(subjects: Path, copied: Path) -> None:
    indexed = read_folds(subjects, "subject")
    first, second = (indexed.folder(copied, value) for value in SUBJECTS[:2])
    shutil.copy(second / "scores.npz", first / "scores.npz")
    with pytest.raises(UsageError, match="other test videos; expected subject 'S 1'"):
        run(subjects, copied, resume=True)


def test_moving_videos_to_other_subjects_is_noticed(subjects: Path, copied: Path, tmp_path: Path) -> None:
    """Names, labels and splits are the same; only the column has changed."""
    moved = shutil.copytree(subjects.parent, tmp_path / "data") / "labels.csv"
    with moved.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["subject"], rows[1]["subject"] = rows[1]["subject"], rows[0]["subject"]
    with moved.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(UsageError, match="began with another folds"):
        run(moved, copied, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seconds": null}'])
def test_a_damaged_result_is_named(subjects: Path, copied: Path, text: str) -> None:
    path = read_folds(subjects, "subject").folder(copied, "S 1") / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"results\.json' is damaged"):
        run(subjects, copied, resume=True)


@pytest.mark.parametrize("column", ["accuracy", "seconds", "num_test_videos", "fused"])
def test_a_column_named_like_a_figure_is_refused(subjects: Path, tmp_path: Path, column: str) -> None:
    with pytest.raises(UsageError, match=f"the column '{column}' has the name of a figure"):
        cross_validate(subjects, tmp_path / "out", column)
    assert not (tmp_path / "out").exists()


def test_compare_has_a_folder_per_subject_and_checks_it(subjects: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    resources = Resources(workers=0, quiet=True, accelerator="cpu")

    def again(**more: Any) -> Any:
        return compare(subjects, out, "subject", ["frames"], "nano", QUICK, resources=resources, **more)

    first = again()
    runs = sorted(path.parent for path in out.glob("runs/frames/*/seed_0"))
    assert len(runs) == 3
    assert len(first.truth) == 18
    assert (
        again(resume=True).to_dict()["methods"][1]["right_alone"]
        == first.to_dict()["methods"][1]["right_alone"]
    )
    shutil.copy(runs[0] / "seed_0" / "config.json", runs[1] / "seed_0" / "config.json")
    with pytest.raises(UsageError, match="other held-out videos"):
        again(resume=True)


def test_own_estimators_with_like_names_have_folders_of_their_own(
    subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["own:flow_fast", "own_flow:fast", "frames", "dis-medium@2"]
    found = compare_module.folder_names(names, allowed="-_.@")
    assert len({name.casefold() for name in found.values()}) == 4
    assert found["dis-medium@2"] == "dis-medium@2"
    assert compare_module.folder_names(["own_flow:still"], allowed="-_.@") == {
        "own_flow:still": "own_flow_still"
    }


def test_quiet_is_quiet(hts: Callable[..., tuple[int, str, str]], subjects: Path, copied: Path) -> None:
    changes = [part for text in QUICK for part in ("--set", text)]
    code, out, err = hts(
        "cross-validate", "--data", subjects, "--group", "subject", "--out", copied,
        "--resume", "--quiet", "--workers", 0, "--accelerator", "cpu", *changes,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert [line.split(":")[0].strip() for line in out.splitlines()[1:4]] == [
        f"subject {value}" for value in SUBJECTS
    ]
    assert folder_name("S/1", "fold_") == "fold_S_1"

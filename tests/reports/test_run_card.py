"""Run cards: every kind of run, and folders that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hidden_two_stream
from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.recognition.calibration import Calibration
from hidden_two_stream.reports.card_text import card_text
from hidden_two_stream.reports.curves import run_curves, sparkline
from hidden_two_stream.reports.run_card import inspect

Hts = Callable[..., tuple[int, str, str]]
OLD_RUN = Path(__file__).resolve().parents[1] / "fixtures" / "run-format-1"


def saved(folder: Path, stages: tuple[str, ...] = ("spatial", "temporal"), **extra: str) -> Path:
    """A run of random weights with a calibration and a license."""
    recipe = Recipe(model=ModelConfig("nano", "small", 3), input=InputConfig(size=32, resize=32))
    metadata = RunMetadata(
        stages=stages, data="/videos", split="a quarter of each class", num_training_videos=9, min_fps=24.0,
        max_fps=30.0, seed=7, versions={"torch": "2.0"}, data_license="CC-BY-4.0",
        calibration=Calibration({"spatial": 2.0, "temporal": 1.5}, 0.5, 0.31, 40),
    )  # fmt: skip
    folder.mkdir()
    save_run(folder, build_model(recipe, 2), RunInfo(recipe, ("sit", "walk"), metadata), **extra)
    return folder


def test_the_card_of_a_run_of_clips(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    (folder / "results.json").write_text(
        json.dumps({
            "protocol": "10x1", "num_test_videos": 8, "chance": 0.5, "accuracy": {"fused": 0.75},
            "accuracy_interval_95": {"fused": [0.4, 0.93]}, "num_trained_on": 2, "seconds": {"spatial": 12.0},
        })
    )  # fmt: skip
    (folder / "unreadable.txt").write_text("a.mp4: damaged\nb.mp4: empty\n")
    text = str(inspect(folder))
    for line in (
        "recognizer of clips: spatial and temporal streams",
        "2: sit, walk",
        "data          /videos",
        "license       CC-BY-4.0",
        "9 training, 8 test; a quarter of each class",
        "24 to 30 per second",
        "fused     75.0%  (95%: 40.0% to 93.0%)",
        "protocol 10x1, 8 test videos, chance 50.0%; Wilson intervals; the run was trained on 2 of them",
        "temperatures spatial 2, temporal 1.5, fused 0.5, from 40 held-back clips",
        "no class fits below a score of 0.31",
        "stages spatial, temporal; seed 7",
        "spatial 12 s",
        "torch 2.0",
        "2 unreadable videos: see unreadable.txt",
    ):
        assert line in text


def test_parameters_are_those_of_the_model_part_by_part(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    card = inspect(folder)
    model = hidden_two_stream.load(folder).model
    for name, part in (("MotionNet", "motion_net"), ("temporal stream", "temporal_stream")):
        module = model.get_submodule(part)
        assert card.parts[name].parameters == sum(p.numel() for p in module.parameters())
        assert card.parts[name].num_bytes == sum(t.nbytes for t in module.state_dict().values())
    assert card.files["model.safetensors"] == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("stages", "extra", "kind", "words"),
    [
        (("motion",), {}, "motion network", "MotionNet alone"),
        (("motion", "spatial"), {}, "clips", "recognizer of clips: spatial stream\n"),
        (("temporal",), {"baseline": "frames"}, "baseline of hts compare: frames", "hts compare: frames"),
        (("temporal",), {"frame_labels": "{}"}, "frame labels", "hts annotate"),
    ],
)
def test_kinds_of_runs(
    tmp_path: Path, stages: tuple[str, ...], extra: dict[str, str], kind: str, words: str
) -> None:
    card = inspect(saved(tmp_path / "run", stages, **extra))
    assert card.kind == kind
    assert words in str(card)
    assert any("not tested" in note for note in card.notes)


def test_figures_of_frame_labels(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", ("temporal",), frame_labels="{}")
    figures = {"accuracy": 0.8, "macro_f1": 0.7, "macro_bout_f1": 0.6, "num_videos": 3}
    (folder / "results.json").write_text(json.dumps({"test": None, "cross_fitted": figures}))
    assert "training recordings, cross-fitted: frames 80.0%, macro F1 0.70" in str(inspect(folder))


def test_an_old_run_has_a_card(hts: Hts) -> None:
    code, out, _ = hts("inspect", OLD_RUN, "--json")
    card = json.loads(out)
    assert code == 0
    assert card["kind"] == "clips"
    assert card["num_train"] == 16
    assert card["provenance"]["data_license"] is None
    losses = next(c for c in card["curves"] if (c["stage"], c["name"]) == ("motion", "loss"))
    assert losses["steps"] == [10, 20]
    assert losses["values"] == [0.119703, 0.128738]
    assert card["speed"] is None
    code, out, _ = hts("inspect", OLD_RUN)
    assert "license       not given" in out
    assert "frame rates   unknown" in out
    assert "0.12 → 0.129 (step 20)" in out


@pytest.mark.parametrize("stages", [("motion",), ("spatial", "temporal")])
def test_speed_is_measured_on_request(tmp_path: Path, stages: tuple[str, ...]) -> None:
    speed = inspect(saved(tmp_path / "run", stages), speed=True).speed
    assert speed is not None
    assert 0 < speed.milliseconds < 10_000
    assert speed.frames_per_second == pytest.approx(3000 / speed.milliseconds, rel=0.02)


def test_speed_of_a_baseline_is_said_to_be_elsewhere(tmp_path: Path) -> None:
    card = inspect(saved(tmp_path / "run", ("temporal",), baseline="frames"), speed=True)
    assert card.speed is None
    assert any("hts compare" in note for note in card.notes)


def test_a_fold_has_intervals_too(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    found = {"subject": "3", "num_test_videos": 10, "accuracy": {"fused": 1.0}, "seconds": 37.3}
    (folder / "results.json").write_text(json.dumps(found))
    text = str(inspect(folder))
    assert "100.0%  (95%: 72.2% to 100.0%)" in text  # Wilson: 10 / (10 + 1.96²)
    assert "10 test videos; Wilson intervals" in text
    assert "all stages 37 s" in text


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"accuracy": 0.5}', '{"accuracy": {"fused": "high"}}', '{"cross_fitted": {"macro_f1": 1}}'],
)
def test_damaged_results_are_a_note(tmp_path: Path, content: str) -> None:
    folder = saved(tmp_path / "run")
    (folder / "results.json").write_text(content)
    card = inspect(folder)
    assert any(note.startswith("results.json is damaged: ") for note in card.notes)
    assert "sit, walk" in str(card)
    assert "accuracy" not in str(card).replace(str(folder), "").replace("its accuracy", "")


def test_a_damaged_list_of_samples_is_a_note(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    (folder / "samples.json").write_text("{}")
    assert any("samples.json" in note for note in inspect(folder).notes)


def test_a_checkpoint_file_alone(tmp_path: Path) -> None:
    file = shutil.copy(saved(tmp_path / "run") / "model.safetensors", tmp_path / "moved.safetensors")
    card = inspect(file)
    assert list(card.files) == ["moved.safetensors"]
    assert card.curves == ()
    assert "sit, walk" in str(card)


def test_an_unfinished_run_says_how_far_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    shutil.copy(OLD_RUN / "plan.json", folder)
    assert "before its first step" in str(inspect(folder))
    lines = (OLD_RUN / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:3]) + "\n")
    card = inspect(folder)
    assert card.kind == "unfinished training"
    assert card.notes[0].startswith("the training stands in stage spatial, step 10 or later")
    assert card.notes[0].endswith(f"hts train --resume --out '{folder}'")
    assert (card.curves[0].stage, card.curves[0].name) == ("motion", "loss")
    (folder / "plan.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"plan\.json' is damaged"):
        inspect(folder)


def test_folders_that_are_no_run(tmp_path: Path, hts: Hts) -> None:
    saved(tmp_path / "fold_1")
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UsageError, match=r"holds 1 run; inspect one of them, such as .*fold_1"):
        inspect(tmp_path)
    (tmp_path / "empty").mkdir()
    for wrong, words in (("empty", "is no run"), ("nothing", "no run at"), ("results.json", "")):
        code, out, err = hts("inspect", tmp_path / wrong)
        assert code in (1, 2)
        assert out == ""
        assert len(err.splitlines()) == 1
        assert words in err
    code, _, err = hts("inspect", tmp_path / "fold_1", "--device", "cpu")
    assert code == 2
    assert "add --speed" in err


def test_a_license_is_kept_from_the_plan_to_the_run(tmp_path: Path) -> None:
    from hidden_two_stream.training.runner import Plan, make_plan

    plan = make_plan(tmp_path, "nano", data_license="CC0-1.0")
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict())), "plan").data_license == "CC0-1.0"
    with pytest.raises(UsageError, match="license of the data is empty"):
        make_plan(tmp_path, "nano", data_license=" ")
    with pytest.raises(ValueError, match="data_license"):
        RunMetadata.from_dict({"stages": [], "data_license": 3})


# -- curves ----------------------------------------------------------------------------------------


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline(list(range(8))) == "▁▂▃▄▅▆▇█"
    assert sparkline(list(range(8)), plain=True) == "_.-:=+*#"
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([1.0, float("nan"), 2.0]) == "▁ █"
    assert sparkline([]) == sparkline([float("inf")]) == ""


def test_a_long_sparkline_shows_the_means_of_its_parts() -> None:
    values = np.repeat([0.0, 7.0, 3.5, 0.0], 25) + np.tile([-1, 1], 50)
    assert sparkline(list(values), width=4) in ("▁█▄▁", "▁█▅▁")


def test_a_skipped_step_leaves_a_gap(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"stage": "motion", "step": 1, "loss": null}\n{"stage": "motion", "step": 2, "loss": 1.5}\n'
    )
    (curve,) = run_curves(tmp_path)
    assert np.isnan(curve.values[0])
    assert curve.values[1] == 1.5


def test_plain_text_is_ascii() -> None:
    card = inspect(OLD_RUN)
    assert card_text(card, plain=True).isascii()
    assert "█" in card_text(card)

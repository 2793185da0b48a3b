"""The scripts behind docs: their settings are ones that recipes have, and rows differ in what they say."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments.compare import METHODS, method_recipe
from hidden_two_stream.experiments.folds import read_folds
from hidden_two_stream.synthetic.dataset import write_dataset

Script = Callable[[str], ModuleType]


def test_joint_study_goes_on_with_the_same_steps(example_script: Script) -> None:
    """Only MotionNet's part differs between rows."""
    study = example_script("joint_study")
    rates = set()
    for title, (stage, *settings) in study.ROWS.items():
        recipe = load_recipe("nano", [*study.COMMON, *settings])
        config = recipe.stage(stage)
        assert (config.steps, config.batch_size, config.learning_rate) == (
            study.STEPS,
            study.BATCH,
            study.RATE,
        )
        assert (stage == "temporal") == (title == study.FROZEN)
        if stage == "joint":
            rates.add((config.motion_learning_rate, config.unsupervised_weight))
    assert len(rates) == len(study.ROWS) - 1


def test_joint_study_pairs_videos(example_script: Script) -> None:
    study = example_script("joint_study")
    frozen = np.zeros((2, 40), dtype=bool)
    better = frozen.copy()
    better[:, :20] = True
    assert study.gain(frozen, frozen) == "–"
    assert study.gain(better, frozen).startswith("+50.0 [+")


@pytest.mark.parametrize("count", [1, 2])
def test_few_clips_takes_so_many_of_each_class(example_script: Script, tmp_path: Path, count: int) -> None:
    """All test clips stay; the fewer training clips are among the more."""
    script = example_script("few_clips_generated")
    source = tmp_path / "data-0"
    source.mkdir()
    rows = [
        (f"{label}/{part}_{n}.mp4", label, part)
        for label in "ab" for part, number in (("train", 3), ("test", 2)) for n in range(number)
    ]  # fmt: skip
    with (source / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    with script.some_clips(tmp_path, 0, count).open(newline="") as file:
        chosen = list(csv.DictReader(file))
    assert Counter((row["label"], row["split"]) for row in chosen) == {
        ("a", "train"): count, ("b", "train"): count, ("a", "test"): 2, ("b", "test"): 2,
    }  # fmt: skip
    assert {row["path"] for row in chosen if row["split"] == "train"} >= {"a/train_0.mp4", "b/train_0.mp4"}


def test_arms_of_few_clips_are_recipes(example_script: Script) -> None:
    script = example_script("few_clips_generated")
    recipes = {name: load_recipe("nano", settings) for name, settings in script.ARMS.items()}
    assert len(set(map(repr, recipes.values()))) == len(recipes)
    trained = {
        recipe.spatial.steps + recipe.temporal.steps + recipe.joint.steps for recipe in recipes.values()
    }
    assert trained == {300}


def test_few_clips_of_real_sets_are_comparisons(example_script: Script) -> None:
    script = example_script("few_clips")
    assert set(script.METHODS) <= set(METHODS)
    for data in script.DATA.values():
        recipe = load_recipe(data.recipe, data.settings)
        steps = {
            m: sum(method_recipe(recipe, m).stage(name).steps for name in ("motion", "temporal", "joint"))
            for m in script.METHODS
        }
        assert {steps[m] for m in ("frames", "branched", "sequence", "sequence-scratch")} == {200}
        assert steps["nearest-motion"] == 0


def test_falls_become_clips_by_person(example_script: Script, tmp_path: Path) -> None:
    """Six falls for each person; daily activities are left out; paths lead to the videos from anywhere."""
    script = example_script("few_clips")
    source = tmp_path / "data" / "urfall"
    source.mkdir(parents=True)
    rows = [
        (f"videos/fall-{n:02d}.mp4", start, end, label, "fall")
        for n in (1, 6, 7, 24)
        for start, end, label in (("0.5", "1.25", "a"), ("1.25", "2", "b"))
    ]
    rows.append(("videos/adl-01.mp4", "0", "1", "a", "adl"))
    with (source / "segments.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "start_seconds", "end_seconds", "label", "kind"), *rows])
    labels = script.labels_of("urfall", tmp_path / "data", tmp_path / "out")
    folds = read_folds(labels, "person")
    assert {value: len(split.test) for value, split in folds.splits.items()} == {"1": 4, "2": 2, "4": 2}
    first = folds.splits["1"].test[0]
    assert first.path == str(source / "videos" / "fall-01.mp4")
    assert (first.start_seconds, first.end_seconds) == (0.5, 1.25)
    with pytest.raises(UsageError, match="--root"):
        script.labels_of("urfall", tmp_path, tmp_path / "out")
    # Without person 2 or 4, three clips of each class are for training.
    assert script.columns_of(["1", "2", "3", "8", "all"], folds) == ["1", "2", "all"]
    assert script.columns_of(["1", "8"], folds) == ["1", "8"]


def test_few_clips_prints_and_resumes(
    example_script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = example_script("few_clips")
    labels = write_dataset(tmp_path / "tiny", train_per_class=2, test_per_class=1, num_frames=6, size=32)
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [("path", "label", "take"), *((r["path"], r["label"], n % 3) for n, r in enumerate(rows))]
        )
    settings = ("input.size=32", "model.num_frames=3", "motion_init=none", "motion.steps=0", "joint.steps=0",
                "spatial.steps=1", "temporal.steps=1")  # fmt: skip
    monkeypatch.setattr(script, "DATA", {"tiny": script.DataSet("take", "nano", settings)})
    arguments = ["--data", "tiny", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    arguments += ["--seeds", "2", "--folds", "2", "--clips", "1", "9", "all"]
    arguments += ["--methods", "nearest-motion,frames"]
    script.main(arguments)
    first = capsys.readouterr().out
    lines = first.splitlines()
    assert lines[0] == "| tiny: clips per class | 1 | all |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        "| spatial alone", "| nearest motion", "| stacked frames"
    ]  # fmt: skip
    assert (
        "2 seeds, mean (lowest to highest); each method alone; 2 folds by take, 16 test clips of 8 cl"
        in first
    )
    decoded = script.decode_samples
    calls: list[int] = []
    monkeypatch.setattr(script, "decode_samples", lambda *a: calls.append(1) or decoded(*a))
    script.main(arguments)
    assert capsys.readouterr().out == first
    assert calls == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "9"], "got 9 clips"),
        (["--fused"], "for real video"),
        (["--folds", "1"], "for real video"),
    ],
)
def test_generated_clips_take_no_options_of_real_ones(
    example_script: Script, tmp_path: Path, options: list[str], message: str
) -> None:
    example_script("few_clips_generated")
    script = example_script("few_clips")
    with pytest.raises(UsageError, match=message):
        script.main(["--data", "generated", "--out", str(tmp_path), *options])


def test_generated_clips_are_still_printed(
    example_script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of them are eight."""
    generated = example_script("few_clips_generated")
    monkeypatch.setattr(generated, "accuracy", lambda root, arm, seed, count: (seed + count) / 20)
    example_script("few_clips").main(["--data", "generated", "--out", str(tmp_path), "--seeds", "2"])
    text = capsys.readouterr().out
    assert text.startswith("| clips per class | 1 | 2 | 4 | 8 |\n|---|---:|---:|---:|---:|\n")
    assert "| stacked frames | 7.5% (5% to 10%) | 12.5% " in text

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
    script = example_script("few_clips")
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
    script = example_script("few_clips")
    recipes = {name: load_recipe("nano", settings) for name, settings in script.ARMS.items()}
    assert len(set(map(repr, recipes.values()))) == len(recipes)
    trained = {
        recipe.spatial.steps + recipe.temporal.steps + recipe.joint.steps for recipe in recipes.values()
    }
    assert trained == {300}

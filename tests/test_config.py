"""Recipes: every shipped one loads and survives being written, and a slip is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config import (
    RECIPES,
    STAGE_NAMES,
    FusionConfig,
    InputConfig,
    ModelConfig,
    Recipe,
    StageConfig,
    load_recipe,
    recipe_from_dict,
    recipe_names,
)
from hidden_two_stream.errors import UsageError


def plain(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe reaches the disk."""
    data: dict[str, Any] = json.loads(json.dumps(recipe.to_dict()))
    return data


def test_recipes_are_shipped() -> None:
    assert {"nano", "demo"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe(name: str) -> None:
    recipe = load_recipe(name)
    again = recipe_from_dict(plain(recipe), "here")
    assert again == recipe
    assert plain(again) == plain(recipe)
    # What the file says is what was read, however it was parsed; `base` is not a field.
    written = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    written.pop("base", None)
    read = plain(recipe)
    for section, values in written.items():
        if isinstance(values, dict):
            assert {field: read[section][field] for field in values} == values
        else:
            assert read[section] == values
    with torch.device("meta"):  # names are checked without memory for the weights
        build_model(recipe, 3)
    assert any(recipe.stage(stage).steps for stage in STAGE_NAMES)


def test_defaults_survive_being_written() -> None:
    assert plain(recipe_from_dict(Recipe().to_dict(), "here")) == plain(Recipe())
    assert plain(recipe_from_dict({}, "here")) == plain(Recipe())


def test_every_field_survives_being_written() -> None:
    """Another value than the default in every field, so that none is lost on the way."""
    stage = StageConfig(
        steps=7, batch_size=2, accumulate=3, optimizer="sgd", learning_rate=3e-7, motion_learning_rate=1e-12,
        bias_factor=2.0, weight_decay=0.05, schedule="steps", milestones=[2, 5], decay=0.5, clip_norm=0.0,
        label_smoothing=0.25, unsupervised_weight=1 / 3, ssim_factor=0.0,
        pixel_factor=0.5, smoothness_factor=2.0,
    )  # fmt: skip
    recipe = Recipe(
        model=ModelConfig("tiny", "resnet18", 5, 0.9, 0.8, "inflated", ["temporal"], 3, "reference"),
        input=InputConfig(224, 256, (240, 320), 2, True, [1.0, 0.66], False, 0.0, 3),
        loss="paper",
        init="imagenet",
        motion=stage,
        spatial=dataclasses.replace(stage, steps=0),
        temporal=dataclasses.replace(stage, optimizer="adam", schedule="constant"),
        joint=dataclasses.replace(stage, learning_rate=123456.789),
        fusion=FusionConfig("l1", 0.5, 2.5),
    )
    assert plain(recipe_from_dict(plain(recipe), "here")) == plain(recipe)
    default = plain(Recipe())
    for section, values in plain(recipe).items():
        assert values != default[section]
        if isinstance(values, dict):
            same = [name for name in values if values[name] == default[section][name]]
            # The stage of a stream that is not there has no steps.
            assert same == (["steps"] if section == "spatial" else [])


def test_every_field_is_documented() -> None:
    for kind in (ModelConfig, InputConfig, StageConfig, FusionConfig, Recipe):
        described = (kind.__doc__ or "").split("Attributes:")[1]
        names = {
            name.strip()
            for line in described.splitlines()
            if ":" in line
            for name in line.split(":")[0].split(",")
        }
        assert {field.name for field in dataclasses.fields(kind)} <= names


def test_recipe_file_with_an_odd_name(tmp_path: Path) -> None:
    path = tmp_path / "-mein Rezept é.yaml"
    path.write_text("motion: {steps: 3, learning_rate: 1e-3}  # größer\n", encoding="utf-8")
    for source in (path, str(path)):
        assert load_recipe(source).motion == dataclasses.replace(
            recipe_from_dict({}, "").motion, steps=3, learning_rate=1e-3
        )


def test_relative_recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("loss: paper\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine.yaml").loss == "paper"


# -- overrides -------------------------------------------------------------------------------------


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changes = [
        "motion.steps=5",
        "input.resize=[96,128]",
        "fusion.method=l1",
        "input.flip=false",
        "loss=paper",
    ]
    before, after = load_recipe("nano"), load_recipe("nano", changes)
    assert (after.motion.steps, after.input.resize, after.input.flip) == (5, (96, 128), False)
    assert (after.fusion.method, after.loss) == ("l1", "paper")
    expected = dataclasses.replace(
        before,
        motion=dataclasses.replace(before.motion, steps=5),
        input=dataclasses.replace(before.input, resize=(96, 128), flip=False),
        fusion=dataclasses.replace(before.fusion, method="l1"),
        loss="paper",
    )
    assert after == expected


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("joint.learning_rate=1e-3", 1e-3),
        ("joint.learning_rate=3.0e-7", 3e-7),
        ("joint.learning_rate=2", 2.0),
        ("joint.milestones=[10, 20]", [10, 20]),
        ("joint.optimizer=sgd", "sgd"),
        ("input.crop_scales=[1]", [1.0]),
        ("input.resize=64", 64),
        ("input.size=96", 96),
        ("input.normalize_contrast=true", True),
    ],
)
def test_values_of_overrides(override: str, value: object) -> None:
    section, name = override.split("=")[0].split(".")
    found = plain(load_recipe("nano", [override]))[section][name]
    assert (found, type(found)) == (value, type(value))


def test_the_last_of_several_overrides_counts() -> None:
    assert load_recipe("nano", ["motion.steps=5", "motion.steps=6"]).motion.steps == 6
    assert load_recipe("nano", ["motion={steps: 5, batch_size: 3}", "motion.steps=6"]).motion.batch_size == 3


# -- slips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("motion.stepz=5", "motion.stepz"),
        ("movement.steps=5", "movement.steps"),
        ("nothing=5", "nothing"),
        ("motion.steps", "'motion.steps'; expected field=value"),
        ("motion.steps=many", "motion.steps.*many"),
        ("motion.steps=1.5", "motion.steps.*1.5"),
        ("motion.steps=", "motion.steps"),
        ("motion.steps=null", "motion.steps"),
        ("motion.steps=true", "motion.steps.*True"),
        ("motion=3", "motion"),
        ("motion.optimizer=lion", "motion.optimizer.*adamw.*lion"),
        ("motion.learning_rate=nan", "motion.learning_rate.*nan"),
        ("motion.milestones=[1, x]", "motion.milestones"),
        ("fusion.method=mean", "fusion.method.*mean"),
        ("input.flip=maybe", "input.flip.*maybe"),
        ("input.resize=[64]", r"input.resize.*\[64\]"),
        ("input.crop_scales=[big]", "input.crop_scales"),
        ("motion.steps=-1", "motion.steps is -1; it must not be negative"),
        ("joint.learning_rate=-1e-3", "joint.learning_rate is -0.001; it must not be negative"),
        ("spatial.weight_decay=-0.1", "spatial.weight_decay is -0.1"),
        ("temporal.batch_size=0", "temporal.batch_size"),
        ("temporal.accumulate=0", "temporal.accumulate"),
        ("model.num_frames=1", "model.num_frames.*at least 2"),
        ("input.frame_stride=0", "input.frame_stride"),
        ("input.max_size=31", "input.max_size.*32"),
        ("input.size=33", "input.size is 33; it must be 0 .* multiple of 32"),
        ("input.size=48", "input.size is 48"),
        ("input.size=-32", "input.size is -32"),
    ],
)
def test_a_slip_in_an_override_is_named(override: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        load_recipe("nano", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"motion: {stepz: 3}\n", "mine.yaml.*motion.stepz"),
        (b"motoin: {steps: 3}\n", "mine.yaml.*motoin"),
        (b"motion: {steps: -3}\n", "motion.steps is -3"),
        (b"motion: {steps: few}\n", "mine.yaml.*motion.steps.*few"),
        (b"motion: {steps: [\n", "mine.yaml"),
        (b"motion: 3\n", "mine.yaml"),
        (b"just words\n", "mine.yaml"),
        (b"- 1\n", "mine.yaml"),
        (b"", "mine.yaml"),
        (b"\xff\xfe\x00", "mine.yaml"),
        (b"\x00", "mine.yaml"),
    ],
)
def test_a_slip_in_a_file_is_named(tmp_path: Path, text: bytes, named: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=named) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["nanno", "", ".", "nano.yaml", "../config.py", "no/such.yaml"])
def test_unknown_recipe_lists_the_known_ones(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no recipe .*give a YAML file or one of .*nano") as caught:
        load_recipe(source)
    assert repr(source) in str(caught.value)


def test_a_broken_dictionary_names_its_origin() -> None:
    with pytest.raises(UsageError, match=r"description of 'x'.*motion.stepz"):
        recipe_from_dict({"motion": {"stepz": 1}}, "description of 'x'")
    with pytest.raises(UsageError, match=r"input\.size is 33"):
        recipe_from_dict({"input": {"size": 33}}, "here")


def test_a_recipe_of_a_few_lines_can_train(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("motion: {steps: 3}\nspatial: {steps: 3}\ntemporal: {steps: 3}\njoint: {steps: 3}\n")
    recipe = load_recipe(path)
    assert recipe.motion.motion_learning_rate > 100 * recipe.joint.motion_learning_rate > 0
    assert recipe.motion.unsupervised_weight > 0


@pytest.mark.parametrize(
    "field", ["motion.motion_learning_rate", "joint.learning_rate", "motion.unsupervised_weight"]
)
def test_nothing_to_learn_with_is_refused_before_anything_starts(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        load_recipe("nano", [f"{field}=0"])


def test_an_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown field 'motion\.step'; motion has steps, batch_size"):
        load_recipe("nano", ["motion.step=3"])

"""Recipes: every shipped one loads and survives being written, and a slip is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config import loading
from hidden_two_stream.config.loading import RECIPES, load_recipe, recipe_from_dict, recipe_names
from hidden_two_stream.config.schema import (
    BackgroundConfig,
    CalibrationConfig,
    FusionConfig,
    InputConfig,
    ModelConfig,
    Recipe,
    StageConfig,
)
from hidden_two_stream.config.stages import STAGE_NAMES
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
    # Fusion puts together what others have trained; nano-fine has the weights of nano.
    still = name.endswith("/fusion") or name == "motion/nano-fine"
    assert any(recipe.stage(stage).steps for stage in STAGE_NAMES) != still


def test_defaults_survive_being_written() -> None:
    assert plain(recipe_from_dict(Recipe().to_dict(), "here")) == plain(Recipe())
    assert plain(recipe_from_dict({}, "here")) == plain(Recipe())


def test_every_field_survives_being_written() -> None:
    """Another value than the default in every field, so that none is lost on the way."""
    stage = StageConfig(
        steps=7, batch_size=2, accumulate=3, optimizer="sgd", learning_rate=3e-7, motion_learning_rate=1e-12,
        fine_tuning_factor=0.3, bias_factor=2.0, weight_decay=0.05, schedule="steps", milestones=[2, 5],
        decay=0.5, clip_norm=0.0, label_smoothing=0.25, unsupervised_weight=1 / 3, ssim_factor=0.0,
        pixel_factor=0.5, smoothness_factor=2.0,
    )  # fmt: skip
    recipe = Recipe(
        model=ModelConfig("tiny", "resnet18", 2, 0.9, 0.8, "inflated", ["temporal"], 2, "reference"),
        input=InputConfig(224, 96, 256, (240, 320), 12.5, 2, True, [1.0, 0.66], False, 0.0, 3),
        loss="paper",
        init="imagenet",
        motion_init="shipped",
        temporal_init="shipped",
        motion_teacher="nano",
        motion_target="residual",
        motion=stage,
        spatial=dataclasses.replace(stage, steps=0),
        temporal=dataclasses.replace(stage, optimizer="adam", schedule="constant"),
        joint=dataclasses.replace(stage, learning_rate=123456.789),
        fusion=FusionConfig("softmax", 0.5, 2.5),
        calibration=CalibrationConfig("held-back", 5, 60),
        background=BackgroundConfig("between", 0.25, 2.0),
    )
    assert plain(recipe_from_dict(plain(recipe), "here")) == plain(recipe)
    default = plain(Recipe())
    for section, values in plain(recipe).items():
        assert values != default[section]
        if isinstance(values, dict):
            same = [name for name in values if values[name] == default[section][name]]
            # The stage of a stream that is not there has no steps. For image encoders, see below.
            encoder = {"model": ["encoder"]} | {key: ["encoder_learning_rate"] for key in STAGE_NAMES}
            assert same == (["steps"] if section == "spatial" else []) + encoder.get(section, [])


@pytest.mark.parametrize("name", recipe_names())
def test_written_recipes_are_read_as_the_parser_reads_them(name: str) -> None:
    """Complete descriptions do not pass the parser, which takes long to import."""
    recipe = load_recipe(name, {"input.size": 64, "input.resize": [64, 80]})
    data = json.loads(json.dumps(recipe.to_dict()))
    parsed = loading._checked([f"--recipe={json.dumps(data)}"], "here")
    assert loading._as_written(Recipe, data) == parsed == recipe_from_dict(data, "here") == recipe


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("input", "fps", 5),
        ("input", "size", 64.0),
        ("input", "flip", 1),
        ("input", "resize", [64]),
        ("input", "resize", [64, 80, 3]),
        ("input", "resize", "64"),
        ("input", "crop_scales", [1, 0.5]),
        ("input", "crop_scales", "1.0"),
        ("model", "motion", "nan0"),
        ("model", "streams", ["temporal", "other"]),
        ("model", "encoder", None),
        ("motion", "steps", True),
        ("motion", "steps", -1),
        ("motion", "milestones", [1, "2"]),
        ("fusion", "temporal_weight", float("nan")),
    ],
)
def test_other_values_are_converted_or_refused_as_by_the_parser(
    section: str, field: str, value: object
) -> None:
    data = Recipe().to_dict()
    assert field in data[section]
    data[section][field] = value

    def outcome(read: Callable[[], Recipe]) -> object:
        try:
            return plain(read())
        except UsageError as error:
            return str(error)

    parser = outcome(lambda: loading._checked([f"--recipe={loading._plain_json(data, 'here')}"], "here"))
    assert outcome(lambda: recipe_from_dict(data, "here")) == parser


def test_fields_of_an_image_encoder_survive_being_written() -> None:
    recipe = Recipe(
        model=ModelConfig(backbone="hf:a/b", encoder='{"a": [1, 0.5, null], "b": "c: d"}'),
        spatial=StageConfig(encoder_learning_rate=1e-7),
    )
    again = recipe_from_dict(plain(recipe), "here")
    assert plain(again) == plain(recipe)
    assert again.model.encoder == recipe.model.encoder
    assert (again.model.encoder_name, again.model.temporal_backbone) == ("a/b", "small")
    assert (load_recipe("tiny").model.encoder_name, load_recipe("tiny").model.temporal_backbone) == (
        None,
        "resnet18",
    )


def test_calibration_of_a_fusion_that_no_temperature_changes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"fusion\.method l1 divides .*set fusion\.method to product"):
        load_recipe("nano", {"fusion.method": "l1"})
    assert load_recipe("nano", {"fusion.method": "l1", "calibration.method": "none"}).fusion.method == "l1"


def test_only_recipes_for_cpus_and_small_data_calibrate() -> None:
    calibrated = {name for name in recipe_names() if load_recipe(name).calibration.method != "none"}
    assert calibrated == {"nano", "quick", "thermal", "tiny"}


def test_recipes_of_earlier_versions_are_read() -> None:
    """Fields that had other names, and one that left the recipe."""
    data = plain(load_recipe("motion/tiny-2"))
    data["motion_lesson"] = data.pop("motion_target")
    data["model"]["temporal_input"] = "motion"
    assert recipe_from_dict(data, "here") == load_recipe("motion/tiny-2")
    assert load_recipe("motion/tiny-2").motion_target == "residual"


def test_overrides_as_a_mapping() -> None:
    fields: dict[str, object] = {
        "motion.steps": 5,
        "input.flip": False,
        "input.resize": (96, 128),
        "loss": "paper",
    }
    texts = ["motion.steps=5", "input.flip=false", "input.resize=[96,128]", "loss=paper"]
    assert load_recipe("nano", fields) == load_recipe("nano", texts)
    assert load_recipe(load_recipe("nano", texts)) == load_recipe("nano", texts)
    assert load_recipe(load_recipe("nano"), {"motion.steps": 5}) == load_recipe("nano", ["motion.steps=5"])
    with pytest.raises(UsageError, match=r"unknown field 'motion\.stepz'"):
        load_recipe("nano", {"motion.stepz": 5})
    with pytest.raises(UsageError, match=r"recipe: .*motion\.steps.*many"):
        load_recipe(load_recipe("nano"), {"motion.steps": "many"})
    with pytest.raises(UsageError, match=r"overrides is the text 'motion\.steps=5'"):
        load_recipe("nano", "motion.steps=5")


def test_every_field_is_documented() -> None:
    for kind in (
        ModelConfig,
        InputConfig,
        StageConfig,
        FusionConfig,
        CalibrationConfig,
        BackgroundConfig,
        Recipe,
    ):
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
        "fusion.method=softmax",
        "input.flip=false",
        "loss=paper",
    ]
    before, after = load_recipe("nano"), load_recipe("nano", changes)
    assert (after.motion.steps, after.input.resize, after.input.flip) == (5, (96, 128), False)
    assert (after.fusion.method, after.loss) == ("softmax", "paper")
    expected = dataclasses.replace(
        before,
        motion=dataclasses.replace(before.motion, steps=5),
        input=dataclasses.replace(before.input, resize=(96, 128), flip=False),
        fusion=dataclasses.replace(before.fusion, method="softmax"),
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
        ("input.min_size=0", "input.min_size"),
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
        load_recipe("nano", ["motion.steps=5", "joint.steps=5", f"{field}=0"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["motion_target=residual", "model.num_frames=2"], "needs a motion_teacher"),
        (["motion_target=residual", "motion_teacher=nano"], "set model.num_frames to 2, not 16"),
        (["motion_target=all"], "motion_target"),
    ],
)
def test_a_distillation_target_needs_a_teacher_and_pairs(fields: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("nano", ["motion.steps=5", *fields])
    if fields[1:]:
        load_recipe("nano", [*fields, "motion.steps=0"])  # nothing is learned


def test_an_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown field 'motion\.step'; motion has steps, batch_size"):
        load_recipe("nano", ["motion.step=3"])


# -- recipes with a base ---------------------------------------------------------------------------


def written(folder: Path, **recipes: str) -> Path:
    """Recipe files by name; returns the path of the first."""
    for name, text in recipes.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(recipes))}.yaml"


def test_a_base_by_name(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, mine="base: nano\n"))
    assert recipe == load_recipe("nano")
    recipe = load_recipe(written(tmp_path, mine="base: ucf101/temporal_b\nloss: caffe\n"))
    assert recipe == dataclasses.replace(load_recipe("ucf101/temporal_b"), loss="caffe")


def test_a_base_by_path_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    mine = written(tmp_path, mine="base: theirs.yaml\n", theirs="base: inner/first.yaml\nloss: paper\n")
    written(tmp_path / "inner", first="base: ../root.yaml\nmotion: {steps: 5}\n")
    written(tmp_path, root="spatial: {steps: 6}\n")
    elsewhere = tmp_path / "elsewhere"  # the same names here must not be taken
    elsewhere.mkdir()
    written(elsewhere, theirs="loss: caffe\n", root="spatial: {steps: 99}\n")
    monkeypatch.chdir(elsewhere)
    recipe = load_recipe(mine)
    assert (recipe.loss, recipe.motion.steps, recipe.spatial.steps) == ("paper", 5, 6)
    assert recipe.temporal == Recipe().temporal


def test_an_absolute_path_is_a_base(tmp_path: Path) -> None:
    theirs = written(tmp_path, theirs="motion: {steps: 5}\n")
    (tmp_path / "mine").mkdir()
    mine = written(tmp_path / "mine", mine=f"base: {json.dumps(str(theirs))}\n")
    assert load_recipe(mine).motion.steps == 5


def test_a_field_of_a_section_leaves_the_others_as_in_the_base(tmp_path: Path) -> None:
    root = (
        "model: {motion: tiny, backbone: resnet18, num_frames: 5}\n"
        "motion: {steps: 4, schedule: steps, milestones: [1, 2, 3], motion_learning_rate: 1.0e-2}\n"
        "input: {resize: [64, 96], crop_scales: [1.0, 0.5]}\n"
    )
    middle = "base: root.yaml\nmodel: {num_frames: 7}\nmotion: {milestones: [3]}\n"
    last = "base: middle.yaml\nmotion: {steps: 9}\ninput: {crop_scales: [0.9]}\n"
    recipe = load_recipe(written(tmp_path, last=last, middle=middle, root=root))
    assert recipe.model == ModelConfig("tiny", "resnet18", 7, streams=("spatial", "temporal"))
    # A list is replaced, not added to.
    assert recipe.motion == StageConfig(steps=9, schedule="steps", milestones=(3,), motion_learning_rate=1e-2)
    assert recipe.input == InputConfig(resize=(64, 96), crop_scales=(0.9,))


def test_overrides_come_after_the_base(tmp_path: Path) -> None:
    mine = written(
        tmp_path, mine="base: theirs.yaml\nmotion: {steps: 5}\n", theirs="motion: {batch_size: 3}\n"
    )
    motion = load_recipe(mine, ["motion.steps=6"]).motion
    assert (motion.steps, motion.batch_size) == (6, 3)


def test_two_recipes_may_have_one_base(tmp_path: Path) -> None:
    root = "base: nano\n"
    mine = written(tmp_path, mine="base: left.yaml\n", left="base: root.yaml\n", root=root)
    assert load_recipe(mine) == load_recipe("nano")
    assert load_recipe(written(tmp_path, other="base: root.yaml\n")) == load_recipe("nano")


@pytest.mark.parametrize(
    "recipes",
    [
        {"mine": "base: mine.yaml\n"},
        {"mine": "base: theirs.yaml\n", "theirs": "base: mine.yaml\n"},
        {"mine": "base: a.yaml\n", "a": "base: b.yaml\n", "b": "base: c.yaml\n", "c": "base: ./a.yaml\n"},
    ],
)
def test_a_cycle_of_bases_is_named(recipes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is its own base, by way of '.*\.yaml'") as caught:
        load_recipe(written(tmp_path, **recipes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("nanno", "no recipe 'nanno'; give a YAML file or one of .*nano"),
        ("gone.yaml", "no recipe 'gone.yaml'"),
        ("ucf101", "no recipe 'ucf101'"),
        ("3", "no recipe '3'"),
        ("true", "no recipe 'True'"),
        ("[nano]", "no recipe .*nano"),
        ("{nano: paper}", "no recipe .*nano.*paper"),
        ("''", "no recipe ''"),
    ],
)
def test_a_base_that_is_no_recipe_is_named(base: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        load_recipe(written(tmp_path, mine=f"base: {base}\n"))
    assert "\n" not in str(caught.value)


def test_a_slip_in_a_base_is_named(tmp_path: Path) -> None:
    for text, named in (("motion: {stepz: 3}\n", "motion.stepz"), ("- 1\n", "theirs.yaml"), ("[", "theirs")):
        with pytest.raises(UsageError, match=named):
            load_recipe(written(tmp_path, mine="base: theirs.yaml\n", theirs=text))


def test_a_base_is_of_files_alone() -> None:
    with pytest.raises(UsageError, match="unknown field 'base'"):
        load_recipe("nano", ["base=paper"])
    with pytest.raises(UsageError, match=r"here.*base"):
        recipe_from_dict({"base": "paper"}, "here")


# -- networks and streams that do not fit ----------------------------------------------------------


def changed(*overrides: str) -> Recipe:
    """The default recipe, which trains nothing, with changes."""
    data: dict[str, Any] = {}
    for override in overrides:
        key, value = override.split("=")
        section, _, name = key.partition(".")
        data.setdefault(section, {})[name] = yaml.safe_load(value)
    return recipe_from_dict(data, "here")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.streams=[temporal]", "spatial.steps=2"], "spatial.steps is 2, but .* has no 'spatial'"),
        (["model.streams=[spatial]", "temporal.steps=2"], "temporal.steps is 2, .* has no 'temporal'"),
        (["model.streams=[spatial]", "joint.steps=2"], "joint.steps is 2, .* has no 'temporal'"),
        (["model.streams=[]", "joint.steps=2"], "joint.steps is 2, .* has no 'temporal'"),
        (["model.streams=[spatial]", "motion.steps=2"], "motion.steps is 2, .* has no MotionNet; set"),
        (["input.segments=0"], "input.segments is 0; it must be at least 1"),
        (["input.segments=-3"], "input.segments is -3; it must be at least 1"),
        (["model.temporal=volume"], "model.temporal.*volume"),
        (["model.hand_over=zeros"], "model.hand_over.*zeros"),
        (["model.streams=[flow]"], "model.streams.*flow"),
        (["model.motion=flownet2"], "model.motion.*flownet2"),
        (["motion.pixel_factor=-1"], "motion.pixel_factor is -1.0; it must not be negative"),
        (["joint.smoothness_factor=-0.5"], "joint.smoothness_factor is -0.5"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(overrides: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        changed(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.streams=[]", "motion.steps=2"],
        ["model.streams=[temporal]", "motion.steps=2", "temporal.steps=2", "joint.steps=2"],
        ["model.streams=[spatial]", "spatial.steps=2"],
        *([f"model.motion_frames={frames}"] for frames in (0, 2, 3, 6, 11)),  # divisors of 10, and one
        ["model.motion_frames=11", "model.temporal=branched"],
        ["model.motion_frames=2", "model.temporal=inflated"],
        ["model.num_frames=2", "model.motion_frames=2", "model.temporal=branched"],
        ["input.segments=3"],
    ],
)  # fmt: skip
def test_what_fits_together_is_taken(overrides: list[str]) -> None:
    changed(*overrides)


def test_streams_have_one_order() -> None:
    names = ("[temporal, spatial]", "[spatial, temporal]", "[temporal, spatial, temporal]")
    assert {changed(f"model.streams={text}").model.streams for text in names} == {("spatial", "temporal")}


def test_a_wrong_value_in_a_file_is_named_without_the_whole_recipe(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: nano\nloss: foo\n", encoding="utf-8")
    with pytest.raises(UsageError, match="loss") as caught:
        load_recipe(path)
    assert "foo" in str(caught.value)
    assert '"temporal_dropout"' not in str(caught.value)

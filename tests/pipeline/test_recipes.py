"""The recipes of UCF101 and HMDB51: the published facts, and each trained for two steps on a made-up copy."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hidden_two_stream.checkpoint import load_run, read_metrics
from hidden_two_stream.cli.main import main
from hidden_two_stream.config import loading
from hidden_two_stream.config.loading import RECIPES, recipe_names
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.recognition.fusion import fuse

from ..data.benchmark_trees import make_hmdb51, make_ucf101

Hts = Callable[..., tuple[int, str, str]]

NAMES = sorted(path.stem for path in (RECIPES / "ucf101").glob("*.yaml"))
BENCHMARKS = ("ucf101", "hmdb51")
TRAINED = [name for name in NAMES if name != "fusion"]

# Which stage a recipe trains, and with what.
STAGE_OF = {
    "motion": "motion",
    "spatial": "spatial",
    "temporal_a": "temporal",
    "temporal_b": "joint",
    "temporal_c": "joint",
    "temporal_inflated": "joint",
    "temporal_tsn": "joint",
    "branched": "joint",
}


load_recipe = functools.cache(loading.load_recipe)


# -- what the files say ----------------------------------------------------------------------------


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"motion": {"steps": 1}} → {"motion.steps": 1}."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def fields(name: str) -> dict[str, Any]:
    """All fields of a recipe as plain data."""
    return flat(json.loads(json.dumps(load_recipe(name).to_dict())))


def difference(one: str, two: str) -> set[str]:
    first, second = fields(one), fields(two)
    return {name for name in first if first[name] != second[name]}


def test_both_sets_have_the_same_recipes() -> None:
    shipped = {name for name in recipe_names() if "/" in name and not name.startswith("motion/")}
    assert shipped == {f"{benchmark}/{name}" for benchmark in BENCHMARKS for name in NAMES}
    assert set(STAGE_OF) == set(TRAINED)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_recipe_is_its_base_and_what_its_file_says(benchmark: str, name: str) -> None:
    written = yaml.safe_load((RECIPES / benchmark / f"{name}.yaml").read_text(encoding="utf-8"))
    base = fields(written.pop("base"))
    assert fields(f"{benchmark}/{name}") == base | flat(written)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize(("name", "stage"), STAGE_OF.items())
def test_each_recipe_trains_one_stage(benchmark: str, name: str, stage: str) -> None:
    recipe = load_recipe(f"{benchmark}/{name}")
    assert [other for other in STAGE_NAMES if recipe.stage(other).steps] == [stage]
    streams = {"motion": (), "spatial": ("spatial",)}.get(name, ("temporal",))
    assert recipe.model.streams == streams


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_fusion_trains_nothing_and_fuses_as_published(benchmark: str) -> None:
    recipe = load_recipe(f"{benchmark}/fusion")
    assert not any(recipe.stage(stage).steps for stage in STAGE_NAMES)
    assert recipe.model.streams == ("spatial", "temporal")
    assert dataclasses.astuple(recipe.fusion) == ("l1", 1.0, 1.5)


@pytest.mark.parametrize("name", ["paper", *(f"{b}/{n}" for b in BENCHMARKS for n in NAMES)])
def test_networks_and_input_are_the_published_ones(name: str) -> None:
    recipe = load_recipe(name)
    last = name.rpartition("/")[2]
    assert recipe.model.motion == ("vgg16" if last == "branched" else "full")
    assert recipe.model.backbone == ("resnet50" if last == "temporal_inflated" else "vgg16")
    assert recipe.model.num_frames == 11
    assert recipe.model.motion_frames == 0
    assert recipe.model.hand_over == "reference"
    assert recipe.model.temporal_dropout == (0.5 if last == "temporal_inflated" else 0.9)
    assert recipe.input.size == 224
    assert recipe.input.resize == (256, 340)
    assert recipe.input.crop_scales == (1.0, 0.875, 0.75)
    assert recipe.input.flip
    assert recipe.input.segments == (3 if last == "temporal_tsn" else 1)
    assert recipe.loss == "paper"
    assert recipe.init == ("none" if last in ("fusion", "branched") else "imagenet")


@pytest.mark.parametrize("benchmark", ["paper", "ucf101/motion", "hmdb51/motion"])
def test_schedule_of_motion(benchmark: str) -> None:
    """The authors' multiframe_MotionNet/solver.prototxt."""
    motion = load_recipe(benchmark).motion
    assert motion.optimizer == "adam"
    assert motion.motion_learning_rate == 3.2e-5
    assert motion.schedule == "steps"
    assert motion.milestones == (100_000, 200_000, 250_000, 300_000, 350_000)
    assert motion.decay == 0.5
    assert motion.steps == 400_000
    assert (motion.batch_size, motion.accumulate) == (16, 1)
    assert motion.weight_decay == 4e-4
    assert motion.clip_norm == 0
    assert (motion.ssim_factor, motion.pixel_factor, motion.smoothness_factor) == (1, 1, 1)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("name", [name for name in TRAINED if name != "motion"])
def test_schedule_of_the_streams(benchmark: str, name: str) -> None:
    """The authors' end_solver.prototxt of ucf101_split2_unsup_end and of hmdb51_split2_unsup_end."""
    stage = load_recipe(f"{benchmark}/{name}").stage(STAGE_OF[name])
    assert stage.optimizer == "sgd"
    assert stage.learning_rate == 1e-3
    assert stage.bias_factor == 2
    assert stage.batch_size * stage.accumulate == 128
    assert stage.weight_decay == 5e-4
    assert stage.schedule == "steps"
    assert stage.decay == 0.1
    assert stage.clip_norm == 0
    assert stage.label_smoothing == 0
    published = {"ucf101": (16_000, (5_000, 9_500)), "hmdb51": (8_500, (5_000, 7_000))}
    assert (stage.steps, stage.milestones) == published[benchmark]
    if STAGE_OF[name] == "joint":
        assert stage.motion_learning_rate == 1e-6
        assert stage.unsupervised_weight == (0 if name == "temporal_b" else 1)
        assert (stage.ssim_factor, stage.pixel_factor, stage.smoothness_factor) == (0.1, 1, 1)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_ways_of_fine_tuning_differ_in_stages_temporal_and_joint_alone(benchmark: str) -> None:
    a, b, c = (f"{benchmark}/temporal_{way}" for way in "abc")
    assert difference(b, c) == {"joint.unsupervised_weight"}
    for way in (b, c):
        changed = difference(a, way)
        assert {"temporal.steps", "joint.steps"} <= changed
        assert {name.split(".")[0] for name in changed} == {"temporal", "joint"}
    recipes = [load_recipe(name) for name in (a, b)]
    schedules = [(r.temporal if r.temporal.steps else r.joint) for r in recipes]
    assert schedules[0].steps == schedules[1].steps
    assert schedules[0].milestones == schedules[1].milestones


@pytest.mark.parametrize("name", NAMES)
def test_hmdb51_differs_from_ucf101_in_the_schedule_alone(name: str) -> None:
    changed = difference(f"ucf101/{name}", f"hmdb51/{name}")
    if name in ("motion", "fusion"):
        assert changed == set()
    else:
        assert changed == {f"{STAGE_OF[name]}.steps", f"{STAGE_OF[name]}.milestones"}


# -- each in use -----------------------------------------------------------------------------------


def small(recipe: Recipe, **changes: object) -> list[str]:
    """Options that make any recipe small, but leave what it is about."""
    fields: dict[str, object] = {
        "model.motion": "tiny", "model.backbone": "small", "model.num_frames": 3,
        "input.size": 32, "input.resize": 32, "init": "none",
    }  # fmt: skip
    for stage in STAGE_NAMES:
        fields |= {f"{stage}.batch_size": 2, f"{stage}.accumulate": 1}
        if recipe.stage(stage).steps:
            fields[f"{stage}.steps"] = 2
    options = ["--workers", "0", "--quiet", "--protocol", "center"]
    for field, value in (fields | changes).items():
        options += ["--set", f"{field}={value}"]
    return options


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("benchmarks")
    ucf, hmdb = make_ucf101(root / "ucf"), make_hmdb51(root / "hmdb")
    return {"ucf101": f"ucf101:{ucf}:1", "hmdb51": f"hmdb51:{hmdb}:1"}


@pytest.fixture(scope="module")
def trained(copies: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a recipe after two steps, trained when it is first asked for."""
    root = tmp_path_factory.mktemp("runs")

    @functools.cache
    def train(recipe: str) -> Path:
        command = ["train", "--data", copies[recipe.split("/")[0]], "--out", str(root / recipe)]
        assert main([*command, "--recipe", recipe, *small(load_recipe(recipe))]) == 0
        return root / recipe

    return train


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_recipe_trains(benchmark: str, name: str, trained: Callable[[str], Path]) -> None:
    folder = trained(f"{benchmark}/{name}")
    logged = read_metrics(folder)
    assert [(line["stage"], line["step"]) for line in logged] == [(STAGE_OF[name], 2)]
    model, info = load_run(folder)
    assert info.metadata.stages == (STAGE_OF[name],)
    wanted = load_recipe(f"{benchmark}/{name}")
    for field in ("temporal", "streams", "hand_over"):
        assert getattr(info.recipe.model, field) == getattr(wanted.model, field)
    assert info.recipe.input.segments == wanted.input.segments
    parts = {"motion": {"motion_net"}, "spatial": {"spatial_stream"}}
    there = {child for child, _ in model.named_children()} - {"preprocess"}  # has no weights
    assert there == parts.get(name, {"motion_net", "temporal_stream"})
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    if name == "motion":
        assert "accuracy" not in results
    else:
        stream = "spatial" if name == "spatial" else "temporal"
        assert set(results["accuracy"]) == {stream, "fused"}
        assert results["num_test_videos"] == 6
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_streams_that_were_trained_apart_are_fused(
    benchmark: str, copies: dict[str, str], trained: Callable[[str], Path], hts: Hts, tmp_path: Path
) -> None:
    spatial, temporal = trained(f"{benchmark}/spatial"), trained(f"{benchmark}/temporal_c")
    fused = tmp_path / "fused"
    recipe, data = f"{benchmark}/fusion", copies[benchmark]
    code, out, err = hts(
        "train", "--data", data, "--out", fused, "--recipe", recipe, *small(load_recipe(recipe)),
        "--spatial-from", spatial, "--temporal-from", temporal,
    )  # fmt: skip
    assert code == 0, err
    found: dict[str, Any] = {}
    for run in (fused, spatial, temporal):
        scores = tmp_path / f"{run.name}.npz"
        code, out, err = hts(
            "evaluate", run, "--data", data, "--workers", 0, "--protocol", "5x1", "--save-scores", scores
        )
        assert code == 0, err
        with np.load(scores) as arrays:
            found[run.name] = dict(arrays)
        if run == fused:
            printed = out

    together = found["fused"]
    for stream, run in (("spatial", "spatial"), ("temporal", "temporal_c")):
        np.testing.assert_allclose(together[stream], found[run][stream], rtol=1e-5, atol=1e-6)
    by_hand = np.zeros((6, 3))
    for row in range(6):
        for weight, stream in ((1.0, "spatial"), (1.5, "temporal")):
            positive = [max(0.0, float(score)) for score in together[stream][row]]
            total = sum(positive)
            by_hand[row] += [weight / 2.5 * (s / total if total else 1 / 3) for s in positive]
    assert np.allclose(together["fused"], by_hand, atol=1e-6)
    assert np.array_equal(
        together["fused"], fuse([together["spatial"], together["temporal"]], (1.0, 1.5), "l1")
    )
    lines = {line.split()[0]: line for line in printed.splitlines() if line.startswith("  ")}
    for stream, scores_of in (
        ("spatial", together["spatial"]),
        ("temporal", together["temporal"]),
        ("fused", by_hand),
    ):
        accuracy = (scores_of.argmax(axis=1) == together["truth"]).mean()
        assert f" {accuracy:.1%} " in lines[stream]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["temporal_c", "branched"])
def test_the_true_networks_train(name: str, copies: dict[str, str], hts: Hts, tmp_path: Path) -> None:
    recipe = load_recipe(f"ucf101/{name}")
    true_networks = {"model.motion": recipe.model.motion, "model.backbone": "vgg16", "model.num_frames": 11}
    run = tmp_path / "run"
    try:
        code, _, err = hts(
            "train", "--data", copies["ucf101"], "--out", run, "--recipe", f"ucf101/{name}",
            *small(recipe, **true_networks),
        )  # fmt: skip
        assert code == 0, err
        sizes = {
            part: sum(p.numel() for p in net.parameters()) for part, net in load_run(run)[0].named_children()
        }
        if name == "temporal_c":  # method: 42.32 M, and 134.7 M at 101 classes, of which here are 3
            assert sizes["motion_net"] == pytest.approx(42.32e6, abs=5e3)
            assert sizes["temporal_stream"] == pytest.approx(134.7e6 - 98 * 4097, abs=5e4)
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        assert set(results["accuracy"]) == {"temporal", "fused"}
        assert all(0 <= value <= 1 for value in results["accuracy"].values())
    finally:
        shutil.rmtree(run, ignore_errors=True)

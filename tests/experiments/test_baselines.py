"""Baselines of a comparison: the backbone of hidden motion behind another input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import Split
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.experiments import baselines
from hidden_two_stream.experiments.baselines import (
    Baseline,
    BaselineInput,
    BaselineModel,
    fit_baseline,
    load_baseline,
)
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.recognition.backbones import build_backbone
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.fit import FitTask
from hidden_two_stream.training.resources import Resources


def recipe_of(num_frames: int = 3, **changes: object) -> Recipe:
    fields: dict[str, object] = {"model.num_frames": num_frames, "model.temporal": "stacked", **changes}
    return load_recipe("nano", fields)


@pytest.mark.parametrize(("sees", "channels"), [("frames", 9), ("difference", 6), ("flow", 4)])
def test_baselines_have_the_backbone_of_hidden_motion_and_no_motion_network(
    sees: BaselineInput, channels: int
) -> None:
    """They differ in the channels that they see: three frames, two differences, or two flow fields."""
    baseline = BaselineModel(sees, recipe_of(), 5)
    hidden = HiddenTwoStream("nano", "small", 5, 3, streams=("temporal",))
    assert {name.partition(".")[0] for name in baseline.state_dict()} == {"temporal_stream"}
    shapes, expected = (
        {name: value.shape for name, value in model.temporal_stream.backbone.state_dict().items()}  # type: ignore[union-attr]
        for model in (baseline, hidden)
    )
    assert shapes["features.0.weight"] == (32, channels, 3, 3)
    assert shapes["bn0.weight"] == (channels,)
    others = {name for name in shapes if not name.startswith(("bn0.", "features.0."))}
    assert len(others) > 10
    assert {name: shapes[name] for name in others} == {name: expected[name] for name in others}
    assert not hasattr(baseline, "motion_net")


def test_pixel_streams_see_gray_levels_of_frames_or_their_differences() -> None:
    frames = torch.rand(2, 3, 3, 32, 32)
    kinds: tuple[BaselineInput, ...] = ("frames", "difference")
    for sees in kinds:
        torch.manual_seed(0)
        model = BaselineModel(sees, recipe_of(), 5).eval()
        stream: Any = model.temporal_stream
        seen = 255 * (frames if sees == "frames" else frames.diff(dim=1))
        expected = stream.backbone(seen.reshape(2, -1, 32, 32))
        torch.testing.assert_close(model.temporal(frames), expected)
        brighter = model.temporal(frames + 0.25)
        assert torch.allclose(brighter, expected, atol=1e-4) == (sees == "difference")


def test_precomputed_flow_is_recognized_like_hidden_motion() -> None:
    """The same stream over MotionNet's flow, and over that flow when it is precomputed."""
    torch.manual_seed(0)
    hidden = HiddenTwoStream("nano", "small", 5, 4)
    with torch.no_grad():
        for name, parameter in hidden.named_parameters():
            if "predict.weight" in name or name.endswith("fc.weight"):
                parameter.normal_(std=0.2)
    hidden.eval()
    frames = torch.rand(2, 4, 3, 64, 64)
    given = BaselineModel("flow", recipe_of(4), 5).eval()
    given.temporal_stream.load_state_dict(hidden.temporal_stream.state_dict())
    with torch.no_grad():
        flow = hidden.motion(frames)[0]
        enlarged = 2 * functional.interpolate(flow.flatten(0, 1), (64, 64), mode="bilinear")
        stored = torch.cat((enlarged.unflatten(0, (2, 3)), torch.full((2, 1, 2, 64, 64), 7.0)), dim=1)
        expected = hidden.temporal(frames)
        assert expected.std() > 0.01
        torch.testing.assert_close(given.temporal(stored), expected, rtol=1e-3, atol=1e-4)


def test_an_unknown_input_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown baseline 'sound'; choose one of frames, difference, flow"):
        BaselineModel("sound", recipe_of(), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("sees", ["frames", "difference", "flow"])
def test_a_saved_baseline_is_loaded_as_one_and_not_as_a_run(sees: BaselineInput, tmp_path: Path) -> None:
    recipe = recipe_of()
    made = BaselineModel(sees, recipe, 2)
    save_run(tmp_path, made, RunInfo(recipe, ("a", "b"), RunMetadata(stages=("temporal",))), baseline=sees)
    found = load_baseline(tmp_path)
    assert isinstance(found, Baseline)
    assert (found.model.sees, found.classes, found.info.recipe) == (sees, ("a", "b"), recipe)
    for name, value in made.state_dict().items():
        assert torch.equal(value, found.model.state_dict()[name])
    with pytest.raises(CheckpointError, match=rf"is a baseline of hts compare \({sees}\)"):
        load(tmp_path)


def test_a_run_is_not_a_baseline(tmp_path: Path) -> None:
    recipe = recipe_of()
    save_run(tmp_path, build_model(recipe, 2), RunInfo(recipe, ("a", "b")))
    with pytest.raises(CheckpointError, match="is not a baseline"):
        load_baseline(tmp_path)
    with pytest.raises(UsageError, match="no run at"):
        load_baseline(tmp_path / "nowhere")


@pytest.mark.parametrize("sees", ["frames", "difference"])
def test_baselines_begin_with_the_image_weights_of_the_recipe(
    sees: BaselineInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hidden motion does: otherwise the comparison would be unfair."""
    torch.manual_seed(3)
    published = build_backbone("resnet18", 3, 1000, 0.0).state_dict()
    torch.save(published, tmp_path / "net.pth")
    data = write_dataset(tmp_path / "data", train_per_class=1, test_per_class=0, num_frames=3, size=32)
    samples = read_dataset_index(data).samples
    recipe = recipe_of(**{"model.backbone": "resnet18", "init": str(tmp_path / "net.pth"), "input.size": 32})
    task = FitTask(
        split=Split(samples, (), "all"),
        cache=open_clip_cache(samples, 32),
        classes=sorted({sample.label for sample in samples}),
        recipe=recipe,
        folder=tmp_path,
    )
    begun: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(baselines, "optimize", lambda model, *_: begun.append(dict(model.state_dict())))
    assert fit_baseline(task, sees, Resources(workers=0, quiet=True), Fabric(accelerator="cpu")) is None
    (weights,) = begun
    for name in ("layer1.0.conv1.weight", "layer4.1.conv2.weight", "bn1.bias"):
        assert torch.equal(weights[f"temporal_stream.backbone.{name}"], published[name])

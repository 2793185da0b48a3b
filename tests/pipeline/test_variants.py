"""Every MotionNet with every temporal stream and every way of fine-tuning: train, save, load, test."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import RunInfo, build_model, load_run, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.splits import Split
from hidden_two_stream.data.training_set import mix_seed
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.recognition.model import TEMPORAL_FORMS, HiddenTwoStream
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training.fit import FitTask, TrainingResult, fit
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video.transforms import to_tensor

SEED = 3
CLASSES = ("left", "right", "grow")
FORMS = TEMPORAL_FORMS
# "two": the full network on pairs of frames.
SMALL, BIG = ("nano", "tiny"), ("full", "two", "vgg16", "resnet50", "flownets")
# Of the big networks each once, so that together every form and every way is there; the others are slow.
QUICK = {
    ("full", "stacked", "c"),
    ("two", "inflated", "b"),
    ("vgg16", "branched", "c"),
    ("resnet50", "stacked", "a"),
    ("flownets", "branched", "b"),
}
DECODER = re.compile(r"motion_net\.(decoder\.|refine|deconv|upsample|conv_pr|smooth_conv|predict)")
# What nano's finest level predicts comes after the features that a branch reads.
FINEST = re.compile(r"motion_net\.refine2\.(predict|step_gain)")
# The reference never trains the biases of transposed convolutions.
TRANSPOSED_BIAS = re.compile(r"motion_net\..*(deconv|upsample).*bias")

OFF = StageConfig(steps=0, motion_learning_rate=1e-3)
# Without weight decay only a gradient moves a weight.
ON = StageConfig(steps=2, batch_size=2, learning_rate=1e-3, motion_learning_rate=1e-3, weight_decay=0.0)
WAYS: dict[str, dict[str, StageConfig]] = {
    "a": {"temporal": ON},
    "b": {"joint": dataclasses.replace(ON, unsupervised_weight=0.0)},
    "c": {"joint": ON},
}


@pytest.fixture(scope="module")
def store() -> ClipCache:
    """One training and one test video of 4 frames for each class, in memory."""
    samples, videos = [], []
    for label in CLASSES:
        for seed, split in enumerate(("train", "test")):
            frames = to_tensor(generate_clip(label, seed, num_frames=4, size=32).frames)
            samples.append(Sample(f"{label}{seed}", label, split))
            videos.append(DecodedVideo(f"{label}{seed}", 4, 0, (32, 32), 25.0, None, frames))
    return ClipCache(tuple(samples), tuple(videos), (), 32)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run folder that does not outlive its test: big networks fill disks."""
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


def recipe(member: str, form: str = "stacked", backbone: str = "small", **stages: StageConfig) -> Recipe:
    pairs = member == "two"
    model: dict[str, Any] = {"motion": "full" if pairs else member, "temporal": form, "backbone": backbone}
    if pairs:  # a branched stream sees the whole clip, so there the clip is a pair
        model |= {"num_frames": 2} if form == "branched" else {"motion_frames": 2}
    how = InputConfig(size=32, resize=32, color_jitter=0.0)
    off = {"motion": OFF, "spatial": OFF, "temporal": OFF, "joint": OFF}
    return Recipe(model=ModelConfig(**{"num_frames": 3, **model}), input=how, **(off | stages))


def trained(how: Recipe, store: ClipCache, folder: Path) -> TrainingResult:
    folder.mkdir()
    train, test = ([s for s in store.samples if s.split == part] for part in ("train", "test"))
    split = Split(tuple(train), tuple(test), "made up")
    fabric = Fabric(accelerator="cpu", devices=1)
    resources = Resources(workers=0, quiet=True)
    return fit(FitTask(split, store, CLASSES, how, folder, SEED, protocol="center"), resources, fabric)


def fresh(how: Recipe) -> HiddenTwoStream:
    """The model as `fit` starts it."""
    torch.manual_seed(mix_seed(SEED))
    return build_model(how, len(CLASSES))


def moved(before: HiddenTwoStream, after: HiddenTwoStream) -> tuple[set[str], set[str]]:
    """Names of weights and buffers that have changed, and of those that are bit for bit the same."""
    old, new = before.state_dict(), after.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    return changed, set(old) - changed


def assert_saved(fitted: TrainingResult, folder: Path) -> None:
    """What is loaded from the run folder has the same weights, bit for bit, and gives the same logits.

    Those to float32's rounding: how a product is summed depends on where its factors lie in memory.
    """
    kept, (loaded, info) = fitted.recognizer.model, load_run(folder)
    assert info.recipe == fitted.recognizer.info.recipe
    assert kept.state_dict().keys() == loaded.state_dict().keys()
    assert moved(kept, loaded)[0] == set()
    generator = torch.Generator().manual_seed(4)
    frames = torch.rand(2, info.recipe.model.num_frames, 3, 32, 32, generator=generator) - 0.5
    with torch.no_grad():
        expected, found = kept(frames), loaded(frames)
    assert expected.keys() == found.keys() == set(info.recipe.model.streams)
    for name, logits in expected.items():
        assert logits.shape == (2, len(CLASSES))
        assert logits.isfinite().all()
        torch.testing.assert_close(logits, found[name], rtol=1e-5, atol=1e-6)


def assert_tested(fitted: TrainingResult, stream: str) -> None:
    assert fitted.evaluation is not None
    accuracy = fitted.evaluation.accuracy
    assert set(accuracy) == {stream, "fused"}
    assert all(0 <= value <= 1 for value in accuracy.values())
    assert fitted.evaluation.logits[stream].shape == (len(CLASSES), len(CLASSES))


def cases() -> Iterator[Any]:
    for member in (*SMALL, *BIG):
        for form in FORMS:
            for way in WAYS:
                quick = member in SMALL or (member, form, way) in QUICK
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(member, form, way, marks=marks, id=f"{member}-{form}-{way}")


def test_every_network_form_and_way_is_tried_quickly() -> None:
    quick = [case.values for case in cases() if not case.marks]
    assert set(quick) > QUICK
    for position, names in enumerate(((*SMALL, *BIG), FORMS, tuple(WAYS))):
        assert {case[position] for case in quick} == set(names)


@pytest.mark.parametrize(("member", "form", "way"), list(cases()))
def test_train_save_load_test(member: str, form: str, way: str, store: ClipCache, folder: Path) -> None:
    how = recipe(member, form, **WAYS[way])
    fitted = trained(how, store, folder)

    changed, still = moved(fresh(how), fitted.recognizer.model)
    assert not [name for name in changed if name.startswith("spatial_stream.")]
    # Shifting the one cell that the coarsest encoders leave of 32 px is undone by the next normalisation.
    void = {"temporal_stream.layers.bn0.bias"} if form == "branched" and member in BIG else set[str]()
    assert not [name for name in still - void if name.startswith("temporal_stream.")]
    motion_still = {name for name in still if name.startswith("motion_net.")}
    if way == "a":
        assert not [name for name in changed if name.startswith("motion_net.")]
    elif way == "b" and form == "branched":  # the action loss passes through the encoder alone, of nano all
        unseen = FINEST if member == "nano" else DECODER
        assert motion_still == {name for name in changed | still if unseen.match(name)}
        assert [name for name in changed if name.startswith("motion_net.")]
    else:
        assert not [name for name in motion_still if not TRANSPOSED_BIAS.fullmatch(name)]

    logged = read_metrics(folder)
    assert [line["stage"] for line in logged] == ["temporal" if way == "a" else "joint"]
    assert "action" in logged[-1]
    assert ("photometric" in logged[-1]) == (way == "c")
    assert_saved(fitted, folder)
    assert_tested(fitted, "temporal")


@pytest.mark.parametrize("form", ["stacked", "inflated"])
@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("vgg16", marks=pytest.mark.slow),
    ],
)
def test_backbones_of_the_temporal_stream(backbone: str, form: str, store: ClipCache, folder: Path) -> None:
    how = recipe("nano", form, backbone, joint=ON)
    how = dataclasses.replace(how, model=dataclasses.replace(how.model, streams=("temporal",)))
    fitted = trained(how, store, folder)
    still = moved(fresh(how), fitted.recognizer.model)[1]
    assert not [name for name in still if name.endswith("weight")]
    assert_saved(fitted, folder)
    assert_tested(fitted, "temporal")


@pytest.mark.parametrize(
    "backbone",
    [
        "small",
        "resnet18",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("vgg16", marks=pytest.mark.slow),
    ],
)
def test_a_spatial_stream_alone(backbone: str, store: ClipCache, folder: Path) -> None:
    how = recipe("full", "stacked", backbone, spatial=ON)
    how = dataclasses.replace(how, model=dataclasses.replace(how.model, streams=("spatial",)))
    fitted = trained(how, store, folder)
    changed, still = moved(fresh(how), fitted.recognizer.model)
    assert {name.split(".")[0] for name in changed | still} == {"spatial_stream"}  # no MotionNet in the file
    assert not [name for name in still if name.endswith("weight")]
    assert_saved(fitted, folder)
    assert_tested(fitted, "spatial")


def test_motion_alone_has_flow_but_no_scores(store: ClipCache, folder: Path) -> None:
    how = recipe("nano", motion=ON)
    how = dataclasses.replace(how, model=dataclasses.replace(how.model, streams=()))
    fitted = trained(how, store, folder)
    assert fitted.evaluation is None
    changed, still = moved(fresh(how), fitted.recognizer.model)
    assert {name.split(".")[0] for name in changed} == {"motion_net"}
    assert not still
    assert_saved(fitted, folder)
    assert fitted.recognizer.trained_streams == ()
    video = np.zeros((3, 32, 32, 3), np.uint8)
    assert fitted.recognizer.flow(video).shape[:2] == (2, 2)
    with pytest.raises(CheckpointError, match="no trained stream"):
        fitted.recognizer.predict(video)


@pytest.mark.parametrize(
    ("streams", "part", "call"),
    [
        (("spatial",), "motion_net", HiddenTwoStream.motion),
        (("spatial",), "temporal_stream", HiddenTwoStream.temporal),
        (("spatial",), "temporal_stream", HiddenTwoStream.motion_and_temporal),
        (("temporal",), "spatial_stream", HiddenTwoStream.spatial),
        ((), "temporal_stream", HiddenTwoStream.temporal),
    ],
)
def test_a_part_that_is_not_there_is_named(
    streams: tuple[str, ...], part: str, call: Callable[..., object]
) -> None:
    model = HiddenTwoStream("nano", "small", 3, num_frames=3, streams=streams)
    with pytest.raises(UsageError, match=f"no {part}"):
        call(model, torch.zeros(1, 3, 3, 32, 32))


def test_pairs_share_one_two_frame_network() -> None:
    """The two-frame MotionNet of a clip gives for each pair what it gives for the pair alone."""
    model = fresh(recipe("two", "stacked")).eval()
    generator = torch.Generator().manual_seed(4)
    frames = torch.rand(2, 3, 3, 32, 32, generator=generator) - 0.5
    with torch.no_grad():
        together = model.motion(frames)
        for pair in range(2):
            alone = model.motion_net(frames[:, pair : pair + 2])
            for level, expected in zip(together, alone, strict=True):
                assert torch.allclose(level[:, pair], expected[:, 0], atol=1e-5)


@pytest.mark.parametrize("streams", [("spatial",), ("temporal",), ("spatial", "temporal"), ()])
def test_a_run_that_says_nothing_of_its_stages_uses_the_streams_it_has(streams: tuple[Any, ...]) -> None:
    how = recipe("nano")
    how = dataclasses.replace(how, model=dataclasses.replace(how.model, streams=streams))
    recognizer = Recognizer(fresh(how), RunInfo(how, CLASSES))
    assert recognizer.trained_streams == streams
    if streams:
        prediction = recognizer.predict(np.zeros((3, 32, 32, 3), np.uint8))
        assert set(prediction.streams) == set(streams)

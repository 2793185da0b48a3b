"""Every loss, network, temporal stream, stage and way of beginning: it trains, or is refused early."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, save_run
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.config.stages import MODULES, STAGE_NAMES, STAGES
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, loss_preset
from hidden_two_stream.motion.networks.build import MOTION_NETWORKS
from hidden_two_stream.recognition.backbones import build_backbone
from hidden_two_stream.recognition.model import TEMPORAL_FORMS
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training.fit import check_batches, check_run, stages_to_train
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import StageObjective, select_trained
from hidden_two_stream.training.warm_start import initialize
from hidden_two_stream.video.transforms import to_tensor

CLASSES = ("left", "right", "grow")
SMALL = ("nano", "nano-fine", "tiny")
BIG = tuple(name for name in MOTION_NETWORKS if name not in SMALL)
STEP = StageConfig(steps=1, batch_size=2, learning_rate=1e-3, motion_learning_rate=1e-3)


def recipe(
    network: str = "nano", form: str = "stacked", loss: str = "census", *, size: int = 32, **model: Any
) -> Recipe:
    fields: dict[str, Any] = {"motion": network, "temporal": form, "num_frames": 3}
    stages: dict[str, Any] = dict.fromkeys(STAGE_NAMES, STEP)
    return Recipe(
        model=ModelConfig(**fields | model), input=InputConfig(size=size, resize=size), loss=loss, **stages
    )  # type: ignore[arg-type]


def stepped(model: nn.Module, how: Recipe, stage: str, size: int) -> None:
    """One step of a stage; its loss is finite, and exactly its own parts may change."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    select_trained(model, STAGES[stage])
    objective = StageObjective(model, STAGES[stage], how.stage(stage), loss_preset(how.loss))
    optimizer = build_optimizer(model, how.stage(stage))
    generator = torch.Generator().manual_seed(4)
    frames = torch.rand(2, how.model.num_frames, 3, size, size, generator=generator) - 0.5
    scalars = objective(frames, torch.tensor([0, 2]))
    scalars["loss"].backward()
    optimizer.step()
    assert all(value.isfinite() for value in scalars.values()), scalars
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    parts = {name.split(".")[0] for name in changed}
    assert parts == {MODULES[part] for part in STAGES[stage].parts}


# -- losses × networks -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSS_PRESETS)
@pytest.mark.parametrize("network", SMALL)
def test_every_loss_trains_every_small_network(network: str, loss: str) -> None:
    how = recipe(network, loss=loss)
    check_run(how, CLASSES)
    stepped(build_model(how, 3), how, "motion", 32)


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        pytest.param(
            network, loss, marks=[] if (network, loss) == ("flownets", "paper") else pytest.mark.slow
        )
        for network in BIG
        for loss in LOSS_PRESETS
    ],
)
def test_every_loss_trains_every_big_network(network: str, loss: str) -> None:
    """At 64 px, FlowNetS has its coarsest level, 1/64."""
    how = recipe(network, loss=loss, size=64)
    check_run(how, CLASSES)
    stepped(build_model(how, 3), how, "motion", 64)


@pytest.mark.parametrize(("loss", "field"), [("paper", "smooth_weights"), ("caffe", "ssim_weights")])
def test_weights_by_level_double_from_level_2_on(loss: str, field: str) -> None:
    """The paper's are 0.01, 0.02, 0.04, 0.08 and 0.16 at 1/2 to 1/32; FlowNetS goes on to 1/64."""
    weights = getattr(LOSS_PRESETS[loss], field)
    assert weights == {1: 0.01, 2: 0.01, 3: 0.02, 4: 0.04, 5: 0.08, 6: 0.16, 7: 0.32}


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 224, 256])
@pytest.mark.parametrize("network", MOTION_NETWORKS)
def test_every_level_of_every_network_has_a_weight(network: str, size: int) -> None:
    """The level is 1 + log2 of the ratio of the sides, rounded up; shapes need no computation."""
    with torch.device("meta"):
        model = build_model(recipe(network), 3).eval()
        with torch.no_grad():
            pyramid = model.motion(torch.empty(1, 3, 3, size, size))
    levels = {1 + math.ceil(math.log2(size / flow.shape[-1])) for flow in pyramid}
    assert levels <= set(LOSS_PRESETS["paper"].smooth_weights)  # type: ignore[arg-type]


# -- forms × stages × frames per window --------------------------------------------------------------


def shapes() -> Iterator[tuple[str, int]]:
    """Forms of the temporal stream, and frames that MotionNet takes at once; a branch sees whole clips."""
    for form in TEMPORAL_FORMS:
        yield from ((form, frames) for frames in ((0, 2) if form != "branched" else (0, 3)))


@pytest.mark.parametrize(("form", "motion_frames"), list(shapes()))
@pytest.mark.parametrize("network", ["nano", "tiny"])
def test_every_form_trains_in_every_stage(network: str, form: str, motion_frames: int) -> None:
    how = recipe(network, form, motion_frames=motion_frames)
    check_run(how, CLASSES)
    model = build_model(how, 3)
    for stage in STAGE_NAMES:
        stepped(model, how, stage, 32)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "motion_frames"), list(shapes()))
@pytest.mark.parametrize("network", MOTION_NETWORKS)
def test_the_whole_product_trains(network: str, form: str, motion_frames: int) -> None:
    """Every loss in every stage, with and without it in stage joint, and all ways of fine-tuning."""
    model = build_model(recipe(network, form, motion_frames=motion_frames), 3)
    for loss in LOSS_PRESETS:
        how = recipe(network, form, loss, size=64, motion_frames=motion_frames)
        check_run(how, CLASSES)
        for stage in STAGE_NAMES if loss == "census" else ("motion", "joint"):
            stepped(model, how, stage, 64)
    without = dataclasses.replace(how, joint=dataclasses.replace(STEP, unsupervised_weight=0.0))
    frozen_flow = {name for name in model.state_dict() if name.startswith("motion_net.")}
    assert frozen_flow
    select_trained(model, STAGES["joint"])
    scalars = StageObjective(model, STAGES["joint"], without.joint, loss_preset("census"))(
        torch.rand(2, 3, 3, 64, 64), torch.tensor([0, 1])
    )
    assert "census" not in scalars
    assert scalars["loss"].isfinite()


# -- through the loop: accumulation, initial weights, warm starts ---------------------------------------


@pytest.fixture(scope="module")
def store() -> ClipCache:
    samples, videos = [], []
    for label in CLASSES:
        frames = to_tensor(generate_clip(label, 0, num_frames=4, size=32).frames)
        samples.append(Sample(label, label, "train"))
        videos.append(DecodedVideo(label, 4, 0, (32, 32), 25.0, None, frames))
    return ClipCache(tuple(samples), tuple(videos), (), 32)


@pytest.fixture(scope="module")
def image_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("published") / "net.pth"
    torch.save(build_backbone("resnet18", 3, 1000, 0.0).state_dict(), path)
    return path


def trained(how: Recipe, store: ClipCache, folder: Path, warm_start: dict[str, str]) -> None:
    check_run(how, CLASSES, warm_start=warm_start)
    stages = stages_to_train(how, STAGE_NAMES, warm_start)
    check_batches(how, stages)
    folder.mkdir(parents=True)
    model = build_model(how, 3)
    initialize(model, how, CLASSES, warm_start, folder, quiet=True)
    run = TrainingRun(folder, how, store, [0, 1, 2], stages=stages, quiet=True)
    seconds = optimize(model, run, Fabric(accelerator="cpu", devices=1))
    assert set(seconds) == set(stages)
    save_run(folder, model, RunInfo(how, CLASSES, RunMetadata(stages=STAGE_NAMES)))


@pytest.mark.parametrize(
    ("form", "accumulate"),
    [
        pytest.param(
            form, accumulate, marks=[] if (form, accumulate) == ("branched", 2) else pytest.mark.slow
        )
        for form in TEMPORAL_FORMS
        for accumulate in (1, 2)
    ],
)
def test_every_way_of_beginning(
    form: str, accumulate: int, store: ClipCache, image_weights: Path, tmp_path: Path
) -> None:
    """Random, with shipped motion weights and image weights, and from each part of another run."""
    step = dataclasses.replace(STEP, accumulate=accumulate)
    how = dataclasses.replace(recipe(form=form), **dict.fromkeys(STAGE_NAMES, step))
    trained(how, store, tmp_path / "random", {})
    other = str(tmp_path / "random")
    for number, parts in enumerate((["motion"], ["spatial"], ["temporal"], ["motion", "spatial"])):
        trained(how, store, tmp_path / f"warm{number}", dict.fromkeys(parts, other))
    model = dataclasses.replace(how.model, backbone="resnet18")
    begun = dataclasses.replace(how, model=model, init=str(image_weights), motion_init="shipped")
    trained(begun, store, tmp_path / "published", {})


# -- what cannot be trained ----------------------------------------------------------------------------


@pytest.mark.parametrize("network", MOTION_NETWORKS)
@pytest.mark.parametrize("form", TEMPORAL_FORMS)
@pytest.mark.parametrize("motion_frames", [0, 2, 3, 4])
def test_exactly_these_windows_are_refused(network: str, form: str, motion_frames: int) -> None:
    """A branch sees whole clips of 3 frames, and windows of 4 frames do not fit into them."""
    how = recipe(network, form, motion_frames=motion_frames)
    if motion_frames == 4:
        with pytest.raises(UsageError, match="clips of 3 frames cannot be cut into windows of 4"):
            check_run(how, CLASSES)
    elif form == "branched" and motion_frames == 2:
        with pytest.raises(UsageError, match="sees whole clips, but motion_frames is 2; set it to 0"):
            check_run(how, CLASSES)
    else:
        check_run(how, CLASSES)


@pytest.mark.parametrize("num_frames", [2, 3])
@pytest.mark.parametrize("loss", LOSS_PRESETS)
def test_exactly_one_loss_needs_three_frames(loss: str, num_frames: int) -> None:
    """For a single pair of frames its term was 0, in silence."""
    how = recipe(loss=loss, num_frames=num_frames)
    if (loss, num_frames) == ("multiframe", 2):
        with pytest.raises(UsageError, match=r"clips have 2 frames; set model\.num_frames to 3 or more"):
            check_run(how, CLASSES)
        check_run(how, CLASSES, ["spatial", "temporal"])  # they do not use it
    else:
        check_run(how, CLASSES)


SINGLE = {
    **{("spatial", "stacked", name, "nano"): True for name in ("resnet18", "resnet50")},
    **{("temporal", "stacked", name, "nano"): True for name in ("resnet18", "resnet50")},
    **{("joint", "stacked", name, "nano"): True for name in ("resnet18", "resnet50")},
    **{("motion", "stacked", "small", network): network == "resnet50" for network in MOTION_NETWORKS},
    **{("joint", "stacked", "small", network): network == "resnet50" for network in ("tiny", "resnet50")},
    **{("temporal", "stacked", "small", network): False for network in ("tiny", "resnet50")},
    **{
        (stage, "stacked", name, "nano"): False
        for stage in ("spatial", "temporal")
        for name in ("small", "vgg16")
    },
    **{("temporal", "inflated", name, "nano"): False for name in ("small", "resnet18", "resnet50", "vgg16")},
    **{("temporal", "branched", name, "nano"): False for name in ("small", "resnet18", "resnet50", "vgg16")},
    ("temporal", "branched", "small", "full"): True,
    ("temporal", "branched", "vgg16", "full"): False,
    ("temporal", "branched", "resnet18", "flownets"): True,
}
"""Stage, form, backbone and network → whether a single clip of 32 px is refused."""


@pytest.mark.parametrize(("stage", "form", "backbone", "network"), list(SINGLE))
def test_exactly_these_single_clips_are_refused(stage: str, form: str, backbone: str, network: str) -> None:
    """Networks of stride 32 reduce 32 px to a point, of which batch normalization has no statistics."""
    off = dict.fromkeys(STAGE_NAMES, dataclasses.replace(STEP, steps=0))
    single = {**off, stage: dataclasses.replace(STEP, batch_size=1)}
    how = dataclasses.replace(recipe(network, form, backbone=backbone), **single)
    if SINGLE[stage, form, backbone, network]:
        with pytest.raises(
            UsageError, match=rf"stage {stage} cannot .* single clip of 32×32 px.*batch_size to 2"
        ):
            check_batches(how, [stage])
    else:
        check_batches(how, [stage])
    larger = dataclasses.replace(how, input=dataclasses.replace(how.input, size=96, resize=96))
    check_batches(larger, [stage])
    check_batches(dataclasses.replace(how, **{stage: STEP}), [stage])
    if stage != "motion":
        check_batches(dataclasses.replace(how, input=dataclasses.replace(how.input, segments=2)), [stage])


@pytest.mark.parametrize(
    "case",
    [
        ("spatial", "stacked", "resnet18", "nano"),
        ("motion", "stacked", "small", "tiny"),
        ("temporal", "branched", "small", "nano"),
    ],
)
def test_the_check_of_single_clips_agrees_with_a_step(case: tuple[str, str, str, str]) -> None:
    stage, form, backbone, network = case
    model = build_model(recipe(network, form, backbone=backbone), 3)
    select_trained(model, STAGES[stage])
    objective = StageObjective(model, STAGES[stage], STEP, loss_preset("census"))
    with pytest.raises(ValueError, match="more than 1 value") if SINGLE[case] else nullcontext():
        assert objective(torch.rand(1, 3, 3, 32, 32), torch.tensor([1]))["loss"].isfinite()


def test_what_is_refused_leaves_no_folder(tmp_path: Path, hts: Any) -> None:
    from hidden_two_stream.synthetic.dataset import write_dataset

    data = write_dataset(tmp_path / "data", train_per_class=1, test_per_class=0, num_frames=4, size=32)
    branched = ("model.temporal=branched", "temporal_init=none")
    for settings, reason in (
        (["loss=multiframe", "motion.steps=1", "model.num_frames=2"], "num_frames to 3"),
        (["model.motion_frames=2", "model.num_frames=3", *branched], "sees whole clips"),
        (["model.temporal=branched"], "set temporal_init=none"),
        (["model.backbone=resnet18", "input.size=32", "spatial.batch_size=1"], "batch_size to 2"),
    ):
        changes = [part for setting in settings for part in ("--set", setting)]
        code, _, err = hts("train", "--data", data, "--out", tmp_path / "run", *changes)
        assert (code, len(err.splitlines()), reason in err) == (2, 1, True), err
        assert not (tmp_path / "run").exists()

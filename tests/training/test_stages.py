"""What each stage moves, and what it must leave bit for bit as it was."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import MODULES, STAGE_NAMES, STAGES
from hidden_two_stream.motion.losses.presets import loss_preset
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import StageObjective, segment_consensus, select_trained

PARTS = ("motion_net", "spatial_stream", "temporal_stream")


def small_model() -> HiddenTwoStream:
    torch.manual_seed(1)
    return HiddenTwoStream("nano", "small", 3, num_frames=3)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(4, 3, 3, 32, 32, generator=generator) - 0.5, torch.tensor([0, 1, 2, 0])


def steps(model: HiddenTwoStream, name: str, count: int = 3, **fields: float) -> None:
    config = StageConfig(
        steps=count, learning_rate=1e-2, motion_learning_rate=1e-2, unsupervised_weight=1.0, **fields
    )  # type: ignore[arg-type]
    select_trained(model, STAGES[name])
    optimizer = build_optimizer(model, config)
    objective = StageObjective(model, STAGES[name], config, loss_preset("robust"))
    frames, labels = batch()
    for _ in range(count):
        optimizer.zero_grad()
        objective(frames, labels)["loss"].backward()
        optimizer.step()


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_frozen_parts_stay_bit_identical_with_their_buffers(name: str) -> None:
    model = small_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    steps(model, name)
    after = model.state_dict()
    for part in PARTS:
        keys = [key for key in before if key.startswith(part)]
        moved = [key for key in keys if not torch.equal(before[key], after[key])]
        if part in {MODULES[part] for part in STAGES[name].parts}:
            weights = [key for key in keys if key.endswith("weight")]
            assert set(weights) <= set(moved), f"{part} has weights that {name} does not move"
        else:
            assert not moved, f"stage {name} moved {moved}"


def test_trained_streams_update_their_running_statistics() -> None:
    model = small_model()
    before = model.temporal_stream.get_buffer("backbone.bn0.running_mean").clone()
    steps(model, "temporal")
    assert not torch.equal(before, model.temporal_stream.get_buffer("backbone.bn0.running_mean"))


def test_joint_stage_without_unsupervised_losses_still_moves_motion_net() -> None:
    # Way (b) of the paper: the action loss alone must reach MotionNet through the hand-over.
    model = small_model()
    torch.nn.init.normal_(model.motion_net.get_parameter("refine2.predict.weight"), std=0.1)
    before = [parameter.detach().clone() for parameter in model.motion_net.parameters()]
    config = StageConfig(steps=1, learning_rate=1e-2, motion_learning_rate=1e-2, weight_decay=0.0)
    select_trained(model, STAGES["joint"])
    optimizer = build_optimizer(model, config)
    objective = StageObjective(model, STAGES["joint"], config, loss_preset("robust"))
    objective(*batch())["loss"].backward()
    optimizer.step()
    assert any(
        not torch.equal(old, new) for old, new in zip(before, model.motion_net.parameters(), strict=True)
    )


def test_freezing_survives_a_call_of_train() -> None:
    model = small_model()
    select_trained(model, STAGES["temporal"])
    assert not model.spatial_stream.training
    assert model.temporal_stream.training
    assert [p.requires_grad for p in model.motion_net.parameters()] == [False] * len(
        list(model.motion_net.parameters())
    )


def test_losses_are_those_of_the_stage() -> None:
    model = small_model().eval()
    frames, labels = batch()
    pyramid = model.motion(frames)
    unsupervised = unsupervised_loss(frames, pyramid, loss_preset("robust"), 0.1)["total"].item()
    temporal = functional.cross_entropy(model.temporal(frames), labels).item()
    spatial = functional.cross_entropy(model.spatial(frames), labels).item()
    expected = {
        "motion": 2 * unsupervised,
        "spatial": spatial,
        "temporal": temporal,
        "joint": temporal + 2 * unsupervised,
    }
    config = StageConfig(unsupervised_weight=2.0, ssim_factor=0.1)
    for name in STAGE_NAMES:
        objective = StageObjective(model, STAGES[name], config, loss_preset("robust")).eval()
        assert objective(frames, labels)["loss"].item() == pytest.approx(expected[name], rel=1e-5), name


def test_temporal_stage_builds_no_graph_for_motion_net() -> None:
    model = small_model()
    select_trained(model, STAGES["temporal"])
    objective = StageObjective(model, STAGES["temporal"], StageConfig(), loss_preset("robust"))
    objective(*batch())["loss"].backward()
    assert all(parameter.grad is None for parameter in model.motion_net.parameters())
    assert all(parameter.grad is not None for parameter in model.temporal_stream.parameters())


# --- segments


def test_segment_consensus_is_the_mean_over_the_clips_of_each_video() -> None:
    """Clips of a video follow each other."""
    logits = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0], [0.0, 6.0], [5.0, 5.0], [7.0, 1.0]])
    assert segment_consensus(logits, 1).tolist() == logits.tolist()
    assert segment_consensus(logits, 2).tolist() == [[2, 2], [-1, 3], [6, 3]]
    torch.testing.assert_close(segment_consensus(logits, 3), torch.tensor([[2 / 3, 4 / 3], [4.0, 4.0]]))
    torch.testing.assert_close(segment_consensus(logits, 6), torch.tensor([[14 / 6, 16 / 6]]))


@pytest.mark.parametrize("name", ["spatial", "temporal", "joint"])
@pytest.mark.parametrize(("segments", "videos"), [(1, 6), (2, 3), (3, 2)])
def test_objective_of_segments_by_hand(name: str, segments: int, videos: int) -> None:
    """Mean logits of each video's clips, then cross entropy; the unsupervised losses see every clip."""
    model = small_model().eval()
    torch.nn.init.normal_(model.motion_net.get_parameter("refine2.predict.weight"), std=0.1)
    for stream in (model.spatial_stream, model.temporal_stream):
        torch.nn.init.normal_(stream.get_parameter("backbone.fc.weight"))
    frames = torch.rand(6, 3, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    labels = torch.arange(videos) % 3
    config = StageConfig(unsupervised_weight=0.5)
    with torch.no_grad():
        found = StageObjective(model, STAGES[name], config, loss_preset("robust")).eval()(frames, labels)
        clips = (model.spatial if name == "spatial" else model.temporal)(frames).double()
        unsupervised = unsupervised_loss(frames, model.motion(frames), loss_preset("robust"))["total"].item()
    losses, right = [], []
    for video, label in enumerate(labels.tolist()):
        mean = sum(clips[video * segments + k] for k in range(segments)) / segments
        losses.append((mean.exp().sum().log() - mean[label]).item())
        right.append(int(mean.argmax()) == label)
    assert found["action"].item() == pytest.approx(sum(losses) / videos, rel=1e-4)
    assert found["accuracy"].item() == pytest.approx(sum(right) / videos)
    expected = sum(losses) / videos + (0.5 * unsupervised if name == "joint" else 0)
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4)


# --- factors

FACTORS = {"pixel_factor": "photometric", "smoothness_factor": "smoothness", "ssim_factor": "ssim"}


def terms_of(**factors: float) -> dict[str, float]:
    torch.manual_seed(1)
    model = HiddenTwoStream("tiny", "small", 3, num_frames=3).eval()
    config = StageConfig(unsupervised_weight=1.0, **factors)  # type: ignore[arg-type]
    with torch.no_grad():
        found = StageObjective(model, STAGES["motion"], config, loss_preset("robust"))(*batch())
    return {name: value.item() for name, value in found.items()}


@pytest.mark.parametrize("preset", ["robust", "paper", "caffe"])
def test_the_three_terms_are_the_loss(preset: str) -> None:
    model = HiddenTwoStream("tiny", "small", 3, num_frames=3).eval()
    with torch.no_grad():
        found = StageObjective(model, STAGES["motion"], StageConfig(), loss_preset(preset))(*batch())
    assert set(found) == {"loss", *FACTORS.values()}
    assert all(found[term] > 0 for term in FACTORS.values())
    assert found["loss"].item() == pytest.approx(sum(found[term].item() for term in FACTORS.values()))


@pytest.mark.parametrize("value", [0.0, 0.25, 3.0])
@pytest.mark.parametrize("factor", list(FACTORS))
def test_a_factor_scales_its_own_term_alone(factor: str, value: float) -> None:
    plain, scaled = terms_of(), terms_of(**{factor: value})
    for term in FACTORS.values():
        expected = plain[term] * (value if FACTORS[factor] == term else 1)
        assert scaled[term] == pytest.approx(expected, rel=1e-5)
    assert scaled["loss"] == pytest.approx(plain["loss"] + (value - 1) * plain[FACTORS[factor]], rel=1e-5)


def test_a_term_with_factor_zero_moves_nothing() -> None:
    """With the smoothness alone, the gradient is that of the smoothness."""
    gradients = []
    for factors in ({"pixel_factor": 0.0, "ssim_factor": 0.0}, {}):
        torch.manual_seed(1)
        model = HiddenTwoStream("tiny", "small", 3, num_frames=3).eval()
        frames, labels = batch()
        if factors:
            config = StageConfig(unsupervised_weight=1.0, **factors)  # type: ignore[arg-type]
            loss = StageObjective(model, STAGES["motion"], config, loss_preset("robust"))(frames, labels)[
                "loss"
            ]
        else:
            loss = unsupervised_loss(frames, model.motion(frames), loss_preset("robust"))["smoothness"]
        loss.backward()
        gradients.append(model.motion_net.get_parameter("conv_pr2.weight").grad)
    assert gradients[1].abs().max() > 0
    torch.testing.assert_close(*gradients)


# --- branched


def moved_by(model: HiddenTwoStream, name: str, unsupervised_weight: float) -> set[str]:
    """What one step without weight decay or momentum from before changes."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = StageConfig(
        steps=1, learning_rate=1e-2, motion_learning_rate=1e-2, weight_decay=1e-3,
        unsupervised_weight=unsupervised_weight,
    )  # fmt: skip
    select_trained(model, STAGES[name])
    optimizer = build_optimizer(model, config)
    StageObjective(model, STAGES[name], config, loss_preset("robust"))(*batch())["loss"].backward()
    optimizer.step()
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


def weights_of(model: HiddenTwoStream, *prefixes: str) -> set[str]:
    return {key for key, _ in model.named_parameters() if key.startswith(prefixes) and key.endswith("weight")}


ENCODER = tuple(f"motion_net.conv{k}." for k in range(1, 5))
DECODER = ("motion_net.conv_pr", "motion_net.deconv", "motion_net.upsample", "motion_net.smooth")


@pytest.mark.parametrize(("unsupervised_weight", "decoder_moves"), [(1.0, True), (0.0, False)])
def test_joint_stage_of_a_branched_model(unsupervised_weight: float, decoder_moves: bool) -> None:
    """Way (c) moves encoder, decoder and branch. Way (b) has nothing that asks the decoder."""
    torch.manual_seed(1)
    model = HiddenTwoStream("tiny", "small", 3, num_frames=3, temporal="branched", temporal_dropout=0.0)
    moved = moved_by(model, "joint", unsupervised_weight)
    assert weights_of(model, *ENCODER, *DECODER) == weights_of(model, "motion_net.")
    assert weights_of(model, *ENCODER, "temporal_stream.") <= moved
    if decoder_moves:
        assert weights_of(model, *DECODER) <= moved
    else:
        assert not {key for key in moved if key.startswith(DECODER)}
    assert not {key for key in moved if key.startswith("spatial_stream.")}


@pytest.mark.parametrize("motion", ["tiny", "resnet50"])
def test_temporal_stage_of_a_branched_model_moves_the_branch_alone(motion: str) -> None:
    """ResNet50-MotionNet has running statistics, which are frozen as well."""
    torch.manual_seed(1)
    model = HiddenTwoStream(motion, "small", 3, 3, temporal="branched", streams=("temporal",))
    if motion == "resnet50":
        assert any(key.endswith("running_mean") for key in model.motion_net.state_dict())
    moved = moved_by(model, "temporal", 1.0)
    assert moved
    assert all(key.startswith("temporal_stream.") for key in moved)
    assert weights_of(model, "temporal_stream.") <= moved
    assert "temporal_stream.layers.bn0.running_mean" in moved

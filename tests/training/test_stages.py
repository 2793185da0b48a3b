"""What each stage moves, and what it must leave bit for bit as it was."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hidden_two_stream.config import STAGE_NAMES, StageConfig
from hidden_two_stream.motion.losses import loss_preset, unsupervised_loss
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import STAGES, StageObjective, select_trained

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
        if part in STAGES[name].trains:
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

"""What the training stage adds for the later losses: the flow back, and the student."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.motion.losses.distillation import (
    distillation_loss,
    random_crop,
    student_frames,
    teacher_loss,
)
from hidden_two_stream.motion.losses.occlusion import backward_pyramid
from hidden_two_stream.motion.losses.presets import LossPreset, loss_preset
from hidden_two_stream.motion.losses.residual import residual_pairs
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.optimizer import build_optimizer
from hidden_two_stream.training.stages import StageObjective, select_trained

BOTH = replace(loss_preset("robust"), occlusion=True, distill_weight=0.3)


def small_model(motion: str = "nano", motion_frames: int = 0) -> HiddenTwoStream:
    torch.manual_seed(1)
    model = HiddenTwoStream(motion, "small", 3, num_frames=3, motion_frames=motion_frames)
    for name, parameter in model.motion_net.named_parameters():
        if "predict" in name and name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(4, 3, 3, 32, 32, generator=generator) - 0.5, torch.tensor([0, 1, 2, 0])


def spied(monkeypatch: pytest.MonkeyPatch, model: HiddenTwoStream) -> list[tuple[Tensor, list[Tensor]]]:
    """Every (frames, pyramid) that MotionNet is asked for, in order."""
    seen: list[tuple[Tensor, list[Tensor]]] = []
    original = model.motion

    def motion(frames: Tensor) -> list[Tensor]:
        pyramid = original(frames)
        if pyramid[0].requires_grad:
            for flow in pyramid:
                flow.retain_grad()
        seen.append((frames, pyramid))
        return pyramid

    monkeypatch.setattr(model, "motion", motion)
    return seen


@pytest.mark.parametrize(
    ("preset", "passes"), [("robust", 1), ("occlusion", 2), ("distill", 2), ("multiframe", 1), ("census", 1)]
)
def test_passes_of_the_network(monkeypatch: pytest.MonkeyPatch, preset: str, passes: int) -> None:
    """Nothing is computed, or drawn at random, that the preset hasn't asked for."""
    model = small_model()
    select_trained(model, STAGES["motion"])
    seen = spied(monkeypatch, model)
    frames, labels = batch()
    before = torch.get_rng_state()
    StageObjective(model, STAGES["motion"], StageConfig(), loss_preset(preset))(frames, labels)
    assert len(seen) == passes
    assert torch.equal(before, torch.get_rng_state()) == (preset != "distill")


@pytest.mark.parametrize("preset", ["occlusion", "distill", "multiframe", "census"])
@pytest.mark.parametrize("name", ["motion", "joint"])
def test_the_loss_is_the_sum_of_its_terms(name: str, preset: str) -> None:
    model = small_model()
    select_trained(model, STAGES[name])
    found = StageObjective(model, STAGES[name], StageConfig(unsupervised_weight=0.5), loss_preset(preset))(
        *batch()
    )
    extra = {"distill": "distillation", "multiframe": "temporal", "census": "census"}
    terms = ["photometric", "smoothness", "ssim", *([extra[preset]] if preset in extra else [])]
    expected = 0.5 * sum(found[term].item() for term in terms)
    expected += found["action"].item() if name == "joint" else 0
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert set(found) - {"loss", "action", "accuracy"} == set(terms)


def objective_of(model: HiddenTwoStream, preset: LossPreset) -> dict[str, Tensor]:
    torch.manual_seed(7)
    found: dict[str, Tensor] = StageObjective(model, STAGES["motion"], StageConfig(), preset)(*batch())
    return found


def test_occlusion_and_student_by_hand() -> None:
    """The same numbers from the functions themselves, the crop and the noise drawn in the same order."""
    model, frames = small_model().eval(), batch()[0]
    with torch.no_grad():
        found = objective_of(model, BOTH)
        pyramid, back = model.motion(frames), backward_pyramid(model.motion, frames)
        terms = unsupervised_loss(frames, pyramid, BOTH, backward=back)
        torch.manual_seed(7)
        crop = random_crop(32, 32)
        student = model.motion(student_frames(frames, crop))[0]
        distance = distillation_loss(student, pyramid[0], crop, (32, 32), 0.1, (0.1, 0.5), back[0])
    assert found["distillation"].item() == pytest.approx(0.3 * distance.item(), rel=1e-5)
    assert found["photometric"].item() == pytest.approx(terms["photometric"].item(), rel=1e-5)
    assert found["loss"].item() == pytest.approx(terms["total"].item() + 0.3 * distance.item(), rel=1e-5)
    plain = unsupervised_loss(frames, pyramid, loss_preset("robust"))
    assert terms["photometric"].item() != pytest.approx(plain["photometric"].item(), rel=1e-4)


def test_the_student_term_reaches_the_student_pass_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    select_trained(model, STAGES["motion"])
    seen = spied(monkeypatch, model)
    only = replace(
        loss_preset("distill"), pixel_weight=0.0, ssim_weights=0.0, smooth_weights=0.0, distill_weight=1.0
    )
    objective_of(model, only)["loss"].backward()
    (whole, teacher), (view, student) = seen
    assert torch.equal(whole, batch()[0])
    assert not torch.equal(view, whole)
    assert student[0].grad is not None
    assert student[0].grad.abs().max() > 0
    assert teacher[0].grad is None or teacher[0].grad.abs().max() == 0


@pytest.mark.parametrize("motion", ["nano", "tiny"])
@pytest.mark.parametrize("preset", ["census", "occlusion", "distill", "multiframe"])
def test_every_member_of_the_family_takes_a_step(motion: str, preset: str) -> None:
    model = small_model(motion)
    select_trained(model, STAGES["motion"])
    config = StageConfig(motion_learning_rate=1e-3)
    optimizer = build_optimizer(model, config)
    before = [parameter.detach().clone() for parameter in model.motion_net.parameters()]
    StageObjective(model, STAGES["motion"], config, loss_preset(preset))(*batch())["loss"].backward()
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.motion_net.parameters(), strict=True)]
    assert any(moved)
    assert all(parameter.isfinite().all() for parameter in model.motion_net.parameters())


def test_a_two_frame_network_in_windows() -> None:
    model = small_model(motion_frames=2)
    found = objective_of(model, replace(BOTH, temporal_weight=0.05, census_weight=1.0))
    assert all(value.isfinite() for value in found.values())


def teacher() -> torch.nn.Module:
    """A nano that says other things than the model's."""
    torch.manual_seed(3)
    network = build_motion("nano", 2)
    torch.nn.init.normal_(network.get_parameter("refine2.predict.weight"), std=0.2)
    return network


def test_a_teacher_alone() -> None:
    """The loss is the distance from the flow that it finds on the same frames, and nothing else."""
    model, frames = small_model("tiny"), batch()[0]
    select_trained(model, STAGES["motion"])
    config = StageConfig(unsupervised_weight=0.0)
    objective = StageObjective(model, STAGES["motion"], config, loss_preset("robust"), teacher())
    found = objective(*batch())
    assert set(found) == {"loss", "teacher"}
    with torch.no_grad():
        expected = teacher_loss(model.motion(frames), teacher()(frames)[0], 32)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_teacher_beside_the_losses() -> None:
    model = small_model()
    select_trained(model, STAGES["motion"])
    config, preset = StageConfig(unsupervised_weight=0.5), loss_preset("census")
    plain = StageObjective(model, STAGES["motion"], config, preset)(*batch())["loss"]
    found = StageObjective(model, STAGES["motion"], config, preset, teacher())(*batch())
    assert found["loss"].item() == pytest.approx(plain.item() + found["teacher"].item(), rel=1e-5)
    assert found["teacher"] > 0.1


def test_training_moves_the_student_and_leaves_the_teacher() -> None:
    model, master = small_model("tiny"), teacher()
    select_trained(model, STAGES["motion"])
    config = StageConfig(motion_learning_rate=1e-3, unsupervised_weight=0.0)
    objective = StageObjective(model, STAGES["motion"], config, loss_preset("robust"), master)
    optimizer = build_optimizer(model, config)
    objective(*batch())["loss"].backward()
    optimizer.step()
    student, before = model.motion_net.state_dict(), small_model("tiny").motion_net.state_dict()
    assert any(not torch.equal(student[name], before[name]) for name in before)
    kept = teacher().state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in master.state_dict().items())
    assert all(parameter.grad is None for parameter in master.parameters())


def test_a_residual_target() -> None:
    """The loss is the distance from what is left on pairs made of the frames; the clip is not looked at."""
    model, master = small_model("tiny", motion_frames=2), teacher()
    frames, labels = batch()
    frames = frames[:, :2]
    select_trained(model, STAGES["motion"])
    seen: list[tuple[int, ...]] = []
    model.motion_net.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    config = StageConfig(unsupervised_weight=0.0)
    objective = StageObjective(model, STAGES["motion"], config, loss_preset("robust"), master, "residual")
    torch.manual_seed(6)
    found = objective(frames, labels)
    number, side = 2 * len(frames), 32 - 2 * (32 // 6)
    assert seen == [(number, 2, 3, side, side)]
    assert set(found) == {"loss", "teacher"}
    torch.manual_seed(6)
    with torch.no_grad():
        pairs, left = residual_pairs(frames, master(frames)[0][:, 0])
        expected = teacher_loss(model.motion(pairs), left, side, 0.01)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    found["loss"].backward()
    assert all(parameter.grad is None for parameter in master.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.motion_net.parameters())


def test_warped_pairs_beside_the_losses() -> None:
    model, (frames, labels) = small_model("tiny", motion_frames=2), batch()
    select_trained(model, STAGES["motion"])
    config, preset = StageConfig(unsupervised_weight=0.5), loss_preset("robust")
    plain = StageObjective(model, STAGES["motion"], config, preset)(frames[:, :2], labels)["loss"]
    both = StageObjective(model, STAGES["motion"], config, preset, teacher(), "residual")
    found = both(frames[:, :2], labels)
    assert found["loss"].item() == pytest.approx(plain.item() + found["teacher"].item(), rel=1e-5)


def test_the_joint_stage_has_no_teacher() -> None:
    model = small_model()
    select_trained(model, STAGES["joint"])
    found = StageObjective(model, STAGES["joint"], StageConfig(), loss_preset("robust"), teacher())(*batch())
    assert "teacher" not in found

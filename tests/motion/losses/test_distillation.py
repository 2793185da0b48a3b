"""Distillation: the right flow of a crop costs nothing, and only the student gets a gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hidden_two_stream.motion.losses import distillation
from hidden_two_stream.motion.losses.distillation import (
    Crop,
    distillation_loss,
    random_crop,
    student_frames,
    teacher_loss,
)

SIZE = (64, 96)
CROP = Crop(top=8, left=24, height=48, width=64)
CONSTANTS = (0.1, 0.5)
REST = 0.1


def affine_flow(height: int, width: int, crop: Crop | None = None) -> torch.Tensor:
    """(1, 1, 2, h, w): u = 2 + x/40, v = −1 + y/60 in px of the 64 × 96 clip, on another grid."""
    part = crop or Crop(0, 0, *SIZE)
    y = part.top + (torch.arange(height).double() + 0.5) * part.height / height - 0.5
    x = part.left + (torch.arange(width).double() + 0.5) * part.width / width - 0.5
    u = (2 + x / 40).expand(height, width) * width / part.width
    v = (-1 + y / 60)[:, None].expand(height, width) * height / part.height
    return torch.stack((u, v))[None, None]


def loss(student: torch.Tensor, teacher: torch.Tensor, backward: torch.Tensor | None = None) -> float:
    return distillation_loss(student, teacher, CROP, SIZE, 0.1, CONSTANTS, backward).item()


def test_the_flow_of_the_crop_costs_nothing() -> None:
    """In closed form: the same motion, enlarged with the crop, on the student's grid."""
    teacher, student = affine_flow(*SIZE), affine_flow(16, 24, CROP)
    assert loss(student, teacher) == pytest.approx(REST, rel=1e-3)
    assert loss(affine_flow(16, 24), teacher) > 1.5 * REST  # as if nothing had been cropped
    assert loss(student + 3, teacher) == pytest.approx((9 + 0.01) ** 0.5, rel=0.01)


def test_a_teacher_on_a_coarser_grid() -> None:
    assert loss(affine_flow(16, 24, CROP), affine_flow(16, 24)) == pytest.approx(REST, rel=0.1)


def test_the_teacher_counts_only_where_it_can_be_trusted() -> None:
    student = torch.zeros(1, 1, 2, *SIZE)
    crop = Crop(0, 0, *SIZE)

    def whole(teacher: torch.Tensor, backward: torch.Tensor | None = None) -> float:
        return distillation_loss(student, teacher, crop, SIZE, 0.1, CONSTANTS, backward).item()

    # In the border of 6 px, and where the motion leaves the image.
    border, outside = torch.zeros_like(student), torch.zeros_like(student)
    border[..., :6, :] = border[..., :, -6:] = 3
    outside[:, :, 0, 20:30, 70:80] = 40
    assert whole(border) == whole(outside) == pytest.approx(REST)
    outside[:, :, 0, 20:30, 70:80] = 10
    assert whole(outside) > 1.5 * REST
    # With the backward flow, also where the motion doesn't return.
    assert whole(outside, torch.zeros_like(student)) == pytest.approx(REST)
    back = torch.zeros_like(student)
    back[:, :, 0, 20:30, 80:90] = -10
    counted, unmatched = 52 * 84, 100  # no motion ends where the backward flow is −10
    expected = (counted * whole(outside) - unmatched * REST) / (counted - unmatched)
    assert whole(outside, back) == pytest.approx(expected, rel=1e-5)


def test_only_the_student_learns() -> None:
    student = torch.zeros(1, 2, 2, 16, 24, requires_grad=True)
    teacher = torch.ones(1, 2, 2, 16, 24, requires_grad=True)
    distillation_loss(student, teacher, CROP, SIZE, 0.1, CONSTANTS, -teacher).backward()
    assert student.grad is not None
    assert (student.grad <= 0).all()  # the loss falls as the student approaches 1
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


def test_gradients_agree_with_finite_differences() -> None:
    student = torch.randn(1, 1, 2, 8, 12).double().requires_grad_()

    def of_student(moved: torch.Tensor) -> torch.Tensor:
        return distillation_loss(moved, affine_flow(16, 24), CROP, SIZE, 0.1, CONSTANTS)

    assert torch.autograd.gradcheck(of_student, (student,))


def test_nothing_to_trust_costs_nothing() -> None:
    student = torch.zeros(1, 1, 2, 16, 24, requires_grad=True)
    found = distillation_loss(student, torch.full((1, 1, 2, 16, 24), 500.0), CROP, SIZE, 0.1, CONSTANTS)
    found.backward()
    assert found.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_crops_lie_inside_and_vary() -> None:
    torch.manual_seed(0)
    crops = [random_crop(*SIZE) for _ in range(200)]
    for crop in crops:
        assert 0 <= crop.top <= SIZE[0] - crop.height
        assert 0 <= crop.left <= SIZE[1] - crop.width
        assert 0.69 < crop.height / SIZE[0] < 0.91
        assert crop.width / SIZE[1] == pytest.approx(crop.height / SIZE[0], abs=0.014)
    assert len(set(crops)) > 100
    for places in ([crop.top for crop in crops], [crop.left for crop in crops]):
        assert min(places) == 0
        assert max(places) > 5  # of at most a third of a side
    torch.manual_seed(0)
    assert [random_crop(*SIZE) for _ in range(200)] == crops


def test_the_student_sees_the_crop_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.rand(2, 3, 3, *SIZE)
    for name in ("GAIN", "OFFSET", "NOISE"):
        monkeypatch.setattr(distillation, name, 0.0)
    view = student_frames(frames, CROP)
    for b in range(2):
        part = frames[b, :, :, 8:56, 24:88]
        expected = functional.interpolate(part, size=SIZE, mode="bilinear", align_corners=False)
        torch.testing.assert_close(view[b], expected)


def test_light_changes_between_clips_and_noise_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    frames = torch.full((4, 5, 3, *SIZE), 0.25)
    noisy = student_frames(frames, CROP)
    assert noisy.std(dim=(-1, -2)).mean().item() == pytest.approx(0.02, rel=0.05)
    monkeypatch.setattr(distillation, "NOISE", 0.0)
    plain = student_frames(frames, CROP)
    levels = plain[:, 0, 0, 0, 0]
    torch.testing.assert_close(plain, levels.view(-1, 1, 1, 1, 1).expand_as(plain))
    assert len(set(levels.tolist())) == 4
    assert (levels - 0.25).abs().max() < 0.2 * 0.25 + 0.05


def test_teacher_loss_by_hand() -> None:
    """Constant flows, one pixel of the input wrong in u and two in v, on grids of 1/2 and 1/8."""
    teacher = (
        torch.tensor([3.0, -4.0]).view(1, 1, 2, 1, 1).expand(2, 3, 2, 16, 24) / 4
    )  # 64 × 96: grid of 1/4
    truth = torch.tensor([3.0, -4.0]).view(1, 1, 2, 1, 1)
    off = torch.tensor([1.0, 2.0]).view(1, 1, 2, 1, 1)
    pyramid = [
        ((truth + error) / stride).expand(2, 3, 2, 64 // stride, 96 // stride).clone().requires_grad_()
        for stride, error in ((2, off), (8, 0 * off))
    ]
    loss = teacher_loss(pyramid, teacher.clone().requires_grad_(), 96)
    assert loss.item() == pytest.approx((1 + 4 + 0.01) ** 0.5 + 0.5 * 0.1, rel=1e-5)
    loss.backward()
    finest = pyramid[0].grad
    assert finest is not None
    # d/du of the mean over 2·3·32·48 points, u in pixels of a grid of half the size
    slope = 2 * torch.tensor([1.0, 2.0]) / (5.01**0.5 * 2 * 3 * 32 * 48)
    assert torch.allclose(finest[1, 2, :, 5, 7], slope, rtol=1e-4)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = torch.randn(1, 1, 2, 8, 8, requires_grad=True)
    teacher_loss([torch.zeros(1, 1, 2, 16, 16, requires_grad=True)], teacher, 32).backward()
    assert teacher.grad is None

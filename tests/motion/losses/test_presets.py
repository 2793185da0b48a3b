"""Loss presets, and the effect of each option on the whole loss."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import pytest
import torch

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.edge_aware import edge_aware_smoothness
from hidden_two_stream.motion.losses.paper import border_mask
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, LossPreset, loss_preset
from hidden_two_stream.motion.losses.temporal import temporal_loss
from hidden_two_stream.motion.losses.unsupervised import unsupervised_loss

OPTIONS = {
    "census": {
        *("pixel_weight", "ssim_weights", "census_weight", "census_radius", "compare_at"),
        *("edge_weight", "smooth_epsilon", "smooth_weights", "border", "inside"),
    },
    "occlusion": {"occlusion"},
    "distill": {"distill_weight"},
    "multiframe": {"temporal_weight"},
}
NEW = ("census_weight", "edge_weight", "inside", "occlusion", "temporal_weight", "distill_weight")


def clip() -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Frames (2, 4, 3, 48, 64), flows at 1/4 and 1/8, and the backward flows; float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    pyramid = [normal(2, 3, 2, 12, 16), normal(2, 3, 2, 6, 8)]
    back = [-flow + 0.1 * normal(*flow.shape) for flow in pyramid]
    return 0.2 * normal(2, 4, 3, 48, 64), pyramid, back


def test_a_recipe_takes_exactly_the_presets_there_are() -> None:
    assert set(get_args(get_type_hints(Recipe)["loss"])) == set(LOSS_PRESETS)


@pytest.mark.parametrize("name", ["paper", "caffe", "robust"])
def test_options_are_off_in_the_first_three(name: str) -> None:
    assert not any(getattr(loss_preset(name), option) for option in NEW)
    assert loss_preset(name).smooth_order == 1


@pytest.mark.parametrize("name", list(OPTIONS))
def test_each_other_preset_is_robust_with_one_idea(name: str) -> None:
    preset, robust = loss_preset(name), loss_preset("robust")
    changed = {
        item.name for item in fields(preset) if getattr(preset, item.name) != getattr(robust, item.name)
    }
    assert changed == OPTIONS[name]


def test_terms_are_reported_where_they_have_a_weight() -> None:
    frames, pyramid, back = clip()
    always = {"photometric", "smoothness", "ssim", "total"}
    more = {"census": {"census"}, "multiframe": {"temporal"}}
    for name in LOSS_PRESETS:
        terms = unsupervised_loss(frames, pyramid, loss_preset(name), backward=back)
        assert set(terms) == always | more.get(name, set())
        total = sum(value.item() for key, value in terms.items() if key != "total")
        assert terms["total"].item() == pytest.approx(total)


def test_pixel_factor_scales_the_census_term() -> None:
    frames, pyramid, _ = clip()
    census = loss_preset("census")
    full, half = (unsupervised_loss(frames, pyramid, census, pixel_factor=factor) for factor in (1, 0.5))
    assert half["census"].item() == pytest.approx(0.5 * full["census"].item())
    assert half["smoothness"].item() == full["smoothness"].item()
    assert full["photometric"].item() == full["ssim"].item() == 0


def test_census_term_finds_the_motion_under_changing_light() -> None:
    """A texture moves 4 px per frame while the light fades: no other shift has a lower loss."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.nn.functional.interpolate(
        torch.randn(1, 3, 24, 40, generator=generator), size=(48, 80), mode="bilinear"
    )
    frames = torch.stack([0.8**t * 0.3 * scene[..., 16 - 4 * t : 80 - 4 * t] for t in range(3)], dim=1)

    def total(u: float, name: str) -> float:
        flow = torch.tensor([u, 0.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 12, 16)
        return unsupervised_loss(frames, [flow], loss_preset(name))["total"].item()

    others = [total(u, "census") for u in (0.0, 0.5, 0.75, 1.25, 1.5, -1.0)]
    assert total(1.0, "census") < 0.9 * min(others)


def test_smoothness_and_velocity_are_those_of_the_terms() -> None:
    frames, pyramid, _ = clip()
    preset = replace(loss_preset("robust"), edge_weight=7.0, smooth_order=2, temporal_weight=0.4)
    found = unsupervised_loss(frames, pyramid, preset)
    smooth = velocity = 0.0
    for level, (flow, factor) in enumerate(zip(pyramid, (4, 8), strict=True)):
        images = torch.nn.functional.avg_pool2d(frames[:, :-1].flatten(0, 1), factor)
        mask = border_mask(flow, 0.1)
        term = edge_aware_smoothness(flow.flatten(0, 1), images, mask, 0.1, 0.5, 7.0, 2)
        smooth += 0.5**level * 0.1 * term.item()
        velocity += 0.5**level * 0.4 * temporal_loss(flow, mask, 0.1, 0.5).item()
    assert found["smoothness"].item() == pytest.approx(smooth)
    assert found["temporal"].item() == pytest.approx(velocity)


@pytest.mark.parametrize("compare_at", ["input", "double", "level"])
@pytest.mark.parametrize("option", ["inside", "occlusion"])
def test_what_is_hidden_changes_neither_pixel_loss_nor_ssim(option: str, compare_at: Any) -> None:
    """Frame t differs only in a block whose motion leaves the image, or doesn't come back."""
    frames, _, _ = clip()
    flow = torch.zeros(2, 3, 2, 48, 64, dtype=torch.float64)
    flow[:, :, 0, 16:32, 24:48] = 60 if option == "inside" else 6
    other = frames.clone()
    other[:, 0, :, 16:32, 24:48] += 0.3
    preset = LossPreset(pixel_epsilon=5.0, compare_at=compare_at)

    def terms(images: torch.Tensor, how: LossPreset) -> list[float]:
        found = unsupervised_loss(images, [flow], how, backward=[torch.zeros_like(flow)])
        return [found[name].item() for name in ("photometric", "ssim")]

    masked = replace(preset, **{option: True})
    assert terms(other, masked) == pytest.approx(terms(frames, masked), rel=1e-12)
    assert terms(other, preset) != pytest.approx(terms(frames, preset), rel=1e-3)


def test_frames_can_be_compared_at_twice_the_resolution_of_the_flow() -> None:
    """The loss equals that of frames shrunk to twice the size of the flow."""
    frames, pyramid, _ = clip()
    preset = replace(loss_preset("census"), smooth_weights=0.0, compare_at="double")
    for flow, factor in zip(pyramid, (4, 8), strict=True):
        half = torch.nn.functional.avg_pool2d(frames.flatten(0, 1), factor // 2).unflatten(
            0, frames.shape[:2]
        )
        expected = unsupervised_loss(half, [flow], replace(preset, compare_at="input"))["total"]
        assert unsupervised_loss(frames, [flow], preset)["total"].item() == pytest.approx(expected.item())


def test_a_missing_backward_flow_is_named() -> None:
    frames, pyramid, _ = clip()
    with pytest.raises(UsageError, match="needs the backward flow"):
        unsupervised_loss(frames, pyramid, loss_preset("occlusion"))


def test_backward_flow_gets_no_gradient() -> None:
    frames, pyramid, back = clip()
    flows = [flow.requires_grad_() for flow in pyramid]
    back[0].requires_grad_()
    unsupervised_loss(frames, flows, loss_preset("occlusion"), backward=back)["total"].backward()
    assert back[0].grad is None
    assert all(flow.grad is not None and flow.grad.abs().max() > 0 for flow in flows)


@pytest.mark.parametrize("name", ["census", "occlusion"])
def test_gradients_of_the_whole_loss_agree_with_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    frames = 0.05 * torch.randn(1, 2, 3, 16, 20, dtype=torch.float64, generator=generator)
    # Away from whole pixels, where bilinear sampling has a kink, and from the thresholds of the masks.
    flow = 0.1 + 0.1 * torch.rand(1, 1, 2, 8, 10, dtype=torch.float64, generator=generator)

    def total(moved: torch.Tensor) -> torch.Tensor:
        return unsupervised_loss(frames, [moved], loss_preset(name), backward=[-flow])["total"]

    moved = flow.clone().requires_grad_()
    assert torch.autograd.gradcheck(total, (moved,), eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize(("height", "width"), [(7, 30), (1, 1)])
def test_small_images_and_motion_out_of_everything_stay_finite(name: str, height: int, width: int) -> None:
    frames = torch.rand(1, 3, 3, height, width)
    flow = torch.full((1, 2, 2, height, width), 99.0, requires_grad=True)
    unsupervised_loss(frames, [flow], loss_preset(name), backward=[flow.detach()])["total"].backward()
    assert flow.grad is not None
    assert flow.grad.isfinite().all()


@pytest.mark.parametrize("name", list(OPTIONS))
def test_mixed_precision_does_not_reach_the_losses(name: str) -> None:
    frames, pyramid, back = clip()
    halves = [[flow.bfloat16() for flow in flows] for flows in (pyramid, back)]
    singles = [[flow.float() for flow in flows] for flows in halves]
    expected = unsupervised_loss(frames.float(), singles[0], loss_preset(name), backward=singles[1])
    with torch.autocast("cpu", torch.bfloat16):
        found = unsupervised_loss(frames.float(), halves[0], loss_preset(name), backward=halves[1])
    assert {key: value.item() for key, value in found.items()} == {
        key: value.item() for key, value in expected.items()
    }

"""The unsupervised loss of MotionNet for any preset.

It is the paper's loss (`losses.paper`) with the later ideas that the preset asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.losses.census import census_loss, gray
from hidden_two_stream.motion.losses.edge_aware import edge_aware_smoothness
from hidden_two_stream.motion.losses.occlusion import inside_mask, occlusion_mask
from hidden_two_stream.motion.losses.paper import (
    Level,
    Term,
    comparison_size,
    paper_loss,
    reconstruct,
    shrink,
)
from hidden_two_stream.motion.losses.presets import LossPreset
from hidden_two_stream.motion.losses.temporal import temporal_loss
from hidden_two_stream.motion.warp import full_precision

__all__ = ["unsupervised_loss"]


def unsupervised_loss(
    frames: Tensor,
    pyramid: list[Tensor],
    preset: LossPreset,
    ssim_factor: float = 1.0,
    pixel_factor: float = 1.0,
    smoothness_factor: float = 1.0,
    backward: list[Tensor] | None = None,
) -> dict[str, Tensor]:
    """The terms of the preset's loss and their total.

    `losses.paper.paper_loss` has the equation. Self-distillation is not among the terms because it runs the
    network again (`losses.distillation`).

    Args:
        frames: (B, T, 3, H, W), normalized: (pixel − mean) / 255.
        pyramid: flows (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        preset: weights and constants.
        ssim_factor: factor on the SSIM weights; the reference's joint stage uses 0.1.
        pixel_factor: factor on the weights of both reconstruction terms, photometric and census.
        smoothness_factor: factor on the smoothness weights. As with all factors, 0 switches the term off.
        backward: flows t+1 → t, like `pyramid` (`losses.occlusion.backward_pyramid`). Only presets with
            `occlusion` use them, and only the finest.

    Returns:
        Scalars "photometric", "smoothness" and "ssim"; "census" and "temporal" if the preset has them; and
        "total". Each term is weighted and summed over the levels.

    Raises:
        UsageError: the preset has `occlusion` and `backward` is missing.
    """
    if preset.occlusion and not backward:
        raise UsageError(
            "this loss preset checks occlusion and needs the backward flow; pass backward, for example from "
            "motion.losses.occlusion.backward_pyramid, or set occlusion to false"
        )
    factors = {"photometric": pixel_factor, "census": pixel_factor, "ssim": ssim_factor}
    factors |= {"smoothness": smoothness_factor, "temporal": 1.0}
    # In half precision the variances of SSIM cancel out and warps miss by a fifth of a pixel.
    with torch.autocast(frames.device.type, enabled=False):
        frames, flows = full_precision(frames), [full_precision(flow) for flow in pyramid]
        masks: list[Callable[[Tensor], Tensor]] = []
        if preset.occlusion and backward:
            size = comparison_size(frames, flows[0], preset)
            masks.append(occlusion_mask(flows[0], full_precision(backward[0]), size))
        if preset.inside or preset.occlusion:
            masks.append(inside_mask)
        terms = paper_loss(
            frames,
            flows,
            preset,
            smoothness=_edge_aware(frames, preset),
            masks=masks,
            later=_later_terms(frames, preset),
        )
        scaled = {name: factors[name] * term for name, term in terms.items()}
        return scaled | {"total": torch.stack(list(scaled.values())).sum()}


def _later_terms(frames: Tensor, preset: LossPreset) -> list[Term]:
    """The terms that the preset adds to the paper's."""
    terms: list[Term] = []
    if preset.census_weight:
        grays = gray(frames)

        def census(level: Level) -> Tensor:
            images = reconstruct(grays, level.compared_flow)
            return census_loss(*images, level.compared, preset.census_radius, preset.border)

        terms.append(("census", preset.census_weight, census))
    if preset.temporal_weight:

        def temporal(level: Level) -> Tensor:
            constants = (preset.smooth_epsilon, preset.smooth_exponent)
            return temporal_loss(level.flow, level.border, *constants)

        terms.append(("temporal", preset.temporal_weight, temporal))
    return terms


def _edge_aware(frames: Tensor, preset: LossPreset) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The preset's edge-aware or second-order smoothness; None if it has the paper's."""
    if not preset.edge_weight and preset.smooth_order == 1:
        return None

    def smoothness(flow: Tensor, border: Tensor) -> Tensor:
        images = shrink(frames[:, :-1].flatten(0, 1), flow)
        constants = (preset.smooth_epsilon, preset.smooth_exponent, preset.edge_weight, preset.smooth_order)
        return edge_aware_smoothness(flow, images, border, *constants)

    return smoothness

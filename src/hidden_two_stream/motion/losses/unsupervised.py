"""The unsupervised losses of MotionNet (the paper's unsupervised optical flow learning).

A loss compares frame t with frame t+1 warped back by the flow t → t+1, at every level of the pyramid:

    L = Σ_k  w_pixel L_pixel + w_smooth L_smooth + w_ssim L_ssim [+ w_census L_census + w_temporal L_temporal]

The paper's terms are in `terms`, later ideas in modules of their own, weights and constants in `presets`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.census import census_loss, grey
from hidden_two_stream.motion.losses.occlusion import forward_backward_mask, inside_mask
from hidden_two_stream.motion.losses.presets import LOSS_PRESETS, LossPreset, loss_preset
from hidden_two_stream.motion.losses.smoothness import edge_aware_smoothness
from hidden_two_stream.motion.losses.temporal import temporal_loss
from hidden_two_stream.motion.losses.terms import (
    border_mask,
    charbonnier,
    local_response_normalize,
    photometric_loss,
    smoothness_loss,
    ssim,
    ssim_loss,
)
from hidden_two_stream.motion.warp import full_precision, warp

__all__ = [
    "LOSS_PRESETS",
    "LossPreset",
    "border_mask",
    "charbonnier",
    "local_response_normalize",
    "loss_preset",
    "photometric_loss",
    "smoothness_loss",
    "ssim",
    "ssim_loss",
    "unsupervised_loss",
]


def unsupervised_loss(
    frames: Tensor,
    pyramid: list[Tensor],
    preset: LossPreset,
    ssim_factor: float = 1.0,
    pixel_factor: float = 1.0,
    smoothness_factor: float = 1.0,
    backward: list[Tensor] | None = None,
) -> dict[str, Tensor]:
    """The losses over all levels; the student-teacher term needs the network and isn't among them.

    Args:
        frames: (B, T, 3, H, W), normalised (pixel − mean) / 255.
        pyramid: flows (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        preset: weights and constants.
        ssim_factor: factor on the SSIM weights (the reference's joint stage uses 0.1).
        pixel_factor: factor on the weights of both reconstruction terms, pixels and census.
        smoothness_factor: factor on the smoothness weights; as for all factors, 0 leaves a term out.
        backward: flows t+1 → t like `pyramid` (`occlusion.backward_pyramid`); its finest is used, and only
            where the preset has `occlusion`.

    Returns:
        Scalars "photometric", "smoothness" and "ssim", and "census" and "temporal" where the preset has them,
        each weighted and summed over levels, and "total".

    Raises:
        UsageError: the preset has `occlusion`, and `backward` is missing.
    """
    if preset.occlusion and not backward:
        raise UsageError(
            "this loss preset checks occlusion and needs the backward flow; give backward, for example from "
            "motion.occlusion.backward_pyramid, or set occlusion to false"
        )
    factors = {"photometric": pixel_factor, "census": pixel_factor, "ssim": ssim_factor}
    factors |= {"smoothness": smoothness_factor, "temporal": 1.0}
    # In half precision the variances of SSIM cancel to nothing and warps miss by a fifth of a pixel.
    with torch.autocast(frames.device.type, enabled=False):
        flows = [full_precision(flow) for flow in pyramid]
        returning = full_precision(backward[0]) if preset.occlusion and backward else None
        terms = _unsupervised_loss(full_precision(frames), flows, preset, returning)
        scaled = {name: factors[name] * term for name, term in terms.items()}
        return scaled | {"total": torch.stack(list(scaled.values())).sum()}


def _unsupervised_loss(
    frames: Tensor, pyramid: list[Tensor], preset: LossPreset, backward: Tensor | None
) -> dict[str, Tensor]:
    batch = frames.shape[0]
    terms = {name: frames.new_zeros(()) for name in _term_names(preset)}
    per_batch = 1 / batch if preset.divide_by_batch else 1.0
    normalized = local_response_normalize(frames)
    bright = grey(frames) if preset.census_weight else None
    seen = _not_occluded(frames, pyramid[0], backward, preset) if backward is not None else None
    for position, level_flow in enumerate(pyramid):
        importance = preset.coarse_factor**position
        level = _level(frames, level_flow)
        flow = level_flow.flatten(0, 1)
        mask = border_mask(flow, preset.border)
        weight = importance * per_batch * _weight(preset.smooth_weights, level)
        terms["smoothness"] = terms["smoothness"] + weight * _smoothness(frames, flow, mask, preset)
        if preset.temporal_weight:
            change = temporal_loss(level_flow, mask, preset.smooth_epsilon, preset.smooth_exponent)
            terms["temporal"] = terms["temporal"] + importance * preset.temporal_weight * change

        size = _compared_size(frames, flow, preset)
        if size != flow.shape[-2:]:
            flow = resize_flow(flow, *size)
            mask = border_mask(flow, preset.border)
        mask = _visible(mask, flow, seen, preset)
        if preset.pixel_weight or preset.ssim_weights:
            frame, warped = _compared(normalized, flow)
            pixel = photometric_loss(frame, warped, mask, preset.pixel_epsilon, preset.pixel_exponent)
            terms["photometric"] = terms["photometric"] + importance * per_batch * preset.pixel_weight * pixel
            windows = ssim_loss(frame, warped, mask, preset.ssim_stride)
            if windows.numel():
                structure = windows.sum() / batch if preset.ssim_sum else windows.mean()
                weight = importance * _weight(preset.ssim_weights, level)
                terms["ssim"] = terms["ssim"] + weight * structure
        if bright is not None:
            census = census_loss(*_compared(bright, flow), mask, preset.census_radius, preset.border)
            terms["census"] = terms["census"] + importance * preset.census_weight * census
    return terms


def _term_names(preset: LossPreset) -> list[str]:
    """The published terms are always reported, the others where they have a weight."""
    extra = {"census": preset.census_weight, "temporal": preset.temporal_weight}
    return ["photometric", "smoothness", "ssim", *(name for name, weight in extra.items() if weight)]


def _smoothness(frames: Tensor, flow: Tensor, mask: Tensor, preset: LossPreset) -> Tensor:
    epsilon, exponent = preset.smooth_epsilon, preset.smooth_exponent
    if not preset.edge_weight and preset.smooth_order == 1:
        return smoothness_loss(flow, mask, epsilon, exponent)
    pictures = _downsample(frames[:, :-1].flatten(0, 1), flow)
    return edge_aware_smoothness(
        flow, pictures, mask, epsilon, exponent, preset.edge_weight, preset.smooth_order
    )


def _not_occluded(frames: Tensor, finest: Tensor, backward: Tensor, preset: LossPreset) -> Tensor:
    """(B (T−1), 1, h, w): what the finest flow, the best there is, finds again where levels are compared."""
    size = _compared_size(frames, finest, preset)
    flows = (resize_flow(flow.detach().flatten(0, 1), *size) for flow in (finest, backward))
    return forward_backward_mask(*flows)


def _visible(mask: Tensor, flow: Tensor, seen: Tensor | None, preset: LossPreset) -> Tensor:
    """The border mask (h, w), or (N, 1, h, w) with what can't be found again left out too."""
    if seen is not None:
        mask = mask * _downsample(seen, flow)
    return mask * inside_mask(flow) if preset.inside or preset.occlusion else mask


def _compared(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """`frames` (B, T, C, H, W) → frames t, and their reconstructions from t+1, (B (T−1), C, h, w) each."""
    pictures = _downsample(frames.flatten(0, 1), flow).unflatten(0, frames.shape[:2])
    frame, following = pictures[:, :-1].flatten(0, 1), pictures[:, 1:].flatten(0, 1)
    return frame, warp(following, flow)


def _compared_size(frames: Tensor, flow: Tensor, preset: LossPreset) -> tuple[int, int]:
    """Height and width at which pictures are compared for a level; never finer than the input."""
    (height, width), (h, w) = frames.shape[-2:], flow.shape[-2:]
    if preset.compare_at == "input":
        return height, width
    return (min(height, 2 * h), min(width, 2 * w)) if preset.compare_at == "double" else (h, w)


def _downsample(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N, C, H, W) at the size of `flow` (..., h, w), by area."""
    if pictures.shape[-2:] == flow.shape[-2:]:
        return pictures
    return functional.interpolate(pictures, size=flow.shape[-2:], mode="area")


def _level(frames: Tensor, flow: Tensor) -> int:
    """1 for a flow of full size, 2 for half, and so on; the longer side tells best after rounding up."""
    side = -1 if frames.shape[-1] >= frames.shape[-2] else -2
    return 1 + math.ceil(math.log2(frames.shape[side] / flow.shape[side]) - 1e-6)


def _weight(weights: Mapping[int, float] | float, level: int) -> float:
    return weights if isinstance(weights, float | int) else weights[level]

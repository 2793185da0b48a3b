"""The unsupervised losses of MotionNet (the paper's unsupervised optical flow learning) and their presets.

A loss compares frame t with frame t+1 warped back by the flow t → t+1, at every level of the pyramid:

    L = Σ_k  w_pixel L_pixel + w_smooth L_smooth + w_ssim L_ssim

Presets: `paper` follows the text of the paper, `caffe` the authors' published solver with its two quirks,
`robust` (default) is ours, made to leave zero flow on small and noisy video (see docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
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

SSIM_WINDOW = 8
SSIM_SIGMA = 16 / 12
SSIM_C1 = 1e-4
SSIM_C2 = 1e-3


@dataclass(frozen=True)
class LossPreset:
    """What differs between loss definitions, as data. Level k is the grid that is 2^(k−1) times coarser.

    Attributes:
        pixel_epsilon: ε of the reconstruction term, on the 0…255 scale.
        pixel_exponent: exponent of the reconstruction term.
        smooth_epsilon: ε of the smoothness term, in pixels of the level.
        smooth_exponent: exponent of the smoothness term.
        pixel_weight: weight of the reconstruction term, the same at all levels.
        smooth_weights: weight of the smoothness term by level.
        ssim_weights: weight of the structural term by level.
        ssim_stride: step between SSIM windows, in pixels.
        ssim_sum: sum SSIM over windows and channels and divide by the batch (else take the mean).
        divide_by_batch: divide both Charbonnier terms by the batch once more (quirk of the reference layer).
        at_input_resolution: compare at the input's resolution with upsampled flow, instead of at each
            level's own; sub-pixel motion of small video is invisible on coarse grids.
        coarse_factor: each coarser level counts this much less than the one before it.
        border: part of the shorter side that is left out at every edge.
    """

    pixel_epsilon: float = 1e-3
    pixel_exponent: float = 0.4
    smooth_epsilon: float = 1e-3
    smooth_exponent: float = 0.3
    pixel_weight: float = 1.0
    smooth_weights: Mapping[int, float] | float = 1.0
    ssim_weights: Mapping[int, float] | float = 1.0
    ssim_stride: int = 8
    ssim_sum: bool = False
    divide_by_batch: bool = False
    at_input_resolution: bool = False
    coarse_factor: float = 1.0
    border: float = 0.1


_RISING = {1: 0.01, 2: 0.01, 3: 0.02, 4: 0.04, 5: 0.08, 6: 0.16}

LOSS_PRESETS: dict[str, LossPreset] = {
    "paper": LossPreset(smooth_weights=_RISING),
    "caffe": LossPreset(ssim_weights=_RISING, ssim_sum=True, divide_by_batch=True),
    "robust": LossPreset(
        pixel_epsilon=5.0,
        smooth_epsilon=0.1,
        smooth_exponent=0.5,
        smooth_weights=0.1,
        ssim_weights=1.0,
        ssim_stride=4,
        at_input_resolution=True,
        coarse_factor=0.5,
    ),
}


def loss_preset(name: str) -> LossPreset:
    """The named preset: "paper", "caffe" or "robust".

    Raises:
        UsageError: the name is unknown.
    """
    if name not in LOSS_PRESETS:
        raise UsageError(f"unknown loss preset {name!r}; choose one of {', '.join(LOSS_PRESETS)}")
    return LOSS_PRESETS[name]


def charbonnier(x: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Generalised Charbonnier penalty (x² + ε²)^α, elementwise: ρ in the paper."""
    return (x * x + epsilon * epsilon) ** exponent


def local_response_normalize(frames: Tensor) -> Tensor:
    """x / (1 + (α / n) Σ x²)^β over the colours of each frame, n = 9, α = 1, β = 0.7; losses only.

    A window of 9 channels covers all three colours of a frame. `frames` (..., 3, h, w) → same shape.
    """
    energy = (frames * frames).sum(dim=-3, keepdim=True) / 9
    return frames / (1 + energy) ** 0.7


def border_mask(like: Tensor, border: float) -> Tensor:
    """(h, w) of ones with a frame of zeros, `border` × the shorter side (rounded) wide on each edge."""
    height, width = like.shape[-2:]
    edge = round(border * min(height, width))
    mask = like.new_zeros(height, width)
    mask[edge : height - edge, edge : width - edge] = 1
    return mask


def photometric_loss(frame: Tensor, warped: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Mean of the Charbonnier penalty of 255 · (frame − warped) over unmasked pixels.

    The paper's pixelwise reconstruction error.

    `frame`, `warped` (N, 3, h, w) in units of 255; `mask` (h, w). Returns a scalar.
    """
    penalty = charbonnier(255 * (frame - warped), epsilon, exponent)
    return (penalty * mask).sum() / (mask.sum() * frame.shape[0] * frame.shape[1])


def smoothness_loss(flow: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Charbonnier penalty of forward differences of u and v in x and y: smoothness loss.

    The last column (for x) and the last row (for y) have no forward neighbour and are masked, as is the
    border; where that is empty they still count in the mean. `flow` (N, 2, h, w) in pixels of its grid;
    `mask` (h, w). Returns a scalar: the means in x and y added.
    """
    along_x = charbonnier(flow[..., :, 1:] - flow[..., :, :-1], epsilon, exponent)
    along_y = charbonnier(flow[..., 1:, :] - flow[..., :-1, :], epsilon, exponent)
    terms = flow.shape[0] * flow.shape[1] * mask.sum()
    return (along_x * mask[:, :-1]).sum() / terms + (along_y * mask[:-1, :]).sum() / terms


def ssim(first: Tensor, second: Tensor, stride: int = SSIM_WINDOW) -> Tensor:
    """Structural similarity of 8×8 Gaussian windows (σ = 16/12), C1 = 1e-4, C2 = 1e-3 (reference).

    `first`, `second` (N, C, h, w), sides of at least 8 pixels → (N, C, windows_y, windows_x); 1 where equal.
    """
    rows = _window_matrix(first.shape[-2], stride).to(first)
    columns = _window_matrix(first.shape[-1], stride).to(first)

    def average(x: Tensor) -> Tensor:
        # The Gaussian is separable: two small matrix products, far quicker than a grouped convolution.
        return rows @ x @ columns.T

    mean_1, mean_2 = average(first), average(second)
    variance_1 = average(first * first) - mean_1**2
    variance_2 = average(second * second) - mean_2**2
    covariance = average(first * second) - mean_1 * mean_2
    luminance = (2 * mean_1 * mean_2 + SSIM_C1) / (mean_1**2 + mean_2**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_1 + variance_2 + SSIM_C2)
    return luminance * structure


def _window_matrix(size: int, stride: int) -> Tensor:
    """(windows, size): row i holds the 1-D Gaussian weights of the window that starts at pixel i · stride."""
    position = torch.arange(SSIM_WINDOW, dtype=torch.float64) - (SSIM_WINDOW - 1) / 2
    profile = torch.exp(-(position**2) / (2 * SSIM_SIGMA**2))
    starts = range(0, size - SSIM_WINDOW + 1, stride)
    matrix = torch.zeros(len(starts), size, dtype=torch.float64)
    for row, start in enumerate(starts):
        matrix[row, start : start + SSIM_WINDOW] = profile / profile.sum()
    return matrix


def ssim_loss(frame: Tensor, warped: Tensor, mask: Tensor, stride: int = SSIM_WINDOW) -> Tensor:
    """SSIM loss: 1 − SSIM per window, (N, C, windows_y, windows_x); the masked border counts as equal.

    Pictures smaller than the window have no structure to compare: an empty tensor.
    """
    if min(frame.shape[-2:]) < SSIM_WINDOW:
        return frame.new_zeros(frame.shape[0], frame.shape[1], 0, 0)
    return 1 - ssim(frame * mask, warped * mask, stride)


def unsupervised_loss(
    frames: Tensor,
    pyramid: list[Tensor],
    preset: LossPreset,
    ssim_factor: float = 1.0,
    pixel_factor: float = 1.0,
    smoothness_factor: float = 1.0,
) -> dict[str, Tensor]:
    """The three losses over all levels.

    Args:
        frames: (B, T, 3, H, W), normalised (pixel − mean) / 255.
        pyramid: flows (B, T−1, 2, h, w), each in pixels of its own grid.
        preset: weights and constants.
        ssim_factor: factor on the SSIM weights (the reference's joint stage uses 0.1).
        pixel_factor, smoothness_factor: factors on the other two; 0 leaves a term out.

    Returns:
        Scalars "photometric", "smoothness" and "ssim", each weighted and summed over levels, and "total".
    """
    # In half precision the variances of SSIM cancel to nothing and warps miss by a fifth of a pixel.
    with torch.autocast(frames.device.type, enabled=False):
        flows = [full_precision(flow) for flow in pyramid]
        terms = _unsupervised_loss(full_precision(frames), flows, preset)
        factors = {"photometric": pixel_factor, "smoothness": smoothness_factor, "ssim": ssim_factor}
        scaled = {name: factors[name] * term for name, term in terms.items()}
        return scaled | {"total": torch.stack(list(scaled.values())).sum()}


def _unsupervised_loss(frames: Tensor, pyramid: list[Tensor], preset: LossPreset) -> dict[str, Tensor]:
    batch = frames.shape[0]
    normalized = local_response_normalize(frames).flatten(0, 1)  # (B·T, 3, H, W)
    terms = {name: frames.new_zeros(()) for name in ("photometric", "smoothness", "ssim")}
    per_batch = 1 / batch if preset.divide_by_batch else 1.0
    for position, level_flow in enumerate(pyramid):
        importance = preset.coarse_factor**position
        level = _level(frames, level_flow)
        flow = level_flow.flatten(0, 1)
        mask = border_mask(flow, preset.border)
        smooth = smoothness_loss(flow, mask, preset.smooth_epsilon, preset.smooth_exponent)
        weight = importance * per_batch * _weight(preset.smooth_weights, level)
        terms["smoothness"] = terms["smoothness"] + weight * smooth

        if preset.at_input_resolution:
            flow = resize_flow(flow, *frames.shape[-2:])
            mask = border_mask(flow, preset.border)
        pictures = _downsample(normalized, flow).unflatten(0, frames.shape[:2])
        frame, following = pictures[:, :-1].flatten(0, 1), pictures[:, 1:].flatten(0, 1)
        warped = warp(following, flow)
        pixel = photometric_loss(frame, warped, mask, preset.pixel_epsilon, preset.pixel_exponent)
        terms["photometric"] = terms["photometric"] + importance * per_batch * preset.pixel_weight * pixel
        windows = ssim_loss(frame, warped, mask, preset.ssim_stride)
        if windows.numel():
            structure = windows.sum() / batch if preset.ssim_sum else windows.mean()
            weight = importance * _weight(preset.ssim_weights, level)
            terms["ssim"] = terms["ssim"] + weight * structure
    return terms


def _downsample(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) at the size of `flow` (..., h, w), by area."""
    if pictures.shape[-2:] == flow.shape[-2:]:
        return pictures
    return functional.interpolate(pictures, size=flow.shape[-2:], mode="area")


def _level(frames: Tensor, flow: Tensor) -> int:
    """1 for a flow of full size, 2 for half, and so on; the longer side tells best after rounding up."""
    side = -1 if frames.shape[-1] >= frames.shape[-2] else -2
    return 1 + math.ceil(math.log2(frames.shape[side] / flow.shape[side]) - 1e-6)


def _weight(weights: Mapping[int, float] | float, level: int) -> float:
    return weights if isinstance(weights, float | int) else weights[level]

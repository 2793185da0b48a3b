"""The paper's unsupervised loss for MotionNet: the equation, then its terms.

Zhu et al., Hidden Two-Stream Convolutional Networks for Action Recognition (arXiv 1704.00389), section
"Unsupervised Optical Flow Learning". Constants and details that the text leaves open follow the authors'
published Caffe definitions, called "the reference" here. Weights are data, see `losses.presets`. Each later
idea has a module of its own and enters `paper_loss` as an argument, see `losses.unsupervised`.

Masks say which pixels count. They have values 0 to 1 and the shape (h, w), one mask for all images, or
(N, 1, h, w), one mask for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.batch_share import batch_share, total
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.losses.presets import LossPreset
from hidden_two_stream.motion.warp import warp

__all__ = [
    "Level",
    "Term",
    "border_mask",
    "charbonnier",
    "comparison_size",
    "local_response_normalize",
    "masked_mean",
    "paper_loss",
    "photometric_loss",
    "reconstruct",
    "shrink",
    "smoothness_loss",
    "ssim",
    "ssim_loss",
]

SSIM_WINDOW = 8
SSIM_SIGMA = 16 / 12
SSIM_C1 = 1e-4
SSIM_C2 = 1e-3


@dataclass(frozen=True)
class Level:
    """One pyramid level as a later term sees it; N = B (T−1) pairs of frames.

    Attributes:
        flow: (B, T−1, 2, h, w), the flow of the level, px of its own grid.
        border: (h, w) mask, 0 in the border.
        compared_flow: (N, 2, h', w'), the flow on the grid where frames are compared, px of that grid.
        compared: (h', w') or (N, 1, h', w') mask of the pixels that are compared.
    """

    flow: Tensor
    border: Tensor
    compared_flow: Tensor
    compared: Tensor


Term = tuple[str, float, Callable[[Level], Tensor]]
"""One more term of the loss: its name, its weight, and its value (a scalar) at one level."""


def paper_loss(
    frames: Tensor,
    pyramid: list[Tensor],
    preset: LossPreset,
    *,
    smoothness: Callable[[Tensor, Tensor], Tensor] | None = None,
    masks: Sequence[Callable[[Tensor], Tensor]] = (),
    later: Sequence[Term] = (),
) -> dict[str, Tensor]:
    """The terms of the paper's loss, weighted and summed over pyramid levels.

        L = Σ_k  c^k ( λ₁ L_pixel + λ₂(k) L_smooth + λ₃(k) L_ssim  +  Σ_i λ_i L_i )

        L_pixel  = mean_x  ρ(255 (I_t(x) − I_t+1(x + V(x))))                    α = 0.4
        L_smooth = mean_x  ρ(∂V/∂x) + ρ(∂V/∂y)       mean over u and v as well,  α = 0.3
        L_ssim   = mean of 1 − SSIM(I_t(x), I_t+1(x + V(x))) over 8×8 windows

        ρ(d) = (d² + ε²)^α       the generalized Charbonnier penalty, ε = 1e-3
        V = (u, v)               the flow t → t+1 at level k
        I_t                      frame t, locally response normalized, at the size of level k

    In the paper c = 1, and there are no later terms L_i. Means leave out a border of 10 %.

    Args:
        frames: (B, T, 3, H, W), normalized: (pixel − mean) / 255.
        pyramid: flows V (B, T−1, 2, h, w), finest first, each in pixels of its own grid.
        preset: the weights λ, and the constants c, ε and α.
        smoothness: L_smooth from a flow (N, 2, h, w) and its border mask (h, w), in place of the paper's.
        masks: functions from a flow (N, 2, h, w) to a mask of the pixels to compare, (N, 1, h, w).
        later: the terms L_i.

    Returns:
        Scalars "photometric", "smoothness" and "ssim", and one for each later term.

    Raises:
        UsageError: the preset has no weight for a level of the pyramid.
    """
    batch = frames.shape[0]
    per_batch = 1 / (batch * batch_share().world) if preset.divide_by_batch else 1.0
    normalized = local_response_normalize(frames)
    names = ("photometric", "smoothness", "ssim", *(name for name, _, _ in later))
    loss = {name: frames.new_zeros(()) for name in names}
    for position, clip_flow in enumerate(pyramid):
        k, c = _level_number(frames, clip_flow), preset.coarse_factor**position

        flow = clip_flow.flatten(0, 1)
        border = border_mask(flow, preset.border)
        if smoothness is None:
            smooth = smoothness_loss(flow, border, preset.smooth_epsilon, preset.smooth_exponent)
        else:
            smooth = smoothness(flow, border)
        loss["smoothness"] = loss["smoothness"] + c * per_batch * _at(k, preset.smooth_weights) * smooth

        level = Level(clip_flow, border, *_comparison(frames, flow, preset, masks))
        if preset.pixel_weight or preset.ssim_weights:
            frame, warped = reconstruct(normalized, level.compared_flow)
            constants = (preset.pixel_epsilon, preset.pixel_exponent)
            pixel = photometric_loss(frame, warped, level.compared, *constants)
            loss["photometric"] = loss["photometric"] + c * per_batch * preset.pixel_weight * pixel
            windows = ssim_loss(frame, warped, level.compared, preset.ssim_stride)
            if windows.numel():  # images smaller than a window have none
                structure = windows.sum() / batch if preset.ssim_sum else windows.mean()
                loss["ssim"] = loss["ssim"] + c * _at(k, preset.ssim_weights) * structure

        for name, weight, term in later:
            loss[name] = loss[name] + c * weight * term(level)
    return loss


def photometric_loss(frame: Tensor, warped: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """L_pixel, the pixelwise reconstruction error: mean of ρ(255 (frame − warped)).

    `frame` and `warped` (N, 3, h, w) in units of 255. Returns a scalar.
    """
    return masked_mean(charbonnier(255 * (frame - warped), epsilon, exponent), mask)


def smoothness_loss(flow: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """L_smooth: mean of ρ over the forward differences of u and v, in x plus in y.

    The last column has no neighbor in x and the last row none in y. Both add nothing there but count in the
    mean, unless the mask leaves them out.

    Args:
        flow: (N, 2, h, w) in pixels of its own grid.
        mask: (h, w).
        epsilon: ε of the penalty, px.
        exponent: α of the penalty.

    Returns:
        A scalar.
    """
    along_x = charbonnier(flow[..., :, 1:] - flow[..., :, :-1], epsilon, exponent)
    along_y = charbonnier(flow[..., 1:, :] - flow[..., :-1, :], epsilon, exponent)
    terms = flow.shape[0] * flow.shape[1] * mask.sum()
    return (along_x * mask[:, :-1]).sum() / terms + (along_y * mask[:-1, :]).sum() / terms


def ssim_loss(frame: Tensor, warped: Tensor, mask: Tensor, stride: int = SSIM_WINDOW) -> Tensor:
    """L_ssim before the mean: 1 − SSIM of each window, (N, C, windows_y, windows_x).

    Masked pixels are 0 in both images and so count as equal. The result is empty if the images are smaller
    than a window. `frame` and `warped` (N, C, h, w) in units of 255.
    """
    if min(frame.shape[-2:]) < SSIM_WINDOW:
        return frame.new_zeros(frame.shape[0], frame.shape[1], 0, 0)
    return 1 - ssim(frame * mask, warped * mask, stride)


def ssim(first: Tensor, second: Tensor, stride: int = SSIM_WINDOW) -> Tensor:
    """Structural similarity of 8×8 Gaussian windows; 1 where the images are equal.

        SSIM = (2 μ₁μ₂ + C1) (2 σ₁₂ + C2) / ((μ₁² + μ₂² + C1) (σ₁² + σ₂² + C2))

    Wang et al., Image Quality Assessment (2004), with the reference's constants: window σ = 16/12,
    C1 = 1e-4, C2 = 1e-3.

    Args:
        first: (N, C, h, w), sides of at least 8 px.
        second: same shape.
        stride: step between windows, px.

    Returns:
        (N, C, windows_y, windows_x).
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
    """Matrix (windows, size) that takes Gaussian averages along one axis.

    Row i holds the weights of the window that starts at pixel i · stride.
    """
    position = torch.arange(SSIM_WINDOW, dtype=torch.float64) - (SSIM_WINDOW - 1) / 2
    profile = torch.exp(-(position**2) / (2 * SSIM_SIGMA**2))
    starts = range(0, size - SSIM_WINDOW + 1, stride)
    matrix = torch.zeros(len(starts), size, dtype=torch.float64)
    for row, start in enumerate(starts):
        matrix[row, start : start + SSIM_WINDOW] = profile / profile.sum()
    return matrix


def charbonnier(x: Tensor, epsilon: float, exponent: float) -> Tensor:
    """ρ, the generalized Charbonnier penalty (x² + ε²)^α of each element."""
    return (x * x + epsilon * epsilon) ** exponent


def local_response_normalize(frames: Tensor) -> Tensor:
    """Local response normalization of `frames` (..., 3, h, w) across colors.

    x / (1 + (α / n) Σ x²)^β with n = 9, α = 1 and β = 0.7 (reference). The window of 9 channels covers all
    three colors of a frame. Only the losses see normalized frames; the networks don't.
    """
    energy = (frames * frames).sum(dim=-3, keepdim=True) / 9
    return frames / (1 + energy) ** 0.7


def border_mask(like: Tensor, border: float) -> Tensor:
    """Mask (h, w) that leaves out a border at each edge of `like` (..., h, w).

    The border is `border` × the shorter side wide, rounded to whole pixels.
    """
    height, width = like.shape[-2:]
    edge = round(border * min(height, width))
    mask = like.new_zeros(height, width)
    mask[edge : height - edge, edge : width - edge] = 1
    return mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (N, C, h, w), weighted by a mask; 0 if no pixel counts.

    In one of several processes it is this process's part of the mean over all of them: their average is that
    mean.
    """
    images = values.shape[0] if mask.ndim == 2 else 1
    # Occlusion can leave nothing to compare. Less than one pixel counts as one.
    counted = mask.sum() if mask.ndim == 2 else total(mask.sum()) / batch_share().world
    counted = counted.clamp(min=1 if mask.ndim == 2 else 1 / batch_share().world)
    return (values * mask).sum() / (counted * images * values.shape[1])


def reconstruct(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Frames t, and their reconstructions from frames t+1: I_t and I_t+1(x + V).

    Args:
        frames: (B, T, C, H, W).
        flow: (B (T−1), 2, h, w), t → t+1, px of its own grid.

    Returns:
        Two images (B (T−1), C, h, w), shrunk to the size of the flow first.
    """
    images = shrink(frames.flatten(0, 1), flow).unflatten(0, frames.shape[:2])
    frame, following = images[:, :-1].flatten(0, 1), images[:, 1:].flatten(0, 1)
    return frame, warp(following, flow)


def shrink(images: Tensor, like: Tensor) -> Tensor:
    """Images (N, C, H, W) at the size of `like` (..., h, w), by area means."""
    if images.shape[-2:] == like.shape[-2:]:
        return images
    return functional.interpolate(images, size=like.shape[-2:], mode="area")


def comparison_size(frames: Tensor, flow: Tensor, preset: LossPreset) -> tuple[int, int]:
    """Height and width at which frames are compared for a level.

    They are at most those of the frames.
    """
    (height, width), (h, w) = frames.shape[-2:], flow.shape[-2:]
    if preset.compare_at == "input":
        return height, width
    return (min(height, 2 * h), min(width, 2 * w)) if preset.compare_at == "double" else (h, w)


def _comparison(
    frames: Tensor, flow: Tensor, preset: LossPreset, masks: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[Tensor, Tensor]:
    """Flow (N, 2, h', w') and mask for the comparison of frames at one level."""
    size = comparison_size(frames, flow, preset)
    if size != flow.shape[-2:]:
        flow = resize_flow(flow, *size)
    compared = border_mask(flow, preset.border)
    for mask in masks:
        compared = compared * mask(flow)
    return flow, compared


def _level_number(frames: Tensor, flow: Tensor) -> int:
    """Level k: 1 for a flow of full size, 2 for half, and so on.

    It is taken from the longer side, which rounding affects less.
    """
    side = -1 if frames.shape[-1] >= frames.shape[-2] else -2
    return 1 + math.ceil(math.log2(frames.shape[side] / flow.shape[side]) - 1e-6)


def _at(level: int, weights: Mapping[int, float] | float) -> float:
    if isinstance(weights, float | int):
        return weights
    if level not in weights:
        raise UsageError(
            f"this loss preset has weights for the levels {', '.join(map(str, weights))}, but the network "
            f"has a level {level}, whose flow is 2^{level - 1} times coarser than the input; "
            "choose another loss"
        )
    return weights[level]

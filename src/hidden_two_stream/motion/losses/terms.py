"""The terms of the published losses, and what new ones share with them: penalty, border, colour scale.

Masks say what counts: (h, w), the same for all pictures, or (N, 1, h, w), one each; values 0 to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "border_mask",
    "charbonnier",
    "local_response_normalize",
    "masked_mean",
    "photometric_loss",
    "smoothness_loss",
    "ssim",
    "ssim_loss",
]

SSIM_WINDOW = 8
SSIM_SIGMA = 16 / 12
SSIM_C1 = 1e-4
SSIM_C2 = 1e-3


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


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (N, C, h, w) where the mask, (h, w) or (N, 1, h, w), counts; 0 where nothing does."""
    pictures = values.shape[0] if mask.ndim == 2 else 1
    # Occlusion can leave nothing to compare; less than one pixel counts as one.
    return (values * mask).sum() / (mask.sum().clamp(min=1) * pictures * values.shape[1])


def photometric_loss(frame: Tensor, warped: Tensor, mask: Tensor, epsilon: float, exponent: float) -> Tensor:
    """Mean of the Charbonnier penalty of 255 · (frame − warped) over unmasked pixels.

    The paper's pixelwise reconstruction error.

    `frame`, `warped` (N, 3, h, w) in units of 255. Returns a scalar.
    """
    return masked_mean(charbonnier(255 * (frame - warped), epsilon, exponent), mask)


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
    """SSIM loss: 1 − SSIM per window, (N, C, windows_y, windows_x); what is masked counts as equal.

    Pictures smaller than the window have no structure to compare: an empty tensor.
    """
    if min(frame.shape[-2:]) < SSIM_WINDOW:
        return frame.new_zeros(frame.shape[0], frame.shape[1], 0, 0)
    return 1 - ssim(frame * mask, warped * mask, stride)

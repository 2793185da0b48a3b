"""Nano-MotionNet, our own for CPUs and browsers: under 1.5 M parameters and 1 GMAC for 11 frames at 224×224.

One small encoder is shared by all frames and one decoder by all pairs of neighbouring frames, so a clip of 11
frames gives ten training pairs, and any number of frames can be given. Flow is refined from coarse to fine
(as in SPyNet, Ranjan and Black, arXiv 1611.00850): at each level the second picture is warped by the flow so
far, a Lucas-Kanade step measures the motion that is left, to a part of a pixel, and convolutions that also
see what is in the first picture learn what to make of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.motion.padding import pad_frames, trim_pyramid
from hidden_two_stream.motion.warp import warp

__all__ = ["NanoMotionNet", "lucas_kanade"]


def lucas_kanade(first: Tensor, second: Tensor, damping: Tensor) -> Tensor:
    """One damped Lucas-Kanade step (IJCAI 1981) on blocks of 2×2 pixels.

    Solves (M + damping · 1) d = −b with M = ⟨∇I ∇Iᵀ⟩ and b = ⟨∇I (second − first)⟩, summed over the colours
    and averaged over the pixels of each block.

    Args:
        first: (N, 3, 2h, 2w) pictures.
        second: (N, 3, 2h, 2w), already warped by the flow so far.
        damping: positive scalar, in squared units of the pictures.

    Returns:
        (N, 3, h, w): u and v of the motion that is left, in pixels of the block grid, limited to ±1, and a
        quarter of the logarithm of M's trace with damping: how much there was to measure by.
    """
    padded = functional.pad((first + second) / 2, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    dt = second - first
    products = torch.stack(
        [(a * b).sum(dim=1) for a, b in ((dx, dx), (dx, dy), (dy, dy), (dx, dt), (dy, dt))], 1
    )
    xx, xy, yy, xt, yt = functional.avg_pool2d(products, 2).unbind(dim=1)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    u = (xy * yt - yy * xt) / determinant
    v = (xy * xt - xx * yt) / determinant
    step = torch.stack((u, v), dim=1).clamp(-2, 2) / 2  # a block is two pixels wide
    return torch.cat((step, torch.log(xx + yy)[:, None] / 4), dim=1)


class NanoMotionNet(nn.Module):
    """Flow at 1/4, 1/8 and 1/16 of the input; see the module's text for the design.

    Args:
        num_frames: frames per clip that the owner intends to feed; any T ≥ 2 works.
    """

    total_stride = 16

    def __init__(self, num_frames: int = 11) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.action_channels = 48 * (num_frames - 1)
        self.stem = nn.Sequential(_conv(3, 12, 2), nn.Conv2d(12, 16, 3, 2, 1))
        self.down3 = nn.Sequential(nn.LeakyReLU(0.1), _conv(16, 32, 2), nn.Conv2d(32, 32, 3, 1, 1))
        self.down4 = nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(32, 48, 3, 2, 1))
        self.refine2 = _Refiner(features=16, hidden=(16, 12), passes=2)
        self.refine3 = _Refiner(features=32, hidden=(24, 16), passes=2)
        self.refine4 = _Refiner(features=48, hidden=(32, 24), passes=1)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Standardised features of all frames but the last: 3 tensors (B, T−1, C, h, w) at 1/4, 1/8, 1/16."""
        clip = pad_frames(frames, self.total_stride)[:, :-1]  # nothing asks what is in the last frame
        quarter = self.stem(clip.flatten(0, 1))
        eighth = self.down3(quarter)
        levels = (quarter, eighth, self.down4(eighth))
        return [_standardize(level).unflatten(0, clip.shape[:2]) for level in levels]

    def action_features(self, features: list[Tensor]) -> Tensor:
        """The coarsest features of the frames, stacked: (B, 48 (T−1), H/16, W/16)."""
        return features[-1].flatten(1, 2)

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 3 flows (B, T−1, 2, h, w), finest (1/4) first, px of their own grid."""
        padded = pad_frames(frames, self.total_stride)
        pairs = (frames.shape[0], frames.shape[1] - 1)
        coarsest = features[-1]
        flow = coarsest.new_zeros(pairs[0] * pairs[1], 2, *coarsest.shape[-2:])
        pyramid: list[Tensor] = []
        for level, refine in zip(reversed(features), (self.refine4, self.refine3, self.refine2), strict=True):
            pictures = _pictures(padded, level)
            first, second = pictures[:, :-1].flatten(0, 1), pictures[:, 1:].flatten(0, 1)
            flow = refine(level.flatten(0, 1), first, second, resize_flow(flow, *level.shape[-2:]))
            pyramid.insert(0, flow.unflatten(0, pairs))
        return trim_pyramid(pyramid, frames.shape[-2:], padded.shape[-2:])

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest (1/4) first, px of their own grid."""
        return self.flow(self.features(frames), frames)


class _Refiner(nn.Module):
    """One level: features of frame t, pictures of t and t+1, flow so far → better flow.

    Flow is (N, 2, h, w) in pixels of the level, features (N, C, h, w), pictures (N, 3, 2h, 2w).
    The same weights are applied `passes` times, each time after warping by the flow so far.
    """

    def __init__(self, features: int, hidden: tuple[int, int], passes: int) -> None:
        super().__init__()
        self.passes = passes
        self.layers = nn.Sequential(_conv(features + 2 + 3, hidden[0]), _conv(*hidden))
        self.predict = nn.Conv2d(hidden[1], 2, 3, padding=1)
        self.log_damping = nn.Parameter(torch.tensor(-6.0))
        self.step_gain = nn.Parameter(torch.zeros(()))
        # Near-zero first predictions: learning starts from "no motion", not from noise.
        nn.init.normal_(self.predict.weight, std=1e-3)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        for _ in range(self.passes):
            shifted = warp(second, resize_flow(flow, *second.shape[-2:]))
            measured = lucas_kanade(first, shifted, self.log_damping.exp())
            hidden = self.layers(torch.cat((features, flow, measured), dim=1))
            flow = flow + self.step_gain * measured[:, :2] + self.predict(hidden)
        return flow


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))


def _pictures(frames: Tensor, level: Tensor) -> Tensor:
    """`frames` (B, T, 3, H, W) by area at twice the resolution of `level` (B, T, C, h, w)."""
    factor = frames.shape[-1] // level.shape[-1] // 2
    pooled: Tensor = functional.avg_pool2d(frames.flatten(0, 1), factor).unflatten(0, frames.shape[:2])
    return pooled


def _standardize(features: Tensor) -> Tensor:
    """Zero mean, unit variance per channel and picture, whatever the light and contrast of the picture."""
    variance, mean = torch.var_mean(features, dim=(-2, -1), keepdim=True, correction=0)
    return (features - mean) * torch.rsqrt(variance + 1e-5)

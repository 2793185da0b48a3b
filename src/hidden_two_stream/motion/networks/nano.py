"""Nano-MotionNet, our own for CPUs and browsers: 46,000 parameters, flow of eleven frames in milliseconds.

One small encoder is shared by all frames and one decoder by all pairs of neighbouring frames, so any number
of frames can be given, and a pair has the same flow whatever clip it is in. Flow is refined from coarse to
fine (as in SPyNet, Ranjan and Black, arXiv 1611.00850). At each level a Lucas-Kanade step measures the motion
that is left, to a part of a pixel; as in inverse search (Kroeger et al., ECCV 2016) gradients are those of
the first picture. Convolutions that also know what is in the first picture learn what to make of it, at half
of the level's grid: for 2×2 points of the flow at once, as most of the time is spent where there are most
points. A median filter takes single outliers out of the flow of each level. Levels coarser than 1/16 share
its weights: large pictures get as many as they need.

Steps are damped in proportion to how unlike the pictures still are, as noise is in both pictures and texture
in either: a dark wall shows its motion in a clean picture, and not in a noisy one, whatever the contrast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.networks.padding import check_frames, pad_frames, trim_pyramid
from hidden_two_stream.motion.warp import warp

__all__ = ["NanoMotionNet", "lucas_kanade"]

WIDTHS = (24, 32)
SMALL_SIDES = (128, 64)  # pictures with a shorter side below either are enlarged twice, below both four times
COARSEST_SIDE = 8  # levels are added until the shorter side of one is below this
FIRST_LOG_SHARE = 0.5  # of the damping: firm enough for noise, and learning starts from useful flow


def lucas_kanade(dx: Tensor, dy: Tensor, difference: Tensor, share: Tensor, contrast: Tensor) -> Tensor:
    """One damped Lucas-Kanade step (IJCAI 1981) on blocks of 2×2 pixels.

    Solves (M + λ · 1) d = −b with M = ⟨∇I ∇Iᵀ⟩ and b = ⟨∇I (second − first)⟩, means over the 36 pixels of the
    3×3 blocks around each; beyond the border there is nothing, and it counts as pixels. Within one block of a
    grey picture gradients hardly differ in direction. The damping λ = share · ⟨(second − first)²⟩ + 1e-5 ·
    contrast.

    Args:
        dx: (N, 1, 2h, 2w), the first picture's right neighbour of each pixel minus the left one: 2 dI/dx.
        dy: (N, 1, 2h, 2w), the lower neighbour minus the upper one: 2 dI/dy.
        difference: (N, 1, 2h, 2w), second picture, warped by the flow so far, minus the first.
        share: positive, (N, 1, h, w) or a scalar. Pure noise has ⟨(second − first)²⟩ = 2 trace M.
        contrast: positive, (N, 1, 1, 1) or a scalar: variance of the pictures.

    Returns:
        (N, 4, h, w): u and v of the motion that is left, in pixels of the block grid, limited to ±1; a
        quarter of the logarithm of 1 + trace M / 2λ: how much there is to measure by; one plus a quarter of
        the logarithm of ⟨(second − first)²⟩ / contrast + 1e-4: how far apart the pictures still are.
    """
    # Time goes into passing over memory, and into large temporary tensors. So sums of 36 pixels stay sums and
    # slopes are not halved: M and λ are 144 times what they are above, and b is 72 times.
    factors = ((dx, dx), (dy, dy), (dx, dy), (dx, difference), (dy, difference), (difference, difference))
    sums = _around(torch.stack([_block_sums(one * other) for one, other in factors]))
    structure_x, structure_y, xy, bx, by, unlike = sums.unbind()
    damping = torch.addcmul(144e-5 * contrast, 4 * share, unlike)
    xx, yy = structure_x + damping, structure_y + damping
    plain = structure_x * structure_y - xy * xy  # never below 0 but for rounding
    determinant = plain.clamp(min=0) + damping * (xx + yy - damping)
    # Half of d, as a block is two pixels wide.
    u, v = (xy * by - yy * bx) / determinant, (xy * bx - xx * by) / determinant
    texture = ((xx + yy) / (2 * damping)).log() / 4
    residue = 1 + (unlike / (36 * contrast) + 1e-4).log() / 4
    return torch.cat((u.clamp(-1, 1), v.clamp(-1, 1), texture, residue), dim=1)


class NanoMotionNet(nn.Module):
    """Flow at 1/4, 1/8 and 1/16 of the input.

    Small pictures are enlarged first, as they would be too few cells else: twice where the shorter side is
    below 128 px, so that flow comes at 1/2, 1/4 and 1/8, and four times below 64 px: at 1/1, 1/2 and 1/4.

    Args:
        num_frames: frames per clip that the owner intends to feed; any T ≥ 2 works.
        finest_passes: how often the finest level betters its flow, with the same weights, 1 or more.

    Raises:
        UsageError: there is no pass.
    """

    total_stride = 16
    action_stride = 8

    def __init__(self, num_frames: int = 11, finest_passes: int = 1) -> None:
        super().__init__()
        if finest_passes < 1:
            raise UsageError(f"finest_passes is {finest_passes}; expected at least 1")
        self.num_frames = num_frames
        self.finest_passes = finest_passes
        self.action_channels = 2 * WIDTHS[0] * (num_frames - 1)
        self.luma = nn.Parameter(torch.tensor([0.299, 0.587, 0.114]))  # ITU-R BT.601; learned from there
        self.patch = nn.Conv2d(1, WIDTHS[0], 4, 4)
        self.down = nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, 2, 1))
        self.refine2 = _Refiner(WIDTHS[0], hidden=False)
        self.refine3 = _Refiner(WIDTHS[1])
        self.refine4 = _Refiner(WIDTHS[1])

    def pictures(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) as grey pictures (B, T, 1, h, w), padded to whole strides.

        They have half the size of the frames; the whole size where the shorter side is below 128 px, and
        twice the size where it is below 64 px.
        """
        red, green, blue = _prepared(frames).flatten(0, 1).split(1, dim=1)
        gray = (red * self.luma[0]).addcmul_(green, self.luma[1]).addcmul_(blue, self.luma[2])
        clip: Tensor = _halved(gray).unflatten(0, frames.shape[:2])
        return clip

    def features(self, frames: Tensor) -> list[Tensor]:
        """All that is known of a clip; h and w are those of `frames`, small ones enlarged, all padded.

        Returns:
            What is in all frames but the last, whatever their brightness and contrast, and what the finest
            level made of that and of the motion there: both (B, T−1, 24, h/8, w/8); then the flow at 1/4,
            1/8 and 1/16 of h × w: (B, T−1, 2, ·, ·), px of its own grid.
        """
        pictures = [self.pictures(frames)]
        batch, num_frames = pictures[0].shape[:2]
        variance = _variance(pictures[0])
        contrast = ((variance[:, :-1] + variance[:, 1:]) / 2).flatten(0, 1)
        while len(pictures) < 3 or min(pictures[-1].shape[-2:]) >= 2 * COARSEST_SIDE:
            pictures.append(_halved(pictures[-1].flatten(0, 1)).unflatten(0, (batch, num_frames)))
        contexts = self._contexts(pictures[0][:, :-1].flatten(0, 1), len(pictures))

        flow = contrast.new_zeros(len(contexts[-1]), 2, 1, 1)
        hidden = flow
        pyramid: list[Tensor] = []
        refiners = (self.refine2, self.refine3, self.refine4)
        for level in reversed(range(len(pictures))):
            first, second = pictures[level][:, :-1].flatten(0, 1), pictures[level][:, 1:].flatten(0, 1)
            flow = resize_flow(flow, (first.shape[-2] + 1) // 2, (first.shape[-1] + 1) // 2)
            for _ in range(1 if level else self.finest_passes):
                flow, hidden = refiners[min(level, 2)](contexts[level], first, second, contrast, flow)
            if level < len(refiners):
                pyramid.insert(0, flow)
        return [x.unflatten(0, (batch, num_frames - 1)) for x in (contexts[0], hidden, *pyramid)]

    def _contexts(self, seen: Tensor, num_levels: int) -> list[Tensor]:
        """Finest pictures (N, 1, h, w) → (N, 24, h/4, w/4), then (N, 32, ·, ·) of half the size each."""
        eighth = self.patch((seen - seen.mean(dim=(2, 3), keepdim=True)) * torch.rsqrt(_variance(seen)))
        contexts = [eighth.contiguous(memory_format=torch.channels_last)]
        contexts.append(self.down(contexts[0]))
        while len(contexts) < num_levels:
            contexts.append(_halved(contexts[-1]))
        return contexts

    def action_features(self, features: list[Tensor]) -> Tensor:
        """What is in the pictures and how it moves, of all pairs, stacked: (B, 48 (T−1), h/8, w/8).

        The encoder alone, as in the other networks, knows no motion here: it sees one frame at a time.
        """
        return torch.cat((features[0].flatten(1, 2), features[1].flatten(1, 2)), dim=1)

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 3 flows (B, T−1, 2, h, w), finest first, px of their grids; `frames` for their size."""
        height, width = _enlarged_size(frames)
        padded = (height + -height % self.total_stride, width + -width % self.total_stride)
        return trim_pyramid(features[2:], (height, width), padded)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest first, px of their own grid."""
        return self.flow(self.features(frames), frames)


class _Refiner(nn.Module):
    """One level: context of frame t, pictures of t and t+1, flow so far → better flow, and what it knows.

    Flow is (N, 2, h, w) in pixels of the level, pictures (N, 1, 2h, 2w), contrast (N, 1, 1, 1), the variance
    of the finest pictures. What is learned works at half of that: the context is (N, C, h/2, w/2), as is what
    is known, and all of 2×2 points of the flow is seen, and bettered, at once. Odd sides are rounded up.
    """

    def __init__(self, width: int, hidden: bool = True) -> None:
        super().__init__()
        self.look = nn.Conv2d(24, width, 3, padding=1)
        self.hidden = _conv(width, width) if hidden else nn.Identity()
        self.predict = nn.Conv2d(width, 8, 1)
        self.log_share = nn.Conv2d(width, 4, 1)
        nn.init.zeros_(self.log_share.weight)
        nn.init.constant_(self.log_share.bias, FIRST_LOG_SHARE)  # type: ignore[arg-type]
        self.step_gain = nn.Parameter(torch.ones(()))
        # Near-zero first predictions: learning starts from what is measured.
        nn.init.normal_(self.predict.weight, std=1e-3)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(
        self, context: Tensor, first: Tensor, second: Tensor, contrast: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        height, width = flow.shape[-2:]
        share = _shuffled(self.log_share(context).clamp(-14, 4).exp())
        shifted = warp(second, resize_flow(flow, *second.shape[-2:]))
        measured = lucas_kanade(*_slopes(first), shifted - first, share[..., :height, :width], contrast)
        seen = torch.cat((flow, measured), dim=1)
        if height % 2 or width % 2:
            seen = functional.pad(seen, (0, width % 2, 0, height % 2), mode="replicate")
        seen = functional.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)
        hidden = self.hidden(functional.leaky_relu(self.look(seen) + context, 0.1, inplace=True))
        change = _shuffled(self.predict(hidden))[..., :height, :width]
        return median_filter(flow + self.step_gain * measured[:, :2] + change), hidden


def _shuffled(x: Tensor) -> Tensor:
    """`pixel_shuffle` by 2, (N, 4C, h, w) → (N, C, 2h, 2w); in half its time where channels come last."""
    blocks = x.unflatten(1, (-1, 2, 2))  # N, C, row, column, h, w
    shuffled: Tensor = blocks.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    return shuffled


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))


def _enlarged_size(frames: Tensor) -> tuple[int, int]:
    height, width = frames.shape[-2:]
    factor = 2 ** sum(min(height, width) < side for side in SMALL_SIDES)
    return factor * height, factor * width


def _prepared(frames: Tensor) -> Tensor:
    """`frames` (B, T, 3, H, W), small ones enlarged, padded to whole strides."""
    check_frames(frames)
    size = _enlarged_size(frames)
    if size != frames.shape[-2:]:
        merged = functional.interpolate(frames.flatten(0, 1), size, mode="bilinear", align_corners=False)
        frames = merged.unflatten(0, frames.shape[:2])
    return pad_frames(frames, NanoMotionNet.total_stride)


def _variance(pictures: Tensor) -> Tensor:
    """Variance of each picture (..., h, w), from every 16th pixel: (..., 1, 1), never quite 0."""
    return pictures[..., ::4, ::4].var(dim=(-2, -1), correction=0, keepdim=True) + 1e-7


def _slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Right neighbour minus left one, lower minus upper one, of (N, 1, h, w); edges repeated."""
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    dx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return dx, padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def _block_sums(x: Tensor) -> Tensor:
    """(N, C, 2h, 2w) → (N, C, h, w), sums of 2×2 pixels; odd sides are rounded up."""
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        size = ((height + 1) // 2, (width + 1) // 2)
        return 4 * functional.interpolate(x, size, mode="bilinear", align_corners=False)
    rows = x[..., ::2, :] + x[..., 1::2, :]  # whole rows first: several times faster than pooling on CPUs
    return rows[..., ::2] + rows[..., 1::2]


def _around(blocks: Tensor) -> Tensor:
    """Sums over each block and its 8 neighbours."""
    padded = functional.pad(blocks, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _halved(x: Tensor) -> Tensor:
    """(N, C, h, w) at half the size: means of 2×2 pixels."""
    return _block_sums(x) / 4

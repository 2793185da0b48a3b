"""Nano-MotionNet, our own network for CPUs and browsers.

It has 46,000 parameters and takes milliseconds for eleven frames. All frames share one small encoder and all
pairs of neighboring frames one decoder. So the network takes any number of frames, and a pair has the same
flow in any clip.

Flow is refined from coarse to fine (as in SPyNet, Ranjan and Black, arXiv 1611.00850). At each level:

1. A Lucas-Kanade step measures the residual motion with subpixel accuracy. As in inverse search (Kroeger et
   al., ECCV 2016), it takes the gradients of the first image.
2. Convolutions correct the measured motion. They also see the content of the first image. They work at half
   the resolution of the level, on 2×2 flow vectors at once, because the finest levels take most of the time.
3. A median filter removes single outliers.

Levels coarser than 1/16 share their weights, so large images get as many levels as they need.

The damping of a Lucas-Kanade step is proportional to the remaining difference between the images, which noise
raises. So a faint texture, such as that of a dark wall, shows its motion in a clean image but not in a noisy
one, whatever the contrast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.flow import median_filter, resize_flow
from hidden_two_stream.motion.networks.frames import check_frames, pad_frames, trim_pyramid
from hidden_two_stream.motion.warp import warp

__all__ = ["NanoMotionNet", "block_sums", "lucas_kanade", "neighborhood_sums", "pixel_shuffle"]

WIDTHS = (24, 32)
SMALL_SIDES = (128, 64)  # images are enlarged by 2 if their shorter side is below 128 px, by 4 below 64 px
COARSEST_SIDE = 8  # levels are added until the flow of one has a shorter side below this
FIRST_LOG_SHARE = 0.5  # initial damping: strong enough for noise, weak enough for useful first flow


def lucas_kanade(dx: Tensor, dy: Tensor, difference: Tensor, share: Tensor, contrast: Tensor) -> Tensor:
    """One damped Lucas-Kanade step (IJCAI 1981) on blocks of 2×2 pixels.

        (M + λ · 1) d = −b,   M = ⟨∇I ∇Iᵀ⟩,   b = ⟨∇I (second − first)⟩
        λ = share · ⟨(second − first)²⟩ + 1e-5 · contrast

    ⟨·⟩ is the mean over the 36 pixels of the 3×3 blocks around each block, where pixels beyond the border
    count as 0. A single block would not do: gradients within it hardly differ in direction.

    Args:
        dx: (N, 1, 2h, 2w), right neighbor of each pixel minus the left one in the first image: 2 dI/dx.
        dy: (N, 1, 2h, 2w), lower neighbor minus the upper one: 2 dI/dy.
        difference: (N, 1, 2h, 2w), second image, warped by the flow so far, minus the first.
        share: positive, (N, 1, h, w) or a scalar. Pure noise has ⟨(second − first)²⟩ = 2 trace M.
        contrast: positive, (N, 1, 1, 1) or a scalar: variance of the images.

    Returns:
        (N, 4, h, w). Channels 0 and 1 are u and v of the residual motion d in pixels of the block grid,
        limited to ±1. Channel 2 is log(1 + trace M / 2λ) / 4, the amount of texture. Channel 3 is
        1 + log(⟨(second − first)²⟩ / contrast + 1e-4) / 4, the remaining difference between the images.
    """
    # Memory traffic and large temporary tensors take the time. So sums of 36 pixels stay sums and slopes are
    # not halved: M and λ are 144 times, and b is 72 times, their values in the equation.
    factors = ((dx, dx), (dy, dy), (dx, dy), (dx, difference), (dy, difference), (difference, difference))
    sums = neighborhood_sums(torch.stack([block_sums(one * other) for one, other in factors]))
    structure_x, structure_y, xy, bx, by, squared = sums.unbind()
    damping = torch.addcmul(144e-5 * contrast, 4 * share, squared)
    xx, yy = structure_x + damping, structure_y + damping
    plain = structure_x * structure_y - xy * xy  # below 0 only by rounding
    determinant = plain.clamp(min=0) + damping * (xx + yy - damping)
    # Half of d, since a block is two pixels wide.
    u, v = (xy * by - yy * bx) / determinant, (xy * bx - xx * by) / determinant
    texture = ((xx + yy) / (2 * damping)).log() / 4
    residue = 1 + (squared / (36 * contrast) + 1e-4).log() / 4
    return torch.cat((u.clamp(-1, 1), v.clamp(-1, 1), texture, residue), dim=1)


class NanoMotionNet(nn.Module):
    """Nano-MotionNet: flow at 1/4, 1/8 and 1/16 of the input.

    Small images are enlarged first, because their grids would have too few cells. Below 128 px on the shorter
    side they are enlarged by 2, so flow comes at 1/2, 1/4 and 1/8; below 64 px by 4, so flow comes at 1/1,
    1/2 and 1/4.

    Args:
        num_frames: T of the clips that the owner intends to pass; any T ≥ 2 works.
        finest_passes: how often the finest level refines its flow, with the same weights; at least 1.

    Raises:
        UsageError: `finest_passes` is below 1.
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
        self.pair_channels = 2 * WIDTHS[0]
        self.luma = nn.Parameter(torch.tensor([0.299, 0.587, 0.114]))  # ITU-R BT.601; trained from there
        self.patch = nn.Conv2d(1, WIDTHS[0], 4, 4)
        self.down = nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, 2, 1))
        self.refine2 = _Refiner(WIDTHS[0], hidden=False)
        self.refine3 = _Refiner(WIDTHS[1])
        self.refine4 = _Refiner(WIDTHS[1])

    def gray_frames(self, frames: Tensor) -> Tensor:
        """`frames` (B, T, 3, H, W) as padded gray images (B, T, 1, h, w).

        They have half the size of the frames; the same size below 128 px on the shorter side, and twice the
        size below 64 px.
        """
        check_frames(frames)
        if torch.is_grad_enabled():  # as ever: training amplifies rounding, and would give other weights
            gray = self._luma_of(_prepared(frames))
        else:  # one channel is enlarged in a third of the time of three
            gray = _prepared(self._luma_of(frames))
        clip: Tensor = _halved(gray.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return clip

    def _luma_of(self, frames: Tensor) -> Tensor:
        """Gray images (B, T, 1, H, W) of `frames` (B, T, 3, H, W)."""
        red, green, blue = frames.flatten(0, 1).split(1, dim=1)
        gray = (red * self.luma[0]).addcmul_(green, self.luma[1]).addcmul_(blue, self.luma[2])
        images: Tensor = gray.unflatten(0, frames.shape[:2])
        return images

    def features(self, frames: Tensor) -> list[Tensor]:
        """Features of a clip, and its flow, which is refined together with them.

        Below, h × w is the size of `frames` after enlargement and padding.

        Returns:
            Five tensors. The context: content of all frames but the last, independent of their brightness and
            contrast, (B, T−1, 24, h/8, w/8). The hidden state: what the finest level made of the context and
            the motion, same shape. The flow at 1/4, 1/8 and 1/16: (B, T−1, 2, ·, ·), px of its own grid.
        """
        images = [self.gray_frames(frames)]
        batch, num_frames = images[0].shape[:2]
        variance = _variance(images[0])
        contrast = ((variance[:, :-1] + variance[:, 1:]) / 2).flatten(0, 1)
        while len(images) < 3 or min(images[-1].shape[-2:]) >= 2 * COARSEST_SIDE:
            images.append(_halved(images[-1].flatten(0, 1)).unflatten(0, (batch, num_frames)))
        contexts = self._contexts(images[0][:, :-1].flatten(0, 1), len(images))

        flow = contrast.new_zeros(contexts[-1].shape[0], 2, 1, 1)  # len() would fix the batch of an export
        hidden = flow
        pyramid: list[Tensor] = []
        refiners = (self.refine2, self.refine3, self.refine4)
        for level in reversed(range(len(images))):
            first, second = images[level][:, :-1].flatten(0, 1), images[level][:, 1:].flatten(0, 1)
            flow = resize_flow(flow, (first.shape[-2] + 1) // 2, (first.shape[-1] + 1) // 2)
            for _ in range(1 if level else self.finest_passes):
                flow, hidden = refiners[min(level, 2)](contexts[level], first, second, contrast, flow)
            if level < len(refiners):
                pyramid.insert(0, flow)
        return [x.unflatten(0, (batch, num_frames - 1)) for x in (contexts[0], hidden, *pyramid)]

    def _contexts(self, images: Tensor, num_levels: int) -> list[Tensor]:
        """Finest images (N, 1, h, w) → contexts of all levels, finest first.

        The first is (N, 24, h/4, w/4). The others are (N, 32, ·, ·), each of half the size of the one before.
        """
        eighth = self.patch((images - images.mean(dim=(2, 3), keepdim=True)) * torch.rsqrt(_variance(images)))
        contexts = [eighth.contiguous(memory_format=torch.channels_last)]
        contexts.append(self.down(contexts[0]))
        while len(contexts) < num_levels:
            contexts.append(_halved(contexts[-1]))
        return contexts

    def action_features(self, features: list[Tensor]) -> Tensor:
        """Context and hidden state of all pairs, stacked: (B, 48 (T−1), h/8, w/8).

        The other networks use their encoder alone. Nano's sees one frame at a time and so knows no motion.
        """
        return torch.cat((features[0].flatten(1, 2), features[1].flatten(1, 2)), dim=1)

    def pair_features(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Context and hidden state of each pair, (B, T−1, 48, h/8, w/8), and its flow at 1/4."""
        return torch.cat(features[:2], dim=2), features[2]

    def flow(self, features: list[Tensor], frames: Tensor) -> list[Tensor]:
        """Features → 3 flows (B, T−1, 2, h, w), finest first, px of their own grids."""
        height, width = _enlarged_size(frames)
        padded = (height + -height % self.total_stride, width + -width % self.total_stride)
        return trim_pyramid(features[2:], (height, width), padded)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """`frames` (B, T, 3, H, W) → 3 flows (B, T−1, 2, h, w), finest first."""
        return self.flow(self.features(frames), frames)


class _Refiner(nn.Module):
    """One level: refines the flow between frames t and t+1.

    N is the number of pairs. Flow is (N, 2, h, w) in pixels of the level, images are (N, 1, 2h, 2w), and
    contrast is (N, 1, 1, 1), the variance of the finest images. The learned layers work at half the
    resolution of the flow, on 2×2 vectors at once: the context of frame t is (N, C, h/2, w/2), as is the
    hidden state. Odd sides are rounded up.
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
        # Predictions start near zero, so training starts from the measured motion.
        nn.init.normal_(self.predict.weight, std=1e-3)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(
        self, context: Tensor, first: Tensor, second: Tensor, contrast: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refined flow, and the hidden state."""
        height, width = flow.shape[-2:]
        share = pixel_shuffle(self.log_share(context).clamp(-14, 4).exp())
        shifted = warp(second, resize_flow(flow, *second.shape[-2:]))
        measured = lucas_kanade(*_slopes(first), shifted - first, share[..., :height, :width], contrast)
        seen = torch.cat((flow, measured), dim=1)
        if height % 2 or width % 2:
            seen = functional.pad(seen, (0, width % 2, 0, height % 2), mode="replicate")
        seen = functional.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)
        hidden = self.hidden(functional.leaky_relu(self.look(seen) + context, 0.1, inplace=True))
        change = pixel_shuffle(self.predict(hidden))[..., :height, :width]
        return median_filter(flow + self.step_gain * measured[:, :2] + change), hidden


def pixel_shuffle(x: Tensor) -> Tensor:
    """PyTorch's `pixel_shuffle` by 2: (N, 4C, h, w) → (N, C, 2h, 2w).

    Twice as fast as PyTorch's if channels come last in memory.
    """
    blocks = x.unflatten(1, (-1, 2, 2))  # N, C, row, column, h, w
    shuffled: Tensor = blocks.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    return shuffled


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))


def _enlarged_size(frames: Tensor) -> tuple[int, int]:
    """Height and width of `frames` after enlargement, px."""
    height, width = frames.shape[-2:]
    factor = 2 ** sum(min(height, width) < side for side in SMALL_SIDES)
    return factor * height, factor * width


def _prepared(frames: Tensor) -> Tensor:
    """Images (B, T, C, H, W), enlarged if small and padded to whole strides."""
    size = _enlarged_size(frames)
    if size != frames.shape[-2:]:
        merged = functional.interpolate(frames.flatten(0, 1), size, mode="bilinear", align_corners=False)
        frames = merged.unflatten(0, frames.shape[:2])
    return pad_frames(frames, NanoMotionNet.total_stride)


def _variance(images: Tensor) -> Tensor:
    """Variance of each image (..., h, w): (..., 1, 1), always above 0.

    Taken from every 16th pixel.
    """
    return images[..., ::4, ::4].var(dim=(-2, -1), correction=0, keepdim=True) + 1e-7


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Right minus left neighbor, and lower minus upper one, of (N, 1, h, w).

    Edges repeat.
    """
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    dx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return dx, padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def block_sums(x: Tensor) -> Tensor:
    """(N, C, 2h, 2w) → (N, C, h, w): sums of 2×2 pixels; odd sides are rounded up."""
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        size = ((height + 1) // 2, (width + 1) // 2)
        return 4 * functional.interpolate(x, size, mode="bilinear", align_corners=False)
    rows = x[..., ::2, :] + x[..., 1::2, :]  # rows first: several times faster than pooling on CPUs
    return rows[..., ::2] + rows[..., 1::2]


def neighborhood_sums(blocks: Tensor) -> Tensor:
    """Sums over each block and its 8 neighbors, 0 beyond the border."""
    padded = functional.pad(blocks, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _halved(x: Tensor) -> Tensor:
    """(N, C, h, w) at half the size: means of 2×2 pixels."""
    return block_sums(x) / 4

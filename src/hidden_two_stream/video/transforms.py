"""Layout, size, crops and color of decoded clips. Plain functions on tensors.

A clip is (T, 3, H, W) here, RGB, pixel values 0 to 255. No function draws from global random state: random
choices come in as numbers or as a `torch.Generator`. All frames of a clip get the same change, because a
change between frames would look like motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import RawClip, validate_clip
from hidden_two_stream.video.limits import resized_too_large

__all__ = [
    "CONTRAST_STD",
    "MEAN_RGB",
    "Crop",
    "apply_crop",
    "center_crop_box",
    "color_jitter",
    "contrast_normalize",
    "corner_crop_boxes",
    "five_crop",
    "flip",
    "multi_scale_crop_box",
    "normalize",
    "resize",
    "resize_short_side",
    "short_side_size",
    "ten_crop",
    "to_tensor",
]

MEAN_RGB = (123.0, 117.0, 104.0)
"""Subtracted from R, G, B before the division by 255. The reference lists its means as B, G, R."""

CONTRAST_STD = 0.25
"""Standard deviation of a clip after `contrast_normalize`: about that of a video with strong contrast."""

_MIN_STD = 0.01  # a clip flatter than 2.5 gray levels shows sensor noise only, which must not be amplified
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


# -- layout and scale ------------------------------------------------------------------------------


def to_tensor(clip: RawClip) -> Tensor:
    """Return a (T, H, W, 3) uint8 array as a (T, 3, H, W) uint8 tensor, without a copy where possible.

    Raises:
        UsageError: `clip` is not such an array.
    """
    array = np.require(validate_clip(clip), requirements=["C", "W"])
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def normalize(clip: Tensor) -> Tensor:
    """Return (pixel - mean) / 255, float32, of pixels 0..255 (..., 3, H, W) of any dtype."""
    return (clip.to(torch.float32) - _per_channel(MEAN_RGB, clip.device)).div_(255)


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]


def _to_uint8(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)


# -- size ------------------------------------------------------------------------------------------


def resize(clip: Tensor, height: int, width: int) -> Tensor:
    """Resize a (T, 3, H, W) uint8 clip to (T, 3, height, width): bilinear, antialiased when it shrinks.

    Convention: pixel centers, `align_corners=False`. Frames do not influence each other, so a part of a
    video gives the same frames as the whole video. A clip that already has the size is returned unchanged.
    A float clip stays float. On devices other than the CPU values may differ by 1, because rounding happens
    only at the end there.

    Raises:
        UsageError: a side is below 1, or the result is too large, see `limits`.
    """
    if height < 1 or width < 1:
        raise UsageError(f"got the size {height} x {width}; expected a height and width of at least 1 pixel")
    before = (clip.shape[-2], clip.shape[-1])
    if before == (height, width):
        return clip
    reason = resized_too_large(before, (height, width))
    if reason:
        raise UsageError(f"cannot resize a clip: {reason}")
    if clip.dtype == torch.uint8 and clip.device.type != "cpu":
        return _to_uint8(_bilinear(clip.to(torch.float32), height, width))
    # One memory layout for all sources, so that a decoded file and an array of its frames are rounded alike.
    return _bilinear(clip.contiguous(memory_format=torch.channels_last), height, width)


def _bilinear(clip: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(clip, (height, width), mode="bilinear", antialias=True, align_corners=False)


def resize_short_side(clip: Tensor, short_side: int) -> Tensor:
    """Resize a (T, 3, H, W) clip so that its shorter side is `short_side`; the aspect stays, to a pixel.

    Raises:
        UsageError: `short_side` is below 1, or the result is too large, see `limits`.
    """
    return resize(clip, *short_side_size(clip.shape[-2], clip.shape[-1], short_side))


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) to which `resize_short_side` resizes frames of height x width."""
    short = min(height, width)
    return (2 * height * short_side + short) // (2 * short), (2 * width * short_side + short) // (2 * short)


# -- crops -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """A box of whole pixels; `top` and `left` count from the frame's top left pixel."""

    top: int
    left: int
    height: int
    width: int


def center_crop_box(height: int, width: int, size: int) -> Crop:
    """Return the size x size box in the center of a height x width frame; half pixels go to the top left.

    Raises:
        UsageError: the box is larger than the frame, or empty.
    """
    return corner_crop_boxes(height, width, size)[4]


def corner_crop_boxes(height: int, width: int, size: int) -> tuple[Crop, Crop, Crop, Crop, Crop]:
    """Return the size x size boxes at top left, top right, bottom left, bottom right and center.

    Raises:
        UsageError: the box is larger than the frame, or empty.
    """
    if not 1 <= size <= min(height, width):
        raise UsageError(
            f"got a crop of {size} px for frames of {width} x {height}; "
            f"expected 1 to {min(height, width)}: resize the clip or crop less"
        )
    return _five_boxes(height, width, size, size)


def _five_boxes(
    height: int, width: int, box_height: int, box_width: int
) -> tuple[Crop, Crop, Crop, Crop, Crop]:
    bottom, right = height - box_height, width - box_width
    return (
        Crop(0, 0, box_height, box_width),
        Crop(0, right, box_height, box_width),
        Crop(bottom, 0, box_height, box_width),
        Crop(bottom, right, box_height, box_width),
        Crop(bottom // 2, right // 2, box_height, box_width),
    )


def multi_scale_crop_box(
    height: int,
    width: int,
    size: int,
    scales: Sequence[float] = (1.0, 0.875, 0.75),
    draw: tuple[float, float, float] = (0.0, 0.0, 0.8),
) -> Crop:
    """Return a box for scale jittering and corner cropping (Wang et al. 2016, arXiv 1608.00859).

    Height and width are each a scale times the frame's shorter side, at most one step of `scales` apart,
    which varies the aspect. The box sits in one of the four corners or in the center. A side within 2 px of
    `size` becomes `size`, which saves resizing. `apply_crop` cuts the box out and resizes it.

    Args:
        height: of the frame.
        width: of the frame.
        size: side of the square that the network takes.
        scales: parts of the shorter side, in order of size, 0..1 each.
        draw: three independent numbers in [0, 1): for the height's scale, for the width's scale among those
            at most one step away, for the position (top left, top right, bottom left, bottom right, center).
            The default is the first scale for both sides, in the center.

    Raises:
        UsageError: a scale or a draw is out of range, or there are no scales.
    """
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise UsageError(
            f"got the crop scales {tuple(scales)}; expected one or more numbers above 0, up to 1"
        )
    if not all(0 <= number < 1 for number in draw):
        raise UsageError(f"got the draw {draw}; expected three numbers in [0, 1)")
    short = min(height, width)
    sides = [max(1, int(short * scale)) for scale in scales]
    sides = [size if abs(side - size) <= 2 and size <= short else side for side in sides]
    row = int(draw[0] * len(sides))
    near = sides[max(0, row - 1) : row + 2]
    return _five_boxes(height, width, sides[row], near[int(draw[1] * len(near))])[int(draw[2] * 5)]


def apply_crop(clip: Tensor, box: Crop, size: int) -> Tensor:
    """Cut `box` out of a (T, 3, H, W) uint8 clip and resize it to (T, 3, size, size).

    Raises:
        UsageError: the box reaches out of the frame, or is empty.
    """
    height, width = clip.shape[-2:]
    bottom, right = box.top + box.height, box.left + box.width
    if not (0 <= box.top < bottom <= height and 0 <= box.left < right <= width):
        raise UsageError(f"got {box} for frames of {width} x {height}; expected a box inside the frame")
    return resize(clip[..., box.top : bottom, box.left : right], size, size)


def five_crop(clip: Tensor, size: int) -> Tensor:
    """Return (5, T, 3, size, size) crops of a (T, 3, H, W) clip.

    Order: top left, top right, bottom left, bottom right, center.

    Raises:
        UsageError: `size` is larger than the frames.
    """
    boxes = corner_crop_boxes(clip.shape[-2], clip.shape[-1], size)
    return torch.stack([apply_crop(clip, box, size) for box in boxes])


def ten_crop(clip: Tensor, size: int) -> Tensor:
    """Return (10, T, 3, size, size) crops of a (T, 3, H, W) clip: the reference's test protocol.

    Order: those of `five_crop`, then the mirror images of these five. Where left and right are different
    classes, use `five_crop`.

    Raises:
        UsageError: `size` is larger than the frames.
    """
    crops = five_crop(clip, size)
    return torch.cat([crops, flip(crops)])


def flip(clip: Tensor) -> Tensor:
    """Mirror (..., H, W) left to right. The flow of a mirrored clip is the mirrored flow with u negated."""
    return clip.flip(-1)


# -- color ----------------------------------------------------------------------------------------


def color_jitter(
    clip: Tensor, brightness: float, contrast: float, saturation: float, generator: torch.Generator
) -> Tensor:
    """Change brightness, contrast and saturation of a (T, 3, H, W) clip, pixels 0..255, uint8 or float.

    Each strength s gives one factor for all frames, uniform in [1 - s, 1 + s]. The factors apply in the
    order of the arguments: brightness scales the pixels, contrast their distance from the clip's mean gray,
    saturation their distance from their own gray (BT.601). The result is clamped to 0..255 and keeps the
    clip's dtype.

    Use it for the spatial stream only. Motion is learned from brightness that stays constant along the
    motion: a clamped area has no structure left to follow, and a change of contrast changes the weight of
    the clip in the reconstruction loss.

    Args:
        clip: the clip.
        brightness: strength, 0..1.
        contrast: strength, 0..1.
        saturation: strength, 0..1.
        generator: on the CPU; three numbers are drawn whatever the strengths.

    Raises:
        UsageError: a strength is out of range.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in strengths.items():
        if not 0 <= strength <= 1:
            raise UsageError(f"got {name}={strength}; expected a strength from 0 (none) to 1")
    draws: list[float] = (torch.rand(3, generator=generator) * 2 - 1).tolist()
    scale, spread, color = (1 + s * d for s, d in zip(strengths.values(), draws, strict=True))
    luma = _per_channel(_LUMA, clip.device)
    pixels = clip.to(torch.float32) * scale
    mean_gray = (pixels * luma).sum(-3).mean()
    pixels = mean_gray + (pixels - mean_gray) * spread
    gray = (pixels * luma).sum(-3, keepdim=True)
    pixels = gray + (pixels - gray) * color
    return _to_uint8(pixels) if clip.dtype == torch.uint8 else pixels.clamp(0, 255).to(clip.dtype)


def contrast_normalize(frames: Tensor) -> Tensor:
    """Give each (..., T, 3, H, W) float clip zero mean per channel and the contrast `CONTRAST_STD`.

    This is for sensors that use little of their range, such as thermal arrays. One shift per channel and one
    gain apply to the whole clip, so brightness that is constant along the motion stays constant. The
    standard deviation is taken over all pixels, channels and frames after the shift. Below 0.01 (on the
    scale of `normalize`, where 1 is the full range) the gain stops growing.
    """
    centered = frames - frames.mean((-4, -2, -1), keepdim=True)
    deviation = centered.square().mean((-4, -3, -2, -1), keepdim=True).sqrt()
    return centered * (CONTRAST_STD / deviation.clamp_min(_MIN_STD))

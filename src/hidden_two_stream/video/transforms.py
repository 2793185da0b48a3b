"""Layout, size and color of decoded clips. Plain functions on tensors.

A clip is (T, 3, H, W) here, RGB, pixel values 0 to 255. No function draws from global random state: random
choices come in as numbers or as a `torch.Generator`. All frames of a clip get the same change, because a
change between frames would look like motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import RawClip, validate_clip
from hidden_two_stream.video.crops import Crop, short_side_size
from hidden_two_stream.video.limits import resized_too_large

__all__ = [
    "CONTRAST_STD",
    "MEAN_RGB",
    "apply_crop",
    "color_jitter",
    "contrast_normalize",
    "normalize",
    "resize",
    "resize_short_side",
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


# -- crops -----------------------------------------------------------------------------------------


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

"""Boxes of whole pixels, and clips cut out along them.

Boxes are pure functions of integers. Clips are (T, 3, H, W) tensors of PyTorch or arrays of NumPy; PyTorch is
imported only for tensors, so that exported models need no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from hidden_two_stream.errors import UsageError

__all__ = [
    "Crop",
    "center_crop",
    "center_crop_box",
    "concatenate",
    "corner_crop_boxes",
    "five_crop",
    "flip",
    "multi_scale_crop_box",
    "short_side_size",
    "stack",
    "ten_crop",
]

Clip = TypeVar("Clip", bound=Any)
"""A tensor, or a NumPy array; the result is of the same kind."""


# -- boxes -----------------------------------------------------------------------------------------


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) to which `resize_short_side` resizes frames of height x width."""
    short = min(height, width)
    return (2 * height * short_side + short) // (2 * short), (2 * width * short_side + short) // (2 * short)


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


# -- clips -----------------------------------------------------------------------------------------


def center_crop(clip: Clip, size: int) -> Clip:
    """Return the center of a (T, 3, H, W) clip, (T, 3, size, size).

    Raises:
        UsageError: `size` is larger than the frames.
    """
    return _cut(clip, center_crop_box(clip.shape[-2], clip.shape[-1], size))


def five_crop(clip: Clip, size: int) -> Clip:
    """Return (5, T, 3, size, size) crops of a (T, 3, H, W) clip.

    Order: top left, top right, bottom left, bottom right, center.

    Raises:
        UsageError: `size` is larger than the frames.
    """
    return stack([_cut(clip, box) for box in corner_crop_boxes(clip.shape[-2], clip.shape[-1], size)])


def ten_crop(clip: Clip, size: int) -> Clip:
    """Return (10, T, 3, size, size) crops of a (T, 3, H, W) clip: the reference's test protocol.

    Order: those of `five_crop`, then the mirror images of these five. Where left and right are different
    classes, use `five_crop`.

    Raises:
        UsageError: `size` is larger than the frames.
    """
    crops = five_crop(clip, size)
    return concatenate([crops, flip(crops)])


def flip(clip: Clip) -> Clip:
    """Mirror (..., H, W) left to right. The flow of a mirrored clip is the mirrored flow with u negated."""
    return cast("Clip", clip[..., ::-1] if isinstance(clip, np.ndarray) else clip.flip(-1))


def stack(clips: Sequence[Clip]) -> Clip:
    """Return clips of one shape along a new first axis."""
    if isinstance(clips[0], np.ndarray):
        return cast("Clip", np.stack(clips))
    import torch

    return cast("Clip", torch.stack(list(clips)))


def concatenate(clips: Sequence[Clip]) -> Clip:
    """Return clips joined along their first axis."""
    if isinstance(clips[0], np.ndarray):
        return cast("Clip", np.concatenate(clips))
    import torch

    return cast("Clip", torch.cat(list(clips)))


def _cut(clip: Clip, box: Crop) -> Clip:
    part: Clip = clip[..., box.top : box.top + box.height, box.left : box.left + box.width]
    return part

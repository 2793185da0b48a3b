"""How large a frame may be, decoded and resized, and how large all frames of an animation together.

A file of a few hundred bytes can ask for gigabytes, so the limits are checked before memory is taken.
"""

from __future__ import annotations

__all__ = [
    "MAX_ANIMATION_PIXELS",
    "MAX_ENLARGED_PIXELS",
    "MAX_FRAME_PIXELS",
    "MAX_RESIZED_PIXELS",
    "SIZE_REFUSED",
    "animation_too_long",
    "frame_too_large",
    "resized_too_large",
]

MAX_FRAME_PIXELS = 40_000_000
"""Most pixels of a decoded frame; 8K video (7680 x 4320) has 33 million."""

MAX_RESIZED_PIXELS = 9_000_000
"""Most pixels of a resized frame; 4K video (4096 x 2160) has 8.8 million."""

MAX_ENLARGED_PIXELS = 2_100_000
"""Most pixels of a frame that is resized to more pixels; 1920 x 1080 has 2.07 million."""

MAX_ANIMATION_PIXELS = 2_000_000_000
"""Most pixels of all frames of a GIF or APNG: 23 bytes of one can ask for a frame of the full size."""

_MILLIONS = MAX_FRAME_PIXELS // 10**6

SIZE_REFUSED = f"its frames have too many pixels; expected at most {_MILLIONS} million: scale it down"
"""Why a decoder refused frames before it told their size."""


def frame_too_large(height: int, width: int) -> str | None:
    """Why a frame of this size cannot be decoded; None: it can."""
    if height * width <= MAX_FRAME_PIXELS:
        return None
    return (
        f"its frames have {width} x {height} pixels; expected at most {_MILLIONS} million pixels: "
        "scale it down"
    )


def animation_too_long(num_frames: int, height: int, width: int) -> str | None:
    """Why an animation of this many frames is not decoded, which could take hours; None: it is."""
    pixels = num_frames * height * width
    if pixels <= MAX_ANIMATION_PIXELS:
        return None
    return (
        f"its {num_frames:,} frames of {width} x {height} have {pixels / 1e9:.3g} billion pixels together; "
        f"expected at most {MAX_ANIMATION_PIXELS / 1e9:g} billion in an animation: convert it to a video"
    )


def resized_too_large(before: tuple[int, int], after: tuple[int, int]) -> str | None:
    """Why frames of one (height, width) cannot be resized to another; None: they can."""
    pixels = after[0] * after[1]
    is_enlarged = pixels > before[0] * before[1]
    limit = MAX_ENLARGED_PIXELS if is_enlarged else MAX_RESIZED_PIXELS
    if pixels <= limit:
        return None
    return (
        f"its frames of {before[1]} x {before[0]} pixels would be resized to {after[1]} x {after[0]}; "
        f"expected at most {limit / 1e6:g} million pixels: crop them, or choose a smaller size"
    )

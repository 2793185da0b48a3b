"""Flow as color: the hue shows the direction, the saturation the speed.

Reference: the color wheel of Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.
No motion is white; right is red, down is yellow, left is cyan, up is violet.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError

__all__ = ["UNKNOWN_ABOVE_PX", "color_wheel", "flow_to_color"]

UNKNOWN_ABOVE_PX = 1e9
"""Flow files mark pixels of unknown flow by values above this. They are drawn black, like NaN."""

# Steps red-yellow, yellow-green, green-cyan, cyan-blue, blue-magenta, magenta-red.
_SEGMENTS = (15, 6, 4, 11, 13, 6)
_BEYOND = 0.75


def color_wheel() -> npt.NDArray[np.float32]:
    """The 55 hues of the color wheel, from red through green and blue to red.

    The six segments have 15, 6, 4, 11, 13 and 6 steps, roughly in proportion to how well the eye
    distinguishes hues. In each segment one of R, G, B runs from 0 to 255 or back while the others stay.

    Returns:
        (55, 3) float32, whole numbers in 0…255.
    """
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)])
    pieces = []
    for start, end, steps in zip(corners, corners[1:], _SEGMENTS, strict=False):
        ramp = (255 * np.arange(steps) // steps)[:, None]
        pieces.append(255 * start + ramp * (end - start))
    return np.concatenate(pieces).astype(np.float32)


def flow_to_color(flow: npt.NDArray[np.floating], max_px: float | None = None) -> npt.NDArray[np.uint8]:
    """RGB images of flows in the Middlebury color code.

    The angle of (u, v) selects the hue, interpolated between neighbors on the wheel. A speed of 0 is white,
    and the saturation grows in proportion to the speed up to `max_px`. Faster pixels have the full hue times
    0.75. Unknown flow (not finite, or above `UNKNOWN_ABOVE_PX`) is black.

    Args:
        flow: (2, h, w) or (N, 2, h, w), px, u right and v down.
        max_px: speed with the full hue. None: the greatest known speed of this call, so that nothing is
            clipped. Pass a number to compare images, or for a video that is drawn in pieces.

    Returns:
        (h, w, 3) or (N, h, w, 3) uint8 RGB.

    Raises:
        UsageError: `flow` has another shape, or `max_px` is not a positive finite number.
    """
    if flow.ndim not in (3, 4) or flow.shape[-3] != 2:
        raise UsageError(f"got a flow of shape {flow.shape}; expected (2, h, w) or (N, 2, h, w); reshape it")
    if max_px is not None and not (math.isfinite(max_px) and max_px > 0):
        raise UsageError(f"got max_px {max_px}; expected a positive number of px, or None for the maximum")
    known = (np.abs(flow) <= UNKNOWN_ABOVE_PX).all(axis=-3)  # NaN compares false
    u, v = np.moveaxis(np.where(known[..., None, :, :], flow, 0).astype(np.float32), -3, 0)
    speed = np.hypot(u, v)
    if max_px is None:
        max_px = float(speed.max(initial=0)) or 1.0
    hue = _hue(u, v)
    level = (speed / np.float32(max_px))[..., None]
    color = np.where(level <= 1, 255 - level * (255 - hue), _BEYOND * hue)
    return np.where(known[..., None], color, 0).astype(np.uint8)


def _hue(u: npt.NDArray[np.float32], v: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The wheel's color for each direction: (..., 3) float32 in 0…255.

    A full turn, clockwise on the screen from the right, covers indices 0 to 54 and not 55, as in the
    reference's own programs, so that images are comparable. Hues just above "right" start at index 54, next
    to red.
    """
    wheel = color_wheel()
    turns = np.mod(np.arctan2(v, u) / np.float32(2 * np.pi), 1)
    position = turns * np.float32(len(wheel) - 1)
    below = position.astype(np.intp)
    part = (position - below)[..., None]
    mixed: npt.NDArray[np.float32] = (1 - part) * wheel[below] + part * wheel[(below + 1) % len(wheel)]
    return mixed

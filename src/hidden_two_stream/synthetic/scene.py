"""The scene model: surfaces that move in front of each other, drawn with the exact motion of what is visible.

Convention: a place (x, y) is in pixels, x right, y down, pixel centers at whole numbers. Surfaces are ordered
from back to front and numbered from 0. A *moment* is the index of a time at which all surfaces have a place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from hidden_two_stream.synthetic.arrays import BoolArray, IndexArray, Reals
from hidden_two_stream.types import FloatArray

__all__ = ["Box", "Surface", "draw", "exact_flow", "exact_paths", "span", "still_visible"]

Box = tuple[slice, slice]
"""(rows, columns) of a rectangle of pixels."""


class Surface(Protocol):
    """A textured surface and its path.

    The arguments `x` and `y` of its methods are float32 arrays that broadcast against each other.
    """

    def box(self, moment: int, height: int, width: int) -> Box:
        """Return the pixels outside which nothing of the surface is visible; empty if it left the frame."""
        ...

    def rests(self, moment: int, later: int) -> bool:
        """Return whether the surface looks the same at both moments."""
        ...

    def sample(self, moment: int, x: Reals, y: Reals) -> FloatArray:
        """Return (3, ...) colors of an opaque surface, or (4, ...) colors and cover, at places (x, y)."""
        ...

    def follow(self, moment: int, later: int, x: Reals, y: Reals) -> tuple[Reals, Reals]:
        """Return the places at `later` of the surface's points that are at (x, y) at `moment`."""
        ...


def span(center: float, reach: float, length: int) -> slice:
    """Return the pixels 0..length-1 within `reach` of the center, rounded outward."""
    start, stop = math.floor(center - reach), math.ceil(center + reach) + 1
    return slice(min(max(start, 0), length), min(max(stop, 0), length))


def _places(box: Box) -> tuple[FloatArray, FloatArray]:
    """Return x (w,) and y (h, 1) of the pixels of a box."""
    y, x = (np.arange(part.start, part.stop, dtype=np.float32) for part in box)
    return x, y[:, None]


def draw(
    surfaces: Sequence[Surface], moments: Sequence[int], height: int, width: int
) -> tuple[FloatArray, IndexArray]:
    """Draw the scene at each of T moments.

    Args:
        surfaces: from back to front; the first is opaque and fills the frame, the others have cover.
        moments: T of them.
        height: of the frame, in pixels.
        width: of the frame, in pixels.

    Returns:
        light (T, 3, height, width) float32 in 0..1, and front (T, height, width) uint8, the number of the
        frontmost surface that covers more than half of each pixel.
    """
    light = np.zeros((len(moments), 3, height, width), np.float32)
    front = np.zeros((len(moments), height, width), np.uint8)
    for number, surface in enumerate(surfaces):
        for t, moment in enumerate(moments):
            box = surface.box(moment, height, width)
            if any(part.start >= part.stop for part in box):
                continue
            if not (t and surface.rests(moments[t - 1], moment)):
                sampled = surface.sample(moment, *_places(box))
            behind, numbers = light[t][:, *box], front[t][box]
            if len(sampled) == 3:
                behind[...], numbers[...] = sampled, number
                continue
            behind += sampled[3] * (sampled[:3] - behind)
            numbers[sampled[3] > 0.5] = number
    return light, front


def exact_flow(surfaces: Sequence[Surface], front: IndexArray, moments: Sequence[int]) -> FloatArray:
    """Return the motion of each visible point from one moment to the next.

    Args:
        surfaces: as for `draw`.
        front: (T, H, W) from `draw`, for these moments.
        moments: T of them.

    Returns:
        (T-1, 2, H, W) float32 pixels: channel 0 = u (right), 1 = v (down), at the pixel centers of moment t.
    """
    _, height, width = front.shape
    flow = np.zeros((len(moments) - 1, 2, height, width), np.float32)
    for t, (moment, later) in enumerate(pairwise(moments)):
        for number, surface in enumerate(surfaces):
            box = surface.box(moment, height, width)
            mask = front[t][box] == number
            if not mask.any():
                continue
            here = _places(box)
            for channel, (start, end) in enumerate(
                zip(here, surface.follow(moment, later, *here), strict=True)
            ):
                np.copyto(flow[t, channel][box], end - start, where=mask, casting="same_kind")
    return flow


def still_visible(
    surfaces: Sequence[Surface], front: IndexArray, flow: FloatArray, moments: Sequence[int]
) -> BoolArray:
    """Return (T-1, H, W): whether each visible point is still visible at the next moment.

    A point is visible if its place lies within 0..W-1, 0..H-1 and no surface in front of its own covers that
    place by more than half.

    Args:
        surfaces: as for `draw`.
        front: (T, H, W) from `draw`, for these moments.
        flow: (T-1, 2, H, W) from `exact_flow`.
        moments: T of them.
    """
    _, height, width = front.shape
    x, y = _places((slice(0, height), slice(0, width)))
    visible = np.zeros((len(flow), height, width), np.bool_)
    for t, later in enumerate(moments[1:]):
        end_x, end_y = flow[t, 0] + x, flow[t, 1] + y
        visible[t] = _visible(surfaces, later, front[t], end_x, end_y, height, width)
    return visible


def exact_paths(
    surfaces: Sequence[Surface], front: IndexArray, moments: Sequence[int], points: IndexArray
) -> tuple[Reals, BoolArray]:
    """Return where points of the first image are at each moment, and whether they are visible.

    No flow is summed up: each place comes from the surface's own path.

    Args:
        surfaces: as for `draw`.
        front: (T, H, W) from `draw`, for these moments.
        moments: T of them.
        points: (N, 2) whole numbers, columns and rows of pixels of the first moment.

    Returns:
        Places (T, N, 2), x and y in pixels, and (T, N) as for `still_visible`.
    """
    _, height, width = front.shape
    number = front[0][points[:, 1], points[:, 0]]
    start_x, start_y = points.astype(np.float32).T
    places = np.empty((len(moments), len(points), 2))
    visible = np.empty((len(moments), len(points)), np.bool_)
    for t, moment in enumerate(moments):
        for surface in np.unique(number):
            mask = number == surface
            there = surfaces[surface].follow(moments[0], moment, start_x[mask], start_y[mask])
            places[t, mask] = np.stack(there, axis=1)
        x, y = places[t].astype(np.float32).T
        visible[t] = _visible(surfaces, moment, number, x, y, height, width)
    return places, visible


def _visible(
    surfaces: Sequence[Surface],
    moment: int,
    front: IndexArray,
    x: FloatArray,
    y: FloatArray,
    height: int,
    width: int,
) -> BoolArray:
    """Return whether points of the surfaces `front` are visible at (x, y); all arrays have one shape."""
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    hidden = np.zeros(front.shape, np.bool_)
    for number, surface in enumerate(surfaces[1:], start=1):
        rows, columns = surface.box(moment, height, width)
        near = (front < number) & (x > columns.start - 1) & (x < columns.stop)
        near &= (y > rows.start - 1) & (y < rows.stop)
        if near.any():
            hidden[near] |= surface.sample(moment, x[near], y[near])[3] > 0.5
    return inside & ~hidden

"""Surfaces that move and bend in front of each other: what is seen, and where each seen point goes.

Convention: p = (x, y) is a place on the screen in pixels (x right, y down, pixel centres at whole numbers),
q one on the surface, in pixels at scale 1. At moment m a surface is

    u = A_m^-1 (p - c_m)                       placed: turned, scaled, sheared, shifted
    q = u + w_m(u)                             bent:   w_m(u) = sum_k a_k sin(f_k . u + phase_km)

A point q of it is at p' at another moment n: u' solves u' + w_n(u') = q, which u' <- q - w_n(u') approaches
by the factor sum_k |a_k| |f_k| < 1 per step, and p' = A_n u' + c_n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.synthetic.materials import DENSITY
from hidden_two_stream.types import FloatArray

__all__ = ["Bending", "Placement", "Surface", "draw", "follow"]

_TOLERANCE_PX = 0.002  # of the flow where surfaces bend

Reals = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placement:
    """Where a surface is: `matrix` (M, 2, 2) is A_m and `centre` (M, 2) is c_m in pixels, at M moments."""

    matrix: Reals
    centre: Reals

    def holding(self, inner: Placement) -> Placement:
        """The placement of something that is placed by `inner` on what this one places."""
        moved = np.einsum("mij,mj->mi", self.matrix, inner.centre)
        return Placement(self.matrix @ inner.matrix, self.centre + moved)


@dataclass(frozen=True)
class Bending:
    """w: K waves of `amplitude` (K, 2) px, `frequency` (K, 2) radians per px, `phase` (K, M) radians."""

    amplitude: Reals
    frequency: Reals
    phase: Reals

    @property
    def steepness(self) -> float:
        """Bound of the slope of w; below 1 the surface doesn't fold."""
        return float((np.linalg.norm(self.amplitude, axis=1) * np.linalg.norm(self.frequency, axis=1)).sum())

    @property
    def size(self) -> float:
        """Bound of the length of w, in px."""
        return float(np.linalg.norm(self.amplitude, axis=1).sum())

    def steps(self, moment: int, later: int) -> int:
        """Steps after which u' is within `_TOLERANCE_PX`, from u as the first guess."""
        change = np.abs(2 * np.sin((self.phase[:, later] - self.phase[:, moment]) / 2))
        first = float((np.linalg.norm(self.amplitude, axis=1) * change).sum()) / (1 - self.steepness)
        if first <= _TOLERANCE_PX:
            return 1
        return 1 + math.ceil(math.log(_TOLERANCE_PX / first) / math.log(self.steepness))

    def at(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts of w at places (x, y)."""
        shift_x = shift_y = torch.zeros(())
        for (ax, ay), (fx, fy), phase in zip(
            self.amplitude.tolist(), self.frequency.tolist(), self.phase[:, moment].tolist(), strict=True
        ):
            wave = torch.sin(fx * x + (fy * y + phase))
            shift_x, shift_y = shift_x + ax * wave, shift_y + ay * wave
        return shift_x, shift_y


@dataclass(frozen=True)
class Surface:
    """A background (3 channels, repeats) or a sprite (4 channels: colour and cover) and its movement.

    Attributes:
        tile: (3, n, n), or (4, n, n) with cover 0 at its rim; its middle, texel n / 2, is q = 0.
        placement: where it is.
        bending: how it is bent, if it is.
    """

    tile: FloatArray
    placement: Placement
    bending: Bending | None = None

    @property
    def fills(self) -> bool:
        """Whether it is a background."""
        return len(self.tile) == 3

    def rests(self, moment: int, later: int) -> bool:
        """Whether it is the same at both moments."""
        matrix, centre = self.placement.matrix, self.placement.centre
        same = np.array_equal(matrix[moment], matrix[later]) and np.array_equal(centre[moment], centre[later])
        return same and self.bending is None

    def place(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """u of places p = (x, y)."""
        (a, b), (c, d) = self.placement.matrix[moment].tolist()
        cx, cy = self.placement.centre[moment].tolist()
        size = a * d - b * c
        dx, dy = (x - cx) / size, (y - cy) / size
        return d * dx - b * dy, a * dy - c * dx

    def bend(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """q of places u = (x, y)."""
        if self.bending is None:
            return x, y
        shift_x, shift_y = self.bending.at(moment, x, y)
        return x + shift_x, y + shift_y

    def box(self, moment: int, height: int, width: int) -> tuple[slice, slice]:
        """(rows, columns) outside which it is not seen; empty where it is out of the picture."""
        if self.fills:
            return slice(0, height), slice(0, width)
        reach = self.tile.shape[-1] / 2 / DENSITY
        if self.bending is not None:
            reach += self.bending.size
        (a, b), (c, d) = self.placement.matrix[moment].tolist()
        cx, cy = self.placement.centre[moment].tolist()
        return _span(cy, (abs(c) + abs(d)) * reach, height), _span(cx, (abs(a) + abs(b)) * reach, width)


def _span(centre: float, reach: float, length: int) -> slice:
    """The whole numbers in 0..length-1 within reach."""
    start, stop = math.floor(centre - reach), math.ceil(centre + reach) + 1
    return slice(min(max(start, 0), length), min(max(stop, 0), length))


def _sample(tile: Tensor, repeats: bool, x: Tensor, y: Tensor) -> Tensor:
    """(C, ...) bilinear values at places q = (x, y); nothing outside a tile that doesn't repeat.

    A tile that repeats has its first row and column once more at the end.
    """
    n = tile.shape[-1] - 1 if repeats else tile.shape[-1]
    column, row = x * DENSITY + n / 2, y * DENSITY + n / 2
    if repeats:
        column, row = torch.remainder(column, n), torch.remainder(row, n)
    # grid_sample, align_corners=False: texel i lies at (2 i + 1) / size - 1
    grid = torch.stack(torch.broadcast_tensors(column, row), dim=-1).mul_(2).add_(1).div_(tile.shape[-1])
    flat = grid.sub_(1).view(1, -1, grid.shape[-2], 2)
    values = functional.grid_sample(tile[None], flat, align_corners=False)
    return values.view(tile.shape[0], *grid.shape[:-1])


def _texture(surface: Surface) -> Tensor:
    tile = surface.tile
    return torch.from_numpy(np.pad(tile, ((0, 0), (0, 1), (0, 1)), mode="wrap") if surface.fills else tile)


def draw(
    surfaces: Sequence[Surface], height: int, width: int, moments: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Draw the scene; surfaces from back to front, the first a background.

    Returns:
        light (len(moments), 3, height, width) float32, and the number of the last surface that covers more
        than half of a pixel, (len(moments), height, width) uint8.
    """
    light = torch.zeros(len(moments), 3, height, width)
    seen = torch.zeros(len(moments), height, width, dtype=torch.uint8)
    for number, surface in enumerate(surfaces):
        texture = _texture(surface)
        for index, moment in enumerate(moments):
            rows, columns = surface.box(moment, height, width)
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            y = torch.arange(rows.start, rows.stop, dtype=torch.float32)[:, None]
            x = torch.arange(columns.start, columns.stop, dtype=torch.float32)
            if not (index and surface.rests(moments[index - 1], moment)):
                values = _sample(texture, surface.fills, *surface.bend(moment, *surface.place(moment, x, y)))
            if surface.fills:
                light[index] = values
                continue
            behind = light[index, :, rows, columns]
            behind += values[3] * (values[:3] - behind)
            seen[index, rows, columns][values[3] > 0.5] = number
    return light, seen


def _followed(surface: Surface, moment: int, later: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """p' at the later moment of what is at places p = (x, y)."""
    ux, uy = surface.place(moment, x, y)
    if surface.bending is not None:
        qx, qy = surface.bend(moment, ux, uy)
        for _ in range(surface.bending.steps(moment, later)):
            shift_x, shift_y = surface.bending.at(later, ux, uy)
            ux, uy = qx - shift_x, qy - shift_y
    (a, b), (c, d) = surface.placement.matrix[later].tolist()
    cx, cy = surface.placement.centre[later].tolist()
    return a * ux + b * uy + cx, c * ux + d * uy + cy


def _hidden(
    surfaces: Sequence[Surface], covers: Sequence[Tensor], moment: int, number: Tensor, place: Tensor
) -> Tensor:
    """(H, W) bool: a surface in front of that of the given number (H, W) covers its place (2, H, W)."""
    height, width = number.shape
    hidden = torch.zeros(height * width, dtype=torch.bool)
    x, y = place
    for k in range(1, len(surfaces)):
        rows, columns = surfaces[k].box(moment, height, width)
        near = (number < k) & (x > columns.start - 1) & (x < columns.stop)
        near &= (y > rows.start - 1) & (y < rows.stop)
        index = near.flatten().nonzero().squeeze(1)
        if not len(index):
            continue
        px, py = place.flatten(1)[:, index]
        values = _sample(covers[k], False, *surfaces[k].bend(moment, *surfaces[k].place(moment, px, py)))
        hidden[index] |= values[0] > 0.5
    return hidden.view(height, width)


def follow(surfaces: Sequence[Surface], seen: Tensor, moments: Sequence[int]) -> tuple[FloatArray, BoolArray]:
    """Where what is seen at each moment but the last is at the next.

    Args:
        surfaces: as in `draw`.
        seen: (T, H, W) as `draw` gave it for these moments.
        moments: T of them.

    Returns:
        flow (T-1, 2, H, W) float32 px, and visible (T-1, H, W) bool: the point is inside the picture then
        (its place lies within 0..W-1, 0..H-1) and nothing in front covers it by more than half.
    """
    _, height, width = seen.shape
    all_x, all_y = (
        torch.arange(width, dtype=torch.float32),
        torch.arange(height, dtype=torch.float32)[:, None],
    )
    flow = torch.zeros(len(moments) - 1, 2, height, width)
    visible = torch.zeros(len(moments) - 1, height, width, dtype=torch.bool)
    covers = [torch.from_numpy(surface.tile[3:]) for surface in surfaces]
    for t, (moment, later) in enumerate(pairwise(moments)):
        for number, surface in enumerate(surfaces):
            rows, columns = surface.box(moment, height, width)
            mask = seen[t, rows, columns] == number
            if not mask.any() or surface.rests(moment, later):
                continue
            x, y = all_x[columns], all_y[rows]
            there_x, there_y = _followed(surface, moment, later, x, y)
            step = torch.stack([there_x - x, there_y - y])
            flow[t, :, rows, columns] = torch.where(mask, step, flow[t, :, rows, columns])
        there_x, there_y = flow[t, 0] + all_x, flow[t, 1] + all_y
        inside = (there_x >= 0) & (there_x <= width - 1) & (there_y >= 0) & (there_y <= height - 1)
        visible[t] = inside & ~_hidden(surfaces, covers, later, seen[t], torch.stack([there_x, there_y]))
    return flow.numpy(), visible.numpy()

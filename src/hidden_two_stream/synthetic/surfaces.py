"""The kinds of surface: sheets and patches that keep their form, and warped surfaces that may bend.

Conventions: those of `scene`. q is a point on a surface, in pixels at scale 1; q = 0 is its center, texel
n // 2 of a texture with n texels a side. Textures have `DENSITY` texels per pixel. An opaque texture has 3
channels, any other has its cover in a 4th. `offset`, `center` and `turn` of sheets and patches are complex
numbers x + iy, so a growing angle turns clockwise on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.scene import Box, span
from hidden_two_stream.synthetic.textures import DENSITY
from hidden_two_stream.types import FloatArray

__all__ = ["Bending", "Patch", "Placement", "Sheet", "WarpedSurface"]

Texels = npt.NDArray[np.intp]

_TOLERANCE_PX = 0.002  # of the flow of bending surfaces


def _corners(texture: FloatArray, column: Texels, row: Texels) -> list[FloatArray]:
    """Return the texel (row, column) and its neighbors to the right, below and diagonal, each (C, ...)."""
    flat, width = texture.reshape(len(texture), -1), texture.shape[2]
    index = row * width + column
    return [np.take(flat, index + step, axis=1) for step in (0, 1, width, width + 1)]


@dataclass(frozen=True)
class Sheet:
    """A surface that fills the frame and only shifts.

    Attributes:
        texture: (3, n, n), or (4, n, n) with cover.
        margin: pixels by which the texture reaches beyond the frame on each side.
        offset: (M,) how far the sheet is shifted at each moment, in pixels; less than the margin.
    """

    texture: FloatArray
    margin: int
    offset: Complex

    def box(self, moment: int, height: int, width: int) -> Box:  # noqa: ARG002 (a sheet is everywhere)
        """Return the whole frame."""
        return slice(0, height), slice(0, width)

    def rests(self, moment: int, later: int) -> bool:
        """Return whether the sheet looks the same at both moments."""
        return bool(self.offset[moment] == self.offset[later])

    def sample(self, moment: int, x: Reals, y: Reals) -> FloatArray:
        """Return (C, ...) bilinear values at places (x, y) in the frame."""
        offset = complex(self.offset[moment])
        (column, fx), (row, fy) = self._texels(x, offset.real), self._texels(y, offset.imag)
        upper_left, upper_right, lower_left, lower_right = _corners(self.texture, column, row)
        left = upper_left + fy * (lower_left - upper_left)
        right = upper_right + fy * (lower_right - upper_right)
        return np.asarray(left + fx * (right - left), np.float32)

    def _texels(self, places: Reals, offset: float) -> tuple[Texels, FloatArray]:
        """Return the texel before each place along an axis, and the fraction of the way to the next one."""
        start = DENSITY * (self.margin - offset)
        steps = DENSITY * places.astype(np.float64)
        # Kept apart from the whole part, the fraction is exactly the same at all pixel centers.
        fraction = (start - math.floor(start)) + (steps - np.floor(steps))
        carry = np.floor(fraction)
        whole = math.floor(start) + np.floor(steps) + carry
        return whole.astype(np.intp), (fraction - carry).astype(np.float32)

    def follow(self, moment: int, later: int, x: Reals, y: Reals) -> tuple[Reals, Reals]:
        """Return the places at `later` of the points that are at (x, y) at `moment`."""
        here, there = self.offset[moment], self.offset[later]
        return there.real + (x - here.real), there.imag + (y - here.imag)


@dataclass(frozen=True)
class Patch:
    """A sprite that shifts, turns and grows: its point q is at center + turn * q.

    Attributes:
        texture: (4, n, n) color and cover; n is odd, and the cover is 0 at the rim.
        center: (M,) where q = 0 is at each moment, in pixels.
        turn: (M,) scale * exp(i angle).
    """

    texture: FloatArray
    center: Complex
    turn: Complex

    def box(self, moment: int, height: int, width: int) -> Box:
        """Return the pixels that the turned sprite can reach."""
        center, scale = self.center[moment], abs(self.turn[moment])
        reach = (self.texture.shape[2] - 1) / 2 / DENSITY * scale
        return span(center.imag, reach, height), span(center.real, reach, width)

    def rests(self, moment: int, later: int) -> bool:
        """Return whether the patch looks the same at both moments."""
        return all(bool(path[moment] == path[later]) for path in (self.center, self.turn))

    def sample(self, moment: int, x: Reals, y: Reals) -> FloatArray:
        """Return (4, ...) bilinear values at places (x, y)."""
        n = self.texture.shape[2]
        q = (x.astype(np.float64) + 1j * y - self.center[moment]) / self.turn[moment]
        u, v = (np.clip(part * DENSITY + (n - 1) / 2, 0, n - 1.001) for part in (q.real, q.imag))
        column, row = u.astype(np.intp), v.astype(np.intp)
        fx, fy = (u - column).astype(np.float32), (v - row).astype(np.float32)
        upper_left, upper_right, lower_left, lower_right = _corners(self.texture, column, row)
        upper = upper_left * (1 - fx) + upper_right * fx
        lower = lower_left * (1 - fx) + lower_right * fx
        return np.asarray(upper + fy * (lower - upper), np.float32)

    def follow(self, moment: int, later: int, x: Reals, y: Reals) -> tuple[Reals, Reals]:
        """Return the places at `later` of the points that are at (x, y) at `moment`."""
        ratio = self.turn[later] / self.turn[moment]
        there = self.center[later] + ratio * (x.astype(np.float64) + 1j * y - self.center[moment])
        return there.real, there.imag


# -- surfaces that may bend ------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """An affine map at each of M moments: p = matrix u + center.

    Attributes:
        matrix: (M, 2, 2) turn, scale and shear.
        center: (M, 2) where u = 0 is, in pixels.
    """

    matrix: Reals
    center: Reals

    def compose(self, inner: Placement) -> Placement:
        """Return the map that applies `inner` first and this one second."""
        moved = np.einsum("mij,mj->mi", self.matrix, inner.center)
        return Placement(self.matrix @ inner.matrix, self.center + moved)


@dataclass(frozen=True)
class Bending:
    """A displacement field of K waves: w(u) = sum_k amplitude_k sin(frequency_k . u + phase_k).

    Attributes:
        amplitude: (K, 2) pixels.
        frequency: (K, 2) radians per pixel.
        phase: (K, M) radians, at each moment.
    """

    amplitude: Reals
    frequency: Reals
    phase: Reals

    @property
    def steepness(self) -> float:
        """Upper bound of the slope of w; below 1 the surface doesn't fold."""
        return float((np.linalg.norm(self.amplitude, axis=1) * np.linalg.norm(self.frequency, axis=1)).sum())

    @property
    def reach(self) -> float:
        """Upper bound of the length of w, in pixels."""
        return float(np.linalg.norm(self.amplitude, axis=1).sum())

    def displacement(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return both components of w at places u = (x, y)."""
        shift_x = shift_y = torch.zeros(())
        for (ax, ay), (fx, fy), phase in zip(
            self.amplitude.tolist(), self.frequency.tolist(), self.phase[:, moment].tolist(), strict=True
        ):
            wave = torch.sin(fx * x + (fy * y + phase))
            shift_x, shift_y = shift_x + ax * wave, shift_y + ay * wave
        return shift_x, shift_y

    def iterations(self, moment: int, later: int) -> int:
        """Return after how many steps `WarpedSurface.follow` is within `_TOLERANCE_PX`."""
        change = np.abs(2 * np.sin((self.phase[:, later] - self.phase[:, moment]) / 2))
        first = float((np.linalg.norm(self.amplitude, axis=1) * change).sum()) / (1 - self.steepness)
        if first <= _TOLERANCE_PX:
            return 1
        return 1 + math.ceil(math.log(_TOLERANCE_PX / first) / math.log(self.steepness))


@dataclass(frozen=True)
class WarpedSurface:
    """A background that repeats, or a sprite, under an affine map, and bent by waves.

    At moment m, u = matrix_m^-1 (p - center_m) is the place on the flat surface and q = u + w_m(u) the point
    that is seen there. At another moment n the same point is at p' = matrix_n u' + center_n, where u' solves
    u' + w_n(u') = q. The iteration u' <- q - w_n(u') converges by the factor `Bending.steepness` per step.

    Attributes:
        texture: (3, n, n) of a background, or (4, n, n) color and cover of a sprite; n is even, and the cover
            is 0 at the rim.
        placement: where the surface is.
        bending: how the surface bends; None if it doesn't.
    """

    texture: FloatArray
    placement: Placement
    bending: Bending | None = None

    @property
    def repeats(self) -> bool:
        """Whether the surface is a background."""
        return len(self.texture) == 3

    @cached_property
    def _texels(self) -> Tensor:
        """The texture; a background's with its first row and column repeated at the end."""
        if self.repeats:
            return torch.from_numpy(np.pad(self.texture, ((0, 0), (0, 1), (0, 1)), "wrap"))
        return torch.from_numpy(self.texture)

    def box(self, moment: int, height: int, width: int) -> Box:
        """Return the pixels that the surface can reach."""
        if self.repeats:
            return slice(0, height), slice(0, width)
        reach = self.texture.shape[-1] / 2 / DENSITY
        if self.bending is not None:
            reach += self.bending.reach
        (a, b), (c, d) = self.placement.matrix[moment].tolist()
        center_x, center_y = self.placement.center[moment].tolist()
        return (
            span(center_y, (abs(c) + abs(d)) * reach, height),
            span(center_x, (abs(a) + abs(b)) * reach, width),
        )

    def rests(self, moment: int, later: int) -> bool:
        """Return whether the surface looks the same at both moments."""
        parts = (self.placement.matrix, self.placement.center)
        return self.bending is None and all(np.array_equal(part[moment], part[later]) for part in parts)

    def sample(self, moment: int, x: Reals, y: Reals) -> FloatArray:
        """Return (C, ...) bilinear values at places (x, y); zero outside a sprite."""
        column, row = (
            q * DENSITY + self.texture.shape[-1] / 2
            for q in self._bent(moment, *self._flat(moment, torch.from_numpy(x), torch.from_numpy(y)))
        )
        if self.repeats:
            n = self.texture.shape[-1]
            column, row = torch.remainder(column, n), torch.remainder(row, n)
        # grid_sample, align_corners=False: texel i lies at (2 i + 1) / size - 1
        grid = torch.stack(torch.broadcast_tensors(column, row), dim=-1)
        grid.mul_(2).add_(1).div_(self._texels.shape[-1]).sub_(1)
        values = functional.grid_sample(
            self._texels[None], grid.view(1, -1, grid.shape[-2], 2), align_corners=False
        )
        return values.view(len(self.texture), *grid.shape[:-1]).numpy()

    def follow(self, moment: int, later: int, x: Reals, y: Reals) -> tuple[Reals, Reals]:
        """Return the places at `later` of the points that are at (x, y) at `moment`."""
        if self.rests(moment, later):
            return x, y
        ux, uy = self._flat(moment, torch.from_numpy(x), torch.from_numpy(y))
        if self.bending is not None:
            qx, qy = self._bent(moment, ux, uy)
            for _ in range(self.bending.iterations(moment, later)):
                shift_x, shift_y = self.bending.displacement(later, ux, uy)
                ux, uy = qx - shift_x, qy - shift_y
        (a, b), (c, d) = self.placement.matrix[later].tolist()
        center_x, center_y = self.placement.center[later].tolist()
        return (a * ux + b * uy + center_x).numpy(), (c * ux + d * uy + center_y).numpy()

    def _flat(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return u of places p = (x, y)."""
        (a, b), (c, d) = self.placement.matrix[moment].tolist()
        center_x, center_y = self.placement.center[moment].tolist()
        determinant = a * d - b * c
        dx, dy = (x - center_x) / determinant, (y - center_y) / determinant
        return d * dx - b * dy, a * dy - c * dx

    def _bent(self, moment: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return q of places u = (x, y)."""
        if self.bending is None:
            return x, y
        shift_x, shift_y = self.bending.displacement(moment, x, y)
        return x + shift_x, y + shift_y

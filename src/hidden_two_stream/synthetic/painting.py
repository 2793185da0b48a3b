"""Fast drawing of clips: layers that move before a camera, painted over each other with soft edges.

Convention: light is (C, T, H, W) float32 in 0..1, with one channel (gray) or three. Positions are complex
numbers x + iy in pixels, y down, pixel centers at whole numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.mover_paths import Path
from hidden_two_stream.types import FloatArray

__all__ = ["paint_capsule", "paint_sprite", "seen", "view_of_tile"]

Box = tuple[int, int, int, int]


def seen(camera: Path, center: Complex, size: int) -> Complex:
    """Return where the camera sees places of the scene, (T,)."""
    middle = 0.5 * (size - 1) * (1 + 1j)
    turn = camera.scale * np.exp(1j * camera.angle)
    return np.asarray(middle + camera.center + turn * (center - middle))


def view_of_tile(tile: FloatArray, camera: Path, size: int) -> FloatArray:
    """Return the light (C, T, size, size) of a square tile (C, n, n), one texel per pixel, behind the scene.

    The tile continues beyond its border as in a mirror.
    """
    channels, n = tile.shape[:2]
    num_frames = len(camera.center)
    if not (np.ptp(camera.center) or np.ptp(camera.scale) or np.ptp(camera.angle)):
        edge = (n - size) // 2
        image = tile[:, None, edge : edge + size, edge : edge + size]
        return np.array(np.broadcast_to(image, (channels, num_frames, size, size)), np.float32)
    middle = seen(camera, np.full(num_frames, 0.5 * (size - 1) * (1 + 1j)), size)
    turn = np.exp(-1j * camera.angle) / (camera.scale * 0.5 * n)
    grid = _grid(middle, turn, (0, size, 0, size))
    light = functional.grid_sample(
        torch.from_numpy(tile).expand(num_frames, -1, -1, -1),
        grid,
        padding_mode="reflection",
        align_corners=False,
    )
    return np.ascontiguousarray(light.numpy().transpose(1, 0, 2, 3))


def paint_sprite(light: FloatArray, tile: FloatArray, half_px: float, center: Complex, turn: Complex) -> None:
    """Paint a moving tile over the light, in place.

    Args:
        light: (C, T, H, W).
        tile: (C + 1, n, n); the last channel is its opacity.
        half_px: half of the side of the tile, in pixels, at scale 1.
        center: (T,).
        turn: (T,) scale · exp(i angle).
    """
    reach = half_px * np.abs(turn) + 1
    box = _box(center.real - reach, center.real + reach, center.imag - reach, center.imag + reach, light)
    if box is None:
        return
    grid = _grid(center, 1 / (turn * half_px), box)
    layer = functional.grid_sample(
        torch.from_numpy(tile).expand(len(center), -1, -1, -1),
        grid,
        padding_mode="zeros",
        align_corners=False,
    ).numpy()
    view = _view(light, box)
    alpha = layer[:, -1]
    view *= 1 - alpha
    view += layer[:, :-1].transpose(1, 0, 2, 3)


def paint_capsule(
    light: FloatArray,
    ends: tuple[Complex, Complex],
    radius: Reals,
    color: FloatArray,
    stripes: tuple[float, float, float] | None = None,
) -> None:
    """Paint all places within `radius` of a moving line segment, in place.

    Args:
        light: (C, T, H, W).
        ends: (T,) each.
        radius: (T,).
        color: (C,).
        stripes: (depth, number, phase) of bright and dark bands along the segment.
    """
    start, end = ends
    reach = radius + 1
    box = _box(
        np.minimum(start.real, end.real) - reach,
        np.maximum(start.real, end.real) + reach,
        np.minimum(start.imag, end.imag) - reach,
        np.maximum(start.imag, end.imag) + reach,
        light,
    )
    if box is None:
        return
    x = (np.arange(box[0], box[1]) - start.real[:, None]).astype(np.float32)[:, None, :]
    y = (np.arange(box[2], box[3]) - start.imag[:, None]).astype(np.float32)[:, :, None]
    along = end - start
    length = np.maximum(np.square(np.abs(along)), 1e-3).astype(np.float32)[:, None, None]
    ax, ay = (part.astype(np.float32)[:, None, None] for part in (along.real, along.imag))
    dot = x * ax + y * ay
    share = np.clip(dot / length, 0, 1)
    distance = share * length
    distance -= 2 * dot
    distance *= share
    distance += x * x + y * y
    alpha = np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
    np.subtract((radius + 0.5).astype(np.float32)[:, None, None], alpha, out=alpha)
    np.clip(alpha, 0, 1, out=alpha)
    view = _view(light, box)
    view *= 1 - alpha
    if stripes is not None:
        depth, number, phase = (np.float32(value) for value in stripes)
        share *= number
        share += phase
        np.sin(share, out=share)
        share *= depth
        share += 1
        alpha *= share
    view += color[:, None, None, None] * alpha


def _grid(center: Complex, turn: Complex, box: Box) -> torch.Tensor:
    """Return the sampling grid (T, h, w, 2): (place - center) · turn, for the pixels of a box."""
    x = np.arange(box[0], box[1]) - center.real[:, None]
    y = np.arange(box[2], box[3]) - center.imag[:, None]
    u, v = turn.real[:, None], turn.imag[:, None]
    grid = np.empty((len(center), y.shape[1], x.shape[1], 2), np.float32)
    np.add((u * x)[:, None, :], (-v * y)[:, :, None], out=grid[..., 0], casting="same_kind")
    np.add((v * x)[:, None, :], (u * y)[:, :, None], out=grid[..., 1], casting="same_kind")
    return torch.from_numpy(grid)


def _box(left: Reals, right: Reals, top: Reals, bottom: Reals, light: FloatArray) -> Box | None:
    """Return the part of the frame, x0, x1, y0, y1, that holds these edges in all frames; None: nothing."""
    height, width = light.shape[2:]
    x0, x1 = max(0, math.floor(left.min())), min(width, math.ceil(right.max()) + 1)
    y0, y1 = max(0, math.floor(top.min())), min(height, math.ceil(bottom.max()) + 1)
    return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None


def _view(light: FloatArray, box: Box) -> FloatArray:
    return light[:, :, box[2] : box[3], box[0] : box[1]]

"""Points and boxes carried along by a flow, with a forward-backward check.

Convention: a place (x, y) is in px of the video, pixel centers at whole numbers, so that a frame of W columns
reaches from −0.5 to W − 0.5. A flow may have a coarser grid than the video; its vectors are read between its
grid points and scaled to px of the video. A box (x, y, w, h) covers the columns x to x + w − 1 and the rows y
to y + h − 1.

References:
    Points: Sundaram, Brox, Keutzer, Dense Point Trajectories by GPU-Accelerated Large Displacement Optical
        Flow, ECCV 2010. Their second test, at motion boundaries, is left out: a user chose these points.
    Boxes: Kalal, Mikolajczyk, Matas, Forward-Backward Error: Automatic Detection of Tracking Failures,
        ICPR 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import UsageError
from hidden_two_stream.types import FloatArray

__all__ = [
    "GRID_SIDE",
    "KEPT_SHARE",
    "RELATIVE_TOLERANCE",
    "SMALLEST_BOX_PX",
    "TOLERANCE_PX2",
    "BoxStep",
    "PointStep",
    "box_grid",
    "follow_points",
    "inside_frame",
    "sample_flow",
    "step_box",
    "step_points",
]

Places = npt.NDArray[np.float64]
"""(N, 2): x and y of each point, px."""
Bools = npt.NDArray[np.bool_]
Size = tuple[int, int]
"""(height, width) of a frame, px."""

RELATIVE_TOLERANCE = 0.01
"""Part of the threshold on a squared forward-backward error that grows with the squared motion."""
TOLERANCE_PX2 = 0.5
"""Constant part of the threshold, in px² of the frames that the flow was estimated on."""

GRID_SIDE = 10
"""A box is followed by a grid of this many points along each side."""
KEPT_SHARE = 0.5
"""Share of a box's points that decide its motion, and that must pass the check."""
SMALLEST_BOX_PX = 1
"""Smallest side of a box, px."""


@dataclass(frozen=True, eq=False)
class PointStep:
    """Where a flow leads points.

    Attributes:
        points: (N, 2) their new places, px.
        errors_px: (N,) forward-backward error: how far from its start a point ends after both flows.
        consistent: (N,) whether the error is below the threshold and the new place inside the frame.
    """

    points: Places
    errors_px: npt.NDArray[np.float64]
    consistent: Bools


@dataclass(frozen=True)
class BoxStep:
    """Where a flow leads a box.

    Attributes:
        box: its new x, y, w, h, px.
        error_px: median forward-backward error of its points; NaN if all of them left the frame.
        consistent: whether at least `KEPT_SHARE` of its points passed the check of `step_points`, and its
            sides have at least `SMALLEST_BOX_PX`.
    """

    box: tuple[float, float, float, float]
    error_px: float
    consistent: bool


def inside_frame(points: Places, size: Size) -> Bools:
    """Return (N,): whether points (N, 2) lie in a frame of size (height, width)."""
    height, width = size
    x, y = points[:, 0], points[:, 1]
    return np.asarray((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


def sample_flow(flow: FloatArray, points: Places, size: Size) -> Places:
    """Return the flow at points of the video, px of the video.

    Bilinear between the centers of the flow's grid, with `align_corners=False`. At pixel centers the result
    is that of `motion.flow.resize_flow`. Beyond the outermost centers, the nearest values continue.

    Args:
        flow: (2, h, w) px of its own grid; channel 0 is u (right), channel 1 is v (down).
        points: (N, 2) px of the video.
        size: (height, width) of the video.

    Returns:
        (N, 2) float64: u and v of each point.

    Raises:
        UsageError: the flow or the points have another shape.
    """
    if flow.ndim != 3 or flow.shape[0] != 2 or points.ndim != 2 or points.shape[1] != 2:
        raise UsageError(
            f"got a flow of shape {flow.shape} and points of shape {points.shape}; expected (2, h, w) and "
            "(N, 2)"
        )
    rows, columns = flow.shape[1:]
    down, across = size[0] / rows, size[1] / columns
    x = np.clip((points[:, 0] + 0.5) / across - 0.5, 0, columns - 1)
    y = np.clip((points[:, 1] + 0.5) / down - 0.5, 0, rows - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx, fy = x - left, y - top
    upper = flow[:, top, left] * (1 - fx) + flow[:, top, right] * fx
    lower = flow[:, bottom, left] * (1 - fx) + flow[:, bottom, right] * fx
    vectors = upper * (1 - fy) + lower * fy
    return np.stack((vectors[0] * across, vectors[1] * down), axis=1)


def step_points(
    points: Places, forward: FloatArray, backward: FloatArray, size: Size, unit_px: float = 1.0
) -> PointStep:
    """Move points along a flow, and check the step by the flow back.

    Let w be the forward flow at a point, and b the backward flow at the place it leads to. The step is
    consistent if |w + b|² < 0.01 (|w|² + |b|²) + 0.5 (Sundaram et al., section 3).

    Args:
        points: (N, 2) px of the video at t.
        forward: (2, h, w) flow t → t+1, px of its own grid.
        backward: (2, h, w) flow t+1 → t.
        size: (height, width) of the video.
        unit_px: px of the video per px of the frames that the flow was estimated on. The constant part of the
            threshold is in px² of those frames, because a flow is not more exact than they are.
    """
    there = sample_flow(forward, points, size)
    moved = points + there
    back = sample_flow(backward, moved, size)
    squared = np.square(there + back).sum(axis=1)
    motion = np.square(there).sum(axis=1) + np.square(back).sum(axis=1)
    threshold = RELATIVE_TOLERANCE * motion + TOLERANCE_PX2 * unit_px**2
    consistent = (squared < threshold) & inside_frame(moved, size)
    return PointStep(moved, np.sqrt(squared), consistent)


def follow_points(
    points: Places, forward: FloatArray, backward: FloatArray, size: Size, unit_px: float = 1.0
) -> tuple[Places, Bools]:
    """Follow points through all flows of a clip, also beyond a failed check.

    Args:
        points: (N, 2) px of the video in the first frame.
        forward: (T−1, 2, h, w), t → t+1.
        backward: (T−1, 2, h, w), t+1 → t.
        size, unit_px: as for `step_points`.

    Returns:
        Places (T, N, 2), and whether all checks up to each frame were passed (T, N).
    """
    places, visible = [np.asarray(points, np.float64)], [inside_frame(points, size)]
    for there, back in zip(forward, backward, strict=True):
        step = step_points(places[-1], there, back, size, unit_px)
        places.append(step.points)
        visible.append(visible[-1] & step.consistent)
    return np.stack(places), np.stack(visible)


def box_grid(box: tuple[float, float, float, float]) -> Places:
    """Return the `GRID_SIDE`² points that follow a box: the centers of its cells, (N, 2) px."""
    x, y, w, h = box
    shares = (np.arange(GRID_SIDE) + 0.5) / GRID_SIDE
    across, down = np.meshgrid(x - 0.5 + w * shares, y - 0.5 + h * shares)
    return np.stack((across.ravel(), down.ravel()), axis=1)


def step_box(
    box: tuple[float, float, float, float],
    forward: FloatArray,
    backward: FloatArray,
    size: Size,
    unit_px: float = 1.0,
) -> BoxStep:
    """Move and scale a box along a flow: the median-flow tracker of Kalal et al.

    The points of `box_grid` inside the frame move along the flow. The half with the larger forward-backward
    errors is dropped. The scale is the median ratio of the distances between pairs of points after and before
    the step. The motion is the median of the points' motion, less what the scale explains. (The reference
    takes the median of the whole motion, which shifts a growing box if the kept points lie on one side of its
    center.)

    Args:
        box: x, y, w, h, px of the video.
        forward, backward, size, unit_px: as for `step_points`.
    """
    grid = box_grid(box)
    grid = grid[inside_frame(grid, size)]
    if not len(grid):
        return BoxStep(box, float("nan"), False)
    step = step_points(grid, forward, backward, size, unit_px)
    median_error = float(np.median(step.errors_px))
    kept = step.errors_px <= median_error
    before, after = grid[kept], step.points[kept]
    scale = _scale(before, after)
    x, y, w, h = box
    center = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
    center = center + np.median(after - before - (scale - 1) * (before - center), axis=0)
    w, h = scale * w, scale * h
    moved = (float(center[0] - (w - 1) / 2), float(center[1] - (h - 1) / 2), w, h)
    consistent = int(step.consistent.sum()) >= KEPT_SHARE * GRID_SIDE**2 and min(w, h) >= SMALLEST_BOX_PX
    return BoxStep(moved, median_error, consistent)


def _scale(before: Places, after: Places) -> float:
    """Return the median ratio of the distances between points after and before a step; 1 for one point."""
    first, second = np.triu_indices(len(before), 1)
    if not len(first):
        return 1.0
    lengths = [np.linalg.norm(places[first] - places[second], axis=1) for places in (after, before)]
    return float(np.median(lengths[0] / lengths[1]))

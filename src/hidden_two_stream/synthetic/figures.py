"""Figures in a scene: how they look, where they stand, and how they are painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.clock import Clock
from hidden_two_stream.synthetic.draws import chance
from hidden_two_stream.synthetic.figure_motion import FigureMotion, restless
from hidden_two_stream.synthetic.library_look import Look, color
from hidden_two_stream.synthetic.mover_paths import Path
from hidden_two_stream.synthetic.painting import paint_capsule, seen
from hidden_two_stream.synthetic.skeleton import Body, draw_body, joints, project
from hidden_two_stream.types import FloatArray

__all__ = ["Figure", "draw_figure", "figure_of", "paint_figure", "steady_travel"]

# part: (from, to, radius in body heights, piece of clothing)
_PARTS: dict[str, tuple[str, str, float, str]] = {
    **{
        f"{name}_{side}": (f"{start}_{side}", f"{end}_{side}", radius, wear)
        for side in "lr"
        for name, start, end, radius, wear in (
            ("thigh", "hip", "knee", 0.048, "trousers"),
            ("shank", "knee", "ankle", 0.036, "trousers"),
            ("foot", "ankle", "toe", 0.026, "shoes"),
            ("trunk", "shoulder", "hip", 0.0, "shirt"),
            ("upper_arm", "shoulder", "elbow", 0.034, "shirt"),
            ("forearm", "elbow", "hand", 0.028, "sleeves"),
        )
    },
    "trunk": ("neck", "pelvis", 0.0, "shirt"),
    "head": ("chin", "head", 0.0, "skin"),
}


_MARGIN = 0.08
"""Radius of the head or of the trunk around the outermost joint, in body heights."""


@dataclass(frozen=True)
class Figure:
    """A figure that moves in a scene.

    Attributes:
        ends: by part, the two ends, (T,) complex pixels each, in the order in which they are painted.
        radii: by part, (T,) pixels.
        path: (T,) the place of its pelvis.
    """

    ends: dict[str, tuple[Complex, Complex]]
    radii: dict[str, Reals]
    path: Complex


def draw_figure(clock: Clock, motion: FigureMotion, size: int, look: Look, follow: bool) -> Figure:
    """Return a figure of random size, place, proportions and view, that makes the movement.

    Args:
        clock: source of randomness and time.
        motion: the movement.
        size: side of the frame, pixels.
        look: style; a coarse sensor sees no small figures.
        follow: the camera goes along, so the figure's travel needs no room in the frame.
    """
    body = draw_body(clock.rng)
    pose = restless(clock, motion.pose(clock))
    points = joints(pose, body, clock.num_frames)
    growth = np.broadcast_to(np.asarray(pose.growth), clock.num_frames)
    return figure_of(clock, points, body, _yaw(clock, motion.view), size, look, growth=growth, follow=follow)


def figure_of(
    clock: Clock,
    points: dict[str, Reals],
    body: Body,
    yaw: float,
    size: int,
    look: Look,
    *,
    growth: Reals | float = 1.0,
    follow: bool = False,
) -> Figure:
    """Return a figure with these joints, at a random place and of a random size in the frame.

    Args:
        clock: source of randomness and time.
        points: joints by name, (T, 3) in body heights, see `skeleton.joints`.
        body: proportions.
        yaw: angle of view in degrees, see `skeleton.project`.
        size: side of the frame, pixels.
        look: style; a coarse sensor sees no small figures.
        growth: (T,) relative size of its limbs.
        follow: the camera goes along, so the figure's travel needs no room in the frame.
    """
    view, depths = project(points, yaw, clock.between(0, 14))
    travel = steady_travel(view["pelvis"]) if follow else 0.0
    spots = np.stack([places - travel for places in view.values()])
    smallest = 0.5 if look.grid else 0.25
    height, shift = _placed(clock, spots, size, smallest)
    order = sorted(_PARTS, key=lambda part: _depth(part, depths))
    sizes = np.broadcast_to(np.asarray(growth, np.float64), clock.num_frames)
    places = {name: np.asarray(shift + height * spot) for name, spot in view.items()}
    return Figure(
        {part: (places[_PARTS[part][0]], places[_PARTS[part][1]]) for part in order},
        {part: height * sizes * _radius(part, body) for part in order},
        places["pelvis"],
    )


def steady_travel(path: Complex) -> Reals:
    """Return the steady part of a horizontal travel, (T,); 0 in the middle of the clip."""
    return np.asarray(np.linspace(-0.5, 0.5, len(path)) * (path[-1].real - path[0].real))


def _placed(clock: Clock, spots: Complex, size: int, smallest: float) -> tuple[float, complex]:
    """Return the height of a figure and the place of its origin, in pixels.

    Args:
        clock: source of randomness.
        spots: (joints, T) in body heights.
        size: side of the frame, pixels.
        smallest: height, as a share of the frame. A figure that needs more room than the frame is smaller.
    """
    low = complex(spots.real.min(), spots.imag.min()) - _MARGIN * (1 + 1j)
    extent = complex(spots.real.max(), spots.imag.max()) + _MARGIN * (1 + 1j) - low
    height = clock.between(smallest, 0.95) * size
    height = min(height, 1.1 * size / extent.real, 0.98 * size / extent.imag)
    free = size * (1 + 1j) - height * extent
    corner = [clock.between(min(0.0, room), max(0.0, room)) for room in (free.real, free.imag)]
    return height, complex(*corner) - height * low


def _yaw(clock: Clock, view: str) -> float:
    """Return an angle of view, in degrees; see `project`."""
    kind = str(clock.rng.choice(["side", "front"], p=[0.6, 0.4])) if view == "any" else view
    turn = clock.between(-30, 30) if chance(clock.rng, 0.75) else clock.between(-55, 55)
    start = {"side": (0.0, 180.0), "front": (90.0, -90.0)}[kind]
    return start[int(chance(clock.rng, 0.5))] + turn


def _depth(part: str, depths: dict[str, float]) -> float:
    start, end = _PARTS[part][:2]
    front = 0.02 if part == "head" else 0.0
    return 0.5 * (depths[start] + depths[end]) + front


def _radius(part: str, body: Body) -> float:
    if part == "head":
        return body.head * 0.95
    if part.startswith("trunk"):
        return body.trunk
    return _PARTS[part][2] * body.limb


def paint_figure(
    rng: np.random.Generator, light: FloatArray, figure: Figure, look: Look, camera: Path, level: float
) -> None:
    """Paint a figure in random clothes over the light, in place."""
    size = light.shape[-1]
    spread = 0.25 * abs(look.front - look.ground)
    wear = {name: color(rng, look, level, spread) for name in ("trousers", "shirt", "shoes", "skin")}
    wear["sleeves"] = wear["skin"] if chance(rng, 0.4) else wear["shirt"]
    striped = chance(rng, 0.4)
    depth = rng.uniform(0.05, 0.4)
    for number, (part, ends) in enumerate(figure.ends.items()):
        shade = np.float32(1 - 0.15 * (1 - number / len(figure.ends)))  # what is further back is darker
        stripes = (depth, rng.uniform(5, 25), rng.uniform(0, 6)) if striped and part != "head" else None
        start, end = (seen(camera, place, size) for place in ends)
        radius = figure.radii[part] * camera.scale
        paint_capsule(light, (start, end), radius, shade * wear[_PARTS[part][3]], stripes)

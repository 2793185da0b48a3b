"""The contents of a scene to learn motion from: its surfaces, and how they and the camera move.

Convention: lengths in `SceneStyle` scale with the frame. Speeds are per frame; tau counts frames from the
middle of the clip.
"""

from __future__ import annotations

import math

import numpy as np

from hidden_two_stream.synthetic.arrays import Reals
from hidden_two_stream.synthetic.draws import Range, chance, log_uniform
from hidden_two_stream.synthetic.scene_style import REFERENCE_SIZE, SceneStyle
from hidden_two_stream.synthetic.shapes import SHAPES, capsule, cover
from hidden_two_stream.synthetic.surfaces import Bending, Placement, WarpedSurface
from hidden_two_stream.synthetic.textures import DENSITY, material, mixed
from hidden_two_stream.types import FloatArray

__all__ = ["stage"]


def stage(
    rng: np.random.Generator, style: SceneStyle, tau: Reals, height: int, width: int
) -> list[WarpedSurface]:
    """Return the surfaces of a random scene, from back to front, on their paths at the moments `tau` (M,)."""
    director = _Director(rng, style, tau, height, width)
    surfaces = [director.background()]
    low, high = style.sprites
    for _ in range(int(rng.integers(low, high + 1))):
        surfaces += director.figure() if chance(rng, style.figures) else director.sprite()
    return surfaces


def _rotations(angle: Reals) -> Reals:
    """Return (M, 2, 2) matrices; a growing angle turns clockwise on the screen."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


class _Director:
    """Draws the surfaces one after the other; holds what the whole scene shares."""

    def __init__(
        self, rng: np.random.Generator, style: SceneStyle, tau: Reals, height: int, width: int
    ) -> None:
        self.rng, self.style, self.tau = rng, style, tau
        self.size = np.array([width, height])
        self.unit = min(height, width) / REFERENCE_SIZE
        self.center = (self.size - 1) / 2
        self.gray = chance(rng, style.gray)
        self.pace = log_uniform(rng, (0.02, 0.1)) if chance(rng, style.calm) else 1.0
        self.camera = self._camera()

    # -- movements ---------------------------------------------------------------------------------

    def _signed_rate(self, bounds: Range) -> float:
        """Return a log-uniform rate of either sign, at the scene's pace."""
        return log_uniform(self.rng, bounds) * float(self.rng.choice([-1, 1])) * self.pace

    def _path(self, speed_px: float) -> Reals:
        """Return (M, 2) shifts at this mean speed, 0 at tau = 0; the path may curve, speed up or swing."""
        rng, tau = self.rng, self.tau
        speed_px *= self.unit * self.pace
        angle = rng.uniform(0, 2 * math.pi)
        ahead = np.array([math.cos(angle), math.sin(angle)])
        path = speed_px * tau[:, None] * ahead
        if chance(rng, self.style.swing):
            if chance(rng, 0.5):
                path = path + 0.5 * np.square(tau)[:, None] * rng.normal(0, 0.08 * speed_px, 2)
            else:
                rate, phase = rng.uniform(0.2, 1.0), rng.uniform(0, 2 * math.pi)
                swing = (np.sin(rate * tau + phase) - math.sin(phase)) / rate
                path = rng.uniform(0, 1) * path + swing[:, None] * rng.normal(0, 0.8 * speed_px, 2)
        return np.asarray(path)

    def _camera(self) -> Placement:
        """Return the map that the camera's movement applies to the world, about the frame's center."""
        rng, style, tau = self.rng, self.style, self.tau
        shift = np.zeros((len(tau), 2))
        if chance(rng, style.pan):
            shift = shift + self._path(log_uniform(rng, style.pan_px))
        if chance(rng, style.shake):
            sway = log_uniform(rng, style.shake_px) * self.unit * self.pace
            for rate in rng.uniform(0.3, 2.2, 4):
                phases = rng.uniform(0, 2 * math.pi, 2)
                shift = shift + sway / math.sqrt(2) * np.sin(rate * tau[:, None] + phases)
        growth = self._signed_rate(style.growth) if chance(rng, style.zoom) else 0.0
        turn = self._signed_rate((0.001, 0.03)) if chance(rng, style.roll) else 0.0
        return Placement(_rotations(turn * tau) * np.exp(growth * tau)[:, None, None], shift)

    def _on_screen(self, own: Placement, parallax: float = 1.0) -> Placement:
        """Return the placement on the screen of a surface placed in the world; `parallax` scales the pan."""
        about = Placement(own.matrix, own.center - self.center)
        moved = Placement(self.camera.matrix, parallax * self.camera.center).compose(about)
        return Placement(moved.matrix, moved.center + self.center)

    def _bending(self, radius: float) -> Bending:
        """Return one to three waves whose slopes and speeds add up to at most those of the style."""
        rng, count = self.rng, int(self.rng.integers(1, 4))
        share = rng.dirichlet(np.ones(count))
        wavelength = radius * rng.uniform(1.2, 4.0, count)
        along, across = rng.uniform(0, 2 * math.pi, (2, count))
        slope = log_uniform(rng, self.style.steepness) * share
        size = slope * wavelength / (2 * math.pi)
        fastest = log_uniform(rng, self.style.bend_speed_px) * self.unit
        rate = min(0.8, fastest / size.sum()) * self.pace
        rates = rate * rng.uniform(0.3, 1.0, count) * rng.choice([-1, 1], count)
        return Bending(
            size[:, None] * np.stack([np.cos(across), np.sin(across)], 1),
            (2 * math.pi / wavelength)[:, None] * np.stack([np.cos(along), np.sin(along)], 1),
            rng.uniform(0, 2 * math.pi, count)[:, None] + rates[:, None] * self.tau,
        )

    # -- surfaces ----------------------------------------------------------------------------------

    def _texture(self, texels: int) -> FloatArray:
        """Return a (3, texels, texels) tile of a random material."""
        rng, style = self.rng, self.style
        kinds, weights = zip(*style.materials, strict=True)
        kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
        blur = log_uniform(rng, (1, 8)) * self.unit if chance(rng, style.blurred) else 0.0
        contrast = log_uniform(rng, style.contrast)
        return material(rng, texels, kind, contrast=contrast, gray=self.gray, blur_px=blur)

    def background(self) -> WarpedSurface:
        """Return a background that fills the frame."""
        rng, still = self.rng, np.zeros(len(self.tau))
        start = rng.uniform(0, 2 * math.pi) if chance(rng, 0.3) else 0.0
        own = Placement(_rotations(still + start), self.center + np.zeros((len(self.tau), 2)))
        bending = self._bending(0.5 * float(self.size.min())) if chance(rng, self.style.bent / 2) else None
        # So wide that the frame never shows a repetition, unless the camera zooms far out.
        texels = 32 * math.ceil(DENSITY * 1.5 * float(self.size.max()) / 32)
        texture = self._texture(texels)
        if chance(rng, self.style.mixed):
            texture = mixed(rng, texture, self._texture(texels))
        return WarpedSurface(texture, self._on_screen(own), bending)

    def _sprite_texture(self, radius: float, shape: str) -> FloatArray:
        """Return (4, n, n) color and cover of a sprite; `shape` is a key of `SHAPES`, or "limb"."""
        rng = self.rng
        n = max(16, 8 * math.ceil(2 * DENSITY * radius / 8))
        axis = (np.arange(n) - n / 2) / (n / 2)
        if shape == "limb":  # from the center to the right
            distance = capsule(axis, axis[:, None], 0.05 + 0j, 0.75 + 0j, rng.uniform(0.12, 0.22))
        else:
            distance = SHAPES[shape](rng, axis, axis[:, None])
        edge = log_uniform(rng, (2, 8)) * self.unit if chance(rng, self.style.soft) else 1.0
        edge = min(edge, 0.1 * radius + 1)
        # The edge ends inside the shape's border, so it doesn't reach the rim of the tile.
        alpha = cover(distance * (n / 2 / DENSITY) - edge / 2, edge)
        return np.concatenate([self._texture(n), alpha[None]])

    def _in_world(self, radius: float) -> Placement:
        """Return the path in the world of a sprite of this radius."""
        rng, style, tau = self.rng, self.style, self.tau
        center = self.size * rng.uniform(0.02, 0.98, 2)
        shear = np.eye(2) + rng.normal(0, 0.15, (2, 2))
        start = rng.uniform(0, 2 * math.pi)
        if chance(rng, style.carried):
            still = _rotations(np.full(len(tau), start)) @ shear
            return Placement(still, center + np.zeros((len(tau), 2)))
        speed = log_uniform(rng, style.rush_px if chance(rng, style.rush) else style.speed_px)
        turn = self._signed_rate(style.turn) * min(1.0, 25 * self.unit / radius) if chance(rng, 0.6) else 0.0
        growth = self._signed_rate(style.growth) if chance(rng, 0.5) else 0.0
        drift = rng.normal(0, 0.006 * self.pace, (2, 2)) if chance(rng, 0.3) else np.zeros((2, 2))
        sheared = shear + tau[:, None, None] * drift
        matrix = _rotations(start + turn * tau) @ sheared * np.exp(growth * tau)[:, None, None]
        return Placement(matrix, center + self._path(speed))

    def sprite(self) -> list[WarpedSurface]:
        """Return one surface of a random shape."""
        rng = self.rng
        radius = log_uniform(rng, self.style.radius_px) * self.unit
        parallax = rng.uniform(1, 1.6)
        texture = self._sprite_texture(radius, str(rng.choice(list(SHAPES))))
        bending = self._bending(radius) if chance(rng, self.style.bent) else None
        return [WarpedSurface(texture, self._on_screen(self._in_world(radius), parallax), bending)]

    def figure(self) -> list[WarpedSurface]:
        """Return a body, and limbs of one or two parts that swing about their joints."""
        rng, style = self.rng, self.style
        radius = max(12.0, log_uniform(rng, style.radius_px)) * self.unit
        parallax, own = rng.uniform(1, 1.6), self._in_world(radius)
        body = self._sprite_texture(radius, str(rng.choice(["ellipse", "bar", "blob"])))
        bending = self._bending(radius) if chance(rng, style.bent) else None
        surfaces = [WarpedSurface(body, self._on_screen(own, parallax), bending)]
        for _ in range(int(rng.integers(2, 5))):
            length = radius * rng.uniform(0.5, 1.1)
            side = rng.uniform(0, 2 * math.pi)
            joint = 0.35 * radius * np.array([math.cos(side), math.sin(side)])
            parent, angle = own, side
            for _ in range(int(rng.integers(1, 3))):
                inner = Placement(
                    _rotations(angle + self._swinging(length)), joint + np.zeros((len(self.tau), 2))
                )
                parent = parent.compose(inner)
                limb = self._sprite_texture(length, "limb")
                surfaces.append(WarpedSurface(limb, self._on_screen(parent, parallax)))
                joint, length = np.array([0.7 * length, 0.0]), 0.8 * length
                angle = rng.uniform(-1.2, 1.2)
        return surfaces

    def _swinging(self, length: float) -> Reals:
        """Return (M,) angles of a limb whose tip moves at up to 6 px per frame."""
        rng = self.rng
        rate = rng.uniform(0.15, 0.9)
        fastest = log_uniform(rng, (0.1, 6)) * self.unit * self.pace
        size = min(1.0, fastest / (rate * length))
        return np.asarray(size * np.sin(rate * self.tau + rng.uniform(0, 2 * math.pi)))

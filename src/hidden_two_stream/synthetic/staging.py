"""What happens in a generated scene: which surfaces there are, and how they and the camera move.

Convention: lengths in `SceneStyle` are pixels of a picture whose shorter side is `REFERENCE_SIZE`; they scale
with the picture. Speeds are per frame, tau counts frames from the middle of the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hidden_two_stream.synthetic.materials import (
    DENSITY,
    Range,
    Reals,
    chance,
    log_uniform,
    material,
    mixed,
)
from hidden_two_stream.synthetic.shapes import SHAPES, capsule, cover
from hidden_two_stream.synthetic.surfaces import Bending, Placement, Surface

__all__ = ["REFERENCE_SIZE", "SceneStyle", "stage"]

REFERENCE_SIZE = 160


@dataclass(frozen=True)
class SceneStyle:
    """Ranges from which scenes are drawn: (low, high), log-uniform, where low 0 gives high; or a part, 0..1.

    Attributes:
        sprites: fewest and most sprites; a figure of several limbs counts as one.
        radius_px: size of a sprite, from its middle to its rim.
        figures: part of the sprites that are a body with limbs that swing at their joints.
        carried: part of the sprites without a movement of their own: the camera alone moves them.
        speed_px: speed of a sprite.
        rush: part of the sprites that are `rush_px` fast instead.
        rush_px: their speed.
        turn: radians per frame.
        growth: logarithm of the growth per frame, of either sign.
        swing: part of the movements that also accelerate or swing.
        calm: part of the scenes whose movements are 10 to 50 times slower.
        bent: part of the sprites, and half that part of the backgrounds, that bend with time.
        steepness: slope of the bending.
        bend_speed_px: largest speed that bending adds.
        pan: part of the scenes whose camera pans.
        pan_px: its speed.
        zoom: part of the scenes whose camera zooms.
        roll: part of the scenes whose camera turns about its axis.
        shake: part of the scenes whose camera is held by hand.
        shake_px: standard deviation of its place.
        materials: how often each of `materials.MATERIALS` is drawn, relative to each other.
        mixed: part of the backgrounds that are of two materials.
        contrast: standard deviation of a surface's texture, of 1.
        grey: part of the scenes that are (nearly) grey.
        blurred: part of the surfaces that are blurred, by 1 to 8 px.
        soft: part of the sprites with a soft edge, 2 to 8 px wide; others have one of 1 px.
        shadows: part of the scenes with a soft shadow or a spot of light that moves.
        lights: part of the scenes whose brightness changes.
        flicker: part of the scenes whose brightness flickers.
        exposure: largest change of brightness, as a fraction.
        motion_blur: part of the scenes with motion blur.
        shutter: part of a frame's time for which the shutter is open in those.
        coarse: part of the scenes shot at a smaller size, then enlarged.
        coarseness: by how much.
        noise_sigma: standard deviation of the sensor noise, of 1.
        compressed: part of the scenes that are encoded and decoded.
        mpeg4: part of those that use MPEG-4; the others H.264.
        crf: H.264 quality, uniform.
        quantizer: MPEG-4 quantizer, uniform.
    """

    sprites: tuple[int, int] = (1, 6)
    radius_px: Range = (8, 75)
    figures: float = 0.2
    carried: float = 0.15
    speed_px: Range = (0.05, 12)
    rush: float = 0.03
    rush_px: Range = (12, 20)
    turn: Range = (0.001, 0.15)
    growth: Range = (0.0005, 0.03)
    swing: float = 0.5
    calm: float = 0.12
    bent: float = 0.5
    steepness: Range = (0.03, 0.3)
    bend_speed_px: Range = (0.05, 2.5)
    pan: float = 0.5
    pan_px: Range = (0.1, 8)
    zoom: float = 0.2
    roll: float = 0.12
    shake: float = 0.5
    shake_px: Range = (0.05, 2)
    materials: tuple[tuple[str, float], ...] = (
        ("fractal", 0.28),
        ("leaves", 0.3),
        ("waves", 0.14),
        ("plain", 0.25),
        ("writing", 0.08),
    )
    mixed: float = 0.35
    contrast: Range = (0.015, 0.28)
    grey: float = 0.15
    blurred: float = 0.25
    soft: float = 0.2
    shadows: float = 0.3
    lights: float = 0.4
    flicker: float = 0.08
    exposure: float = 0.2
    motion_blur: float = 0.2
    shutter: tuple[float, float] = (0.3, 1.0)
    coarse: float = 0.3
    coarseness: Range = (1.2, 4)
    noise_sigma: Range = (0.002, 0.06)
    compressed: float = 0.85
    mpeg4: float = 0.35
    crf: tuple[float, float] = (18, 36)
    quantizer: tuple[float, float] = (2, 12)


def stage(rng: np.random.Generator, style: SceneStyle, tau: Reals, height: int, width: int) -> list[Surface]:
    """The surfaces of a scene, from back to front, with their placements at the moments `tau` (M,)."""
    director = _Director(rng, style, tau, height, width)
    surfaces = [director.background()]
    low, high = style.sprites
    for _ in range(int(rng.integers(low, high + 1))):
        surfaces += director.figure() if chance(rng, style.figures) else director.sprite()
    return surfaces


def _rotations(angle: Reals) -> Reals:
    """(M, 2, 2); a growing angle turns clockwise on the screen."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


class _Director:
    """Draws one thing after the other; keeps what the whole scene shares."""

    def __init__(
        self, rng: np.random.Generator, style: SceneStyle, tau: Reals, height: int, width: int
    ) -> None:
        self.rng, self.style, self.tau = rng, style, tau
        self.size = np.array([width, height])
        self.unit = min(height, width) / REFERENCE_SIZE
        self.middle = (self.size - 1) / 2
        self.grey = chance(rng, style.grey)
        self.pace = log_uniform(rng, (0.02, 0.1)) if chance(rng, style.calm) else 1.0
        self.camera = self._camera()

    # -- movements ---------------------------------------------------------------------------------

    def _signed(self, bounds: Range) -> float:
        return log_uniform(self.rng, bounds) * float(self.rng.choice([-1, 1])) * self.pace

    def _path(self, speed_px: float) -> Reals:
        """(M, 2) shift at this mean speed, 0 at tau = 0; may curve, speed up or swing."""
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
        """What the camera's movement does to the world, about the picture's middle."""
        rng, style, tau = self.rng, self.style, self.tau
        shift = np.zeros((len(tau), 2))
        if chance(rng, style.pan):
            shift = shift + self._path(log_uniform(rng, style.pan_px))
        if chance(rng, style.shake):
            sway = log_uniform(rng, style.shake_px) * self.unit * self.pace
            for rate in rng.uniform(0.3, 2.2, 4):
                phases = rng.uniform(0, 2 * math.pi, 2)
                shift = shift + sway / math.sqrt(2) * np.sin(rate * tau[:, None] + phases)
        growth = self._signed(style.growth) if chance(rng, style.zoom) else 0.0
        turn = self._signed((0.001, 0.03)) if chance(rng, style.roll) else 0.0
        return Placement(_rotations(turn * tau) * np.exp(growth * tau)[:, None, None], shift)

    def _seen(self, own: Placement, near: float = 1.0) -> Placement:
        """The placement on the screen of something placed in the world; near things move more in a pan."""
        about = Placement(own.matrix, own.centre - self.middle)
        moved = Placement(self.camera.matrix, near * self.camera.centre).holding(about)
        return Placement(moved.matrix, moved.centre + self.middle)

    def _bending(self, radius: float) -> Bending:
        """A few waves; their slopes and speeds add up to at most those of the style."""
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

    def _tile(self, texels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        rng, style = self.rng, self.style
        kinds, weights = zip(*style.materials, strict=True)
        kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
        blur = log_uniform(rng, (1, 8)) * self.unit if chance(rng, style.blurred) else 0.0
        contrast = log_uniform(rng, style.contrast)
        return material(rng, texels, kind, contrast=contrast, grey=self.grey, blur_px=blur)

    def background(self) -> Surface:
        rng, still = self.rng, np.zeros(len(self.tau))
        start = rng.uniform(0, 2 * math.pi) if chance(rng, 0.3) else 0.0
        own = Placement(_rotations(still + start), self.middle + np.zeros((len(self.tau), 2)))
        bending = self._bending(0.5 * float(self.size.min())) if chance(rng, self.style.bent / 2) else None
        # Wide enough for the picture never to hold the same thing twice, unless far zoomed out.
        texels = 32 * math.ceil(DENSITY * 1.5 * float(self.size.max()) / 32)
        tile = self._tile(texels)
        if chance(rng, self.style.mixed):
            tile = mixed(rng, tile, self._tile(texels))
        return Surface(tile, self._seen(own), bending)

    def _sprite_tile(self, radius: float, shape: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        rng = self.rng
        n = max(16, 8 * math.ceil(2 * DENSITY * radius / 8))
        axis = (np.arange(n) - n / 2) / (n / 2)
        if shape == "limb":  # from the middle to the right
            distance = capsule(axis, axis[:, None], 0.05 + 0j, 0.75 + 0j, rng.uniform(0.12, 0.22))
        else:
            distance = SHAPES[shape](rng, axis, axis[:, None])
        edge = log_uniform(rng, (2, 8)) * self.unit if chance(rng, self.style.soft) else 1.0
        edge = min(edge, 0.1 * radius + 1)
        # The edge ends inside the shape's border, so that it doesn't reach the rim of the tile.
        alpha = cover(distance * (n / 2 / DENSITY) - edge / 2, edge)
        return np.concatenate([self._tile(n), alpha[None]]).astype(np.float32)

    def _own(self, radius: float) -> Placement:
        """A movement in the world of something of this size."""
        rng, style, tau = self.rng, self.style, self.tau
        centre = self.size * rng.uniform(0.02, 0.98, 2)
        shear = np.eye(2) + rng.normal(0, 0.15, (2, 2))
        start = rng.uniform(0, 2 * math.pi)
        if chance(rng, style.carried):
            still = _rotations(np.full(len(tau), start)) @ shear
            return Placement(still, centre + np.zeros((len(tau), 2)))
        speed = log_uniform(rng, style.rush_px if chance(rng, style.rush) else style.speed_px)
        turn = self._signed(style.turn) * min(1.0, 25 * self.unit / radius) if chance(rng, 0.6) else 0.0
        growth = self._signed(style.growth) if chance(rng, 0.5) else 0.0
        drift = rng.normal(0, 0.006 * self.pace, (2, 2)) if chance(rng, 0.3) else np.zeros((2, 2))
        sheared = shear + tau[:, None, None] * drift
        matrix = _rotations(start + turn * tau) @ sheared * np.exp(growth * tau)[:, None, None]
        return Placement(matrix, centre + self._path(speed))

    def sprite(self) -> list[Surface]:
        """One surface of any shape."""
        rng = self.rng
        radius = log_uniform(rng, self.style.radius_px) * self.unit
        near = rng.uniform(1, 1.6)
        tile = self._sprite_tile(radius, str(rng.choice(list(SHAPES))))
        bending = self._bending(radius) if chance(rng, self.style.bent) else None
        return [Surface(tile, self._seen(self._own(radius), near), bending)]

    def figure(self) -> list[Surface]:
        """A body and limbs of one or two parts, each swinging about its joint."""
        rng, style = self.rng, self.style
        radius = max(12.0, log_uniform(rng, style.radius_px)) * self.unit
        near, own = rng.uniform(1, 1.6), self._own(radius)
        body = self._sprite_tile(radius, str(rng.choice(["ellipse", "bar", "blob"])))
        bending = self._bending(radius) if chance(rng, style.bent) else None
        surfaces = [Surface(body, self._seen(own, near), bending)]
        for _ in range(int(rng.integers(2, 5))):
            length = radius * rng.uniform(0.5, 1.1)
            side = rng.uniform(0, 2 * math.pi)
            joint = 0.35 * radius * np.array([math.cos(side), math.sin(side)])
            parent, angle = own, side
            for _ in range(int(rng.integers(1, 3))):
                inner = Placement(
                    _rotations(angle + self._swinging(length)), joint + np.zeros((len(self.tau), 2))
                )
                parent = parent.holding(inner)
                surfaces.append(Surface(self._sprite_tile(length, "limb"), self._seen(parent, near)))
                joint, length = np.array([0.7 * length, 0.0]), 0.8 * length
                angle = rng.uniform(-1.2, 1.2)
        return surfaces

    def _swinging(self, length: float) -> Reals:
        """(M,) angle of a limb; its tip moves at up to 6 px per frame."""
        rng = self.rng
        rate = rng.uniform(0.15, 0.9)
        fastest = log_uniform(rng, (0.1, 6)) * self.unit * self.pace
        size = min(1.0, fastest / (rate * length))
        return np.asarray(size * np.sin(rate * self.tau + rng.uniform(0, 2 * math.pi)))

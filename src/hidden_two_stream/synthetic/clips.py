"""Generated video with exact flow: classes that differ only in motion, for the demo, tests and benchmarks.

A textured patch moves over a textured background. Everything but the motion is drawn independently of the
class, and the motion is centred in time: at the middle of a clip position, size and angle are the same
whatever the class, so no single frame from there can tell it. Sensor noise, camera shake and brightness
changes are part of the picture: on clean clips with a still background an unsupervised flow network never
leaves zero flow.

Convention: positions, scales and angles are those of `scene`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.scene import BoolArray, Surface, complex_normal, draw, exact_flow, exposed
from hidden_two_stream.synthetic.textures import (
    Complex,
    Reals,
    bar_sprite,
    canvas_shape,
    direction,
    patch_sprite,
    texture,
)
from hidden_two_stream.types import FloatArray, RawClip

__all__ = [
    "CLASSES",
    "DIFFICULTIES",
    "REFERENCE_FRAMES",
    "REFERENCE_SIZE",
    "Difficulty",
    "SyntheticClip",
    "generate_clip",
    "validate_arguments",
]

# class: (direction of travel, sign of growth, sign of turn; + is clockwise)
_MOTIONS: dict[str, tuple[complex, int, int]] = {
    "right": (1, 0, 0),
    "left": (-1, 0, 0),
    "up": (-1j, 0, 0),
    "down": (1j, 0, 0),
    "grow": (0, 1, 0),
    "shrink": (0, -1, 0),
    "turn_clockwise": (0, 0, 1),
    "turn_counterclockwise": (0, 0, -1),
}
CLASSES = tuple(_MOTIONS)

REFERENCE_SIZE = 64
"""Height and width in pixels for which `Difficulty` states its lengths."""
REFERENCE_FRAMES = 16
"""Longest clip, in frames, in which the patch moves at its full speed."""


@dataclass(frozen=True)
class Difficulty:
    """What a generated clip is like; lengths in pixels of a 64-pixel frame, they scale with the frame's size.

    Attributes:
        speed_px: (min, max) pixels per frame: a travelling patch's speed, a turning patch's speed at its rim.
        growth: (min, max) natural logarithm of the growth per frame, for grow and (negated) shrink.
        camera_px: standard deviation, per axis, of the camera's displacement from one frame to the next.
        noise_sigma: standard deviation of the sensor noise, as a fraction of full scale.
        brightness: largest slow change of the gain over a clip, as a fraction.
        background_speed_px: (min, max) pixels per frame of a background that moves.
        background_moves: part of the clips, 0..1, whose background moves.
        occluders: part of the clips, 0..1, with a bar in front of the patch.
    """

    speed_px: tuple[float, float] = (0.8, 2.0)
    growth: tuple[float, float] = (0.05, 0.08)
    camera_px: float = 0.3
    noise_sigma: float = 0.02
    brightness: float = 0.05
    background_speed_px: tuple[float, float] = (0.1, 0.5)
    background_moves: float = 0.5
    occluders: float = 0.0


DIFFICULTIES: dict[str, Difficulty] = {
    "easy": Difficulty((1.2, 2.0), (0.06, 0.08), camera_px=0.0, brightness=0.0, background_moves=0.0),
    "normal": Difficulty(),
    "hard": Difficulty(
        (0.6, 2.2),
        (0.04, 0.08),
        camera_px=0.6,
        noise_sigma=0.04,
        brightness=0.15,
        background_speed_px=(0.2, 0.8),
        background_moves=0.8,
        occluders=0.5,
    ),
}


@dataclass(frozen=True)
class SyntheticClip:
    """A generated clip and its exact motion.

    Attributes:
        frames: (T, H, W, 3) uint8.
        flow: (T-1, 2, H, W) float32 pixels, frame t to t+1, channel 0 = u (right), 1 = v (down), at frame t's
            pixel centres, for the surface that is visible there at t.
        moving: (T-1, H, W) bool, pixels where a mover is the visible surface at t.
        label: its class.
    """

    frames: RawClip
    flow: FloatArray
    moving: BoolArray
    label: str


def generate_clip(
    label: str,
    seed: int,
    *,
    num_frames: int = REFERENCE_FRAMES,
    size: int = REFERENCE_SIZE,
    difficulty: str | Difficulty = "normal",
) -> SyntheticClip:
    """Generate one clip; the same arguments always give the same clip.

    With the same seed all classes share everything but the motion: for an odd `num_frames` their middle
    frames are equal. Beyond 16 frames the motion is slowed so that the patch travels no further.

    Raises:
        UsageError: unknown label or difficulty, negative seed, no frames, or a size below 16.
    """
    level = validate_arguments(label, seed, num_frames, size, difficulty)
    rng = np.random.default_rng([seed, num_frames, size])
    unit = size / REFERENCE_SIZE
    tau = np.arange(num_frames) - (num_frames - 1) / 2

    # Draws never depend on the label.
    camera = complex_normal(rng, num_frames) * (level.camera_px * unit / math.sqrt(2))
    drift = rng.uniform(*level.background_speed_px) * unit * direction(rng)
    drift *= float(rng.random() < level.background_moves)
    behind = camera + drift * tau
    radius = rng.uniform(0.16, 0.22) * size
    centre, scale, angle = _patch_motion(rng, label, tau, level, radius, size)
    centre, turn = centre + camera, scale * np.exp(1j * angle)

    ground = texture(rng, *canvas_shape(size, behind), finest_px=2.5, unit=unit)
    surfaces = [Surface(ground, behind), Surface(patch_sprite(rng, radius, unit), centre, turn)]
    if rng.random() < level.occluders:
        surfaces.append(Surface(bar_sprite(rng, canvas_shape(size, camera), unit), camera))
    frames, visible = draw(surfaces, size)
    flow = exact_flow(surfaces, visible)
    clip = exposed(rng, frames, level.brightness, level.noise_sigma)
    return SyntheticClip(clip, flow, visible[:-1] == 1, label)


def validate_arguments(
    label: str, seed: int, num_frames: int, size: int, difficulty: str | Difficulty
) -> Difficulty:
    """The `Difficulty` that is meant, after a check of what `generate_clip` was asked for.

    Raises:
        UsageError: as `generate_clip`.
    """
    if label not in _MOTIONS:
        raise UsageError(f"got the class {label!r}; expected one of {', '.join(CLASSES)}")
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")
    if num_frames < 1:
        raise UsageError(f"got num_frames={num_frames}; expected at least 1 frame")
    if size < 16:
        raise UsageError(f"got size={size}; expected frames of at least 16 pixels a side")
    if isinstance(difficulty, Difficulty):
        return difficulty
    if difficulty not in DIFFICULTIES:
        raise UsageError(f"got the difficulty {difficulty!r}; expected one of {', '.join(DIFFICULTIES)}")
    return DIFFICULTIES[difficulty]


# -- motion ----------------------------------------------------------------------------------------


def _patch_motion(
    rng: np.random.Generator, label: str, tau: Reals, level: Difficulty, radius: float, size: int
) -> tuple[Complex, Reals, Reals]:
    """Centre, scale and angle of the patch at `tau` frames from the middle, each (T,), without the camera."""
    travel, growth_sign, turn_sign = _MOTIONS[label]
    middle = (size - 1) / 2 * (1 + 1j) + 0.1 * size * complex(rng.uniform(-1, 1), rng.uniform(-1, 1))
    start_angle = rng.uniform(0, 2 * math.pi)
    fraction = rng.random()
    slow = min(1.0, (REFERENCE_FRAMES - 1) / max(1, len(tau) - 1))
    speed = slow * size / REFERENCE_SIZE * (level.speed_px[0] + fraction * np.ptp(level.speed_px))
    growth = slow * (level.growth[0] + fraction * np.ptp(level.growth))
    return (
        np.asarray(middle + travel * speed * tau),
        np.exp(growth_sign * growth * tau),
        start_angle + turn_sign * speed / radius * tau,
    )

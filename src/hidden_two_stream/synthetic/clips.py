"""Labeled clips with exact flow: eight classes that differ only in motion, for the demo and tests.

A textured patch moves over a textured background. Everything but the motion is drawn independently of the
class. The motion is centered in time: at the middle of a clip the patch has the same position, size and
angle in all classes, so no frame from there shows the class. Sensor noise, camera shake and changes of
brightness are part of the clips: on clean clips with a still background an unsupervised flow network never
leaves zero flow.

Convention: positions are complex numbers x + iy in pixels, y down; a growing angle turns clockwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.arrays import BoolArray, Complex, Reals
from hidden_two_stream.synthetic.camera import film
from hidden_two_stream.synthetic.draws import chance, complex_normal, direction
from hidden_two_stream.synthetic.patches import background, bar, patch
from hidden_two_stream.synthetic.scene import Surface, draw, exact_flow
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
    """The ranges of a generated clip; lengths are pixels of a 64-pixel frame and scale with the frame.

    Attributes:
        speed_px: (min, max) pixels per frame: a traveling patch's speed, a turning patch's speed at its rim.
        growth: (min, max) natural logarithm of the growth per frame, negated for shrink.
        camera_px: standard deviation, per axis, of the camera's displacement from one frame to the next.
        noise_sigma: standard deviation of the sensor noise, as a fraction of full scale.
        brightness: largest slow change of the gain over a clip, as a fraction.
        background_speed_px: (min, max) pixels per frame of a background that moves.
        background_moves: share of the clips, 0..1, whose background moves.
        occluders: share of the clips, 0..1, with a bar in front of the patch.
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
        flow: (T-1, 2, H, W) float32 pixels, frame t to t+1, of the surface visible at t; channel 0 = u
            (right), 1 = v (down), at the pixel centers of frame t.
        moving: (T-1, H, W) bool, True where the surface visible at t is a moving one.
        label: the class.
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
    """Generate one clip; the same arguments always return the same clip.

    With the same seed all classes share everything but the motion: for an odd `num_frames` their middle
    frames are equal. In clips of more than 16 frames the patch moves more slowly and travels no further.

    Args:
        label: one of `CLASSES`.
        seed: 0 or more.
        num_frames: T.
        size: height and width in pixels.
        difficulty: a key of `DIFFICULTIES`, or a `Difficulty`.

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
    drift *= float(chance(rng, level.background_moves))
    offset = camera + drift * tau
    radius = rng.uniform(0.16, 0.22) * size
    center, scale, angle = _patch_motion(rng, label, tau, level, radius, size)

    surfaces: list[Surface] = [
        background(rng, size, offset, unit),
        patch(rng, radius, unit, center + camera, scale * np.exp(1j * angle)),
    ]
    if chance(rng, level.occluders):
        surfaces.append(bar(rng, size, camera, unit))
    light, front = draw(surfaces, range(num_frames), size, size)
    flow = exact_flow(surfaces, front, range(num_frames))
    frames = film(rng, light, level.brightness, level.noise_sigma)
    return SyntheticClip(frames, flow, front[:-1] == 1, label)


def validate_arguments(
    label: str, seed: int, num_frames: int, size: int, difficulty: str | Difficulty
) -> Difficulty:
    """Check the arguments of `generate_clip` and return the `Difficulty` that they name.

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
    """Return center, scale and angle of the patch, each (T,), without the camera's shake."""
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

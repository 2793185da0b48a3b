"""The harder benchmark of labeled clips: twelve motions under camera motion, occlusion and distractors.

Version "motions-v1". Any change to a clip, such as another range or order of the random draws, is a new
version.

A clip shows a textured background, fixed patches on it, a *mover* and its *companion*, and, depending on
the grade, bars in front and small *strays*. The camera pans and shakes; the movements below are relative to
the background. t counts frames from `REFERENCE_FRAME`, e is the unit vector from the mover to the
companion, in any direction, and the switch lies within 2 frames of t = 0.

left, right
    The mover travels within 20 degrees of that direction, 0.9 to 1.5 px per frame.
slow, fast
    The mover travels within 20 degrees of the vertical, up or down, 0.45 to 0.65 px per frame, or faster by
    the grade's speed ratio: the same paths at another speed.
turn_clockwise, turn_counterclockwise
    The mover turns in place, 0.9 to 1.5 px per frame at its rim.
right_then_up, up_then_right
    The mover travels as for left and right, and changes direction at the switch.
grow_then_shrink, shrink_then_grow
    Within 6 frames of the switch the mover changes size by 4 to 5.5 percent per frame, reversed at the
    switch.
approach, part
    The mover travels along +e, or -e, 0.6 to 1 px per frame, and the companion the opposite way, equally
    fast.

In all but the last two classes the companion is as still as the fixed patches. All patches are textured
like the mover: only motion tells them apart. Strays move for 4 to 8 frames, in any direction. Bars cross the
frame in all classes. A window of 11 frames in the middle of a clip holds the switch; earlier or later windows
may not.

Everything else is drawn alike and in the same order in all classes. With the same seed and grade,
`REFERENCE_FRAME` is the same image in all twelve classes, so it cannot show the class. In other frames the
mover's position and size depend on the class, but its look never tells it from the companion; and a class
and its reverse (left and right, the two turns, approach and part) show the same frames in reverse order.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.camera import film
from hidden_two_stream.synthetic.clips import SyntheticClip
from hidden_two_stream.synthetic.draws import complex_normal, direction
from hidden_two_stream.synthetic.patches import background, bar, patch
from hidden_two_stream.synthetic.scene import draw, exact_flow
from hidden_two_stream.synthetic.surfaces import Patch, Sheet

__all__ = [
    "GRADES",
    "MOTION_CLASSES",
    "NUM_FRAMES",
    "REFERENCE_FRAME",
    "SIZE",
    "Grade",
    "MotionScene",
    "build_scene",
    "generate_motion_clip",
]

MOTION_CLASSES = (
    "left",
    "right",
    "slow",
    "fast",
    "turn_clockwise",
    "turn_counterclockwise",
    "right_then_up",
    "up_then_right",
    "grow_then_shrink",
    "shrink_then_grow",
    "approach",
    "part",
)
_BOTH_TRAVEL = ("approach", "part")
_GROWTH_FRAMES = 6

NUM_FRAMES = 24
SIZE = 64
"""Height and width in pixels."""
REFERENCE_FRAME = 11
"""The frame that is the same in all classes: the middle of the central 11 frames, 6 to 16."""


@dataclass(frozen=True)
class Grade:
    """The difficulty of a clip; lengths in pixels.

    Attributes:
        pan_px: (min, max) peak speed of the camera's pan, per frame.
        shake_px: standard deviation, per axis, of the camera's distance from its path.
        wander_px: largest speed, per frame, of a drift that is added to the mover's path.
        bars: number of moving bars in front.
        fixed: number of patches fixed to the background, besides the companion.
        strays: number of small patches that move for a short time.
        speed_ratio: speed of "fast" divided by the speed of "slow".
        noise_sigma: standard deviation of the sensor noise, as a fraction of full scale.
        brightness: largest slow change of the gain over a clip, as a fraction.
    """

    pan_px: tuple[float, float]
    shake_px: float
    wander_px: float
    bars: int
    fixed: int
    strays: int
    speed_ratio: float
    noise_sigma: float
    brightness: float


GRADES: dict[str, Grade] = {
    "1": Grade((0.0, 0.3), 0.05, 0.05, 0, 1, 0, 2.4, noise_sigma=0.02, brightness=0.05),
    "2": Grade((0.2, 0.5), 0.1, 0.05, 1, 2, 0, 2.2, noise_sigma=0.03, brightness=0.1),
    "3": Grade((0.3, 0.7), 0.1, 0.1, 1, 2, 1, 2.0, noise_sigma=0.04, brightness=0.15),
}


def generate_motion_clip(label: str, seed: int, grade: str | Grade) -> SyntheticClip:
    """Generate one clip of `NUM_FRAMES` frames; the same arguments always return the same clip.

    `SyntheticClip.moving` marks all surfaces that move against the background: mover, strays, bars, and a
    companion that travels.

    Args:
        label: one of `MOTION_CLASSES`.
        seed: 0 or more.
        grade: a key of `GRADES`, or a `Grade`.

    Raises:
        UsageError: unknown label or grade, or negative seed.
    """
    level = _validated(label, seed, grade)
    scene = build_scene(label, seed, level)
    light, front = draw(scene.surfaces, range(NUM_FRAMES), SIZE, SIZE)
    flow = exact_flow(scene.surfaces, front, range(NUM_FRAMES))
    frames = film(scene.rng, light, level.brightness, level.noise_sigma)
    return SyntheticClip(frames, flow, np.isin(front[:-1], scene.moving), label)


def _validated(label: str, seed: int, grade: str | Grade) -> Grade:
    if label not in MOTION_CLASSES:
        raise UsageError(f"got the class {label!r}; expected one of {', '.join(MOTION_CLASSES)}")
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")
    if isinstance(grade, Grade):
        return grade
    if grade not in GRADES:
        raise UsageError(f"got the grade {grade!r}; expected one of {', '.join(GRADES)}")
    return GRADES[grade]


# -- motion ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Motion:
    """Paths relative to the background, each (T,) and 0 at t = 0, where all classes are alike."""

    mover: Complex
    log_scale: Reals
    angle: Reals
    companion: Complex


def _motion(
    rng: np.random.Generator, label: str, t: Reals, level: Grade, away: complex, radius: float
) -> _Motion:
    """Return the class's motion, from draws that don't depend on it; `away` is e, `radius` the mover's."""
    fraction, switch = rng.random(), rng.uniform(-2, 2)
    tilt = cmath.exp(1j * math.radians(rng.uniform(-20, 20)))
    vertical = 1j * float(rng.choice([-1, 1]))
    drift = direction(rng) * rng.uniform(0, level.wander_px)

    speed = 0.9 + 0.6 * fraction
    slow = (0.45 + 0.2 * fraction) * vertical * tilt
    growth = 0.04 + 0.015 * fraction
    facing = (0.6 + 0.4 * fraction) * away
    before = np.minimum(t, switch) - min(0, switch)  # frames up to the switch
    after = np.maximum(t, switch) - max(0, switch)  # frames beyond it; before + after = t
    travels = {
        "left": -speed * tilt * t,
        "right": speed * tilt * t,
        "slow": slow * t,
        "fast": level.speed_ratio * slow * t,
        "right_then_up": speed * tilt * (before - 1j * after),
        "up_then_right": speed * tilt * (after - 1j * before),
        "approach": facing * t,
        "part": -facing * t,
    }
    swell = growth * (min(abs(switch), _GROWTH_FRAMES) - np.minimum(np.abs(t - switch), _GROWTH_FRAMES))
    growths = {"grow_then_shrink": swell, "shrink_then_grow": -swell}
    turns = {"turn_clockwise": speed / radius * t, "turn_counterclockwise": -speed / radius * t}
    still = np.zeros(len(t))
    travel = travels.get(label, still + 0j)
    return _Motion(
        mover=np.asarray(travel + drift * t),
        log_scale=growths.get(label, still),
        angle=turns.get(label, still),
        companion=np.asarray(-travel if label in _BOTH_TRAVEL else still + 0j),
    )


def _camera(rng: np.random.Generator, t: Reals, level: Grade) -> Complex:
    """Return (T,) shifts of the image: a swinging pan and shake."""
    rate = 2 * math.pi / rng.uniform(30, 80)
    phase = rng.uniform(0, 2 * math.pi)
    pan = direction(rng) * rng.uniform(*level.pan_px) / rate
    shake = complex_normal(rng, len(t)) * level.shake_px
    return np.asarray(pan * (np.sin(rate * t + phase) - math.sin(phase)) + shake)


def _stray(rng: np.random.Generator, t: Reals) -> Complex:
    """Return the (T,) path of a patch that moves for a short time, anywhere in the frame."""
    length = rng.uniform(4, 8)
    begin = rng.uniform(t[0], t[-1] - length)
    place = rng.uniform(0.05, 0.95) * SIZE + 1j * rng.uniform(0.05, 0.95) * SIZE
    return np.asarray(place + direction(rng) * rng.uniform(0.7, 1.3) * np.clip(t - begin, 0, length))


# -- scene -----------------------------------------------------------------------------------------


@dataclass
class MotionScene:
    """The surfaces of one clip.

    Attributes:
        rng: source of random draws.
        surfaces: from back to front, with the mover in front of all other patches.
        moving: numbers of the surfaces that move against the background.
    """

    rng: np.random.Generator
    surfaces: list[Sheet | Patch] = field(default_factory=list)
    moving: list[int] = field(default_factory=list)

    def add(self, surface: Sheet | Patch, moves: bool) -> None:
        """Add a surface in front; `moves` says whether it moves against the background."""
        if moves:
            self.moving.append(len(self.surfaces))
        self.surfaces.append(surface)

    def add_patch(self, radius: float, center: Complex, turn: Complex | float, moves: bool) -> None:
        """Add a patch of random look at a random angle, turned and scaled further by `turn`."""
        start = direction(self.rng) * np.ones(len(center), np.complex128)
        self.add(patch(self.rng, radius, 1.0, center, start * turn), moves)


def build_scene(label: str, seed: int, level: Grade) -> MotionScene:
    """Return the scene of a clip; its `rng` is then where the camera's draws begin."""
    # The motion's draws come from a source of their own: a motion may then draw more in a later version.
    rng, motion_rng = (np.random.default_rng([1, seed, part]) for part in range(2))
    t = np.arange(NUM_FRAMES) - float(REFERENCE_FRAME)
    camera = _camera(rng, t, level)
    away = direction(rng)
    between = away * rng.uniform(13, 17)
    middle = (SIZE - 1) / 2 * (1 + 1j) + 6 * complex(rng.uniform(-1, 1), rng.uniform(-1, 1))
    radii = rng.uniform(7.5, 12.5, 2)
    motion = _motion(motion_rng, label, t, level, away, radii[0])

    scene = MotionScene(rng)
    scene.add(background(rng, SIZE, camera, 1.0), False)
    for _ in range(level.fixed):
        place = SIZE * complex(rng.uniform(0, 1), rng.uniform(0, 1))
        scene.add_patch(rng.uniform(6, 10), place + camera, 1.0, False)
    for _ in range(level.strays):
        scene.add_patch(rng.uniform(4, 5.5), _stray(rng, t) + camera, 1.0, True)
    scene.add_patch(radii[1], middle + between + motion.companion + camera, 1.0, label in _BOTH_TRAVEL)
    turn = np.exp(motion.log_scale + 1j * motion.angle)
    scene.add_patch(radii[0], middle - between + motion.mover + camera, turn, True)
    for _ in range(level.bars):
        path = np.asarray(direction(rng) * rng.uniform(0.2, 0.8) * t)
        scene.add(bar(rng, SIZE, path, 1.0), True)
    return scene

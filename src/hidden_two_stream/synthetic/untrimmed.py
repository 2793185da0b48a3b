"""Untrimmed video: a figure that does one of ten things after another, and nothing between, for minutes.

Version "untrimmed-v1". Any change to a recording or clip, such as another range or order of the random draws,
is a new version. The actions are movements of the motion library that repeat for as long as they take. In
between, the figure stands, breathes and wobbles a little; the camera drifts slowly the whole time. All
recordings and clips have figures, clothes, backgrounds and cameras of their own.

A recording is drawn in pieces, so that memory holds a few seconds of its frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.arrays import Complex, Reals
from hidden_two_stream.synthetic.clock import Clock, ramp
from hidden_two_stream.synthetic.draws import chance, direction
from hidden_two_stream.synthetic.figure_gaits import GAITS
from hidden_two_stream.synthetic.figure_gestures import GESTURES
from hidden_two_stream.synthetic.figure_motion import FigureMotion, restless
from hidden_two_stream.synthetic.figure_postures import POSTURES
from hidden_two_stream.synthetic.figures import Figure, figure_of, paint_figure
from hidden_two_stream.synthetic.library_look import Look, background, draw_look
from hidden_two_stream.synthetic.mover_paths import Path
from hidden_two_stream.synthetic.painting import view_of_tile
from hidden_two_stream.synthetic.skeleton import draw_body, joints
from hidden_two_stream.types import FloatArray, Image, RawClip, Segment

__all__ = ["ACTIONS", "FPS", "SIZE", "Recording", "action_clip", "recording"]

_MOTIONS: dict[str, FigureMotion] = {**GAITS, **GESTURES, **POSTURES}

ACTIONS = (
    *("arm_circles_forward", "bow", "hop_on_the_spot", "jumping_jack", "march", "punch", "spin", "squats"),
    *("sway", "wave_both"),
)
"""What the figure does: names of the motion library."""

FPS = 25
SIZE = 112
"""Height and width in pixels."""

_REST = "stand_still"
_PIECE = 64  # frames that are drawn at once
_BLEND = 6  # frames in which an action begins, and in which it ends
_ACTION_SECONDS = (2.0, 5.0)
_PAUSE_SECONDS = (1.0, 4.0)

_Part = tuple[str, int, int]
"""An action, its first frame, and the frame after its last one."""


@dataclass(frozen=True)
class Recording:
    """An untrimmed video and its exact truth.

    Attributes:
        segments: what the figure does when, in order; they don't touch.
        num_frames: number of frames, at `FPS`.
        seed: the seed that it was made with.
    """

    segments: tuple[Segment, ...]
    num_frames: int
    seed: int

    def frames(self) -> Iterator[Image]:
        """Yield the frames, (SIZE, SIZE, 3) uint8; every call yields the same ones."""
        parts = [
            (segment.label, round(segment.start_seconds * FPS), round(segment.end_seconds * FPS))
            for segment in self.segments
        ]
        return _draw(np.random.default_rng([3, self.seed]), self.num_frames, parts)


def recording(seed: int, seconds: float = 180.0) -> Recording:
    """Return an untrimmed video: actions of 2 to 5 seconds, each after a pause of 1 to 4 seconds.

    Args:
        seed: 0 or more; the same arguments always give the same recording.
        seconds: its length. All ten actions come once before any comes again.

    Raises:
        UsageError: the seed is negative, or the video is shorter than 10 seconds or longer than a day.
    """
    _require_seed(seed)
    if not 10 <= seconds <= 86_400:
        raise UsageError(f"got {seconds:g} seconds; expected 10 to 86400: choose another length")
    rng = np.random.default_rng([1, seed])
    num_frames = round(seconds * FPS)
    segments: list[Segment] = []
    waiting: list[str] = []
    at = _frames(rng, _PAUSE_SECONDS)
    while True:
        waiting = waiting or list(rng.permutation(ACTIONS))
        end = at + _frames(rng, _ACTION_SECONDS)
        pause = _frames(rng, _PAUSE_SECONDS)
        if end + FPS > num_frames:  # it ends with a pause
            return Recording(tuple(segments), num_frames, seed)
        segments.append(Segment(at / FPS, end / FPS, str(waiting.pop())))
        at = end + pause


def action_clip(label: str, seed: int, num_frames: int = 48) -> RawClip:
    """Return a trimmed clip in which the figure does one thing from its first to its last frame.

    Args:
        label: one of `ACTIONS`, or "stand_still" for a pause.
        seed: 0 or more; clips share nothing with recordings of the same seed.
        num_frames: T, at least 2.

    Returns:
        (T, SIZE, SIZE, 3) uint8.

    Raises:
        UsageError: an argument is out of range.
    """
    if label not in (*ACTIONS, _REST):
        raise UsageError(f"got the action {label!r}; expected one of {', '.join((*ACTIONS, _REST))}")
    _require_seed(seed)
    if num_frames < 2:
        raise UsageError(f"got num_frames={num_frames}; expected at least 2 frames")
    rng = np.random.default_rng([2, seed, (*ACTIONS, _REST).index(label)])
    # The action begins before the clip and ends after it.
    parts = [(label, -_BLEND, num_frames + _BLEND)] if label != _REST else []
    return np.stack(list(_draw(rng, num_frames, parts)))


def _require_seed(seed: int) -> None:
    if seed < 0:
        raise UsageError(f"got the seed {seed}; expected 0 or more: choose another seed")


def _frames(rng: np.random.Generator, bounds: tuple[float, float]) -> int:
    return round(rng.uniform(*bounds) * FPS)


# -- the scene -------------------------------------------------------------------------------------


def _draw(rng: np.random.Generator, num_frames: int, parts: Sequence[_Part]) -> Iterator[Image]:
    """Yield the frames of a scene in which the figure does all `parts`."""
    look = draw_look(rng, SIZE)
    tile = background(rng, look, SIZE, textured=False)
    figure = _figure(rng, num_frames, parts, look)
    camera = _camera(rng, num_frames)
    clothes = int(rng.integers(2**32))
    gain = 1 + rng.uniform(0, 0.06) * np.sin(
        rng.uniform(0, 6) + 2 * math.pi * np.arange(num_frames) / (FPS * rng.uniform(10, 60))
    )
    sigma = np.float32(rng.uniform(0.005, 0.025))
    for start in range(0, num_frames, _PIECE):
        piece = slice(start, min(start + _PIECE, num_frames))
        there = Path(camera.center[piece], camera.scale[piece], camera.angle[piece])
        light = view_of_tile(tile, there, SIZE)
        part = Figure(
            {name: (ends[0][piece], ends[1][piece]) for name, ends in figure.ends.items()},
            {name: radius[piece] for name, radius in figure.radii.items()},
            figure.path[piece],
        )
        # From a source of its own, the clothes are the same in each piece.
        paint_figure(np.random.default_rng(clothes), light, part, look, there, look.front)
        yield from _filmed(rng, light, gain[piece], sigma)


def _figure(rng: np.random.Generator, num_frames: int, parts: Sequence[_Part], look: Look) -> Figure:
    """Return the figure of a whole recording: it rests, and from time to time it acts."""
    body = draw_body(rng)
    whole = Clock(rng, num_frames)
    points = joints(restless(whole, _MOTIONS[_REST].pose(whole)), body, num_frames)
    for label, start, end in parts:
        clock = Clock(rng, end - start)
        moving = joints(_MOTIONS[label].pose(clock), body, clock.num_frames)
        first, last = max(start, 0), min(end, num_frames)
        seen = slice(first - start, last - start)
        share = _share(end - start)[seen, None]
        for name, point in points.items():
            point[first:last] += share * (moving[name][seen] - point[first:last])
    # Halfway between front and side, each of the actions can be told.
    yaw = float(rng.choice([45, 135, -45, -135])) + whole.between(-20, 20)
    return figure_of(whole, points, body, yaw, SIZE, look)


def _share(num_frames: int) -> Reals:
    """Return how much of an action there is in each of its frames: it begins and ends smoothly."""
    t = np.arange(num_frames) + 1.0
    return np.asarray(np.minimum(ramp(t / _BLEND), ramp((num_frames + 1 - t) / _BLEND)))


def _camera(rng: np.random.Generator, num_frames: int) -> Path:
    """Return a camera that stands still, or drifts slowly to and fro, by up to 3 px."""
    t = np.arange(num_frames) / FPS
    reach = rng.uniform(0, 3) if chance(rng, 0.5) else 0.0
    swing = np.sin(rng.uniform(0, 6) + 2 * math.pi * t / rng.uniform(8, 20))
    center: Complex = np.asarray(direction(rng) * reach * swing)
    return Path(center, np.ones(num_frames), np.zeros(num_frames))


def _filmed(rng: np.random.Generator, light: FloatArray, gain: Reals, sigma: np.float32) -> Iterator[Image]:
    """Yield the frames of light (C, T, H, W): with changes of brightness, noise, and 8 bits."""
    light *= gain.astype(np.float32)[:, None, None]
    light += sigma * rng.standard_normal(light.shape, dtype=np.float32)
    frames = np.clip(255 * light + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 3, 0)
    yield from np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:3], 3)))

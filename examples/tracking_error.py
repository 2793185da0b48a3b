"""Print the error of points followed through hidden flow, beside DIS flow, on generated video.

    .venv/bin/python examples/tracking_error.py [--clips 36] [--points 40]
        [--networks nano nano-fine] [--estimators dis-medium dis-medium@2] [--json]

All flows have the same tracker (`motion.tracking`) and the same points. The place of each point in each frame
is known from the path of its surface, without summing up flow. Two kinds of clips of 21 frames:

motions-v1    64×64 px: the generated benchmark's scenes, all classes and grades in turn
scenes        192×192 px: the kind of scenes that the shipped networks learned from, other seeds

Half of the points begin on the foreground (motions-v1: what moves against the background; scenes: all that
is in front of the background), half elsewhere, none within a pixel of another surface. A point counts in the
frames where it is visible. Methods follow it to the end, also beyond a failed forward-backward check. "kept"
is the share of the points visible at frame 20 whose checks had all passed; "noticed" is the share of the
points hidden or outside at frame 20 with a failed check. "true flow" is the exact flow in the same tracker:
what the tracker itself adds. "still" is no motion at all. Intervals come from resampling whole clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import hidden_two_stream as hts
from hidden_two_stream.cli.output import print_json
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.motion.estimators.plugins import find_estimator
from hidden_two_stream.motion.tracking import follow_points
from hidden_two_stream.progress import note
from hidden_two_stream.synthetic.arrays import BoolArray, IndexArray, Reals
from hidden_two_stream.synthetic.camera import film, film_like_video
from hidden_two_stream.synthetic.motions_v1 import GRADES, MOTION_CLASSES, NUM_FRAMES, SIZE, build_scene
from hidden_two_stream.synthetic.scene import Surface, draw, exact_flow, exact_paths
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.synthetic.staging import stage
from hidden_two_stream.types import FloatArray, RawClip

LENGTH = 21
SCENE_SIZE = 192
FIRST_SEED = 1_000_000  # the shipped networks learned from seeds below 10,000
KINDS = ("motions-v1", "scenes")
RESAMPLINGS = 1000


@dataclass(frozen=True)
class Clip:
    """A clip and the true paths of points in it.

    Attributes:
        frames: (T, H, W, 3) uint8.
        forward, backward: (T-1, 2, H, W) px: exact flow t → t+1 and t+1 → t.
        places: (T, N, 2) px.
        visible: (T, N).
        foreground: (N,) whether the point begins on the foreground.
    """

    frames: RawClip
    forward: FloatArray
    backward: FloatArray
    places: Reals
    visible: BoolArray
    foreground: BoolArray


Flows = Callable[[Clip], tuple[FloatArray, FloatArray]]
"""A clip → flow forward and backward, each (T-1, 2, h, w)."""


# -- clips -----------------------------------------------------------------------------------------


def make_clip(kind: str, number: int, num_points: int) -> Clip:
    """Clip `number` of a kind; the same arguments give the same clip."""
    seed = FIRST_SEED + number
    rng = np.random.default_rng([2, seed])
    if kind == "motions-v1":
        label = MOTION_CLASSES[number % len(MOTION_CLASSES)]
        level = GRADES[tuple(GRADES)[number // len(MOTION_CLASSES) % len(GRADES)]]
        scene = build_scene(label, seed, level)
        surfaces: Sequence[Surface] = scene.surfaces
        movers = scene.moving
        light, front = draw(surfaces, range(NUM_FRAMES), SIZE, SIZE)
        frames = film(scene.rng, light, level.brightness, level.noise_sigma)[:LENGTH]
    else:
        times = np.arange(LENGTH) - (LENGTH - 1) / 2
        surfaces = stage(rng, SceneStyle(), times, SCENE_SIZE, SCENE_SIZE)
        movers = list(range(1, len(surfaces)))
        light, front = draw(surfaces, range(LENGTH), SCENE_SIZE, SCENE_SIZE)
        frames = film_like_video(rng, light, SceneStyle())
    front = front[:LENGTH]
    is_mover = np.isin(front[0], movers)
    points = choose_points(rng, front[0], is_mover, num_points)
    places, visible = exact_paths(surfaces, front, range(LENGTH), points)
    back = exact_flow(surfaces, front[::-1], range(LENGTH)[::-1])[::-1]
    forward = exact_flow(surfaces, front, range(LENGTH))
    return Clip(frames, forward, back, places, visible, is_mover[points[:, 1], points[:, 0]])


def choose_points(
    rng: np.random.Generator, front: IndexArray, is_mover: BoolArray, number: int
) -> IndexArray:
    """(N, 2) columns and rows of pixels whose neighbors show the same surface, half of them of movers.

    Where one half lacks pixels, there are fewer points.
    """
    height, width = front.shape
    inner = np.ones((height - 2, width - 2), np.bool_)
    for dy in range(3):
        for dx in range(3):
            inner &= front[dy : dy + height - 2, dx : dx + width - 2] == front[1:-1, 1:-1]
    chosen = []
    for part in (is_mover[1:-1, 1:-1], ~is_mover[1:-1, 1:-1]):
        rows, columns = np.nonzero(inner & part)
        picked = rng.permutation(len(rows))[: number // 2]
        chosen.append(np.stack((columns[picked], rows[picked]), axis=1) + 1)
    return np.concatenate(chosen)


# -- flows -----------------------------------------------------------------------------------------


def network(source: str) -> Flows:
    """Flows of a trained MotionNet; small frames are enlarged as by `hts track`."""
    trained = hts.motion_estimator(source)

    def flows(clip: Clip) -> tuple[FloatArray, FloatArray]:
        return trained.flow(clip.frames), trained.flow(clip.frames[::-1])[::-1]

    return flows


def classical(name: str) -> Flows:
    """Flows of an estimator such as dis-medium, or dis-medium@2 on enlarged frames."""
    estimate = find_estimator(name)
    return lambda clip: (estimate(clip.frames), estimate(clip.frames[::-1])[::-1])


def all_methods(networks: Sequence[str], estimators: Sequence[str]) -> dict[str, Flows]:
    """The methods by name, with the exact flow and no motion at the end."""
    found = {f"hidden ({name})": network(name) for name in networks}
    found |= {name: classical(name) for name in estimators}
    found["true flow"] = lambda clip: (clip.forward, clip.backward)
    found["still"] = lambda clip: (np.zeros_like(clip.forward), np.zeros_like(clip.backward))
    return found


# -- errors ----------------------------------------------------------------------------------------


class Errors:
    """Errors of one method on all clips of a kind, as they come in."""

    def __init__(self) -> None:
        self._all: list[Reals] = []
        self._last: list[Reals] = []  # of each clip: errors at frame 20 of the points that are visible there
        self._kept: list[BoolArray] = []
        self._foreground: list[BoolArray] = []
        self._noticed: list[BoolArray] = []

    def add(self, clip: Clip, flows: tuple[FloatArray, FloatArray]) -> None:
        """Follow the points of a clip."""
        places, kept = follow_points(clip.places[0], *flows, clip.frames.shape[1:3])
        errors = np.linalg.norm(places - clip.places, axis=2)
        seen = clip.visible[-1]
        self._all.append(errors[1:][clip.visible[1:]])
        self._last.append(errors[-1][seen])
        self._kept.append(kept[-1][seen])
        self._foreground.append(clip.foreground[seen])
        self._noticed.append(~kept[-1][~seen])

    def row(self) -> dict[str, Any]:
        """The numbers of the table, px or a share; None: no point to measure on."""
        last, kept, foreground, noticed = map(
            np.concatenate, (self._last, self._kept, self._foreground, self._noticed)
        )
        return {
            "median_px": _median(np.concatenate(self._all)),
            "at_20_median_px": _median(last),
            "at_20_interval_95_px": self._interval(),
            "at_20_foreground_px": _median(last[foreground]),
            "at_20_90th_px": float(np.percentile(last, 90)) if len(last) else None,
            "kept": float(kept.mean()) if len(kept) else None,
            "at_20_kept_px": _median(last[kept]),
            "noticed": float(noticed.mean()) if len(noticed) else None,
            "num_points": len(last),
        }

    def _interval(self) -> list[float] | None:
        """The 95% interval of the median at frame 20, by resampling whole clips."""
        rng = np.random.default_rng(0)
        medians = []
        for _ in range(RESAMPLINGS):
            chosen = rng.integers(0, len(self._last), len(self._last))
            medians.append(_median(np.concatenate([self._last[clip] for clip in chosen])))
        known = [median for median in medians if median is not None]
        return [float(np.percentile(known, share)) for share in (2.5, 97.5)] if known else None


def _median(values: Reals) -> float | None:
    return float(np.median(values)) if len(values) else None


COLUMNS = {
    "median_px": "all frames, median",
    "at_20_median_px": "at 20, median [95%]",
    "at_20_foreground_px": "at 20, foreground",
    "at_20_90th_px": "at 20, 90th percentile",
    "kept": "kept, %",
    "at_20_kept_px": "at 20, kept",
    "noticed": "noticed, %",
}


def measure(kind: str, num_clips: int, num_points: int, methods: dict[str, Flows]) -> list[dict[str, Any]]:
    """One row per method, all on the same clips and points."""
    errors = {name: Errors() for name in methods}
    for clip in _clips(kind, num_clips, num_points):
        for name, flows in methods.items():
            errors[name].add(clip, flows(clip))
    return [{"clips": kind, "method": name, **found.row()} for name, found in errors.items()]


def _clips(kind: str, num_clips: int, num_points: int) -> Iterator[Clip]:
    for number in range(num_clips):
        if number % 10 == 0:
            note(f"{kind}: clip {number + 1} of {num_clips}")
        yield make_clip(kind, number, num_points)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of the rows of one kind of clips."""
    lines = [f"| flow | {' | '.join(COLUMNS.values())} |", "|---|" + "---:|" * len(COLUMNS)]
    for row in rows:
        cells = (_cell(name, row) for name in COLUMNS)
        lines.append(f"| {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(name: str, row: dict[str, Any]) -> str:
    value = row[name]
    if value is None:
        return "–"
    if name in ("kept", "noticed"):
        return f"{100 * value:.0f}"
    low, high = row["at_20_interval_95_px"] or (value, value)
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if name == "at_20_median_px" else "")


def protocol(num_clips: int, num_points: int) -> str:
    """How the errors are measured."""
    return (
        f"distance to the true place, px of the clip, over visible points; {num_clips} clips of {LENGTH} "
        f"frames of each kind, up to {num_points} points per clip, half of them on the foreground; seeds "
        f"from {FIRST_SEED} on; the same tracker and points for all"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=36, help="of each kind (default: %(default)s)")
    parser.add_argument("--points", type=int, default=40, help="per clip (default: %(default)s)")
    parser.add_argument("--networks", nargs="*", default=["nano", "nano-fine"], metavar="NAME_OR_FILE")
    parser.add_argument("--estimators", nargs="*", default=["dis-medium", "dis-medium@2"], metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args(arguments)
    try:
        if given.clips < 1 or given.points < 2:
            raise UsageError(
                f"got --clips {given.clips} and --points {given.points}; expected at least 1 and 2"
            )
        methods = all_methods(given.networks, given.estimators)
        rows = [row for kind in KINDS for row in measure(kind, given.clips, given.points, methods)]
    except HiddenTwoStreamError as error:
        print(f"tracking_error: {error}", file=sys.stderr)
        return error.exit_code
    how = protocol(given.clips, given.points)
    if given.json:
        print_json({"machine": machine(), "protocol": how, "rows": rows})
        return 0
    print(f"Machine: {machine()}\\\nProtocol: {how}")
    for kind in KINDS:
        found = [row for row in rows if row["clips"] == kind]
        print(f"\n{kind}, {found[0]['num_points']} points visible at frame 20:\n\n{table(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

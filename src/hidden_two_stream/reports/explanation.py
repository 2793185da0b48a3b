"""Draws an explanation: windows with their maps of evidence, and the scores without each stretch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.files import atomic_write, folder_names, write_json
from hidden_two_stream.inference.explanation import ExplainedWindow, Explanation
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.reports.charts import ticks
from hidden_two_stream.reports.drawing import Color, opencv, put_text, text_size
from hidden_two_stream.reports.images import color_wheel_image, png_bytes
from hidden_two_stream.types import FloatArray, Image
from hidden_two_stream.video.finding import source_stem

__all__ = ["evidence_images", "explanation_image", "explanation_names", "heat_overlay", "write_explanation"]

_MOST_ROWS = 6
_TILE, _GAP, _LEFT, _TOP, _RIGHT = 192, 10, 178, 96, 24
_CHART, _CHART_TOP, _AXIS = 150, 62, 46
_LEAST_SCALE = 0.1  # the axis of the drops, so that nothing looks like something
_SLOWEST_PX = 0.5  # motion of full color is at least this
_INK: Color = (31, 35, 40)
_SOFT: Color = (101, 109, 118)
_QUIET: Color = (208, 215, 222)
_SERIES: dict[str, Color] = {
    "fused": (31, 35, 40),
    "spatial": (208, 122, 31),
    "temporal": (15, 118, 110),
}


def explanation_names(sources: Sequence[str]) -> dict[str, str]:
    """Return a file name without suffix for the explanation of each video; all names differ."""
    stems = {source: source_stem(source) for source in sources}
    twice = {stem for stem in stems.values() if list(stems.values()).count(stem) > 1}
    texts = {source: source if stem in twice else stem for source, stem in stems.items()}
    names = folder_names(texts.values())
    return {source: names[text] for source, text in texts.items()}


def write_explanation(
    explanation: Explanation, folder: str | os.PathLike[str], name: str
) -> tuple[Path, Path]:
    """Write NAME.png and NAME.json into a folder, atomically, and return their paths.

    Raises:
        MissingDependencyError: OpenCV, which draws the text, is not installed.
        OutputError: the folder is not writable, or the disk is full.
    """
    picture, numbers = Path(folder) / f"{name}.png", Path(folder) / f"{name}.json"
    with atomic_write(picture) as part:
        part.write_bytes(png_bytes(explanation_image(explanation)))
    write_json(numbers, explanation.to_dict())
    return picture, numbers


def explanation_image(explanation: Explanation) -> Image:
    """Return a picture of an explanation, (H, W, 3) uint8 RGB.

    It has a row for each window (up to six): the middle frame, the evidence of the spatial stream over it,
    the hidden flow in color, and the evidence of the temporal stream over the frame. Below are the drops of
    the scores over time.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    shown = _chosen(explanation.windows)
    columns = _columns(explanation, shown)
    width = _LEFT + len(columns) * (_TILE + _GAP) + _RIGHT
    chart_top = _TOP + len(shown) * (_TILE + _GAP) + _CHART_TOP
    image = np.full((chart_top + _CHART + _AXIS, max(width, 640), 3), 255, np.uint8)
    _head(image, explanation, len(shown))
    for place, (title, _) in enumerate(columns):
        put_text(image, title, _LEFT + place * (_TILE + _GAP), _TOP - 8, 9, _SOFT)
    for row, window in enumerate(shown):
        top = _TOP + row * (_TILE + _GAP)
        _side(image, window, top)
        for place, (_, draw) in enumerate(columns):
            left = _LEFT + place * (_TILE + _GAP)
            image[top : top + _TILE, left : left + _TILE] = _fitted(draw(window))
    _chart(image, explanation, chart_top)
    return image


def evidence_images(window: ExplainedWindow) -> list[tuple[str, Image]]:
    """Return a captioned image of the evidence of each stream in a window; red is the strongest."""
    full = {name: float(maps.max()) or 1.0 for name, maps in window.maps.items()}
    found = []
    if "spatial" in full:
        spatial = heat_overlay(window.clip[window.middle], window.maps["spatial"][0] / full["spatial"])
        found.append(("evidence in the frame", spatial))
    if "temporal" in full:
        found.append(("evidence in the motion", _temporal(window, full["temporal"])))
    return found


def heat_overlay(image: Image, heat: FloatArray) -> Image:
    """Return a gray copy of an image with a map over it: red is 1; where it is 0, the image shows.

    Args:
        image: (H, W, 3) uint8 RGB.
        heat: (h, w), 0…1; it is enlarged smoothly, pixel centers, `align_corners=False`.
    """
    small = torch.from_numpy(np.ascontiguousarray(heat, np.float32))[None, None]
    large = torch.nn.functional.interpolate(small, image.shape[:2], mode="bilinear", align_corners=False)
    strength = large[0, 0].clamp(0, 1).numpy()[..., None]
    gray = (image @ np.array([0.299, 0.587, 0.114]))[..., None] * 0.7 + 60
    color = np.array([255.0, 210.0, 0.0]) * (1 - strength) + np.array([225.0, 20.0, 30.0]) * strength
    share = 0.85 * np.sqrt(strength)
    mixed: Image = np.rint(gray * (1 - share) + color * share).astype(np.uint8)
    return mixed


def _chosen(windows: Sequence[ExplainedWindow]) -> list[ExplainedWindow]:
    places = np.linspace(0, len(windows) - 1, min(len(windows), _MOST_ROWS)).round().astype(int)
    return [windows[place] for place in places]


_Draw = Callable[[ExplainedWindow], Image]


def _columns(explanation: Explanation, shown: Sequence[ExplainedWindow]) -> list[tuple[str, _Draw]]:
    """Return title and drawing of each column."""
    streams = explanation.windows[0].maps
    columns: list[tuple[str, _Draw]] = [("middle frame", lambda window: window.clip[window.middle])]
    full = {name: explanation.strongest_map(name) or 1.0 for name in streams}
    if "spatial" in streams:
        columns.append(
            (
                "spatial evidence",
                lambda w: heat_overlay(w.clip[w.middle], w.maps["spatial"][0] / full["spatial"]),
            )
        )
    if shown[0].flow is not None:
        fastest = max(_SLOWEST_PX, *(float(np.percentile(_speed(window), 99)) for window in shown))
        columns.append(
            (f"hidden flow ({fastest:.1f} px: full)", lambda w: flow_to_color(_pair_flow(w), fastest))
        )
    if "temporal" in streams:
        columns.append(("temporal evidence", lambda window: _temporal(window, full["temporal"])))
    return columns


def _temporal(window: ExplainedWindow, full: float) -> Image:
    maps, pair = window.maps["temporal"], window.strongest_pair
    return heat_overlay(window.clip[pair], maps[pair if len(maps) > 1 else 0] / full)


def _pair_flow(window: ExplainedWindow) -> FloatArray:
    """Return the flow (2, S, S) of the window's strongest pair, px of its clip."""
    assert window.flow is not None
    flow = torch.from_numpy(window.flow[window.strongest_pair])
    return resize_flow(flow, *window.clip.shape[1:3]).numpy()


def _speed(window: ExplainedWindow) -> FloatArray:
    u, v = _pair_flow(window)
    speed: FloatArray = np.hypot(u, v)
    return speed


def _fitted(image: Image) -> Image:
    """Return a square image with sides of one tile; small ones keep sharp pixels."""
    cv2 = opencv()
    method = cv2.INTER_AREA if image.shape[0] > _TILE else cv2.INTER_NEAREST
    fitted: Image = cv2.resize(image, (_TILE, _TILE), interpolation=method)
    return fitted


def _head(image: Image, explanation: Explanation, rows: int) -> None:
    prediction = explanation.prediction
    streams = ", ".join(f"{name} {score:.2f}" for name, score in explanation.stream_scores.items())
    line = f"{explanation.label} {explanation.score:.2f}"
    if explanation.label != prediction.best:
        line += f" (best: {prediction.best} {prediction.score:.2f})"
    put_text(image, f"Why {line}?", 14, 30, 14, _INK)
    more = f"; {rows} of {len(explanation.windows)} windows shown" if rows < len(explanation.windows) else ""
    name = _cut(Path(prediction.source).name, 60)
    put_text(image, f"{name}: {streams}; protocol {prediction.protocol}{more}", 14, 54, 9, _SOFT)
    wheel = color_wheel_image(64)
    if explanation.windows[0].flow is not None:
        image[8 : 8 + len(wheel), -len(wheel) - 14 : -14] = wheel


def _side(image: Image, window: ExplainedWindow, top: int) -> None:
    """Write times and scores beside a row."""
    lines = [f"{window.start_seconds:.2f} to {window.end_seconds:.2f} s"]
    lines += [f"{name} {score:.2f}" for name, score in window.scores.items()]
    for number, line in enumerate(lines):
        color = _INK if number == 0 else _SERIES[line.split()[0]]
        put_text(image, line, 14, top + 18 + 20 * number, 9, color)


def _chart(image: Image, explanation: Explanation, top: int) -> None:
    """Draw the drop of each score over time as steps."""
    stretches = explanation.stretches
    left, right, bottom = _LEFT, int(image.shape[1]) - _RIGHT, top + _CHART
    put_text(image, "Score drop when these frames stand still", 14, top - 34, 10, _INK)
    names = list(stretches[0].drops) if len(stretches[0].drops) > 2 else list(stretches[0].drops)[-1:]
    values = [stretch.drops[name] for stretch in stretches for name in names]
    high, low = max([_LEAST_SCALE, *values]), min([0.0, *values])
    start, end = stretches[0].start_seconds, stretches[-1].end_seconds

    def x_of(seconds: float) -> int:
        return round(left + (right - left) * (seconds - start) / max(end - start, 1e-9))

    def y_of(drop: float) -> int:
        return round(bottom - (bottom - top) * (drop - low) / (high - low))

    best = explanation.strongest
    image[top:bottom, x_of(best.start_seconds) : x_of(best.end_seconds)] = (255, 244, 214)
    for stretch in stretches:
        if not stretch.num_windows:
            image[top:bottom, x_of(stretch.start_seconds) : x_of(stretch.end_seconds)] = (238, 240, 242)
    if not all(stretch.num_windows for stretch in stretches):
        put_text(image, "gray: in no window", right - 150, top - 12, 9, _SOFT)
    for tick in ticks(low, high, 4):
        image[y_of(tick), left:right] = _QUIET
        put_text(image, f"{tick:g}", left - 12 - text_size(f"{tick:g}", 8)[0], y_of(tick) + 4, 8, _SOFT)
    image[y_of(0), left:right] = _SOFT
    for tick in ticks(start, end, 8):
        image[bottom : bottom + 5, x_of(tick)] = _INK
        put_text(image, f"{tick:g} s", x_of(tick) - 8, bottom + 22, 8, _SOFT)
    for place, name in enumerate(names):
        points = [
            (x_of(seconds), y_of(stretch.drops[name]))
            for stretch in stretches
            for seconds in (stretch.start_seconds, stretch.end_seconds)
        ]
        _steps(image, points, _SERIES[name], 6 if name == "fused" else 2)
        put_text(image, name, left + 90 * place, top - 12, 9, _SERIES[name])


def _steps(image: Image, points: Sequence[tuple[int, int]], color: Color, thickness: int) -> None:
    cv2 = opencv()
    for one, other in pairwise(points):
        cv2.line(image, one, other, color, thickness, cv2.LINE_AA)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."

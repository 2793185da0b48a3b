"""A picture of what happens when: the scores of each class over time, and the segments."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import OutputError, UsageError
from hidden_two_stream.files import atomic_write, write_text
from hidden_two_stream.inference.segments import TimedScores
from hidden_two_stream.reports.charts import duration, ticks
from hidden_two_stream.reports.drawing import Color, class_color, opencv, put_text, text_size
from hidden_two_stream.reports.images import png_bytes
from hidden_two_stream.types import Image, Segment

__all__ = ["ScoreProfile", "check_timeline_path", "timeline_svg", "write_timeline"]

_BINS = 512
_FIRST_BIN_SECONDS = 0.05
_MOST_ROWS = 30

_WIDTH, _LEFT, _RIGHT, _TOP = 1100, 170, 20, 34
_ROW, _AREA, _AXIS = 34, 26, 34
_INK: Color = (31, 35, 40)
_QUIET: Color = (208, 215, 222)


class ScoreProfile:
    """The smoothed scores of a video of any length, in constant memory: means over up to 512 bins.

    When the bins are full, each two of them become one, so their length doubles.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._totals = np.zeros((num_classes, _BINS))
        self._seconds = np.zeros(_BINS)
        self.bin_seconds = _FIRST_BIN_SECONDS
        self.end_seconds = 0.0

    def add(self, piece: TimedScores) -> None:
        """Take the scores of a short interval."""
        while piece.end_seconds > _BINS * self.bin_seconds:
            self._halve()
        first = int(piece.start_seconds / self.bin_seconds)
        last = min(int(piece.end_seconds / self.bin_seconds), _BINS - 1)
        for number in range(first, last + 1):
            begin, end = number * self.bin_seconds, (number + 1) * self.bin_seconds
            part = min(end, piece.end_seconds) - max(begin, piece.start_seconds)
            if part > 0:
                self._totals[:, number] += part * piece.smooth
                self._seconds[number] += part
        self.end_seconds = max(self.end_seconds, piece.end_seconds)

    def _halve(self) -> None:
        empty = np.zeros(_BINS // 2)
        self._seconds = np.concatenate([self._seconds.reshape(-1, 2).sum(axis=1), empty])
        totals = self._totals.reshape(len(self._totals), -1, 2).sum(axis=2)
        self._totals = np.concatenate([totals, np.zeros_like(totals)], axis=1)
        self.bin_seconds *= 2

    def means(self) -> npt.NDArray[np.float64]:
        """Return (classes, bins) mean scores, from the beginning to the end of the video."""
        used = self._seconds > 0
        return np.asarray(self._totals[:, used] / self._seconds[used], np.float64)


def check_timeline_path(path: Path) -> None:
    """Check that a timeline can be written to a path, before the scores are computed.

    Raises:
        UsageError: the suffix is neither .svg nor .png.
        MissingDependencyError: it is .png, and OpenCV, which draws the text, is not installed.
        OutputError: the folder does not exist.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError(
            f"cannot write a timeline as {path.name!r}; expected a name that ends in .svg or .png"
        )
    if path.suffix.lower() == ".png":
        opencv()
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: no folder {str(path.parent)!r}; create it first")


def write_timeline(
    path: str | os.PathLike[str],
    profile: ScoreProfile,
    segments: Sequence[Segment],
    classes: Sequence[str],
    title: str,
) -> None:
    """Write a timeline as .svg or .png, atomically.

    Args:
        path: the file.
        profile: the scores.
        segments: what happens when.
        classes: class names, in the order of the scores.
        title: a line above, such as the name of the video.

    Raises:
        UsageError, MissingDependencyError, OutputError: as `check_timeline_path`; also OutputError if the
            file cannot be written.
    """
    file = Path(path)
    check_timeline_path(file)
    picture = _picture(profile, segments, classes, title)
    if file.suffix.lower() == ".svg":
        write_text(file, _svg(picture))
        return
    with atomic_write(file) as part:
        part.write_bytes(png_bytes(_raster(picture)))


def timeline_svg(
    profile: ScoreProfile, segments: Sequence[Segment], classes: Sequence[str], title: str
) -> str:
    """Return the timeline as SVG; the arguments are those of `write_timeline`."""
    return _svg(_picture(profile, segments, classes, title))


# -- layout ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    x: float
    baseline: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class _Area:
    """A filled polygon; `strength` is the share of its color, the rest is white. `hint` is a tooltip."""

    points: tuple[tuple[float, float], ...]
    color: Color
    strength: float = 1.0
    hint: str = ""


@dataclass(frozen=True)
class _Picture:
    width: int
    height: int
    areas: tuple[_Area, ...]
    texts: tuple[_Text, ...]


def _picture(
    profile: ScoreProfile, segments: Sequence[Segment], classes: Sequence[str], title: str
) -> _Picture:
    means = profile.means()
    rows = _shown_rows(means, segments, classes)
    end = max([profile.end_seconds, 1e-6, *(segment.end_seconds for segment in segments)])
    bottom = _TOP + _ROW * len(rows)

    def x_of(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(seconds, end) / end

    left_out = len(classes) - len(rows)
    more = f" (best {len(rows)} of {len(classes)} classes)" if left_out else ""
    texts = [_Text(12, 21, f"{title}: {duration(end)}{more}")]
    areas = []
    for place, number in enumerate(rows):
        base = _TOP + _ROW * place + _AREA
        texts.append(_Text(_LEFT - 10, base - 6, _short(classes[number]), "end"))
        areas.append(_rectangle(_LEFT, _WIDTH - _RIGHT, base, base + 1, _QUIET))
        areas += _row(means[number], profile, x_of, base, class_color(number))
        areas += [
            _rectangle(
                x_of(segment.start_seconds), x_of(segment.end_seconds), base, base + 5,
                class_color(number), hint=_hint(segment),
            )
            for segment in segments
            if segment.label == classes[number]
        ]  # fmt: skip
    for tick in ticks(0.0, end, 8):
        areas.append(_rectangle(x_of(tick) - 0.5, x_of(tick) + 0.5, bottom, bottom + 5, _INK))
        texts.append(_Text(x_of(tick), bottom + 20, f"{tick:g} s", "middle"))
    return _Picture(_WIDTH, bottom + _AXIS, tuple(areas), tuple(texts))


def _shown_rows(
    means: npt.NDArray[np.float64], segments: Sequence[Segment], classes: Sequence[str]
) -> list[int]:
    """Return the classes to show: all, or those with segments and the highest scores."""
    if len(classes) <= _MOST_ROWS:
        return list(range(len(classes)))
    found = {segment.label for segment in segments}
    highest = means.max(axis=1) if means.size else np.zeros(len(classes))
    order = sorted(range(len(classes)), key=lambda number: (classes[number] not in found, -highest[number]))
    return sorted(order[:_MOST_ROWS])


def _row(
    means: npt.NDArray[np.float64],
    profile: ScoreProfile,
    x_of: Callable[[float], float],
    base: float,
    color: Color,
) -> list[_Area]:
    """Return the scores of one class as an area whose height is the score."""
    if not len(means):
        return []
    edges = [x_of(number * profile.bin_seconds) for number in range(len(means))]
    edges.append(x_of(profile.end_seconds))
    points = [(edges[0], base)]
    for number, value in enumerate(means):
        y = base - (_AREA - 4) * float(value)
        points += [(edges[number], y), (edges[number + 1], y)]
    return [_Area((*points, (edges[-1], base)), color, 0.45)]


def _rectangle(left: float, right: float, top: float, bottom: float, color: Color, hint: str = "") -> _Area:
    right = max(right, left + 1)
    return _Area(((left, top), (right, top), (right, bottom), (left, bottom)), color, hint=hint)


def _short(label: str) -> str:
    return label if len(label) <= 22 else f"{label[:21]}…"


def _hint(segment: Segment) -> str:
    score = "" if segment.score is None else f", score {segment.score:.2f}"
    return f"{segment.label}: {segment.start_seconds:.2f} to {segment.end_seconds:.2f} s{score}"


# -- the two ways to draw it -----------------------------------------------------------------------


def _svg(picture: _Picture) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}" '
        f'width="{picture.width}" height="{picture.height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for area in picture.areas:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in area.points)
        title = f"<title>{escape(area.hint)}</title>" if area.hint else ""
        parts.append(f'<polygon points="{points}" fill="rgb{_mixed(area)}">{title}</polygon>')
    for text in picture.texts:
        parts.append(
            f'<text x="{text.x:.1f}" y="{text.baseline:.1f}" text-anchor="{text.anchor}" fill="rgb{_INK}">'
            f"{escape(text.text)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _raster(picture: _Picture) -> Image:
    cv2 = opencv()
    image = np.full((picture.height, picture.width, 3), 255, np.uint8)
    for area in picture.areas:
        points = np.rint(np.array(area.points) * 16).astype(np.int32)  # 4 bits are fractions of a pixel
        cv2.fillPoly(image, [points], _mixed(area), cv2.LINE_AA, 4)
    for text in picture.texts:
        width, _ = text_size(text.text, 9)
        shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor]
        put_text(image, text.text, text.x - shift * width, text.baseline, 9, _INK)
    return image


def _mixed(area: _Area) -> Color:
    red, green, blue = (round(255 + area.strength * (part - 255)) for part in area.color)
    return red, green, blue

"""Writes the hidden motion of a video: color-coded flow beside the frames, or .flo files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import atomic_folder, holds_nothing, make_folder
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flo import write_flo
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.types import FloatArray, Image
from hidden_two_stream.video.finding import is_video, source_stem
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.writer import write_video

__all__ = ["FlowExport", "default_flow_path", "export_flow"]

_FALLBACK_FPS = 25.0
_SMALLEST_MAX_PX = 0.5  # of a video without motion


@dataclass(frozen=True)
class FlowExport:
    """The result of `export_flow`.

    Attributes:
        source: path, URL or frame folder of the video.
        output: the video file or folder that was written.
        num_pairs: number of frame pairs whose flow was written.
        short_side: shorter side of the frames that MotionNet saw, px.
        max_px: motion of full color in the written video, px; None for .flo files.
        warnings: what is wrong with the video, for example that decoding stopped early.
    """

    source: str
    output: str
    num_pairs: int
    short_side: int
    max_px: float | None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; "max_px" is left out for .flo files."""
        color = {} if self.max_px is None else {"max_px": self.max_px}
        return {
            "source": self.source,
            "output": self.output,
            "num_pairs": self.num_pairs,
            "short_side": self.short_side,
            **color,
            "warnings": list(self.warnings),
        }


def default_flow_path(source: str) -> Path:
    """Return the path of the flow video of `source`: NAME.flow.mp4 in the current folder."""
    return Path(f"{source_stem(source)}.flow.mp4")


def export_flow(
    estimator: MotionEstimator,
    source: str | Path,
    out: str | Path | None = None,
    *,
    short_side: int | None = None,
    max_px: float | None = None,
) -> FlowExport:
    """Write the flow between all neighboring frames of a video.

    Args:
        estimator: `motion_estimator("nano")`, or `Recognizer.motion_estimator` of a trained run.
        source: a video file, a URL, or a folder of frames.
        out: a video file (frames beside color-coded flow), or a folder (one .flo file per frame pair). None:
            `default_flow_path(source)`.
        short_side: shorter side of the frames that MotionNet sees, px; None: see `MotionEstimator.side`.
        max_px: motion of full color, px. None: the 99th percentile of the speed in the fastest window, for
            which the video is read twice.

    Raises:
        UsageError: an argument is wrong, the video has a single frame, or the folder holds .flo files.
        VideoError: the video cannot be read.
        OutputError: the output cannot be written.
    """
    name = str(source)
    path = default_flow_path(name) if out is None else Path(out)
    makes_video = is_video(path.name)
    _check_output(path, name, makes_video, max_px)
    with VideoReader(source) as reader:
        fps, size = reader.fps or _FALLBACK_FPS, reader.size
    side = estimator.side(size, short_side)
    if makes_video:
        make_folder(path.parent)
        # The second pass reports what is wrong with the video.
        max_px = max_px or _fast_motion(estimator.flow_windows(source, side, on_warning=lambda _: None))
    warnings: list[str] = []
    windows = _at_least_one_pair(estimator.flow_windows(source, side, on_warning=warnings.append), name)
    num_pairs = _write_files(path, windows) if max_px is None else _write_video(path, windows, fps, max_px)
    return FlowExport(name, str(path), num_pairs, side, max_px, tuple(warnings))


def _check_output(out: Path, source: str, makes_video: bool, max_px: float | None) -> None:
    """Reject an output that cannot be written, and a `max_px` that is wrong or would have no effect."""
    if max_px is not None and not max_px > 0:
        raise UsageError(f"--max-px is {max_px}; expected a positive number")
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UsageError(f"{str(out)!r} is the video itself; name another file for its flow")
    if makes_video:
        return
    if out.suffix:
        raise UsageError(
            f"cannot write {str(out)!r}; name a video such as flow.mp4, or a folder for .flo files"
        )
    if max_px is not None:
        raise UsageError("--max-px sets colors, but .flo files hold the motion itself: leave it out")
    if any(out.glob("flow_*.flo")):
        raise UsageError(f"{str(out)!r} already holds .flo files; name another folder")


def _at_least_one_pair(
    windows: Iterable[tuple[Tensor, FloatArray]], source: str
) -> Iterator[tuple[Tensor, FloatArray]]:
    """Yield the windows; raise a UsageError after them if they hold no flow."""
    num_pairs = 0
    for frames, flow in windows:
        num_pairs += len(flow)
        yield frames, flow
    if num_pairs == 0:
        raise UsageError(f"{source!r} has a single frame; flow needs at least two")


def _write_files(folder: Path, windows: Iterable[tuple[Tensor, FloatArray]]) -> int:
    """Write one file per frame pair and return their number; until all are there, none is.

    Other files in the folder stay.
    """
    number = 0
    whole = folder if holds_nothing(folder) else folder / ".flow"
    with atomic_folder(whole) as part:
        for _, flow in windows:
            for pair in flow:
                write_flo(part / f"flow_{number:06d}.flo", pair)
                number += 1
    if whole != folder:
        for path in whole.iterdir():
            path.rename(folder / path.name)
        whole.rmdir()
    return number


def _write_video(path: Path, windows: Iterable[tuple[Tensor, FloatArray]], fps: float, max_px: float) -> int:
    """Write frame t beside the color-coded flow t → t+1, and return the number of frame pairs."""
    num_pairs = 0

    def images() -> Iterator[Image]:
        nonlocal num_pairs
        for frames, flow in windows:
            height, width = (length - length % 2 for length in frames.shape[-2:])  # for the video format
            colors = flow_to_color(_at_frame_size(flow, frames), max_px=max_px)
            for frame, color in zip(frames.permute(0, 2, 3, 1).numpy(), colors, strict=False):
                num_pairs += 1
                yield np.concatenate([frame[:height, :width], color[:height, :width]], axis=1)

    write_video(path, images(), fps)
    return num_pairs


def _at_frame_size(flow: FloatArray, frames: Tensor) -> FloatArray:
    """Return flow (n, 2, h, w) as (n, 2, H, W), in pixels of `frames` (n+1, 3, H, W)."""
    resized: FloatArray = resize_flow(torch.from_numpy(flow), *frames.shape[-2:]).numpy()
    return resized


def _fast_motion(windows: Iterable[tuple[Tensor, FloatArray]]) -> float:
    """Return the 99th percentile of the speed in the window where it is highest, px per frame."""
    fastest = 0.0
    for frames, flow in windows:
        if len(flow):
            speeds = np.linalg.norm(_at_frame_size(flow, frames), axis=1)
            fastest = max(fastest, float(np.percentile(speeds, 99)))
    return max(fastest, _SMALLEST_MAX_PX)

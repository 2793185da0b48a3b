"""`hts flow`: the hidden motion of a video, as a colour video beside the frames or as .flo files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import make_folder
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.motion.flo import write_flo
from hidden_two_stream.motion.flow import resize_flow
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.finding import VIDEO_SUFFIXES
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.writer import write_video

__all__ = ["default_output", "flow_command"]

Image = npt.NDArray[np.uint8]


def default_output(source: str) -> Path:
    """Where the flow of a video goes that was not said: NAME.flow.mp4 in the current folder."""
    path = Path(urlsplit(source).path if "://" in source else source)
    return Path(f"{path.stem or path.resolve().name or 'video'}.flow.mp4")


def flow_command(
    estimator: MotionEstimator, source: str, out: Path, short_side: int | None, max_px: float | None
) -> dict[str, Any]:
    """Write the hidden flow of `source`.

    Args:
        estimator: the MotionNet that is used.
        source: a video; what is wrong with it is in "warnings" of what is returned.
        out: a video file (frames beside colour-coded flow), or a folder for one .flo file per pair.
        short_side: shorter side of the pictures that MotionNet sees, px; None: as the estimator says.
        max_px: motion of full colour, px; None: the 99th percentile of the video (which reads it twice).
    """
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UsageError(f"{str(out)!r} is the video itself; name another file for its flow")
    with VideoReader(source) as reader:
        fps, size = reader.fps or 25.0, reader.size
    side, warnings = estimator.side(size, short_side), list[str]()
    if out.suffix.lower() in VIDEO_SUFFIXES:
        scale = max_px or _fast_motion(estimator, source, side)
        count = _Counter()
        make_folder(out.parent)
        windows = estimator.flow_windows(source, side, on_warning=warnings.append)
        write_video(out, count.counted(_pictures(windows, source, scale)), fps)
        return {
            "source": source,
            "output": str(out),
            "num_pairs": count.total,
            "short_side": side,
            "max_px": scale,
            "warnings": warnings,
        }
    if out.suffix:
        raise UsageError(
            f"cannot write {str(out)!r}; name a video such as flow.mp4, or a folder for .flo files"
        )
    if max_px is not None:
        raise UsageError("--max-px is for colours; .flo files hold the motion as it is: leave it out")
    if any(out.glob("flow_*.flo")):
        raise UsageError(f"{str(out)!r} already holds .flo files; name another folder")
    number = _write_files(out, estimator.flow_windows(source, side, on_warning=warnings.append))
    if number == 0:
        raise _single_frame(source)
    return {
        "source": source,
        "output": str(out),
        "num_pairs": number,
        "short_side": side,
        "warnings": warnings,
    }


def _write_files(folder: Path, windows: Iterator[tuple[Tensor, FloatArray]]) -> int:
    """One file for each pair, all or none; how many."""
    existed, written = folder.exists(), list[Path]()
    try:
        for _, flow in windows:
            for pair in flow:
                written.append(make_folder(folder) / f"flow_{len(written):06d}.flo")
                write_flo(written[-1], pair)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        if written and not existed:
            folder.rmdir()
        raise
    return len(written)


def _pictures(windows: Iterator[tuple[Tensor, FloatArray]], source: str, max_px: float) -> Iterator[Image]:
    """Frame t beside the coloured flow t → t+1, at the resolution that MotionNet saw; even sides."""
    any_flow = False
    for frames, flow in windows:
        height, width = (length - length % 2 for length in frames.shape[-2:])
        coloured = flow_to_color(_at_frame_size(flow, frames), max_px=max_px)
        for frame, colours in zip(frames.permute(0, 2, 3, 1).numpy(), coloured, strict=False):
            any_flow = True
            yield np.concatenate([frame[:height, :width], colours[:height, :width]], axis=1)
    if not any_flow:
        raise _single_frame(source)


def _single_frame(source: str) -> UsageError:
    return UsageError(f"{source!r} has a single frame; flow needs at least two")


def _at_frame_size(flow: FloatArray, frames: Tensor) -> FloatArray:
    """Flow (n, 2, h, w) → (n, 2, H, W), in pixels of `frames` (n+1, 3, H, W)."""
    resized: FloatArray = resize_flow(torch.from_numpy(flow), *frames.shape[-2:]).numpy()
    return resized


def _fast_motion(estimator: MotionEstimator, source: str, side: int) -> float:
    """99th percentile of the speed, px per frame, in the window where it is highest."""
    fastest = 0.0
    for frames, flow in estimator.flow_windows(source, side):
        if len(flow):
            speeds = np.linalg.norm(_at_frame_size(flow, frames), axis=1)
            fastest = max(fastest, float(np.percentile(speeds, 99)))
    return max(fastest, 0.5)


class _Counter:
    def __init__(self) -> None:
        self.total = 0

    def counted(self, images: Iterator[Image]) -> Iterator[Image]:
        for image in images:
            self.total += 1
            yield image

"""Videos for the page: VP8 in WebM, which every browser plays, with the frames at their own times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.nn.functional import interpolate

from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.errors import OutputError, VideoError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.types import FloatArray, Frame, Image
from hidden_two_stream.video.reader import VideoReader

__all__ = ["preview_video", "write_preview", "write_webm"]

_SHORT_SIDE, _LONGEST_SIDE = 240, 640
_SCALE_PAIRS = 600  # pairs of frames at the beginning that set the motion of full color
_SLOWEST_PX = 0.5
_OPTIONS = {"deadline": "realtime", "cpu-used": "12", "crf": "12", "b": "3M"}


def preview_video(path: str, name: str, seconds: float, folder: str) -> dict[str, Any]:
    """Write the frames of a video that the browser cannot play itself; returns {"preview": file name}.

    Raises:
        VideoError: the video cannot be read.
        OutputError: there is no room for the file.
    """
    try:
        return {"preview": write_preview(path, seconds, Path(folder) / "video.webm", None)["file"]}
    except VideoError as error:
        raise VideoError(name, error.reason) from error


def write_preview(path: str, seconds: float, out: Path, estimator: MotionEstimator | None) -> dict[str, Any]:
    """Write the frames of a video, with their flow in color to the right of them.

    Args:
        path: the video.
        seconds: how long it is, s, for the progress.
        out: the file to write.
        estimator: estimates the flow; None: write the frames alone.

    Returns:
        "file", its name; "width" and "height", px; "max_px": motion of full color, px of the network's
        frames; None without flow. It is set by fast motion (99th percentile of the speed of a pair of frames,
        80th over the pairs) near the beginning, so that it is the same in the whole video.

    Raises:
        VideoError: the video cannot be read.
        OutputError: the file cannot be written.
    """
    max_px = None if estimator is None else _fast_motion(estimator, path)
    with VideoReader(path) as reader:
        size = _size(*reader.size)
        frames = _scaled(reader.frames(), size)
        images = frames if estimator is None else _beside(frames, estimator, path, max_px or 1.0)
        write_webm(out, _counted(images, seconds))
    width = size[1] * (1 if estimator is None else 2)
    return {"file": out.name, "width": width, "height": size[0], "max_px": max_px}


def write_webm(path: Path, images: Iterable[tuple[float, Image]]) -> None:
    """Write images (H, W, 3) uint8 RGB with even sides and their times, s, as VP8.

    Raises:
        OutputError: the file cannot be written.
    """
    pairs = iter(images)
    first = next(pairs)
    height, width = first[1].shape[:2]
    with atomic_write(path) as part:
        try:
            with av.open(str(part), "w", format="webm") as container:
                stream = container.add_stream("libvpx", rate=Fraction(1000), options=_OPTIONS)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.time_base = Fraction(1, 1000)
                stream.codec_context.thread_count = 1  # its threads wait by spinning, and take the cores
                before = -1
                for seconds, image in chain((first,), pairs):
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                    before = frame.pts = max(before + 1, round(1000 * seconds))
                    frame.time_base = Fraction(1, 1000)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise
            raise OutputError(f"cannot write a preview: {' '.join(str(error).split())}") from error


def _size(height: int, width: int) -> tuple[int, int]:
    """Return the size of the preview's frames: even sides, about 240 px the shorter one."""
    factor = min(_SHORT_SIDE / min(height, width), _LONGEST_SIDE / max(height, width))
    return max(2, 2 * round(height * factor / 2)), max(2, 2 * round(width * factor / 2))


def _scaled(frames: Iterable[Frame], size: tuple[int, int]) -> Iterator[tuple[float, Image]]:
    for frame in frames:
        image = resized(frame.image[None], size)[0].permute(1, 2, 0).numpy()
        yield frame.pts_seconds, image


def _beside(
    frames: Iterator[tuple[float, Image]], estimator: MotionEstimator, path: str, max_px: float
) -> Iterator[tuple[float, Image]]:
    """Yield frame t beside the flow t → t+1; the last frame stands beside the last flow."""
    color: Image | None = None
    flows = (pair for _, flow in estimator.flow_windows(path, on_warning=lambda _: None) for pair in flow)
    for seconds, image in frames:
        flow = next(flows, None)
        if flow is not None:
            color = _colored(flow, image.shape[:2], max_px)
        beside = np.full_like(image, 255) if color is None else color
        yield seconds, np.concatenate([image, beside], axis=1)


def _colored(flow: FloatArray, size: tuple[int, ...], max_px: float) -> Image:
    """Return flow (2, h, w) in color, enlarged to a size (height, width) by mixing the colors."""
    color = torch.from_numpy(flow_to_color(flow, max_px)).permute(2, 0, 1)
    large = interpolate(color[None].float(), size, mode="bilinear", align_corners=False)[0]
    return np.asarray(large.permute(1, 2, 0).round().byte().numpy())


def _fast_motion(estimator: MotionEstimator, path: str) -> float:
    flows = (pair for _, flow in estimator.flow_windows(path, on_warning=lambda _: None) for pair in flow)
    speeds = [float(np.percentile(np.hypot(*pair), 99)) for pair in islice(flows, _SCALE_PAIRS)]
    return max(_SLOWEST_PX, float(np.percentile(speeds, 80)) if speeds else 0.0)


def _counted(images: Iterable[tuple[float, Image]], seconds: float) -> Iterator[tuple[float, Image]]:
    steps = max(1, round(seconds * 10))
    with ProgressLine("Motion in color", steps, quiet=True) as line:
        for at, image in images:
            yield at, image
            line.update(min(steps, round(at * 10)))

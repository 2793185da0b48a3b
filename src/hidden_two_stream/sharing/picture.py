"""The flow picture of a model card: what MotionNet sees, beside the frame and, if known, the exact motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.motion_estimator import MotionEstimator
from hidden_two_stream.motion.color import flow_to_color
from hidden_two_stream.reports.data import Image
from hidden_two_stream.reports.images import color_wheel_image, png_bytes
from hidden_two_stream.synthetic.training_scenes import generate_scene
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.reader import Source, source_name

__all__ = ["FlowPicture", "flow_picture"]

_SCENE = 30
"""Seed of the scene: several textured surfaces that move in different directions."""
_SIDE = 288
_GAP = 12


@dataclass(frozen=True)
class FlowPicture:
    """A picture for the card.

    Attributes:
        png: the picture, as PNG.
        error_px: mean distance from the exact flow, px of the drawn scene; None: a video without exact flow.
        zero_error_px: that distance for a flow of zero.
    """

    png: bytes
    error_px: float | None = None
    zero_error_px: float | None = None


def flow_picture(estimator: MotionEstimator, video: Source | None = None) -> FlowPicture:
    """Return a picture of the flow of a generated scene, so that no video of the training data is shown.

    Args:
        estimator: the run's MotionNet.
        video: show the middle of this video instead, which the author has chosen to publish.

    Raises:
        UsageError: the video has fewer than two frames, or as `MotionEstimator.flow`.
        VideoError: the video cannot be read.
    """
    if video is not None:
        return _of_video(estimator, video)
    scene = generate_scene(_SCENE, num_frames=max(3, estimator.num_frames))
    middle = len(scene.flow) // 2
    found = _enlarged(estimator.flow(scene.frames, scene.frames.shape[1])[middle], scene.flow.shape[-2:])
    exact = scene.flow[middle]
    fastest = float(np.quantile(np.hypot(*exact), 0.98)) or 1.0
    panels = [scene.frames[middle], flow_to_color(found, fastest), flow_to_color(exact, fastest)]
    error = float(np.hypot(*(found - exact)).mean())
    return FlowPicture(_beside(panels), error, float(np.hypot(*exact).mean()))


def _of_video(estimator: MotionEstimator, video: Source) -> FlowPicture:
    """Return the picture of the middle of a video, in two passes of constant memory."""
    count = sum(len(flow) for _, flow in estimator.flow_windows(video))
    if count == 0:
        raise UsageError(f"{source_name(video)!r} has one frame; expected a video that shows motion")
    start = 0
    for frames, flow in estimator.flow_windows(video):
        if start + len(flow) > count // 2:
            number = count // 2 - start
            image = frames[number].permute(1, 2, 0).clamp(0, 255).byte().numpy()
            return FlowPicture(_beside([image, flow_to_color(flow[number])]))
        start += len(flow)
    raise UsageError(f"{source_name(video)!r} changed while it was read; give a complete video")


def _enlarged(flow: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Return a flow on a larger grid, in px of that grid; each vector fills a block."""
    rows = np.arange(size[0]) * flow.shape[1] // size[0]
    columns = np.arange(size[1]) * flow.shape[2] // size[1]
    factors = np.array([size[1] / flow.shape[2], size[0] / flow.shape[1]], np.float32)
    grown: FloatArray = (flow[:, rows][:, :, columns] * factors[:, None, None]).astype(np.float32)
    return grown


def _beside(panels: list[Image]) -> bytes:
    """Return panels of one height beside each other, and the color wheel, as PNG on white."""
    scaled = [_scaled(panel) for panel in panels]
    wheel = color_wheel_image(96)
    gap = np.full((_SIDE, _GAP, 3), 255, np.uint8)
    column = np.full((_SIDE, 96, 3), 255, np.uint8)
    column[(_SIDE - 96) // 2 : (_SIDE + 96) // 2] = wheel
    parts = [part for panel in scaled for part in (panel, gap)]
    return png_bytes(np.concatenate([*parts, column], axis=1))


def _scaled(panel: Image) -> Image:
    """Return a panel with the height of the picture, without smoothing."""
    height, width = panel.shape[:2]
    rows = np.arange(_SIDE) * height // _SIDE
    target = max(1, min(2 * _SIDE, round(width * _SIDE / height)))
    scaled: Image = panel[rows][:, np.arange(target) * width // target]
    return scaled

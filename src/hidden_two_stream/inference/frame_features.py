"""The features of the frames of a video, from networks that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hidden_two_stream.checkpoint import RunInfo
from hidden_two_stream.data.annotations.frame_labels import FrameTimes
from hidden_two_stream.data.clip_cache import require_resizable, resized
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.types import Frame
from hidden_two_stream.video.reader import Source, VideoReader
from hidden_two_stream.video.times import at_rate, unsampled_warning

__all__ = ["FeatureParts", "VideoFeatures", "frame_features"]

_CHUNK = 32  # pairs of frames per forward pass


@dataclass(frozen=True)
class FeatureParts:
    """What the features of a frame are made of.

    Attributes:
        streams: "temporal", or "temporal" and "spatial".
        grid: (rows, columns), 1…4 each. If it has several cells, each gives a vector of its own beside that
            of the whole frame.

    Raises:
        UsageError: a value is out of range.
    """

    streams: tuple[str, ...] = ("temporal",)
    grid: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        streams = tuple(self.streams)
        if streams not in (("temporal",), ("temporal", "spatial")):
            raise UsageError(f"streams is {streams}; expected temporal, with or without spatial")
        if [type(cells) is int and 1 <= cells <= 4 for cells in self.grid] != [True, True]:
            raise UsageError(f"the grid is {self.grid}; expected 1 to 4 rows and 1 to 4 columns, such as 1x2")


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """The features of the frames of a video, sampled at the rate of the annotator.

    Attributes:
        features: (N, D) float32, one row per sampled frame.
        sampled_seconds: (N,) their times.
        pts_seconds: (T,) times of all frames of the video.
        fps: rate of the video; None: unknown.
        warnings: what is wrong with the video.
    """

    features: Tensor = field(repr=False)
    sampled_seconds: FrameTimes = field(repr=False)
    pts_seconds: FrameTimes = field(repr=False)
    fps: float | None = None
    warnings: tuple[str, ...] = ()


def frame_features(
    networks: HiddenTwoStream, info: RunInfo, source: Source, parts: FeatureParts | None = None
) -> VideoFeatures:
    """Return the features of the frames of a video.

    They are the vectors of the pair that ends with each frame and, with "spatial" among the streams, the
    embedding of the frame behind them. The whole frame is seen, squeezed to a square of `input.size`. With
    `input.fps` the video is sampled at this rate. Memory does not grow with the length of the video, but for
    the result.

    Raises:
        UsageError: there is nothing at the path.
        VideoError: the video cannot be read.
    """
    size, chosen = info.recipe.input.size, parts or FeatureParts()
    device = next(networks.parameters()).device
    times: list[float] = []
    sampled: list[float] = []
    rows: list[Tensor] = []
    looks: list[Tensor] = []
    with VideoReader(source) as reader:
        require_resizable(source, reader.size, (size, size))
        fps = info.recipe.input.fps if reader.fps else 0.0
        frames = _timed(reader.frames(), times)
        frames = _timed(at_rate(frames, fps) if fps else frames, sampled)
        for chunk in _chunks(frames):
            images = resized(np.stack([frame.image for frame in chunk]), (size, size)).to(device)
            with torch.inference_mode():
                clip = networks.preprocess(images[None])
                rows.append(networks.pair_vectors(clip, chosen.grid)[0].cpu())
                if "spatial" in chosen.streams:  # one frame of each chunk was in the chunk before
                    seen = clip.transpose(0, 1)[len(looks) > 0 :]
                    looks.append(networks.spatial_embedding(seen).cpu())
        own_fps, warnings = reader.fps, (reader.warning, unsampled_warning(reader.fps, info.recipe.input.fps))
    vectors = torch.cat(rows)
    # The first frame has no pair that ends with it. A single frame is its own neighbor.
    features = torch.cat((vectors[:1], vectors))[: len(sampled)]
    if looks:
        features = torch.cat((features, torch.cat(looks)[: len(sampled)]), dim=1)
    return VideoFeatures(
        features, np.array(sampled), np.array(times), own_fps, tuple(text for text in warnings if text)
    )


def _timed(frames: Iterator[Frame], times: list[float]) -> Iterator[Frame]:
    """Yield frames, and append their times to `times`."""
    for frame in frames:
        times.append(frame.pts_seconds)
        yield frame


def _chunks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Yield pieces of a video that share one frame; a video of one frame is given twice."""
    chunk: list[Frame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) > _CHUNK:
            yield chunk
            chunk = [frame]
    if len(chunk) > 1:
        yield chunk
    elif chunk and chunk[0].index == 0:
        yield chunk * 2

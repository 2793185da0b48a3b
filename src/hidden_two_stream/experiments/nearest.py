"""Nearest neighbors on descriptors of whole videos: what a comparison reaches without learning.

Two descriptors: the gray middle frame, and the motion energy about whatever moves. A test video gets the
class of the training video whose descriptor has the smallest Euclidean distance.

The motion energy is a motion-energy image (Bobick and Davis, PAMI 2001) that is centered on the mover, so the
place of the mover in the frame does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hidden_two_stream.data.clip_cache import DecodedVideo, Resize
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.transforms import resize

__all__ = ["LENGTHS", "NEAREST", "NearestModel", "describe", "middle_frame", "motion_energy", "reduced_gray"]

_FRAME_SIZE = (24, 32)  # px, height and width of the middle frame
_AREA = 48 * 60  # px, of the gray frames that motion is measured on
_LEAST_CHANGE = 12.0  # gray levels of 255; smaller changes are noise
_WINDOW = 32  # px, side of the window about the mover
_POOL = 2  # px, side of the squares that the window is summed over
_SIDE = _WINDOW // _POOL
_SPEED_WEIGHT, _VARIATION_WEIGHT = 1.0, 2.0  # beside an energy image of norm 1
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CHUNK = 64  # frames that are reduced together
_ROWS = 256  # descriptors whose distances to all others are computed together


# -- descriptors -----------------------------------------------------------------------------------


def middle_frame(frame: Tensor) -> FloatArray:
    """Return the gray levels 0 to 255 of a (3, H, W) uint8 frame, reduced to 24×32 px, as (768,)."""
    reduced: FloatArray = resize(_gray(frame[None]), *_FRAME_SIZE).numpy().ravel()
    return reduced


def reduced_gray(frames: Tensor) -> FloatArray:
    """Return (T, 3, H, W) uint8 frames as (T, h, w) gray levels 0 to 255 on about 48×60 px.

    h·w is about 2880 and the aspect stays, so 144×180 px become 48×60 px, and 64×64 px become 54×54 px.
    """
    height, width = frames.shape[-2:]
    factor = math.sqrt(_AREA / (height * width))
    size = (max(1, round(factor * height)), max(1, round(factor * width)))
    reduced: FloatArray = resize(_gray(frames), *size)[:, 0].numpy()
    return reduced


def _gray(frames: Tensor) -> Tensor:
    weights = torch.tensor(_LUMA)[:, None, None]
    return (frames.float() * weights).sum(dim=1, keepdim=True)


def motion_energy(gray: FloatArray) -> FloatArray:
    """Return the motion energy about the mover in a video, and how it moves: (258,).

    With gray frames g, the changes are d_t = |g_(t+1) − g_t|, where values below 12 are set to 0. Their
    amount is m_t, the sum of d_t, and their centroid is (x_t, y_t). The descriptor holds, in this order:

    - the sum over t of the 32×32 px of d_t about its own centroid (rounded to whole pixels, 0 beyond the
      frame), summed over squares of 2×2 px and divided by its Euclidean norm: 16·16 values, all 0 where
      nothing changes in any window;
    - the speed: the absolute slope of the least-squares line of x_t over t, px per frame;
    - 2 × the variation: standard deviation of m_t / mean of m_t.

    Pairs of frames without change have no centroid, and count in the variation alone.

    Args:
        gray: (T, h, w) gray levels 0 to 255, see `reduced_gray`.

    Returns:
        The descriptor. It is 0 for a still video and for a single frame, and the same wherever in the frame
        the mover is, in whole pixels of `gray`.
    """
    changes = np.abs(np.diff(gray, axis=0)).astype(np.float64)
    changes[changes < _LEAST_CHANGE] = 0
    amounts = changes.sum(axis=(1, 2))
    moving = np.flatnonzero(amounts)
    if not len(moving):
        return np.zeros(_SIDE**2 + 2, np.float32)
    rows, columns = (
        changes[moving].sum(axis=other) @ np.arange(changes.shape[axis]) / amounts[moving]
        for axis, other in ((1, 2), (2, 1))
    )
    energy = _centered_sum(changes[moving], _rounded(rows), _rounded(columns))
    energy = energy.reshape(_SIDE, _POOL, _SIDE, _POOL).sum(axis=(1, 3))
    norm = np.linalg.norm(energy) or 1.0  # 0 if all changes are far from their centroids, between two movers
    variation = amounts.std() / amounts.mean()
    weighted = (_SPEED_WEIGHT * abs(_slope(moving, columns)), _VARIATION_WEIGHT * variation)
    return np.concatenate([energy.ravel() / norm, weighted]).astype(np.float32)


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Round halves up and ignore the last digits: a shift by whole pixels shifts the result alike."""
    return np.floor(values.round(6) + 0.5).astype(np.int64)


def _centered_sum(
    changes: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the sum of the windows of (N, h, w) changes about their centers, (_WINDOW, _WINDOW)."""
    half = _WINDOW // 2
    padded = np.pad(changes, ((0, 0), (half, half), (half, half)))
    total = np.zeros((_WINDOW, _WINDOW))
    for change, row, column in zip(padded, rows, columns, strict=True):
        total += change[row : row + _WINDOW, column : column + _WINDOW]
    return total


def _slope(times: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> float:
    """Return the slope of the least-squares line; 0 for a single point."""
    centered = times - times.mean()
    return float(centered @ values / max(centered @ centered, 1.0))


def _describe_frame(video: DecodedVideo, size: Resize) -> FloatArray:
    return middle_frame(video.read([video.num_frames // 2], size)[0])


def _describe_motion(video: DecodedVideo, size: Resize) -> FloatArray:
    count = video.num_frames
    parts = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    return motion_energy(np.concatenate([reduced_gray(part) for part in video.read_clips(parts, size)]))


_DESCRIPTORS: Mapping[str, Callable[[DecodedVideo, Resize], FloatArray]] = {
    "nearest-frame": _describe_frame,
    "nearest-motion": _describe_motion,
}
NEAREST = tuple(_DESCRIPTORS)
"""Methods of `hts compare` that are nearest neighbors."""
LENGTHS: Mapping[str, int] = {
    "nearest-frame": _FRAME_SIZE[0] * _FRAME_SIZE[1],
    "nearest-motion": _SIDE**2 + 2,
}
"""Method → number of values of its descriptor."""


def describe(method: str, video: DecodedVideo, size: Resize) -> FloatArray:
    """Return a method's descriptor (D,) of a whole video, whose frames are resized to `size` first."""
    return _DESCRIPTORS[method](video, size)


# -- neighbors -------------------------------------------------------------------------------------


class NearestModel(nn.Module):
    """The training descriptors with their classes.

    The scale of distances is the median distance of a training descriptor to the nearest other one; 1 if that
    is 0, or if there is only one.

    Args:
        descriptors: (N, D) float32.
        labels: (N,) class numbers; each class has at least one descriptor.
    """

    descriptors: Tensor
    labels: Tensor
    scale: Tensor

    def __init__(self, descriptors: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.register_buffer("descriptors", descriptors)
        self.register_buffer("labels", labels)
        self.register_buffer("scale", torch.tensor(_typical_distance(descriptors)))

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return logits (M, classes) of (M, D): −distance to the nearest of each class / scale."""
        found = _distances(descriptors, self.descriptors)
        classes = int(self.labels.max()) + 1
        nearest = found.new_full((len(found), classes), math.inf)
        nearest.scatter_reduce_(1, self.labels.expand_as(found), found, "amin")
        return -nearest / self.scale


def _distances(ones: Tensor, others: Tensor) -> Tensor:
    """Return the Euclidean distances (M, N), by differences: products would lose digits of small ones."""
    return torch.cdist(ones, others, compute_mode="donot_use_mm_for_euclid_dist")


def _typical_distance(descriptors: Tensor) -> float:
    if len(descriptors) < 2 or descriptors.device.type == "meta":
        return 1.0
    nearest = []
    for start in range(0, len(descriptors), _ROWS):
        found = _distances(descriptors[start : start + _ROWS], descriptors)
        found[torch.arange(len(found)), torch.arange(start, start + len(found))] = math.inf
        nearest.append(found.amin(dim=1))
    return float(torch.cat(nearest).median()) or 1.0

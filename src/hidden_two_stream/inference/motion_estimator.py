"""MotionNet alone: the hidden motion of files, frame folders and arrays, without a run or classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hidden_two_stream.data.clip_cache import require_resizable, resized
from hidden_two_stream.errors import CheckpointError, UsageError, warn_of_video
from hidden_two_stream.motion.networks.build import PAIRWISE
from hidden_two_stream.motion.networks.coarse_to_fine import CoarseToFine
from hidden_two_stream.recognition.model import Preprocessing
from hidden_two_stream.tensors import on_device
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.reader import Source, VideoReader, source_name
from hidden_two_stream.video.sampling import clip_indices
from hidden_two_stream.weights.motion import motion_weights_info

__all__ = ["MotionEstimator", "default_side", "motion_estimator", "smallest_side"]

_SMALLEST_SIDE = 16
_LARGEST_SIDE = 256
_LARGEST_LONG_SIDE = 1024  # of enlarged frames
_WINDOW = 11  # frames per window of a network that takes any number


def motion_estimator(source: str | Path, device: str = "cpu") -> MotionEstimator:
    """Return a trained MotionNet, ready to estimate the motion of videos.

    A stacked network for two frames runs from coarse to fine, because it was trained on small frames.

    Args:
        source: the name of shipped weights, such as "nano" (`weights.motion.shipped_motion_weights()` lists
            them), or a file written by `weights.motion.save_motion_weights`.
        device: where to compute, for example "cpu" or "cuda".

    Raises:
        UsageError: there are no such weights, or no such device.
        CheckpointError: the file is damaged or has another format version.
    """
    info = motion_weights_info(source)
    network = on_device(info.build(), device)
    least = smallest_side(info.network)
    if info.num_frames == 2 and info.network not in PAIRWISE:
        network = CoarseToFine(network, least)
    return MotionEstimator(network, info.num_frames, torch.device(device), smallest_side=least)


def default_side(size: tuple[int, int], smallest: int = _SMALLEST_SIDE) -> int:
    """Return the default shorter side of MotionNet's frames: the video's own, `smallest` to 256 px.

    Long, narrow frames are enlarged only until their longer side is 1024 px.

    Args:
        size: (height, width) of the video, px.
        smallest: frames with a smaller shorter side are enlarged to this one, px.
    """
    shorter, longer = sorted(size)
    enlarged = min(smallest, max(shorter, shorter * _LARGEST_LONG_SIDE // longer))
    return max(_SMALLEST_SIDE, enlarged, min(_LARGEST_SIDE, shorter))


def smallest_side(network: str) -> int:
    """Return the smallest shorter side that a network of the MotionNet family should see, px.

    On smaller frames, stacked networks estimate sub-pixel motion poorly (docs/motion.md). Nano enlarges small
    frames itself.
    """
    return _SMALLEST_SIDE if network in PAIRWISE else 128


class MotionEstimator:
    """Estimates the flow between all neighboring frames of a video, window by window.

    Args:
        network: `frames` (B, T, 3, H, W) → flow pyramid, finest level first. It is not modified.
        num_frames: T, the frames that the network takes at once; 0: any number from 2 on.
        device: the network's device.
        short_side: default shorter side of the frames that the network sees, px; None: `default_side`.
        smallest_side: lower limit of `default_side`, px.
        normalize_contrast: as in the recipe that the network was trained with.
    """

    def __init__(
        self,
        network: Callable[[Tensor], list[Tensor]],
        num_frames: int,
        device: torch.device,
        *,
        short_side: int | None = None,
        smallest_side: int = _SMALLEST_SIDE,
        normalize_contrast: bool = False,
    ) -> None:
        self.network = network
        self.num_frames = num_frames
        self.short_side = short_side
        self.smallest_side = smallest_side
        self._device = device
        self._preprocess = Preprocessing(normalize_contrast)

    def side(self, size: tuple[int, int], short_side: int | None = None) -> int:
        """Return the shorter side of the frames that the network sees, px.

        Args:
            size: (height, width) of the video, px.
            short_side: the side asked for, px; None: the default of this estimator.

        Raises:
            UsageError: the side is below 16 px.
        """
        wanted = self.short_side if short_side is None else short_side
        if wanted is not None and wanted < _SMALLEST_SIDE:
            raise UsageError(f"short side is {wanted}; expected at least {_SMALLEST_SIDE} px")
        return default_side(size, self.smallest_side) if wanted is None else wanted

    def flow(self, source: Source, short_side: int | None = None) -> FloatArray:
        """Return the hidden motion between all neighboring frames of a video.

        Args:
            source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array.
            short_side: shorter side of the frames that the network sees, px; None: see `side`.

        Returns:
            (T−1, 2, h, w) float32, in pixels of its own grid; (0, 2, h, w) for a single frame.

        Warns:
            VideoWarning: something is wrong with the video, for example that decoding stopped early.

        Raises:
            UsageError: there is nothing at the path, or the side is below 16 px.
            VideoError: the video cannot be read, or its resized frames would be too large.
            CheckpointError: the flow is not finite.
        """
        return np.concatenate([flow for _, flow in self.flow_windows(source, short_side)])

    def flow_windows(
        self,
        source: Source,
        short_side: int | None = None,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[tuple[Tensor, FloatArray]]:
        """Yield the flow of `flow` window by window, in bounded memory.

        Args:
            source: as for `flow`.
            short_side: as for `flow`.
            on_warning: called after the last frame if something is wrong with the video, with the reason;
                None: a `VideoWarning` is issued.

        Yields:
            frames (n+1, 3, H, W) uint8 as MotionNet saw them, and their flow (n, 2, h, w). The last frame of
            a window is the first frame of the next.
        """
        length = self.window_frames
        with VideoReader(source) as reader:
            side = self.side(reader.size, short_side)
            require_resizable(source, reader.size, side)
            window: list[Tensor] = []
            pending = 0  # frames of the window whose flow has not been yielded
            for frame in reader.frames():
                window.append(resized(frame.image[None], side)[0])
                pending += 1
                if len(window) == length:
                    yield torch.stack(window), self.window_flow(window)
                    window, pending = window[-1:], 0
            if pending:
                yield torch.stack(window), self.window_flow(window)
            if reader.warning and on_warning is not None:
                on_warning(reader.warning)
            elif reader.warning:
                warn_of_video(source_name(source), reader.warning)

    @property
    def window_frames(self) -> int:
        """The most frames that `window_flow` takes."""
        return self.num_frames or _WINDOW

    @torch.inference_mode()
    def window_flow(self, window: Sequence[Tensor]) -> FloatArray:
        """Return the flow between the neighboring frames of one window.

        Args:
            window: 1 to `window_frames` frames, each (3, H, W) uint8. In front of a network that takes more,
                the last frame is repeated.

        Returns:
            (n−1, 2, h, w) float32, in pixels of its own grid.

        Raises:
            CheckpointError: the flow is not finite.
        """
        indices = clip_indices(0, self.num_frames or max(2, len(window)), 1, len(window))
        clip = torch.stack([window[index] for index in indices])[None].to(self._device)
        finest = self.network(self._preprocess(clip))[0][0]
        flow: FloatArray = finest[: len(window) - 1].float().cpu().numpy()
        if not np.isfinite(flow).all():
            raise CheckpointError(
                "MotionNet gives flow that is not finite; train it again with a lower learning rate, or use "
                "another checkpoint"
            )
        return flow

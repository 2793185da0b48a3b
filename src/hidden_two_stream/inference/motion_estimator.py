"""MotionNet in use: the hidden motion of files, frame folders and arrays, with no run and no classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.errors import UsageError
from hidden_two_stream.motion.networks.build import PAIRWISE
from hidden_two_stream.motion.networks.coarse_to_fine import CoarseToFine
from hidden_two_stream.recognition.preprocessing import Preprocessing
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.reader import Source, VideoReader
from hidden_two_stream.video.sampling import clip_indices
from hidden_two_stream.weights.motion import motion_weights_info

__all__ = ["MotionEstimator", "default_side", "motion_estimator", "on_device", "smallest_side"]

Module = TypeVar("Module", bound=nn.Module)
_WINDOW = 11  # frames at a time of a network that takes any number
_LARGEST_SIDE = 256
_LARGEST_LONG_SIDE = 1024  # of pictures that are enlarged


def motion_estimator(source: str | Path, device: str = "cpu") -> MotionEstimator:
    """A trained MotionNet for use; one for two frames sees large pictures from coarse to fine.

    Args:
        source: a name that comes with the package ("nano"; `weights.motion.shipped_motion_weights()` gives
            all), or a file written by `weights.motion.save_motion_weights`.
        device: where to compute, for example "cpu" or "cuda".

    Raises:
        UsageError: there are no such weights, or no such device.
        CheckpointError: the file is damaged or of another version.
    """
    info = motion_weights_info(source)
    network = on_device(info.build(), device)
    least = smallest_side(info.network)
    if info.num_frames == 2 and info.network not in PAIRWISE:  # knows the motion of small pictures alone
        network = CoarseToFine(network, least)
    return MotionEstimator(network, info.num_frames, torch.device(device), smallest_side=least)


def on_device(module: Module, device: str | torch.device) -> Module:
    """Return `module` on `device`; on a CUDA GPU with channels last in memory, which convolutions prefer.

    Raises:
        UsageError: there is no such device.
    """
    try:
        moved = module.to(device)
        if torch.device(device).type == "cuda":  # docs/gpu.md
            moved = moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"cannot compute on {str(device)!r}; expected cpu, cuda, cuda:1, mps or the like, and that this "
            "machine has it"
        ) from error
    return moved


def default_side(size: tuple[int, int], smallest: int = 16) -> int:
    """Shorter side of the pictures for a video of `size` (height, width): its own, `smallest` to 256 px.

    What is far wider than high, or higher than wide, is enlarged only to 1024 px of its longer side.
    """
    shorter, longer = sorted(size)
    enlarged = min(smallest, max(shorter, shorter * _LARGEST_LONG_SIDE // longer))
    return max(16, enlarged, min(_LARGEST_SIDE, shorter))


def smallest_side(network: str) -> int:
    """Shorter side that a member of the MotionNet family should see at least, px.

    Below it, a stacked network knows motion of a part of a pixel badly (docs/motion.md). Nano enlarges small
    pictures itself.
    """
    return 16 if network in PAIRWISE else 128


class MotionEstimator:
    """Flow between all neighbouring frames of a video, window by window.

    Args:
        network: `frames` (B, T, 3, H, W) → flow pyramid, finest first; not changed here.
        num_frames: T that it takes; 0: any number from 2 on.
        device: where it computes.
        short_side: shorter side of the pictures where a call does not say, px; None: see `default_side`.
        smallest_side: least shorter side where nothing says more, px.
        normalize_contrast: as in the recipe that it was trained with.
    """

    def __init__(
        self,
        network: Callable[[Tensor], list[Tensor]],
        num_frames: int,
        device: torch.device,
        *,
        short_side: int | None = None,
        smallest_side: int = 16,
        normalize_contrast: bool = False,
    ) -> None:
        self.network = network
        self.num_frames = num_frames
        self.short_side = short_side
        self.smallest_side = smallest_side
        self._device = device
        self._preprocess = Preprocessing(normalize_contrast)

    def side(self, size: tuple[int, int], short_side: int | None = None) -> int:
        """Shorter side of the pictures that the network sees of a video of `size` (height, width), px.

        Args:
            size: of the video.
            short_side: what a call asks for; None: see the class.

        Raises:
            UsageError: the side is below 16 px.
        """
        wanted = self.short_side if short_side is None else short_side
        if wanted is not None and wanted < 16:
            raise UsageError(f"short side is {wanted}; expected at least 16 px")
        return default_side(size, self.smallest_side) if wanted is None else wanted

    def flow(self, source: Source, short_side: int | None = None) -> FloatArray:
        """The hidden motion between all neighbouring frames of a video.

        Args:
            source: a video file, a URL, a folder of frames, or a (T, H, W, 3) uint8 array.
            short_side: shorter side of the pictures that the network sees, px; None: see the class.

        Returns:
            (T−1, 2, h, w) float32, in pixels of its own grid; (0, 2, h, w) for a single frame.

        Raises:
            UsageError: there is nothing at the path, or the side is below 16 px.
            VideoError: the video cannot be read.
        """
        return np.concatenate([flow for _, flow in self.flow_windows(source, short_side)])

    def flow_windows(
        self,
        source: Source,
        short_side: int | None = None,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[tuple[Tensor, FloatArray]]:
        """As `flow`, window by window, in bounded memory.

        Args:
            source, short_side: as for `flow`.
            on_warning: called behind the last frame with what is wrong with the video, if anything is.

        Yields:
            frames (n+1, 3, H, W) uint8 as MotionNet saw them, and their flow (n, 2, h, w). Windows share
            one frame: the last of one is the first of the next.
        """
        length = self.num_frames or _WINDOW
        with VideoReader(source) as reader:
            side = self.side(reader.size, short_side)
            window: list[Tensor] = []
            fresh = 0  # frames of the window whose flow has not been given yet
            for frame in reader.frames():
                window.append(resized(frame.image[None], side)[0])
                fresh += 1
                if len(window) == length:
                    yield torch.stack(window), self._window_flow(window)
                    window, fresh = window[-1:], 0
            if fresh:
                yield torch.stack(window), self._window_flow(window)
            if reader.warning and on_warning is not None:
                on_warning(reader.warning)

    @torch.inference_mode()
    def _window_flow(self, window: list[Tensor]) -> FloatArray:
        """Flow (n−1, 2, h, w) of n frames; a short last window is filled up by repeating its last frame."""
        indices = clip_indices(0, self.num_frames or max(2, len(window)), 1, len(window))
        clip = torch.stack([window[index] for index in indices])[None].to(self._device)
        finest = self.network(self._preprocess(clip))[0][0]
        flow: FloatArray = finest[: len(window) - 1].float().cpu().numpy()
        return flow

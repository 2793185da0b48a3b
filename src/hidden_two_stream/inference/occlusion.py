"""Occlusion in time: the logits of windows in which a stretch of frames stands still.

As Zeiler and Fergus (arXiv 1311.2901) hide squares of an image, this hides the motion of a stretch. There
are two ways. A MotionNet that sees each pair of frames by itself gets each pair of the stretch as one frame
twice, so nothing moves and nothing jumps. For other networks, the frames of the stretch are replaced by the
one in its middle; what moved in between shows as a jump at both ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.inference.windows import Protocol, Window, scored
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.pair_states import PairStates
from hidden_two_stream.video.crops import center_crop_box
from hidden_two_stream.video.sampling import clip_indices
from hidden_two_stream.video.transforms import apply_crop

__all__ = ["Forward", "StillFrames", "StillPairs", "WindowFrames", "window_logits"]

_FEWEST_FRAMES = 3  # of a stretch; in fewer, hardly a motion can stop

Forward = Callable[[Tensor], Mapping[str, Tensor]]
"""Clips (B, T, 3, size, size) uint8 → logits (B, classes) of each stream."""

Stretch = tuple[int, int]
"""First and end frame, end excluded."""

Rows = dict[str, npt.NDArray[np.float64]]
"""Logits (windows, classes) of each stream."""


@dataclass(frozen=True)
class WindowFrames:
    """The frames that the windows of a video use, and the stretches to hide.

    Attributes:
        video: the video.
        images: (n, 3, size, size) uint8: what the networks see of the frames that are used.
        places: number of a frame → its place in `images`.
        windows: numbers of the frames of each window.
        stretches: they cover the video.
        box: (left, top, right, bottom) of `images`, as shares of the frame, 0…1.
    """

    video: DecodedVideo
    images: Tensor
    places: Mapping[int, int]
    windows: tuple[tuple[int, ...], ...]
    stretches: tuple[Stretch, ...]
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, video: DecodedVideo, recipe: Recipe, protocol: Protocol, stretches: int) -> WindowFrames:
        """Return the frames of a protocol's windows; a short video has fewer stretches."""
        length, stride, size = recipe.model.num_frames, recipe.input.frame_stride, recipe.input.size
        starts = protocol.starts(video.num_frames, length, stride)
        windows = tuple(clip_indices(start, length, stride, video.num_frames) for start in starts)
        parts = min(stretches, max(1, video.num_frames // _FEWEST_FRAMES))
        pieces = tuple(itertools.pairwise(round(p * video.num_frames / parts) for p in range(parts + 1)))
        used = sorted({*itertools.chain(*windows), *map(middle, pieces)})
        # One by one: `read` would hold all frames at their full size.
        images = torch.cat(list(video.read_clips([[index] for index in used], recipe.input.resize)))
        height, width = images.shape[-2:]
        box = center_crop_box(height, width, size)
        sides = (
            box.left / width, box.top / height,
            (box.left + box.width) / width, (box.top + box.height) / height,
        )  # fmt: skip
        places = {index: place for place, index in enumerate(used)}
        return cls(video, apply_crop(images, box, size), places, windows, pieces, sides)

    def of_numbers(self, numbers: Iterable[int]) -> Tensor:
        """Return the images of frames, (len, 3, size, size) uint8."""
        return self.images[[self.places[number] for number in numbers]]

    def touched(self, stretch: Stretch) -> list[int]:
        """Return the windows that show a frame of a stretch."""
        return [n for n, window in enumerate(self.windows) if any(_holds(stretch, i) for i in window)]

    def seconds(self, number: int) -> float:
        """Return the time of a frame."""
        return float(self.video.pts_seconds[number])


def middle(stretch: Stretch) -> int:
    """Return the frame in the middle of a stretch."""
    return sum(stretch) // 2


def _holds(stretch: Stretch, number: int) -> bool:
    return stretch[0] <= number < stretch[1]


def window_logits(forward: Forward, clips: Iterable[Tensor]) -> Rows:
    """Return the logits of clips (T, 3, size, size)."""
    found = list(scored((Window(clip[None], 0.0, 0.0) for clip in clips), forward))
    return {name: np.stack([window.logits[name] for window in found]) for name in found[0].logits}


class StillFrames:
    """Hides a stretch by the frame in its middle, for any network.

    Args:
        frames: the frames.
        forward: the networks.
    """

    def __init__(self, frames: WindowFrames, forward: Forward) -> None:
        self._frames, self._forward = frames, forward

    def logits(self, windows: Sequence[int], stretch: Stretch) -> Rows:
        """Return the logits of windows, by number, in which a stretch stands still."""
        still = middle(stretch)
        numbers = (
            [still if _holds(stretch, i) else i for i in self._frames.windows[window]] for window in windows
        )
        return window_logits(self._forward, map(self._frames.of_numbers, numbers))


class StillPairs:
    """Hides the motion from the first frame of a stretch to the one behind it, for networks of pairs.

    The spatial stream sees the frame in the middle of the stretch. States of pairs are computed once.

    Args:
        frames: the frames.
        model: its pairs must be independent, see `HiddenTwoStream.pairs_are_independent`.
        streams: the streams to score.
        temperatures: divisors of the streams' logits; 1 if missing.
    """

    def __init__(
        self,
        frames: WindowFrames,
        model: HiddenTwoStream,
        streams: Sequence[str],
        temperatures: Mapping[str, float],
    ) -> None:
        self._frames, self._model, self._streams = frames, model, streams
        self._temperatures = temperatures
        self._device = next(model.parameters()).device
        self._pairs = PairStates(model, lambda numbers: self._input(numbers)[None])

    @torch.inference_mode()
    def logits(self, windows: Sequence[int], stretch: Stretch) -> Rows:
        """Return the logits of windows, by number, in which a stretch stands still."""
        calls = {"spatial": self._spatial, "temporal": self._temporal}
        found = {name: torch.cat([calls[name](n, stretch) for n in windows]) for name in self._streams}
        return {
            name: (logits / self._temperatures.get(name, 1.0)).double().cpu().numpy()
            for name, logits in found.items()
        }

    def _spatial(self, window: int, stretch: Stretch) -> Tensor:
        numbers = self._frames.windows[window]
        seen = numbers[len(numbers) // 2]
        return self._model.spatial(self._input([middle(stretch) if _holds(stretch, seen) else seen])[None])

    def _temporal(self, window: int, stretch: Stretch) -> Tensor:
        pairs = [
            (one, one if _holds(stretch, one) else other)
            for one, other in itertools.pairwise(self._frames.windows[window])
        ]
        size = self._frames.images.shape[-1]
        return self._model.temporal_of_pairs(self._pairs.of(pairs), size, size)

    def _input(self, numbers: Sequence[int]) -> Tensor:
        images: Tensor = self._model.preprocess(self._frames.of_numbers(numbers).to(self._device))
        return images

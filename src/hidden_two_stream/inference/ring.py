"""The newest window of a stream of frames, scored at the cost of its newest pair.

If MotionNet sees each pair of frames by itself, as nano does, neighboring windows have all pairs but one in
common. So the states of pairs are kept, not frames: a new frame needs MotionNet for one pair, and the
temporal stream for the window. Other networks compute each window anew; the scores are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.recognition.pair_states import PairStates, pairs_of
from hidden_two_stream.types import Image
from hidden_two_stream.video.crops import center_crop
from hidden_two_stream.video.sampling import clip_span

__all__ = ["WindowRing"]


class WindowRing:
    """Scores the window that ends with each new frame, as `HiddenTwoStream` scores whole windows.

    Memory and time per frame are constant.

    Args:
        model: the networks, in evaluation mode.
        recipe: size of the input, and number and stride of the frames of a window.
        streams: the streams to score.

    Attributes:
        span: frames from the first to the last of a window.
        shares_pairs: whether the states of pairs are kept, so that a new frame costs one pair.
    """

    def __init__(self, model: HiddenTwoStream, recipe: Recipe, streams: Sequence[str]) -> None:
        self._model = model
        self._settings = recipe.input
        self._length = recipe.model.num_frames
        self._stride = recipe.input.frame_stride
        self._streams = tuple(streams)
        self.span = clip_span(self._length, self._stride)
        self._frames: deque[Tensor] = deque(maxlen=self.span)
        # A branch behind another network than nano sees whole clips, but then pairs are not independent.
        self.shares_pairs = "temporal" in streams and model.pairs_are_independent
        self._newest = -1
        self._pairs = PairStates(model, self._numbered) if self.shares_pairs else None
        self._num_pairs = 0

    @property
    def num_pairs(self) -> int:
        """Pairs that MotionNet has seen so far."""
        return self._num_pairs if self._pairs is None else self._pairs.num_pairs

    def clear(self) -> None:
        """Forget all frames: the next one is not the neighbor of the last."""
        self._frames.clear()
        if self._pairs is not None:
            self._pairs.clear()

    @torch.inference_mode()
    def push(self, image: Image) -> dict[str, Tensor] | None:
        """Return the logits (classes,) of each stream for the window that ends with a new frame.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            None until there are enough frames for a window.
        """
        self._frames.append(self._prepared(image))
        self._newest += 1
        if self._pairs is not None and len(self._frames) > self._stride:
            self._pairs.add([(self._newest - self._stride, self._newest)])
            self._pairs.forget(self._newest - self.span + 1)
        if len(self._frames) < self.span:
            return None
        logits = {}
        window = list(self._frames)[:: self._stride]
        if "spatial" in self._streams:
            # The contrast of a frame is normalized with that of its window.
            seen = window if self._model.preprocess.normalize_contrast else [window[self._length // 2]]
            logits["spatial"] = self._model.spatial(self._frames_of(seen))[0]
        if "temporal" in self._streams:
            logits["temporal"] = self._temporal(window)[0]
        return logits

    def _temporal(self, window: Sequence[Tensor]) -> Tensor:
        """Return the temporal logits (1, classes) of a window of T frames, each (3, size, size)."""
        if self._pairs is None:
            self._num_pairs += self._length - 1
            return self._model.temporal(self._frames_of(window))
        numbers = range(self._newest - self.span + 1, self._newest + 1, self._stride)
        return self._model.temporal_of_pairs(self._pairs.of(pairs_of(numbers)), *window[-1].shape[-2:])

    def _numbered(self, numbers: Sequence[int]) -> Tensor:
        """Return `frames` (1, len(numbers), 3, size, size) of frames that are kept."""
        return self._frames_of([self._frames[number - self._newest - 1] for number in numbers])

    def _prepared(self, image: Image) -> Tensor:
        """Return the resized and cropped frame, (3, size, size) uint8, on the model's device."""
        frame = resized(image[None], self._settings.resize)
        cropped = center_crop(frame, self._settings.size)[0]
        return cropped.to(next(self._model.parameters()).device)

    def _frames_of(self, images: Sequence[Tensor]) -> Tensor:
        """Return `frames` (1, T, 3, size, size)."""
        frames: Tensor = self._model.preprocess(torch.stack(list(images))[None])
        return frames

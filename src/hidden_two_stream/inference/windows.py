"""Windows of a video with their times, and the scores of each window.

`protocol_windows` yields the windows of a decoded video that a test protocol chooses. `sliding_windows`
yields windows along a video of any length, in constant memory. `scored` computes the logits of windows, and
`inference.aggregate` averages them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import DecodedVideo, Resizer, resized
from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.types import Frame
from hidden_two_stream.video.crops import center_crop, five_crop, stack, ten_crop
from hidden_two_stream.video.sampling import center_start, clip_indices, clip_span, uniform_starts
from hidden_two_stream.watchdog import progressed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DEFAULT_PROTOCOL",
    "Protocol",
    "ScoredWindow",
    "Window",
    "as_numbers",
    "crops_of",
    "finite_numbers",
    "parse_protocol",
    "protocol_clips",
    "protocol_frames",
    "protocol_windows",
    "run_protocol",
    "scored",
    "scored_together",
    "sliding_windows",
]

DEFAULT_PROTOCOL = "10x1"
_BATCH = 16  # clips per forward pass


@dataclass(frozen=True)
class Window:
    """One clip of a video and its time.

    Attributes:
        clips: (crops, T, C, size, size): one or more crops of the clip, before the model's preprocessing.
        start_seconds, end_seconds: the interval [start, end) that holds the frames of the clip.
    """

    clips: Tensor
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class ScoredWindow:
    """The logits of one window, or its embeddings.

    Attributes:
        start_seconds, end_seconds: the interval [start, end) of the window.
        logits: (classes,) float64 of each stream, averaged over crops before any softmax; or what else the
            forward pass of `scored` gives, such as embeddings (D,).
    """

    start_seconds: float
    end_seconds: float
    logits: Mapping[str, npt.NDArray[np.float64]]


# -- test protocols --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protocol:
    """A test protocol: `clips` windows per video and `crops` (1, 5 or 10) of each.

    "center" is only the middle window. The windows of NxM start at the reference's frames, i · ⌊number of
    possible starts / N⌋ for i < N; "25x10" is the paper's test protocol. One crop is the center, five are the
    four corners and the center, and ten are these five and their mirror images. A run whose training
    mirrored no clips is tested without mirror images, see `for_run`.
    """

    name: str
    clips: int
    crops: int

    def starts(self, num_frames: int, length: int, stride: int) -> tuple[int, ...]:
        """Return the first frames of the windows.

        Starts that repeat in a short video are left out, because they do not change the mean.
        """
        if self.name == "center":
            return (center_start(num_frames, length, stride),)
        return tuple(dict.fromkeys(uniform_starts(num_frames, length, stride, self.clips)))

    def for_run(self, recipe: Recipe) -> Protocol:
        """Return the protocol without mirror images if the training had none (`input.flip` is false).

        Such a run may tell left from right: a mirrored clip of one class is a clip of another.
        """
        if self.crops != 10 or recipe.input.flip:
            return self
        return Protocol(f"{self.clips}x5", self.clips, 5)


def parse_protocol(name: str) -> Protocol:
    """Return the protocol "center", or "NxM" with N windows and M = 1, 5 or 10 crops.

    Raises:
        UsageError: the name is neither.
    """
    if name == "center":
        return Protocol(name, 1, 1)
    found = re.fullmatch(r"([1-9]\d{0,3})x(1|5|10)", str(name))
    if found is None:
        raise UsageError(
            f"unknown protocol {name!r}; expected center, or NxM with M = 1, 5 or 10, for example 25x10"
        )
    return Protocol(name, int(found[1]), int(found[2]))


def run_protocol(name: str, recipe: Recipe, note: Callable[[str], None]) -> Protocol:
    """Return the protocol of this name as it is used for a run.

    Args:
        name: "center" or "NxM".
        recipe: recipe of the run.
        note: called with one line if the protocol differs from the named one, see `Protocol.for_run`.

    Raises:
        UsageError: as `parse_protocol`.
    """
    named = parse_protocol(name)
    used = named.for_run(recipe)
    if used != named:
        note(
            f"protocol {used.name} instead of {name}: training mirrored no clips (input.flip is false), "
            "so the test mirrors none"
        )
    return used


def protocol_frames(recipe: Recipe, protocol: Protocol, num_frames: int) -> set[int]:
    """Return the frames of a video that its windows use, which depend on the number of its frames."""
    return set(itertools.chain.from_iterable(protocol_clips(recipe, protocol, num_frames)))


def protocol_clips(recipe: Recipe, protocol: Protocol, num_frames: int) -> list[tuple[int, ...]]:
    """Return the numbers of the frames of each window of a video."""
    length, stride = recipe.model.num_frames, recipe.input.frame_stride
    starts = protocol.starts(num_frames, length, stride)
    return [clip_indices(start, length, stride, num_frames) for start in starts]


def protocol_windows(video: DecodedVideo, recipe: Recipe, protocol: Protocol) -> Iterator[Window]:
    """Yield the windows of a decoded video that a test protocol chooses for this recipe."""
    crops = protocol.for_run(recipe).crops
    clips = protocol_clips(recipe, protocol, video.num_frames)
    for indices, clip in zip(clips, video.read_clips(clips, recipe.input.resize), strict=True):
        yield Window(
            crops_of(clip, recipe, crops),
            float(video.pts_seconds[indices[0]]),
            video.frame_end_seconds(indices[-1]),
        )


# -- sliding windows -------------------------------------------------------------------------------


def sliding_windows(
    frames: Iterable[Frame], recipe: Recipe, hop_seconds: float, resizer: Resizer = resized
) -> Iterator[Window]:
    """Yield windows whose starts are `hop_seconds` apart, in constant memory.

    A window starts at the first frame at or after each multiple of `hop_seconds`. The last window ends with
    the last frame. A video shorter than a clip gives one window, in which the last frame repeats.

    Args:
        frames: the frames of a video, in order, sampled at the recipe's rate if it has one.
        recipe: input size, and number and stride of the frames of a clip.
        hop_seconds: time between the starts of two windows, above 0. If it is shorter than the time between
            two frames, every frame starts a window.
        resizer: resizes the frames.
    """
    length, stride = recipe.model.num_frames, recipe.input.frame_stride
    span = clip_span(length, stride)
    recent: deque[tuple[Tensor, float]] = deque(maxlen=span)
    next_start, waiting, duration = 0.0, False, 1 / 25
    for frame in frames:
        if waiting:
            yield _window(recent, length, stride, frame.pts_seconds)
        if recent:
            duration = frame.pts_seconds - recent[-1][1]
        image = center_crop(resizer(frame.image[None], recipe.input.resize), recipe.input.size)[0]
        recent.append((image, frame.pts_seconds))
        first = recent[0][1]
        waiting = len(recent) == span and first >= next_start - 1e-9
        if waiting:
            next_start = hop_seconds * (math.floor(first / hop_seconds + 1e-9) + 1)
    if recent:  # the last window ends with the last frame, so that every frame is in a window
        yield _window(recent, length, stride, recent[-1][1] + duration)


def _window(recent: deque[tuple[Tensor, float]], length: int, stride: int, end_seconds: float) -> Window:
    indices = clip_indices(0, length, stride, len(recent))
    clip = stack([recent[index][0] for index in indices])
    return Window(clip[None], recent[0][1], end_seconds)


def crops_of(clip: Tensor, recipe: Recipe, number: int) -> Tensor:
    """Return 1, 5 or 10 crops of a clip: (T, 3, h, w) → (crops, T, 3, size, size)."""
    if number == 1:
        return center_crop(clip, recipe.input.size)[None]
    return (ten_crop if number == 10 else five_crop)(clip, recipe.input.size)


# -- scores ----------------------------------------------------------------------------------------


def scored(
    windows: Iterable[Window], forward: Callable[[Tensor], Mapping[str, Tensor]], batch_size: int = _BATCH
) -> Iterator[ScoredWindow]:
    """Yield the logits of each window, in order.

    Args:
        windows: the windows.
        forward: clips (B, T, C, size, size) → logits (B, classes) of each stream, or embeddings (B, D).
        batch_size: clips per forward pass. The crops of one window can be in several batches.

    Raises:
        CheckpointError: a logit is not finite.
    """
    waiting: deque[tuple[Window, int]] = deque()  # windows whose logits are not complete, and their crops
    clips: list[Tensor] = []
    rows: dict[str, list[npt.NDArray[np.float64]]] = {}

    def complete() -> Iterator[ScoredWindow]:
        while waiting and rows and len(next(iter(rows.values()))) >= waiting[0][1]:
            window, crops = waiting.popleft()
            logits = {name: np.mean(row[:crops], axis=0) for name, row in rows.items()}
            for row in rows.values():
                del row[:crops]
            yield ScoredWindow(window.start_seconds, window.end_seconds, logits)

    for window in itertools.chain(windows, [None]):
        if window is not None:
            # Keep only the times: the clips are part of the batch.
            waiting.append(
                (Window(window.clips[:0], window.start_seconds, window.end_seconds), len(window.clips))
            )
            clips.extend(window.clips)
        while len(clips) >= batch_size or (window is None and clips):
            batch, clips = clips[:batch_size], clips[batch_size:]
            values = forward(stack(batch))
            progressed()
            for name, logits in values.items():
                rows.setdefault(name, []).extend(finite_numbers(name, logits))
            yield from complete()


def scored_together(
    videos: Sequence[DecodedVideo],
    recipe: Recipe,
    protocol: Protocol,
    forward: Callable[[Any], Mapping[str, Any]],
    batch_size: int = _BATCH,
) -> Iterator[list[ScoredWindow]]:
    """Yield the scored windows of each video; batches hold windows of several videos.

    Args:
        videos: decoded videos.
        recipe, protocol: choose the windows, see `protocol_windows`.
        forward, batch_size: as for `scored`.

    Raises:
        CheckpointError: a logit is not finite.
    """
    windows = (protocol_windows(video, recipe, protocol) for video in videos)
    found = scored(itertools.chain.from_iterable(windows), forward, batch_size)
    for video in videos:
        yield list(itertools.islice(found, len(protocol_clips(recipe, protocol, video.num_frames))))


def finite_numbers(stream: str, logits: Tensor | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the logits of a stream as a float64 array.

    Raises:
        CheckpointError: a logit is not finite.
    """
    values = as_numbers(logits)
    if not np.isfinite(values).all():
        raise CheckpointError(
            f"the {stream} stream gives scores that are not finite; train it again with a lower "
            "learning rate, or use another checkpoint"
        )
    return values


def as_numbers(values: Tensor | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return a tensor on any device, or an array, as a float64 array."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    numbers: npt.NDArray[np.float64] = values.double().cpu().numpy()
    return numbers

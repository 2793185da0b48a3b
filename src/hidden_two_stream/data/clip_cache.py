"""Frames of many videos, ready for sampling: decoded once into memory where they fit, else on demand.

Each video is decoded completely once, which gives the exact frame count and finds what is unreadable. Frames
are kept as uint8 at the networks' input resolution if those of all videos fit the memory budget. Otherwise
none are kept, and clips are decoded again when they are asked for. Both ways give the same pixels.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError, VideoError
from hidden_two_stream.parallel import WorkerPool
from hidden_two_stream.types import Frame, RawClip
from hidden_two_stream.video.limits import resized_too_large
from hidden_two_stream.video.reader import Source, VideoReader, source_name
from hidden_two_stream.video.times import FALLBACK_FPS, index_times
from hidden_two_stream.video.transforms import resize, resize_short_side, short_side_size, to_tensor

__all__ = [
    "ClipCache",
    "DecodedVideo",
    "Resize",
    "decode_video",
    "default_workers",
    "open_clip_cache",
    "require_resizable",
    "resized",
]

Resize = int | tuple[int, int]
"""Shorter side, or height and width, in px."""

_ROUNDING_SECONDS = 1e-6  # 0.1 + 0.2 s is the time of the frame at 0.3 s


@dataclass(frozen=True)
class DecodedVideo:
    """One readable sample.

    Attributes:
        source: what was decoded.
        num_frames: exact number of frames of the labeled part.
        first_frame: frame number in the file at which the labeled part starts.
        size: (height, width) of the decoded frames, before resizing.
        fps: mean frames per second; None where unknown.
        warning: what was wrong with the video, for example that decoding ended early; None: nothing.
        frames: (num_frames, 3, h, w) uint8, resized; None where they were not kept.
        pts_seconds: (num_frames,) float64 time of each frame; the first frame of the file is at 0.
    """

    source: Source
    num_frames: int
    first_frame: int
    size: tuple[int, int]
    fps: float | None
    warning: str | None
    frames: Tensor | None
    pts_seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False)

    def __post_init__(self) -> None:
        if not len(self.pts_seconds):
            times = index_times(self.first_frame + self.num_frames, self.fps)[self.first_frame :]
            object.__setattr__(self, "pts_seconds", times)

    def read(self, indices: Sequence[int], size: Resize) -> Tensor:
        """Return the frames at `indices` of the labeled part, (len, 3, h, w) uint8, resized to `size`."""
        if self.frames is not None:
            return self.frames[torch.as_tensor(indices)]
        with VideoReader(self.source) as reader:
            return resized(reader.read([self.first_frame + index for index in indices]), size)

    def frame_end_seconds(self, index: int) -> float:
        """Return when frame `index` ends: at the next frame, or as late as the frame before it lasted."""
        if index + 1 < self.num_frames:
            return float(self.pts_seconds[index + 1])
        shown = (
            self.pts_seconds[index] - self.pts_seconds[index - 1] if index else 1 / (self.fps or FALLBACK_FPS)
        )
        return float(self.pts_seconds[index] + shown)


def resized(clip: RawClip, size: Resize) -> Tensor:
    """Return (T, H, W, 3) uint8 as (T, 3, h, w) uint8 of the given size.

    Training and prediction both use this function.
    """
    frames = to_tensor(clip)
    return resize_short_side(frames, size) if isinstance(size, int) else resize(frames, *size)


def require_resizable(source: Source, before: tuple[int, int], size: Resize) -> None:
    """Raise a VideoError if the frames of `source`, (height, width) px, are too large after `resized`."""
    after = short_side_size(*before, size) if isinstance(size, int) else size
    reason = resized_too_large(before, after)
    if reason and after != before:
        raise VideoError(source_name(source), reason)


def decode_video(
    source: Source,
    size: Resize,
    max_bytes: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> DecodedVideo:
    """Decode a source completely, in bounded memory.

    Args:
        source: what to decode.
        size: size of the resized frames.
        max_bytes: the resized frames are kept if they need no more bytes together.
        start_seconds, end_seconds: the labeled part: the frames with start <= presentation time < end, or if
            there are none, the frame on screen at the start; None: from the first frame, to the last frame.

    Raises:
        UsageError, VideoError: as `VideoReader`; also VideoError if a part in seconds is asked for and the
            frames have neither times nor a rate, or the video ends before the part.
    """
    with VideoReader(source) as reader:
        require_resizable(source, reader.size, size)
        found = _Decoded(size, max_bytes)
        if start_seconds is None and end_seconds is None:
            found.add_all(reader.frames())
        else:
            _decode_part(source, reader, found, start_seconds or 0.0, _none_as_infinity(end_seconds))
        seconds = np.zeros(0) if reader.times_repaired else np.array(found.times)
        return DecodedVideo(
            source,
            len(found.times),
            found.first_frame,
            reader.size,
            reader.fps,
            reader.warning,
            None if found.kept is None else torch.cat(found.kept),
            seconds,
        )


def _decode_part(source: Source, reader: VideoReader, found: _Decoded, start: float, end: float) -> None:
    """Decode the frames of [start, end); if none begins in it, the one that is on screen at the start."""
    if not reader.is_timed:
        raise VideoError(source_name(source), "a part in seconds is listed, but the frame rate is unknown")
    start_soon, end_soon = start + _ROUNDING_SECONDS, end - _ROUNDING_SECONDS
    found.add_all(reader.frames_between(start - _ROUNDING_SECONDS, end_soon))
    if reader.times_repaired:
        if not reader.fps:
            raise VideoError(
                source, "a part in seconds is listed, but its time stamps are unusable and it has no rate"
            )
        found.clear()
        found.add_all(reader.frames(*_numbers_between(start, end, reader.fps)))
    elif not found.times and (number := reader.number_at(start_soon)) is not None:
        found.add_all(reader.frames(number, number + 1))
    if not found.times:
        raise VideoError(source, f"no frame from {start:g} s on; check the listed times")


def _numbers_between(start: float, end: float, fps: float) -> tuple[int, int | None]:
    """Numbers of the frames for which start <= number / fps < end, at least one; None: to the last."""
    first = max(0, math.ceil((start - _ROUNDING_SECONDS) * fps))
    stop = None if end == math.inf else math.ceil((end - _ROUNDING_SECONDS) * fps)
    if stop is not None and stop <= first:
        first = math.floor((start + _ROUNDING_SECONDS) * fps)
        stop = first + 1
    return first, stop


def _none_as_infinity(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


class _Decoded:
    """Frames as they are decoded: their times, and their resized images while these fit into `max_bytes`."""

    def __init__(self, size: Resize, max_bytes: int) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.first_frame = 0
        self.times: list[float] = []
        self.kept: list[Tensor] | None = []
        self._used = 0

    def add_all(self, frames: Iterable[Frame]) -> None:
        """Take frames that follow each other."""
        for frame in frames:
            if not self.times:
                self.first_frame = frame.index
            self.times.append(frame.pts_seconds)
            if self.kept is not None:
                self.kept.append(resized(frame.image[None], self._size))
                self._used += self.kept[-1].nbytes
                self.kept = self.kept if self._used <= self._max_bytes else None


@dataclass(frozen=True)
class ClipCache:
    """Readable videos of a list of samples, and the unreadable ones.

    Attributes:
        samples: the readable samples, in the order of the list.
        videos: their frames and facts.
        unreadable: the other samples, each with the reason.
        size: size of the resized frames.
    """

    samples: tuple[Sample, ...]
    videos: tuple[DecodedVideo, ...]
    unreadable: tuple[tuple[Sample, HiddenTwoStreamError], ...]
    size: Resize

    @property
    def in_memory(self) -> bool:
        """Whether all frames are kept; if not, `clip` decodes."""
        return all(video.frames is not None for video in self.videos)

    def clip(self, index: int, frame_indices: Sequence[int]) -> Tensor:
        """Return frames of video `index`: (len(frame_indices), 3, h, w) uint8."""
        return self.videos[index].read(frame_indices, self.size)

    def select(self, samples: Iterable[Sample]) -> ClipCache:
        """Return the part of the cache that holds `samples`. Frames are shared, not copied."""
        wanted = {sample.name for sample in samples}
        chosen = [pair for pair in zip(self.samples, self.videos, strict=True) if pair[0].name in wanted]
        failed = tuple(pair for pair in self.unreadable if pair[0].name in wanted)
        return ClipCache(tuple(s for s, _ in chosen), tuple(v for _, v in chosen), failed, self.size)


def open_clip_cache(
    samples: Sequence[Sample],
    size: Resize,
    *,
    budget_bytes: int = 2 << 30,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ClipCache:
    """Decode all samples once, in worker processes.

    Args:
        samples: what to decode.
        size: shorter side, or (height, width), px.
        budget_bytes: memory for the decoded frames of all samples together; 0 keeps none. With workers, one
            video may take 1/(2 · workers) of it.
        workers: processes; 0 decodes in this one.
        progress: called with the number done and the total.
    """
    readable: list[tuple[Sample, DecodedVideo]] = []
    unreadable: list[tuple[Sample, HiddenTwoStreamError]] = []
    budget = _Budget(budget_bytes)
    for done, (sample, outcome) in enumerate(_decode_all(samples, size, workers, budget), start=1):
        if isinstance(outcome, HiddenTwoStreamError):
            unreadable.append((sample, outcome))
        elif budget.covers(outcome):
            readable.append((sample, outcome))
        else:  # all or nothing: half a cache would need both ways of reading at once
            if not budget.exhausted:
                readable = [(kept, replace(video, frames=None)) for kept, video in readable]
                budget.exhausted = True
            readable.append((sample, replace(outcome, frames=None)))
        if progress is not None:
            progress(done, len(samples))
    return ClipCache(tuple(s for s, _ in readable), tuple(v for _, v in readable), tuple(unreadable), size)


class _Budget:
    """Memory that decoded frames may still take, in bytes."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.exhausted = False

    def covers(self, video: DecodedVideo) -> bool:
        """Take the frames' bytes from the budget; False if these frames or earlier ones do not fit."""
        if self.exhausted or video.frames is None or video.frames.nbytes > self.left:
            self.left = -1
            return False
        self.left -= video.frames.nbytes
        return True


_Outcome = DecodedVideo | HiddenTwoStreamError
_Parcel = tuple[_Outcome, npt.NDArray[np.uint8] | None]


def _decode_all(
    samples: Sequence[Sample], size: Resize, workers: int, budget: _Budget
) -> Iterator[tuple[Sample, _Outcome]]:
    """Outcomes in the order of `samples`."""
    if workers < 1 or len(samples) < 8:
        yield from ((sample, _decode_sample(sample, size, budget.left)) for sample in samples)
        return
    with WorkerPool(workers) as pool:
        waiting: list[tuple[Sample, Future[_Parcel]]] = []
        remaining = iter(samples)
        in_flight = 2 * workers
        share = budget.left // in_flight  # all videos in flight together stay within the budget
        try:
            while True:
                for sample in itertools.islice(remaining, in_flight - len(waiting)):
                    most = min(share, budget.left)
                    waiting.append((sample, pool.submit(_decode_apart, sample, size, most)))
                if not waiting:
                    return
                sample, future = waiting.pop(0)
                yield sample, _unpacked(*future.result())
        except BrokenProcessPool as error:
            raise VideoError(
                sample.path,
                "a decoding process ended at this file or one near it: the decoder crashed, or the calling "
                "script lacks `if __name__ == '__main__'`",
            ) from error


def _decode_sample(sample: Sample, size: Resize, max_bytes: int) -> _Outcome:
    try:
        return decode_video(sample.path, size, max_bytes, sample.start_seconds, sample.end_seconds)
    except HiddenTwoStreamError as error:
        return error


def _decode_apart(sample: Sample, size: Resize, max_bytes: int) -> _Parcel:
    """`_decode_sample` in another process, frames as an array: each tensor would hold a file open."""
    outcome = _decode_sample(sample, size, max_bytes)
    if isinstance(outcome, HiddenTwoStreamError) or outcome.frames is None:
        return outcome, None
    return replace(outcome, frames=None), outcome.frames.numpy()


def _unpacked(outcome: _Outcome, frames: npt.NDArray[np.uint8] | None) -> _Outcome:
    if isinstance(outcome, HiddenTwoStreamError) or frames is None:
        return outcome
    return replace(outcome, frames=torch.from_numpy(frames))


def default_workers() -> int:
    """Return the number of decoding processes: one per core, at most 8."""
    return min(os.cpu_count() or 1, 8)

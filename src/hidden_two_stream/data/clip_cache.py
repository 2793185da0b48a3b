"""Frames of many videos, ready for sampling: decoded once into memory where they fit, else on demand.

Each video is decoded completely once, which gives the exact frame count and finds what is unreadable. Frames
are kept as uint8 at the networks' input resolution if those of all videos fit the memory budget. Otherwise
none are kept, and clips are decoded again when they are asked for. Both ways give the same pixels.

Prediction uses few frames of a long video, and which ones depends on their number. So the number that the
file announces says which frames are converted and resized while the video is decoded. If it is wrong, those
that are missing are decoded again.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from hidden_two_stream.data.content import Content, ContentReader
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError, VideoError, unexpected
from hidden_two_stream.types import Frame, Image, LazyFrame, RawClip
from hidden_two_stream.video.crops import concatenate, short_side_size
from hidden_two_stream.video.limits import resized_too_large
from hidden_two_stream.video.reader import Source, VideoReader, source_name
from hidden_two_stream.video.shards.opening import require_intact
from hidden_two_stream.video.times import FALLBACK_FPS, at_rate, index_times, unsampled_warning
from hidden_two_stream.watchdog import ended_when_stuck

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Choice",
    "ClipCache",
    "DecodedVideo",
    "Resize",
    "Resizer",
    "decode_video",
    "default_workers",
    "open_clip_cache",
    "require_resizable",
    "resized",
]

Resize = int | tuple[int, int]
"""Shorter side, or height and width, in px."""

Resizer = Callable[[RawClip, Resize], Any]
"""`resized`, or a function with the same pixels in NumPy arrays, for use without PyTorch."""

Choice = Callable[[int], Iterable[int]]
"""Number of frames of a video → the indices of those that are needed."""

_Frame = TypeVar("_Frame", Frame, LazyFrame)

_ROUNDING_SECONDS = 1e-6  # 0.1 + 0.2 s is the time of the frame at 0.3 s


@dataclass(frozen=True)
class DecodedVideo:
    """One readable sample.

    Attributes:
        source: what was decoded.
        num_frames: exact number of frames of the labeled part, after sampling at another rate.
        first_frame: frame number in the file at which the labeled part starts.
        size: (height, width) of the decoded frames, before resizing.
        fps: mean frames per second; None where unknown.
        warning: what was wrong with the video, for example that decoding ended early; None: nothing.
        frames: (num_frames, 3, h, w) uint8, resized, or only those of `places`; None where they were not
            kept.
        pts_seconds: (num_frames,) float64 time of each frame; the first frame of the file is at 0.
        num_bytes: memory of the resized frames, whether they were kept or not.
        numbers: (num_frames,) number in the file of each frame; empty: they follow each other from
            `first_frame` on.
        content: what identifies the frames of the file, before they are sampled; None: not computed.
        resizer: resizes the frames, and so decides whether they are tensors or arrays; None: `resized`.
        places: index of a frame → its place in `frames`; None: they are all there.
        times_repaired: whether time stamps were replaced, see `VideoReader.times_repaired`.
    """

    source: Source
    num_frames: int
    first_frame: int
    size: tuple[int, int]
    fps: float | None
    warning: str | None
    frames: Tensor | None
    pts_seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False)
    num_bytes: int = 0
    numbers: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    content: Content | None = field(default=None, compare=False, repr=False)
    resizer: Resizer | None = field(default=None, compare=False, repr=False)
    places: Mapping[int, int] | None = field(default=None, compare=False, repr=False)
    times_repaired: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.pts_seconds):
            times = index_times(self.first_frame + self.num_frames, self.fps)[self.first_frame :]
            object.__setattr__(self, "pts_seconds", times)

    @property
    def seconds(self) -> float:
        """How long the video or its labeled part is shown, s."""
        return self.frame_end_seconds(self.num_frames - 1) - float(self.pts_seconds[0])

    def read(self, indices: Sequence[int], size: Resize) -> Tensor:
        """Return the frames at `indices` of the labeled part, (len, 3, h, w) uint8, resized to `size`."""
        if self.frames is not None and self._holds(indices):
            return self.frames[[index if self.places is None else self.places[index] for index in indices]]
        with VideoReader(self.source) as reader:
            return (self.resizer or resized)(reader.read(self.file_numbers(indices)), size)

    def _holds(self, indices: Iterable[int]) -> bool:
        return self.frames is not None and (
            self.places is None or all(index in self.places for index in indices)
        )

    def file_numbers(self, indices: Sequence[int]) -> list[int]:
        """Return the numbers in the file of the frames at `indices`."""
        if len(self.numbers):
            return [int(number) for number in self.numbers[list(indices)]]
        return [self.first_frame + index for index in indices]

    def read_clips(self, clips: Sequence[Sequence[int]], size: Resize) -> Iterator[Tensor]:
        """Yield `read` of each clip. A video whose frames were not kept is decoded once for all of them.

        Args:
            clips: indices of the frames of each clip, ascending within a clip; clips in the order of their
                first frames.
            size: as for `read`.
        """
        if self._holds(itertools.chain.from_iterable(clips)) or len(clips) == 1:
            yield from (self.read(indices, size) for indices in clips)
            return
        held: dict[int, Tensor] = {}
        resizer = self.resizer or resized
        numbers = [self.file_numbers(indices) for indices in clips]
        with VideoReader(self.source) as reader:
            frames = reader.select(sorted({number for clip in numbers for number in clip}))
            for clip in numbers:
                for number in [number for number in held if number < clip[0]]:
                    del held[number]
                while clip[-1] not in held:
                    frame = next(frames)
                    held[frame.index] = resizer(frame.image[None], size)
                yield concatenate([held[number] for number in clip])

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
    from hidden_two_stream.video.transforms import resize, resize_short_side, to_tensor

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
    fps: float = 0.0,
    *,
    identify: bool = False,
    resizer: Resizer | None = None,
    choose: Choice | None = None,
) -> DecodedVideo:
    """Decode a source completely, in bounded memory.

    Args:
        source: what to decode.
        size: size of the resized frames.
        max_bytes: the resized frames are kept if they need no more bytes together.
        start_seconds, end_seconds: the labeled part: the frames with start <= presentation time < end, or if
            there are none, the frame on screen at the start; None: from the first frame, to the last frame.
        fps: frames per second to sample, see `video.times.at_rate`; 0 takes all frames. Frames without a rate
            of their own are all taken, with a warning.
        identify: compute `content`.
        resizer: None: `resized`.
        choose: the frames to resize and keep; None: all. All frames of a labeled part are kept.

    Raises:
        UsageError, VideoError: as `VideoReader`; also VideoError if a part in seconds is asked for and the
            frames have neither times nor a rate, or the video ends before the part.
    """
    with VideoReader(source) as reader:
        require_resizable(source, reader.size, size)
        rate = fps if reader.fps else 0.0
        found = _Decoded(size, max_bytes, rate, identify, resizer or resized)
        if start_seconds is None and end_seconds is None:
            found.add_whole(reader, choose)
        else:
            _decode_part(source, reader, found, start_seconds or 0.0, _none_as_infinity(end_seconds))
        warnings = [reader.warning, unsampled_warning(reader.fps, fps)]
        return DecodedVideo(
            source,
            len(found.times),
            found.numbers[0],
            reader.size,
            reader.fps,
            "; ".join(filter(None, warnings)) or None,
            None if found.kept is None else concatenate(list(found.kept.values())),
            np.zeros(0) if reader.times_repaired and not fps else np.array(found.times),
            found.num_bytes,
            np.array(found.numbers) if fps else np.zeros(0, np.int64),
            None if found.content is None else found.content.content(),
            resizer,
            found.places,
            reader.times_repaired,
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
    """Frames as they are decoded: numbers, times, and resized images while these fit into `max_bytes`."""

    def __init__(self, size: Resize, max_bytes: int, fps: float, identify: bool, resizer: Resizer) -> None:
        self._size = size
        self._resizer = resizer
        self._max_bytes = max_bytes
        self._fps = fps
        self._identify = identify
        self._chosen: frozenset[int] | None = None
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.kept: dict[int, Tensor] | None = {}
        self.content = ContentReader() if self._identify else None
        self._frame_bytes = 0

    @property
    def num_bytes(self) -> int:
        """Memory of the resized frames, whether they were kept or not."""
        return self._frame_bytes * (len(self.times) if self._chosen is None else len(self._chosen))

    @property
    def places(self) -> dict[int, int] | None:
        """Index of a frame → its place among those that were kept; None: all or none were."""
        if self._chosen is None or self.kept is None:
            return None
        return {index: place for place, index in enumerate(self.kept)}

    def add_whole(self, reader: VideoReader, choose: Choice | None) -> None:
        """Take a whole video, but of its images only those at the indices that `choose` gives."""
        expected = self._expected(reader)
        if choose is None or expected is None:
            self.add_all(reader.frames())
            return
        self._chosen = frozenset(choose(expected))
        if self.content is None:
            self.add_all(reader.scan())
        else:
            self.add_all(reader.frames())  # the content needs all images
        self._complete(frozenset(choose(len(self.times))), reader)

    def _expected(self, reader: VideoReader) -> int | None:
        """Return how many frames the source announces, after sampling at the rate; it may be wrong."""
        number = reader.expected_frames
        if not number or not self._fps or not reader.fps:
            return number or None
        return math.floor((number - 1) / reader.fps * self._fps + 0.25) + 1  # as `at_rate`

    def add_all(self, frames: Iterable[_Frame]) -> None:
        """Take frames that follow each other, sampled at the rate."""
        watched: Iterable[_Frame] = frames if self.content is None else self.content.watch(frames)
        for frame in at_rate(watched, self._fps) if self._fps else watched:
            index = len(self.times)
            self.numbers.append(frame.index)
            self.times.append(frame.pts_seconds)
            if self.kept is not None and (self._chosen is None or index in self._chosen):
                self._keep(index, frame.image)

    def _complete(self, chosen: frozenset[int], reader: VideoReader) -> None:
        """Keep the chosen frames and no others; decode again for those that are missing."""
        self._chosen = chosen
        if self.kept is None:
            return
        self.kept = {index: image for index, image in self.kept.items() if index in chosen}
        missing: dict[int, list[int]] = {}
        for index in sorted(chosen - self.kept.keys()):
            missing.setdefault(self.numbers[index], []).append(index)
        for frame in reader.select(sorted(missing)) if missing else ():
            for index in missing[frame.index]:
                self._keep(index, frame.image)

    def _keep(self, index: int, image: Image) -> None:
        if self.kept is not None:
            self.kept[index] = self._resizer(image[None], self._size)
            self._frame_bytes = self.kept[index].nbytes
            self.kept = self.kept if len(self.kept) * self._frame_bytes <= self._max_bytes else None


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
    fps: float = 0.0,
    choose: Choice | None = None,
    trust_index: bool = True,
) -> ClipCache:
    """Decode all samples once, in worker processes.

    Packed samples are not decoded if their frames would not be kept: their index knows the rest.

    Args:
        samples: what to decode.
        size: shorter side, or (height, width), px.
        budget_bytes: memory for the decoded frames of all samples together; 0 keeps none. The frames are kept
            if and only if those of all samples fit, whatever the number of workers.
        workers: processes; 0 decodes in this one.
        progress: called with the number done and the total.
        fps, choose: as for `decode_video`.
        trust_index: believe the index of packed samples. If not, they are decoded as files are, and their
            bytes are compared with the index.

    Raises:
        UsageError: the budget is negative.
        WorkerError: worker processes cannot be started.
    """
    if budget_bytes < 0:
        raise UsageError(f"the memory for decoded frames is {budget_bytes >> 20} MiB; expected 0 or more")
    from hidden_two_stream.data.packed import known_content

    budget = _Budget(budget_bytes, workers)
    outcomes: list[_Outcome] = []
    tasks = [
        _Task(sample, size, fps, choose, known_content(sample) if trust_index else None, trust_index)
        for sample in samples
    ]
    for outcome in _outcomes(tasks, workers, budget):
        before = budget.exceeded
        if not isinstance(outcome, HiddenTwoStreamError):
            budget.count(outcome)
        if budget.exceeded and not before:
            outcomes = [_without_frames(kept) for kept in outcomes]
        outcomes.append(_without_frames(outcome) if budget.exceeded else outcome)
        if progress is not None:
            progress(len(outcomes), len(samples))
    if not budget.exceeded:  # videos that were too large for the share of one worker
        for index, outcome in enumerate(outcomes):
            if not isinstance(outcome, HiddenTwoStreamError) and outcome.frames is None:
                outcomes[index] = _decode_sample(tasks[index]._replace(max_bytes=outcome.num_bytes))
    pairs = list(zip(samples, outcomes, strict=True))
    readable = [(sample, found) for sample, found in pairs if not isinstance(found, HiddenTwoStreamError)]
    unreadable = tuple((sample, found) for sample, found in pairs if isinstance(found, HiddenTwoStreamError))
    return ClipCache(tuple(s for s, _ in readable), tuple(v for _, v in readable), unreadable, size)


def _outcomes(tasks: Sequence[_Task], workers: int, budget: _Budget) -> Iterator[_Outcome]:
    """Yield the outcome of each task, in order: what an index knows, else what decoding gives."""
    from hidden_two_stream.data.packed import known_video

    known = {
        number: outcome
        for number, task in enumerate(tasks)
        if task.trust_index
        and (outcome := known_video(task.sample, task.size, task.fps, task.choose)) is not None
    }
    budget.needed = sum(video.num_bytes for video in known.values() if isinstance(video, DecodedVideo))
    if not budget.exceeded:  # decoding gives the frames, too, and they may be kept
        budget.needed = 0
        known = {number: found for number, found in known.items() if not isinstance(found, DecodedVideo)}
    decoded = _decode_all([task for n, task in enumerate(tasks) if n not in known], workers, budget)
    for number in range(len(tasks)):
        yield known[number] if number in known else next(decoded)


class _Budget:
    """Memory for decoded frames, in bytes, while videos are decoded.

    Attributes:
        total: memory for the frames of all videos together.
        needed: bytes of the videos decoded so far, with or without their frames.
        kept: bytes of the frames that were kept.
    """

    def __init__(self, total: int, workers: int) -> None:
        self.total = total
        self.needed = 0
        self.kept = 0
        self._in_flight = max(1, 2 * workers)

    @property
    def exceeded(self) -> bool:
        """Whether the videos decoded so far need more memory than there is."""
        return self.needed > self.total

    @property
    def share(self) -> int:
        """Bytes that the next video may take. All videos in flight together stay within the budget."""
        return 0 if self.exceeded else (self.total - self.kept) // self._in_flight

    def count(self, video: DecodedVideo) -> None:
        """Count a decoded video."""
        self.needed += video.num_bytes
        self.kept += 0 if video.frames is None else video.num_bytes


_Outcome = DecodedVideo | HiddenTwoStreamError
_Parcel = tuple[_Outcome, npt.NDArray[np.uint8] | None]
_FEWEST_FOR_WORKERS = 8


class _Task(NamedTuple):
    """A sample to decode, as `decode_video` takes it; `max_bytes` is given when it starts.

    The content of a packed sample is known, and need not be computed again.
    """

    sample: Sample
    size: Resize
    fps: float
    choose: Choice | None
    content: Content | None = None
    trust_index: bool = True
    max_bytes: int = 0


def _decode_all(tasks: Sequence[_Task], workers: int, budget: _Budget) -> Iterator[_Outcome]:
    """Yield the outcome of each task, in order. Each sample gets its share of the budget when it starts."""
    if workers < 1 or len(tasks) < _FEWEST_FOR_WORKERS:
        for task in tasks:
            left = 0 if budget.exceeded else budget.total - budget.kept
            yield _decode_sample(task._replace(max_bytes=left))
        return
    from hidden_two_stream.parallel import run_in_processes

    started = (task._replace(max_bytes=budget.share) for task in tasks)
    for outcome, frames in run_in_processes(_decode_apart, started, workers, _lost):
        yield _unpacked(outcome, frames)


def _decode_sample(task: _Task) -> _Outcome:
    sample = task.sample
    try:
        if not task.trust_index:
            require_intact(sample.path)
        video = decode_video(
            sample.path,
            task.size,
            task.max_bytes,
            sample.start_seconds,
            sample.end_seconds,
            task.fps,
            identify=task.content is None,
            choose=task.choose,
        )
        return video if task.content is None else replace(video, content=task.content)
    except HiddenTwoStreamError as error:
        return error
    except Exception as error:  # one file must not end the work on all others
        return VideoError(sample.path, unexpected(error))


def _decode_apart(task: _Task) -> _Parcel:
    """`_decode_sample` in another process, frames as an array: each tensor would hold a file open."""
    with ended_when_stuck():
        outcome = _decode_sample(task)
    if isinstance(outcome, HiddenTwoStreamError) or outcome.frames is None:
        return outcome, None
    return replace(outcome, frames=None), outcome.frames.numpy()


def _unpacked(outcome: _Outcome, frames: npt.NDArray[np.uint8] | None) -> _Outcome:
    if isinstance(outcome, HiddenTwoStreamError) or frames is None:
        return outcome
    import torch

    return replace(outcome, frames=torch.from_numpy(frames))


def _lost(task: _Task) -> _Parcel:
    from hidden_two_stream.parallel import LOST_WORKER

    return VideoError(task.sample.path, LOST_WORKER), None


def _without_frames(outcome: _Outcome) -> _Outcome:
    return outcome if isinstance(outcome, HiddenTwoStreamError) else replace(outcome, frames=None)


def default_workers() -> int:
    """Return the number of decoding processes: one per core, at most 8."""
    return min(os.cpu_count() or 1, 8)

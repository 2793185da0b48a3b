"""Training clips. The clips of a step are a pure function of the seed, so training resumes exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.errors import HiddenTwoStreamError, VideoError, WorkerError
from hidden_two_stream.parallel import require_semaphores
from hidden_two_stream.progress import note
from hidden_two_stream.video.crops import Crop, flip, multi_scale_crop_box
from hidden_two_stream.video.sampling import clip_indices, segment_starts
from hidden_two_stream.video.shards.addresses import is_packed
from hidden_two_stream.video.transforms import apply_crop, color_jitter

__all__ = [
    "Augmentation",
    "CachedClips",
    "ClipDraw",
    "ClipKey",
    "StepSampler",
    "TrainingClips",
    "draw_clips",
    "mix_seed",
    "training_batches",
]


@dataclass(frozen=True)
class ClipKey:
    """Names one training sample: the number of its video, and the seed of all its random draws."""

    video: int
    seed: int


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training clip. The fields are those of `config.schema.InputConfig`."""

    size: int
    crop_scales: Sequence[float]
    flip: bool
    color_jitter: float


def mix_seed(*numbers: int) -> int:
    """Return one 63-bit seed from several integers (splitmix64 steps; Steele et al., OOPSLA 2014)."""
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state ^ (number & mask)) + 0x9E3779B97F4A7C15 & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class ClipDraw:
    """All random choices of one training sample.

    Attributes:
        indices: frame numbers of its clips, one clip after the other.
        scales: draws for `multi_scale_crop_box`.
        flip: whether the clips are mirrored.
        generator: source of further draws.
    """

    indices: tuple[int, ...]
    scales: tuple[float, float, float]
    flip: bool
    generator: torch.Generator

    def box(self, clip: Tensor, how: Augmentation) -> Crop:
        """Return the crop box in the frames of a clip (T, C, H, W)."""
        height, width = clip.shape[-2:]
        return multi_scale_crop_box(height, width, how.size, how.crop_scales, self.scales)


def draw_clips(
    key: ClipKey, available: int, num_frames: int, frame_stride: int, how: Augmentation, segments: int
) -> ClipDraw:
    """Return the random choices of the training sample `key`, a pure function of the arguments.

    Args:
        key: the sample.
        available: frames of the video.
        num_frames: frames per clip.
        frame_stride: step between the frames of a clip.
        how: the augmentation.
        segments: clips per sample, one from each of as many equal parts of the video.
    """
    generator = torch.Generator().manual_seed(key.seed)
    draws: list[float] = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    further = torch.rand(segments - 1, generator=generator, dtype=torch.float64)
    starts = segment_starts(available, num_frames, frame_stride, (draws[0], *further.tolist()))
    clips = [clip_indices(start, num_frames, frame_stride, available) for start in starts]
    return ClipDraw(
        tuple(index for clip in clips for index in clip),
        (draws[1], draws[2], draws[3]),
        how.flip and draws[4] < 0.5,
        generator,
    )


class TrainingClips(Dataset[tuple[Tensor, int]]):
    """Random clips of cached videos: (segments, T, 3, size, size) uint8 and the class number.

    Args:
        cache: the videos.
        labels: class number of each video.
        num_frames: frames per clip; 1 gives single frames.
        frame_stride: step between the frames of a clip.
        augmentation: random changes, the same for all clips of a sample.
        segments: clips per sample, one from each of as many equal parts of the video.
    """

    def __init__(
        self,
        cache: ClipCache,
        labels: Sequence[int],
        num_frames: int,
        frame_stride: int,
        augmentation: Augmentation,
        segments: int = 1,
    ) -> None:
        self.cache = cache
        self.labels = tuple(labels)
        self.num_frames = num_frames
        self.frame_stride = frame_stride
        self.augmentation = augmentation
        self.segments = segments

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: ClipKey) -> tuple[Tensor, int]:
        how = self.augmentation
        available = self.cache.videos[key.video].num_frames
        drawn = draw_clips(key, available, self.num_frames, self.frame_stride, how, self.segments)
        clips = self.cache.clip(key.video, drawn.indices)
        clips = apply_crop(clips, drawn.box(clips, how), how.size)
        if drawn.flip:
            clips = flip(clips)
        if how.color_jitter > 0:
            strength = how.color_jitter
            clips = color_jitter(clips, strength, strength, strength, drawn.generator)
        return clips.unflatten(0, (self.segments, self.num_frames)), self.labels[key.video]


class StepSampler(Sampler[list[ClipKey]]):
    """Batches of clip keys for the steps `start` to `stop`, epoch after epoch of shuffled videos.

    Step s of a run is the same whether training began at 0 or resumed later. Each of `world` processes takes
    its own part of every step.

    Args:
        num_videos: videos to draw from.
        batch_size: clips per forward pass and process.
        accumulate: forward passes per step.
        start, stop: range of steps.
        seed: seed of the run and stage.
        rank, world: number of this process, and the number of processes.
    """

    def __init__(
        self,
        num_videos: int,
        batch_size: int,
        accumulate: int,
        start: int,
        stop: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.steps = range(start, stop)
        self.seed = seed
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[ClipKey]]:
        per_step = self.batch_size * self.accumulate * self.world
        epoch, order = -1, [0]
        for step in self.steps:
            for part in range(self.accumulate):
                begin = step * per_step + (part * self.world + self.rank) * self.batch_size
                batch = []
                for position in range(begin, begin + self.batch_size):
                    if position // self.num_videos != epoch:
                        epoch = position // self.num_videos
                        shuffle = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
                        order = torch.randperm(self.num_videos, generator=shuffle).tolist()
                    key = ClipKey(order[position % self.num_videos], mix_seed(self.seed, -1, position))
                    batch.append(key)
                yield batch


class CachedClips(Protocol):
    """A dataset of clips from a cache: `TrainingClips`, or what takes its place."""

    @property
    def cache(self) -> Any:
        """The videos; `in_memory` says whether reading a clip decodes."""

    @property
    def labels(self) -> Sequence[int]:
        """Class number of each video."""

    def __len__(self) -> int:
        """Return the number of videos."""

    def __getitem__(self, key: ClipKey) -> tuple[Tensor, int]:
        """Return the clips (segments, T, C, size, size) and the class number of a sample."""


def training_batches(
    clips: CachedClips,
    sampler: StepSampler,
    workers: int,
    report: Callable[[VideoError], None] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return an iterator over batches: clips (B, segments, T, C, size, size) and labels (B,) int64.

    While one batch is used, the next is made: in the decoding processes, or in a thread of this one.
    A packed video that proves unreadable is reported, and the next video of its class takes its place: for a
    given state of the shards, which clips make up a batch stays a function of the sampler alone.

    Args:
        clips: the dataset, indexed by `ClipKey`.
        sampler: which clips make up each batch.
        workers: decoding processes, used if the frames are not in memory; 0 loads in this process.
        report: called with the reason why a packed video is unreadable, perhaps several times; None: the
            reason is named on stderr.

    Raises:
        UsageError, VideoError: a video can no longer be read, and it is not packed, or no packed video of its
            class can.
        WorkerError: a decoding process ended, or cannot pass its frames on.
    """
    processes = 0 if clips.cache.in_memory else workers
    if processes:
        require_semaphores(processes)
    loader = DataLoader(
        _WithErrors(clips), batch_sampler=sampler, num_workers=processes, collate_fn=_collated
    )
    # The loader draws a random number when it starts: that must be here, not within the first step.
    batches = _checked(iter(loader), processes, report or _note_unreadable)
    return batches if processes else _one_ahead(batches)


def _one_ahead(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches; a thread makes the next one while one is used."""
    with ThreadPoolExecutor(1, "next-batch") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _note_unreadable(error: VideoError) -> None:
    note(f"unreadable: {error.source}: {error.reason}")


def _checked(
    batches: Iterator[Any], processes: int, report: Callable[[VideoError], None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a `DataLoader`; raise this package's errors in place of its own."""
    try:
        for batch in batches:
            if isinstance(batch, HiddenTwoStreamError):
                raise batch
            clips, labels, lost = batch
            for error in lost:
                report(error)
            yield clips, labels
    except (RuntimeError, OSError) as error:
        if not processes:
            raise
        raise WorkerError(_loader_failure(str(error))) from error


class _Item(NamedTuple):
    """A training sample, and why the videos whose place it takes are unreadable."""

    clips: Tensor
    label: int
    lost: tuple[VideoError, ...]


class _WithErrors(Dataset[_Item | HiddenTwoStreamError]):
    """Clips, with this package's errors as items: a `DataLoader` would change the errors of its workers."""

    def __init__(self, clips: CachedClips) -> None:
        self.clips = clips
        self._lost: dict[int, VideoError] = {}

    def __getitem__(self, key: ClipKey) -> _Item | HiddenTwoStreamError:
        lost: list[VideoError] = []
        for video in self._candidates(key.video):
            try:
                if video not in self._lost:
                    return _Item(*self.clips[ClipKey(video, key.seed)], tuple(lost))
            except VideoError as error:
                if not is_packed(error.source):
                    return error
                self._lost[video] = error
            except HiddenTwoStreamError as error:
                return error
            lost.append(self._lost[video])
        return lost[0]

    def _candidates(self, video: int) -> Iterator[int]:
        """Yield a video, and then the others of its class, in turn."""
        yield video
        labels = self.clips.labels
        others = (number % len(labels) for number in range(video + 1, video + len(labels)))
        yield from (other for other in others if labels[other] == labels[video])


def _collated(items: list[_Item | HiddenTwoStreamError]) -> Any:
    """Return the clips and labels of some items, and what was lost; or the first error among the items."""
    errors = [item for item in items if isinstance(item, HiddenTwoStreamError)]
    if errors:
        return errors[0]
    found = [item for item in items if isinstance(item, _Item)]
    clips, labels = default_collate([(item.clips, item.label) for item in found])
    return clips, labels, [error for item in found for error in item.lost]


def _loader_failure(text: str) -> str:
    """Return what failed in a `DataLoader` with workers, in one line."""
    if any(sign in text for sign in ("shared memory", "Bus error", "No space left", "torch_")):
        return (
            "the decoding processes cannot pass their frames on, because /dev/shm is too small; decode "
            "without them (--workers 0), or give the system a larger /dev/shm"
        )
    reason = text.strip().splitlines()[-1]  # an error in a worker comes with its traceback before it
    return f"a decoding process failed ({reason}); try again without them: --workers 0"

"""Training clips. Which comes in which step is a pure function of the seed, so training resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hidden_two_stream.data.clip_cache import ClipCache
from hidden_two_stream.video.sampling import clip_indices, segment_starts
from hidden_two_stream.video.transforms import (
    apply_crop,
    color_jitter,
    crop_flow,
    flip,
    flip_flow,
    is_flow,
    multi_scale_crop_box,
)

__all__ = ["Augmentation", "ClipKey", "StepSampler", "TrainingClips", "mix_seed", "training_loader"]


@dataclass(frozen=True)
class ClipKey:
    """Names one training clip: which video, and the number that all its random draws come from."""

    video: int
    seed: int


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training clip; fields as in `config.InputConfig`."""

    size: int
    crop_scales: Sequence[float]
    flip: bool
    color_jitter: float


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several integers (splitmix64 steps; Steele et al., OOPSLA 2014)."""
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state ^ (number & mask)) + 0x9E3779B97F4A7C15 & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


class TrainingClips(Dataset[tuple[Tensor, int]]):
    """Random clips of the videos of a store: (segments, T, 3, size, size) uint8 and the class number.

    Where the store holds flow in place of pictures: (segments, T, 2, size, size) float16.

    Args:
        store: the videos.
        labels: class number of each.
        num_frames: frames per clip; 1 gives single frames.
        frame_stride: distance of a clip's frames.
        augmentation: random changes, the same for all clips of a sample.
        segments: clips per sample, one from each of as many equal parts of the video.
    """

    def __init__(
        self,
        store: ClipCache,
        labels: Sequence[int],
        num_frames: int,
        frame_stride: int,
        augmentation: Augmentation,
        segments: int = 1,
    ) -> None:
        self.store = store
        self.labels = tuple(labels)
        self.num_frames = num_frames
        self.frame_stride = frame_stride
        self.augmentation = augmentation
        self.segments = segments

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: ClipKey) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(key.seed)
        draws: list[float] = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        further = torch.rand(self.segments - 1, generator=generator, dtype=torch.float64)
        clips = self._clips(key.video, (draws[0], *further.tolist()))
        how = self.augmentation
        height, width = clips.shape[-2:]
        box = multi_scale_crop_box(height, width, how.size, how.crop_scales, (draws[1], draws[2], draws[3]))
        given = is_flow(clips)
        clips = crop_flow(clips, box, how.size) if given else apply_crop(clips, box, how.size)
        if how.flip and draws[4] < 0.5:
            clips = flip_flow(clips) if given else flip(clips)
        if how.color_jitter > 0 and not given:
            strength = how.color_jitter
            clips = color_jitter(clips, strength, strength, strength, generator)
        return clips.unflatten(0, (self.segments, self.num_frames)), self.labels[key.video]

    def _clips(self, video: int, draws: tuple[float, ...]) -> Tensor:
        """One clip from each segment, one behind the other: (segments · T, 3, h, w) uint8."""
        length, stride = self.num_frames, self.frame_stride
        available = self.store.videos[video].num_frames
        starts = segment_starts(available, length, stride, draws)
        indices = [clip_indices(start, length, stride, available) for start in starts]
        return self.store.clip(video, [index for clip in indices for index in clip])


class StepSampler(Sampler[list[ClipKey]]):
    """Batches of clip keys for the steps `start`…`stop`; one pass over shuffled videos after the other.

    Step s of a run is the same whether training began at 0 or resumed later, and each of `world` processes
    takes its own part of every step.

    Args:
        num_videos: videos to draw from.
        batch_size: clips per forward pass and process.
        accumulate: forward passes per step.
        start, stop: range of steps.
        seed: of the run and stage.
        rank, world: this process and how many there are.
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


def training_loader(
    clips: TrainingClips, sampler: StepSampler, workers: int
) -> DataLoader[tuple[Tensor, int]]:
    """Batches (B, segments, T, 3, size, size) uint8 and labels (B,) int64.

    Clips are cut in this process where all frames are in memory, else decoded in `workers` processes.
    """
    processes = 0 if clips.store.in_memory else workers
    return DataLoader(clips, batch_sampler=sampler, num_workers=processes, persistent_workers=False)

"""Training clips: which clip comes when, and what is changed in it, follow from the seed alone."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hidden_two_stream.data import training_set
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo, open_clip_cache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.training_set import (
    Augmentation,
    ClipKey,
    StepSampler,
    TrainingClips,
    mix_seed,
    training_batches,
)
from hidden_two_stream.errors import VideoError, WorkerError
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.video.writer import write_video

PLAIN = Augmentation(size=16, crop_scales=(1.0,), flip=False, color_jitter=0.0)


def store_of(*videos: Tensor) -> ClipCache:
    """A store of frames at hand, (T, 3, h, w) uint8 each."""
    samples = tuple(Sample(str(n), "x") for n in range(len(videos)))
    stored = tuple(
        DecodedVideo(str(n), len(v), 0, (v.shape[-2], v.shape[-1]), None, None, v)
        for n, v in enumerate(videos)
    )
    return ClipCache(samples, stored, (), 16)


def numbered(num_frames: int, offset: int = 0) -> Tensor:
    """(T, 3, 16, 16) whose pixels are the frame's number."""
    values = torch.arange(offset, offset + num_frames, dtype=torch.uint8)
    return values[:, None, None, None].expand(-1, 3, 16, 16).contiguous()


def noise(num_frames: int = 12, height: int = 16, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_frames, 3, height, width), generator=generator, dtype=torch.uint8)


def clips_of(
    store: ClipCache, num_frames: int = 4, stride: int = 1, how: Augmentation = PLAIN
) -> TrainingClips:
    return TrainingClips(store, tuple(range(len(store.videos))), num_frames, stride, how)


def clip_of(clips: TrainingClips, key: ClipKey) -> Tensor:
    """The one clip of a sample without segments, (T, 3, size, size)."""
    samples, _ = clips[key]
    assert len(samples) == 1
    return samples[0]


def keys(video: int = 0, count: int = 300) -> list[ClipKey]:
    return [ClipKey(video, mix_seed(5, n)) for n in range(count)]


# -- which clip when -------------------------------------------------------------------------------


def test_mixed_seeds_differ_and_are_positive() -> None:
    numbers = [(a, b) for a in (-1, 0, 1, 2, 1 << 62) for b in range(200)]
    seeds = [mix_seed(*pair) for pair in numbers]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert mix_seed(1, 2) != mix_seed(2, 1) != mix_seed(1, 2, 0)
    bits = np.array([[seed >> bit & 1 for bit in range(63)] for seed in seeds])
    assert abs(bits.mean() - 0.5) < 0.01
    assert (abs(bits.mean(axis=0) - 0.5) < 0.1).all()


@pytest.mark.parametrize("resumed", [0, 1, 5, 17, 30])
@pytest.mark.parametrize(
    ("batch_size", "accumulate", "rank", "world"), [(4, 1, 0, 1), (3, 2, 0, 1), (2, 3, 1, 2)]
)
def test_a_resumed_run_sees_the_tail_of_the_whole_one(
    resumed: int, batch_size: int, accumulate: int, rank: int, world: int
) -> None:
    whole = list(StepSampler(7, batch_size, accumulate, 0, 30, 11, rank, world))
    tail = StepSampler(7, batch_size, accumulate, resumed, 30, 11, rank, world)
    torch.manual_seed(resumed)  # the global generator has no say
    assert list(tail) == whole[resumed * accumulate :]
    assert list(tail) == list(tail), "a sampler can be gone through again"
    assert len(tail) == len(list(tail)) == (30 - resumed) * accumulate
    assert {len(batch) for batch in whole} == {batch_size}


def test_another_seed_is_another_run() -> None:
    runs = [list(StepSampler(7, 4, 1, 0, 10, seed)) for seed in (0, 1, 2)]
    videos = [[key.video for key in itertools.chain(*run)] for run in runs]
    assert videos[0] != videos[1] != videos[2] != videos[0]
    seeds = [key.seed for run in runs for key in itertools.chain(*run)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("num_videos", "batch_size"), [(1, 4), (5, 1), (10, 4), (3, 8), (8, 8)])
def test_every_epoch_visits_every_video_once_in_an_order_of_its_own(num_videos: int, batch_size: int) -> None:
    drawn = list(itertools.chain(*StepSampler(num_videos, batch_size, 1, 0, 12 * num_videos, 3)))
    videos = [key.video for key in drawn]
    orders = [tuple(videos[n : n + num_videos]) for n in range(0, len(videos), num_videos)]
    assert len(orders) == 12 * batch_size
    assert all(sorted(order) == list(range(num_videos)) for order in orders)
    if num_videos > 3:
        assert len(set(orders)) > len(orders) // 2
    assert len({key.seed for key in drawn}) == len(drawn), "no clip is drawn like another"


@pytest.mark.parametrize(("batch_size", "accumulate", "world"), [(2, 1, 2), (2, 3, 2), (1, 2, 4), (3, 1, 3)])
def test_processes_share_each_step(batch_size: int, accumulate: int, world: int) -> None:
    alone = list(StepSampler(9, batch_size * world, accumulate, 2, 20, 1))
    ranks = [list(StepSampler(9, batch_size, accumulate, 2, 20, 1, rank, world)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(alone)} == {18 * accumulate}
    for number, batch in enumerate(alone):
        parts = [batches[number] for batches in ranks]
        assert sum(map(len, parts)) == len(set(itertools.chain(*parts)))
        assert set(itertools.chain(*parts)) == set(batch)


def test_accumulated_batches_are_one_large_one() -> None:
    small = list(StepSampler(9, 2, 4, 0, 10, 1))
    large = list(StepSampler(9, 8, 1, 0, 10, 1))
    assert [[key for batch in small[4 * n : 4 * n + 4] for key in batch] for n in range(10)] == large


# -- what is in a clip -----------------------------------------------------------------------------


@pytest.mark.parametrize(("num_frames", "stride"), [(4, 1), (3, 2), (1, 1), (2, 5)])
def test_a_clip_is_frames_in_order_from_any_start(num_frames: int, stride: int) -> None:
    clips = clips_of(store_of(numbered(12), numbered(12, 100)), num_frames, stride)
    starts: Counter[int] = Counter()
    for key in keys(video=1):
        clip, label = clip_of(clips, key), clips[key][1]
        assert label == 1
        assert clip.shape == (num_frames, 3, 16, 16)
        assert clip.dtype == torch.uint8
        first = int(clip[0, 0, 0, 0]) - 100
        expected = [100 + first + stride * n for n in range(num_frames)]
        assert all(frame.unique().tolist() == [value] for frame, value in zip(clip, expected, strict=True))
        starts[first] += 1
    possible = 12 - (num_frames - 1) * stride
    assert set(starts) == set(range(possible))
    assert min(starts.values()) > 300 / possible / 3, "starts are drawn evenly"


@pytest.mark.parametrize(
    ("available", "stride", "expected"),
    [(3, 1, [0, 1, 2, 2, 2]), (1, 1, [0] * 5), (4, 2, [0, 2, 3, 3, 3])],
)
def test_a_short_video_repeats_its_last_frame(available: int, stride: int, expected: list[int]) -> None:
    clips = clips_of(store_of(numbered(available)), 5, stride)
    for key in keys(count=10):
        assert clip_of(clips, key)[:, 0, 0, 0].tolist() == expected


def test_labels_are_those_of_the_videos() -> None:
    clips = TrainingClips(store_of(*(numbered(5) for _ in range(3))), [4, 0, 4], 2, 1, PLAIN)
    assert len(clips) == 3
    assert [clips[ClipKey(video, 1)][1] for video in range(3)] == [4, 0, 4]


@pytest.mark.parametrize("how", [PLAIN, Augmentation(16, (1.0, 0.5), True, 0.5)])
def test_a_key_always_gives_the_same_clip(how: Augmentation) -> None:
    clips = clips_of(store_of(noise(30, 20, 30)), how=how)
    torch.manual_seed(1)
    first = [clip_of(clips, key) for key in keys(count=20)]
    torch.manual_seed(2)
    again = [clip_of(clips, key) for key in reversed(keys(count=20))]
    assert all(torch.equal(one, two) for one, two in zip(first, reversed(again), strict=True))
    assert len({clip.numpy().tobytes() for clip in first}) > 15


def test_nothing_changes_where_all_is_switched_off() -> None:
    video = noise(4)
    clips = clips_of(store_of(video))
    assert all(torch.equal(clip_of(clips, key), video) for key in keys(count=100))


def test_half_the_clips_are_mirrored_as_a_whole() -> None:
    video = noise(4)
    clips = clips_of(store_of(video), how=Augmentation(16, (1.0,), True, 0.0))
    mirrored = torch.from_numpy(video.numpy()[..., ::-1].copy())
    seen: Counter[str] = Counter()
    for key in keys():
        clip = clip_of(clips, key)
        seen["as it is"] += torch.equal(clip, video)
        seen["mirrored"] += torch.equal(clip, mirrored)
    assert seen.total() == 300
    assert 110 < seen["mirrored"] < 190  # 3 sigma are 26


def test_mirroring_does_not_depend_on_where_a_clip_begins() -> None:
    video = numbered(12)
    video[..., 0] += 100  # a bright left edge
    clips = clips_of(store_of(video), how=Augmentation(16, (1.0,), True, 0.0))
    edges = [clip_of(clips, key)[0, 0, 0] for key in keys()]
    seen = Counter((int(edge[7]), bool(edge[0] > edge[-1])) for edge in edges)
    assert len(seen) == 2 * 9, "each of 9 starts, mirrored and not"
    assert min(seen.values()) >= 5  # of 300 / 18


def test_crops_sit_in_the_corners_and_the_centre_alike_in_all_frames() -> None:
    video = noise(4, 16, 24)
    clips = clips_of(store_of(video))
    seen = Counter(
        next(left for left in range(9) if torch.equal(clip_of(clips, key), video[..., left : left + 16]))
        for key in keys()
    )
    assert set(seen) == {0, 4, 8}
    assert abs(seen[4] - 60) < 30  # one of five places


def test_crops_of_several_scales() -> None:
    video = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    video[..., 4:28, 4:28] = 255  # a part of it is in every crop
    clips = clips_of(store_of(video), how=Augmentation(32, (1.0, 0.75, 0.5), False, 0.0))
    seen = set()
    for key in keys():
        clip = clip_of(clips, key)
        assert clip.shape == (4, 3, 32, 32)
        assert all(torch.equal(clip[0], frame) for frame in clip)
        seen.add(clip.numpy().tobytes())
    # 7 pairs of sides (at most one step apart) in 5 places; the whole picture is the same in all places.
    assert 20 < len(seen) <= 7 * 5 - 4
    assert video.numpy().tobytes() in seen


def test_colours_change_alike_in_all_frames_and_only_with_jitter() -> None:
    still = noise(1).expand(4, -1, -1, -1).contiguous()
    clips = clips_of(store_of(still), how=Augmentation(16, (1.0,), False, 0.5))
    made = [clip_of(clips, key) for key in keys(count=20)]
    assert all(torch.equal(clip[0], frame) for clip in made for frame in clip)
    assert len({clip.numpy().tobytes() for clip in made}) == 20
    brightness = [float(clip.float().mean()) for clip in made]
    assert min(brightness) < float(still.float().mean()) < max(brightness)


# -- loader ----------------------------------------------------------------------------------------


def test_segments_are_clips_from_each_part_of_the_video_changed_alike() -> None:
    video = numbered(31)
    video[..., 0] = 200  # one edge marked: mirroring shows
    store = store_of(video)
    how = Augmentation(16, (1.0,), flip=True, color_jitter=0.0)
    clips = TrainingClips(store, (7,), 2, 1, how, segments=3)
    firsts, mirrored = [], []
    for key in keys():
        sample, label = clips[key]
        assert (sample.shape, label) == ((3, 2, 3, 16, 16), 7)
        numbers = sample[..., 8].flatten(2).float().mean(-1)
        assert torch.equal(numbers[:, 1], numbers[:, 0] + 1)
        firsts.append(numbers[:, 0].int().tolist())
        edges = sample[..., -1].flatten(1).float().mean(1) == 200
        assert edges.all() or not edges.any(), "all segments of a sample are mirrored, or none"
        mirrored.append(bool(edges[0]))
    for part, seen in enumerate(zip(*firsts, strict=True)):
        assert set(seen) == set(range(10 * part, 10 * part + 10))
    assert 0.4 < sum(mirrored) / len(mirrored) < 0.6
    assert len({first - second for first, second, _ in firsts}) > 10, "parts are drawn independently"


def test_one_segment_draws_what_a_plain_clip_draws() -> None:
    clips = clips_of(store_of(numbered(31)))
    again = TrainingClips(clips.cache, (0,), 4, 1, PLAIN, segments=1)
    assert all(torch.equal(clips[key][0], again[key][0]) for key in keys(count=50))


def test_loader_gives_the_same_from_memory_and_from_files_in_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[int] = []

    def spied(*arguments: Any, num_workers: int, **options: Any) -> Any:
        processes.append(num_workers)
        return DataLoader(*arguments, num_workers=num_workers, **options)

    monkeypatch.setattr(training_set, "DataLoader", spied)
    samples = []
    for n, label in enumerate(("left", "grow", "up")):
        path = tmp_path / f"{n}.mp4"
        write_video(path, generate_clip(label, n, num_frames=6 + n, size=32).frames)
        samples.append(Sample(str(path), label))
    how = Augmentation(32, (1.0, 0.75), True, 0.3)
    sampler = StepSampler(3, 2, 2, 1, 4, seed=9)
    kept, fresh = open_clip_cache(samples, 32), open_clip_cache(samples, 32, budget_bytes=0)
    loaders = [
        training_batches(clips_of(kept, how=how), sampler, workers=2),
        training_batches(clips_of(fresh, how=how), sampler, workers=2),
        training_batches(clips_of(fresh, how=how), sampler, workers=0),
    ]
    first, *others = [list(loader) for loader in loaders]
    assert processes == [0, 2, 0]
    assert len(first) == 6
    for frames, labels in first:
        assert (frames.shape, frames.dtype) == ((2, 1, 4, 3, 32, 32), torch.uint8)
        assert (labels.shape, labels.dtype) == ((2,), torch.int64)
    assert [labels.tolist() for _, labels in first] == [[key.video for key in batch] for batch in sampler]
    for batches in others:
        for (frames, labels), (expected, numbers) in zip(batches, first, strict=True):
            assert torch.equal(frames, expected)
            assert torch.equal(labels, numbers)


class Failing:
    """A dataset of one clip that fails, in the process that loads it."""

    def __init__(self, fail: Callable[[], Any], in_memory: bool = False) -> None:
        self.fail = fail
        self.cache = SimpleNamespace(in_memory=in_memory)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: ClipKey) -> tuple[Tensor, int]:
        self.fail()
        raise AssertionError("expected a failure")


def _unreadable() -> None:
    raise VideoError("a.mp4", "damaged data")


def _no_shared_memory() -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: Resource unavailable")


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrong() -> None:
    raise IndexError("a fault of the code")


def _mismatch() -> None:
    raise RuntimeError("sizes do not match")


@pytest.mark.parametrize(
    ("fail", "workers", "kind", "message"),
    [
        (_unreadable, 0, VideoError, r"cannot read video 'a\.mp4': damaged data$"),
        (_unreadable, 1, VideoError, r"cannot read video 'a\.mp4': damaged data$"),
        (_no_shared_memory, 1, WorkerError, r"/dev/shm is too small.*--workers 0"),
        pytest.param(
            _killed,
            1,
            WorkerError,
            r"a decoding process failed \(.*--workers 0",
            marks=pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals"),
        ),
        (_wrong, 1, IndexError, r"a fault of the code"),
        (_mismatch, 1, WorkerError, r"a decoding process failed \(RuntimeError: sizes do not match\)"),
    ],
)
def test_failures_in_a_loading_process_keep_their_meaning(
    fail: Callable[[], None], workers: int, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        list(training_batches(Failing(fail), StepSampler(1, 1, 1, 0, 1, seed=0), workers))

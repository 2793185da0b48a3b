"""Untrimmed generated video: exact truth, the same every time, and motion where the truth says."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.benchmarks import UNTRIMMED, num_clips, write_benchmark
from hidden_two_stream.synthetic.untrimmed import ACTIONS, FPS, SIZE, action_clip, recording
from hidden_two_stream.synthetic.untrimmed_dataset import UntrimmedPlan
from hidden_two_stream.video.reader import read_video


def test_the_truth_of_a_recording() -> None:
    made = recording(3, 300)
    assert made.num_frames == 300 * FPS
    counts = Counter(segment.label for segment in made.segments)
    assert set(counts) == set(ACTIONS)
    assert max(counts.values()) - min(counts.values()) <= 1
    edges = [(0.0, 0.0), *((s.start_seconds, s.end_seconds) for s in made.segments), (300.0, 300.0)]
    for (_, end), (start, _) in itertools.pairwise(edges):
        assert start - end >= 1 - 1 / FPS
    for segment in made.segments:
        assert 2 <= segment.seconds <= 5
        for edge in (segment.start_seconds, segment.end_seconds):
            assert edge * FPS == pytest.approx(round(edge * FPS))


def test_a_recording_is_the_same_every_time_and_no_other() -> None:
    made = recording(1, 10)
    frames = np.stack(list(made.frames()))
    assert frames.shape == (250, SIZE, SIZE, 3)
    assert np.array_equal(frames, np.stack(list(recording(1, 10).frames())))
    other = recording(2, 10)
    assert other.segments != made.segments
    assert not np.array_equal(next(other.frames()), frames[0])


def test_it_moves_while_something_happens() -> None:
    """The change from frame to frame, above the noise, in actions and in pauses."""
    moved = {True: [], False: []}  # type: dict[bool, list[float]]
    for seed in range(3):
        made = recording(seed, 40)
        frames = np.stack(list(made.frames())).astype(np.float32).mean(axis=-1)
        frames = frames.reshape(len(frames), SIZE // 4, 4, SIZE // 4, 4).mean(axis=(2, 4))
        change = np.abs(np.diff(frames, axis=0)).max(axis=(1, 2))
        times = np.arange(1, len(frames)) / FPS
        acting = np.zeros(len(times), bool)
        for segment in made.segments:
            acting |= (times > segment.start_seconds + 0.2) & (times < segment.end_seconds - 0.2)
        near = np.zeros(len(times), bool)
        for segment in made.segments:
            near |= (times > segment.start_seconds - 0.1) & (times < segment.end_seconds + 0.1)
        moved[True].append(float(np.median(change[acting])))
        moved[False].append(float(np.median(change[~near])))
    for busy, calm in zip(moved[True], moved[False], strict=True):
        assert busy > 1.5 * calm


def test_pieces_join_without_a_jump() -> None:
    """Frames 63 and 64 are drawn apart; in a pause they differ as little as other neighbors."""
    for seed in range(20):
        made = recording(seed, 10)
        if all(not s.start_seconds * FPS - 4 < 64 < s.end_seconds * FPS + 4 for s in made.segments):
            break
    frames = np.stack(list(itertools.islice(made.frames(), 68))).astype(np.float32)
    change = np.abs(np.diff(frames[60:68], axis=0)).mean(axis=(1, 2, 3))
    assert change[3] < 1.2 * np.median(change)


@pytest.mark.parametrize("label", [*ACTIONS, "stand_still"])
def test_a_clip_shows_one_action(label: str) -> None:
    clip = action_clip(label, 4, 20)
    assert (clip.shape, clip.dtype) == ((20, SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(clip, action_clip(label, 4, 20))
    assert not np.array_equal(clip, action_clip(label, 5, 20))


def test_memory_does_not_grow_with_the_recording() -> None:
    def peak(seconds: float) -> int:
        made = recording(0, seconds)
        tracemalloc.start()
        for _ in made.frames():
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    # Only the joints of all frames are held: less than 2 kB each, where the frames take 38 kB.
    assert peak(60) - peak(20) < 40 * FPS * 3000


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="got the seed -1"):
        recording(-1)
    with pytest.raises(UsageError, match="got 5 seconds; expected 10 to 86400"):
        recording(0, 5)
    with pytest.raises(UsageError, match="got the action 'fly'; expected one of"):
        action_clip("fly", 0)
    with pytest.raises(UsageError, match="got num_frames=1"):
        action_clip("bow", 0, 1)


# -- on disk ---------------------------------------------------------------------------------------


def test_the_benchmark_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = UntrimmedPlan(clips_per_class=1, recordings=1, seconds=12)
    monkeypatch.setitem(UNTRIMMED, "untrimmed-v1", plan)
    seen: list[tuple[int, int]] = []
    benchmark = write_benchmark(tmp_path, "untrimmed-v1", progress=lambda *n: seen.append(n))
    assert num_clips("untrimmed-v1") == benchmark.num_videos == 12
    assert seen[-1] == (12, 12)
    assert benchmark.classes == (*ACTIONS, "background")
    assert benchmark.to_dict()["splits"] == {"train": 11, "test": 1}
    truth = recording(1000, 12)
    samples = read_dataset_index(benchmark.data).samples
    assert [(s.label, s.split) for s in samples[:11]] == [(name, "train") for name in benchmark.classes]
    assert [(s.start_seconds, s.end_seconds, s.label, s.split) for s in samples[11:]] == [
        (s.start_seconds, s.end_seconds, s.label, "test") for s in truth.segments
    ]
    clip, info = read_video(samples[11].path)
    assert (info.num_frames, info.fps) == (300, 25)
    assert np.abs(clip[20].astype(int) - list(truth.frames())[20]).mean() < 4  # compressed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "labels.csv", "recordings"]


def test_the_benchmark_has_its_counts() -> None:
    assert num_clips("untrimmed-v1") == 11 * 12 + 4

"""Generated benchmarks of fixed content: the plan of their clips, and the folder on disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.benchmarks import (
    BENCHMARKS,
    BenchmarkPlan,
    benchmark_jobs,
    num_clips,
    write_benchmark,
)
from hidden_two_stream.synthetic.dataset import load_ground_truth
from hidden_two_stream.synthetic.motions_v1 import MOTION_CLASSES, generate_motion_clip
from hidden_two_stream.video.reader import VideoReader


def test_motions_v1_has_its_counts() -> None:
    jobs = benchmark_jobs(Path("x"), "motions-v1")
    assert len(jobs) == num_clips("motions-v1") == 960
    assert len({job.seed for job in jobs}) == len({job.path for job in jobs}) == 960
    assert Counter((job.label, job.split) for job in jobs) == {
        (label, split): count for label in MOTION_CLASSES for split, count in (("train", 60), ("test", 20))
    }
    grades = Counter((job.split, job.columns["grade"]) for job in jobs)
    assert grades == {
        (split, grade): count for split, count in (("train", 240), ("test", 80)) for grade in "123"
    }
    of_class = Counter((job.label, job.split, job.columns["grade"]) for job in jobs)
    assert set(of_class.values()) == {20, 6, 7}


def test_a_benchmark_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "motions-v1", BenchmarkPlan(("left", "part"), 1, 1))
    seen: list[tuple[int, int]] = []
    benchmark = write_benchmark(tmp_path, progress=lambda *n: seen.append(n))
    assert benchmark.data == tmp_path / "labels.csv"
    assert benchmark.data.read_text(encoding="utf-8").splitlines() == [
        "path,label,split,grade",
        "videos/left/train_0000.mp4,left,train,1",
        "videos/part/train_0000.mp4,part,train,2",
        "videos/left/test_0000.mp4,left,test,1",
        "videos/part/test_0000.mp4,part,test,2",
    ]
    assert seen == [(n, 4) for n in range(1, 5)]
    sample = read_dataset_index(benchmark.data).samples[1]
    assert sample.columns["grade"] == "2"
    clip = generate_motion_clip("part", 1_000_000, "2")
    truth = load_ground_truth(sample.path)
    assert truth is not None
    np.testing.assert_array_equal(truth[0], clip.flow)
    np.testing.assert_array_equal(truth[1], clip.moving)
    with VideoReader(sample.path) as reader:
        frames = np.stack([frame.image for frame in reader.frames(0, 24)])
        assert reader.fps == 25
    assert frames.shape == clip.frames.shape
    assert np.abs(frames.astype(int) - clip.frames).mean() < 10  # what H.264 loses, mostly color


def test_an_unknown_name_is_named(tmp_path: Path) -> None:
    for call in (lambda: write_benchmark(tmp_path / "x", "motions-v0"), lambda: num_clips("motions-v0")):
        with pytest.raises(UsageError, match=r"'motions-v0'; choose one of motions-v1"):
            call()
    assert not (tmp_path / "x").exists()

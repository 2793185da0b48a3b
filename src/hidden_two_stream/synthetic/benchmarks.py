"""Generated benchmarks of fixed content: the same clips for everyone who compares methods on them.

"motions-v1" has the twelve classes of `motions_v1`, with 60 training clips and 20 test clips each. Grades
alternate from clip to clip, so each grade makes up a third of both splits. "untrimmed-v1" has trimmed clips
of the ten actions of `untrimmed` and of pauses for training, and recordings of three minutes for the test.
Other content needs another name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import holds_nothing, write_text
from hidden_two_stream.synthetic.clips import SyntheticClip
from hidden_two_stream.synthetic.dataset import ClipJob, clip_path, write_clips
from hidden_two_stream.synthetic.motions_v1 import GRADES, MOTION_CLASSES, generate_motion_clip
from hidden_two_stream.synthetic.untrimmed_dataset import UntrimmedPlan, write_untrimmed

__all__ = [
    "BENCHMARKS",
    "UNTRIMMED",
    "Benchmark",
    "BenchmarkPlan",
    "benchmark_jobs",
    "num_clips",
    "write_benchmark",
]

UNFINISHED_FILE = "unfinished.txt"
"""Lies in the folder until the benchmark is complete; a folder with this file may be written again."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """The content of a benchmark: its classes, and the number of clips of each."""

    classes: tuple[str, ...]
    train_per_class: int
    test_per_class: int


BENCHMARKS = {"motions-v1": BenchmarkPlan(MOTION_CLASSES, train_per_class=60, test_per_class=20)}
"""Benchmarks of clips with exact motion."""

UNTRIMMED = {"untrimmed-v1": UntrimmedPlan(clips_per_class=12, recordings=4, seconds=180)}
"""Benchmarks of recordings with exact times."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark on disk.

    Attributes:
        name: a key of `BENCHMARKS` or `UNTRIMMED`.
        data: path of labels.csv, the dataset index (path, label, split, and grade or times).
        num_videos: number of videos.
        splits: videos per split.
        grades: clips per grade; empty for a benchmark without grades.
        classes: in the order of the dataset index.
    """

    name: str
    data: Path
    num_videos: int
    splits: Mapping[str, int]
    grades: Mapping[str, int]
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {**asdict(self), "data": str(self.data), "classes": list(self.classes)}


def num_clips(name: str) -> int:
    """Return the number of videos of a benchmark.

    Raises:
        UsageError: unknown name.
    """
    if name in UNTRIMMED:
        return UNTRIMMED[name].num_videos
    plan = _plan(name)
    return len(plan.classes) * (plan.train_per_class + plan.test_per_class)


def benchmark_jobs(root: Path, name: str) -> list[ClipJob]:
    """Return the clips of a benchmark; no two of them share a seed.

    Raises:
        UsageError: unknown name.
    """
    plan = _plan(name)
    grades, jobs = list(GRADES), []
    for split_index, split in enumerate(("train", "test")):
        count = (plan.train_per_class, plan.test_per_class)[split_index]
        for class_index, label in enumerate(plan.classes):
            first = (split_index * len(plan.classes) + class_index) * 1_000_000
            for number in range(count):
                grade = grades[(number + class_index) % len(grades)]
                path = clip_path(root, label, split, number)
                jobs.append(ClipJob(path, label, split, first + number, {"grade": grade}))
    return jobs


def write_benchmark(
    folder: Path,
    name: str = "motions-v1",
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Write a benchmark in the layout of `dataset`, or of `untrimmed_dataset`.

    Args:
        folder: new or empty, or one where an earlier call was interrupted; that benchmark is written again.
        name: a key of `BENCHMARKS` or `UNTRIMMED`.
        workers: processes that share the work; 0 works in this process.
        progress: called with (videos done, videos in all) after each video.

    Raises:
        UsageError: unknown name, or the folder holds something else.
        OutputError: a file cannot be written.
    """
    num_clips(name)  # report an unknown name before anything is written
    unfinished = folder / UNFINISHED_FILE
    if not holds_nothing(folder) and not unfinished.is_file():
        raise UsageError(f"{str(folder)!r} is not empty; expected a new or empty folder; choose another")
    write_text(unfinished, f"hts generate {name} was interrupted; run it again\n", make_parents=True)
    write = _write_untrimmed if name in UNTRIMMED else _write_clips
    benchmark = write(folder, name, workers, progress)
    for leftover in (*folder.glob("**/.*.part*"), unfinished):
        leftover.unlink()
    return benchmark


def _write_clips(
    folder: Path, name: str, workers: int, progress: Callable[[int, int], None] | None
) -> Benchmark:
    jobs = benchmark_jobs(folder, name)
    return Benchmark(
        name=name,
        data=write_clips(folder, jobs, _make_clip, workers=workers, progress=progress),
        num_videos=len(jobs),
        splits=dict(Counter(job.split for job in jobs)),
        grades=dict(sorted(Counter(job.columns["grade"] for job in jobs).items())),
        classes=tuple(dict.fromkeys(job.label for job in jobs)),
    )


def _write_untrimmed(
    folder: Path, name: str, workers: int, progress: Callable[[int, int], None] | None
) -> Benchmark:
    plan = UNTRIMMED[name]
    index, splits = write_untrimmed(folder, plan, workers=workers, progress=progress)
    return Benchmark(name, index, plan.num_videos, splits, {}, plan.classes)


def _plan(name: str) -> BenchmarkPlan:
    if name not in BENCHMARKS:
        raise UsageError(
            f"unknown generated data set {name!r}; choose one of {', '.join((*BENCHMARKS, *UNTRIMMED))}"
        )
    return BENCHMARKS[name]


def _make_clip(job: ClipJob) -> SyntheticClip:
    return generate_motion_clip(job.label, job.seed, job.columns["grade"])

"""Generated benchmarks of fixed content, by name: the same clips for everyone who compares methods on them.

"motions-v1": the twelve classes of `hard_motions`, 60 clips of each for training and 20 for testing. Grades
take turns from clip to clip, so that each is a third of either part. Another content gets another name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.errors import UsageError
from hidden_two_stream.synthetic.clips import SyntheticClip
from hidden_two_stream.synthetic.dataset import Job, clip_path, write_clips
from hidden_two_stream.synthetic.motions_v1 import GRADES, HARD_CLASSES, generate_hard_clip

__all__ = ["FIXED_SETS", "FixedSet", "num_clips", "write_benchmark"]


@dataclass(frozen=True)
class FixedSet:
    """How many clips of each class a fixed set has."""

    train_per_class: int
    test_per_class: int


FIXED_SETS = {"motions-v1": FixedSet(train_per_class=60, test_per_class=20)}


def write_benchmark(
    root: Path,
    version: str = "motions-v1",
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a fixed set, and return the path of its labels.csv (path, label, split, grade).

    The folder is as `generated.write_dataset` makes it: `load_ground_truth` reads the exact motion beside
    each video, and a folder without labels.csv is unfinished.

    Args:
        root: folder; made if missing.
        version: name of the set.
        workers: processes that share the work; 0 does it in this one.
        progress: called with (clips done, clips in all) after each.

    Raises:
        UsageError: no set has that name.
        OutputError: a file cannot be written.
    """
    jobs = _jobs(Path(root), _fixed_set(version))
    return write_clips(Path(root), jobs, _make, workers=workers, progress=progress)


def num_clips(version: str) -> int:
    """Clips in a fixed set, in all.

    Raises:
        UsageError: no set has that name.
    """
    wanted = _fixed_set(version)
    return len(HARD_CLASSES) * (wanted.train_per_class + wanted.test_per_class)


def _fixed_set(version: str) -> FixedSet:
    if version not in FIXED_SETS:
        raise UsageError(f"unknown generated data set {version!r}; choose one of {', '.join(FIXED_SETS)}")
    return FIXED_SETS[version]


def _make(job: Job) -> SyntheticClip:
    return generate_hard_clip(job.label, job.seed, job.columns["grade"])


def _jobs(root: Path, wanted: FixedSet) -> list[Job]:
    # Each (split, class, number) has a seed of its own, so no scene is in two clips.
    grades, jobs = list(GRADES), []
    for split_index, split in enumerate(("train", "test")):
        count = (wanted.train_per_class, wanted.test_per_class)[split_index]
        for class_index, label in enumerate(HARD_CLASSES):
            first = (split_index * len(HARD_CLASSES) + class_index) * 1_000_000
            for number in range(count):
                grade = grades[(number + class_index) % len(grades)]
                path = clip_path(root, label, split, number)
                jobs.append(Job(path, label, split, first + number, {"grade": grade}))
    return jobs

"""Generated data sets on disk: labeled videos, the exact motion beside each, and a dataset index.

A data set is a folder with

- `videos/<class>/<split>_<number>.mp4`,
- `<split>_<number>.flow.npz` beside each video, which `load_ground_truth` reads,
- `labels.csv`, the dataset index, which is written last: a folder without it is unfinished.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from hidden_two_stream.errors import DataError, OutputError, UsageError, WorkerError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.npz import read_npz
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.synthetic.arrays import BoolArray
from hidden_two_stream.synthetic.clips import (
    CLASSES,
    REFERENCE_FRAMES,
    REFERENCE_SIZE,
    Difficulty,
    SyntheticClip,
    generate_clip,
    validate_arguments,
)
from hidden_two_stream.types import FloatArray
from hidden_two_stream.video.writer import write_video

__all__ = [
    "ClipJob",
    "MakeClip",
    "clip_path",
    "dataset_jobs",
    "load_ground_truth",
    "write_clips",
    "write_dataset",
]


@dataclass(frozen=True)
class ClipJob:
    """A clip to generate.

    Attributes:
        path: file to write.
        label: class.
        split: "train" or "test".
        seed: of the clip.
        columns: further columns of the dataset index, and their values.
    """

    path: Path
    label: str
    split: str
    seed: int
    columns: Mapping[str, str] = field(default_factory=dict)


MakeClip = Callable[[ClipJob], SyntheticClip]


def clip_path(root: Path, label: str, split: str, number: int) -> Path:
    """Return the path of a generated video under the folder `root`."""
    return root / "videos" / label / f"{split}_{number:04d}.mp4"


def dataset_jobs(root: Path, train_per_class: int, test_per_class: int, seed: int) -> list[ClipJob]:
    """Return the clips of `write_dataset`; no two clips of any data sets share a seed."""
    jobs = []
    for split_index, (split, count) in enumerate((("train", train_per_class), ("test", test_per_class))):
        for class_index, label in enumerate(CLASSES):
            first = ((seed * 2 + split_index) * len(CLASSES) + class_index) * 1_000_000
            jobs += [
                ClipJob(clip_path(root, label, split, number), label, split, first + number)
                for number in range(count)
            ]
    return jobs


def write_dataset(
    root: Path,
    *,
    train_per_class: int,
    test_per_class: int,
    seed: int = 0,
    num_frames: int = REFERENCE_FRAMES,
    size: int = REFERENCE_SIZE,
    difficulty: str | Difficulty = "normal",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set of the eight classes of `clips`, and return the path of its labels.csv.

    The dataset index has the columns path (relative to root), label and split. No test clip shares
    its seed with a training clip, whatever the seeds of the data sets.

    Args:
        root: folder; created if missing.
        train_per_class: training clips per class.
        test_per_class: test clips per class.
        seed: each seed gives other clips.
        num_frames: frames per clip.
        size: height and width in pixels.
        difficulty: a key of `clips.DIFFICULTIES`, or a `Difficulty`.
        workers: processes that share the work; 0 works in this process.
        progress: called with (clips done, clips in all) after each clip.

    Raises:
        UsageError: a number is out of range, or a name is unknown.
        OutputError: a file cannot be written.
    """
    for name, count in (("train_per_class", train_per_class), ("test_per_class", test_per_class)):
        if not 0 <= count < 1_000_000:
            raise UsageError(f"got {name}={count}; expected 0 to 999999 clips")
    if train_per_class + test_per_class == 0:
        raise UsageError("got no clips to write; expected train_per_class or test_per_class of at least 1")
    validate_arguments(CLASSES[0], seed, num_frames, size, difficulty)
    jobs = dataset_jobs(Path(root), train_per_class, test_per_class, seed)
    make = partial(_make_clip, num_frames=num_frames, size=size, difficulty=difficulty)
    return write_clips(Path(root), jobs, make, workers=workers, progress=progress)


def _make_clip(job: ClipJob, num_frames: int, size: int, difficulty: str | Difficulty) -> SyntheticClip:
    return generate_clip(job.label, job.seed, num_frames=num_frames, size=size, difficulty=difficulty)


def write_clips(
    root: Path,
    jobs: Sequence[ClipJob],
    make: MakeClip,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write clips with ground truth, then `root/labels.csv`, and return the path of labels.csv.

    Args:
        root: folder; created if missing.
        jobs: at least one; all have the same columns.
        make: generates the clip of a job; a function that other processes can import.
        workers: processes that share the work; 0 works in this process.
        progress: called with (clips done, clips in all) after each clip.

    Raises:
        OutputError: a file cannot be written.
    """
    index = root / "labels.csv"
    try:
        index.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot replace {str(index)!r}: {error.strerror}; expected a writable folder; choose another"
        ) from error
    write = partial(_write_clip, make=make)
    for done, _ in enumerate(run_in_processes(write, jobs, workers, _lost), start=1):
        if progress is not None:
            progress(done, len(jobs))
    with atomic_write(index) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "label", "split", *jobs[0].columns])
        for job in jobs:
            path = job.path.relative_to(root).as_posix()
            rows.writerow([path, job.label, job.split, *job.columns.values()])
    return index


def _lost(job: ClipJob) -> None:
    raise WorkerError(f"cannot generate {str(job.path)!r}: {LOST_WORKER}")


def _write_clip(job: ClipJob, make: MakeClip) -> None:
    clip = make(job)
    write_video(job.path, clip.frames)
    with atomic_write(_ground_truth_path(job.path)) as part:
        np.savez_compressed(part, flow=clip.flow, moving=clip.moving)


def _ground_truth_path(video_path: Path) -> Path:
    return video_path.with_name(f"{video_path.stem}.flow.npz")


def load_ground_truth(video_path: str | os.PathLike[str]) -> tuple[FloatArray, BoolArray] | None:
    """Return the exact motion beside a generated video, or None if there is none.

    Returns:
        flow (T-1, 2, H, W) float32 pixels and moving (T-1, H, W) bool, as in `SyntheticClip`.

    Raises:
        DataError: the file exists but cannot be read.
    """
    path = _ground_truth_path(Path(video_path))
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path, "ground truth")
        return arrays["flow"], arrays["moving"]
    except KeyError as error:
        what = f"ground truth {str(path)!r} lacks {error}"
        raise DataError(f"{what}; expected the arrays flow and moving, write the data set again") from error

"""The data set of `untrimmed` on disk: trimmed clips for training, recordings with their truth for the test.

A folder holds `clips/<class>_<number>.mp4`, `recordings/<number>.mp4`, and `labels.csv`, which is written
last: the columns are path, label, split, start_seconds and end_seconds, and one row is a clip or a segment.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.errors import WorkerError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.parallel import LOST_WORKER, run_in_processes
from hidden_two_stream.synthetic.untrimmed import ACTIONS, FPS, action_clip, recording
from hidden_two_stream.types import BACKGROUND, Segment
from hidden_two_stream.video.writer import write_video

__all__ = ["UntrimmedPlan", "write_untrimmed"]

_FIRST_RECORDING = 1000
"""Seed of the first recording: defaults were chosen on recordings of lower seeds."""


@dataclass(frozen=True)
class UntrimmedPlan:
    """The content of the data set.

    Attributes:
        clips_per_class: training clips of each action, and of "background": a figure that stands still.
        recordings: recordings for the test.
        seconds: length of a recording.
    """

    clips_per_class: int
    recordings: int
    seconds: float

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels of training clips."""
        return (*ACTIONS, BACKGROUND)

    @property
    def num_videos(self) -> int:
        """Number of files."""
        return len(self.classes) * self.clips_per_class + self.recordings


@dataclass(frozen=True)
class _Job:
    """A file to write: a clip, or the recording if there is no label."""

    path: Path
    label: str | None
    seed: int
    seconds: float


def write_untrimmed(
    root: Path,
    plan: UntrimmedPlan,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, dict[str, int]]:
    """Write the data set, and return the path of labels.csv and the number of videos of each split.

    Args:
        root: folder; created if missing.
        plan: its content.
        workers: processes that share the work; 0 works in this process.
        progress: called with (videos done, videos in all) after each video.

    Raises:
        OutputError: a file cannot be written.
        WorkerError: worker processes cannot be started, or one died.
    """
    jobs = [
        _Job(root / "clips" / f"{label}_{number:03d}.mp4", label, number, 0.0)
        for label in plan.classes
        for number in range(plan.clips_per_class)
    ]
    num_clips = len(jobs)
    jobs += [
        _Job(root / "recordings" / f"{number:03d}.mp4", None, _FIRST_RECORDING + number, plan.seconds)
        for number in range(plan.recordings)
    ]
    rows: list[tuple[str, ...]] = []
    for done, segments in enumerate(run_in_processes(_write, jobs, workers, _lost), start=1):
        rows += _rows(jobs[done - 1], root, segments)
        if progress is not None:
            progress(done, len(jobs))
    index = root / "labels.csv"
    with atomic_write(index) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "label", "split", "start_seconds", "end_seconds"])
        table.writerows(rows)
    return index, {"train": num_clips, "test": plan.recordings}


def _write(job: _Job) -> Sequence[Segment]:
    if job.label is None:
        made = recording(job.seed, job.seconds)
        write_video(job.path, made.frames(), FPS)
        return made.segments
    action = "stand_still" if job.label == BACKGROUND else job.label
    write_video(job.path, action_clip(action, job.seed), FPS)
    return ()


def _rows(job: _Job, root: Path, segments: Sequence[Segment]) -> list[tuple[str, ...]]:
    path = job.path.relative_to(root).as_posix()
    if job.label is not None:
        return [(path, job.label, "train", "", "")]
    return [(path, s.label, "test", f"{s.start_seconds:.12g}", f"{s.end_seconds:.12g}") for s in segments]


def _lost(job: _Job) -> Sequence[Segment]:
    raise WorkerError(f"cannot generate {str(job.path)!r}: {LOST_WORKER}")

"""Tiny trainings over all stages, which `fuzz.kills` interrupts: their commands, and their data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["TRAININGS", "Training", "write_data"]

_STAGES = ("motion", "spatial", "temporal", "joint")
_CLASSES = ("left", "up", "grow")
_FRAMES_LABELED = 20


@dataclass(frozen=True)
class Training:
    """A command that trains, and the one that goes on.

    Attributes:
        name: what is trained.
        start: the command without --out.
        resume: the arguments that continue it in the place of `start`; empty: the same command again.
        marker: the file from which on it is continued.
    """

    name: str
    start: tuple[str, ...]
    resume: tuple[str, ...] = ()
    marker: str = "plan.json"

    def command(self, data: Path, out: Path) -> list[str]:
        """Return the arguments of `hts` to begin, or to go on with what is in `out`."""
        words = self.resume if self.resume and (out / self.marker).exists() else self.start
        return [word.replace("DATA", str(data)) for word in words] + ["--out", str(out)]


def _set(*fields: str) -> list[str]:
    return [part for field in fields for part in ("--set", field)]


_TINY = _set("input.size=32", "spatial.batch_size=2", "temporal.batch_size=2", "joint.batch_size=2")
_ALL = [
    *("train", "--data", "DATA/labels.csv", "--seed", "7", "--quiet", *_TINY),
    *_set("model.num_frames=3", "model.temporal=branched", "motion_init=none", "temporal_init=none"),
    *_set(*(f"{stage}.steps=4" for stage in _STAGES), "motion.batch_size=2"),
]
_RESUME = ["train", "--resume", "--quiet"]
_FOLDS = ["cross-validate", "--data", "DATA/people.csv", "--group", "who", "--recipe", "quick", "--quiet",
          *_TINY, "--workers", "0"]  # fmt: skip
_COMPARE = [
    *("compare", "--data", "DATA/labels.csv", "--methods", "dis-fast,nearest-motion,branched", "--quiet"),
    *_TINY, *_set(*(f"{stage}.steps=2" for stage in _STAGES), "model.num_frames=3"), "--workers", "0",
]  # fmt: skip
_WORKERS = ["--workers", "2", "--cache-mb", "0"]

TRAININGS: dict[str, Training] = {
    training.name: training
    for training in (
        Training("all-stages", (*_ALL, "--workers", "0"), (*_RESUME, "--workers", "0")),
        Training("workers", (*_ALL, *_WORKERS), (*_RESUME, *_WORKERS)),
        Training(
            "fine-tuning",
            ("train", "--data", "DATA/labels.csv", "--quiet", *_TINY,
             *_set("spatial.steps=3", "temporal.steps=3"), "--workers", "0"),
            (*_RESUME, "--workers", "0"),
        ),
        Training(
            "few-clips",
            ("train", "--data", "DATA/labels.csv", "--recipe", "quick", "--quiet", *_TINY, "--workers", "0"),
            (*_RESUME, "--workers", "0"),
        ),
        Training(
            "frame-labels",
            ("train-frames", "--data", "DATA/segments.csv", "--unlabeled", "background", "--size", "32",
             "--steps", "30", "--held-out", "person=2", "--quiet"),
        ),
        Training("folds", tuple(_FOLDS), (*_FOLDS, "--resume")),
        Training("comparison", tuple(_COMPARE), (*_COMPARE, "--resume")),
    )
}  # fmt: skip
"""By name. "few-clips" fits the last layer alone; "folds" and "comparison" are runs in runs."""


def write_data(folder: Path) -> None:
    """Write labels.csv, people.csv and segments.csv, and their videos."""
    from hidden_two_stream.synthetic.dataset import write_dataset

    labels = write_dataset(folder, train_per_class=4, test_per_class=2, num_frames=6, size=32)
    with labels.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in _CLASSES]
    _table(labels, ("path", "label", "split"), [[row["path"], row["label"], row["split"]] for row in rows])
    _table(
        folder / "people.csv",
        ("path", "label", "who"),
        [[row["path"], row["label"], str(number % 2)] for number, row in enumerate(rows)],
    )
    _write_recordings(folder)


def _write_recordings(folder: Path) -> None:
    """Write four videos in which two movements take turns, and segments.csv."""
    from hidden_two_stream.synthetic.clips import generate_clip
    from hidden_two_stream.video.writer import write_video

    rows = []
    for number in range(4):
        parts = [
            generate_clip(label, 10 * number + place, num_frames=_FRAMES_LABELED, size=32).frames
            for place, label in enumerate(("left", "up", "left"))
        ]
        path = folder / "recordings" / f"{number}.mp4"
        write_video(path, np.concatenate(parts))
        ends = np.arange(4) * _FRAMES_LABELED / 25
        for place, label in enumerate(("left", "up", "left")):
            rows.append(
                [str(path), label, f"{ends[place]:.2f}", f"{ends[place + 1]:.2f}", str(number // 2 + 1)]
            )
    _table(folder / "segments.csv", ("path", "label", "start_seconds", "end_seconds", "person"), rows)


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])

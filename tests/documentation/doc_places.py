"""The files that commands of the pages name: clips, recordings and labels, all generated and small."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import hidden_two_stream as hts
from hidden_two_stream.data.annotations.model import Annotations
from hidden_two_stream.synthetic.untrimmed import action_clip, recording
from hidden_two_stream.types import Segment
from hidden_two_stream.video.writer import write_video

LABELS = {"wave": "wave_both", "squats": "squats", "background": "stand_still"}
"""The classes, and the generated action of each."""
PEOPLE = ("1", "2", "3")


def write_places(root: Path) -> None:
    """Write videos/, new/, archive/, labels.csv, tables of recordings, and single clips."""
    rows = []
    for label, action in LABELS.items():
        for number, person in enumerate(PEOPLE * 2):
            name = f"videos/{label}/{number:03}.mp4"
            write_video(root / name, action_clip(action, number, 32))
            rows.append({"path": name, "label": label, "subject": person})
    _table(root / "labels.csv", rows)
    for number, name in enumerate(
        ("new/clip.mp4", "new/001.mp4", "clip.mp4", "video.mp4", "new.mp4", "a.mp4", "b.mp4")
    ):
        clip = action_clip("wave_both", 50 + number, 80)
        write_video(root / name, clip.repeat(2, axis=1).repeat(2, axis=2))
    for part in ("part1", "part2"):
        write_video(root / "archive" / part / "x.mp4", action_clip("squats", len(part), 32))
    _write_recordings(root)


def _write_recordings(root: Path) -> None:
    """Write long.mp4 and recording.mp4 with segments.csv, and three recordings with bouts."""
    rows = []
    for seed, name in enumerate(("long.mp4", "recording.mp4")):
        truth = recording(seed, seconds=24)
        write_video(root / name, np.stack(list(truth.frames())))
        rows += [
            {"path": name, "label": ("wave", "squats")[number % 2],
             "start_seconds": part.start_seconds, "end_seconds": part.end_seconds}
            for number, part in enumerate(truth.segments)
        ]  # fmt: skip
    _table(root / "segments.csv", rows)
    (root / "boris").mkdir()
    listed = []
    for number, name in enumerate("abc"):
        truth = recording(20 + number, seconds=12)
        write_video(root / "recorded" / f"{name}.mp4", np.stack(list(truth.frames())))
        parts = [Segment(part.start_seconds, part.end_seconds, "groom") for part in truth.segments]
        hts.write_annotations(root / "boris" / f"{name}.csv", [Annotations.of(f"{name}.mp4", parts)])
        split = "test" if name == "c" else "train"
        listed.append(
            {
                "path": f"recorded/{name}.mp4",
                "labels": f"boris/{name}.csv",
                "split": split,
                "animal": f"m{number}",
            }
        )
    _table(root / "recordings.csv", listed)
    _write_labels(root)


def _write_labels(root: Path) -> None:
    """Write label files of other tools: BORIS, DeepEthogram and subtitles."""
    bouts = [Segment(0.4, 1.2, "groom"), Segment(2.0, 3.0, "rear")]
    labels = [Annotations.of("clip.mp4", bouts)]
    hts.write_annotations(root / "project.boris", labels)
    for name in ("a", "b"):
        hts.write_annotations(root / f"{name}.srt", labels)
        (root / "DATA" / name).mkdir(parents=True)
        table = root / "DATA" / name / f"{name}_labels.csv"
        hts.write_annotations(table, labels, "deepethogram", fps=25, num_frames=250)


def _table(path: Path, rows: list[dict[str, object]] | list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)

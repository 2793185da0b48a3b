"""What matters on a data set: cross-validation of recipe nano-branched, one change at a time.

Each row is a whole cross-validation of one stream by a grouping column, such as the person. Rows differ from
the first one in a single setting. Complete folds are kept: an interrupted study goes on where it stopped.

    python examples/one_change.py labels.csv --group subject --out runs/one-change
        [--kept-back lena lyova ira]

Values that are kept back take no part at all: choices that the table suggests can then be tested on them.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hidden_two_stream.environment import machine
from hidden_two_stream.errors import DataError, HiddenTwoStreamError
from hidden_two_stream.experiments.cross_validation import cross_validate
from hidden_two_stream.files import make_folder
from hidden_two_stream.training.resources import Resources

TEMPORAL = ("model.streams=[temporal]", "spatial.steps=0", "motion.steps=0", "joint.steps=0")
SPATIAL = (
    "model.streams=[spatial]", "model.temporal=stacked", "motion_init=none", "motion.steps=0",
    "temporal.steps=0", "joint.steps=0",
)  # fmt: skip

STUDIES: dict[str, tuple[Sequence[str], dict[str, Sequence[str]]]] = {
    "temporal": (
        TEMPORAL,
        {
            "as it is: 128 px, 11 frames": (),
            "96 px, which nano enlarges to 192": ("input.size=96",),
            "whole frame squeezed to 128×128, nothing cut off": (
                "input.size=128", "input.resize=[128,128]", "input.crop_scales=[1]",
            ),
            "no smaller crops in training": ("input.crop_scales=[1]",),
            "no mirror images": ("input.flip=false",),
            "every second frame: 21 frames seen": ("input.frame_stride=2",),
            "every third frame: 31 frames seen": ("input.frame_stride=3",),
            "twice the steps": ("temporal.steps=800",),
            "half the learning rate": ("temporal.learning_rate=2e-3",),
        },
    ),
    "spatial": (
        SPATIAL,
        {
            "as it is: 200 steps": (),
            "four times the steps": ("spatial.steps=800",),
            "no color jitter": ("input.color_jitter=0",),
            "no dropout": ("model.spatial_dropout=0",),
            "64 px": ("input.size=64",),
            "whole frame squeezed to 128×128, nothing cut off": (
                "input.size=128", "input.resize=[128,128]", "input.crop_scales=[1]",
            ),
        },
    ),
}  # fmt: skip


def without(data: Path, out: Path, group: str, kept_back: Sequence[str]) -> Path:
    """Write the rows of the other values of the grouping column, and return the CSV."""
    with data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unknown = set(kept_back) - {row[group] for row in rows}
    if unknown:
        raise DataError(f"{data}: no row has the {group} {', '.join(sorted(unknown))}")
    table = make_folder(out) / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        written = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        written.writeheader()
        for row in rows:
            if row[group] not in kept_back:
                written.writerow(row | {"path": str((data.parent / row["path"]).resolve())})
    return table


def main() -> None:
    """Train what is missing, and print one table per stream."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/one-change"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--streams", nargs="+", choices=tuple(STUDIES), default=tuple(STUDIES))
    parser.add_argument("--kept-back", nargs="+", default=(), metavar="VALUE")
    arguments = parser.parse_args()
    data = without(arguments.data, arguments.out, arguments.group, arguments.kept_back)
    for stream in arguments.streams:
        common, changes = STUDIES[stream]
        print(
            f"\n| {stream} stream of recipe nano-branched, one change | "
            + "accuracy | seconds |\n|---|---:|---:|"
        )
        for number, (title, change) in enumerate(changes.items()):
            accuracies, seconds = [], 0.0
            for seed in arguments.seeds:
                folder = arguments.out / f"{stream}-{number}-{seed}"
                results = folder / "results.json"
                if not results.exists():
                    cross_validate(
                        data, folder, arguments.group, "nano-branched", (*common, *change),
                        seed=seed, resume=(folder / "plan.json").exists(),
                        resources=Resources(quiet=True),
                    )  # fmt: skip
                found = json.loads(results.read_text(encoding="utf-8"))
                accuracies.append(found["accuracy"][stream])
                seconds += sum(fold["seconds"] for fold in found["folds"])
            mean = sum(accuracies) / len(accuracies)
            print(f"| {title} | {mean:.1%} | {seconds:.0f} |", flush=True)
    print(f"\nSeeds {arguments.seeds}; protocol 10x1. Machine: {machine()}.")


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"one_change: {error}")

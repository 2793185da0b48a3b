"""Print how many clips of classes that were left out of training are noticed, on real video.

    python examples/unknown_classes.py labels.csv --group subject [--left-out 2] [--out runs/unknown]

Recipe quick is trained once for each value of the grouping column, such as a person, and each set of classes
left out; sets are consecutive classes in alphabetical order. It is tested on all clips of that person.
Printed is which share of the clips of unknown classes is rejected, and which share of the clips of known
classes that get the right label: by the prototypes, and by the threshold of the fused score that runs without
prototypes use. Complete runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import DataError, HiddenTwoStreamError
from hidden_two_stream.files import make_folder
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.types import Prediction

RULES = ("prototypes", "threshold of the score")


def trained(rows: list[dict[str, str]], folder: Path) -> hts.Recognizer:
    """Return the recognizer of these clips; it is trained if it is not there yet."""
    if (folder / RESULTS_FILE).exists():
        return hts.load(folder)
    table = make_folder(folder.parent) / f"{folder.name}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        written = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        written.writeheader()
        written.writerows(rows)
    resources = hts.Resources(quiet=True, workers=0)
    return hts.train(table, folder, "quick", resources=resources).recognizer


def is_rejected(found: Prediction, recognizer: hts.Recognizer) -> tuple[bool, bool]:
    """Return whether a clip is said to be of no known class, by each of `RULES`."""
    threshold = None if recognizer.calibration is None else recognizer.calibration.threshold
    return not found.known, threshold is not None and found.score < threshold


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--left-out", type=int, default=2, help="classes left out of each training")
    parser.add_argument("--out", type=Path, default=Path("runs/unknown"))
    arguments = parser.parse_args()
    with arguments.data.open(newline="", encoding="utf-8") as file:
        rows = [
            row | {"path": str((arguments.data.parent / row["path"]).resolve())}
            for row in csv.DictReader(file)
        ]
    if not rows or arguments.group not in rows[0]:
        raise DataError(f"{arguments.data} has no rows with a column {arguments.group!r}")
    classes = sorted({row["label"] for row in rows})
    values = sorted({row[arguments.group] for row in rows})
    sets = [classes[i : i + arguments.left_out] for i in range(0, len(classes), arguments.left_out)]
    unknown: list[tuple[bool, bool]] = []
    known: list[tuple[bool, bool]] = []
    with ProgressLine("runs", len(sets) * len(values)) as line:
        for number, left_out in enumerate(sets):
            for place, value in enumerate(values):
                train = [
                    row for row in rows if row[arguments.group] != value and row["label"] not in left_out
                ]
                recognizer = trained(train, arguments.out / f"{number}-{place}")
                for row in rows:
                    if row[arguments.group] == value:
                        found = recognizer.predict(row["path"])
                        if row["label"] in left_out:
                            unknown.append(is_rejected(found, recognizer))
                        elif found.best == row["label"]:
                            known.append(is_rejected(found, recognizer))
                line.update(number * len(values) + place + 1)
    print("| rule | unknown classes rejected | known, rightly labeled, rejected |\n|---|---:|---:|")
    for place, rule in enumerate(RULES):
        shares = [sum(pair[place] for pair in pairs) / len(pairs) for pairs in (unknown, known)]
        print(f"| {rule} | {shares[0]:.1%} | {shares[1]:.1%} |")
    print(
        f"\n{len(unknown)} clips of unknown classes, {len(known)} of known ones; {len(sets) * len(values)} "
        f"runs of recipe quick. Machine: {machine()}."
    )


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"unknown_classes: {error}")

"""Labels of frames on real recordings: people whom the networks did not see.

    python examples/behaviors_real.py [--root ../shared/data] [--out runs/behaviors] [--seeds 3]

urfall: 55 recordings of falls and daily activities, labeled upright, transition or lying in every frame.
Tested are falls 19 to 24, which show a person who is in no other fall; all else is for training. Each table
is for a grid of `hts train-frames`: 2x2 adds features of the four quarters. Complete runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from pathlib import Path
from statistics import mean

from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.files import make_folder, read_json
from hidden_two_stream.training.frame_runs import train_frames

TESTED_FALLS = range(19, 25)


def urfall(root: Path, out: Path) -> Path:
    """Write the list of recordings, and return it."""
    source = root / "urfall" / "videos.csv"
    if not source.is_file():
        raise UsageError(f"there is no {str(source)!r}; give the folder of the data sets with --root")
    with source.open(newline="", encoding="utf-8") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    table = make_folder(out) / "urfall.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "labels", "split"])
        for name in names:
            found = re.search(r"fall-(\d+)", name)
            tested = found is not None and int(found[1]) in TESTED_FALLS
            labels = source.parent / "frames" / f"{Path(name).stem}_labels.csv"
            video = (source.parent / name).resolve()
            rows.writerow([video, labels.resolve(), "test" if tested else "train"])
    return table


DATA = {"urfall": urfall}


def main() -> None:
    """Print one row per seed, and the means."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=tuple(DATA), default="urfall")
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("HTS_TEST_DATA") or beside))
    parser.add_argument("--out", type=Path, default=Path("runs/behaviors"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    table = DATA[arguments.data](arguments.root, arguments.out)
    for grid in ((1, 1), (2, 2)):
        print_table(table, arguments.out / arguments.data, grid, arguments.seeds)


def print_table(data: Path, out: Path, grid: tuple[int, int], seeds: int) -> None:
    """Train what is missing, and print one row per seed."""
    name = "x".join(map(str, grid))
    print(f"\n| --grid {name}, seed | macro F1, cross-fitted | macro F1, test | frames right ", end="")
    print("| most frequent label | bout F1 |\n|---:|---:|---:|---:|---:|---:|")
    scores = []
    for seed in range(seeds):
        folder = out / f"{name}-{seed}"
        if not (folder / "results.json").exists():
            train_frames(data, folder, grid=grid, seed=seed, quiet=True)
        results = read_json(folder / "results.json")
        test = results["test"]
        scores.append(test["macro_f1"])
        print(
            f"| {seed} | {results['cross_fitted']['macro_f1']:.3f} | {test['macro_f1']:.3f} "
            f"| {test['accuracy']:.1%} | {test['majority_accuracy']:.1%} | {test['macro_bout_f1']:.3f} |",
            flush=True,
        )
    print(
        f"\nMean macro F1 {mean(scores):.3f}; {test['num_frames']} labeled test frames of "
        f"{test['num_videos']} recordings. Machine: {machine()}."
    )


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"behaviors_real: {error}")

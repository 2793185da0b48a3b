"""Find what happens when in generated untrimmed video, with a model trained on trimmed clips.

    .venv/bin/python examples/segment_generated.py [--out runs/segments] [--recipe quick]

Data: `hts generate untrimmed-v1`, 12 clips of each of ten actions and of pauses for training, and four
recordings of three minutes, 112×112 px, for the test. There are three models. One is trained on all clips.
One is trained without pauses, so that only the threshold tells where nothing known happens. One is trained
without two of the actions, to see how much of their time is rejected. Prints detection mAP at tIoU 0.3 to
0.7, the mean error of boundaries, and shares of the time. Complete runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import hidden_two_stream as hts
from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.data.segment_truth import read_segment_truth
from hidden_two_stream.environment import machine
from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.evaluation.temporal import overlap_seconds
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.synthetic.benchmarks import write_benchmark
from hidden_two_stream.types import Segment

NAME = "untrimmed-v1"
MODELS: dict[str, tuple[str, ...]] = {
    "ten actions and pauses": (),
    "ten actions": ("background",),
    "eight actions and pauses": ("bow", "spin"),
}
"""Models, and the classes that their training clips lack."""


def without(data: Path, left_out: Sequence[str]) -> Path:
    """Write the rows of labels.csv that are not of the classes left out, and return the path."""
    if not left_out:
        return data
    with data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = data.with_name(f"without-{'-'.join(left_out)}.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(row for row in rows if row["label"] not in left_out)
    return path


def trained(data: Path, folder: Path, recipe: str) -> tuple[Recognizer, float]:
    """Return the model of a folder, and the seconds of its training, 0 if it was there already."""
    begin = perf_counter()
    if (folder / RESULTS_FILE).exists():
        return hts.load(folder), 0.0
    result = hts.train(data, folder, recipe, seed=0, resources=hts.Resources(quiet=True))
    return result.recognizer, perf_counter() - begin


def rejected(recognizer: Recognizer, data: Path, left_out: Sequence[str]) -> tuple[float, float]:
    """Return which share of the time of unknown actions has no label, and of known ones the right label."""
    unknown = unlabeled = known = right = 0.0
    for video, truth in read_segment_truth(data, "test").segments.items():
        found = list(recognizer.segment(video))
        for segment in truth:
            if segment.label in left_out:
                unknown += segment.seconds
                unlabeled += segment.seconds - _covered(segment, found)
            else:
                known += segment.seconds
                right += _covered(segment, [other for other in found if other.label == segment.label])
    return unlabeled / unknown, right / known


def _covered(segment: Segment, found: Sequence[Segment]) -> float:
    times = [(other.start_seconds, other.end_seconds) for other in found]
    return overlap_seconds((segment.start_seconds, segment.end_seconds), times)


def print_rows(root: Path, recipe: str) -> None:
    """Generate and train what is missing, then print one row for each model."""
    folder = root / NAME
    data = folder / "labels.csv"
    if not data.exists():
        write_benchmark(folder, NAME)
    tious = " | ".join(f"{tiou:g}" for tiou in (0.3, 0.4, 0.5, 0.6, 0.7))
    print(f"| trained on | mAP @{tious} | boundary, s | time right | least similarity | training, s |")
    print("|---|" + "---:|" * 9)
    for name, left_out in MODELS.items():
        run = root / name.replace(" ", "-")
        recognizer, seconds = trained(without(data, left_out), run, recipe)
        prototypes = None if recognizer.calibration is None else recognizer.calibration.prototypes
        reached = "none" if prototypes is None else f"{prototypes.least:.2f}"
        if "background" in recognizer.classes and left_out:
            unlabeled, right = rejected(recognizer, data, left_out)
            print(
                f"\n{name}, least similarity {reached}: {unlabeled:.1%} of the time of "
                f"{' and '.join(left_out)} has no label, {right:.1%} of that of the others has the right one"
            )
            continue
        found = hts.evaluate_segments(recognizer, without(data, left_out), quiet=True)
        cells = [f"{value:.3f}" for value in found.mean_ap.values()]
        boundary = "–" if found.boundary_seconds is None else f"{found.boundary_seconds:.2f}"
        cells += [boundary, f"{found.time.frame_accuracy:.1%}", reached, f"{seconds:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nMachine: {machine()}.")


def main() -> int:
    """Parse the arguments, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/segments"), metavar="DIR")
    parser.add_argument("--recipe", default="quick")
    arguments = parser.parse_args()
    try:
        print_rows(arguments.out, arguments.recipe)
    except HiddenTwoStreamError as error:
        print(f"segment_generated: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

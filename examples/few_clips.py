"""Print what is recognized after 1, 2, 4, 8 and all clips of each class, on real and on generated video.

    .venv/bin/python examples/few_clips.py [--data weizmann10 arms3 urfall thermal7 weizmann4] [--folds N]
        [--root ../shared/data] [--out runs/few-clips] [--seeds 3] [--clips 1 2 4 8 all] [--methods A,B,...]
        [--set FIELD=VALUE ...] [--fused]
    .venv/bin/python examples/few_clips.py --data generated

A table for each data set, made by `hts compare --clips N`: one row for each method, one column for each
number of training clips per class. One person (thermal7: one date) is left out in turn and tested on all of
its clips; each seed draws the training clips from those of the others, fewer ones from among more. The
accuracy is that of the method alone or, with --fused, fused with the spatial stream. `nearest frame` and
`nearest motion` are nearest neighbors, which learn nothing.

Data sets, below --root (default: HTS_TEST_DATA, or ../shared/data beside the repository):

- weizmann10, arms3, weizmann4: their clips, one subject left out;
- thermal7: its clips, one date left out, recipe thermal;
- urfall: the segments upright, transition and lying of the 24 falls, one of four persons left out (by their
  clothes: falls 1-6, 7-12, 13-18, 19-24). The daily activities are not used, for their persons are not known.

Each data set is decoded once. Complete runs are kept: run the same command again to go on.
`--data generated` prints the table of generated clips, see `few_clips_generated.py`.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from hidden_two_stream.checkpoint import PLAN_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.evaluation.comparison import Comparison, MethodResult
from hidden_two_stream.experiments.compare import compare
from hidden_two_stream.experiments.folds import Folds, read_folds
from hidden_two_stream.files import make_folder, write_text
from hidden_two_stream.progress import number_of
from hidden_two_stream.training.fit import decode_samples, resolve_input
from hidden_two_stream.training.resources import Resources

METHODS = (
    "spatial", "nearest-frame", "nearest-motion", "frames", "branched",
    "sequence-scratch", "sequence", "sequence-frozen",
)  # fmt: skip
"""Rows, by their names in `hts compare`."""

ALL = "all"
CLIPS = ("1", "2", "4", "8", ALL)
GENERATED = "generated"
STEPS = (
    "motion.steps=0", "spatial.steps=200", "spatial.batch_size=16", "temporal.steps=200",
    "temporal.batch_size=8", "joint.steps=0",
)  # fmt: skip
FALLS_PER_PERSON = 6


@dataclass(frozen=True)
class DataSet:
    """How a data set is divided and learned.

    Attributes:
        group: column of the CSV whose values are left out in turn.
        recipe: name of the recipe.
        settings: changes of the recipe.
    """

    group: str
    recipe: str = "nano"
    settings: tuple[str, ...] = STEPS


DATA: Mapping[str, DataSet] = {
    "weizmann10": DataSet("subject"),
    "arms3": DataSet("subject"),
    "urfall": DataSet("person"),
    "thermal7": DataSet("date", "thermal", ("model.temporal=sequence", "temporal_init=shipped", *STEPS)),
    "weizmann4": DataSet("subject"),
}


def labels_of(name: str, root: Path, out: Path) -> Path:
    """The CSV of a data set; that of urfall is written into `out`."""
    if name != "urfall":
        return root / name / "labels.csv"
    source = root / name / "segments.csv"
    if not source.is_file():
        raise UsageError(f"there is no {str(source)!r}; give the folder of the data sets with --root")
    with source.open(newline="", encoding="utf-8") as file:
        segments = [row for row in csv.DictReader(file) if row["kind"] == "fall"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "start_seconds", "end_seconds", "person"))
    for row in segments:
        (number,) = re.findall(r"fall-(\d+)", row["path"])
        person = (int(number) - 1) // FALLS_PER_PERSON + 1
        path = (source.parent / row["path"]).resolve()
        writer.writerow((path, row["label"], row["start_seconds"], row["end_seconds"], person))
    labels = make_folder(out / name) / "labels.csv"
    write_text(labels, text.getvalue())
    return labels


def columns_of(clips: Sequence[str], folds: Folds) -> list[str]:
    """The columns of the table: without numbers that no class has more clips than, if all clips are one."""
    largest = max(max(Counter(s.label for s in split.train).values()) for split in folds.splits.values())
    return [count for count in clips if count == ALL or ALL not in clips or int(count) < largest]


def comparisons(name: str, arguments: argparse.Namespace) -> dict[str, Comparison]:
    """The comparison of each column; trains what is missing."""
    data, folder = DATA[name], arguments.out / name
    labels = labels_of(name, arguments.root, arguments.out)
    folds = read_folds(labels, data.group).first(arguments.folds)
    resources, settings = Resources(quiet=True), settings_of(name, arguments)
    recipe = resolve_input(load_recipe(data.recipe, settings), folds.samples)
    decoded = decode_samples(folds.samples, recipe, resources, make_folder(folder))
    found = {}
    for count in columns_of(arguments.clips, folds):
        out = folder / f"clips-{count}"
        found[count] = compare(
            labels, out, data.group, arguments.methods, data.recipe, settings,
            seeds=arguments.seeds, clips=None if count == ALL else int(count), num_folds=arguments.folds,
            decoded=decoded, resume=(out / PLAN_FILE).exists(), resources=resources,
        )  # fmt: skip
        print(f"{name}: {count} done", file=sys.stderr, flush=True)
    return found


def settings_of(name: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    """The changes of the recipe of a data set."""
    return (*DATA[name].settings, *arguments.settings)


def table(name: str, found: Mapping[str, Comparison], fused: bool, settings: Sequence[str]) -> str:
    """The Markdown table of one data set, with its protocol and machine."""
    first = next(iter(found.values()))
    lines = [f"| {name}: clips per class | {' | '.join(found)} |", "|---|" + "---:|" * len(found)]
    for number, method in enumerate(first.methods):
        cells = [cell(comparison.methods[number], fused) for comparison in found.values()]
        lines.append(f"| {method.title} | {' | '.join(cells)} |")
    data = DATA[name]
    what = "fused with the spatial stream where one method learns" if fused else "each method alone"
    lines += ["", (
        f"{number_of(len(first.seeds), 'seed')}, mean (lowest to highest); {what}; "
        f"{number_of(len(first.folds), 'fold')} by {data.group}, {len(first.truth)} test clips of "
        f"{len(first.classes)} classes (chance {1 / len(first.classes):.1%}), protocol {first.protocol}; "
        f"recipe {data.recipe} with {' '.join(settings)}. Machine: {first.machine}."
    )]  # fmt: skip
    return "\n".join(lines)


def cell(method: MethodResult, fused: bool) -> str:
    """The mean accuracy over seeds, with the lowest and the highest."""
    found = (method.final if fused else method.alone).mean(axis=1).tolist()
    return f"{mean(found):.1%} ({min(found):.0%} to {max(found):.0%})"


def print_generated(arguments: argparse.Namespace) -> None:
    """Print the table of generated clips, of which all are 8."""
    from few_clips_generated import TRAIN_PER_CLASS, print_table  # beside this script

    counts = [TRAIN_PER_CLASS if count == ALL else int(count) for count in arguments.clips]
    if max(counts) > TRAIN_PER_CLASS:
        raise UsageError(f"got {max(counts)} clips; {TRAIN_PER_CLASS} of each class are generated")
    if arguments.folds or arguments.fused or arguments.settings or arguments.methods != list(METHODS):
        raise UsageError("--folds, --fused, --set and --methods are for real video, not for --data generated")
    seeds = range(arguments.seeds)
    print_table(make_folder(arguments.out / GENERATED), seeds, list(dict.fromkeys(counts)))


def clips_per_class(text: str) -> str:
    """Check one value of --clips."""
    if text != ALL and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a number of at least 1, or {ALL}")
    return text


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=[*DATA, GENERATED], default=list(DATA))
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("HTS_TEST_DATA") or beside))
    parser.add_argument("--out", type=Path, default=Path("runs/few-clips"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=clips_per_class, nargs="+", default=list(CLIPS))
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--folds", type=int, help="the first N folds alone, for a quick look")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="FIELD=VALUE",
        help="change of the recipes",
    )
    parser.add_argument("--fused", action="store_true", help="fused with the spatial stream, not alone")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, and print a table for each data set."""
    arguments = parsed(argv)
    for name in dict.fromkeys(arguments.data):
        if name == GENERATED:
            print_generated(arguments)
        else:
            found = comparisons(name, arguments)
            print(f"{table(name, found, arguments.fused, settings_of(name, arguments))}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"few_clips: {error}")

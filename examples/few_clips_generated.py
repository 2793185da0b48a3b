"""The table of `few_clips.py --data generated`: how much temporal streams learn from a few generated clips.

    .venv/bin/python examples/few_clips.py --data generated [--out DIR] [--seeds 3] [--clips 1 2 4 8]

Data: 8 classes that differ in motion alone (camera motion, noise), 64×64 px, 24 test clips per class.
Every seed has its own clips, and smaller sets are parts of larger ones. Every row: 300 steps of 16 clips
for the same backbone (small), and accuracy on the test clips (protocol 3x1). "Fitted" means 300 steps of 8
clips for MotionNet, on the training clips alone. Prints the table of docs/few-clips.md. Complete runs are
kept.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.environment import machine
from hidden_two_stream.evaluation.accuracy import Evaluation
from hidden_two_stream.experiments.baselines import fit_baseline
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.fit import FitTask, decode_samples, resolve_input
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import resume, train

TRAIN_PER_CLASS, TEST_PER_CLASS = 8, 24
COMMON = (
    "input.size=64", "input.flip=false", "input.crop_scales=[1.0, 0.875]", "joint.steps=0",
    "spatial.steps=0", "temporal.steps=300",
)  # fmt: skip
TEMPORAL = (*COMMON, "model.streams=[temporal]", "model.temporal=stacked")
FITTED = "motion.steps=300"
FRAMES = "stacked frames"
PROTOCOL = "3x1"
ARMS: dict[str, tuple[str, ...]] = {
    "one frame": (*COMMON, "model.streams=[spatial]", "motion_init=none", "motion.steps=0",
                  "temporal.steps=0", "spatial.steps=300", "spatial.batch_size=16"),
    FRAMES: (*TEMPORAL, "motion_init=none", "motion.steps=0"),
    "hidden, random MotionNet, fitted": (*TEMPORAL, "motion_init=none", FITTED),
    "hidden, shipped weights": (*TEMPORAL, "motion.steps=0"),
    "hidden, shipped weights, fitted": (*TEMPORAL, FITTED),
    "branched, shipped weights": (*TEMPORAL, "model.temporal=branched", "motion.steps=0"),
}  # fmt: skip


def some_clips(root: Path, seed: int, count: int) -> Path:
    """Write the labels of the first `count` training clips per class and of all test clips."""
    source = root / f"data-{seed}" / "labels.csv"
    if not source.exists():
        write_dataset(
            source.parent, train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS, seed=seed
        )
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seen: dict[str, int] = {}
    chosen = []
    for row in rows:
        seen[row["label"]] = seen.get(row["label"], 0) + (row["split"] == "train")
        if row["split"] == "test" or seen[row["label"]] <= count:
            chosen.append(row)
    path = source.with_name(f"labels-{count}.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    return path


def stacked_frames(data: Path, folder: Path, seed: int, resources: Resources) -> Evaluation | None:
    """The test result of the temporal backbone over stacked frames, without a motion network."""
    index = read_dataset_index(data)
    split = split_dataset(index)
    recipe = resolve_input(load_recipe("nano-branched", ARMS[FRAMES]), split.train)
    cache = decode_samples(index.samples, recipe, resources, make_folder(folder))
    task = FitTask(
        split, cache, index.classes, recipe, folder, seed, protocol=PROTOCOL,
        resume=(folder / "state.safetensors").exists(),
    )  # fmt: skip
    return fit_baseline(task, "frames", resources, resources.fabric())


def accuracy(root: Path, arm: str, seed: int, count: int) -> float:
    """The accuracy of one arm on the test clips; trains it if there is no result yet."""
    folder = root / f"{'-'.join(arm.replace(',', '').split())}-{count}-{seed}"
    figures = folder / "figures.json"
    if not figures.exists():
        data, quiet = some_clips(root, seed, count), Resources(quiet=True)
        if arm == FRAMES:
            evaluation = stacked_frames(data, folder, seed, quiet)
        elif (folder / "plan.json").exists():
            evaluation = resume(folder, quiet).evaluation
        else:
            evaluation = train(
                data, folder, "nano-branched", ARMS[arm], protocol=PROTOCOL, seed=seed, resources=quiet
            ).evaluation
        assert evaluation is not None  # the data has a test part
        (stream,) = evaluation.logits
        write_json(figures, {"accuracy": evaluation.accuracy[stream]})
    found: dict[str, float] = json.loads(figures.read_text(encoding="utf-8"))
    return found["accuracy"]


def print_table(root: Path, seeds: Sequence[int], clips: Sequence[int]) -> None:
    """Train what is missing, then print the table."""
    print("| clips per class | " + " | ".join(map(str, clips)) + " |")
    print("|---|" + "---:|" * len(clips))
    for arm in ARMS:
        cells = []
        for count in clips:
            found = [accuracy(root, arm, seed, count) for seed in seeds]
            cells.append(f"{mean(found):.1%} ({min(found):.0%} to {max(found):.0%})")
        print(f"| {arm} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"\n{len(seeds)} seeds, mean (lowest to highest); {8 * TEST_PER_CLASS} test videos. "
        f"Machine: {machine()}."
    )

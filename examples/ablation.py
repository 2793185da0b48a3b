"""Train the paper's variants on generated video and print the tables of docs/ablation.md.

    .venv/bin/python examples/ablation.py [--out runs/ablation] [--seeds 0 1] [--only WORD]

Data: 8 classes that differ in motion alone (camera motion, noise), 64×64 px; 12 training and 24 test clips
per class, with different textures. Every row: 400 steps of 8 clips for MotionNet without labels, then 400
steps of 8 clips for the temporal stream. The tables give the accuracy of that stream on the test clips
(protocol 3x1), and the end-point error of the hidden flow on moving pixels of their middle clips, after
the first stage and at the end. Rows share motion training. Complete runs are kept, so an interrupted
ablation can continue.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.environment import machine
from hidden_two_stream.experiments.demo import flow_figures
from hidden_two_stream.files import write_json
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.synthetic.dataset import write_dataset
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import resume, train

TRAIN_PER_CLASS, TEST_PER_CLASS = 12, 24
MOTION_STEPS, TEMPORAL_STEPS = 400, 400

COMMON = (
    "model.streams=[temporal]", "model.temporal=stacked", "input.size=64", "input.flip=false",
    "input.crop_scales=[1.0, 0.875]", "model.temporal_dropout=0.3", "spatial.steps=0",
    "motion_init=none", "loss=robust",
    *(f"{stage}.{setting}" for stage in ("temporal", "joint") for setting in (
        "batch_size=8", "learning_rate=4.0e-3", "weight_decay=0.05", "label_smoothing=0.1")),
    "motion.batch_size=8", "motion.clip_norm=10", "joint.motion_learning_rate=4.0e-6",
)  # fmt: skip
FROZEN = (f"temporal.steps={TEMPORAL_STEPS}", "joint.steps=0")
JOINT = ("temporal.steps=0", f"joint.steps={TEMPORAL_STEPS}")

NANO = ("model.motion=nano", "motion.motion_learning_rate=4.0e-3", "motion.clip_norm=1")
TINY = ("model.motion=tiny", "motion.motion_learning_rate=1.0e-3")
FULL = ("model.motion=full", "motion.motion_learning_rate=2.0e-4")


@dataclass(frozen=True)
class Row:
    """One row of a table: its motion training, shared by rows with the same `motion`, and what follows."""

    title: str
    motion: str
    motion_settings: tuple[str, ...]
    settings: tuple[str, ...] = FROZEN


TABLES: dict[str, tuple[Row, ...]] = {
    "Fine-tuning (nano)": (
        Row("(a) MotionNet frozen", "nano", NANO),
        Row("(b) both, action loss alone", "nano", NANO, (*JOINT, "joint.unsupervised_weight=0.0")),
        Row("(c) both, action and unsupervised losses", "nano", NANO, JOINT),
        Row("(c) with one learning rate for both", "nano", NANO,
            (*JOINT, "joint.motion_learning_rate=4.0e-3")),
        Row("branched, jointly", "nano", NANO, (*JOINT, "model.temporal=branched")),
    ),
    "Loss terms (nano, way a)": (
        Row("robust: all terms", "nano", NANO),
        Row("robust without reconstruction", "no-pixel", (*NANO, "motion.pixel_factor=0.0")),
        Row("robust without smoothness", "no-smooth", (*NANO, "motion.smoothness_factor=0.0")),
        Row("robust without SSIM", "no-ssim", (*NANO, "motion.ssim_factor=0.0")),
        Row("paper", "paper", (*NANO, "loss=paper")),
        Row("caffe", "caffe", (*NANO, "loss=caffe")),
    ),
    "Branched (tiny, whose encoder sees all frames)": (
        Row("stacked, way (c)", "tiny", TINY, JOINT),
        Row("branched, way (c)", "tiny", TINY, (*JOINT, "model.temporal=branched")),
        Row("branched, MotionNet at 1/10 of the rate", "tiny", TINY,
            (*JOINT, "model.temporal=branched", "joint.motion_learning_rate=4.0e-4")),
    ),
    "Losses of a network that stacks frames (tiny, way a)": (
        Row("robust", "tiny", TINY),
        Row("census", "tiny-census", (*TINY, "loss=census")),
    ),
    "Networks (way a)": (
        Row("nano, 11 frames", "nano", NANO),
        Row("tiny, 11 frames", "tiny", TINY),
        Row("tiny, 2 frames, on each pair; batches of 2 clips", "tiny-2",
            (*TINY, "model.motion_frames=2", "motion.batch_size=2")),
        Row("full, 11 frames", "full", FULL),
    ),
}  # fmt: skip


def main() -> None:
    """Train what is missing, then print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", default="", help="tables whose title contains this")
    arguments = parser.parse_args()
    data = arguments.out / "data" / "labels.csv"
    if not data.exists():
        write_dataset(data.parent, train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS)
    tests = open_clip_cache(split_dataset(read_dataset_index(data)).test, 64)
    chosen = {title: rows for title, rows in TABLES.items() if arguments.only.lower() in title.lower()}
    for title, rows in chosen.items():
        print(f"\n### {title}\n")
        print("| | accuracy | flow error, px | at the end |\n|---|---|---|---|")
        for row in rows:
            found = [run_row(row, seed, data, arguments.out, tests) for seed in arguments.seeds]
            print(f"| {row.title} | {spread(found, 'accuracy', '.1%')} | {spread(found, 'before', '.2f')} "
                  f"| {spread(found, 'after', '.2f')} |", flush=True)  # fmt: skip
    print(f"\n{len(arguments.seeds)} seeds, mean (lowest to highest); {len(tests.samples)} test videos; "
          f"zero flow: {found[0]['zero']:.2f} px. Machine: {machine()}.")  # fmt: skip


def run_row(row: Row, seed: int, data: Path, out: Path, tests: ClipCache) -> dict[str, float]:
    """The accuracy and flow errors of one row and seed."""
    motion = train_once(out / f"motion-{row.motion}-{seed}", seed, data, tests,
                        (*row.motion_settings, f"motion.steps={MOTION_STEPS}"), "motion", {})  # fmt: skip
    name = "-".join(c for c in "".join(k if k.isalnum() else " " for k in row.title.lower()).split())
    folder = out / f"{row.motion}-{name}-{seed}"
    settings = (*row.motion_settings, "motion.steps=0", *row.settings)
    warm_start = {"motion": str(out / f"motion-{row.motion}-{seed}")}
    final = train_once(folder, seed, data, tests, settings, "all", warm_start)
    return {
        "accuracy": final["accuracy"], "before": motion["epe_moving_px"], "after": final["epe_moving_px"],
        "zero": final["zero_epe_moving_px"],
    }  # fmt: skip


def train_once(
    folder: Path,
    seed: int,
    data: Path,
    tests: ClipCache,
    settings: Sequence[str],
    stage: str,
    warm_start: dict[str, str],
) -> dict[str, Any]:
    """The temporal stream's accuracy and the flow errors of a run; trains it if it is not complete."""
    figures = folder / "ablation.json"
    if not figures.exists():
        # Rows with the same title in two tables are one run; an interrupted run continues.
        quiet = Resources(quiet=True)
        if (folder / "plan.json").exists():
            result = resume(folder, quiet)
        else:
            result = train(
                data, folder, "nano-branched", (*COMMON, *settings),
                stage=stage, warm_start=warm_start, protocol="3x1", seed=seed, resources=quiet,
            )  # fmt: skip
        accuracy = None if result.evaluation is None else result.evaluation.accuracy.get("temporal")
        write_json(figures, {"accuracy": accuracy, **flow_figures(load(folder), tests)})
    read: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return read


def spread(found: Sequence[dict[str, float]], name: str, form: str) -> str:
    """The mean over seeds, with the lowest and the highest."""
    values = [figures[name] for figures in found]
    text = format(mean(values), form)
    return text if len(values) == 1 else f"{text} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()

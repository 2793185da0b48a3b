"""Print what joint training of MotionNet and temporal stream gives, by learning rate and loss weight.

    hts compare --data motions/labels.csv --out runs/compare-motions --seeds 3 …     (docs/comparison.md)
    .venv/bin/python examples/joint_study.py runs/compare-motions --data motions/labels.csv [--out runs/joint]
        [--branched]

Every row continues from the same trained runs of method hidden-frozen (or branched), one per seed, for the
same number of steps and clips and with the same learning rate of the stream; only MotionNet's part
differs. The accuracy is the temporal stream's (protocol 10x1). The flow error is the end-point error in px
on moving pixels of every fourth test clip. The gain over the frozen row is paired by video, with a 95%
bootstrap interval. Complete runs are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from hidden_two_stream.data.clip_cache import ClipCache, open_clip_cache
from hidden_two_stream.data.index import read_dataset_index
from hidden_two_stream.data.splits import split_dataset
from hidden_two_stream.environment import machine
from hidden_two_stream.evaluation.comparison import Correct, paired_difference
from hidden_two_stream.experiments.demo import flow_figures
from hidden_two_stream.files import write_json
from hidden_two_stream.inference.predictor import load
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.runner import resume, train

STEPS, BATCH, RATE, PROTOCOL = 300, 8, 1e-3, "10x1"
COMMON = (
    "model.streams=[temporal]", "spatial.steps=0", "input.flip=false", "input.crop_scales=[1.0,0.875]",
)  # fmt: skip
FROZEN = "frozen: only the stream trains on"


def stage(name: str, *settings: str) -> tuple[str, ...]:
    """The stage's name, then its settings: both stages get the same steps, clips and rate."""
    same = (f"steps={STEPS}", f"batch_size={BATCH}", f"learning_rate={RATE}", *settings)
    return (name, *(f"{name}.{setting}" for setting in same))


def joint(motion_rate: float, unsupervised: float) -> tuple[str, ...]:
    """The settings of way (c), or of way (b) if `unsupervised` is 0."""
    return stage("joint", f"motion_learning_rate={motion_rate}", f"unsupervised_weight={unsupervised}")


ROWS: dict[str, tuple[str, ...]] = {
    FROZEN: stage("temporal"),
    "(c) MotionNet at 1/1000 of the stream's rate": joint(RATE / 1000, 1.0),
    "(c) 1/10": joint(RATE / 10, 1.0),
    "(c) 1/1": joint(RATE, 1.0),
    "(c) 1/10, unsupervised losses × 0.1": joint(RATE / 10, 0.1),
    "(b) 1/10, action loss alone": joint(RATE / 10, 0.0),
}


def run(
    arguments: argparse.Namespace, title: str, seed: int, tests: ClipCache
) -> tuple[list[bool], dict[str, float]]:
    """Which test videos one row and seed gets right, and the flow error; trains if there is no result yet."""
    name, *settings = ROWS[title]
    words = "".join(c if c.isalnum() else " " for c in title.lower()).split()
    folder = arguments.out / f"{'-'.join(words)}-{seed}"
    figures = folder / "figures.json"
    if not figures.exists():
        method, kind = ("branched", "branched") if arguments.branched else ("hidden-frozen", "stacked")
        base = arguments.compared / "runs" / method / "fold_test" / f"seed_{seed}"
        common = (*COMMON, f"model.temporal={kind}")
        quiet = Resources(quiet=True)
        if (folder / "plan.json").exists():
            evaluation = resume(folder, quiet).evaluation
        else:
            evaluation = train(
                arguments.data, folder, "nano-branched", (*common, *settings),
                stage=name, warm_start={"temporal": base}, protocol=PROTOCOL, seed=seed, resources=quiet,
            ).evaluation  # fmt: skip
        assert evaluation is not None  # the data has a test part
        right = evaluation.fused.argmax(axis=1) == evaluation.truth
        write_json(figures, {"right": right.tolist(), "flow": flow_figures(load(folder), tests)})
    found = json.loads(figures.read_text(encoding="utf-8"))
    return found["right"], found["flow"]


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("compared", type=Path, help="folder of hts compare, with all seeds")
    parser.add_argument("--data", type=Path, required=True, help="the data that it compared")
    parser.add_argument("--out", type=Path, help="default: runs/joint, or runs/joint-branched")
    parser.add_argument("--branched", action="store_true", help="the branched stream, not the stacked one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    arguments.out = arguments.out or Path("runs/joint-branched" if arguments.branched else "runs/joint")
    samples = split_dataset(read_dataset_index(arguments.data)).test[::4]
    tests = open_clip_cache(samples, 64)
    print("| MotionNet | accuracy | gain over frozen, points [95%] | flow error, px |\n|---|---:|---:|---:|")
    frozen: Correct | None = None
    for title in ROWS:
        results = [run(arguments, title, seed, tests) for seed in arguments.seeds]
        right = np.array([result[0] for result in results])
        frozen = right if frozen is None else frozen
        print(f"| {title} | {spread(right.mean(axis=1).tolist())} | {gain(right, frozen)} "
              f"| {mean(result[1]['epe_moving_px'] for result in results):.3f} |", flush=True)  # fmt: skip
    print(f"\n{len(arguments.seeds)} seeds, mean (lowest to highest); {right.shape[1]} test videos, protocol "
          f"{PROTOCOL}; {STEPS} steps of {BATCH} clips. Machine: {machine()}.")  # fmt: skip


def spread(shares: Sequence[float]) -> str:
    """The mean over seeds, with the lowest and the highest."""
    return f"{mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"


def gain(right: Correct, frozen: Correct) -> str:
    """The paired difference from the frozen row, with its interval."""
    return "–" if right is frozen else str(paired_difference(right, frozen))


if __name__ == "__main__":
    main()

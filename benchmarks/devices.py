"""Compares training in one process with training in two, step by step, and prints a table.

    python benchmarks/devices.py [--steps 50] [--network nano] [--only joint] [--json]

Each row trains one stage, form of the temporal stream and way of fine-tuning twice: in one process with
batches of 4, and in two processes with batches of 2, connected by gloo. Augmentation, color jitter, dropout,
batch normalization and gradient clipping are on; no epoch ends with a step. The videos are generated.

The columns: the greatest difference of the loss and of the gradient norm (relative) over all steps, and of a
test score after them. "nudged" is a control: how far the losses of one process move if it begins with weights
that are larger by one part in four million. Where the two columns are alike, the training amplifies rounding
errors, whatever the number of processes. "shared test": whether the two processes, which share the test
videos, give the scores of one process with the same weights, to the last bit. The script fails if they don't,
or if the processes end with different weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.config.stages import STAGE_NAMES, STAGES
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.environment import machine
from hidden_two_stream.evaluation.accuracy import Evaluation, evaluate_videos
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.windows import parse_protocol
from hidden_two_stream.recognition.model import TEMPORAL_FORMS
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training import loop
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.together import evaluate_together
from hidden_two_stream.training.warm_start import distillation_teacher
from hidden_two_stream.video.transforms import to_tensor

CLASSES = ("left", "right", "grow")
CLIPS = 4
"""In a step of all processes together."""

NUDGE = 2**-22
"""Relative change of the weights that a control begins with: twice the step between float32 numbers."""

Case = dict[str, Any]
WAYS = {"a": ("temporal", 1.0), "b": ("joint", 0.0), "c": ("joint", 1.0)}
"""The paper's ways of fine-tuning: the stage, and the weight of the unsupervised losses."""
LOSSES = ("caffe", "occlusion", "distill", "multiframe")


def all_cases(network: str = "nano") -> list[Case]:
    """Every stage, and for the temporal stream every form and way; then options that act on a whole batch."""
    cases: list[Case] = [{"stage": "motion"}, {"stage": "spatial"}]
    for form in TEMPORAL_FORMS:
        for way, (stage, weight) in WAYS.items():
            cases.append({"stage": stage, "form": form, "way": way, "weight": weight})
    cases.append({"stage": "temporal", "form": "sequence", "optimizer": "logistic", "note": "logistic"})
    cases += [{"stage": "motion", "loss": loss, "note": f"loss {loss}"} for loss in LOSSES]
    for target in ("flow", "residual"):
        cases.append({"stage": "motion", "target": target, "weight": 0.0, "note": f"target {target}"})
    cases.append({"stage": "motion", "accumulate": 2, "note": "accumulate 2"})
    cases.append({"stage": "spatial", "backbone": "resnet18", "note": "resnet18"})
    cases.append({"stage": "joint", "form": "stacked", "way": "c", "segments": 2, "note": "2 segments"})
    return [case | {"network": network} for case in cases]


def name_of(case: Case) -> str:
    """Return the first columns of a case's row."""
    return f"{case['stage']} | {case.get('form', '')} | {case.get('way', '')} | {case.get('note', '')}"


# -- in each process ------------------------------------------------------------------------------


def videos_of(split: str, number: int) -> ClipCache:
    """Return generated videos, `number` of each class."""
    samples, videos = [], []
    for label in CLASSES:
        for seed in range(number):
            name = f"{split}-{label}{seed}"
            at = seed + 100 * (split == "test")
            frames = to_tensor(generate_clip(label, at, num_frames=4, size=40).frames)
            samples.append(Sample(name, label, split))
            videos.append(DecodedVideo(name, 4, 0, (40, 40), 25.0, None, frames))
    return ClipCache(tuple(samples), tuple(videos), (), 40)


def recipe_of(case: Case, steps: int, world: int) -> Recipe:
    """Return the recipe of a case, of which each process gets its part."""
    step = StageConfig(
        steps=steps, batch_size=CLIPS // world, learning_rate=1e-3, motion_learning_rate=1e-3,
        unsupervised_weight=case.get("weight", 1.0), clip_norm=1.0, accumulate=case.get("accumulate", 1),
        optimizer=case.get("optimizer", "sgd"),
    )  # fmt: skip
    off = dataclasses.replace(step, steps=0, optimizer="sgd")
    stages = {name: step if name == case["stage"] else off for name in STAGE_NAMES}
    model: dict[str, Any] = {
        "motion": case["network"], "temporal": case.get("form", "stacked"), "num_frames": 3,
        "backbone": case.get("backbone", "small"),
    }  # fmt: skip
    if case.get("target") == "residual":  # its network sees pairs
        model["num_frames"] = 2
    frames = InputConfig(size=32, resize=40, color_jitter=0.2, segments=case.get("segments", 1))
    teacher = "nano" if "target" in case else "none"
    return Recipe(
        model=ModelConfig(**model), input=frames, loss=case.get("loss", "census"), motion_teacher=teacher,
        motion_target=case.get("target", "flow"), **stages,
    )  # type: ignore[arg-type]  # fmt: skip


def train(case: Case, how: dict[str, Any], folder: Path, fabric: Fabric) -> dict[str, Any]:
    """Return the log of a training, the weights it ends with, and the scores of its test."""
    steps = how["steps"]
    recipe, videos = recipe_of(case, steps, fabric.world_size), videos_of("train", 2)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = build_model(recipe, len(CLASSES))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + how["nudge"])
    teacher = distillation_teacher(recipe)
    labels = [CLASSES.index(sample.label) for sample in videos.samples]
    run = TrainingRun(folder, recipe, videos, labels, seed=5, quiet=True)
    optimize(model, dataclasses.replace(run, teacher=teacher and teacher.build()), fabric)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    result: dict[str, Any] = {"weights": weights, "shared": None, "alone": None}
    if STAGES[case["stage"]].stream is not None:
        recognizer = Recognizer(model, RunInfo(recipe, CLASSES, RunMetadata(stages=(case["stage"],))))
        tested, protocol = videos_of("test", 3), parse_protocol("2x5")
        result["shared"] = scores(evaluate_together(fabric, recognizer, tested, protocol))
        result["alone"] = scores(evaluate_videos(recognizer, tested, protocol))
    if fabric.is_global_zero:
        result["metrics"] = read_metrics(folder)
    return result


def scores(evaluation: Evaluation) -> dict[str, Any]:
    """Return the names, scores and accuracy of an evaluation."""
    return {
        "names": evaluation.names,
        "fused": torch.from_numpy(evaluation.fused),
        "accuracy": float((evaluation.fused.argmax(axis=1) == evaluation.truth).mean()),
    }


def work(folder: Path, world: int) -> None:
    """Train the cases that the file in `folder` names, and save what came out."""
    torch.set_num_threads(1)
    loop.LOG_EVERY = 1
    given = json.loads((folder / "cases.json").read_text())
    fabric = Resources(accelerator="cpu", devices=world).fabric()
    results = []
    for number, case in enumerate(given["cases"]):
        try:
            results.append(train(case, given, folder / f"case{number}", fabric))
        except Exception as error:
            raise RuntimeError(f"{case}: {error}") from error
    torch.save(results, folder / f"rank{fabric.global_rank}.pt")


# -- the comparison ---------------------------------------------------------------------------------


def trained(
    cases: Sequence[Case], how: dict[str, Any], world: int, folder: Path
) -> list[list[dict[str, Any]]]:
    """Return the results of all cases, of each process."""
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps({"cases": cases, **how}))
    subprocess.run([sys.executable, __file__, "--work", str(folder), "--world", str(world)], check=True)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world)]


def compare(cases: Sequence[Case], steps: int) -> list[dict[str, Any]]:
    """Return what differs between one process and two, for each case."""
    how = {"steps": steps, "nudge": 0.0}
    with tempfile.TemporaryDirectory() as temporary:
        (one,) = trained(cases, how, 1, Path(temporary) / "1")
        (nudged,) = trained(cases, how | {"nudge": NUDGE}, 1, Path(temporary) / "nudged")
        first, second = trained(cases, how, 2, Path(temporary) / "2")
    rows = [differences(*four) for four in zip(cases, one, first, second, strict=True)]
    for row, alone, other in zip(rows, one, nudged, strict=True):
        row["nudged"] = greatest(losses(alone["metrics"]), losses(other["metrics"]))
    return rows


def differences(
    case: Case, one: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> dict[str, Any]:
    """Return a row: what differs between one process and the two, `first` and `second`."""
    logs, row = (one["metrics"], first["metrics"]), dict(case)
    row["steps"] = len(logs[0])
    row["loss"] = greatest(*map(losses, logs))
    if "gradient_norm" in logs[0][0]:
        norms = [np.array([line["gradient_norm"] for line in log]) for log in logs]
        row["first_gradient"] = float(abs(norms[1][0] / norms[0][0] - 1))
        row["gradient"] = float(np.abs(norms[1] / norms[0] - 1).max())
    row["weights"] = max(greatest(one["weights"][name], value) for name, value in first["weights"].items())
    row["same_weights"] = all(
        torch.equal(value, second["weights"][name]) for name, value in first["weights"].items()
    )
    if first["shared"] is not None:
        row["score"] = greatest(one["alone"]["fused"], first["shared"]["fused"])
        row["accuracy"] = [one["alone"]["accuracy"], first["shared"]["accuracy"]]
        row["same_test"] = all(
            process["shared"]["names"] == process["alone"]["names"]
            and torch.equal(process["shared"]["fused"], process["alone"]["fused"])
            for process in (one, first, second)
        )
    return row


def losses(log: Sequence[dict[str, Any]]) -> list[float]:
    """Return the loss of each step."""
    return [line["loss"] for line in log]


def greatest(first: Any, second: Any) -> float:
    """Return the greatest difference between two arrays of the same shape."""
    return float(np.abs(np.subtract(np.asarray(first, np.float64), np.asarray(second, np.float64))).max())


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as Markdown."""
    names = (
        "stage",
        "temporal stream",
        "way",
        "option",
        "loss",
        "nudged",
        "gradient norm",
        "score",
        "accuracy",
    )
    print(f"| {' | '.join(names)} | shared test |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|---|")
    for row in rows:
        gradient = f"{row['gradient']:.0e}" if "gradient" in row else ""
        tested = " |  | "
        if "score" in row:
            accuracies = " and ".join(f"{value:.3f}" for value in dict.fromkeys(row["accuracy"]))
            tested = f"{row['score']:.0e} | {accuracies} | {'equal' if row['same_test'] else 'DIFFERS'}"
        print(f"| {name_of(row)} | {row['loss']:.0e} | {row['nudged']:.0e} | {gradient} | {tested} |")


def main() -> int:
    """Print the table, or be one of the processes that it compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=50, help="steps of each training (default: %(default)s)")
    parser.add_argument("--network", default="nano", help="nano, tiny or full (default: %(default)s)")
    parser.add_argument("--only", default="", help="only the rows whose name has this text")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, in place of the table")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--world", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work, given.world)
        return 0
    cases = [case for case in all_cases(given.network) if given.only in name_of(case)]
    rows = compare(cases, given.steps)
    if given.json:
        print(json.dumps(rows))
    else:
        print(f"{machine()}; {given.steps} steps, {given.network}\n")
        print_table(rows)
    return 0 if all(row["same_weights"] and row.get("same_test", True) for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""A process of a run of one or two: trains the cases that its argument names, and saves what came out.

The tests run it as one process with batches of 4, and as two with batches of 2.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.checkpoint import build_model, read_metrics
from hidden_two_stream.config.schema import InputConfig, ModelConfig, Recipe, StageConfig
from hidden_two_stream.config.stages import STAGE_NAMES
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.synthetic.clips import generate_clip
from hidden_two_stream.training import loop
from hidden_two_stream.training.loop import TrainingRun, optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.video.transforms import to_tensor

CLASSES = ("left", "right", "grow")
CLIPS = 4
"""In a step of all processes together."""


def store() -> ClipCache:
    """Six generated videos; no epoch ends with a step."""
    samples, videos = [], []
    for label in CLASSES:
        for number in (0, 1):
            name = f"{label}{number}"
            frames = to_tensor(generate_clip(label, number, num_frames=4, size=40).frames)
            samples.append(Sample(name, label, "train"))
            videos.append(DecodedVideo(name, 4, 0, (40, 40), 25.0, None, frames))
    return ClipCache(tuple(samples), tuple(videos), (), 40)


def recipe(case: dict[str, Any], world: int) -> Recipe:
    """Return the recipe of a case; all that is random is on."""
    step = StageConfig(
        steps=case["steps"], batch_size=CLIPS // world, learning_rate=1e-3, motion_learning_rate=1e-3,
        unsupervised_weight=case.get("weight", 1.0), clip_norm=1.0, accumulate=case.get("accumulate", 1),
        optimizer=case.get("optimizer", "sgd"),
    )  # fmt: skip
    off = dataclasses.replace(step, steps=0)
    stages = {name: step if name == case["stage"] else off for name in STAGE_NAMES}
    model: dict[str, Any] = {
        "motion": case.get("network", "nano"), "temporal": case.get("form", "stacked"), "num_frames": 3,
        "backbone": case.get("backbone", "small"),
    }  # fmt: skip
    return Recipe(
        model=ModelConfig(**model), input=InputConfig(size=32, resize=40, color_jitter=0.2),
        loss=case.get("loss", "census"), **stages,
    )  # type: ignore[arg-type]  # fmt: skip


def train(case: dict[str, Any], folder: Path, fabric: Any) -> dict[str, Any]:
    """Return the loss and the gradient norm of each step, and sums of the model's weights and buffers."""
    how = recipe(case, fabric.world_size)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = build_model(how, len(CLASSES))
    videos = store()
    labels = [CLASSES.index(sample.label) for sample in videos.samples]
    run = TrainingRun(folder, how, videos, labels, seed=5, quiet=True)
    optimize(model, run, fabric)
    result: dict[str, Any] = {"tensors": {name: value.clone() for name, value in model.state_dict().items()}}
    if fabric.is_global_zero:
        result["metrics"] = read_metrics(folder)
    return result


def main() -> None:
    """Train the cases of the file argv[1] into the folder argv[2]."""
    torch.set_num_threads(1)
    loop.LOG_EVERY = 1
    world = int(sys.argv[3])
    fabric = Resources(accelerator="cpu", devices=world).fabric()
    folder = Path(sys.argv[2])
    results = []
    for number, case in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        try:
            results.append(train(case, folder / f"case{number}", fabric))
        except Exception as error:
            raise RuntimeError(f"{case}: {error}") from error
    torch.save(results, folder / f"rank{fabric.global_rank}.pt")


if __name__ == "__main__":
    main()

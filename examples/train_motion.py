"""Train the MotionNet weights that come with the package, without labels, on generated scenes.

    .venv/bin/python examples/train_motion.py nano --out runs/motion-nano [--seed 0] [--workers 2]

Tiny-2 continues from the weights of tiny-2-start: give their file with --set motion_init=FILE.

The script generates the scenes (`synthetic/training_scenes.py`; SCENES seeds, starting at SEED × 1,000,000),
trains by the recipe `motion/NAME` in the loop that `hts train` uses, and writes OUT/NAME.safetensors in
half precision. Beside it are OUT/metrics.jsonl and OUT/NAME-training.csv, with means of 100 steps. The
same arguments give the same weights on the same machine. Run again, a stopped training continues. Errors
of the result: `examples/motion_errors.py OUT/NAME.safetensors`.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import ClipCache, DecodedVideo
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.environment import machine
from hidden_two_stream.files import make_folder, write_json
from hidden_two_stream.motion.networks.build import PAIRWISE
from hidden_two_stream.synthetic.scene_style import SceneStyle
from hidden_two_stream.synthetic.training_scenes import write_scenes
from hidden_two_stream.training.loop import Stopped, TrainingRun, optimize
from hidden_two_stream.training.resources import Resources
from hidden_two_stream.training.state import STATE_FILE
from hidden_two_stream.training.warm_start import distillation_teacher, initial_motion_weights
from hidden_two_stream.weights.motion import load_motion_weights, save_motion_weights, share_layers

SCENES = {"nano": 2400, "nano-fine": 2400, "tiny": 1200, "tiny-2-start": 2400, "tiny-2": 2400, "full": 20000}
"""Generated clips per network; clips of 11 frames are longer, so fewer are enough."""
SHARES = {"tiny-2-start": "tiny", "tiny-2": "tiny", "nano-fine": "nano"}
"""Shipped weights whose layers are reused where they fit, which keeps the files small."""
OWN = {"tiny-2": ("conv2.0", "deconv2.0")}
"""Layers that would fit but are trained all the same, as far as the size of the files allows."""
STARTS = {"tiny-2": "tiny-2-start"}
"""The training that another one continues from."""
STYLE = SceneStyle(
    compressed=0.3, noise_sigma=(0.0005, 0.012), pan=0.85, calm=0.0, speed_px=(0.3, 12), carried=0.1, soft=0.2
)
"""Cleaner and livelier than the generator's default: invisible motion teaches a network to stand still."""
SIDE = 176
LOG_STEPS = 100
SPARE_FRAMES = 1  # a clip begins anywhere among them


def stored_scenes(folder: Path, count: int, recipe: Recipe, seed: int, workers: int) -> ClipCache:
    """All scenes as decoded videos in mapped memory; generates them if they are missing."""
    num_frames = recipe.model.num_frames + SPARE_FRAMES
    if not (folder / "done").exists():
        first = seed * 1_000_000
        write_scenes(
            folder, count, first, workers, num_frames=num_frames, height=SIDE, width=SIDE, style=STYLE
        )
        (folder / "done").touch()
    frames = torch.from_numpy(np.load(folder / "frames.npy", mmap_mode="c"))
    videos = tuple(
        DecodedVideo(f"scene {number}", num_frames, 0, (SIDE, SIDE), 25.0, None, clip.permute(0, 3, 1, 2))
        for number, clip in enumerate(frames)
    )
    samples = tuple(Sample(path=str(video.source), label="scene") for video in videos)
    return ClipCache(samples, videos, (), SIDE)


def write_log(folder: Path, name: str) -> None:
    """Write the metrics that are not always 0 as CSV, in means of LOG_STEPS steps."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    columns = [
        key for key in logged[0]
        if key not in ("stage", "step", "seconds") and any(row[key] for row in logged)
    ]  # fmt: skip
    blocks: dict[int, list[dict[str, float]]] = {}
    for row in logged:
        blocks.setdefault(-(-row["step"] // LOG_STEPS) * LOG_STEPS, []).append(row)
    with (folder / f"{name}-training.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *columns, "seconds"])
        for step, rows in blocks.items():
            means = [f"{mean(row[column] for row in rows):.4f}" for column in columns]
            writer.writerow([step, *means, round(rows[-1]["seconds"])])


def main() -> None:
    """Generate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(SCENES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, help="clips to generate (default: by name)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--precision", default="32-true", help="as of hts train (default: %(default)s)")
    arguments = parser.parse_args()

    recipe = load_recipe(f"motion/{arguments.name}", arguments.set)
    start = STARTS.get(arguments.name)
    if start is not None and recipe.motion_init == "none":
        parser.error(f"{arguments.name} continues from {start}; give its file with --set motion_init=FILE")
    count = (arguments.scenes or SCENES[arguments.name]) if recipe.motion.steps else 0
    folder = make_folder(arguments.out)
    print(f"{count} scenes, {recipe.motion.steps} steps, seed {arguments.seed}; {machine()}", flush=True)
    torch.manual_seed(arguments.seed)
    model = build_model(recipe, 2)
    begins_from = initial_motion_weights(recipe, {})
    if begins_from is not None:
        load_motion_weights(model.motion_net, begins_from.file)
    shares = SHARES.get(arguments.name)
    if arguments.name == "nano-fine" and recipe.motion.steps:
        shares = None  # all layers would be shared, and nothing left to train
    if shares is not None:
        share_layers(model.motion_net, shares, OWN.get(arguments.name, ()))
    seconds = 0.0
    if recipe.motion.steps:
        store = stored_scenes(folder / "scenes", count, recipe, arguments.seed, arguments.workers)
        fabric = Resources(accelerator=arguments.accelerator, precision=arguments.precision).fabric()
        teacher = distillation_teacher(recipe)
        run = TrainingRun(
            folder, recipe, store, [0] * count, arguments.seed, ("motion",), save_seconds=60,
            teacher=teacher and teacher.build(),
        )  # fmt: skip
        try:
            seconds = optimize(model, run, fabric, resume=(folder / STATE_FILE).exists())["motion"]
        except Stopped as stopped:
            print(f"{stopped}; the same command continues")
            return
        write_log(folder, arguments.name)
    facts = {
        "script": "examples/train_motion.py",
        "scenes": count,
        "seed": arguments.seed,
        "recipe": recipe.to_dict()
        | {key: Path(getattr(recipe, key)).name for key in ("motion_init", "motion_teacher")},
        "seconds": round(seconds),
        "precision": arguments.precision,
        "machine": machine(),
    }
    network = recipe.model.motion
    num_frames = 0 if network in PAIRWISE else recipe.model.motion_frames or recipe.model.num_frames
    path = folder / f"{arguments.name}.safetensors"
    save_motion_weights(path, model.motion_net, network, num_frames, facts, shares)
    write_json(folder / "facts.json", facts)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB after {seconds:.0f} s")


if __name__ == "__main__":
    main()

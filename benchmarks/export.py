"""Prints the time of a window in ONNX Runtime and in PyTorch, for recipe nano at several sizes.

    python benchmarks/export.py [--sizes 64 128 224] [--threads 1] [--batch 1] [--recipe nano]

Random weights: weights do not change the time. PyTorch is eager, without gradients. Both compute all outputs
of the exported graph, and take turns. The last column is PyTorch with the logits alone, as `hts predict` runs
it. Medians over --repeats turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.environment import machine
from hidden_two_stream.export.export import export_model
from hidden_two_stream.export.graph import ExportGraph
from hidden_two_stream.inference.onnx_recognizer import INPUT, load_onnx
from hidden_two_stream.inference.predictor import Recognizer

CLASSES = tuple(f"class {number}" for number in range(10))


def recognizer(recipe_name: str, size: int) -> Recognizer:
    """Return the networks of a recipe at a size, both streams, with random weights."""
    recipe = load_recipe(recipe_name, {"input.size": size, "input.resize": size})
    metadata = RunMetadata(stages=("spatial", "temporal"))
    return Recognizer(build_model(recipe, len(CLASSES)), RunInfo(recipe, CLASSES, metadata))


def turns(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each work, ms; they take turns, after a warm-up of three."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 3):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            if turn >= 3:
                times[name].append(1000 * (time.perf_counter() - begun))
    return {name: statistics.median(spent) for name, spent in times.items()}


def compare(found: Recognizer, batch: int, threads: int, repeats: int) -> dict[str, float]:
    """Return the median times of ONNX Runtime and PyTorch, ms."""
    settings = found.info.recipe
    size, length = settings.input.size, settings.model.num_frames
    clips = np.random.default_rng(0).integers(0, 256, (batch, length, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        exported = export_model(found, Path(folder) / "model.onnx", num_windows=1)
        session = load_onnx(exported.path, threads).session
    graph, tensor = ExportGraph(found.model, found.info).eval(), torch.from_numpy(clips)

    def logits() -> object:
        frames = found.model.preprocess(tensor.permute(0, 1, 4, 2, 3))
        return {name: getattr(found.model, name)(frames) for name in found.trained_streams}

    with torch.inference_mode():
        works = {
            "onnxruntime": lambda: session.run(None, {INPUT: clips}),
            "pytorch": lambda: graph(tensor),
            "logits alone": logits,
        }
        return turns(works, repeats)


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--recipe", default="nano")
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine())
    print(f"recipe {arguments.recipe}, batch {arguments.batch}, {arguments.threads} thread(s), ms")
    print("size   onnxruntime   pytorch   ratio   logits alone")
    for size in arguments.sizes:
        found = compare(
            recognizer(arguments.recipe, size), arguments.batch, arguments.threads, arguments.repeats
        )
        ours, theirs, alone = (found[name] for name in ("onnxruntime", "pytorch", "logits alone"))
        print(f"{size:4} {ours:13.2f} {theirs:9.2f} {ours / theirs:7.2f} {alone:14.2f}", flush=True)


if __name__ == "__main__":
    main()

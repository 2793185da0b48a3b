"""Seconds to fit the last layer of the pre-trained temporal stream to a handful of clips.

Five classes of eight generated clips of 40 frames, 112×112 px, already decoded at the input size that recipe
quick chooses for them, 128 px. (Nano would enlarge 112 px to 224 px.) The time includes MotionNet and the
temporal stream on four windows of each clip and their mirror images, and the logistic regression.

    python examples/last_layer_cost.py [--input 128]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path

import numpy as np
import torch

from hidden_two_stream.checkpoint import build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import ClipCache, decode_video
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.environment import machine
from hidden_two_stream.synthetic.motion_library import LIBRARY_CLASSES, generate_library_clip
from hidden_two_stream.training.embeddings import EmbeddingStore
from hidden_two_stream.training.logistic import LAST_LAYER, fit_last_layer
from hidden_two_stream.training.loop import TrainingRun
from hidden_two_stream.training.warm_start import initialize

CLASSES = ("walk", "run", "wave_both", "bend_down", "jumping_jack")
PER_CLASS, NUM_FRAMES, SIZE = 8, 40, 112


def main() -> None:
    """Print the median, and the accuracy on the training windows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--input", type=int, default=128, help="input size, px")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    samples, videos = [], []
    for name in CLASSES:
        for seed in range(PER_CLASS):
            clip = generate_library_clip(LIBRARY_CLASSES.index(name), seed, num_frames=NUM_FRAMES, size=SIZE)
            samples.append(Sample(f"{name}-{seed}", name))
            videos.append(decode_video(np.ascontiguousarray(clip), arguments.input, 1 << 30))
    recipe = load_recipe("quick")
    size = arguments.input
    sized = dataclasses.replace(recipe.input, size=size, resize=size)
    recipe = dataclasses.replace(recipe, input=sized)
    labels = [CLASSES.index(sample.label) for sample in samples]
    cache = ClipCache(tuple(samples), tuple(videos), (), size)
    run = TrainingRun(Path(), recipe, cache, labels, quiet=True)
    found = []
    for _ in range(arguments.repeats):
        model = build_model(recipe, len(CLASSES))
        initialize(model, recipe, CLASSES, {}, None, quiet=True)
        fresh = dataclasses.replace(run, embeddings=EmbeddingStore())
        found.append(fit_last_layer(model, fresh, LAST_LAYER))
    seconds = statistics.median(numbers["seconds"] for numbers in found)
    print(
        f"{seconds:.2f} s (median of {arguments.repeats}) for {len(samples)} clips of {SIZE} px, input "
        f"{size} px; accuracy on their windows {found[0]['accuracy']:.0%}. Machine: {machine()}."
    )


if __name__ == "__main__":
    main()

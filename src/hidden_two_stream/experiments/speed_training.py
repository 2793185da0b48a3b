"""The works of `hts bench` that belong to training: loading clips, and steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import default_collate

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import open_clip_cache
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.data.training_set import Augmentation, StepSampler, TrainingClips
from hidden_two_stream.experiments.speed_inputs import BATCH, RESIZE, Work, recognizer_of, video_in

__all__ = ["loading_works", "training_works"]

_LOADED = {"cached": 1 << 30, "decoded again": 0}
"""Memory for decoded frames of each way of loading, bytes."""


def loading_works(scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    """Yield the loading of a batch of training clips, from files to a tensor."""
    recipe = recognizer_of("nano", RESIZE).info.recipe
    for name in _LOADED:
        yield Work(
            f"batch of {BATCH} clips, {name}",
            _batches(scratch, recipe, name),
            note=f"{recipe.model.num_frames} frames of {RESIZE}×{RESIZE}, augmented",
        )


def training_works(scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    """Yield training steps, without their data and with it."""
    for recipe_name in ("nano", "nano-branched"):
        recognizer = recognizer_of(recipe_name, RESIZE)
        model, recipe = recognizer.model.train(), recognizer.info.recipe
        load = _batches(scratch, recipe, "cached")
        clips = load()
        for part in ("temporal", "spatial"):
            optimizer = torch.optim.AdamW(getattr(model, f"{part}_stream").parameters(), lr=1e-6)
            step = partial(_step, model, optimizer, part)
            name = f"{recipe_name} {RESIZE} px, a step of the {part} stream"
            yield Work(name, partial(step, clips), note=f"batch {BATCH}")
            yield Work(
                f"{name}, with data", _then(load, step), note=f"batch {BATCH}, cached, one after the other"
            )


def _batches(scratch: Path, recipe: Recipe, way: str) -> Callable[[], Tensor]:
    """Return a function that loads the next batch: (BATCH, T, 3, size, size) uint8."""
    folder = scratch / "training"
    folder.mkdir(exist_ok=True)
    samples = [Sample(str(video_in(folder, f"{number}.mp4")), "a") for number in range(BATCH)]
    cache = open_clip_cache(samples, recipe.input.resize, budget_bytes=_LOADED[way])
    how = Augmentation(recipe.input.size, recipe.input.crop_scales, recipe.input.flip, 0.0)
    clips = TrainingClips(cache, [0] * BATCH, recipe.model.num_frames, recipe.input.frame_stride, how)
    keys = itertools.cycle(StepSampler(BATCH, BATCH, 1, 0, 100, 0))

    def load() -> Tensor:
        batch: Tensor = default_collate([clips[key] for key in next(keys)])[0]
        return batch.flatten(0, 1)

    return load


def _then(load: Callable[[], Tensor], step: Callable[[Tensor], None]) -> Callable[[], None]:
    return lambda: step(load())


def _step(model: Any, optimizer: torch.optim.Optimizer, part: str, clips: Tensor) -> None:
    optimizer.zero_grad()
    logits = getattr(model, part)(model.preprocess(clips))
    labels = torch.arange(len(clips)) % logits.shape[1]
    functional.cross_entropy(logits, labels).backward()
    optimizer.step()

"""What `hts bench` times works on: generated video, and networks with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.synthetic.training_scenes import generate_scene
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.transforms import to_tensor
from hidden_two_stream.video.writer import write_video

__all__ = [
    "BATCH",
    "FPS",
    "FRAMES",
    "HEIGHT",
    "RESIZE",
    "WIDTH",
    "Work",
    "clips_of",
    "recognizer_of",
    "scene",
    "video_in",
    "without_gradients",
]

FPS = 25.0
FRAMES, HEIGHT, WIDTH = 60, 240, 320  # of a file
RESIZE = 128
BATCH = 8  # of a training step
_SEED = 7
_CLASSES = tuple(f"class {number}" for number in range(10))


@dataclass(frozen=True)
class Work:
    """Something to time.

    Attributes:
        name: its name, unique in its group.
        call: does it once.
        covers_seconds: seconds of video that it covers; None: none.
        is_network: whether PyTorch does all of it, so that its operations can be counted.
        note: how it is done.
    """

    name: str
    call: Callable[[], Any]
    covers_seconds: float | None = None
    is_network: bool = False
    note: str = ""


def recognizer_of(recipe_name: str, size: int) -> Recognizer:
    """Return the networks of a recipe with random weights: weights do not change the time."""
    recipe = load_recipe(recipe_name, {"input.size": size, "input.resize": size})
    torch.manual_seed(_SEED)
    model = build_model(recipe, len(_CLASSES)).eval()
    return Recognizer(model, RunInfo(recipe, _CLASSES, RunMetadata(stages=("spatial", "temporal"))))


def video_in(folder: Path, name: str = "clip.mp4") -> Path:
    """Write a generated H.264 video of FRAMES frames into a folder and return its path."""
    path = folder / name
    write_video(path, scene(FRAMES, HEIGHT, WIDTH), FPS)
    return path


def scene(num_frames: int, height: int, width: int | None = None) -> RawClip:
    """Return frames of generated video, (T, H, W, 3) uint8."""
    return generate_scene(_SEED, num_frames=num_frames, height=height, width=width or height).frames


def clips_of(batch: int, length: int, size: int) -> torch.Tensor:
    """Return (batch, T, 3, size, size) uint8 frames of generated video."""
    return to_tensor(scene(length, size))[None].repeat(batch, 1, 1, 1, 1)


def without_gradients(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Return a call of a function without gradients."""

    @torch.inference_mode()
    def call() -> Any:
        return function(*arguments)

    return call

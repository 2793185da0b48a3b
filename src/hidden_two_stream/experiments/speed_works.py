"""The works that `hts bench` times: decoding, motion, recognition, a stream, exports, training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hidden_two_stream.checkpoint import RunInfo, RunMetadata, build_model
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.ring import WindowRing
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.synthetic.training_scenes import generate_scene
from hidden_two_stream.types import RawClip
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.transforms import normalize, to_tensor
from hidden_two_stream.video.writer import write_video

__all__ = ["GROUPS", "Work", "works_of"]

_FPS = 25.0
_FRAMES, _HEIGHT, _WIDTH = 60, 240, 320  # of the file
_RESIZE = 128
_FIELDS, _FIELD_SIDE = 10, 224
_SEED = 7
_CLASSES = tuple(f"class {number}" for number in range(10))
_BATCH = 8  # of a training step
_RECIPES = (("nano", 128), ("nano", 224), ("nano-branched", 128), ("tiny", 224))


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


def works_of(group: str, scratch: Path, skipped: dict[str, str]) -> list[Work]:
    """Return the works of a group.

    Args:
        group: a name in `GROUPS`.
        scratch: folder for generated files.
        skipped: gets the reason of each work that cannot be done here.
    """
    return list(GROUPS[group](scratch, skipped))


def _decoding(scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    file = _video(scratch)
    seconds = _FRAMES / _FPS
    recognizer = _recognizer("nano", _RESIZE)
    note = f"{_FRAMES} frames of {_WIDTH}×{_HEIGHT}, MPEG-4"
    yield Work("decode", lambda: _decoded(file), seconds, note=note)
    yield Work(f"decode, resize to {_RESIZE}", lambda: _decoded(file, _RESIZE), seconds, note=note)
    yield Work("file to label, center", lambda: recognizer.predict(file, "center"), seconds, note="nano")
    yield Work("file to label, 10x1", lambda: recognizer.predict(file), seconds, note="nano")


def _motion(_scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    clip = _scene(_FIELDS + 1, _FIELD_SIDE)
    frames = normalize(to_tensor(clip)[None].contiguous()).contiguous()
    note, seconds = f"{_FIELDS} fields of {_FIELD_SIDE}×{_FIELD_SIDE}", _FIELDS / _FPS
    for name in ("nano", "tiny", "full"):
        network = build_motion(name, _FIELDS + 1).eval()
        yield Work(name, _without_gradients(network, frames), seconds, is_network=True, note=note)
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield Work("full, bf16", _in_bfloat16(network, frames), seconds, note=note)
    else:
        skipped["full, bf16"] = "this processor has no bfloat16"
    if find_spec("cv2") is None:
        skipped["DIS, TV-L1"] = "OpenCV is not installed: the extra 'classical'"
        return
    for name in ("dis-fast", "dis-medium", "tvl1"):
        yield Work(name, partial(estimator(name), clip), seconds, note=f"{note}; OpenCV")


def _recognition(_scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    for recipe, size in _RECIPES:
        recognizer = _recognizer(recipe, size)
        model, length = recognizer.model, recognizer.info.recipe.model.num_frames
        frames = model.preprocess(_clips(1, length, size))
        parts: dict[str, Callable[[torch.Tensor], Any]] = {
            "motion": model.motion, "temporal": model.temporal, "spatial": model.spatial,
            "fused": partial(_fused, model),
        }  # fmt: skip
        for part, function in parts.items():
            yield Work(
                f"{recipe} {size} px, {part}",
                _without_gradients(function, frames),
                length / _FPS,
                is_network=True,
                note=f"{length} frames",
            )
    yield from _others(skipped)


def _others(skipped: dict[str, str]) -> Iterator[Work]:
    """Yield what people would take instead, where it is installed, with random weights."""
    if find_spec("transformers") is None:
        skipped["VideoMAE-S"] = "transformers is not installed: the extra 'hf'"
    else:
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification

        config = VideoMAEConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536)
        network: Any = VideoMAEForVideoClassification(config)
        network.eval()
        frames = torch.rand(1, 16, 3, 224, 224)
        yield Work(
            "VideoMAE-S 224 px", _without_gradients(network, frames), 16 * 4 / _FPS, is_network=True,
            note="16 frames, stride 4",
        )  # fmt: skip
    skipped["X3D, MoViNet, SlowFast, R(2+1)D"] = "their libraries need torchvision; none is used here"


def _stream(_scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    for recipe in ("nano", "nano-branched"):
        recognizer = _recognizer(recipe, _RESIZE)
        ring = WindowRing(recognizer.model, recognizer.info.recipe, recognizer.trained_streams)
        images = _scene(ring.span, _HEIGHT)
        for image in images:
            ring.push(image)
        note = f"{_HEIGHT}×{_HEIGHT} px, resized to {_RESIZE}"
        yield Work(
            f"{recipe}, one new frame",
            partial(ring.push, images[0]),
            1 / _FPS,
            note=note,
        )


def _export(scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        skipped["ONNX Runtime"] = f"{missing[0]} is not installed: the extra 'export'"
        return
    from hidden_two_stream.export.export import export_model
    from hidden_two_stream.inference.onnx_recognizer import INPUT, load_onnx

    recognizer = _recognizer("nano", _RESIZE)
    model, length = recognizer.model, recognizer.info.recipe.model.num_frames
    export_model(recognizer, scratch / "model.onnx", num_windows=1)
    session = load_onnx(scratch / "model.onnx", torch.get_num_threads()).session
    clips = _clips(1, length, _RESIZE)
    inputs = {INPUT: np.ascontiguousarray(clips.permute(0, 1, 3, 4, 2).numpy())}
    outputs = ["spatial_logits", "temporal_logits"]
    both = _without_gradients(partial(_both_streams, model), clips)
    yield Work(f"nano {_RESIZE} px in PyTorch", both, length / _FPS, is_network=True)
    yield Work(f"nano {_RESIZE} px in ONNX Runtime", lambda: session.run(outputs, inputs), length / _FPS)


def _training(_scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    for recipe, size in (("nano", 128), ("nano-branched", 128)):
        recognizer = _recognizer(recipe, size)
        model, length = recognizer.model.train(), recognizer.info.recipe.model.num_frames
        for part in ("temporal", "spatial"):
            yield Work(
                f"{recipe} {size} px, a step of the {part} stream",
                partial(_step, _optimized(model, part), part, _clips(_BATCH, length, size)),
                note=f"batch {_BATCH}, data not counted",
            )


GROUPS: dict[str, Callable[[Path, dict[str, str]], Iterator[Work]]] = {
    "decoding": _decoding,
    "motion": _motion,
    "recognition": _recognition,
    "stream": _stream,
    "export": _export,
    "training": _training,
}
"""The groups in the order in which they are measured; their works take turns."""


def _recognizer(recipe_name: str, size: int) -> Recognizer:
    """Return the networks of a recipe with random weights: weights do not change the time."""
    recipe = load_recipe(recipe_name, {"input.size": size, "input.resize": size})
    torch.manual_seed(_SEED)
    model = build_model(recipe, len(_CLASSES)).eval()
    return Recognizer(model, RunInfo(recipe, _CLASSES, RunMetadata(stages=("spatial", "temporal"))))


def _fused(model: Any, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return model.temporal(frames), model.spatial(frames)


def _both_streams(model: Any, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    frames = model.preprocess(raw)
    return _fused(model, frames)


@dataclass(frozen=True)
class _Optimized:
    model: Any
    optimizer: torch.optim.Optimizer


def _optimized(model: Any, part: str) -> _Optimized:
    return _Optimized(model, torch.optim.AdamW(getattr(model, f"{part}_stream").parameters(), lr=1e-6))


def _step(trained: _Optimized, part: str, clips: torch.Tensor) -> None:
    trained.optimizer.zero_grad()
    logits = getattr(trained.model, part)(trained.model.preprocess(clips))
    labels = torch.arange(len(clips)) % len(_CLASSES)
    functional.cross_entropy(logits, labels).backward()
    trained.optimizer.step()


def _without_gradients(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    @torch.inference_mode()
    def call() -> Any:
        return function(*arguments)

    return call


def _in_bfloat16(network: Any, frames: torch.Tensor) -> Callable[[], Any]:
    @torch.inference_mode()
    def call() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return network(frames)

    return call


def _video(scratch: Path) -> Path:
    path = scratch / "clip.mp4"
    write_video(path, _scene(_FRAMES, _HEIGHT, _WIDTH), _FPS)
    return path


def _decoded(file: Path, size: int | None = None) -> None:
    with VideoReader(file) as reader:
        for frame in reader.frames():
            if size is not None:
                resized(frame.image[None], size)


def _scene(num_frames: int, height: int, width: int | None = None) -> RawClip:
    return generate_scene(_SEED, num_frames=num_frames, height=height, width=width or height).frames


def _clips(batch: int, length: int, size: int) -> torch.Tensor:
    """Return (batch, T, 3, size, size) uint8 frames of generated video."""
    return to_tensor(_scene(length, size))[None].repeat(batch, 1, 1, 1, 1)

"""The works that `hts bench` times, group by group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidden_two_stream.data.clip_cache import resized
from hidden_two_stream.experiments.speed_inputs import (
    FPS,
    FRAMES,
    HEIGHT,
    RESIZE,
    WIDTH,
    Work,
    clips_of,
    recognizer_of,
    scene,
    video_in,
    without_gradients,
)
from hidden_two_stream.experiments.speed_training import loading_works, training_works
from hidden_two_stream.inference.ring import WindowRing
from hidden_two_stream.motion.estimators.classical import estimator
from hidden_two_stream.motion.networks.build import build_motion
from hidden_two_stream.video.reader import VideoReader
from hidden_two_stream.video.transforms import normalize, to_tensor

__all__ = ["GROUPS", "works_of"]

_FIELDS, _FIELD_SIDE = 10, 224
_RECIPES = (("nano", 128), ("nano", 224), ("nano-branched", 128), ("tiny", 224))


def works_of(group: str, scratch: Path, skipped: dict[str, str]) -> list[Work]:
    """Return the works of a group.

    Args:
        group: a name in `GROUPS`.
        scratch: folder for generated files.
        skipped: gets the reason of each work that cannot be done here.
    """
    return list(GROUPS[group](scratch, skipped))


def _decoding(scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    file = video_in(scratch)
    seconds = FRAMES / FPS
    recognizer = recognizer_of("nano", RESIZE)
    note = f"{FRAMES} frames of {WIDTH}×{HEIGHT}, H.264"
    yield Work("decode", lambda: _decoded(file), seconds, note=note)
    yield Work(f"decode, resize to {RESIZE}", lambda: _decoded(file, RESIZE), seconds, note=note)
    yield Work("file to label, center", lambda: recognizer.predict(file, "center"), seconds, note="nano")
    yield Work("file to label, 10x1", lambda: recognizer.predict(file), seconds, note="nano")


def _motion(_scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    clip = scene(_FIELDS + 1, _FIELD_SIDE)
    frames = normalize(to_tensor(clip)[None].contiguous()).contiguous()
    note, seconds = f"{_FIELDS} fields of {_FIELD_SIDE}×{_FIELD_SIDE}", _FIELDS / FPS
    for name in ("nano", "tiny", "full"):
        network = build_motion(name, _FIELDS + 1).eval()
        yield Work(name, without_gradients(network, frames), seconds, is_network=True, note=note)
    if _has_bfloat16(skipped):
        yield Work("full, bf16", _in_bfloat16(network, frames), seconds, note=note)
    if find_spec("cv2") is None:
        skipped["DIS, TV-L1"] = "OpenCV is not installed: the extra 'classical'"
        return
    for name in ("dis-fast", "dis-medium", "tvl1"):
        yield Work(name, partial(estimator(name), clip), seconds, note=f"{note}; OpenCV")


def _recognition(_scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    for recipe, size in _RECIPES:
        recognizer = recognizer_of(recipe, size)
        model, length = recognizer.model, recognizer.info.recipe.model.num_frames
        frames = model.preprocess(clips_of(1, length, size))
        parts: dict[str, Callable[[torch.Tensor], Any]] = {
            "motion": model.motion, "temporal": model.temporal, "spatial": model.spatial,
            "fused": partial(_fused, model),
        }  # fmt: skip
        for part, function in parts.items():
            yield Work(
                f"{recipe} {size} px, {part}",
                without_gradients(function, frames),
                length / FPS,
                is_network=True,
                note=f"{length} frames",
            )
        if _has_bfloat16(skipped):
            name = f"{recipe} {size} px, fused, bf16"
            yield Work(name, _in_bfloat16(parts["fused"], frames), length / FPS, note=f"{length} frames")
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
            "VideoMAE-S 224 px", without_gradients(network, frames), 16 * 4 / FPS, is_network=True,
            note="16 frames, stride 4",
        )  # fmt: skip
    skipped["X3D, MoViNet, SlowFast, R(2+1)D"] = "their libraries need torchvision; none is used here"


def _stream(_scratch: Path, _skipped: dict[str, str]) -> Iterator[Work]:
    for recipe in ("nano", "nano-branched"):
        recognizer = recognizer_of(recipe, RESIZE)
        ring = WindowRing(recognizer.model, recognizer.info.recipe, recognizer.trained_streams)
        images = scene(ring.span, HEIGHT)
        for image in images:
            ring.push(image)
        note = f"{HEIGHT}×{HEIGHT} px, resized to {RESIZE}"
        yield Work(
            f"{recipe}, one new frame",
            partial(ring.push, images[0]),
            1 / FPS,
            note=note,
        )


def _export(scratch: Path, skipped: dict[str, str]) -> Iterator[Work]:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        skipped["ONNX Runtime"] = f"{missing[0]} is not installed: the extra 'export'"
        return
    from hidden_two_stream.export.export import export_model
    from hidden_two_stream.inference.onnx_recognizer import INPUT, load_onnx

    recognizer = recognizer_of("nano", RESIZE)
    model, length = recognizer.model, recognizer.info.recipe.model.num_frames
    export_model(recognizer, scratch / "model.onnx", num_windows=1)
    session = load_onnx(scratch / "model.onnx", torch.get_num_threads()).session
    clips = clips_of(1, length, RESIZE)
    inputs = {INPUT: np.ascontiguousarray(clips.permute(0, 1, 3, 4, 2).numpy())}
    outputs = ["spatial_logits", "temporal_logits"]
    both = without_gradients(partial(_both_streams, model), clips)
    yield Work(f"nano {RESIZE} px in PyTorch", both, length / FPS, is_network=True)
    yield Work(f"nano {RESIZE} px in ONNX Runtime", lambda: session.run(outputs, inputs), length / FPS)


GROUPS: dict[str, Callable[[Path, dict[str, str]], Iterator[Work]]] = {
    "decoding": _decoding,
    "loading": loading_works,
    "motion": _motion,
    "recognition": _recognition,
    "stream": _stream,
    "export": _export,
    "training": training_works,
}
"""The groups in the order in which they are measured; their works take turns."""


def _fused(model: Any, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return model.temporal(frames), model.spatial(frames)


def _both_streams(model: Any, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    frames = model.preprocess(raw)
    return _fused(model, frames)


def _has_bfloat16(skipped: dict[str, str]) -> bool:
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return True
    skipped["bf16"] = "this processor has no bfloat16"
    return False


def _in_bfloat16(network: Callable[[torch.Tensor], Any], frames: torch.Tensor) -> Callable[[], Any]:
    @torch.inference_mode()
    def call() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return network(frames)

    return call


def _decoded(file: Path, size: int | None = None) -> None:
    with VideoReader(file) as reader:
        for frame in reader.frames():
            if size is not None:
                resized(frame.image[None], size)

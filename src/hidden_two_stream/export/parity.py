"""Whether an exported model gives the scores of the run that it was made from, on windows of real videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hidden_two_stream.config.schema import Recipe
from hidden_two_stream.data.clip_cache import decode_video
from hidden_two_stream.data.samples import Sample
from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.inference.predictor import Recognizer
from hidden_two_stream.inference.scoring import KEPT_BYTES, Scoring
from hidden_two_stream.inference.windows import Protocol, protocol_windows
from hidden_two_stream.synthetic.clips import CLASSES, generate_clip
from hidden_two_stream.video.reader import Source

__all__ = ["LARGEST_SCORE_DIFFERENCE", "Clip", "Parity", "generated_clips", "parity", "windows_of"]

LARGEST_SCORE_DIFFERENCE = 1e-3
"""Of a score of any class: an export with a larger one is refused."""

_Array = npt.NDArray[np.floating]
_BATCH = 4


@dataclass(frozen=True)
class Parity:
    """The largest differences between an exported model and PyTorch.

    Attributes:
        num_windows: windows that were compared.
        score: of a fused score or a score of one stream, 0…1.
        flow_px: of a component of the finest flow, px of its own grid; None: the model has no flow.
        embedding: of an embedding's value, relative to the largest value of the embedding.
        num_labels_changed: windows with another best class.
    """

    num_windows: int
    score: float
    flow_px: float | None
    embedding: float
    num_labels_changed: int

    def __str__(self) -> str:
        flow = "" if self.flow_px is None else f", flow within {self.flow_px:.1e} px"
        return (
            f"{self.num_windows} windows: scores within {self.score:.1e}{flow}, "
            f"{self.num_labels_changed} labels changed"
        )


@dataclass(frozen=True)
class Clip:
    """A video, or a part of one, and its label.

    Attributes:
        source: the video.
        label: class name.
        start_seconds, end_seconds: the part; None: from the first frame, to the last one.
    """

    source: Source
    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None

    @classmethod
    def of(cls, sample: Sample) -> Clip:
        """Return the clip of a labeled sample."""
        return cls(sample.path, sample.label, sample.start_seconds, sample.end_seconds)


def windows_of(clips: Sequence[Clip], recipe: Recipe, number: int) -> Iterator[Tensor]:
    """Yield `number` windows (T, 3, size, size) uint8 of clips, spread over the clips.

    Unreadable clips are left out; there can be fewer windows if the clips are few and short.
    """
    chosen = [clips[place] for place in _spread(len(clips), number)]
    each = -(-number // max(1, len(chosen)))
    protocol = Protocol("center", 1, 1) if each == 1 else Protocol(f"{each}x1", each, 1)
    left, settings = number, recipe.input
    for clip in chosen:
        part = (clip.start_seconds, clip.end_seconds)
        try:
            video = decode_video(clip.source, settings.resize, KEPT_BYTES, *part, fps=settings.fps)
            windows = [window.clips[0] for window in protocol_windows(video, recipe, protocol)]
        except HiddenTwoStreamError:
            continue
        yield from windows[:left]
        left -= min(left, len(windows))


def _spread(total: int, number: int) -> list[int]:
    """Return at most `number` places below `total`, evenly spread."""
    return [place * total // min(total, number) for place in range(min(total, number))]


def generated_clips(recipe: Recipe, number: int) -> list[Clip]:
    """Return generated videos, for runs whose own videos cannot be found."""
    size, length = max(32, recipe.input.size), recipe.model.num_frames * recipe.input.frame_stride
    names = [CLASSES[place % len(CLASSES)] for place in range(number)]
    return [
        Clip(generate_clip(name, seed, num_frames=length, size=size).frames, name)
        for seed, name in enumerate(names)
    ]


def parity(
    recognizer: Recognizer,
    windows: Iterable[Tensor],
    run: Callable[[npt.NDArray[np.uint8]], Mapping[str, _Array]],
) -> Parity:
    """Return the largest differences between an exported model and PyTorch.

    The reference doesn't use the graph: it takes the networks themselves, and NumPy's fusion.

    Args:
        recognizer: the run.
        windows: clips (T, 3, size, size) uint8.
        run: the exported model: clips (B, T, H, W, 3) uint8 → outputs by name.
    """
    score, flow, embedding, changed, number = 0.0, None, 0.0, 0, 0
    scoring = Scoring.of(recognizer.info)
    for batch in _batches(windows):
        found = run(np.ascontiguousarray(batch.permute(0, 1, 3, 4, 2).numpy()))
        expected = _reference(recognizer, scoring, batch)
        own = scoring.stream_scores({name: found[f"{name}_logits"] for name in scoring.streams})
        theirs = scoring.stream_scores({name: expected[f"{name}_logits"] for name in scoring.streams})
        pairs = [(found["scores"], expected["scores"]), *((own[name], theirs[name]) for name in own)]
        score = max(score, *(float(np.abs(a - b).max()) for a, b in pairs))
        changed += int((found["scores"].argmax(1) != expected["scores"].argmax(1)).sum())
        for name in (f"{stream}_embedding" for stream in scoring.streams):
            scale = max(float(np.abs(expected[name]).max()), 1e-6)
            embedding = max(embedding, float(np.abs(found[name] - expected[name]).max()) / scale)
        if "flow" in found:
            flow = max(flow or 0.0, float(np.abs(found["flow"] - expected["flow"]).max()))
        number += len(batch)
    return Parity(number, score, flow, embedding, changed)


def _batches(windows: Iterable[Tensor]) -> Iterator[Tensor]:
    waiting: list[Tensor] = []
    for window in windows:
        waiting.append(window)
        if len(waiting) == _BATCH:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)


@torch.inference_mode()
def _reference(recognizer: Recognizer, scoring: Scoring, clips: Tensor) -> dict[str, _Array]:
    model = recognizer.model
    frames = model.preprocess(clips)
    streams = {"spatial": model.spatial, "temporal": model.temporal}
    embeddings = {"spatial": model.spatial_embedding, "temporal": model.temporal_embedding}
    logits = scoring.calibrated({name: streams[name](frames).numpy() for name in scoring.streams})
    found: dict[str, _Array] = {f"{name}_logits": values for name, values in logits.items()}
    found["scores"] = scoring.fuse(logits)
    found |= {f"{name}_embedding": embeddings[name](frames).numpy() for name in scoring.streams}
    if hasattr(model, "motion_net"):
        found["flow"] = model.motion(frames)[0].numpy()
    return found

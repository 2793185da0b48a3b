"""Embeddings of the training windows, computed once for all fits that use the same frozen network.

The fit of a last layer and the cross-fits that calibrate a run see the same windows: each cross-fit leaves
out a part of the videos, and begins with the same pre-trained stream. So the embeddings of a video are kept
with a fingerprint of all that they depend on, and another network or another input never meets them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hidden_two_stream.batch_share import batch_share, of_all
from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import ProgressLine
from hidden_two_stream.recognition.pair_states import PairStates, pairs_of
from hidden_two_stream.training.lost_videos import left_out_reporter, require_packed
from hidden_two_stream.video.crops import center_crop_box, flip
from hidden_two_stream.video.sampling import clip_indices, spread_starts
from hidden_two_stream.video.transforms import apply_crop

if TYPE_CHECKING:
    from hidden_two_stream.training.loop import TrainingRun

__all__ = ["EmbeddingStore", "window_embeddings"]

WINDOWS_PER_VIDEO = 4


class EmbeddingStore:
    """Keeps the embeddings of videos, for one network at a time."""

    def __init__(self) -> None:
        self._fingerprint = ""
        self._of_videos: dict[str, Tensor] = {}

    def of(self, fingerprint: str) -> dict[str, Tensor]:
        """Return the embeddings (windows, D) by name of the video; those of another network are forgotten.

        Args:
            fingerprint: of the network and its input. The caller adds to the dictionary what is missing.
        """
        if fingerprint != self._fingerprint:
            self._fingerprint, self._of_videos = fingerprint, {}
        return self._of_videos


@torch.no_grad()
def window_embeddings(model: Any, run: TrainingRun) -> tuple[Tensor, Tensor]:
    """Return the embeddings (N, D) of the training windows, and their labels (N,).

    Each window stands beside its mirror image if the recipe mirrors clips. Embeddings that `run.embeddings`
    has are not computed again. Several processes share the videos. A packed video that proves unreadable is
    reported and left out.

    Args:
        model: a `HiddenTwoStream` with a temporal stream of the form "sequence", in evaluation mode.
        run: the training videos and the recipe.

    Raises:
        VideoError: a video can no longer be read, and it is not packed, or no video can.
    """
    names = [sample.name for sample in run.cache.samples]
    kept = run.embeddings.of(_fingerprint(model, run))
    missing = [number for number, name in enumerate(names) if name not in kept]
    lost: VideoError | None = None
    if missing:
        for number, rows in zip(missing, _embedded(model, run, missing), strict=True):
            if isinstance(rows, VideoError):
                lost = rows
            else:
                kept[names[number]] = rows
    found = [(label, kept[name]) for label, name in zip(run.labels, names, strict=True) if name in kept]
    if not found and lost is not None:
        raise lost
    labels = [label for label, rows in found for _ in rows]
    return torch.cat([rows for _, rows in found]), torch.tensor(labels, device=found[0][1].device)


def _embedded(model: Any, run: TrainingRun, numbers: Sequence[int]) -> list[Tensor | VideoError]:
    """Return the embeddings (windows, D) of some videos, or why one cannot be read.

    Several processes share the work.
    """
    share, report = batch_share(), left_out_reporter(run.folder)
    found: list[Tensor | VideoError] = []
    own = numbers[share.rank :: share.world]
    with ProgressLine(run.titled("embed"), len(own), quiet=run.quiet or share.rank > 0) as progress:
        for done, number in enumerate(own, start=1):
            try:
                found.append(_video_embeddings(model, run, number).cpu())
            except VideoError as error:
                require_packed(error)
                report(error)
                found.append(error)
            progress.update(done)
    device = next(model.parameters()).device
    return [rows if isinstance(rows, VideoError) else rows.to(device) for rows in of_all(found)]


def _fingerprint(model: Any, run: TrainingRun) -> str:
    """Return a digest of all that the embeddings depend on, besides the videos."""
    digest = hashlib.sha256(repr((run.recipe.input, run.recipe.model)).encode())
    for name, tensor in model.state_dict().items():
        is_used = name.startswith(("motion_net.", "temporal_stream."))
        if is_used and not name.startswith("temporal_stream.fc."):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.device}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _video_embeddings(model: Any, run: TrainingRun, number: int) -> Tensor:
    """Return the embeddings (windows, D) of one video."""
    device = next(model.parameters()).device
    settings, length = run.recipe.input, run.recipe.model.num_frames
    available = run.cache.videos[number].num_frames
    starts = spread_starts(available, length, settings.frame_stride, WINDOWS_PER_VIDEO)
    windows = [
        clip_indices(first, length, settings.frame_stride, available) for first in dict.fromkeys(starts)
    ]
    used = sorted({index for window in windows for index in window})
    clip = run.cache.clip(number, used)
    clip = apply_crop(clip, center_crop_box(clip.shape[-2], clip.shape[-1], settings.size), settings.size)
    clips = torch.stack((clip, flip(clip)) if settings.flip else (clip,)).to(device)
    vectors = _window_vectors(model, clips, used, windows)
    return torch.cat([model.temporal_stream.embed(window).mean(dim=1) for window in vectors])


def _window_vectors(
    model: Any, clips: Tensor, used: Sequence[int], windows: Sequence[Sequence[int]]
) -> Iterator[Tensor]:
    """Yield the pair vectors (B, T−1, D) of each window.

    Args:
        model: as for `window_embeddings`.
        clips: (B, n, 3, size, size) uint8.
        used: the n numbers of their frames.
        windows: numbers of the frames of each window.
    """

    def frames_of(numbers: Sequence[int]) -> Tensor:
        frames: Tensor = model.preprocess(clips[:, [used.index(number) for number in numbers]])
        return frames

    if not model.pairs_are_independent:
        yield from (model.pair_vectors(frames_of(window)) for window in windows)
        return
    states = PairStates(model, frames_of)
    states.add(pair for window in windows for pair in pairs_of(window))
    yield from (states.of(pairs_of(window))[0] for window in windows)

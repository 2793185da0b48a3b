"""Fits the last layer of a pre-trained temporal stream by logistic regression, in about a second."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.errors import VideoError
from hidden_two_stream.recognition.pair_states import PairStates, pairs_of
from hidden_two_stream.training.lost_videos import left_out_reporter, require_packed
from hidden_two_stream.video.crops import center_crop_box, flip
from hidden_two_stream.video.sampling import clip_indices, spread_starts
from hidden_two_stream.video.transforms import apply_crop

if TYPE_CHECKING:
    from hidden_two_stream.training.loop import TrainingRun

__all__ = ["LAST_LAYER", "fit_last_layer", "logistic_regression", "window_embeddings"]

LAST_LAYER = StageConfig(steps=200, optimizer="logistic", weight_decay=0.003)
"""How the last layer is fitted unless a recipe says otherwise."""

WINDOWS_PER_VIDEO = 4


def fit_last_layer(model: nn.Module, run: TrainingRun, config: StageConfig) -> dict[str, float]:
    """Fit the last layer of the model's temporal stream, in place; everything else stays as it is.

    Embeddings of windows spread over each video, and of their mirror images if the recipe mirrors clips, are
    the inputs of `logistic_regression`. Nothing is random.

    Args:
        model: a `HiddenTwoStream` with a temporal stream of the form "sequence".
        run: the training videos and the recipe.
        config: `steps` is the largest number of iterations, `weight_decay` the weight of the penalty.

    Returns:
        "loss" and "accuracy" on the training windows, and "seconds".
    """
    start = time.monotonic()
    stream: Any = model.eval().requires_grad_(False).get_submodule("temporal_stream")
    embeddings, labels = window_embeddings(model, run)
    weight, bias = logistic_regression(
        embeddings, labels, len(stream.fc.bias), config.weight_decay, config.steps
    )
    with torch.no_grad():
        stream.fc.weight.copy_(weight)
        stream.fc.bias.copy_(bias)
    logits = functional.linear(embeddings, weight.to(embeddings), bias.to(embeddings))
    return {
        "loss": float(functional.cross_entropy(logits, labels)),
        "accuracy": float((logits.argmax(dim=1) == labels).float().mean()),
        "seconds": time.monotonic() - start,
    }


def logistic_regression(
    inputs: Tensor, labels: Tensor, num_classes: int, penalty: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    """Return weight (classes, D) and bias (classes,) of the multinomial logistic regression, float64.

    Minimizes the mean cross entropy + penalty/2 · |weight|² of standardized inputs, a convex problem, by
    L-BFGS. The returned weights are for the inputs as they are.

    Args:
        inputs: (N, D).
        labels: (N,) class numbers.
        num_classes: number of classes.
        penalty: weight of the squared weights.
        max_iterations: largest number of iterations.
    """
    exact = inputs.double()
    mean, scale = exact.mean(dim=0), exact.std(dim=0, correction=0).clamp(min=1e-6)
    standardized = (exact - mean) / scale
    weight = exact.new_zeros(num_classes, exact.shape[1], requires_grad=True)
    bias = exact.new_zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = functional.linear(standardized, weight, bias)
        value = functional.cross_entropy(logits, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    unscaled = weight.detach() / scale
    return unscaled, bias.detach() - unscaled @ mean


@torch.no_grad()
def window_embeddings(model: Any, run: TrainingRun) -> tuple[Tensor, Tensor]:
    """Return the embeddings (N, D) of the training windows, and their labels (N,).

    Each window stands beside its mirror image if the recipe mirrors clips.

    Args:
        model: a `HiddenTwoStream` with a temporal stream of the form "sequence".
        run: the training videos and the recipe.
    """
    device = next(model.parameters()).device
    settings, length = run.recipe.input, run.recipe.model.num_frames
    found, labels = [], []
    report, lost = left_out_reporter(run.folder), None
    for number, label in enumerate(run.labels):
        available = run.cache.videos[number].num_frames
        starts = spread_starts(available, length, settings.frame_stride, WINDOWS_PER_VIDEO)
        windows = [
            clip_indices(first, length, settings.frame_stride, available) for first in dict.fromkeys(starts)
        ]
        used = sorted({index for window in windows for index in window})
        try:
            clip = run.cache.clip(number, used)
        except VideoError as error:
            require_packed(error)
            report(error)
            lost = error
            continue
        clip = apply_crop(clip, center_crop_box(clip.shape[-2], clip.shape[-1], settings.size), settings.size)
        clips = torch.stack((clip, flip(clip)) if settings.flip else (clip,)).to(device)
        for vectors in _window_vectors(model, clips, used, windows):
            embedding = model.temporal_stream.embed(vectors).mean(dim=1)
            found.append(embedding)
            labels += [label] * len(embedding)
    if not found and lost is not None:
        raise lost
    return torch.cat(found), torch.tensor(labels, device=device)


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

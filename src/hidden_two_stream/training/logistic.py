"""Fits the last layer of a pre-trained temporal stream by logistic regression."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidden_two_stream.batch_share import of_first
from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.training.embeddings import window_embeddings

if TYPE_CHECKING:
    from hidden_two_stream.training.loop import TrainingRun

__all__ = ["LAST_LAYER", "fit_last_layer", "logistic_regression"]

LAST_LAYER = StageConfig(steps=200, optimizer="logistic", weight_decay=0.003)
"""How the last layer is fitted unless a recipe says otherwise."""


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
    weight, bias = of_first(weight), of_first(bias)  # other processors may round otherwise
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

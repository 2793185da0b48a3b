"""Optimizers with a learning rate for each part, and stateless learning-rate schedules."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import torch
from torch import nn

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.image_encoder import MODULE as ENCODER_MODULE

__all__ = ["build_optimizer", "learning_rate_factor", "set_learning_rates"]

WARM_UP = 0.1  # fraction of the steps of a one-cycle schedule
START_FACTOR = 0.04  # on the peak learning rate

_RATES = {"motion_net": "motion_learning_rate", ENCODER_MODULE: "encoder_learning_rate"}
"""Module with a learning rate of its own → field of `StageConfig`."""


def build_optimizer(model: nn.Module, config: StageConfig) -> torch.optim.Optimizer:
    """Return the stage's optimizer over all parameters that take gradients.

    Parameters of `motion_net` have the learning rate `motion_learning_rate`, those of an image encoder
    `encoder_learning_rate`. Other weights of the streams have `learning_rate`, and their biases `bias_factor`
    times that. Weight decay applies to weights only. Each
    parameter group keeps its own peak learning rate in `peak_lr`.

    Raises:
        UsageError: the learning rate of a part that is trained is not positive.
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            modules = name.split(".")
            field = next((rate for module, rate in _RATES.items() if module in modules), "learning_rate")
            groups.setdefault((field, parameter.ndim > 1), []).append(parameter)
    described = []
    for (field, is_weight), parameters in groups.items():
        rate = getattr(config, field)
        if rate <= 0:
            raise UsageError(f"{field} is {rate}; expected a positive number for a part that is trained")
        if field == "learning_rate" and not is_weight:
            rate *= config.bias_factor
        described.append(
            {
                "params": parameters,
                "lr": rate,
                "peak_lr": rate,
                "weight_decay": config.weight_decay if is_weight else 0.0,
            }
        )
    return _optimizer(described, config.optimizer)


def _optimizer(groups: list[dict[str, Any]], name: str) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(groups)
    if name == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, lr=1e-3, momentum=0.9)


def learning_rate_factor(config: StageConfig, step: int) -> float:
    """Return the factor on the learning rates at `step` (0…steps−1), a pure function of the configuration.

    - "constant": 1.
    - "one-cycle": linear warm-up over the first tenth, then a cosine to zero (Smith, arXiv 1708.07120).
    - "steps": `decay` to the power of the number of milestones reached.
    """
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "steps":
        return config.decay ** bisect_right(sorted(config.milestones), step)
    warm = max(1, round(WARM_UP * config.steps))
    if step < warm:
        return START_FACTOR + (1 - START_FACTOR) * (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` × its peak."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["peak_lr"]

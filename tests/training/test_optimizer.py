"""Learning rates by part, and schedules against tables worked out by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.config.stages import STAGES
from hidden_two_stream.errors import UsageError
from hidden_two_stream.recognition.model import HiddenTwoStream
from hidden_two_stream.training.optimizer import build_optimizer, learning_rate_factor, set_learning_rates
from hidden_two_stream.training.stages import select_trained


def grouped(config: StageConfig) -> dict[str, dict[str, float]]:
    """Learning rate and weight decay by parameter name."""
    model = HiddenTwoStream("nano", "small", 3, num_frames=3)
    select_trained(model, STAGES["joint"])
    optimizer = build_optimizer(model, config)
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = next(n for n, p in model.named_parameters() if p is parameter)
            found[name] = {"lr": group["peak_lr"], "decay": group["weight_decay"]}
    assert set(found) == {n for n, p in model.named_parameters() if p.requires_grad}
    return found


def test_parts_learn_at_their_own_rates() -> None:
    found = grouped(
        StageConfig(learning_rate=1e-3, motion_learning_rate=1e-6, bias_factor=2.0, weight_decay=5e-4)
    )
    assert found["motion_net.patch.weight"] == {"lr": 1e-6, "decay": 5e-4}
    assert found["motion_net.patch.bias"] == {"lr": 1e-6, "decay": 0.0}
    assert found["temporal_stream.backbone.fc.weight"] == {"lr": 1e-3, "decay": 5e-4}
    assert found["temporal_stream.backbone.fc.bias"] == {"lr": 2e-3, "decay": 0.0}
    assert found["temporal_stream.backbone.bn0.weight"]["decay"] == 0.0
    assert not any(name.startswith("spatial_stream") for name in found)


def test_a_trained_part_without_learning_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="motion_learning_rate is 0"):
        grouped(StageConfig(learning_rate=1e-3))


def test_steps_schedule_is_that_of_the_paper() -> None:
    thousand = 1000
    config = StageConfig(
        steps=400 * thousand,
        schedule="steps",
        milestones=[n * thousand for n in (100, 200, 250, 300, 350)],
        decay=0.5,
    )
    expected = {
        0: 1,
        99_999: 1,
        100_000: 0.5,
        199_999: 0.5,
        200_000: 0.25,
        250_000: 0.125,
        300_000: 1 / 16,
        399_999: 1 / 32,
    }
    assert {step: learning_rate_factor(config, step) for step in expected} == expected


def test_one_cycle_warms_up_and_ends_near_zero() -> None:
    config = StageConfig(steps=100)
    factors = [learning_rate_factor(config, step) for step in range(100)]
    assert factors[0] == pytest.approx(0.04 + 0.96 / 10)
    assert factors[9] == 1.0
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert factors[99] < 1e-3
    assert all(a >= b for a, b in itertools.pairwise(factors[9:]))


def test_set_learning_rates_scales_every_group() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [w], "lr": r, "peak_lr": r} for w, r in zip(weights, (1.0, 0.1), strict=True)]
    optimizer = torch.optim.SGD(groups)
    set_learning_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]

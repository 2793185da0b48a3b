"""The same steps with another number of processes.

A step has `batch_size` · `accumulate` clips of each process. A run that goes on with more or fewer processes
keeps the clips of its steps, and its learning rates stay right; only who computes which clip changes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from hidden_two_stream.config.schema import StageConfig
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import number_of

__all__ = ["regrouped", "same_batches"]


def regrouped(configs: Mapping[str, StageConfig], began: int, now: int) -> dict[str, StageConfig]:
    """Return the configurations with which `now` processes take the steps of `began` processes.

    The batch of a process never grows, so that it still fits into memory. Where the batches of all processes
    together can stay the same, they do: then batch normalization, dropout and masks also see the same clips.

    Args:
        configs: configuration of each stage, for `began` processes.
        began: number of processes that the run began with.
        now: number of processes there are.

    Raises:
        UsageError: the clips of a step cannot be shared out equally.
    """
    trained = {name: config for name, config in configs.items() if config.optimizer != "logistic"}
    if began == now or not trained:
        return dict(configs)
    clips = {name: config.batch_size * config.accumulate * began for name, config in trained.items()}
    for name, number in clips.items():
        if number % now:
            common = math.gcd(*clips.values())
            fitting = [str(parts) for parts in range(1, common + 1) if common % parts == 0]
            listed = f"{', '.join(fitting[:-1])} or {fitting[-1]}" if fitting[1:] else fitting[0]
            raise UsageError(
                f"the run began with {_processes(began)}, whose steps in stage {name} have "
                f"{number_of(number, 'clip')}; {now} processes cannot share them equally; resume with "
                f"{listed}"
            )
    return dict(configs) | {name: _shared(config, clips[name] // now) for name, config in trained.items()}


def same_batches(before: Mapping[str, StageConfig], after: Mapping[str, StageConfig]) -> bool:
    """Return whether the batches of all processes together are the same after `regrouped`."""
    return all(before[name].accumulate == config.accumulate for name, config in after.items())


def _shared(config: StageConfig, clips: int) -> StageConfig:
    """Return the configuration in which a process computes `clips` of a step."""
    parts = [config.accumulate, *range(1, clips + 1)]
    parts = [part for part in parts if clips % part == 0 and clips // part <= config.batch_size]
    return dataclasses.replace(config, batch_size=clips // parts[0], accumulate=parts[0])


def _processes(number: int) -> str:
    return number_of(number, "process", "processes")

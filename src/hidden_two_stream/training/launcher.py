"""The processes of a run: what started them, and how Lightning Fabric connects them.

Fabric starts one process per device on its own. torchrun and Slurm's srun start the processes themselves,
and then Fabric must count as many as they did: otherwise each process would train the whole run by itself.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hidden_two_stream.errors import UsageError

__all__ = ["Distribution", "Launch", "find_launch", "open_fabric", "quiet_start", "refused"]


@dataclass(frozen=True)
class Launch:
    """Processes that another program has started for this command.

    Attributes:
        who: the program.
        world: number of processes, on all nodes together.
        per_node: number of processes on this node; None: unknown.
    """

    who: str
    world: int
    per_node: int | None = None

    def advice(self) -> str:
        """Return the options that fit the processes."""
        nodes = 1 if self.per_node is None else max(1, self.world // self.per_node)
        devices = self.world // nodes
        more = f" --num-nodes {nodes}" if nodes > 1 else ""
        return f"give --devices {devices}{more}, or start one process"


def find_launch() -> Launch | None:
    """Return who started this process as one of several or of one; None: nobody but the user.

    Raises:
        UsageError: a variable of the environment that counts the processes is not a number.
    """
    variables = os.environ
    if "WORLD_SIZE" in variables:
        world = _count("WORLD_SIZE")
        if "TORCHELASTIC_RUN_ID" in variables:
            return Launch("torchrun", world, _count("LOCAL_WORLD_SIZE", world))
        return Launch("WORLD_SIZE of the environment", world)
    if SLURMEnvironment.detect():
        # srun's own step may have fewer tasks than the job.
        name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in variables else "SLURM_NTASKS"
        world = _count(name)
        nodes = _count("SLURM_STEP_NUM_NODES", _count("SLURM_NNODES", 1))
        return Launch("Slurm", world, world // nodes if nodes and world % nodes == 0 else None)
    return None


def _count(name: str, default: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        number = int(text or "")
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"the environment has {name}={text!r}; expected a number of processes; unset it")
    return number


class Distribution(DDPStrategy):
    """Data-parallel training in which each stage says whether its loss reaches all trained parameters.

    Attributes:
        find_unused_parameters: whether a parameter can stay without a gradient; looking for it takes time.
    """

    find_unused_parameters = False

    def setup_module(self, module: nn.Module) -> DistributedDataParallel:
        """Return the module, wrapped for training in several processes."""
        self._ddp_kwargs = {"find_unused_parameters": self.find_unused_parameters}
        return super().setup_module(module)


def open_fabric(accelerator: str, devices: str | int, num_nodes: int, precision: str) -> Fabric:
    """Return a Fabric that is not launched yet.

    Raises:
        UsageError: the number of processes that a launcher started is another one; SystemExit instead in all
            but the first of them.
        ValueError, TypeError, RuntimeError, ImportError: this machine has no such device or precision.
    """
    launch = find_launch()
    chosen: int | str = int(devices) if str(devices).isdigit() else devices
    asked = {"accelerator": accelerator, "devices": chosen, "num_nodes": num_nodes, "precision": precision}
    fabric = Fabric(**asked)  # type: ignore[arg-type]
    world = 1
    if isinstance(fabric.strategy, DDPStrategy):
        world = fabric.strategy.num_processes * num_nodes
        if fabric.strategy._start_method == "popen":  # not in a notebook
            fabric = Fabric(**asked, strategy=Distribution())  # type: ignore[arg-type]
    if launch is not None and launch.world != world:
        raise refused(
            f"{launch.who} counts {launch.world} processes, but --devices {devices} and --num-nodes "
            f"{num_nodes} make {world}; {launch.advice()}"
        )
    return fabric


def refused(reason: str) -> UsageError | SystemExit:
    """Return the error of all processes that a launcher started; only the first one reports it."""
    number = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    return UsageError(reason) if number == "0" else SystemExit(UsageError.exit_code)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keep Lightning's and gloo's own messages about processes that start out of stderr."""
    # About the memory layout of gradients that DDP copies; nothing that a user could change.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    loggers = [logging.getLogger(name) for name in ("lightning_fabric", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
